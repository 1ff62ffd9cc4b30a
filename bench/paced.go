//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// The light client: requests at a fixed rate, each timed.

// pacedConnections is how many connections the light client has: so many answers
// may be due before it has to wait with the next request. That wait counts in.
const pacedConnections = 64

// pacedGenerator is the light client. Owner: the goroutine in paced.
type pacedGenerator struct {
	work
	ep      int
	conns   map[int32]*pacedConn
	idle    []*pacedConn
	out     []byte
	took    []time.Duration
	buf     []byte
	oob     []byte
	waiting int  // answers
	starved bool // a request waits for a connection
}

// pacedConn is one of its connections, with at most one request in flight.
type pacedConn struct {
	fd    int
	in    []byte
	asked int
	sent  int64 // Unix nanoseconds
}

// paced sends rate requests a second for d and returns how long each took: from the
// moment it was sent, or should have been where no connection was free, until
// the kernel had taken in the last piece of the answer. Every answer is checked.
//
// The kernel's stamp, because this program shares its core with the other
// generator and the origin, and would measure how long it waits for that core. For the
// same reason a request that is sent late is timed from when it was sent.
func paced(ctx context.Context, addr string, rate int, d time.Duration, w work) ([]time.Duration, error) {
	sa, err := sockaddr(addr)
	if err != nil {
		return nil, err
	}
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	g := &pacedGenerator{work: w, ep: ep, conns: map[int32]*pacedConn{}, buf: make([]byte, 64<<10), oob: make([]byte, 256)}
	defer g.close()
	for range pacedConnections {
		fd, err := dialRaw(sa)
		if err != nil {
			return nil, err
		}
		c := &pacedConn{fd: fd}
		g.conns[int32(fd)] = c
		g.idle = append(g.idle, c)
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)
		if err := errors.Join(err, epollAdd(ep, fd)); err != nil {
			return nil, err
		}
	}
	err = g.loop(ctx, time.Second/time.Duration(rate), d)
	return g.took, err
}

func (g *pacedGenerator) close() {
	for _, c := range g.conns {
		_ = unix.Close(c.fd)
	}
	_ = unix.Close(g.ep)
}

// loop sends a request every gap until d has passed, and reads the answers.
func (g *pacedGenerator) loop(ctx context.Context, gap, d time.Duration) error {
	events := make([]unix.EpollEvent, floorEvents)
	start := time.Now()
	due := start
	for {
		now := time.Now()
		if over := now.Sub(start) - d; over > 0 && (g.waiting == 0 || over > generatorDrain) {
			break
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		for ; !due.After(now) && due.Sub(start) < d; due = due.Add(gap) {
			if len(g.idle) == 0 {
				g.starved = true
				break
			}
			if err := g.send(due); err != nil {
				return err
			}
		}
		g.starved = g.starved && !due.After(now)
		wait := min(max(time.Until(due), time.Millisecond), 100*time.Millisecond)
		n, err := unix.EpollWait(g.ep, events, int(wait/time.Millisecond))
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("epoll_wait: %w", err)
		}
		for _, ev := range events[:max(n, 0)] {
			if err := g.read(g.conns[ev.Fd]); err != nil {
				return err
			}
		}
	}
	if g.waiting > 0 {
		return fmt.Errorf("%d answers still due %v after the last request", g.waiting, generatorDrain)
	}
	return nil
}

// send sends the request that was due at the given time.
func (g *pacedGenerator) send(due time.Time) error {
	c := g.idle[len(g.idle)-1]
	g.idle = g.idle[:len(g.idle)-1]
	g.out, c.asked = g.next(g.out[:0])
	c.sent = due.UnixNano()
	if !g.starved {
		c.sent = time.Now().UnixNano()
	}
	if n, err := unix.Write(c.fd, g.out); err != nil || n != len(g.out) {
		return fmt.Errorf("sending a request: %d of %d bytes: %v", n, len(g.out), err)
	}
	g.waiting++
	return nil
}

// read reads what came for c.
func (g *pacedGenerator) read(c *pacedConn) error {
	n, oobn, _, _, err := unix.Recvmsg(c.fd, g.buf, g.oob, 0)
	switch {
	case errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR):
		return nil
	case err != nil || n == 0:
		return fmt.Errorf("a connection of the light client ended: %v", err)
	}
	c.in = append(c.in, g.buf[:n]...)
	a, err := parseAnswer(c.in)
	if err != nil || !a.whole {
		return err
	}
	if a.status != 200 || len(c.in) != a.total || !g.right(c.asked, c.in[a.head:]) {
		return fmt.Errorf("wrong answer (status %d, %d bytes): %.300q", a.status, len(c.in), c.in)
	}
	g.took = append(g.took, time.Duration(stamp(g.oob[:oobn])-c.sent))
	c.in = c.in[:0]
	g.waiting--
	g.idle = append(g.idle, c)
	return nil
}
