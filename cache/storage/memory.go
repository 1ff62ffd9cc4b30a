package storage

import (
	"errors"
	"fmt"
	"log/slog"
	"math/bits"
	"sync/atomic"
	"time"

	"edge/cache/storage/nameindex"
	"edge/message"
)

// The defaults and bounds of MemoryOptions.
const (
	// DefaultWindow is MemoryOptions.Window where it is 0.
	DefaultWindow = 4 << 20
	// MinMemory is the smallest Size.
	MinMemory = 256 << 10
	// maxObjectShare and maxObjectCap make MaxObject's default: an eighth of
	// Size, and never more than 1 GiB.
	maxObjectShare, maxObjectCap = 8, 1 << 30
	// minChunk and maxChunk bound ChunkSize and its default, which is
	// Size/chunksAimed.
	minChunk, maxChunk = 4 << 10, 1 << 20
	maxDefaultChunk    = 256 << 10
	chunksAimed        = 256
	// inlineCap is the largest announced body that lies in one slot with its
	// head.
	inlineCap = 32 << 10
	// roomAttempts is how often a writer evicts for room before ErrFull.
	roomAttempts = 8
)

// MemoryOptions configure a memory tier. The zero value of everything but
// Size is a default.
type MemoryOptions struct {
	// Size is the hard cap in bytes for heads, bodies and the overhead of
	// every entry. At least MinMemory.
	Size int64
	// MaxObject is the longest body kept, in bytes. Default: Size/8, at most
	// 1 GiB.
	MaxObject int64
	// Window is how much of a body too large to keep is held for its readers,
	// in bytes. Default 4 MiB, at least two chunks, at most Size/2.
	Window int64
	// ChunkSize is the piece, in bytes and a power of two from 4 KiB to 1 MiB,
	// that bodies are kept in; a body of up to one chunk is contiguous.
	// Default: Size/256 rounded up, within 4 KiB and 256 KiB.
	ChunkSize int
	// Ledger tells of purges. Default NoPurges.
	Ledger Ledger
	// Clock tells the time. Default: the system's.
	Clock Clock
	// Logger gets what an operator should know. Default: none.
	Logger *slog.Logger
	// OnHeap keeps the slabs on the Go heap, as race builds always do.
	OnHeap bool
	// Poison overwrites released slots, as race builds always do, so that a
	// use after release shows in tests.
	Poison bool
}

// Memory is the memory tier: a Store whose entries are gone when the process
// is. Close must be called.
//
// How it works. The index maps keys to entries, and is all that Lookup
// consults. An entry is one Go object; its head and its body lie in slots of
// the arena, where the garbage collector does not look, and go when the last
// reference does (entry.go). A writer fills chunks that readers may follow
// (writer.go, reader.go, window.go), and on commit they become the entry's body
// and the entry is published (publish.go), joined with parts held already
// (parts.go). What is worth keeping is decided behind the publisher's back:
// newcomers to a full store wait on probation (probation.go), ristretto admits
// and evicts (judge.go), a janitor carries the verdicts out and sweeps up what
// was missed (sweep.go), and a writer that finds no room does not wait for any
// of them (room.go).
//
// Locks, outer before inner: a shard's, a fill's or an entry's; the arena's,
// the judge's queue's and the probation's are leaves. None is held over a wait,
// but for the judge's gate, which is held for reading while ristretto's worker
// catches up, and the worker waits for nobody.
type Memory struct {
	index  index
	scopes nameindex.Scopes
	marked atomic.Int64 // numbers in the shards' lists of what is marked
	reaped int          // the shard where Reap goes on; Reap's own
	arena  *arena
	judge  *judge

	probation *probation

	ledger  Ledger
	witness Witness // the ledger, where it counts
	clock   Clock
	log     *slog.Logger

	chunkSize, inlineMax      int
	maxObject, window, budget int64

	closed  atomic.Bool
	order   atomic.Uint64 // of publication
	live    atomic.Int64  // entries whose memory is not freed, found or not
	pending atomic.Int64  // bytes in the chunks of bodies being written
	stop    chan struct{} // closed by Close
	done    chan struct{} // closed when the janitor has ended

	stats counters
}

// counters are Stats being counted.
type counters struct {
	entries, stored, evicted, rejected, replaced, removed, freshened,
	invalidated, doomed, tooLarge, aborted atomic.Int64
}

var _ Store = (*Memory)(nil)

