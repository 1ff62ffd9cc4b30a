package server

import (
	"net"
	"net/netip"
)

// conn is a connection in service. Invariant: it is in Server.conns from add to
// remove. session is guarded by Server.mu.
type conn struct {
	server   *Server
	listener *listener
	nc       net.Conn
	key      peerKey
	session  Session // nil during the TLS handshake
}

// retire tells the connection to end; mu is held.
func (c *conn) retire() {
	if c.session != nil {
		c.session.Retire()
		return
	}
	_ = c.nc.Close() // nothing was asked yet
}

// interrupt ends what the connection waits for; mu is held.
func (c *conn) interrupt() {
	if c.session != nil {
		c.session.Interrupt()
		return
	}
	_ = c.nc.Close()
}

// peerKey is what connections are counted by: the listener and the peer's
// address. Peers without one, on Unix sockets, are not counted.
type peerKey struct {
	listener int
	prefix   netip.Prefix
}

// peerBits6 is how much of an IPv6 address names a single customer.
const peerBits6 = 64

func peerKeyOf(nc net.Conn) peerKey {
	a, ok := nc.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return peerKey{}
	}
	addr := a.AddrPort().Addr().Unmap().WithZone("")
	bits := addr.BitLen()
	if addr.Is6() {
		bits = peerBits6
	}
	prefix, err := addr.Prefix(bits)
	if err != nil {
		return peerKey{}
	}
	return peerKey{prefix: prefix}
}

// verdict is what becomes of a new connection.
type verdict uint8

const (
	admitted    verdict = iota
	overTotal           // the listener, or all together, serve as many as they may
	overAddress         // the address has as many as it may
	tooLate             // the server is stopping
)

// add enters a connection, if there is room for it.
func (s *Server) add(c *conn) verdict {
	o := &c.listener.opt
	c.key.listener = c.listener.id
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.retiring:
		return tooLate
	case int64(len(s.conns)) >= s.maxOpen, c.listener.open.Load() >= int64(o.MaxConnections):
		return overTotal
	}
	if c.key.prefix.IsValid() {
		n := s.perAddr[c.key]
		if n >= o.MaxPerAddress {
			return overAddress
		}
		s.perAddr[c.key] = n + 1
	}
	s.conns[c] = struct{}{}
	c.listener.open.Add(1)
	s.count.open.Add(1)
	return admitted
}

// started names the session of a connection in service.
func (s *Server) started(c *conn, session Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.session = session
	if s.retiring {
		session.Retire()
	}
	if s.interrupting {
		session.Interrupt()
	}
}

// remove takes a connection out again.
func (s *Server) remove(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	c.listener.open.Add(-1)
	s.count.open.Add(-1)
	if c.key.prefix.IsValid() {
		if n := s.perAddr[c.key]; n > 1 {
			s.perAddr[c.key] = n - 1
		} else {
			delete(s.perAddr, c.key)
		}
	}
	if s.retiring && len(s.conns) == 0 {
		close(s.empty)
	}
}

func (s *Server) isRetiring() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.retiring
}

// retireAll tells every connection to end, and refuses later ones.
func (s *Server) retireAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.retiring = true
	if len(s.conns) == 0 {
		close(s.empty)
	}
	for c := range s.conns {
		c.retire()
	}
}

// interruptAll ends what every connection waits for.
func (s *Server) interruptAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.interrupting = true
	for c := range s.conns {
		c.interrupt()
	}
}

// shed tells up to n connections to end: at once where they are idle, else
// after the exchange in hand. Which ones is the map's choice.
func (s *Server) shed(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		if n--; n < 0 {
			return
		}
		c.retire()
		s.count.shed.Add(1)
	}
}
