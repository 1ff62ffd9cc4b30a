package lock

import (
	"slices"
	"sync"
	"time"
)

// MaxKeys is how many keys one Permit can hold: the primary and the variant's,
// or those of the pieces that are fetched in one go, under both.
const MaxKeys = 40

// Permit is the right, and the duty, to fetch for a key. It may be handed from
// goroutine to goroutine; its methods are safe for concurrent use. A Permit
// whose lead was taken over (TooOld), or that is released, does nothing.
type Permit[F any] struct {
	table *Table[F]
	since time.Time

	// mu is taken before a shard's, never after.
	mu        sync.Mutex
	keys      []Key
	room      [2]Key // for keys: more are rare
	published bool
	released  bool
	flight    F
}

// Publish makes f, a shareable response that has begun, known to everyone who
// waits for the Permit's keys or comes until Release. Only the first call counts.
func (p *Permit[F]) Publish(f F) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.released || p.published {
		return
	}
	p.published, p.flight = true, f
	for _, key := range p.keys {
		p.publish(key)
	}
}

func (p *Permit[F]) publish(key Key) {
	s := p.table.shard(key)
	s.mu.Lock()
	e := s.keys[key]
	if e == nil || e.leader != p {
		s.mu.Unlock()
		return
	}
	e.published, e.flight = true, p.flight
	freed := e.queue.takeAll()
	s.mu.Unlock()
	freed.wakeAll(Streaming, p.flight)
}

// Also puts another key under the same Permit: the variant's key, once Vary is
// known, so that those who compete under it find this flight too; or that of
// another piece that is fetched along. It reports false, and changes nothing,
// where somebody leads that key already, where the Permit is released, or where
// it holds MaxKeys.
func (p *Permit[F]) Also(key Key) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.released || len(p.keys) == MaxKeys {
		return false
	}
	s := p.table.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.keys[key]
	if e == nil {
		e = &slot[F]{}
		s.keys[key] = e
	}
	if e.leader != nil {
		return false
	}
	e.leader, e.since = p, p.since
	e.published, e.flight = p.published, p.flight
	p.keys = append(p.keys, key)
	return true
}

// Cede gives one of several keys up before the others: what was fetched does not
// answer those who wait for it. The longest waiting leads in its place. It does
// nothing where the Permit has no such key, or published something already.
func (p *Permit[F]) Cede(key Key) {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.Index(p.keys, key)
	if i < 0 || p.released || p.published {
		return
	}
	p.keys = slices.Delete(p.keys, i, i+1)
	p.release(key, StatusPassed)
}

// Release ends the lead of all the Permit's keys and tells those who wait.
// Exactly the first call counts, so that
//
//	defer permit.Release(lock.StatusFailed)
//
// covers every path, panics included, behind the calls that know better.
func (p *Permit[F]) Release(status Status) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.released {
		return
	}
	p.released = true
	for _, key := range p.keys {
		p.release(key, status)
	}
	p.flight = *new(F) // keep nothing alive that only followers needed
}

func (p *Permit[F]) release(key Key, status Status) {
	s := p.table.shard(key)
	s.mu.Lock()
	e := s.keys[key]
	if e == nil || e.leader != p {
		s.mu.Unlock()
		return
	}
	e.leader, e.published, e.flight = nil, false, *new(F)

	var next *waiter[F]
	if status == StatusFailed || status == StatusPassed {
		if next = e.queue.pop(); next != nil {
			next.outcome = Leader
			next.permit = p.table.lead(e, key, time.Now())
		}
	}
	var freed queue[F]
	if status != StatusPassed {
		freed = e.queue.takeAll()
	}
	s.tidy(key, e)
	s.mu.Unlock()

	if next != nil {
		close(next.wake)
	}
	freed.wakeAll(statusOutcomes[status], *new(F))
}

// statusOutcomes is what the leader's word means to those who waited.
var statusOutcomes = [numStatuses]Outcome{
	StatusFailed: Failed,
	StatusStored: Stored,
	StatusGaveUp: GaveUp,
	StatusPassed: Failed, // wakes nobody
}
