package pool

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"sync"
	"time"
)

// errRetired is get's answer from a group that the sweeper has just retired.
var errRetired = errors.New("pool: group retired")

// group is the connections of one target. A slot is the right to one of its
// MaxPerTarget connections: every connection has one, and so has every dial.
type group struct {
	pool   *Pool
	target Target
	tls    *tls.Config // nil for cleartext
	dial   func(ctx context.Context, network, address string) (net.Conn, error)

	mu       sync.Mutex
	idle     []*Conn // the longest idle first
	slots    int     // taken
	line     line    // implies that all slots are taken and none is idle
	lastUsed time.Time
	retired  bool // out of the map; makes no new connections
	closed   bool // retired because the pool is closed
}

func newGroup(p *Pool, t Target) (*group, error) {
	g := &group{pool: p, target: t, dial: p.opt.Dial, lastUsed: time.Now()}
	config, err := t.tlsConfig()
	if err != nil {
		return nil, g.fail(KindTarget, "target", err)
	}
	g.tls = config
	if g.dial == nil {
		local, err := t.localAddr()
		if err != nil {
			return nil, g.fail(KindTarget, "bind", err)
		}
		g.dial = (&net.Dialer{LocalAddr: local, KeepAliveConfig: keepAlive(p.opt.KeepAlive)}).DialContext
	}
	return g, nil
}

func keepAlive(d time.Duration) net.KeepAliveConfig {
	return net.KeepAliveConfig{Enable: d > 0, Idle: d, Interval: d}
}

// get returns an idle connection that is in order, or makes one.
func (g *group) get(ctx context.Context, fresh bool) (*Conn, error) {
	now := time.Now()
	deadline := now.Add(g.pool.opt.WaitTimeout)
	for {
		c, w, err := g.take(now, fresh)
		if w != nil {
			c, err = g.wait(ctx, w, deadline)
		}
		if err != nil {
			return nil, err
		}
		for failed := false; c == nil; failed = true {
			if c, err = g.connect(ctx); err == nil {
				return c, nil
			}
			// This machine is out of descriptors or ports, which are ours to give
			// back: a connection that is in use now will do, or its descriptor.
			if KindOf(err) != KindLocal || fresh || failed {
				return nil, err
			}
			if c, w = g.queue(); w != nil {
				var late error
				if c, late = g.wait(ctx, w, deadline); late != nil {
					return nil, err
				}
			} else if c == nil {
				return nil, err
			}
		}
		if g.usable(c, now) {
			c.uses++
			g.pool.count.reused.Add(1)
			return c, nil
		}
		g.free()
	}
}

// take takes an idle connection, or (nil, nil, nil) a slot for a new one, or
// a place in the line.
func (g *group) take(now time.Time, fresh bool) (*Conn, *waiter, error) {
	o := &g.pool.opt
	var evicted *Conn
	g.mu.Lock()
	defer func() {
		g.mu.Unlock()
		if evicted != nil {
			evicted.shut()
		}
	}()
	if g.retired {
		if g.closed {
			return nil, nil, g.fail(KindClosed, "get", errClosed)
		}
		return nil, nil, errRetired
	}
	g.lastUsed = now
	if len(g.idle) > 0 && !fresh {
		return g.lastIdle(), nil, nil
	}
	if o.MaxPerTarget < 0 || g.slots < o.MaxPerTarget {
		g.slots++
		return nil, nil, nil
	}
	if len(g.idle) > 0 { // fresh: the longest idle makes room
		evicted = g.idle[0]
		g.removeIdle(0)
		g.pool.count.evicted.Add(1)
		return nil, nil, nil
	}
	if g.line.len >= o.MaxWaiters || o.WaitTimeout < 0 {
		g.pool.count.refused.Add(1)
		return nil, nil, g.fail(KindExhausted, "get", errLine)
	}
	w := &waiter{fresh: fresh, wake: make(chan struct{})}
	g.line.push(w)
	return nil, w, nil
}

// queue takes an idle connection, or a place in the line where somebody has one to
// give back; else neither.
func (g *group) queue() (*Conn, *waiter) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.idle) > 0 {
		return g.lastIdle(), nil
	}
	if g.retired || g.slots == 0 || g.line.len >= g.pool.opt.MaxWaiters || g.pool.opt.WaitTimeout < 0 {
		return nil, nil
	}
	w := &waiter{wake: make(chan struct{})}
	g.line.push(w)
	return nil, w
}

// lastIdle takes the connection that was used last; there is one. Called with mu
// held.
func (g *group) lastIdle() *Conn {
	c := g.idle[len(g.idle)-1]
	g.removeIdle(len(g.idle) - 1)
	c.state.Store(stateBusy)
	return c
}

// removeIdle takes the i-th off the idle. Called with mu held.
func (g *group) removeIdle(i int) {
	g.idle = slices.Delete(g.idle, i, i+1)
	g.pool.idle.Add(-1)
}

