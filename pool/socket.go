package pool

import (
	"errors"
	"net"
	"os"
	"syscall"
	"time"
)

// silence is what a look at an idle connection found.
type silence uint8

const (
	silent silence = iota // open, and nothing to read: as it must be
	spoke                 // bytes came that nobody asked for
	closed                // the peer closed or reset it
)

// socket is what lies under a connection, with a way to look without waiting.
// It stands between the socket and TLS. Owned as its Conn is.
type socket struct {
	net.Conn
	raw     syscall.RawConn // nil where Conn is no real socket
	probing bool            // Read takes what is there and does not wait
}

func newSocket(nc net.Conn) *socket {
	s := &socket{Conn: nc}
	if sc, ok := nc.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			s.raw = raw
		}
	}
	return s
}

// Read reads from the socket, while probing without waiting.
func (s *socket) Read(p []byte) (int, error) {
	if !s.probing {
		return s.Conn.Read(p)
	}
	if s.raw == nil {
		return s.readSoon(p)
	}
	n, err := s.recv(p, 0)
	switch {
	case errors.Is(err, syscall.EAGAIN):
		return 0, nothingThere{}
	case err != nil:
		return 0, err
	case n == 0:
		return 0, errPeerClosed
	}
	return n, nil
}

// peek looks at the socket and takes nothing from it. On a real socket it may
// run beside anything else done with the connection.
func (s *socket) peek() silence {
	var b [1]byte
	var n int
	var err error
	if s.raw != nil {
		n, err = s.recv(b[:], syscall.MSG_PEEK)
	} else {
		// It is lost where there is one; but then the connection is as well.
		n, err = s.readSoon(b[:])
	}
	switch {
	case n > 0:
		return spoke
	case errors.Is(err, syscall.EAGAIN) || isNothingThere(err):
		return silent
	default:
		return closed
	}
}

// recv is recv(2) without waiting: EAGAIN where nothing is there.
func (s *socket) recv(p []byte, flags int) (n int, err error) {
	// Control, not Read: Read would fail on a deadline that has passed.
	cerr := s.raw.Control(func(fd uintptr) {
		for {
			n, _, err = syscall.Recvfrom(int(fd), p, flags|syscall.MSG_DONTWAIT)
			if !errors.Is(err, syscall.EINTR) {
				return
			}
		}
	})
	if cerr != nil {
		return 0, cerr
	}
	return max(n, 0), err
}

// soon is as short as a read with a deadline can be and still find what is
// there.
const soon = time.Microsecond

// readSoon is the look for connections that are no sockets, as tests have
// them: those that can tell of a close without a read are asked first.
func (s *socket) readSoon(p []byte) (int, error) {
	if c, ok := s.Conn.(interface{ PeerClosed() bool }); ok && c.PeerClosed() {
		return 0, errPeerClosed
	}
	if err := s.SetReadDeadline(time.Now().Add(soon)); err != nil {
		return 0, err
	}
	n, err := s.Conn.Read(p)
	if rerr := s.SetReadDeadline(time.Time{}); err == nil {
		err = rerr
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = nothingThere{}
	}
	return n, err
}

var errPeerClosed = errors.New("pool: closed by the peer while idle")

// nothingThere is the error of a look that found nothing. It is a timeout and
// temporary, so that crypto/tls can go on reading later.
type nothingThere struct{}

func (nothingThere) Error() string   { return "pool: nothing to read" }
func (nothingThere) Timeout() bool   { return true }
func (nothingThere) Temporary() bool { return true }

func isNothingThere(err error) bool { return errors.As(err, new(nothingThere)) }
