package storage

import (
	"fmt"
	"hash/maphash"
	"sync"

	"github.com/dgraph-io/ristretto/v2"
)

// judge decides what is worth its bytes, by ristretto: TinyLFU admission and
// sampled LFU eviction. It knows entries by an id that belongs to their Key and
// Nominated, so that what is asked for often is recognised when it comes back
// after an eviction.
//
// It is an adviser. The index is the truth for what is found and the arena
// for what fits, because of traits of ristretto v2.4.2 that its own interface
// does not show (TestRistrettoTraits holds them):
//
//   - A new Set is invisible until the worker has run. So nothing is ever
//     looked up in ristretto but whether it still knows an id (knows).
//   - A Set of an id whose earlier Set was not drained yet keeps the older
//     value and is reported as rejected. So a rejection counts only where the
//     id is unknown afterwards; else the entry is offered again.
//   - Updates overshoot MaxCost, so MaxCost is not the cap: the arena is.
//   - Sets are dropped when the worker is behind: a new one returns false, an
//     update returns true. The sweep offers again what is unknown.
//   - Callbacks run on the worker, and a call from one that waits for the
//     worker never returns. So callbacks only queue a verdict; whoever takes
//     the queue (the janitor, or a writer that needs room) acts on it.
//   - A Set, Get or Del that meets Close panics. So all go through the gate.
//
// A TTL is never given: expiry is the sweep's.
type judge struct {
	gate   sync.RWMutex // held for reading over every call, for writing over Close
	closed bool
	cache  *ristretto.Cache[uint64, *entry]
	seed   maphash.Seed

	mu       sync.Mutex // a leaf
	verdicts []verdict
	signal   chan struct{} // capacity 1: there are verdicts

	touched [touchStripes]touches
}

// verdict is what ristretto said about an entry.
type verdict struct {
	e        *entry
	rejected bool // else evicted
}

const (
	// touchStripes and touchBatch shape the buffers between hits and
	// ristretto's counters.
	touchStripes = 16
	touchBatch   = 64
	// hitsCounted and hitsSampled: an entry's first hits all count, then one
	// in hitsSampled. Ristretto's counters end at 15, so no more is needed to
	// tell a hot entry, and most hits then cost one atomic addition.
	hitsCounted, hitsSampled = 16, 8
	// counterSpacing: one frequency counter for that many bytes of budget.
	counterSpacing = 512
	minCounters    = 1 << 10
	// counterBytes is what a counter takes, in bytes: four rows of 4 bits and
	// ten bits of doorkeeper, each up to doubled by rounding to a power of two.
	counterBytes = 7
)

// touches is one stripe of hits on their way to ristretto.
type touches struct {
	mu  sync.Mutex
	n   int
	ids [touchBatch]uint64
	_   [64]byte
}

// countersFor returns how many counters a budget gets.
func countersFor(budget int64) int64 { return max(minCounters, budget/counterSpacing) }

func newJudge(budget int64) (*judge, error) {
	j := &judge{seed: maphash.MakeSeed(), signal: make(chan struct{}, 1)}
	c, err := ristretto.NewCache(&ristretto.Config[uint64, *entry]{
		NumCounters:        countersFor(budget),
		MaxCost:            budget - budget/headroom,
		BufferItems:        touchBatch,
		IgnoreInternalCost: true, // entryOverhead has it
		KeyToHash:          func(id uint64) (uint64, uint64) { return id, 0 },
		OnEvict:            func(i *ristretto.Item[*entry]) { j.deliver(verdict{i.Value, false}) },
		OnReject:           func(i *ristretto.Item[*entry]) { j.deliver(verdict{i.Value, true}) },
	})
	if err != nil {
		return nil, fmt.Errorf("storage: ristretto: %w", err)
	}
	j.cache = c
	return j, nil
}

