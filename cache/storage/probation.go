package storage

import (
	"math/bits"
	"sync"
	"sync/atomic"
)

// Probation, in front of the judge once the budget is used up: a newcomer is
// found like any other entry, but waits in a short queue before ristretto is
// asked to evict something for it. One that was hit by the end of the queue is
// offered; one that was not is dropped, and its id remembered for a while, so
// that it is offered at once if it is fetched again. So a crawler that asks for
// everything once passes through the queue and leaves the rest alone, which
// TinyLFU alone does not achieve: it admits on a tie, and its counters of what
// is asked for seldom are often zero. The queue and the memory are those of
// S3-FIFO (Yang et al., "FIFO queues are all you need for cache eviction",
// SOSP 2023).
const (
	// headroom: 1/headroom of the budget is not the judge's to give. It holds
	// the queue, what is being written, and what is not yet judged.
	headroom = 8
	// probationShare: the queue takes up to 1/probationShare of the budget.
	probationShare = 12
	// ghostSpacing: one remembered id for that many bytes of budget, and
	// ghostBytes each takes, at most doubled by rounding up.
	ghostSpacing = 1024
	ghostBytes   = 8
)

// probation is the queue. Safe for concurrent use; its lock is a leaf.
type probation struct {
	limit int64

	mu    sync.Mutex
	queue []*entry // oldest first from head on
	head  int
	bytes int64

	ghosts []atomic.Uint32 // by the id's low bits: its high bits
}

func newProbation(budget int64) *probation {
	n := 1 << bits.Len64(uint64(budget/ghostSpacing))
	return &probation{limit: budget / probationShare, ghosts: make([]atomic.Uint32, n)}
}

// remembered reports whether an id was dropped lately, and forgets it.
func (p *probation) remembered(id uint64) bool {
	return p.ghosts[id%uint64(len(p.ghosts))].CompareAndSwap(uint32(id>>32), 0)
}

// remember notes that an id was dropped.
func (p *probation) remember(id uint64) {
	p.ghosts[id%uint64(len(p.ghosts))].Store(uint32(id >> 32))
}

// push queues e.
func (p *probation) push(e *entry) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e.waiting.Store(true)
	p.queue = append(p.queue, e)
	p.bytes += e.cost
}

// pop returns the oldest where more than limit bytes are queued, else nil. The
// newest always stays: what was just stored must be found.
func (p *probation) pop(limit int64) *entry {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.queue)-p.head < 2 || p.bytes <= limit {
		return nil
	}
	e := p.queue[p.head]
	p.queue[p.head] = nil
	if p.head++; p.head > len(p.queue)/2 { // amortised
		n := copy(p.queue, p.queue[p.head:])
		clear(p.queue[n:])
		p.queue, p.head = p.queue[:n], 0
	}
	p.bytes -= e.cost
	return e
}

// present brings a newly published entry before the judge, or has it wait.
func (m *Memory) present(e *entry) {
	if !m.arena.pressed(headroom) || m.probation.remembered(e.id) || m.judge.knows(e.id) {
		m.submit(e)
		return
	}
	m.probation.push(e)
	m.endProbation(m.probation.limit)
}

// submit offers e to the judge. A Set that was dropped is a rejection where
// there is no room to spare; else the sweep offers e again.
func (m *Memory) submit(e *entry) {
	e.waiting.Store(false)
	if !m.judge.offer(e) && m.arena.pressed(headroom) {
		m.dismiss(e, &m.stats.rejected)
	}
	m.judge.ask(e.id)
}

// endProbation decides about the oldest until no more than limit bytes wait,
// and returns how many it dropped.
func (m *Memory) endProbation(limit int64) (gone int) {
	for e := m.probation.pop(limit); e != nil; e = m.probation.pop(limit) {
		switch {
		case !e.indexed.Load():
		case e.hits.Load() > 0:
			m.submit(e)
		case m.dismiss(e, &m.stats.rejected):
			m.probation.remember(e.id)
			gone++
		}
	}
	return gone
}
