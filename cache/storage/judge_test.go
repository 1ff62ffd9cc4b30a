package storage

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dgraph-io/ristretto/v2"
)

// TestRistrettoTraits holds what judge is built around, so that an upgrade
// that changes it does not go unnoticed.
func TestRistrettoTraits(t *testing.T) {
	type told struct {
		key     uint64
		value   int
		evicted bool
	}
	var mu sync.Mutex
	var log []told
	hold := make(chan struct{}, 1) // blocks the worker inside a callback
	release := make(chan struct{})
	logged := func() []told {
		mu.Lock()
		defer mu.Unlock()
		return append([]told(nil), log...)
	}
	open := func(max int64) *ristretto.Cache[uint64, int] {
		log = nil
		tell := func(evicted bool) func(*ristretto.Item[int]) {
			return func(i *ristretto.Item[int]) {
				mu.Lock()
				log = append(log, told{i.Key, i.Value, evicted})
				mu.Unlock()
				select {
				case <-hold:
					<-release
				default:
				}
			}
		}
		c, err := ristretto.NewCache(&ristretto.Config[uint64, int]{
			NumCounters: 1000, MaxCost: max, BufferItems: 64, IgnoreInternalCost: true,
			KeyToHash: func(k uint64) (uint64, uint64) { return k, 0 },
			OnEvict:   tell(true), OnReject: tell(false),
		})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	// stopWorker leaves the worker waiting in a callback, with everything set
	// before it drained.
	stopWorker := func(c *ristretto.Cache[uint64, int]) {
		hold <- struct{}{}
		c.Set(999, 0, 1<<50) // larger than everything: rejected
		for len(hold) > 0 {
			time.Sleep(time.Millisecond)
		}
	}

	t.Run("a new Set is invisible until the worker has run", func(t *testing.T) {
		c := open(100)
		defer c.Close()
		stopWorker(c)
		c.Set(1, 1, 1)
		if _, ok := c.Get(1); ok {
			t.Error("visible at once")
		}
		release <- struct{}{}
		c.Wait()
		if _, ok := c.GetTTL(1); !ok {
			t.Error("GetTTL does not see what was admitted")
		}
	})
	t.Run("a second undrained Set keeps the older value and is rejected", func(t *testing.T) {
		c := open(100)
		defer c.Close()
		stopWorker(c)
		c.Set(1, 1, 1)
		c.Set(1, 2, 1)
		release <- struct{}{}
		c.Wait()
		if v, _ := c.Get(1); v != 1 {
			t.Errorf("value %d", v)
		}
		log := logged()
		if want := (told{1, 2, false}); log[len(log)-1] != want {
			t.Errorf("told %v, want %v", log, want)
		}
	})
	t.Run("updates overshoot MaxCost", func(t *testing.T) {
		c := open(100)
		defer c.Close()
		for k := range uint64(10) {
			c.Set(k, 0, 10)
		}
		c.Wait()
		c.Set(1, 0, 1000)
		c.Wait()
		for k := range uint64(10) {
			if _, ok := c.GetTTL(k); !ok {
				t.Errorf("%d was evicted for an update", k)
			}
		}
	})
	t.Run("dropped: a new Set says so, an update does not", func(t *testing.T) {
		c := open(1 << 40)
		defer c.Close()
		c.Set(1, 1, 1)
		c.Wait()
		stopWorker(c)
		k := uint64(1000)
		for ; c.Set(k, 0, 1); k++ {
		}
		if !c.Set(1, 2, 5) {
			t.Error("a dropped update said so")
		}
		n := len(logged())
		release <- struct{}{}
		c.Wait()
		if log := logged(); len(log) != n {
			t.Errorf("told of a dropped Set: %v", log[n:])
		}
	})
	t.Run("an eviction hands back the value", func(t *testing.T) {
		c := open(10)
		defer c.Close()
		c.Set(1, 7, 10)
		c.Wait()
		c.Set(2, 8, 10)
		c.Wait()
		log := logged()
		if want := (told{1, 7, true}); len(log) != 1 || log[0] != want {
			t.Errorf("told %v, want %v", log, want)
		}
	})
}

// TestRoomyMemoryKeepsEverything: while there is room, nothing is turned down,
// and nothing that was stored gets lost between us and ristretto.
func TestRoomyMemoryKeepsEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := open(t, MemoryOptions{Size: 64 << 20})
		const n = 10000
		for round := range 3 { // replacements, too
			for i := range n {
				if err := put(t, m, i, make([]byte, 100*(round+1))); err != nil {
					t.Fatal(err)
				}
			}
		}
		time.Sleep(2 * time.Minute) // verdicts and a few sweeps
		m.judge.settle()
		for i := range n {
			e := m.Lookup(nil, keyOf(i))
			if len(e) != 1 || len(e[0].Bytes()) != 300 {
				t.Fatalf("object %d of %d: %d entries", i, n, len(e))
			}
			if !m.judge.knows(e[0].(*entry).id) {
				t.Fatalf("object %d is unknown to the judge", i)
			}
			e[0].Release()
		}
		if s := m.Stats(); s.Evicted != 0 || s.Rejected != 0 || s.Entries != n {
			t.Fatalf("stats %+v", s)
		}
	})
}

