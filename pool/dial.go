package pool

import (
	"context"
	"crypto/tls"
	"net"
	"time"
)

// connect makes a connection for a slot that is taken already, and gives the
// slot back where it can not.
func (g *group) connect(ctx context.Context) (*Conn, error) {
	nc, err := g.dialTimed(ctx)
	if err != nil {
		g.pool.count.failed.Add(1)
		g.freeFor(KindOf(err) != KindLocal)
		return nil, err
	}
	c := &Conn{Conn: nc, group: g, socket: newSocket(nc), uses: 1}
	if g.tls != nil {
		if c.Conn, err = g.handshake(ctx, c.socket); err != nil {
			_ = nc.Close()
			g.pool.count.failed.Add(1)
			g.free()
			return nil, err
		}
	}
	c.made = time.Now()
	c.idleSince = c.made
	g.pool.count.dialed.Add(1)
	return c, nil
}

// dialTimed connects within ConnectTimeout.
func (g *group) dialTimed(ctx context.Context) (net.Conn, error) {
	timed, cancel := context.WithTimeout(ctx, g.pool.opt.ConnectTimeout)
	defer cancel()
	nc, err := g.dial(timed, g.target.Network, g.target.Address)
	if err == nil {
		return nc, nil
	}
	if ctx.Err() != nil {
		return nil, g.fail(kindOfContext(ctx), "connect", context.Cause(ctx))
	}
	kind := KindOf(err)
	if kind == KindNone || timed.Err() != nil && kind != KindDNSTimeout {
		kind = KindUnavailable
		if timed.Err() != nil {
			kind = KindConnectTimeout
		}
	}
	return nil, g.fail(kind, "connect", err)
}

// handshake completes TLS over s within TLSTimeout. On an error the caller
// closes the connection.
func (g *group) handshake(ctx context.Context, s *socket) (*tls.Conn, error) {
	timed, cancel := context.WithTimeout(ctx, g.pool.opt.TLSTimeout)
	defer cancel()
	tc := tls.Client(s, g.tls)
	err := tc.HandshakeContext(timed)
	if err == nil {
		return tc, nil
	}
	if ctx.Err() != nil {
		return nil, g.fail(kindOfContext(ctx), "TLS handshake", context.Cause(ctx))
	}
	kind := KindOf(err)
	switch {
	case timed.Err() != nil:
		kind = KindTLSTimeout
	case kind != KindTLSCertificate && kind != KindTLSAlert:
		// Whatever else ends a handshake, an end of the connection included.
		kind = KindTLSProtocol
	}
	return nil, g.fail(kind, "TLS handshake", err)
}
