// Package lb chooses which endpoint of an origin an attempt goes to.
//
// # Theory of operation
//
// A policy decides over a schedule: the order in which the endpoints come, each
// as often as its weight says and spread as evenly as that allows. Choosing is
// then one atomic addition and one look into a table, without a lock.
//
// An endpoint that failed is left out of the schedule for a cool-down, while
// others live; the schedule is rebuilt when that begins and when it ends. Where
// none lives, all are in it: a doubtful endpoint is better than none.
//
// An exchange that tries again says what it has tried and gets another.
//
// Endpoints are known by their index: what they are is the caller's business.
package lb

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds and defaults.
const (
	// MaxEndpoints is how many endpoints one origin can have.
	MaxEndpoints = 256
	// MaxWeight is the greatest weight of one of them.
	MaxWeight = 1000
	// DefaultCooldown is how long an endpoint that failed is left out.
	DefaultCooldown = 5 * time.Second
)

// Policy is how the next endpoint is chosen.
type Policy string

// The policies.
const (
	// RoundRobin takes the endpoints in turn, each as often as its weight
	// says, never in bursts (nginx calls it smooth weighted round robin).
	RoundRobin Policy = "round_robin"
	// Weighted is another name for RoundRobin, which always heeds weights.
	Weighted Policy = "weighted"
	// Random takes any, with a probability proportional to its weight. Many
	// nodes that start together do not march in step.
	Random Policy = "random"
)

// Policies returns every policy that New knows.
func Policies() []Policy { return []Policy{RoundRobin, Weighted, Random} }

// Options are what New can be told. The zero Options are the defaults.
type Options struct {
	// Cooldown is how long an endpoint rests after a failure. Negative: not
	// at all.
	Cooldown time.Duration
}

// Balancer chooses among the endpoints of one origin. Safe for concurrent use;
// make it with New.
type Balancer struct {
	cooldown time.Duration
	random   bool
	turns    atomic.Uint64
	all      []endpoint

	schedule atomic.Pointer[schedule]
	mu       sync.Mutex // one rebuilding at a time; endpoint.restUntil
}

// endpoint is what the balancer knows of one.
type endpoint struct {
	weight         int
	restUntil      time.Time // under the Balancer's mu
	picked, failed atomic.Uint64
}

// New returns a Balancer over as many endpoints as there are weights. A weight
// of zero counts as 1.
func New(policy Policy, weights []int, o Options) (*Balancer, error) {
	if len(weights) == 0 || len(weights) > MaxEndpoints {
		return nil, fmt.Errorf("lb: %d endpoints, want 1 to %d", len(weights), MaxEndpoints)
	}
	b := &Balancer{cooldown: o.Cooldown, all: make([]endpoint, len(weights))}
	if b.cooldown == 0 {
		b.cooldown = DefaultCooldown
	}
	switch policy {
	case RoundRobin, Weighted:
	case Random:
		b.random = true
	default:
		return nil, fmt.Errorf("lb: no policy %q", policy)
	}
	for i, w := range weights {
		if w < 0 || w > MaxWeight {
			return nil, fmt.Errorf("lb: endpoint %d has weight %d, want 1 to %d", i, w, MaxWeight)
		}
		b.all[i].weight = max(w, 1)
	}
	b.rebuild(time.Now())
	return b, nil
}

// Pick returns the index of the endpoint to try next, one for which tried is
// false (nil: none was tried), or false where none is left. It does not
// allocate and takes no lock.
func (b *Balancer) Pick(tried func(int) bool) (int, bool) {
	s := b.schedule.Load()
	if !s.until.IsZero() {
		s = b.refresh(s)
	}
	var turn uint64
	if b.random {
		turn = rand.Uint64()
	} else {
		turn = b.turns.Add(1) - 1
	}
	at := int(turn % uint64(len(s.order)))
	i := int(s.order[at])
	if tried != nil && tried(i) {
		if i = b.another(s, at, tried); i < 0 {
			return 0, false
		}
	}
	b.all[i].picked.Add(1)
	return i, true
}

// another is Pick's second choice: the next in the schedule that was not tried,
// and where all in it were, one that rests. -1 for none.
func (b *Balancer) another(s *schedule, at int, tried func(int) bool) int {
	for range s.order {
		if at++; at == len(s.order) {
			at = 0
		}
		if i := int(s.order[at]); !tried(i) {
			return i
		}
	}
	for i := range b.all {
		if !tried(i) {
			return i
		}
	}
	return -1
}

// refresh rebuilds the schedule where a cool-down has ended. Whoever finds the
// rebuilding under way goes on with the old one.
func (b *Balancer) refresh(s *schedule) *schedule {
	now := time.Now()
	if now.Before(s.until) || !b.mu.TryLock() {
		return s
	}
	defer b.mu.Unlock()
	b.rebuild(now)
	return b.schedule.Load()
}

// Report says what became of an attempt on an endpoint that Pick returned. One
// that is not ok sends it to rest, so it must be the endpoint's own fault: it
// could not be connected to, say, and not that we are at our own limits or a
// client has left. An ok ends no rest: it may come from a connection that was
// made before.
func (b *Balancer) Report(i int, ok bool) {
	if ok {
		return
	}
	b.all[i].failed.Add(1)
	if b.cooldown < 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	b.all[i].restUntil = now.Add(b.cooldown)
	b.rebuild(now)
}

// rebuild makes the schedule of those who live. Called with mu held, or before
// anyone else has b.
func (b *Balancer) rebuild(now time.Time) {
	var live []int
	var until time.Time
	for i := range b.all {
		switch rest := b.all[i].restUntil; {
		case !rest.After(now):
			live = append(live, i)
		case until.IsZero() || rest.Before(until):
			until = rest
		}
	}
	if len(live) == 0 {
		for i := range b.all {
			live = append(live, i)
		}
	}
	order := b.unchanged(live)
	if order == nil {
		weights := make([]int, len(live))
		for k, i := range live {
			weights[k] = b.all[i].weight
		}
		for _, k := range interleave(weights) {
			order = append(order, uint16(live[k]))
		}
	}
	b.schedule.Store(&schedule{order: order, live: live, until: until})
}

// Status is what a Balancer knows of one endpoint.
type Status struct {
	Weight         int
	Picked, Failed uint64 // since the start
	Resting        bool   // left out because it failed
}

// Status returns what is known of each endpoint.
func (b *Balancer) Status() []Status {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	list := make([]Status, len(b.all))
	for i := range b.all {
		e := &b.all[i]
		list[i] = Status{Weight: e.weight, Picked: e.picked.Load(), Failed: e.failed.Load(), Resting: e.restUntil.After(now)}
	}
	return list
}
