package lock

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// model says in a few plain lines what Table must do, for one thing at a time.
// Times are since the start of the run.
type model struct {
	keys map[Key]*modelKey
}

type modelKey struct {
	leader    int // caller's number; 0 for none
	since     time.Duration
	published bool
	line      []modelWaiter
	alone     int
}

type modelWaiter struct {
	caller   int
	deadline time.Duration
	age      time.Duration
	alone    int
}

// event is what a caller must be told.
type event struct {
	caller  int
	outcome Outcome
}

func (e event) String() string { return fmt.Sprintf("%d:%v", e.caller, e.outcome) }

func (m *model) key(k Key) *modelKey {
	if m.keys[k] == nil {
		m.keys[k] = &modelKey{}
	}
	return m.keys[k]
}

// live is how many keys Table.Len must count.
func (m *model) live() int {
	n := 0
	for _, k := range m.keys {
		if k.leader != 0 || k.alone > 0 {
			n++
		}
	}
	return n
}

func (k *modelKey) tooLong(caller, budget int) event {
	if k.alone < budget {
		k.alone++
		return event{caller, TimedOutAlone}
	}
	return event{caller, TimedOut}
}

func (m *model) acquire(now time.Duration, key Key, caller int, o Options) (events []event) {
	k := m.key(key)
	switch {
	case k.leader == 0:
		k.leader, k.since = caller, now
		return []event{{caller, Leader}}
	case k.published:
		return []event{{caller, Streaming}}
	case now-k.since >= o.Age:
		k.leader, k.since = caller, now
		return []event{{caller, TooOld}}
	case len(k.line) >= o.MaxWaiters:
		return []event{k.tooLong(caller, o.Alone)}
	}
	k.line = append(k.line, modelWaiter{caller, now + o.Wait, o.Age, o.Alone})
	return nil
}

func (m *model) free(k *modelKey, outcome Outcome) (events []event) {
	for _, w := range k.line {
		events = append(events, event{w.caller, outcome})
	}
	k.line = nil
	return events
}

func (m *model) publish(key Key, caller int) []event {
	k := m.key(key)
	if k.leader != caller || k.published {
		return nil
	}
	k.published = true
	return m.free(k, Streaming)
}

func (m *model) release(now time.Duration, key Key, caller int, s Status) (events []event) {
	k := m.key(key)
	if k.leader != caller {
		return nil
	}
	k.leader, k.published = 0, false
	switch s {
	case StatusStored:
		return m.free(k, Stored)
	case StatusGaveUp:
		return m.free(k, GaveUp)
	}
	if len(k.line) > 0 {
		next := k.line[0].caller
		k.line = k.line[1:]
		k.leader, k.since = next, now
		events = append(events, event{next, Leader})
	}
	if s == StatusFailed {
		events = append(events, m.free(k, Failed)...)
	}
	return events
}

func (m *model) cancel(key Key, caller int) []event {
	k := m.key(key)
	for i, w := range k.line {
		if w.caller == caller {
			k.line = append(k.line[:i:i], k.line[i+1:]...)
			return []event{{caller, Canceled}}
		}
	}
	return nil
}

// advance lets time pass to now, one expiry after the other.
func (m *model) advance(now time.Duration) (events []event) {
	for {
		var first *modelKey
		var at time.Duration
		var who int
		for _, k := range m.keys {
			for i, w := range k.line {
				if t := min(w.deadline, k.since+w.age); t <= now && (first == nil || t < at) {
					first, at, who = k, t, i
				}
			}
		}
		if first == nil {
			return events
		}
		w := first.line[who]
		first.line = append(first.line[:who:who], first.line[who+1:]...)
		if at-first.since >= w.age {
			first.leader, first.since = w.caller, at
			events = append(events, event{w.caller, TooOld})
		} else {
			events = append(events, first.tooLong(w.caller, w.alone))
		}
	}
}

// run drives a Table and the model with the same steps.
type run struct {
	t       *testing.T
	table   *Table[int]
	model   model
	start   time.Time
	rng     *rand.Rand
	callers int

	mu      sync.Mutex
	told    map[int]Outcome // since the last check
	permits map[int]*Permit[int]
	keyOf   map[int]Key
	cancels map[int]context.CancelFunc // of those who wait
}

func (r *run) now() time.Duration { return time.Since(r.start) }

