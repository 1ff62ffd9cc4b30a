// Package tiered puts a memory tier in front of a disk tier, as one
// storage.Store.
//
// # How it works
//
// What is written through to the disk and is small enough lies in both tiers, or, while
// memory is crowded and until it is asked for again, on the disk only (admit.go); what
// the disk does not take (it is out, or the response was not asked for often enough)
// lies in memory only; what is large lies on the disk only. The one invariant:
//
//	Where both tiers have an entry of a Key and Nominated, it is the same
//	response, and what is found is the memory's.
//
// Whoever changes one tier changes the other under the key's lock (one of a few),
// or takes the other's entry out. Nothing waits under it: the disk's part then is
// done at once or not at all (Put, BeginNow, FreshenNow), and where it is not done the
// disk's entry is taken out, so that no older response shows when the memory
// evicts.
//
// A body of announced, small length is written to memory, where followers stream
// it from, and put on the disk when it is committed. Any other body is written to the
// disk, chunk by chunk and at the disk's pace, and nothing but a chunk of it lies
// in memory. What is found on the disk again and again is promoted (promote.go).
//
// # Locks
//
// Outer before inner: a key's lock, a shard's of the memory tier, a shard's of the disk tier
// and what is under it. The disk is asked what it has (Has) under a lock of memory's;
// memory is never asked anything under one of the disk's.
package tiered

import (
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"

	"edge/cache/storage"
	"edge/cache/storage/disk"
	"edge/message"
)

// lockStripes is how many locks keys share.
const lockStripes = 256

// Options configure a Store.
type Options struct {
	// Memory and Disk configure the tiers. Their Ledger must be the same, and is
	// replaced by one that counts what a purge took once.
	Memory storage.MemoryOptions
	Disk   disk.Options
	// MinUses is how often a response must have been used for the disk to take it
	// (admit.go). 0 and 1: at once, until the disk is full.
	MinUses int
}

// Store is both tiers. Close must be called.
type Store struct {
	mem      *storage.Memory
	disk     *disk.Store
	memMax   int64 // longest body kept in memory
	diskMax  int64
	locks    [lockStripes]sync.Mutex
	used     *storage.Reuse // what was used, of what the disk may take
	asked    *storage.Reuse // what was asked for, of what memory may keep
	minUses  int
	closed   atomic.Bool
	stats    counters
	promoter promoter
}

// counters are Stats being counted, where the tiers' own do not add up.
type counters struct {
	stored, replaced, removed, freshened, invalidated, doomed, tooLarge, aborted, promoted, persisted, unwritten atomic.Int64
}

var _ storage.Store = (*Store)(nil)

// Open opens both tiers.
func Open(o Options) (*Store, error) {
	t := &Store{minUses: o.MinUses}
	if o.Memory.MaxObject == 0 {
		o.Memory.MaxObject = o.Memory.Size / memoryShare
	}
	t.memMax = min(o.Memory.MaxObject, memoryCap)
	if hot := o.Memory.Size / hotShare; o.Disk.Hot == 0 && o.Memory.Size >= hotMinimum {
		// Out of the memory's budget, not beside it.
		o.Disk.Hot, o.Disk.HotFrom = hot, t.memMax
		o.Memory.Size -= hot
	}
	if o.Memory.Ledger != nil {
		l := &once{Ledger: o.Memory.Ledger, t: t, onDisk: make(map[storage.Entry]struct{})}
		l.witness, _ = o.Memory.Ledger.(storage.Witness)
		o.Disk.Ledger, o.Memory.Ledger = o.Memory.Ledger, l
	}
	o.Disk.Warm = t.warm
	var err error
	if t.mem, err = storage.NewMemory(o.Memory); err != nil { // the disk asks what it has in use
		return nil, err
	}
	if t.disk, err = disk.Open(o.Disk); err != nil {
		_ = t.mem.Close() // nothing is in it
		return nil, err
	}
	t.diskMax = t.disk.MaxObject()
	t.used = newHistory(t.disk.Stats().Budget, o.Memory.Size)
	t.asked = storage.NewReuse(o.Memory.Size, o.Memory.Size/askSpacing)
	t.promoter.start(t)
	return t, nil
}

const (
	// memoryShare: the longest body kept in memory is 1/memoryShare of it, by default.
	memoryShare = 64
	// hotShare: 1/hotShare of the memory is for hot chunks of what is too long to lie in
	// memory whole; none of it where there is less than hotMinimum bytes.
	hotShare   = 8
	hotMinimum = 16 << 20
	// memoryCap is the longest body that goes through memory to the disk, in
	// bytes. A longer one is written to the disk as it comes, and read from there:
	// the kernel's page cache holds it.
	memoryCap = 4 << 20
)

// Mapped returns how many bytes of memory outside the Go heap both tiers take.
func (t *Store) Mapped() int64 { return t.mem.Mapped() + t.disk.Mapped() }

// Disk returns the disk tier, for its metrics.
func (t *Store) Disk() *disk.Store { return t.disk }

func (t *Store) lock(key storage.Key) *sync.Mutex { return &t.locks[key[2]] }

