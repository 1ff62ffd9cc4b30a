// Package lb chooses which endpoint of an origin an attempt goes to.
//
// # Theory of operation
//
// A policy decides over a schedule: the order in which the endpoints come, each
// as often as its weight says and spread as evenly as that allows. Choosing is
// then one atomic addition and one look into a table, without a lock.
//
// An endpoint that could not be connected to is left out of the schedule for a
// cool-down, while others live; the schedule is rebuilt when that begins and
// when it ends. Where none lives, all are in it: a doubtful endpoint is better
// than none.
//
// An exchange that tries again says what it has tried and gets another.
package lb

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds and defaults.
const (
	// MaxEndpoints is how many endpoints one origin can have.
	MaxEndpoints = 1024
	// MaxWeight is the greatest weight of one of them.
	MaxWeight = 256
	// DefaultCooldown is how long an endpoint that could not be connected to
	// is left out.
	DefaultCooldown = 5 * time.Second
)

// Policy is how the next endpoint is chosen.
type Policy string

// The policies.
const (
	// RoundRobin takes the endpoints in turn, each as often as its weight
	// says, never in bursts (nginx calls it smooth weighted round robin).
	RoundRobin Policy = "round_robin"
	// Random takes any, with a probability proportional to its weight. Many
	// nodes that start together do not march in step.
	Random Policy = "random"
)

// Policies lists every policy that New knows.
func Policies() []Policy { return []Policy{RoundRobin, Random} }

// Outcome is what became of an attempt.
type Outcome uint8

// The outcomes.
const (
	// Succeeded: a response came, whatever its status.
	Succeeded Outcome = iota
	// ConnectFailed: there was no connection to be had: refused, timed out,
	// TLS failed. The endpoint rests for the cool-down. Not for failures that
	// are not the endpoint's: our own limits, a client that left.
	ConnectFailed
	// ExchangeFailed: connected, but no whole response came. Counted only.
	ExchangeFailed
)

// Balancer chooses among the endpoints of one origin. Safe for concurrent use.
type Balancer interface {
	// Pick returns the endpoint to try next, none of those in tried (nil: none
	// was). key says which requests belong together, for policies that send
	// them to one place; the others ignore it. ErrAllTried when none is left.
	Pick(key uint64, tried *Tried) (*Endpoint, error)
	// Report says what became of an attempt on an endpoint that Pick returned.
	Report(e *Endpoint, o Outcome)
	// Endpoints returns all endpoints, in the order of the configuration. The
	// slice is the Balancer's own: read only.
	Endpoints() []*Endpoint
}

// ErrAllTried is Pick's error when every endpoint was tried.
var ErrAllTried = errors.New("lb: every endpoint was tried")

// Options are what New can be told. The zero Options are the defaults.
type Options struct {
	// Cooldown is how long an endpoint rests after ConnectFailed. Negative:
	// not at all.
	Cooldown time.Duration
}

// New returns a Balancer over endpoints, which it copies.
func New(policy Policy, endpoints []*Endpoint, o Options) (Balancer, error) {
	if len(endpoints) == 0 || len(endpoints) > MaxEndpoints {
		return nil, fmt.Errorf("lb: %d endpoints, want 1 to %d", len(endpoints), MaxEndpoints)
	}
	r := &rotation{cooldown: o.Cooldown}
	if r.cooldown == 0 {
		r.cooldown = DefaultCooldown
	}
	switch policy {
	case RoundRobin:
		r.turn = func() uint64 { return r.turns.Add(1) - 1 }
	case Random:
		r.turn = rand.Uint64
	default:
		return nil, fmt.Errorf("lb: no policy %q", policy)
	}
	for _, given := range endpoints {
		e := given.config()
		if e.Weight == 0 {
			e.Weight = 1
		}
		if e.Weight < 0 || e.Weight > MaxWeight {
			return nil, fmt.Errorf("lb: endpoint %s: weight %d, want 1 to %d", e.ID, e.Weight, MaxWeight)
		}
		r.all = append(r.all, e)
	}
	r.rebuild(time.Now())
	return r, nil
}

// rotation is the Balancer of every policy that needs nothing but a schedule
// and a number to look into it with.
type rotation struct {
	all      []*Endpoint
	cooldown time.Duration
	turn     func() uint64
	turns    atomic.Uint64

	now atomic.Pointer[schedule]
	mu  sync.Mutex // one rebuild at a time
}

// Endpoints returns all endpoints.
func (r *rotation) Endpoints() []*Endpoint { return r.all }

// Pick chooses from the schedule.
func (r *rotation) Pick(_ uint64, tried *Tried) (*Endpoint, error) {
	s := r.now.Load()
	if !s.until.IsZero() {
		s = r.refresh(s)
	}
	turn := r.turn()
	e := s.order[turn%uint64(len(s.order))]
	if tried.Has(e) {
		if e = r.another(s, turn, tried); e == nil {
			return nil, ErrAllTried
		}
	}
	e.picked.Add(1)
	return e, nil
}

// refresh rebuilds the schedule where a cool-down has ended. Whoever finds the
// rebuilding under way goes on with the old one.
func (r *rotation) refresh(s *schedule) *schedule {
	now := time.Now()
	if now.Before(s.until) || !r.mu.TryLock() {
		return s
	}
	defer r.mu.Unlock()
	r.rebuild(now)
	return r.now.Load()
}

// another is Pick's second choice: the next in the schedule that was not tried,
// and where all in it were, one that is resting.
func (r *rotation) another(s *schedule, turn uint64, tried *Tried) *Endpoint {
	n := uint64(len(s.order))
	for i := range n {
		if e := s.order[(turn%n+i)%n]; !tried.Has(e) {
			return e
		}
	}
	n = uint64(len(r.all))
	for i := range n {
		if e := r.all[(turn%n+i)%n]; !tried.Has(e) {
			return e
		}
	}
	return nil
}

// Report counts, and sends an endpoint to rest that could not be reached.
func (r *rotation) Report(e *Endpoint, o Outcome) {
	if o == Succeeded {
		return
	}
	e.failed.Add(1)
	if o != ConnectFailed || r.cooldown < 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	e.restUntil = now.Add(r.cooldown)
	r.rebuild(now)
}

// rebuild makes the schedule of those who live. Called with mu held, or before
// anyone else has r.
func (r *rotation) rebuild(now time.Time) {
	var live []*Endpoint
	var until time.Time
	for _, e := range r.all {
		if !e.restUntil.After(now) {
			live = append(live, e)
		} else if until.IsZero() || e.restUntil.Before(until) {
			until = e.restUntil
		}
	}
	for _, e := range r.all {
		e.resting.Store(e.restUntil.After(now))
	}
	if len(live) == 0 {
		live = r.all
	}
	if s := r.now.Load(); s != nil && s.of(live) {
		r.now.Store(&schedule{order: s.order, live: s.live, until: until})
		return
	}
	r.now.Store(&schedule{order: interleave(live), live: live, until: until})
}
