package lock

import (
	"context"
	"encoding/binary"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func keyOf(n int) Key {
	var k Key
	binary.LittleEndian.PutUint64(k[:], uint64(n))
	return k
}

// result is what one Acquire returned, and when.
type result struct {
	outcome Outcome
	permit  *Permit[string]
	flight  string
	after   time.Duration
}

// acquire runs Acquire on its own goroutine and returns where its result goes.
func acquire(ctx context.Context, table *Table[string], key Key, o *Options) chan result {
	c := make(chan result, 1)
	start := time.Now()
	go func() {
		outcome, p, f := table.Acquire(ctx, key, o)
		c <- result{outcome, p, f, time.Since(start)}
	}()
	return c
}

// lead acquires key, which must be free.
func lead(t *testing.T, table *Table[string], key Key) *Permit[string] {
	t.Helper()
	outcome, p, _ := table.Acquire(context.Background(), key, nil)
	if outcome != Leader || p == nil {
		t.Fatalf("Acquire = %v, %v, want leader", outcome, p)
	}
	return p
}

// empty checks that a table at rest holds nothing.
func empty(t *testing.T, table *Table[string]) {
	t.Helper()
	if n := table.Len(); n != 0 {
		t.Errorf("Len = %d at rest, want 0", n)
	}
	if n := table.Waiting(); n != 0 {
		t.Errorf("Waiting = %d at rest, want 0", n)
	}
}

// crowd starts n waiters behind a leader and returns their results' channels.
func crowd(table *Table[string], key Key, o *Options, n int) []chan result {
	cs := make([]chan result, n)
	for i := range cs {
		cs[i] = acquire(context.Background(), table, key, o)
		synctest.Wait() // so that they queue in order
	}
	return cs
}

func TestOneLeaderOfAThousand(t *testing.T) {
	for _, tc := range []struct {
		name string
		say  func(p *Permit[string])
		want result
	}{
		{"published", func(p *Permit[string]) { p.Publish("flight") }, result{outcome: Streaming, flight: "flight"}},
		{"stored", func(p *Permit[string]) { p.Release(StatusStored) }, result{outcome: Stored}},
		{"gave up", func(p *Permit[string]) { p.Release(StatusGaveUp) }, result{outcome: GaveUp}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				table := New[string]()
				p := lead(t, table, keyOf(1))
				cs := crowd(table, keyOf(1), nil, 999)
				if n := table.Waiting(); n != 999 {
					t.Fatalf("Waiting = %d, want 999", n)
				}
				time.Sleep(time.Second)
				tc.say(p)
				for _, c := range cs {
					r := <-c
					if r.outcome != tc.want.outcome || r.flight != tc.want.flight || r.permit != nil || r.after != time.Second {
						t.Fatalf("got %+v, want %+v after 1s", r, tc.want)
					}
				}
				p.Release(StatusStored)
				synctest.Wait()
				empty(t, table)
			})
		})
	}
}

func TestPublishedFlightIsFoundUntilRelease(t *testing.T) {
	table := New[string]()
	p := lead(t, table, keyOf(1))
	p.Publish("first")
	p.Publish("second") // does not count
	outcome, permit, f := table.Acquire(context.Background(), keyOf(1), nil)
	if outcome != Streaming || permit != nil || f != "first" {
		t.Fatalf("Acquire = %v, %v, %q", outcome, permit, f)
	}
	if _, ok := table.TryAcquire(keyOf(1), nil); ok {
		t.Fatal("TryAcquire took the lead of a published flight")
	}
	p.Release(StatusStored)
	p.Publish("late") // does not count
	lead(t, table, keyOf(1)).Release(StatusFailed)
	empty(t, table)
}

