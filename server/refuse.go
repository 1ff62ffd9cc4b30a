package server

import (
	"io"
	"net"
	"time"
)

// tooMany is what a client over the limit is told. It is the same for all: a
// refusal must cost less than what it refuses.
var tooMany = []byte("HTTP/1.1 503 Service Unavailable\r\n" +
	"Retry-After: 1\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 21\r\nConnection: close\r\n\r\n" +
	"too many connections\n")

// Bounds on refusing.
const (
	// refuseLinger is how long a refused client may take to ask, and to read
	// why not.
	refuseLinger = time.Second
	// refuseDrain is how much of what it sends meanwhile is read, in bytes.
	refuseDrain = 64 << 10
	// maxRefusing is how many are given that time at once; others are told and
	// closed. It is less where there are few descriptors, which they hold.
	maxRefusing = 256
	// refuseShare is how many of each hundred descriptors they may hold.
	refuseShare = 5
	// refuseWrite is how long telling may take. A new connection's buffer has
	// room for it, so that it takes no time at all.
	refuseWrite = 100 * time.Millisecond
)

// refuse ends a connection that is over a limit. Over TLS there is no cheap way
// to say why.
func (s *Server) refuse(l *listener, nc net.Conn) {
	switch {
	case l.opt.TLS != nil:
		_ = nc.Close()
	case s.refusing.Add(1) > s.maxRefusing:
		s.refusing.Add(-1)
		_ = nc.SetDeadline(time.Now().Add(refuseWrite))
		_, _ = nc.Write(tooMany) // heard or not
		_ = nc.Close()
	default:
		go s.refuseInWords(nc)
	}
}

// refuseInWords is the goroutine of a refusal; it ends within refuseLinger.
func (s *Server) refuseInWords(nc net.Conn) {
	defer s.refusing.Add(-1)
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(refuseLinger))
	// An answer to no request is an error to some clients, so the first words
	// of one are waited for.
	var first [512]byte
	if _, err := nc.Read(first[:]); err != nil {
		return
	}
	if _, err := nc.Write(tooMany); err != nil {
		return
	}
	// A close with bytes unread would be a reset, which takes the answer away
	// before the client has read it (RFC 9112 section 9.6).
	if half, ok := nc.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		_, _ = io.CopyN(io.Discard, nc, refuseDrain)
	}
}
