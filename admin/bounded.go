package admin

import (
	"net"
	"sync"
)

// maxConnections is how many clients may be connected to the admin listener.
// Each takes a descriptor that serving needs; more wait in the kernel's queue,
// which takes none, until headTimeout or idleTimeout has made room.
const maxConnections = 512

// bounded is a listener with at most so many connections open. Make it with
// boundedBy.
type bounded struct {
	net.Listener
	room   chan struct{} // an element for each connection
	closed chan struct{}
	once   sync.Once
}

// boundedBy bounds a listener, which it owns from then on.
func boundedBy(l net.Listener, most int) *bounded {
	return &bounded{Listener: l, room: make(chan struct{}, most), closed: make(chan struct{})}
}

// Accept waits for room, and then for a connection.
func (b *bounded) Accept() (net.Conn, error) {
	select {
	case b.room <- struct{}{}:
	case <-b.closed:
		return nil, net.ErrClosed
	}
	c, err := b.Listener.Accept()
	if err != nil {
		<-b.room
		return nil, err
	}
	return &boundedConn{Conn: c, leave: sync.OnceFunc(func() { <-b.room })}, nil
}

// Close ends Accept, wherever it waits.
func (b *bounded) Close() error {
	b.once.Do(func() { close(b.closed) })
	return b.Listener.Close()
}

// boundedConn makes room when it is closed.
type boundedConn struct {
	net.Conn
	leave func()
}

// Close closes the connection; then there is room for another.
func (c *boundedConn) Close() error {
	defer c.leave()
	return c.Conn.Close()
}