// warm tells the disk whether memory has something under a key that was asked for
// there.
func (t *Store) warm(key storage.Key) bool {
	return t.mem.Hits(key) > 0
}

// once is the ledger as the memory tier sees it: it counts what a purge took only
// where the disk will not.
type once struct {
	storage.Ledger
	witness storage.Witness
	t       *Store

	mu     sync.Mutex
	onDisk map[storage.Entry]struct{} // those judged that the disk had then, and will count
}

// maxOnDisk bounds once.onDisk. Beyond, something may be counted twice.
const maxOnDisk = 1 << 10

// Judge judges, and notes whether the disk has the entry too: by the time that it is
// told of, the disk may have been judged.
func (l *once) Judge(e storage.Entry, since uint64) storage.Verdict {
	v := l.Ledger.Judge(e, since)
	if v != storage.Live && l.witness != nil && l.t.disk.Has(e.Key(), e.Stored().Nominated) {
		l.mu.Lock()
		if len(l.onDisk) >= maxOnDisk {
			clear(l.onDisk)
		}
		l.onDisk[e] = struct{}{}
		l.mu.Unlock()
	}
	return v
}

// StaleSince returns when the purges came that make an entry stale.
func (l *once) StaleSince(e storage.Entry, since uint64) message.Instant {
	if d, ok := l.Ledger.(storage.Dater); ok {
		return d.StaleSince(e, since)
	}
	return math.MaxInt64 // not known
}

// Took counts.
func (l *once) Took(e storage.Entry, since uint64, flags message.TermFlags, removed bool) {
	l.mu.Lock()
	_, later := l.onDisk[e]
	delete(l.onDisk, e)
	l.mu.Unlock()
	if l.witness != nil && !later {
		l.witness.Took(e, since, flags, removed)
	}
}

// Lookup appends to dst every live entry under key: the memory's, and those of
// the disk that memory does not have.
func (t *Store) Lookup(dst []storage.Entry, key storage.Key) []storage.Entry {
	first := len(dst)
	dst = t.mem.Lookup(dst, key)
	have := dst[first:]
	if len(have) > 0 {
		t.passed(have[0])
	}
	more, alone := t.disk.Beside(key, have)
	if alone >= 0 {
		t.promoter.persist(have[alone])
	}
	if more {
		found := len(dst)
		dst = t.disk.LookupBut(dst, key, have)
		for _, e := range dst[found:] {
			t.promoter.consider(e)
		}
		slices.SortStableFunc(dst[first:], func(a, b storage.Entry) int { return a.Stored().Recency(b.Stored()) })
	}
	if len(dst)-first > 1 && tied(dst[first:]) {
		return t.untie(dst, first, key)
	}
	return dst
}

// passed tells the promoter's measure of a hit in memory: of one in passedEvery, for
// all of them, because all processors would meet at it.
func (t *Store) passed(e storage.Entry) {
	if rand.Uint32()%passedEvery == 0 {
		t.asked.Pass(passedEvery * max(e.Size(), 0))
	}
}

// tied reports whether the heads do not tell which of two entries is the newer.
func tied(list []storage.Entry) bool {
	for i, e := range list[1:] {
		if list[i].Stored().Recency(e.Stored()) == 0 {
			return true
		}
	}
	return false
}

// untie puts the disk's entries in the place of the memory's: the disk knows the order
// they were stored in, which promotion does not keep.
func (t *Store) untie(dst []storage.Entry, first int, key storage.Key) []storage.Entry {
	kept := dst[:first]
	for _, e := range dst[first:] {
		if t.disk.Has(key, e.Stored().Nominated) {
			e.Release()
		} else {
			kept = append(kept, e)
		}
	}
	clear(dst[len(kept):])
	dst = t.disk.LookupBut(kept, key, kept[first:])
	slices.SortStableFunc(dst[first:], func(a, b storage.Entry) int { return a.Stored().Recency(b.Stored()) })
	return dst
}

// Freshen replaces e's head, in each tier that has e.
func (t *Store) Freshen(e storage.Entry, s *message.Stored, sequence uint64) error {
	return t.FreshenAs(e, s, sequence, storage.Names{})
}

// FreshenAs replaces e's head and, where names are given, its names, in each tier that
// has e.
func (t *Store) FreshenAs(e storage.Entry, s *message.Stored, sequence uint64, names storage.Names) error {
	key, before := e.Key(), e.Stored().Nominated
	if t.disk.Owns(e) {
		if err := t.disk.FreshenAs(e, s, sequence, names); err != nil {
			return err
		}
		t.forgetCopy(key, before)
		t.forgetCopy(key, s.Nominated)
		t.stats.freshened.Add(1)
		return nil
	}
	other := t.disk.Fetch(key, before) // reads: not under the lock
	if other != nil {
		defer other.Release()
	}
	l := t.lock(key)
	l.Lock()
	defer l.Unlock()
	copied := other != nil && t.disk.Current(other)
	another := copied && !same(e.Stored(), other.Stored()) // whose commit is about to take the memory's out
	err := t.mem.FreshenAs(e, s, sequence, names)
	wrote := copied && !another && t.disk.FreshenNow(other, s, sequence, names) == nil
	switch {
	case err != nil && wrote: // evicted from memory meanwhile
		err = nil
		t.forgetCopies(key, before, s.Nominated)
	case err == nil && !wrote && !another:
		// Also what could not be fetched, or has come since, is e as it was.
		if t.disk.Has(key, before) {
			t.stats.unwritten.Add(1)
		}
		t.disk.Discard(key, before)
		t.disk.Discard(key, s.Nominated)
	}
	if err == nil {
		t.stats.freshened.Add(1)
	}
	return err
}

