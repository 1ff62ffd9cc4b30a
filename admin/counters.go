package admin

import (
	"sync/atomic"
	"time"

	"edge/cache/statemachine"
	"edge/proxy"
)

// counters are what one shard counts of exchanges. Everything is an array with
// an index that is at hand, so that counting is a few atomic additions: no
// allocation, no look-up by name, no lock.
type counters struct {
	reason    [maxReasons]atomic.Uint64
	forward   [maxReasons]atomic.Uint64
	notStored [maxReasons]atomic.Uint64
	status    [maxStatus - minStatus]atomic.Uint64 // responses by code
	delivery  [numDeliveries]atomic.Uint64
	bytes     atomic.Uint64
	collapsed atomic.Uint64
	tunnels   atomic.Uint64
	duration  [numKinds]histogram
	_         [64]byte // the next shard begins on a cache line of its own
}

const (
	// maxReasons is room for every reason, now and later.
	maxReasons = 64
	// minStatus and maxStatus bound the status codes that have a counter.
	minStatus, maxStatus = 100, 600
	// numDeliveries is room for every statemachine.Delivery.
	numDeliveries = 8
	// numShards spreads connections over counters. A power of two.
	numShards = 16
)

// shardOf picks a connection's counters: the peer's port is as good as random,
// and the same for all exchanges of a connection.
func (m *Metrics) shardOf(r *proxy.Record) *counters {
	return &m.shards[r.Peer.Port()&(numShards-1)]
}

// Exchange counts one exchange.
func (m *Metrics) Exchange(r *proxy.Record) {
	c := m.shardOf(r)
	if r.Status >= minStatus && r.Status < maxStatus {
		c.status[r.Status-minStatus].Add(1)
	}
	if r.Bytes > 0 {
		c.bytes.Add(uint64(r.Bytes))
	}
	if r.Delivery < numDeliveries && r.Delivery != statemachine.Complete {
		c.delivery[r.Delivery].Add(1)
	}
	d := r.Decision
	c.reason[d.Reason&(maxReasons-1)].Add(1)
	if d.Forward != statemachine.ReasonNone {
		c.forward[d.Forward&(maxReasons-1)].Add(1)
	}
	if d.NotStored != statemachine.ReasonNone {
		c.notStored[d.NotStored&(maxReasons-1)].Add(1)
	}
	if d.Collapsed {
		c.collapsed.Add(1)
	}
	if r.Tunnel {
		c.tunnels.Add(1) // for as long as the other protocol liked: no duration
		return
	}
	c.duration[kindOf(d)].observe(r.Duration)
}

// kind is what the client waited for, as far as durations differ by it.
type kind uint8

const (
	kindHit       kind = iota // answered from the store, nobody asked
	kindStale                 // answered stale from the store
	kindCollapsed             // answered from another request's fetch
	kindForward               // the origin was asked
	kindOwn                   // an answer of our own: refused, failed

	numKinds
)

var kindNames = [numKinds]string{kindHit: "hit", kindStale: "stale", kindCollapsed: "collapsed", kindForward: "forward", kindOwn: "own"}

func kindOf(d *statemachine.Decision) kind {
	switch {
	case d.Status != 0:
		return kindOwn
	case d.Collapsed:
		return kindCollapsed
	case d.Forward != statemachine.ReasonNone:
		return kindForward
	case d.Reason == statemachine.ReasonHit:
		return kindHit
	case isStale(d.Reason):
		return kindStale
	case d.Reason == statemachine.ReasonNone:
		return kindOwn // the machine never saw it
	}
	return kindForward
}

// isStale reports whether r is one of the reasons to answer stale.
func isStale(r statemachine.Reason) bool {
	return r >= statemachine.ReasonStaleWhileRevalidate && r <= statemachine.ReasonStaleRequested
}

// bounds are the upper bounds of the duration buckets: from a hit's tens of
// microseconds to a slow origin's half minute.
var bounds = [...]time.Duration{
	50 * time.Microsecond, 100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond,
	25 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond,
	500 * time.Millisecond, time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second, 30 * time.Second,
}

// histogram counts durations by bucket; its count is the buckets' sum.
type histogram struct {
	buckets [len(bounds) + 1]atomic.Uint64
	nanos   atomic.Uint64
}

func (h *histogram) observe(d time.Duration) {
	d = max(d, 0)
	i := 0
	for i < len(bounds) && d > bounds[i] {
		i++
	}
	h.buckets[i].Add(1)
	h.nanos.Add(uint64(d))
}

// snapshot adds h up with others for the exposition: cumulative buckets, count
// and sum in seconds.
type snapshot struct {
	buckets [len(bounds) + 1]uint64
	nanos   uint64
}

func (s *snapshot) add(h *histogram) {
	for i := range h.buckets {
		s.buckets[i] += h.buckets[i].Load()
	}
	s.nanos += h.nanos.Load()
}

func (s *snapshot) export() (count uint64, sum float64, buckets map[float64]uint64) {
	buckets = make(map[float64]uint64, len(bounds))
	for i, b := range bounds {
		count += s.buckets[i]
		buckets[b.Seconds()] = count
	}
	return count + s.buckets[len(bounds)], float64(s.nanos) / 1e9, buckets
}
