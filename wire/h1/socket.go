package h1

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// peerState is what a look at a socket says.
type peerState uint8

const (
	peerUnknown peerState = iota // the connection cannot be looked at
	peerQuiet                    // open, nothing to read
	peerSpeaks                   // open, something to read
	peerGone                     // its direction has ended, or the connection is broken
)

// prober looks at a connection without blocking and without reading from it.
type prober struct {
	raw   syscall.RawConn
	self  inspectable
	look  func(fd uintptr)
	state peerState
	under bool // beneath TLS
	b     [maxAlert + 1]byte
	ready bool
}

// maxAlert is the most bytes that the last alert of a TLS connection takes, in
// any version and cipher in use; the shortest request, encrypted, takes more.
const maxAlert = 31

// inspectable is a connection that is no socket and can say itself what a look
// at one would.
type inspectable interface {
	// PeerClosed: the peer's direction has ended and nothing is left to read.
	PeerClosed() bool
	// Unread: how many bytes are there to be read.
	Unread() int
}

// probe looks at nc. Beneath TLS, bytes may be an alert as well as data: a few
// of them with the stream's end right behind are the peer's goodbye.
func (p *prober) probe(nc net.Conn) peerState {
	if !p.ready {
		p.prepare(nc)
	}
	switch {
	case p.raw != nil:
		p.state = peerGone
		if p.raw.Control(p.look) != nil {
			return peerGone // we closed it ourselves
		}
		return p.state
	case p.self == nil:
		return peerUnknown
	case p.self.PeerClosed():
		return peerGone
	case p.self.Unread() > 0:
		return peerSpeaks
	}
	return peerQuiet
}

func (p *prober) prepare(nc net.Conn) {
	p.ready = true
	for {
		under, ok := nc.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		nc, p.under = under.NetConn(), true
	}
	if sc, ok := nc.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			p.raw, p.look = raw, p.peek
			return
		}
	}
	p.self, _ = nc.(inspectable)
}

func (p *prober) peek(fd uintptr) {
	n, _, err := unix.Recvfrom(int(fd), p.b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
	switch {
	case err == unix.EAGAIN || err == unix.EINTR:
		p.state = peerQuiet
	case err != nil || n == 0:
		p.state = peerGone
	case p.under && n <= maxAlert && ended(fd):
		p.state = peerGone
	default:
		p.state = peerSpeaks
	}
}

// ended reports whether the peer has ended its direction, read or not.
func ended(fd uintptr) bool {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
	_, err := unix.Poll(fds, 0)
	return err == nil && fds[0].Revents&(unix.POLLRDHUP|unix.POLLHUP|unix.POLLERR) != 0
}

// cut closes nc so that the peer sees a reset rather than an end, where the
// transport can. TLS must not say goodbye: its close_notify would make a cut
// body look whole.
func cut(nc net.Conn) {
	for {
		under, ok := nc.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		nc = under.NetConn()
	}
	if l, ok := nc.(interface{ SetLinger(int) error }); ok {
		l.SetLinger(0)
	}
	nc.Close()
}