// A failing origin and a crowd: one fetch at a time, and as many in all as the
// callers' bound on tries says, however many callers there are.
func TestFailingLeadersOneAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const herd, tries = 1000, 3
		table := New[string]()
		var fetching, most, fetches, gaveUp atomic.Int64
		var wg sync.WaitGroup
		for range herd {
			wg.Go(func() {
				for range tries {
					outcome, p, _ := table.Acquire(context.Background(), keyOf(1), nil)
					switch outcome {
					case Leader:
						fetches.Add(1)
						most.Store(max(most.Load(), fetching.Add(1)))
						time.Sleep(100 * time.Millisecond)
						fetching.Add(-1)
						p.Release(StatusFailed)
						return
					case Failed:
					default:
						t.Errorf("outcome %v", outcome)
						return
					}
				}
				gaveUp.Add(1)
			})
		}
		wg.Wait()
		if most.Load() != 1 {
			t.Errorf("%d leaders at a time, want 1", most.Load())
		}
		if fetches.Load() != tries+1 || gaveUp.Load() != herd-tries-1 {
			t.Errorf("%d fetches, %d gave up, want %d and %d", fetches.Load(), gaveUp.Load(), tries+1, herd-tries-1)
		}
		empty(t, table)
	})
}

func TestLongestWaitingLeadsNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := New[string]()
		p := lead(t, table, keyOf(1))
		cs := crowd(table, keyOf(1), nil, 3)
		p.Release(StatusPassed)
		r := <-cs[0]
		if r.outcome != Leader {
			t.Fatalf("first waiter got %v, want leader", r.outcome)
		}
		synctest.Wait()
		if len(cs[1]) != 0 || len(cs[2]) != 0 {
			t.Fatal("a lead that was passed on is no failure to the others")
		}
		r.permit.Release(StatusFailed)
		r = <-cs[1]
		if r.outcome != Leader {
			t.Fatalf("second waiter got %v, want leader", r.outcome)
		}
		if r := <-cs[2]; r.outcome != Failed {
			t.Fatalf("third waiter got %v, want failed", r.outcome)
		}
		r.permit.Release(StatusStored)
		empty(t, table)
	})
}

func TestPanickingLeaderReleases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := New[string]()
		p := lead(t, table, keyOf(1))
		c := acquire(context.Background(), table, keyOf(1), nil)
		synctest.Wait()
		func() {
			defer func() { _ = recover() }()
			defer p.Release(StatusFailed)
			panic("leader")
		}()
		r := <-c
		if r.outcome != Leader {
			t.Fatalf("waiter got %v, want leader", r.outcome)
		}
		r.permit.Release(StatusStored)
		r.permit.Release(StatusFailed) // the deferred one: nothing
		empty(t, table)
	})
}

func TestReleaseCountsOnce(t *testing.T) {
	table := New[string]()
	old := lead(t, table, keyOf(1))
	old.Release(StatusFailed)
	p := lead(t, table, keyOf(1))
	old.Release(StatusStored)
	old.Publish("old")
	if old.Also(keyOf(2)) {
		t.Error("Also on a released Permit")
	}
	if _, ok := table.TryAcquire(keyOf(1), nil); ok {
		t.Error("a released Permit released its successor")
	}
	p.Release(StatusStored)
	empty(t, table)
}

func TestWaitingTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := New[string]()
		p := lead(t, table, keyOf(1))
		cs := crowd(table, keyOf(1), &Options{Wait: 2 * time.Second, Alone: 3}, 10)
		got := map[Outcome]int{}
		for _, c := range cs {
			r := <-c
			if r.after != 2*time.Second || r.permit != nil {
				t.Errorf("%+v, want no permit, after 2s", r)
			}
			got[r.outcome]++
		}
		if got[TimedOutAlone] != 3 || got[TimedOut] != 7 {
			t.Fatalf("got %v, want 3 alone and 7 not", got)
		}
		p.Release(StatusStored)
		if table.Len() != 1 {
			t.Fatalf("Len = %d while three fetch alone, want 1", table.Len())
		}
		// Those who fetch alone do not keep a new leader away, and the budget
		// is the key's: it comes back one by one.
		p = lead(t, table, keyOf(1))
		table.AloneDone(keyOf(1))
		for i, want := range []Outcome{TimedOutAlone, TimedOut} {
			r := <-acquire(context.Background(), table, keyOf(1), &Options{Alone: 3})
			if r.outcome != want || r.after != DefaultWait {
				t.Errorf("comer %d: %v after %v, want %v after %v", i, r.outcome, r.after, want, DefaultWait)
			}
		}
		p.Release(StatusStored)
		for range 3 {
			table.AloneDone(keyOf(1))
		}
		empty(t, table)
	})
}

