package server

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"runtime/debug"
	"syscall"
	"time"
)

// How long an accept loop rests after an error: minBackoff, then twice as long
// each time up to maxBackoff, so that it is back within a second of the
// shortage's end.
const (
	minBackoff = 5 * time.Millisecond
	maxBackoff = time.Second
)

// acceptLogInterval is how often one listener's errors are logged. All are
// counted.
const acceptLogInterval = time.Second

// shedBatch is how many connections are told to end when descriptors run out.
const shedBatch = 64

// accept is the loop of one listener. It ends when the listener is closed, and
// for no other error: a node that no longer accepts is down.
func (s *Server) accept(l *listener) {
	backoff := minBackoff
	var quiet time.Time // until when nothing more is logged
	for {
		nc, err := l.Accept()
		if err == nil {
			backoff = minBackoff
			s.admit(l, nc)
			continue
		}
		if s.isRetiring() || errors.Is(err, net.ErrClosed) {
			return
		}
		s.count.acceptErrors.Add(1)
		if isExhaustion(err) {
			// Those in service go on; what they do not need is given up, so
			// that others, and the fetches for all of them, get descriptors.
			s.shed(shedBatch)
		}
		if now := time.Now(); now.After(quiet) {
			quiet = now.Add(acceptLogInterval)
			s.log.Warn("accept failed", "address", l.Addr().String(), "error", err, "again_in", backoff)
		}
		t := time.NewTimer(backoff)
		select {
		case <-t.C:
		case <-s.stopping:
		case <-s.cutting:
		}
		t.Stop()
		backoff = min(2*backoff, maxBackoff)
	}
}

// isExhaustion reports whether err says that something finite has run out.
func isExhaustion(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) ||
		errors.Is(err, syscall.ENOBUFS) || errors.Is(err, syscall.ENOMEM)
}

// admit serves a new connection, or refuses it.
func (s *Server) admit(l *listener, nc net.Conn) {
	c := &conn{server: s, listener: l, nc: nc, key: peerKeyOf(nc)}
	switch s.add(c) {
	case admitted:
		s.count.accepted.Add(1)
		go s.serve(c)
	case overTotal:
		s.count.refusedTotal.Add(1)
		s.refuse(l, nc)
	case overAddress:
		s.count.refusedAddr.Add(1)
		s.refuse(l, nc)
	case tooLate:
		_ = nc.Close()
	}
}

// serve is the goroutine of one connection.
func (s *Server) serve(c *conn) {
	defer s.remove(c)
	defer c.nc.Close()
	defer func() {
		if v := recover(); v != nil {
			s.count.panics.Add(1)
			s.log.Error("connection panicked", "peer", c.nc.RemoteAddr().String(), "panic", v, "stack", string(debug.Stack()))
		}
	}()
	nc := c.nc
	if c.listener.opt.TLS != nil {
		t, err := s.handshake(c)
		if err != nil {
			s.count.tlsFailed.Add(1)
			s.log.Debug("TLS handshake failed", "peer", c.nc.RemoteAddr().String(), "error", err)
			return
		}
		nc = t
	}
	session := c.listener.opt.Handle(nc)
	s.started(c, session)
	session.Serve()
}

// handshake completes TLS within its timeout.
func (s *Server) handshake(c *conn) (*tls.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), c.listener.opt.HandshakeTimeout)
	defer cancel()
	t := tls.Server(c.nc, c.listener.opt.TLS)
	return t, t.HandshakeContext(ctx)
}
