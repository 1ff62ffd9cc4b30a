package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"time"
)

// The defaults of ListenerOptions.
const (
	// DefaultMaxConnections is how many clients one listener serves at once.
	DefaultMaxConnections = 65536
	// DefaultMaxPerAddress is how many of them one address may have: well
	// above the thousand that share one address behind a load balancer or a
	// gateway.
	DefaultMaxPerAddress = 16384
	// DefaultHandshakeTimeout bounds a TLS handshake.
	DefaultHandshakeTimeout = 10 * time.Second
)

// TCP keep-alive on clients' connections: one that is gone without a word is
// noticed after keepAliveIdle plus keepAliveCount times keepAliveInterval.
const (
	keepAliveIdle     = 30 * time.Second
	keepAliveInterval = 10 * time.Second
	keepAliveCount    = 3
)

// ListenerOptions describe one listening socket. A zero bound is its default.
type ListenerOptions struct {
	// Network and Address are as for net.Listen: "tcp" or "unix".
	Network, Address string
	// Listener, where not nil, is used in place of opening a socket.
	Listener net.Listener
	// TLS makes this a TLS listener.
	TLS *tls.Config
	// HandshakeTimeout bounds the TLS handshake.
	HandshakeTimeout time.Duration
	// MaxConnections bounds the connections served here at once, and
	// MaxPerAddress those from one address (for IPv6, one /64, which is what a
	// single customer has). One more is answered 503 and closed.
	MaxConnections, MaxPerAddress int
	// Handle makes the sessions.
	Handle Handler
}

// listener is one listening socket. Owner: its accept loop; Close is safe from
// any goroutine.
type listener struct {
	net.Listener
	opt  ListenerOptions
	id   int
	open atomic.Int64 // its connections
}

// open opens all listeners of the options.
func (s *Server) open() error {
	var all []error
	for i, given := range s.opt.Listeners {
		o := *given
		orDefault(&o.MaxConnections, DefaultMaxConnections)
		orDefault(&o.MaxPerAddress, DefaultMaxPerAddress)
		orDefault(&o.HandshakeTimeout, DefaultHandshakeTimeout)
		l, err := s.listen(&o)
		if err != nil {
			all = append(all, err)
			continue
		}
		s.listeners = append(s.listeners, &listener{Listener: l, opt: o, id: i})
		if int64(o.MaxConnections) > s.maxOpen {
			s.log.Info("the process's limits allow fewer connections than the listener's", "address", l.Addr().String(),
				"listener", o.MaxConnections, "process", s.maxOpen)
		}
	}
	// A socket that was passed in and is not served would take connections
	// that nobody ever accepts.
	for _, rest := range s.opt.Inherited.rest() {
		all = append(all, fmt.Errorf("server: the supervisor passed a socket for %s, which no listener is configured for", rest))
	}
	return errors.Join(all...)
}

func orDefault[T comparable](v *T, def T) {
	if *v == *new(T) {
		*v = def
	}
}

func (s *Server) listen(o *ListenerOptions) (net.Listener, error) {
	if o.Listener != nil {
		return o.Listener, nil
	}
	if l := s.opt.Inherited.Take(o.Network, o.Address); l != nil {
		return l, nil
	}
	if o.Network == "unix" {
		return ListenUnix(o.Address, SocketMode)
	}
	return ListenTCP(o.Network, o.Address)
}

// ListenTCP opens a TCP socket for clients. The runtime sets SO_REUSEADDR,
// TCP_NODELAY on what is accepted, and a backlog of net.core.somaxconn.
func ListenTCP(network, address string) (net.Listener, error) {
	lc := net.ListenConfig{KeepAliveConfig: net.KeepAliveConfig{
		Enable: true, Idle: keepAliveIdle, Interval: keepAliveInterval, Count: keepAliveCount}}
	l, err := lc.Listen(context.Background(), network, address)
	if err != nil {
		return nil, fmt.Errorf("server: %w", explain(err))
	}
	return l, nil
}

// explain says what to do where that is known.
func explain(err error) error {
	if errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("%w (ports below 1024 need CAP_NET_BIND_SERVICE, or a socket from systemd)", err)
	}
	return err
}

func (s *Server) closeListeners() {
	for _, l := range s.listeners {
		if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			s.log.Warn("closing a listener", "address", l.Addr().String(), "error", err)
		}
	}
}
