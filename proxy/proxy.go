// Package proxy runs exchanges: one request from the client's socket to the
// response on it. It drives the machine of cache/statemachine, which decides;
// the handlers here do, with the store, the lock, the pool and the codec.
//
// A request walks: connection.go (the loop over one connection), exchange.go
// (the driver: action, event, action ...; looking up and queueing), then the handler
// of each action: fetch.go, fill.go, serve.go, relay.go, fail.go; refresh.go and
// tunnel.go are what outlives it.
//
// An answer is sent by serve.go, one range or several by ranges.go, from files where
// that can be by sendfile.go. Where its bytes come from more than one place, gather.go
// reads them, and run.go keeps two exchanges from fetching the same chunk. Where the
// store fails in its middle, lasting.go goes on, by repeat.go without a strong validator.
//
// route.go says which rules apply, key.go and searchkey.go what the key is, fields.go
// what changes in the fields, tags.go what purges know a response by, and purge.go what
// exchanges purge themselves.
package proxy

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"

	"edge/cache/lock"
	"edge/cache/storage"
)

// Options make a Proxy.
type Options struct {
	// Name is this node's name in Via, Cache-Status and Proxy-Status; "edge"
	// where empty.
	Name string
	// LoopID is this node's name in CDN-Loop; where empty, a pseudonym of
	// this process, so that two nodes of the same name are not a loop.
	LoopID  string
	Routes  []*Route
	Trusted []netip.Prefix
	Store   storage.Store
	Ledger  storage.Ledger
	// Purger, if not nil, is told of purges that exchanges cause.
	Purger   Purger
	Clock    *Clock
	Observer Observer
	Logger   *slog.Logger
}

// Proxy serves exchanges. Safe for concurrent use.
type Proxy struct {
	viaName    []byte
	statusName []byte
	loopID     []byte

	table    atomic.Pointer[table]
	store    storage.Store
	ledger   storage.Ledger
	purger   Purger // nil for none
	locks    *lock.Table[*fill]
	clock    *Clock
	observer Observer
	log      *slog.Logger

	// generations count invalidations by a hash of the key, so that a
	// response asked for before an invalidation is not stored after it.
	generations [numGenerations]atomic.Uint32

	// ctx ends when exchanges must end: their waits, fills and tunnels.
	ctx      context.Context
	cancel   context.CancelFunc
	draining atomic.Bool
	// upstreams are the conversations with origins that Close interrupts.
	upstreams roll
	// background counts fills and refreshes, which outlive their exchange.
	background sync.WaitGroup

	// queried remembers the URIs that QUERY was used on, for its keys.
	queried *uriTable[struct{}]
	// rules remembers what No-Vary-Search said of each path.
	rules    *uriTable[*searchRule]
	lastRule atomic.Pointer[searchRule] // the one remembered last
	// uses counts requests for keys under which nothing is stored.
	uses uses

	fills, refreshes, tunnels atomic.Int64
	repeats                   atomic.Int64 // answers being finished by repeat
}

// numGenerations is a power of two; a collision costs one response not stored.
// At 1000 unsafe requests a second beside fetches of 100 ms, one in 650 is.
const numGenerations = 1 << 16

// New returns a Proxy. Close ends it.
func New(o Options) *Proxy {
	name := o.Name
	if name == "" {
		name = "edge"
	}
	loopID := o.LoopID
	if loopID == "" {
		var id [6]byte
		_, _ = rand.Read(id[:])
		loopID = "edge-" + hex.EncodeToString(id[:])
	}
	p := &Proxy{
		viaName: []byte(name), statusName: []byte(name), loopID: []byte(loopID),
		store: o.Store, ledger: o.Ledger, purger: o.Purger, locks: lock.New[*fill](),
		clock: o.Clock, observer: o.Observer, log: o.Logger,
		queried: newURITable[struct{}](), rules: newURITable[*searchRule](),
	}
	if p.ledger == nil {
		p.ledger = storage.NoPurges{}
	}
	if p.clock == nil {
		p.clock = NewClock()
	}
	if p.observer == nil {
		p.observer = noObserver{}
	}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.SetRoutes(o.Routes, o.Trusted)
	return p
}

// SetRoutes replaces the routes; exchanges under way keep theirs.
func (p *Proxy) SetRoutes(routes []*Route, trusted []netip.Prefix) {
	p.table.Store(&table{routes: routes, trusted: trusted})
}

// Drain makes every connection close after the exchange it is in.
func (p *Proxy) Drain() { p.draining.Store(true) }

// Close ends what still runs: waits, fills, refreshes, tunnels; and waits for
// fills and refreshes. The store, pool and listeners are the caller's.
func (p *Proxy) Close() {
	p.draining.Store(true)
	p.cancel()
	p.upstreams.interrupt()
	p.background.Wait()
}

// Stats are gauges of the proxy.
type Stats struct {
	Fills, Refreshes, Tunnels int64 // under way
	Waiting                   int64 // requests waiting for another's fetch
	Locks                     int64 // keys being fetched
}

// Stats returns the gauges now.
func (p *Proxy) Stats() Stats {
	return Stats{Fills: p.fills.Load(), Refreshes: p.refreshes.Load(), Tunnels: p.tunnels.Load(),
		Waiting: int64(p.locks.Waiting()), Locks: int64(p.locks.Len())}
}

// generation returns the counter for a key.
func (p *Proxy) generation(k storage.Key) *atomic.Uint32 {
	return &p.generations[(uint32(k[0])<<8|uint32(k[1]))&(numGenerations-1)]
}

// invalidate marks everything under a key as invalid, and dooms what is on
// its way: first the generation, for responses not yet begun to be stored,
// then the store, for those begun.
func (p *Proxy) invalidate(k storage.Key) int {
	p.generation(k).Add(1)
	return p.store.Invalidate(k)
}
