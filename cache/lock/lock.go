// Package lock lets at most one fetch per key go forward, however many
// requests want it, and tells those that wait what became of it.
//
// # Theory of operation
//
// The first to Acquire a key is its leader and holds a Permit. Everyone after
// waits, in order of arrival, until the leader says one of four things:
//
//   - Publish(f): a response that can be shared has begun. Every waiter gets f,
//     and so does every later Acquire at once, until Release.
//   - Release(StatusStored): look up again, it is there.
//   - Release(StatusGaveUp): what came can not be shared. Everyone is freed to
//     fetch alone and nobody queues for the key.
//   - Release(StatusFailed): nothing came. The longest waiting becomes the next
//     leader; the others hear Failed and compete again, as often as the caller
//     thinks right. There is still one leader at a time, and a caller that
//     stops after n failures bounds the fetches of a whole crowd to n+1.
//
// or until patience ends: the leader grows older than Options.Age (a comer or
// waiter takes the lead over), Options.Wait has passed (a few may fetch alone),
// or the context is done.
//
// Two things are the caller's. A leader must look the key up again before it
// fetches: between its look-up and its Acquire another leader may have stored
// and released. And what the leader stored must be visible to look-ups before
// Release(StatusStored).
//
// The package knows nothing of responses: F is whatever the caller wants
// followers to receive. It starts no goroutine, and holds no mutex over a wait.
package lock

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Key names what is fetched at most once at a time: a primary cache key, or
// a variant's. Keys are hashes, so that their octets are evenly spread.
type Key [16]byte

// Defaults and bounds of Options.
const (
	DefaultWait       = 5 * time.Second
	DefaultAge        = 30 * time.Second
	DefaultAlone      = 8
	DefaultMaxWaiters = 16384
)

// Options is how patient one Acquire is. Zero fields mean the defaults; nil
// means all of them. Different callers of one key may differ in patience.
type Options struct {
	// Wait is the longest a follower waits. Negative: not at all.
	Wait time.Duration
	// Age is how old a leader that has published nothing may grow before the
	// next comer, or the first waiter to notice, takes the lead over.
	// Negative: it may grow as old as it likes.
	Age time.Duration
	// Alone is how many that have waited too long may be fetching alone for
	// one key at one time. Negative: none.
	Alone int
	// MaxWaiters is how many may wait for one key; one more is treated as
	// having waited too long already. Negative: nobody waits.
	MaxWaiters int
}

func (o *Options) orDefaults() Options {
	var v Options
	if o != nil {
		v = *o
	}
	if v.Wait == 0 {
		v.Wait = DefaultWait
	}
	if v.Age == 0 {
		v.Age = DefaultAge
	}
	if v.Alone == 0 {
		v.Alone = DefaultAlone
	}
	if v.MaxWaiters == 0 {
		v.MaxWaiters = DefaultMaxWaiters
	}
	return v
}

// numShards spreads keys over mutexes. A power of two, at most 256.
const numShards = 64

// Table is the keys being fetched now. Safe for concurrent use; make it with
// New. A Table at rest holds nothing, whatever it has seen.
type Table[F any] struct {
	shards  [numShards]shard[F]
	waiting atomic.Int64
}

// shard owns the slots of its keys: everything reachable from keys, but for the
// result of a waiter taken off its queue, is read and written under mu only.
type shard[F any] struct {
	mu   sync.Mutex
	keys map[Key]*slot[F]
	_    [48]byte // its own cache line
}

// slot is one key's state. It is in the map while there is a leader or while
// someone fetches alone. Invariant: waiters imply a leader, and that the leader
// has published nothing.
type slot[F any] struct {
	leader    *Permit[F]
	since     time.Time // when leader became leader
	published bool
	flight    F // where published
	queue     queue[F]
	alone     int // how many fetch alone
}

// New returns an empty Table.
func New[F any]() *Table[F] {
	t := &Table[F]{}
	for i := range t.shards {
		t.shards[i].keys = make(map[Key]*slot[F])
	}
	return t
}

func (t *Table[F]) shard(key Key) *shard[F] { return &t.shards[key[0]&(numShards-1)] }

// Len returns how many keys are being fetched.
func (t *Table[F]) Len() int {
	n := 0
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		n += len(s.keys)
		s.mu.Unlock()
	}
	return n
}

// Waiting returns how many callers of Acquire wait at the moment.
func (t *Table[F]) Waiting() int { return int(t.waiting.Load()) }

// Acquire asks to fetch key, and waits while another does. The Permit is not
// nil for Leader and TooOld only, and the caller must Release it on every path.
// F is set for Streaming only. After TimedOutAlone the caller owes AloneDone.
// Every other outcome owes nothing.
//
// One call waits no longer than Options.Wait; a caller that competes again
// after Failed shortens Wait by what it has spent.
func (t *Table[F]) Acquire(ctx context.Context, key Key, o *Options) (Outcome, *Permit[F], F) {
	var none F
	if ctx.Err() != nil {
		return Canceled, nil, none
	}
	opt := o.orDefaults()
	now := time.Now()

	s := t.shard(key)
	s.mu.Lock()
	if p, outcome := t.tryLead(s, key, now, opt.Age); p != nil {
		s.mu.Unlock()
		return outcome, p, none
	}
	e := s.keys[key] // has a leader, or tryLead would have led
	if e.published {
		f := e.flight
		s.mu.Unlock()
		return Streaming, nil, f
	}
	if opt.Wait < 0 || e.queue.len >= opt.MaxWaiters {
		outcome := e.tooLong(opt.Alone)
		s.mu.Unlock()
		return outcome, nil, none
	}
	w := &waiter[F]{wake: make(chan struct{})}
	e.queue.push(w)
	check := nextCheck(now.Add(opt.Wait), e.since, opt.Age)
	s.mu.Unlock()
	return t.wait(ctx, s, key, w, now.Add(opt.Wait), check, &opt)
}

