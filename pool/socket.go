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
// It stands between the socket and TLS. Owned as its Conn is, but for Conn and
// raw, which do not change.
type socket struct {
	net.Conn
	raw     syscall.RawConn // nil where Conn is no real socket
	probing bool            // Read takes what is there and does not wait
	look    look
}

func newSocket(nc net.Conn) *socket {
	s := &socket{Conn: nc}
	s.look.init()
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
	n, err := s.look.recv(s.raw, p, 0)
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

// peek looks at the socket and takes nothing from it.
func (s *socket) peek() silence {
	if s.raw != nil {
		return s.look.peek(s.raw)
	}
	// It is lost where there is one; but then the connection is as well.
	n, err := s.readSoon(s.look.one[:])
	return silenceOf(n, err)
}

// look is one recv(2) that does not wait, with room for what goes in and out,
// so that looking allocates nothing.
type look struct {
	p     []byte
	flags int
	n     int
	err   error
	one   [1]byte
	call  func(fd uintptr)
}

func (l *look) init() { l.call = l.onDescriptor }

// peek looks at a socket and takes nothing from it. With a look of one's own
// that may be done beside anything else that uses the socket.
func (l *look) peek(raw syscall.RawConn) silence {
	n, err := l.recv(raw, l.one[:], syscall.MSG_PEEK)
	return silenceOf(n, err)
}

// recv is recv(2): EAGAIN where nothing is there, no bytes and no error where
// the peer has closed.
func (l *look) recv(raw syscall.RawConn, p []byte, flags int) (int, error) {
	l.p, l.flags = p, flags|syscall.MSG_DONTWAIT
	// Control, not Read: Read would fail on a deadline that has passed.
	err := raw.Control(l.call)
	l.p = nil
	if err != nil {
		return 0, err
	}
	return max(l.n, 0), l.err
}

func (l *look) onDescriptor(fd uintptr) {
	for {
		l.n, _, l.err = syscall.Recvfrom(int(fd), l.p, l.flags)
		if !errors.Is(l.err, syscall.EINTR) {
			return
		}
	}
}

func silenceOf(n int, err error) silence {
	switch {
	case n > 0:
		return spoke
	case errors.Is(err, syscall.EAGAIN) || isNothingThere(err):
		return silent
	default:
		return closed
	}
}

// soon is how long a look takes where there is no socket. In the virtual time of
// a test that finds all there is; in real time the deadline is over at once.
const soon = time.Nanosecond

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