// TestSweepFindsWhatTheJudgeLost: an id that ristretto forgot is offered again.
func TestSweepFindsWhatTheJudgeLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := open(t, MemoryOptions{})
		for i := range 50 {
			if err := put(t, m, i, make([]byte, 100)); err != nil {
				t.Fatal(err)
			}
		}
		m.judge.settle()
		ghost := &entry{m: m, id: 12345, cost: 100}
		m.judge.offer(ghost)
		for i := range 50 {
			m.judge.forget(m.judge.identify(keyOf(i), nil))
		}
		m.judge.settle()
		time.Sleep((ghostTicks + 2) * sweepInterval)
		m.judge.settle()
		for i := range 50 {
			if !m.judge.knows(m.judge.identify(keyOf(i), nil)) {
				t.Fatalf("object %d is still unknown", i)
			}
		}
		if m.judge.knows(ghost.id) {
			t.Fatal("the judge still counts what the index does not have")
		}
	})
}

// TestSweepExpires: markers go as soon as they are stale, responses only when
// the space is wanted.
func TestSweepExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := open(t, MemoryOptions{Size: 16 << 20})
		if err := put(t, m, 1, make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Hour)
		if !has(m, 1) {
			t.Fatal("an expired response went though there is room")
		}
		for i := 10; !m.arena.pressed(pressShare); i++ {
			if err := put(t, m, i, make([]byte, 7000)); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(40 * sweepInterval)
		if s := m.Stats(); has(m, 1) || s.Evicted != 1 {
			t.Fatalf("an expired response stayed though space is wanted, or more than it went: %+v", s)
		}
	})
}

// lru is the plainest cache, to compare with.
type lru struct {
	room, size int64
	at         map[int]int // key to last use
	keys       []int       // in order of use, with gaps
	live       int
}

func (c *lru) get(k int) bool {
	_, ok := c.at[k]
	if !ok {
		c.room -= c.size
	}
	c.at[k] = len(c.keys)
	c.keys = append(c.keys, k)
	for c.room < 0 {
		if old := c.keys[c.live]; c.at[old] == c.live {
			delete(c.at, old)
			c.room += c.size
		}
		c.live++
	}
	return ok
}

// TestScanResistance: with every second request for something never asked for
// again, what is asked for often stays. What ristretto is told of accesses is lost where
// its workers get no turn, which costs points as well, so they get one here: how busy the
// machine is does not matter then. (A young cache loses more: of what is asked for the
// second time, it has had to hold what was asked for once all the while.)
func TestScanResistance(t *testing.T) {
	if instrumented {
		t.Log("too slow in this build; measured in plain builds")
		return
	}
	const (
		size     = 6 << 20
		object   = 1000
		keys     = 20000
		requests = 200000
		turn     = 32 // requests
	)
	run := func(t *testing.T, oneHits bool) (ours, plain float64) {
		m := open(t, MemoryOptions{Size: size})
		l := &lru{room: size - size/8, size: object + 128 + entryOverhead, at: map[int]int{}}
		rnd := rand.New(rand.NewPCG(1, 2))
		zipf := rand.NewZipf(rnd, 1.1, 1, keys)
		hits, lruHits := 0, 0
		fetch := func(k int) bool {
			if has(m, k) {
				return true
			}
			if err := put(t, m, k, make([]byte, object)); err != nil {
				t.Fatal(err)
			}
			return false
		}
		for i := range requests {
			k := int(zipf.Uint64())
			if fetch(k) {
				hits++
			}
			if l.get(k) {
				lruHits++
			}
			if oneHits {
				fetch(1<<30 + i)
				l.get(1<<30 + i)
			}
			if i == requests/2 { // warm
				hits, lruHits = 0, 0
			}
			if i%turn == 0 {
				synctest.Wait()
			}
		}
		return float64(hits) / (requests / 2) * 100, float64(lruHits) / (requests / 2) * 100
	}
	var clean, cleanLRU, scanned, scannedLRU float64
	synctest.Test(t, func(t *testing.T) { clean, cleanLRU = run(t, false) })
	synctest.Test(t, func(t *testing.T) { scanned, scannedLRU = run(t, true) })
	t.Log(fmt.Sprintf("hit ratio alone %.1f %% (LRU %.1f %%), among one-hit URLs %.1f %% (LRU %.1f %%)", clean, cleanLRU, scanned, scannedLRU))
	if scanned < clean-2 {
		t.Errorf("one-hit URLs cost %.1f points, 2 at most", clean-scanned)
	}
	if scanned < scannedLRU {
		t.Errorf("worse than LRU among one-hit URLs: %.1f and %.1f", scanned, scannedLRU)
	}
}
