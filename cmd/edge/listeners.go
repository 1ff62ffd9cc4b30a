package main

import (
	"crypto/tls"
	"errors"
	"net"
	"net/netip"

	"edge/config"
	"edge/proxy"
	"edge/server"
	"edge/wire/h1"
)

// listenerOptions turns the configured listeners into the server's.
func (n *node) listenerOptions() ([]*server.ListenerOptions, error) {
	var list []*server.ListenerOptions
	var all []error
	for i := range n.config.Listeners {
		c := &n.config.Listeners[i]
		o := &server.ListenerOptions{
			Network: c.Address.Network, Address: c.Address.Address, HandshakeTimeout: c.Timeouts.TLS,
			MaxConnections: c.MaxConnections, MaxPerAddress: c.MaxConnectionsPerAddress,
			Handle: handler(n.proxy, codecOptions(c))}
		if i < len(n.opt.listeners) {
			o.Listener = n.opt.listeners[i]
		}
		var certs *server.Certificates
		if c.TLS != nil {
			certs = new(server.Certificates)
			if err := certs.Load(keyPairs(c.TLS)); err != nil {
				all = append(all, err)
				continue
			}
			o.TLS = certs.Config(tlsVersion(c.TLS.MinVersion))
		}
		n.certs = append(n.certs, certs)
		list = append(list, o)
	}
	return list, errors.Join(all...)
}

func keyPairs(t *config.ListenerTLS) []server.KeyPair {
	pairs := make([]server.KeyPair, len(t.Certificates))
	for i, c := range t.Certificates {
		pairs[i] = server.KeyPair{Cert: c.Cert, Key: c.Key}
	}
	return pairs
}

func tlsVersion(s string) uint16 {
	if s == "1.3" {
		return tls.VersionTLS13
	}
	return tls.VersionTLS12
}

// codecOptions are the codec's bounds for one listener.
func codecOptions(c *config.Listener) *h1.ServerOptions {
	l, t := &c.Limits, &c.Timeouts
	o := &h1.ServerOptions{
		Scheme: "http", DefaultHost: c.DefaultHost,
		Limits: h1.Limits{
			RequestLine: int(l.RequestLine), HeadBytes: int(l.HeaderBytes), FieldCount: l.HeaderFields,
			ChunkLine: int(l.ChunkLine), TrailerBytes: int(l.TrailerBytes), DrainBytes: int64(l.Drain),
			BodyBytes: max(0, int64(l.Body)), Requests: max(0, l.Requests)},
		Timeouts: h1.Timeouts{
			Head: t.Head, Idle: t.Idle, BodyRead: t.Body, Write: t.Write, Drain: t.Drain, MinBodyRate: int64(l.BodyRate)},
	}
	if c.TLS != nil {
		o.Scheme = "https"
	}
	return o
}

// session is one client's connection: the codec on it, and the proxy that
// serves it.
type session struct {
	*h1.ServerConn
	proxy *proxy.Proxy
	peer  netip.AddrPort
}

// Serve serves the connection until it ends, and closes it.
func (s *session) Serve() { s.proxy.ServeConn(s.ServerConn, s.peer) }

func handler(p *proxy.Proxy, o *h1.ServerOptions) server.Handler {
	return func(nc net.Conn) server.Session {
		return &session{ServerConn: h1.NewServerConn(nc, o), proxy: p, peer: peerOf(nc)}
	}
}

// peerOf is where a connection comes from; not valid for a Unix socket.
func peerOf(nc net.Conn) netip.AddrPort {
	a, ok := nc.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := a.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// clientURL is what to type to reach an address from this machine.
func clientURL(a net.Addr) string {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return "unix:" + a.String()
	}
	addr := tcp.AddrPort().Addr().Unmap()
	if addr.IsUnspecified() {
		addr = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return "http://" + netip.AddrPortFrom(addr, tcp.AddrPort().Port()).String()
}
