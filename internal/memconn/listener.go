package memconn

import (
	"context"
	"net"
	"sync"
	"syscall"
)

// backlog is how many dialled connections wait for Accept before Dial waits.
const backlog = 1024

// Listener accepts connections that its own Dial makes. It is a net.Listener.
type Listener struct {
	addr  net.Addr
	queue chan *Conn
	done  chan struct{}

	mu   sync.Mutex
	port int // of the next client
	shut bool
}

// Listen returns a new listener. Make it inside the bubble that uses it.
func Listen() *Listener {
	return &Listener{
		addr:  &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 80},
		queue: make(chan *Conn, backlog),
		done:  make(chan struct{}),
		port:  49152,
	}
}

// Accept waits for the next connection; net.ErrClosed after Close.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case <-l.done: // a closed listener accepts nothing that still queues
		return nil, l.closedError()
	default:
	}
	select {
	case c := <-l.queue:
		return c, nil
	case <-l.done:
		return nil, l.closedError()
	}
}

func (l *Listener) closedError() error {
	return &net.OpError{Op: "accept", Net: "tcp", Addr: l.addr, Err: net.ErrClosed}
}

// Close ends the listener and resets the connections nobody accepted.
func (l *Listener) Close() error {
	l.mu.Lock()
	shut := l.shut
	l.shut = true
	l.mu.Unlock()
	if shut {
		return l.closedError()
	}
	close(l.done)
	for {
		select {
		case c := <-l.queue:
			c.SetLinger(0)
			c.Close()
		default:
			return nil
		}
	}
}

// Addr returns the listener's address.
func (l *Listener) Addr() net.Addr { return l.addr }

// Dial connects to the listener from a port of its own.
func (l *Listener) Dial() (*Conn, error) { return l.dial(context.Background(), DefaultBuffer) }

// DialSize is Dial with buffers of n bytes each way.
func (l *Listener) DialSize(n int) (*Conn, error) { return l.dial(context.Background(), n) }

// DialContext is Dial in the form that dialers are injected in; network and
// address are not looked at.
func (l *Listener) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := l.dial(ctx, DefaultBuffer)
	if err != nil {
		return nil, err
	}
	return c, nil
}

func (l *Listener) dial(ctx context.Context, size int) (*Conn, error) {
	client, server := PipeSize(size)
	l.mu.Lock()
	client.local = &net.TCPAddr{IP: net.IPv4(198, 51, 100, 1), Port: l.port}
	l.port++
	shut := l.shut
	l.mu.Unlock()
	client.remote, server.local, server.remote = l.addr, l.addr, client.local
	if shut {
		return nil, l.dialError(syscall.ECONNREFUSED)
	}
	select {
	case l.queue <- server:
	case <-l.done:
		return nil, l.dialError(syscall.ECONNREFUSED)
	case <-ctx.Done():
		return nil, l.dialError(ctx.Err())
	}
	select {
	case <-l.done: // closed while we queued: nobody will accept it
		server.SetLinger(0)
		server.Close()
	default:
	}
	return client, nil
}

func (l *Listener) dialError(err error) error {
	return &net.OpError{Op: "dial", Net: "tcp", Addr: l.addr, Err: err}
}