func TestNoPatience(t *testing.T) {
	table := New[string]()
	p := lead(t, table, keyOf(1))
	for _, tc := range []struct {
		o    Options
		want Outcome
	}{
		{Options{Wait: -1}, TimedOutAlone},
		{Options{Wait: -1, Alone: -1}, TimedOut},
		{Options{MaxWaiters: -1, Alone: -1}, TimedOut},
	} {
		if outcome, _, _ := table.Acquire(context.Background(), keyOf(1), &tc.o); outcome != tc.want {
			t.Errorf("%+v: %v, want %v", tc.o, outcome, tc.want)
		}
	}
	table.AloneDone(keyOf(1))
	p.Release(StatusFailed)
	empty(t, table)
	defer func() {
		if recover() == nil {
			t.Error("AloneDone without TimedOutAlone did not panic")
		}
		empty(t, table) // and left no mutex held
	}()
	table.AloneDone(keyOf(1))
}

func TestMaxWaiters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := New[string]()
		p := lead(t, table, keyOf(1))
		o := &Options{MaxWaiters: 2, Alone: -1}
		cs := crowd(table, keyOf(1), o, 2)
		if r := <-acquire(context.Background(), table, keyOf(1), o); r.outcome != TimedOut || r.after != 0 {
			t.Errorf("third waiter: %+v, want timed out at once", r)
		}
		p.Release(StatusStored)
		for _, c := range cs {
			if r := <-c; r.outcome != Stored {
				t.Errorf("waiter got %v", r.outcome)
			}
		}
		empty(t, table)
	})
}

func TestLeaderTooOldForAComer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := New[string]()
		old := lead(t, table, keyOf(1))
		time.Sleep(DefaultAge - 1)
		if _, ok := table.TryAcquire(keyOf(1), nil); ok {
			t.Fatal("took over before its age")
		}
		time.Sleep(1)
		outcome, p, _ := table.Acquire(context.Background(), keyOf(1), nil)
		if outcome != TooOld || p == nil {
			t.Fatalf("Acquire = %v, %v, want too old and a Permit", outcome, p)
		}
		c := acquire(context.Background(), table, keyOf(1), nil)
		synctest.Wait()
		// The old leader comes back to life: it speaks for the key no longer.
		old.Publish("old")
		old.Release(StatusGaveUp)
		synctest.Wait()
		if len(c) != 0 {
			t.Fatalf("the old leader's word reached a waiter: %+v", <-c)
		}
		p.Publish("new")
		if r := <-c; r.flight != "new" {
			t.Fatalf("waiter got %+v", r)
		}
		p.Release(StatusStored)
		empty(t, table)
	})
}

// One whose patience outlasts the leader's age takes the lead over while it
// waits; the others go on waiting, for the new leader.
func TestLeaderTooOldForAWaiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := New[string]()
		lead(t, table, keyOf(1)) // never heard of again
		o := &Options{Wait: 15 * time.Second, Age: 10 * time.Second}
		cs := crowd(table, keyOf(1), o, 20)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		var took *Permit[string]
		for _, c := range cs {
			if len(c) != 1 {
				continue
			}
			r := <-c
			if r.outcome != TooOld || took != nil {
				t.Fatalf("%v after %v, want exactly one, too old", r.outcome, r.after)
			}
			took = r.permit
			c <- r
		}
		if took == nil {
			t.Fatal("nobody took the lead over")
		}
		time.Sleep(4 * time.Second)
		took.Release(StatusStored)
		got := map[Outcome]int{}
		for _, c := range cs {
			got[(<-c).outcome]++
		}
		if got[TooOld] != 1 || got[Stored] != 19 {
			t.Fatalf("got %v, want 1 too old, 19 stored", got)
		}
		empty(t, table)
	})
}

func TestAgeOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := New[string]()
		p := lead(t, table, keyOf(1))
		time.Sleep(time.Hour)
		r := <-acquire(context.Background(), table, keyOf(1), &Options{Age: -1, Alone: -1})
		if r.outcome != TimedOut {
			t.Errorf("got %v, want timed out", r.outcome)
		}
		p.Release(StatusStored)
	})
}

func TestCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := New[string]()
		ctx, cancel := context.WithCancel(context.Background())
		p := lead(t, table, keyOf(1))
		first := acquire(ctx, table, keyOf(1), nil)
		synctest.Wait()
		second := acquire(context.Background(), table, keyOf(1), nil)
		synctest.Wait()
		cancel()
		if r := <-first; r.outcome != Canceled || r.permit != nil {
			t.Errorf("got %+v, want canceled", r)
		}
		if r := <-acquire(ctx, table, keyOf(2), nil); r.outcome != Canceled {
			t.Errorf("done before it began: got %v, want canceled", r.outcome)
		}
		p.Release(StatusFailed)
		r := <-second
		if r.outcome != Leader {
			t.Errorf("second got %v, want leader", r.outcome)
		}
		r.permit.Release(StatusStored)
		empty(t, table)
	})
}

// Cancellation and hand-over at the same instant: the lead is either the
// canceled one's to release or goes on; it is never lost.
func TestCancelRacesHandover(t *testing.T) {
	for range 200 {
		synctest.Test(t, func(t *testing.T) {
			table := New[string]()
			ctx, cancel := context.WithCancel(context.Background())
			p := lead(t, table, keyOf(1))
			first := acquire(ctx, table, keyOf(1), nil)
			synctest.Wait()
			second := acquire(context.Background(), table, keyOf(1), nil)
			synctest.Wait()
			third := acquire(context.Background(), table, keyOf(1), nil)
			synctest.Wait()
			go cancel()
			go p.Release(StatusPassed)
			r1 := <-first
			switch r1.outcome {
			case Leader:
				r1.permit.Release(StatusPassed)
			case Canceled:
			default:
				t.Fatalf("first got %v", r1.outcome)
			}
			r2 := <-second
			if r2.outcome != Leader {
				t.Fatalf("second got %v after first's %v, want leader", r2.outcome, r1.outcome)
			}
			r2.permit.Release(StatusStored)
			if r3 := <-third; r3.outcome != Stored {
				t.Fatalf("third got %v: nothing failed", r3.outcome)
			}
			synctest.Wait()
			empty(t, table)
		})
	}
}

// The lead came and the client had gone already: it goes to the next, and to
// those behind nothing has happened.
func TestCancelAfterHandover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := New[string]()
		p := lead(t, table, keyOf(1))
		s := table.shard(keyOf(1))
		w := &waiter[string]{wake: make(chan struct{})}
		s.keys[keyOf(1)].queue.push(w)
		cs := crowd(table, keyOf(1), nil, 2)
		p.Release(StatusPassed)
		if outcome := table.cancel(s, keyOf(1), w); outcome != Canceled {
			t.Errorf("canceled one got %v", outcome)
		}
		r := <-cs[0]
		if r.outcome != Leader {
			t.Fatalf("next got %v, want leader", r.outcome)
		}
		r.permit.Release(StatusStored)
		if r := <-cs[1]; r.outcome != Stored {
			t.Errorf("the one behind got %v, want stored", r.outcome)
		}
		empty(t, table)
	})
}

func TestAlso(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := New[string]()
		p := lead(t, table, keyOf(1))
		other := lead(t, table, keyOf(3))
		if p.Also(keyOf(3)) {
			t.Error("Also took a key that another leads")
		}
		if !p.Also(keyOf(2)) {
			t.Fatal("Also refused a free key")
		}
		for n := 2; n < MaxKeys; n++ {
			if !p.Also(keyOf(100 + n)) {
				t.Fatalf("Also refused key %d", n+1)
			}
		}
		if p.Also(keyOf(4)) {
			t.Error("a Permit of more than MaxKeys")
		}
		if _, ok := table.Flight(keyOf(2)); ok {
			t.Error("a flight before Publish")
		}
		c := acquire(context.Background(), table, keyOf(2), nil)
		synctest.Wait()
		p.Publish("flight")
		if r := <-c; r.outcome != Streaming || r.flight != "flight" {
			t.Errorf("waiter under the variant's key got %+v", r)
		}
		for _, key := range []Key{keyOf(1), keyOf(2), keyOf(100 + MaxKeys - 1)} {
			if f, ok := table.Flight(key); !ok || f != "flight" {
				t.Errorf("the flight of %v is %q, %v", key, f, ok)
			}
		}
		// The order the proxy uses where Vary comes with the response.
		other.Publish("other")
		if !other.Also(keyOf(4)) {
			t.Fatal("Also after Publish refused a free key")
		}
		if r := <-acquire(context.Background(), table, keyOf(4), nil); r.flight != "other" {
			t.Errorf("comer under the variant's key got %+v", r)
		}
		p.Release(StatusStored)
		other.Release(StatusFailed)
		empty(t, table)
	})
}

