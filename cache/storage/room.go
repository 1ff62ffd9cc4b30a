package storage

import (
	"fmt"
	"sync/atomic"
)

// Making room. The judge evicts in its own time; a writer that finds no slot
// first lets it catch up, and then evicts by itself. Nothing here is called
// under a lock.

// pendingShare: bodies that are being written, which nothing can evict, take up
// to 1/pendingShare of the budget; what grows beyond goes on in a window.
const pendingShare = 2

// allocate returns a slot of at least n bytes for owner, evicting where it
// must.
func (m *Memory) allocate(n int, owner *entry) (slot, error) {
	if n > m.arena.blockSize {
		return slot{}, fmt.Errorf("%w: %d bytes in one piece, %d at most", ErrTooLarge, n, m.arena.blockSize)
	}
	for attempt := range roomAttempts {
		if s, ok := m.arena.alloc(n, owner); ok {
			return s, nil
		}
		m.makeRoom(n, attempt, owner)
	}
	if s, ok := m.arena.alloc(n, owner); ok {
		return s, nil
	}
	return slot{}, fmt.Errorf("%w: no room for %d bytes", ErrFull, n)
}

// charge counts n bytes of the Go heap against the budget, evicting where it
// must.
func (m *Memory) charge(n int64) bool {
	for attempt := range roomAttempts {
		if m.arena.charge(n) {
			return true
		}
		m.makeRoom(m.arena.blockSize, attempt, nil)
	}
	return m.arena.charge(n)
}

// makeRoom is one attempt at making room for n bytes.
func (m *Memory) makeRoom(n, attempt int, owner *entry) {
	if attempt == 0 {
		m.judge.settle()
		if m.actOnVerdicts()+m.endProbation(m.probation.limit/2) > 0 {
			return
		}
	}
	list, all := m.arena.victims(nil, n, victimSample<<attempt)
	if all {
		for _, e := range list {
			if e != owner {
				m.evict(e)
			}
		}
		return
	}
	var coldest *entry
	for _, e := range list {
		if e != owner && (coldest == nil || e.hits.Load() < coldest.hits.Load()) {
			coldest = e
		}
	}
	if coldest != nil {
		m.evict(coldest)
	}
}

// evict takes e out for its space's sake.
func (m *Memory) evict(e *entry) {
	if m.dismiss(e, &m.stats.evicted) {
		m.judge.forget(e.id)
	}
}

// dismiss takes out an entry that the judge does not know (any more), and
// counts it. False: it was not in.
func (m *Memory) dismiss(e *entry, counter *atomic.Int64) bool {
	if !m.expel(e) {
		return false
	}
	counter.Add(1)
	return true
}

// actOnVerdicts does what the judge has decided and returns how many entries
// went.
func (m *Memory) actOnVerdicts() (gone int) {
	for _, v := range m.judge.take() {
		switch {
		case !v.e.indexed.Load():
			continue // replaced or removed meanwhile
		case !v.rejected:
			if m.dismiss(v.e, &m.stats.evicted) {
				gone++
			}
		case m.judge.knows(v.e.id):
			// Not turned down: it met an earlier Set of its id that was still
			// under way. Now that this one is known, an update gets through.
			m.judge.offer(v.e)
		default:
			if m.dismiss(v.e, &m.stats.rejected) {
				gone++
			}
		}
	}
	return gone
}