func (r *run) acquire(key Key) []event {
	r.callers++
	caller := r.callers
	// No two expiries at the same instant: which comes first is then open.
	odd := time.Duration(caller) * time.Microsecond
	o := Options{
		Wait:       time.Duration(1+r.rng.IntN(20))*time.Second + odd,
		Age:        time.Duration(1+r.rng.IntN(20))*time.Second + odd/2 + time.Nanosecond,
		Alone:      1 + r.rng.IntN(3),
		MaxWaiters: 1 + r.rng.IntN(6),
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.mu.Lock()
	r.keyOf[caller], r.cancels[caller] = key, cancel
	r.mu.Unlock()
	events := r.model.acquire(r.now(), key, caller, o)
	go func() {
		outcome, p, f := r.table.Acquire(ctx, key, &o)
		r.mu.Lock()
		defer r.mu.Unlock()
		cancel()
		delete(r.cancels, caller)
		r.told[caller] = outcome
		if (p != nil) != (outcome == Leader || outcome == TooOld) {
			r.t.Errorf("%v with permit %v", outcome, p)
		}
		if (f != 0) != (outcome == Streaming) {
			r.t.Errorf("%v with flight %d", outcome, f)
		}
		if p != nil {
			r.permits[caller] = p
		}
	}()
	return events
}

// any returns one key of m, the same for the same seed, or 0.
func anyOf[V any](rng *rand.Rand, m map[int]V, upTo int) int {
	if len(m) == 0 {
		return 0
	}
	for i := rng.IntN(upTo) + 1; ; i = i%upTo + 1 {
		if _, ok := m[i]; ok {
			return i
		}
	}
}

// step does one thing at random and returns what the model says it tells whom.
func (r *run) step() []event {
	key := keyOf(r.rng.IntN(3) * numShards) // all in one shard
	switch n := r.rng.IntN(20); {
	case n < 9:
		return r.acquire(key)
	case n < 11:
		if caller := anyOf(r.rng, r.permits, r.callers); caller != 0 {
			r.permits[caller].Publish(caller)
			return r.model.publish(r.keyOf[caller], caller)
		}
	case n < 14:
		if caller := anyOf(r.rng, r.permits, r.callers); caller != 0 {
			s := Status(r.rng.IntN(int(numStatuses)))
			events := r.model.release(r.now(), r.keyOf[caller], caller, s)
			p := r.permits[caller]
			delete(r.permits, caller)
			p.Release(s)
			p.Release(StatusGaveUp) // counts for nothing
			return events
		}
	case n < 15:
		if caller := anyOf(r.rng, r.cancels, r.callers); caller != 0 {
			events := r.model.cancel(r.keyOf[caller], caller)
			r.cancels[caller]()
			return events
		}
	case n < 16:
		if k := r.model.key(key); k.alone > 0 {
			k.alone--
			r.table.AloneDone(key)
		}
	default:
		time.Sleep(time.Duration(r.rng.IntN(6000)) * time.Millisecond)
		return r.model.advance(r.now())
	}
	return nil
}

// check compares what callers were told with what the model says.
func (r *run) check(step int, events []event) {
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range events {
		if got, ok := r.told[e.caller]; !ok || got != e.outcome {
			r.t.Fatalf("step %d: caller %d was told %v (told at all: %v), want %v", step, e.caller, got, ok, e.outcome)
		}
		delete(r.told, e.caller)
	}
	for caller, outcome := range r.told {
		r.t.Fatalf("step %d: caller %d was told %v and should wait", step, caller, outcome)
	}
	if got, want := r.table.Len(), r.model.live(); got != want {
		r.t.Fatalf("step %d: Len = %d, want %d", step, got, want)
	}
}

func TestAgainstModel(t *testing.T) {
	for seed := range uint64(150) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := &run{
					t: t, table: New[int](), model: model{keys: map[Key]*modelKey{}}, start: time.Now(),
					rng:  rand.New(rand.NewPCG(seed, 1)),
					told: map[int]Outcome{}, permits: map[int]*Permit[int]{},
					keyOf: map[int]Key{}, cancels: map[int]context.CancelFunc{},
				}
				defer func() { // whatever happened, nobody is left waiting
					r.mu.Lock()
					for _, cancel := range r.cancels {
						cancel()
					}
					r.mu.Unlock()
				}()
				for step := range 400 {
					r.check(step, r.step())
				}
				// Everyone goes home, and nothing is left.
				for len(r.permits) > 0 {
					caller := anyOf(r.rng, r.permits, r.callers)
					events := r.model.release(r.now(), r.keyOf[caller], caller, StatusStored)
					r.permits[caller].Release(StatusStored)
					delete(r.permits, caller)
					r.check(-1, events)
				}
				for key, k := range r.model.keys {
					for ; k.alone > 0; k.alone-- {
						r.table.AloneDone(key)
					}
				}
				if n := r.table.Len(); n != 0 {
					t.Errorf("Len = %d at the end", n)
				}
				if n := r.table.Waiting(); n != 0 {
					t.Errorf("Waiting = %d at the end", n)
				}
			})
		})
	}
}

// The same with true concurrency, for the race detector: whatever interleaves,
// there is one leader a key at a time, and nothing is left at the end.
func TestStress(t *testing.T) {
	table := New[int]()
	const keys, goroutines, rounds = 4, 64, 300
	var leading [keys]atomic.Int64
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(g), 2))
			for range rounds {
				n := rng.IntN(keys)
				ctx, cancel := context.Background(), context.CancelFunc(func() {})
				if rng.IntN(4) == 0 {
					ctx, cancel = context.WithTimeout(ctx, time.Duration(rng.IntN(200))*time.Microsecond)
				}
				o := &Options{Wait: time.Duration(1+rng.IntN(2000)) * time.Microsecond, Age: -1, Alone: 2}
				outcome, p, f := table.Acquire(ctx, keyOf(n), o)
				cancel()
				switch outcome {
				case Leader:
					if leading[n].Add(1) != 1 {
						t.Error("two leaders at a time")
					}
					if rng.IntN(3) == 0 {
						p.Also(keyOf(keys + n))
						p.Publish(n + 1)
					}
					if rng.IntN(3) == 0 {
						time.Sleep(time.Duration(rng.IntN(300)) * time.Microsecond)
					}
					leading[n].Add(-1)
					p.Release(Status(rng.IntN(int(numStatuses))))
				case Streaming:
					if f != n+1 {
						t.Errorf("flight %d of key %d", f, n)
					}
				case TimedOutAlone:
					table.AloneDone(keyOf(n))
				case TooOld:
					t.Error("too old, and no age is")
				case Stored, GaveUp, Failed, TimedOut, Canceled:
				}
			}
		})
	}
	wg.Wait()
	if table.Len() != 0 || table.Waiting() != 0 {
		t.Errorf("at rest: Len %d, Waiting %d", table.Len(), table.Waiting())
	}
}

func BenchmarkAcquireRelease(b *testing.B) {
	table := New[int]()
	var n atomic.Int64
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		id := int(n.Add(1))
		for pb.Next() {
			_, p, _ := table.Acquire(context.Background(), keyOf(id), nil)
			p.Release(StatusStored)
		}
	})
}