// same reports whether two heads are of one response, as it was stored or last
// freshened.
func same(a, b *message.Stored) bool {
	return a.ResponseTime == b.ResponseTime && a.RequestTime == b.RequestTime && a.Terms.Date == b.Terms.Date &&
		string(a.Head) == string(b.Head) && string(a.Nominated) == string(b.Nominated)
}

// forgetCopy takes the memory's entry of a variant out: the disk has another. It is
// not a removal in anybody's count.
func (t *Store) forgetCopy(key storage.Key, nominated []byte) (had bool) {
	l := t.lock(key)
	l.Lock()
	defer l.Unlock()
	return t.forgetCopies(key, nominated, nominated)
}

// forgetCopies is forgetCopy for two variants. Under the key's lock.
func (t *Store) forgetCopies(key storage.Key, a, b []byte) (had bool) {
	var room [4]storage.Entry
	for _, e := range t.mem.Lookup(room[:0], key) {
		if n := string(e.Stored().Nominated); n == string(a) || n == string(b) {
			t.mem.Remove(e)
			had = true
		}
		e.Release()
	}
	return had
}

// Remove takes e out of each tier that has it.
func (t *Store) Remove(e storage.Entry) {
	key, head := e.Key(), e.Stored()
	other := e
	if !t.disk.Owns(e) {
		if other = t.disk.Fetch(key, head.Nominated); other != nil {
			defer other.Release()
		}
	}
	l := t.lock(key)
	l.Lock()
	defer l.Unlock()
	gone := false
	var room [4]storage.Entry
	for _, x := range t.mem.Lookup(room[:0], key) {
		if x == e || t.disk.Owns(e) && same(x.Stored(), head) {
			t.mem.Remove(x)
			gone = true
		}
		x.Release()
	}
	switch copied := other != nil && t.disk.Current(other); {
	case copied && same(other.Stored(), head):
		t.disk.Remove(other)
		gone = true
	case gone && !copied: // what could not be fetched, or has come since, is the same
		t.disk.Discard(key, head.Nominated)
	}
	if gone {
		t.stats.removed.Add(1)
	}
}

// Invalidate applies RFC 9111 section 4.4 to one key, in both tiers.
func (t *Store) Invalidate(key storage.Key) int {
	l := t.lock(key)
	l.Lock()
	defer l.Unlock()
	n := t.disk.Count(key)
	if t.mem.Invalidate(key) > 0 {
		var room [4]storage.Entry
		for _, e := range t.mem.Lookup(room[:0], key) {
			if !t.disk.Has(key, e.Stored().Nominated) {
				n++
			}
			e.Release()
		}
	}
	t.disk.Invalidate(key)
	t.stats.invalidated.Add(int64(n))
	return n
}

// Each calls f with every live entry, once.
func (t *Store) Each(f func(storage.Entry) bool) {
	more := true
	t.mem.Each(func(e storage.Entry) bool {
		if !t.disk.Has(e.Key(), e.Stored().Nominated) {
			more = f(e)
		}
		return more
	})
	if more {
		t.disk.Each(f)
	}
}

// Stats returns counters and gauges of both tiers. Entries is the number on the disk
// or in memory, whichever is more: most that memory has, the disk has too. (How many it
// has alone would take a look at each, or a count kept through every eviction of either.)
func (t *Store) Stats() storage.Stats {
	m, d, c := t.mem.Stats(), t.disk.Stats(), &t.stats
	hot, hotBudget := t.disk.Hot()
	return storage.Stats{
		Entries: max(m.Entries, d.Entries), Bytes: m.Bytes + d.Bytes + hot, Budget: m.Budget + d.Budget + hotBudget,
		Memory:  storage.TierStats{Entries: m.Entries, Bytes: m.Bytes + hot, Budget: m.Budget + hotBudget},
		Evicted: m.Evicted + d.Evicted, Rejected: m.Rejected + d.Rejected,
		Stored: c.stored.Load(), Replaced: c.replaced.Load(), Removed: c.removed.Load(), Freshened: c.freshened.Load(),
		Invalidated: c.invalidated.Load(), Doomed: c.doomed.Load(), TooLarge: c.tooLarge.Load(), Aborted: c.aborted.Load(),
	}
}

// Close closes both tiers.
func (t *Store) Close() error {
	if t.closed.Swap(true) {
		return nil
	}
	t.promoter.end()
	err := t.mem.Close()
	if e := t.disk.Close(); err == nil {
		err = e
	}
	return err
}