// NewMemory returns a memory tier, or an error where the options contradict
// each other.
func NewMemory(o MemoryOptions) (*Memory, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	// What the judge and the probation remember by is part of the budget.
	budget := o.Size - countersFor(o.Size)*counterBytes - o.Size/ghostSpacing*ghostBytes
	j, err := newJudge(budget)
	if err != nil {
		return nil, err
	}
	m := &Memory{
		arena:     newArena(budget, o.ChunkSize, o.OnHeap || instrumented, o.Poison || instrumented),
		judge:     j,
		probation: newProbation(budget),
		ledger:    o.Ledger,
		clock:     o.Clock,
		log:       o.Logger,
		chunkSize: o.ChunkSize,
		inlineMax: min(inlineCap, o.ChunkSize/2),
		maxObject: o.MaxObject,
		window:    o.Window,
		budget:    o.Size,
		stop:      make(chan struct{}),
		done:      make(chan struct{}),
	}
	m.witness, _ = o.Ledger.(Witness)
	m.index.init()
	go m.janitor()
	return m, nil
}

// complete checks o and fills in defaults.
func (o *MemoryOptions) complete() error {
	if o.Size < MinMemory {
		return fmt.Errorf("storage: a memory tier of %d bytes; %d at least", o.Size, MinMemory)
	}
	if o.ChunkSize == 0 {
		o.ChunkSize = min(max(minChunk, 1<<bits.Len64(uint64(o.Size-1)/chunksAimed)), maxDefaultChunk)
	}
	if o.ChunkSize < minChunk || o.ChunkSize > maxChunk || o.ChunkSize&(o.ChunkSize-1) != 0 {
		return fmt.Errorf("storage: chunks of %d bytes; a power of two from %d to %d", o.ChunkSize, minChunk, maxChunk)
	}
	if o.MaxObject == 0 {
		o.MaxObject = min(o.Size/maxObjectShare, maxObjectCap)
	}
	if o.MaxObject < 0 || o.MaxObject > o.Size {
		return fmt.Errorf("storage: objects of %d bytes in a memory tier of %d", o.MaxObject, o.Size)
	}
	if o.Window == 0 {
		o.Window = DefaultWindow
	}
	if o.Window < 0 {
		return errors.New("storage: a negative window")
	}
	o.Window = max(min(o.Window, o.Size/2), 2*int64(o.ChunkSize))
	if o.Ledger == nil {
		o.Ledger = NoPurges{}
	}
	if o.Clock == nil {
		start := time.Now()
		o.Clock = func() message.Instant { return message.Instant(start.UnixNano() + int64(time.Since(start))) }
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}

// Lookup appends to dst every live entry under key.
func (m *Memory) Lookup(dst []Entry, key Key) []Entry {
	first := len(dst)
	dst = m.index.lookup(dst, key)
	now := m.ledger.Sequence()
	kept := dst[:first]
	for _, x := range dst[first:] {
		e := x.(*entry)
		if e.head.Load().checked.Load() < now && !m.spared(e, now) {
			e.Release()
			continue
		}
		m.judge.hit(e)
		kept = append(kept, x)
	}
	clear(dst[len(kept):])
	return kept
}

// Remove takes e out.
func (m *Memory) Remove(x Entry) {
	if e, ok := x.(*entry); ok && e.m == m && m.expel(e) {
		m.stats.removed.Add(1)
		m.judge.forget(e.id)
	}
}

// expel takes e out of the index and gives the index's reference back. False:
// it was not in. The judge is the caller's business.
func (m *Memory) expel(e *entry) bool {
	if !m.index.remove(e) {
		return false
	}
	m.stats.entries.Add(-1)
	e.Release()
	return true
}

// Mapped returns how many bytes of memory outside the Go heap the store takes.
func (m *Memory) Mapped() int64 { return m.arena.mapped() }

// Freshen replaces e's head.
func (m *Memory) Freshen(x Entry, stored *message.Stored, sequence uint64) error {
	return m.FreshenAs(x, stored, sequence, Names{})
}

// FreshenAs replaces e's head and, where names are given, its names.
func (m *Memory) FreshenAs(x Entry, stored *message.Stored, sequence uint64, names Names) error {
	e, ok := x.(*entry)
	if !ok || e.m != m {
		return fmt.Errorf("storage: freshening another store's entry: %w", ErrGone)
	}
	packed, renamed := names.packed, names.packed != nil
	if packed == nil {
		packed = e.head.Load().names
	}
	s, err := m.allocate(headSize(stored)+len(packed), e)
	if err != nil {
		return fmt.Errorf("freshening: %w", err)
	}
	h := &head{slot: s}
	if rest := copyStored(&h.stored, stored, s.mem()); packed != nil {
		h.names = rest[:copy(rest, packed):len(packed)]
	}
	dropped, err := m.install(e, h, sequence, renamed)
	if err != nil {
		m.arena.release(s)
		return err
	}
	if dropped != nil {
		m.stats.replaced.Add(1)
		m.stats.entries.Add(-1)
		dropped.Release()
	}
	m.stats.freshened.Add(1)
	return nil
}

// called is an entry as a Ledger would see it under other names.
type called struct {
	*entry
	names Names
}

// Names returns the other names.
func (c *called) Names() Names { return c.names }

// install makes h the head of e. Another entry that the new head's Nominated
// now belongs to is dropped; its index reference passes to the caller.
func (m *Memory) install(e *entry, h *head, sequence uint64, renamed bool) (dropped *entry, err error) {
	sh := m.index.shard(&e.key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if !e.indexed.Load() {
		return nil, fmt.Errorf("storage: freshening: %w", ErrGone)
	}
	if h.stored.Terms.Flags &^= message.TermPartial; !e.body.Load().complete {
		h.stored.Terms.Flags |= message.TermPartial
	}
	// The new head is judged before anybody can find it, and under the lock: a
	// purge that comes later is found by the look-ups that come later.
	now := max(m.ledger.Sequence(), sequence)
	if now > sequence && (!m.spares(e, &h.stored, sequence) || renamed && !m.spares(&called{e, Names{h.names}}, &h.stored, sequence)) {
		return nil, fmt.Errorf("storage: freshening what was purged: %w", ErrGone)
	}
	for o := sh.live[e.key]; o != nil; o = o.next {
		if o != e && o.nominates(h.stored.Nominated) {
			dropped = o
			sh.drop(o)
			break
		}
	}
	h.checked.Store(now)
	e.marks.Store(0) // judged by all there is
	sh.unlink(e)
	e.retire(e.head.Swap(h))
	sh.insert(e)
	if e.sequence.Store(sequence); renamed {
		sh.rename(e)
	}
	return dropped, nil
}

// Invalidate applies RFC 9111 section 4.4 to one key: "A cache MUST invalidate
// the target URI when it receives a non-error status code in response to an
// unsafe request method".
func (m *Memory) Invalidate(key Key) int {
	s := m.index.shard(&key)
	s.mu.RLock()
	defer s.mu.RUnlock()
	n := 0
	for e := s.live[key]; e != nil; e = e.next {
		e.reflag(message.TermInvalidated, 0)
		n++
	}
	for w := range s.pending.Under(key) {
		w.doomed.Store(true)
	}
	m.stats.invalidated.Add(int64(n))
	return n
}

// Each calls f with every live entry.
func (m *Memory) Each(f func(Entry) bool) {
	var list []*entry
	for i := range m.index.shards {
		list = m.index.shards[i].snapshot(list[:0])
		more := true
		for _, e := range list {
			if more {
				now := m.ledger.Sequence()
				if e.head.Load().checked.Load() >= now || m.spared(e, now) {
					more = f(e)
				}
			}
			e.Release()
		}
		if !more {
			return
		}
	}
}

// Stats returns counters and gauges.
func (m *Memory) Stats() Stats {
	c, bytes := &m.stats, m.arena.used()
	if !m.closed.Load() {
		bytes += m.budget - m.arena.limit // what judge and probation take
	}
	all := TierStats{Entries: c.entries.Load(), Bytes: bytes, Budget: m.budget}
	return Stats{
		Entries: all.Entries, Bytes: all.Bytes, Budget: all.Budget, Memory: all,
		Stored: c.stored.Load(), Evicted: c.evicted.Load(), Rejected: c.rejected.Load(),
		Replaced: c.replaced.Load(), Removed: c.removed.Load(), Freshened: c.freshened.Load(),
		Invalidated: c.invalidated.Load(), Doomed: c.doomed.Load(), TooLarge: c.tooLarge.Load(),
		Aborted: c.aborted.Load(),
	}
}

// Close ends the background work and empties the index.
func (m *Memory) Close() error {
	if m.closed.Swap(true) {
		return nil
	}
	close(m.stop)
	t := time.NewTimer(FlushTimeout)
	defer t.Stop()
	var err error
	select {
	case <-m.done:
	case <-t.C:
		err = fmt.Errorf("storage: the memory tier's janitor did not end within %v", FlushTimeout)
	}
	m.judge.close()
	var list []*entry
	for i := range m.index.shards {
		list = m.index.shards[i].snapshot(list[:0])
		for _, e := range list {
			m.expel(e)
			e.Release()
		}
	}
	m.arena.close()
	return err
}

// releaseHeads frees a list of retired heads.
func (m *Memory) releaseHeads(h *head) {
	for ; h != nil; h = h.next {
		m.arena.release(h.slot)
	}
}