// identify returns the id of a Key and Nominated. Seeded, so that nobody can
// choose keys whose ids meet; should two meet, one is evicted in the other's
// place, or later by the arena.
func (j *judge) identify(key Key, nominated []byte) uint64 {
	if len(nominated) == 0 {
		return maphash.Bytes(j.seed, key[:])
	}
	var h maphash.Hash
	h.SetSeed(j.seed)
	h.Write(key[:])
	h.Write(nominated)
	return h.Sum64()
}

// deliver queues a verdict. On ristretto's worker: it must not wait for
// anything that waits for the worker, and mu is only ever held for moments.
func (j *judge) deliver(v verdict) {
	if v.e == nil {
		return // cleared, or known by cost only
	}
	j.mu.Lock()
	j.verdicts = append(j.verdicts, v)
	j.mu.Unlock()
	select {
	case j.signal <- struct{}{}:
	default:
	}
}

// take returns the verdicts that have come.
func (j *judge) take() []verdict {
	j.mu.Lock()
	defer j.mu.Unlock()
	v := j.verdicts
	j.verdicts = nil
	return v
}

// offer hands e to ristretto. False: the Set was dropped. Under no lock.
func (j *judge) offer(e *entry) bool {
	j.gate.RLock()
	defer j.gate.RUnlock()
	return !j.closed && j.cache.Set(e.id, e, e.cost)
}

// forget takes an id out of ristretto. Under no lock: it waits where the
// worker is behind.
func (j *judge) forget(id uint64) {
	j.gate.RLock()
	defer j.gate.RUnlock()
	if !j.closed {
		j.cache.Del(id)
	}
}

// knows reports whether ristretto holds the id. GetTTL does not count as an
// access, unlike Get.
func (j *judge) knows(id uint64) bool {
	j.gate.RLock()
	defer j.gate.RUnlock()
	if j.closed {
		return false
	}
	_, ok := j.cache.GetTTL(id)
	return ok
}

// settle waits until the worker has judged everything offered so far.
func (j *judge) settle() {
	j.gate.RLock()
	defer j.gate.RUnlock()
	if !j.closed {
		j.cache.Wait()
	}
}

// hit counts a hit of e.
func (j *judge) hit(e *entry) {
	if n := e.hits.Add(1); n <= hitsCounted || n%hitsSampled == 0 {
		j.touch(e.id)
	}
}

// ask counts a fetch. After the offer, so that e is judged by what came before
// and a first fetch weighs nothing: what is asked for once never takes the
// place of what was asked for twice.
func (j *judge) ask(id uint64) { j.count([]uint64{id}) }

// touch notes that an id was asked for. Under contention it loses some.
func (j *judge) touch(id uint64) {
	t := &j.touched[id%touchStripes]
	if !t.mu.TryLock() {
		return
	}
	defer t.mu.Unlock()
	t.ids[t.n] = id
	if t.n++; t.n < touchBatch {
		return
	}
	t.n = 0
	j.count(t.ids[:])
}

// count tells ristretto of accesses.
func (j *judge) count(ids []uint64) {
	j.gate.RLock()
	defer j.gate.RUnlock()
	if j.closed {
		return
	}
	for _, id := range ids {
		j.cache.Get(id)
	}
}

// flush tells ristretto of the accesses that are still buffered.
func (j *judge) flush() {
	for i := range j.touched {
		t := &j.touched[i]
		t.mu.Lock()
		j.count(t.ids[:t.n])
		t.n = 0
		t.mu.Unlock()
	}
}

// ghosts returns entries that ristretto holds and the index does not, up to
// most: they take part of the budget for nothing.
func (j *judge) ghosts(most int) (found []*entry) {
	j.gate.RLock()
	defer j.gate.RUnlock()
	if j.closed {
		return nil
	}
	j.cache.IterValues(func(e *entry) bool {
		if e != nil && !e.indexed.Load() {
			found = append(found, e)
		}
		return len(found) >= most
	})
	return found
}

// close ends ristretto's goroutines.
func (j *judge) close() {
	j.gate.Lock()
	defer j.gate.Unlock()
	if !j.closed {
		j.closed = true
		j.cache.Close()
	}
}