// wait waits on w, which is queued for key, until it is woken, its deadline
// passes, its leader grows too old, or ctx is done. check is when to look
// whether it is the second or the third.
func (t *Table[F]) wait(ctx context.Context, s *shard[F], key Key, w *waiter[F], deadline, check time.Time, opt *Options) (Outcome, *Permit[F], F) {
	t.waiting.Add(1)
	defer t.waiting.Add(-1)
	timer := time.NewTimer(time.Until(check))
	defer timer.Stop()
	for {
		select {
		case <-w.wake:
			return w.outcome, w.permit, w.flight
		case <-ctx.Done():
			return t.cancel(s, key, w), nil, *new(F)
		case <-timer.C:
		}
		now := time.Now()
		s.mu.Lock()
		if !w.queued { // its waker was faster
			s.mu.Unlock()
			<-w.wake // being closed at this moment: nothing else is in between
			return w.outcome, w.permit, w.flight
		}
		e := s.keys[key] // has a waiter, so is there and has a leader
		if p, outcome := t.tryLead(s, key, now, opt.Age); p != nil {
			e.queue.remove(w)
			s.mu.Unlock()
			return outcome, p, *new(F)
		}
		if !now.Before(deadline) {
			e.queue.remove(w)
			outcome := e.tooLong(opt.Alone)
			s.mu.Unlock()
			return outcome, nil, *new(F)
		}
		// Another took the lead over: its age counts anew.
		check = nextCheck(deadline, e.since, opt.Age)
		s.mu.Unlock()
		timer.Reset(check.Sub(now))
	}
}

// nextCheck is when a waiter must look again unless woken.
func nextCheck(deadline, leaderSince time.Time, age time.Duration) time.Time {
	if age >= 0 {
		if old := leaderSince.Add(age); old.Before(deadline) {
			return old
		}
	}
	return deadline
}

// cancel takes w off its queue. Where w was woken at the same moment and is
// leader now, the lead goes on to the next, and nobody hears of a failure.
func (t *Table[F]) cancel(s *shard[F], key Key, w *waiter[F]) Outcome {
	s.mu.Lock()
	if w.queued {
		s.keys[key].queue.remove(w)
		s.mu.Unlock()
		return Canceled
	}
	s.mu.Unlock()
	<-w.wake
	if w.permit != nil {
		w.permit.Release(StatusPassed)
	}
	return Canceled
}

// Flight returns what the leader of key has published, if there is one that
// has. It does not wait.
func (t *Table[F]) Flight(key Key) (f F, ok bool) {
	s := t.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.keys[key]; e != nil && e.leader != nil && e.published {
		return e.flight, true
	}
	return f, false
}

// TryAcquire takes the lead of key if that needs no waiting: for a refresh in
// the background, which has no use for another's flight. It owes a Release
// where it returns true.
func (t *Table[F]) TryAcquire(key Key, o *Options) (*Permit[F], bool) {
	opt := o.orDefaults()
	s := t.shard(key)
	s.mu.Lock()
	p, _ := t.tryLead(s, key, time.Now(), opt.Age)
	s.mu.Unlock()
	return p, p != nil
}

// Supersede takes the lead of key from a leader whose published flight is
// outdated: nobody may join it any more, though those who have may read on. It
// owes a Release where it returns true; false where there is no such flight
// (any more), and Acquire is to be called again. outdated is called with the
// shard locked: it must not wait.
func (t *Table[F]) Supersede(key Key, outdated func(F) bool) (*Permit[F], bool) {
	s := t.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.keys[key]
	if e == nil || e.leader == nil || !e.published || !outdated(e.flight) {
		return nil, false
	}
	var none F
	e.published, e.flight = false, none
	return t.lead(e, key, time.Now()), true
}

// AloneDone gives back what TimedOutAlone granted, when that fetch has ended.
// Exactly one call for each: one more is the caller's error, and panics.
func (t *Table[F]) AloneDone(key Key) {
	s := t.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.keys[key]
	if e == nil || e.alone == 0 {
		panic("lock: AloneDone without TimedOutAlone")
	}
	e.alone--
	s.tidy(key, e)
}

// tryLead makes a new leader of key where there is none, or where the one
// there is has published nothing for age. Called with s.mu held.
func (t *Table[F]) tryLead(s *shard[F], key Key, now time.Time, age time.Duration) (*Permit[F], Outcome) {
	e := s.keys[key]
	outcome := Leader
	switch {
	case e == nil:
		e = &slot[F]{}
		s.keys[key] = e
	case e.leader == nil:
	case !e.published && age >= 0 && now.Sub(e.since) >= age:
		// The old leader's Permit no longer speaks for this key: whatever it
		// says from now on, e.leader is another.
		outcome = TooOld
	default:
		return nil, outcome
	}
	return t.lead(e, key, now), outcome
}

// lead makes a new Permit the leader of e. Called with the shard's mu held.
func (t *Table[F]) lead(e *slot[F], key Key, now time.Time) *Permit[F] {
	p := &Permit[F]{table: t, since: now}
	p.keys = append(p.room[:0], key)
	e.leader, e.since = p, now
	return p
}

// tooLong is what one that has waited too long may do.
func (e *slot[F]) tooLong(budget int) Outcome {
	if e.alone < budget {
		e.alone++
		return TimedOutAlone
	}
	return TimedOut
}

// tidy forgets e where nothing is left in it. Called with s.mu held.
func (s *shard[F]) tidy(key Key, e *slot[F]) {
	if e.leader == nil && e.alone == 0 {
		delete(s.keys, key)
	}
}