// A second key is as old as its leader.
// Who waits for a key that was ceded leads it, and hears nothing of the rest.
func TestCede(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := New[string]()
		p := lead(t, table, keyOf(1))
		p.Also(keyOf(2))
		p.Also(keyOf(3))
		c := acquire(context.Background(), table, keyOf(2), nil)
		synctest.Wait()
		p.Cede(keyOf(2))
		p.Cede(keyOf(9)) // never held
		r := <-c
		if r.outcome != Leader {
			t.Fatalf("the waiter got %v, want leader", r.outcome)
		}
		p.Publish("flight")
		p.Cede(keyOf(3)) // somebody may have it already
		if r := <-acquire(context.Background(), table, keyOf(3), nil); r.outcome != Streaming {
			t.Errorf("a published key: %v, want streaming", r.outcome)
		}
		if _, ok := table.Flight(keyOf(2)); ok {
			t.Error("a ceded key has the flight")
		}
		r.permit.Release(StatusStored)
		p.Release(StatusStored)
		empty(t, table)
	})
}

func TestAlsoKeepsAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := New[string]()
		old := lead(t, table, keyOf(1))
		time.Sleep(DefaultAge - 1)
		if !old.Also(keyOf(2)) {
			t.Fatal("Also refused a free key")
		}
		if _, ok := table.TryAcquire(keyOf(2), nil); ok {
			t.Fatal("took over before its age")
		}
		time.Sleep(1)
		p, ok := table.TryAcquire(keyOf(2), nil)
		if !ok {
			t.Fatal("did not take over at its age")
		}
		old.Release(StatusStored) // of the first key only
		if table.Len() != 1 {
			t.Errorf("Len = %d, want 1", table.Len())
		}
		p.Release(StatusStored)
		empty(t, table)
	})
}

func TestTryAcquire(t *testing.T) {
	table := New[string]()
	p, ok := table.TryAcquire(keyOf(1), nil)
	if !ok {
		t.Fatal("TryAcquire of a free key")
	}
	if _, ok := table.TryAcquire(keyOf(1), nil); ok {
		t.Fatal("TryAcquire of a key that is led")
	}
	p.Release(StatusStored)
	empty(t, table)
}

func TestNames(t *testing.T) {
	seen := map[string]bool{"": true}
	for o := range numOutcomes {
		if seen[o.String()] {
			t.Errorf("outcome %d is named %q, like another", o, o)
		}
		seen[o.String()] = true
	}
	for s := range numStatuses {
		if s.String() == "" {
			t.Errorf("status %d has no name", s)
		}
	}
	if numOutcomes.String() != "invalid" || numStatuses.String() != "invalid" {
		t.Error("out of range")
	}
}

// An outdated flight is followed by nobody new: one comer leads anew, the
// others wait for it, and the old leader's word counts no more.
func TestSupersede(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := New[string]()
		key := keyOf(1)
		old := lead(t, table, key)
		if _, ok := table.Supersede(key, func(string) bool { return true }); ok {
			t.Fatal("superseded a leader that has published nothing")
		}
		old.Publish("old")
		if _, ok := table.Supersede(key, func(f string) bool { return f != "old" }); ok {
			t.Fatal("superseded a flight that is not outdated")
		}
		p, ok := table.Supersede(key, func(f string) bool { return f == "old" })
		if !ok {
			t.Fatal("not superseded")
		}
		if _, ok := table.Supersede(key, func(f string) bool { return f == "old" }); ok {
			t.Fatal("superseded twice")
		}
		waiting := acquire(context.Background(), table, key, nil)
		synctest.Wait()
		old.Release(StatusFailed) // no longer its key
		synctest.Wait()
		if table.Waiting() != 1 {
			t.Fatal("the old leader's release reached the new leader's waiter")
		}
		p.Publish("new")
		if r := <-waiting; r.outcome != Streaming || r.flight != "new" {
			t.Fatalf("the waiter got %v %q", r.outcome, r.flight)
		}
		p.Release(StatusStored)
		empty(t, table)
	})
}
