package pool

import (
	"crypto/tls"
	"net"
	"sync/atomic"
	"time"
)

// Conn is one connection to an origin. Between Get and Put or Discard it
// belongs to whoever got it; otherwise to the pool.
type Conn struct {
	// Conn is the connection proper: a *net.TCPConn, a *net.UnixConn, a
	// *tls.Conn, or what Options.Dial returned. Give it, not the *Conn, to
	// code that tells connection types apart (writev, sendfile).
	net.Conn
	// Session is the caller's. It stays with the connection while that lives.
	Session any

	group     *group
	socket    *socket // under Conn, which may be TLS
	state     atomic.Uint32
	made      time.Time
	idleSince time.Time
	uses      int
	tlsByte   [1]byte // for probe
}

// The states of a Conn.
const (
	stateBusy uint32 = iota // handed out
	stateIdle               // the pool's
	stateDead               // closed, or about to be
)

// Reused reports whether c was used before it was handed out this time.
func (c *Conn) Reused() bool { return c.uses > 1 }

// Uses returns how often c was handed out, this time included.
func (c *Conn) Uses() int { return c.uses }

// Made returns when c was connected and, over TLS, the handshake complete.
func (c *Conn) Made() time.Time { return c.made }

// Target returns where c leads.
func (c *Conn) Target() *Target { return &c.group.target }

// Protocol returns what ALPN agreed on, empty where nothing or cleartext.
func (c *Conn) Protocol() string {
	if t, ok := c.Conn.(*tls.Conn); ok {
		return t.ConnectionState().NegotiatedProtocol
	}
	return ""
}

// Close is Discard, so that a Conn given away as a net.Conn is still counted.
func (c *Conn) Close() error {
	c.group.pool.Discard(c)
	return nil
}

// expired reports whether c is too old, too long idle, or too much used to be
// handed out again.
func (c *Conn) expired(now time.Time, o *Options) bool {
	return o.IdleTimeout > 0 && now.Sub(c.idleSince) >= o.IdleTimeout ||
		o.MaxLifetime > 0 && now.Sub(c.made) >= o.MaxLifetime ||
		o.MaxUses > 0 && c.uses >= o.MaxUses
}

// shut closes a connection that is in order, over TLS with a close_notify.
func (c *Conn) shut() {
	c.state.Store(stateDead)
	_ = c.Conn.Close()
}

// abandon closes a connection that is not in order. Over TLS without a
// close_notify, for a peer that does not read could make that wait.
func (c *Conn) abandon() {
	c.state.Store(stateDead)
	_ = c.socket.Conn.Close()
}

// probe looks at an idle connection that is the caller's for the moment. It
// does not wait.
func (c *Conn) probe() silence {
	t, ok := c.Conn.(*tls.Conn)
	if !ok {
		return c.socket.peek()
	}
	// Bytes on an idle TLS connection need not be the peer's words: session
	// tickets and key updates come when the peer likes (RFC 8446 section 4.6),
	// and a close_notify is bytes too. Only TLS can tell, so let it read, from
	// a socket that has only what is there. What it has already read ahead
	// is looked at as well.
	c.socket.probing = true
	n, err := t.Read(c.tlsByte[:])
	c.socket.probing = false
	return silenceOf(n, err)
}
