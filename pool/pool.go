// Package pool keeps connections to origins and hands them out again.
//
// # Theory of operation
//
// Connections are grouped by Target, which holds everything that makes two of
// them different. Within a group the most recently used is handed out first,
// so that the group shrinks to what the load needs and the rest ages out.
//
// An idle connection must be silent. One whose peer has closed it, or has sent
// anything at all, is dropped: at check-out by a look that does not block and
// takes nothing off the wire, and by a sweep now and then, so that descriptors
// of connections closed by their peers do not linger. The look can not see a
// close that is still on its way; for that the caller retries once, with
// GetFresh, what can be replayed.
//
// A group holds at most Options.MaxPerTarget connections, idle, busy or being
// made. Who finds them all busy waits in line for one to come back or end, and
// both the line and the waiting are bounded.
//
// The pool speaks no HTTP. What the caller knows about a connection rides
// along in Conn.Session.
package pool

import (
	"context"
	"errors"
	"maps"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Defaults of Options.
const (
	DefaultMaxIdlePerTarget = 1024
	DefaultMaxIdle          = 8192
	DefaultMaxPerTarget     = 4096
	DefaultMaxWaiters       = 4096
	DefaultWaitTimeout      = 5 * time.Second
	DefaultIdleTimeout      = 60 * time.Second
	DefaultMaxLifetime      = time.Hour
	DefaultConnectTimeout   = 5 * time.Second
	DefaultTLSTimeout       = 5 * time.Second
	DefaultSweepInterval    = 2 * time.Second
	DefaultKeepAlive        = 15 * time.Second
)

// forgetAfter is how long a target that nobody uses keeps its TLS sessions.
const forgetAfter = 10 * time.Minute

// Options are the bounds of a Pool. A zero field means its default, a negative
// one "no such bound", except where stated.
type Options struct {
	// Dial makes a connection; nil means a net.Dialer with KeepAlive and the
	// Target's Bind, which an injected Dial does not see. It must heed ctx.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	// MaxIdlePerTarget and MaxIdle bound the connections kept idle, for one
	// target and in all. Negative: none is kept.
	MaxIdlePerTarget, MaxIdle int
	// MaxPerTarget bounds the connections of one target, whatever their state.
	MaxPerTarget int
	// MaxWaiters bounds the line before a target that has MaxPerTarget
	// connections, and WaitTimeout the time in it. Negative: nobody waits.
	MaxWaiters  int
	WaitTimeout time.Duration

	// IdleTimeout is how long a connection is kept unused.
	IdleTimeout time.Duration
	// MaxLifetime is how old a connection may be when it is handed out: what
	// the name of an origin resolves to is noticed that late.
	MaxLifetime time.Duration
	// MaxUses is how often a connection is handed out. Zero: no bound.
	MaxUses int

	// ConnectTimeout bounds resolving and connecting, TLSTimeout the
	// handshake after it. Not to be switched off: negative means the default.
	ConnectTimeout, TLSTimeout time.Duration
	// KeepAlive is the idle time and interval of TCP keep-alive probes.
	KeepAlive time.Duration
	// SweepInterval is the time between two looks at all idle connections.
	// Negative means the default.
	SweepInterval time.Duration
}

func (o Options) withDefaults() Options {
	orDefault(&o.MaxIdlePerTarget, DefaultMaxIdlePerTarget)
	orDefault(&o.MaxIdle, DefaultMaxIdle)
	orDefault(&o.MaxPerTarget, DefaultMaxPerTarget)
	orDefault(&o.MaxWaiters, DefaultMaxWaiters)
	orDefault(&o.WaitTimeout, DefaultWaitTimeout)
	orDefault(&o.IdleTimeout, DefaultIdleTimeout)
	orDefault(&o.MaxLifetime, DefaultMaxLifetime)
	orDefault(&o.KeepAlive, DefaultKeepAlive)
	o.ConnectTimeout, o.TLSTimeout = max(o.ConnectTimeout, 0), max(o.TLSTimeout, 0)
	o.SweepInterval = max(o.SweepInterval, 0)
	orDefault(&o.ConnectTimeout, DefaultConnectTimeout)
	orDefault(&o.TLSTimeout, DefaultTLSTimeout)
	orDefault(&o.SweepInterval, DefaultSweepInterval)
	return o
}

func orDefault[T comparable](v *T, def T) {
	if *v == *new(T) {
		*v = def
	}
}

// Pool is connections to any number of targets. Safe for concurrent use; make
// it with New and end it with Close.
type Pool struct {
	opt   Options
	count counters
	idle  atomic.Int64 // idle connections of all groups

	// groups is read without a lock and replaced under mu.
	groups atomic.Pointer[map[Target]*group]
	mu     sync.Mutex
	closed bool

	stop    chan struct{}
	stopped chan struct{}
}

// New returns an empty pool and starts its sweeper.
func New(o Options) *Pool {
	p := &Pool{opt: o.withDefaults(), stop: make(chan struct{}), stopped: make(chan struct{})}
	p.groups.Store(&map[Target]*group{})
	go p.sweeper()
	return p
}

// Get returns a connection to t for the caller's sole use: an idle one, or a
// new one, or after some waiting one that another gave back. It owes a Put or
// a Discard. The error is an *Error.
func (p *Pool) Get(ctx context.Context, t *Target) (*Conn, error) { return p.get(ctx, t, false) }

// GetFresh is Get, but never a connection that was used before: for the second
// try after a reused connection turned out dead.
func (p *Pool) GetFresh(ctx context.Context, t *Target) (*Conn, error) { return p.get(ctx, t, true) }

func (p *Pool) get(ctx context.Context, t *Target, fresh bool) (*Conn, error) {
	if ctx.Err() != nil {
		return nil, &Error{Kind: kindOfContext(ctx), Op: "get", Target: t.String(), Err: context.Cause(ctx)}
	}
	for {
		g, err := p.group(t)
		if err != nil {
			return nil, err
		}
		c, err := g.get(ctx, fresh)
		if errors.Is(err, errRetired) {
			p.forget(g) // the sweeper is about to; make it anew
			continue
		}
		return c, err
	}
}

// group returns the group of t, making it where there is none.
func (p *Pool) group(t *Target) (*group, error) {
	if g := (*p.groups.Load())[*t]; g != nil {
		return g, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, &Error{Kind: KindClosed, Op: "get", Target: t.String(), Err: errClosed}
	}
	old := *p.groups.Load()
	if g := old[*t]; g != nil {
		return g, nil
	}
	g, err := newGroup(p, *t)
	if err != nil {
		return nil, err
	}
	groups := maps.Clone(old)
	groups[*t] = g
	p.groups.Store(&groups)
	return g, nil
}

// Put gives c back, to be handed out again: its exchange is over, nothing of it
// is left unread, and the peer did not ask for a close. c must not be used
// after. Put after Discard does nothing.
func (p *Pool) Put(c *Conn) {
	if !c.state.CompareAndSwap(stateBusy, stateIdle) {
		return
	}
	now := time.Now()
	c.idleSince = now
	if c.expired(now, &p.opt) {
		p.count.expired.Add(1)
		c.shut()
		c.group.free()
		return
	}
	// Deadlines of the exchange that is over must not hit the next.
	if c.SetDeadline(time.Time{}) != nil {
		p.count.discarded.Add(1)
		c.abandon()
		c.group.free()
		return
	}
	c.group.put(c)
}

// Discard closes c, which is not fit to be used again. A second call, or one
// after Put, does nothing.
func (p *Pool) Discard(c *Conn) {
	if !c.state.CompareAndSwap(stateBusy, stateDead) {
		return
	}
	p.count.discarded.Add(1)
	c.abandon()
	c.group.free()
}

// Close closes every idle connection and sends home who waits. Connections in
// use stay open until they are given back. It returns when the sweeper has
// ended. A second call does nothing.
func (p *Pool) Close() {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		<-p.stopped
		return
	}
	p.closed = true
	groups := *p.groups.Load()
	p.groups.Store(&map[Target]*group{})
	p.mu.Unlock()
	close(p.stop)
	for _, g := range groups {
		g.close()
	}
	<-p.stopped
}

// sweeper looks at the idle connections every SweepInterval until Close.
func (p *Pool) sweeper() {
	defer close(p.stopped)
	ticker := time.NewTicker(p.opt.SweepInterval)
	defer ticker.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-ticker.C:
		}
		now := time.Now()
		for _, g := range *p.groups.Load() {
			g.sweep(now)
			if g.retire(now) {
				p.forget(g)
			}
		}
	}
}

// forget takes a retired group out of the map, unless that was done before.
func (p *Pool) forget(g *group) {
	p.mu.Lock()
	defer p.mu.Unlock()
	groups := *p.groups.Load()
	if groups[g.target] != g {
		return
	}
	groups = maps.Clone(groups)
	delete(groups, g.target)
	p.groups.Store(&groups)
}