// wait waits in the line for a connection, or a slot (nil), or the end.
func (g *group) wait(ctx context.Context, w *waiter, deadline time.Time) (*Conn, error) {
	g.pool.count.waited.Add(1)
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	var err error
	select {
	case <-w.wake:
		return w.conn, w.err
	case <-ctx.Done():
		err = g.fail(kindOfContext(ctx), "wait for a connection", context.Cause(ctx))
	case <-timer.C:
		g.pool.count.waitedTooLong.Add(1)
		err = g.fail(KindExhausted, "wait for a connection", errWaited)
	}
	g.mu.Lock()
	if w.queued {
		g.line.remove(w)
		g.mu.Unlock()
		return nil, err
	}
	g.mu.Unlock()
	<-w.wake // being closed at this moment: pass on what it brings
	switch {
	case w.conn != nil:
		g.pool.Put(w.conn)
	case w.err == nil:
		g.free()
	}
	return nil, err
}

// usable judges an idle connection about to be handed out, and closes it where
// it is not; its slot is then still taken.
func (g *group) usable(c *Conn, now time.Time) bool {
	if c.expired(now, &g.pool.opt) {
		g.pool.count.expired.Add(1)
		c.shut()
		return false
	}
	switch c.probe() {
	case silent:
		return true
	case spoke:
		g.pool.count.spoke.Add(1)
	case closed:
		g.pool.count.closedByPeer.Add(1)
	}
	c.abandon()
	return false
}

// put makes c, whose exchange is over, someone else's or idle.
func (g *group) put(c *Conn) {
	g.mu.Lock()
	if w := g.line.head; w != nil {
		g.line.remove(w)
		g.mu.Unlock()
		if w.fresh {
			c.shut() // the slot is what it waits for
		} else {
			c.state.Store(stateBusy)
			w.conn = c
		}
		close(w.wake)
		return
	}
	evicted := c
	if !g.retired {
		evicted = nil
		i := len(g.idle)
		for i > 0 && g.idle[i-1].idleSince.After(c.idleSince) {
			i-- // only where the sweep gives one back
		}
		g.idle = slices.Insert(g.idle, i, c)
		if o := &g.pool.opt; int(g.pool.idle.Add(1)) > o.MaxIdle || len(g.idle) > o.MaxIdlePerTarget {
			evicted = g.idle[0]
			g.removeIdle(0)
			g.pool.count.evicted.Add(1)
		}
	}
	if evicted != nil {
		g.slots--
	}
	g.mu.Unlock()
	if evicted != nil {
		evicted.shut()
	}
}

// free gives a slot to the first in the line, or back.
func (g *group) free() { g.freeFor(true) }

// freeFor is free; others: the slot is of use to those in the line. Where it is
// not, because this machine can connect no more, they get it only if there is
// no connection left for them to wait for.
func (g *group) freeFor(others bool) {
	g.mu.Lock()
	w := g.line.head
	if w == nil || !others && g.slots > 1 {
		w = nil
		g.slots--
	} else {
		g.line.remove(w)
	}
	g.mu.Unlock()
	if w != nil {
		close(w.wake)
	}
}

// sweep closes the idle connections that have expired or are not silent.
func (g *group) sweep(now time.Time) {
	g.mu.Lock()
	idle := slices.Clone(g.idle)
	g.mu.Unlock()
	var look look
	look.init()
	for _, c := range idle {
		// Any of these may have been handed out since. To peek harms nobody;
		// all else waits until c is found to be idle still, and taken.
		suspect := c.socket.raw != nil && look.peek(c.socket.raw) != silent
		if !g.takeIdle(c, now, suspect) {
			continue
		}
		if g.usable(c, now) { // TLS had something to say to itself
			c.state.Store(stateIdle)
			g.put(c)
			continue
		}
		g.free()
	}
}

// takeIdle takes c off the idle if it is among them, and suspect or expired.
func (g *group) takeIdle(c *Conn, now time.Time, suspect bool) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	i := slices.Index(g.idle, c)
	if i < 0 || !suspect && !c.expired(now, &g.pool.opt) {
		return false
	}
	g.removeIdle(i)
	c.state.Store(stateBusy)
	return true
}

// retire takes a group out of use that nobody has used for long.
func (g *group) retire(now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.slots > 0 || now.Sub(g.lastUsed) < forgetAfter {
		return false
	}
	g.retired = true
	return true
}

// close closes what is idle and sends the line home.
func (g *group) close() {
	g.mu.Lock()
	g.retired, g.closed = true, true
	idle := g.idle
	g.idle = nil
	g.slots -= len(idle)
	g.pool.idle.Add(-int64(len(idle)))
	var home []*waiter
	for g.line.head != nil {
		home = append(home, g.line.head)
		g.line.remove(g.line.head)
	}
	g.mu.Unlock()
	for _, c := range idle {
		c.shut()
	}
	for _, w := range home {
		w.err = g.fail(KindClosed, "wait for a connection", errClosed)
		close(w.wake)
	}
}
