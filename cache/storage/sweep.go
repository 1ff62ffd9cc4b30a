package storage

import (
	"time"

	"edge/message"
)

// The sweep: slow, bounded work that finds what nothing else does. Entries
// that the judge lost sight of are offered again, entries past any use make
// way, purged entries that nobody asks for are freed, and the judge forgets
// what is not in the index.
const (
	// sweepInterval is the time between two ticks, and sweepShards how many
	// shards each looks at: all of them in half a minute.
	sweepInterval = time.Second
	sweepShards   = numShards / 32
	// ghostTicks is how many ticks pass between two looks for ghosts, and
	// ghostsMost how many go at a time.
	ghostTicks, ghostsMost = 32, 4096
	// expiryGrace is how long after its last possible use an entry is kept
	// all the same, because validating it is cheaper than fetching it.
	expiryGrace = 3600 * message.Second
	// pressShare: expired entries are evicted once less than 1/pressShare of
	// the budget is left.
	pressShare = 4
)

// janitor acts on verdicts and sweeps, until Close.
func (m *Memory) janitor() {
	defer close(m.done)
	t := time.NewTicker(sweepInterval)
	defer t.Stop()
	for tick := 0; ; {
		select {
		case <-m.stop:
			return
		case <-m.judge.signal:
			m.actOnVerdicts()
		case <-t.C:
			if err := m.arena.trouble(); err != nil {
				m.log.Warn("the memory tier cannot grow to its size", "error", err, "bytes", m.arena.used(), "size", m.budget)
			}
			m.judge.flush()
			m.sweep(tick)
			tick++
		}
	}
}

// sweep looks at the shards whose turn it is.
func (m *Memory) sweep(tick int) {
	now, pressed := m.clock(), m.arena.pressed(pressShare)
	var list []*entry
	for i := range sweepShards {
		s := &m.index.shards[(tick*sweepShards+i)%numShards]
		list = s.snapshot(list[:0])
		for _, e := range list {
			m.visit(e, now, pressed)
			e.Release()
		}
	}
	if tick%ghostTicks == ghostTicks-1 {
		for _, e := range m.judge.ghosts(ghostsMost) {
			m.judge.forget(e.id)
		}
	}
}

// visit does what the sweep has to do about one entry.
func (m *Memory) visit(e *entry, now message.Instant, pressed bool) {
	if seq := m.ledger.Sequence(); e.head.Load().checked.Load() < seq && !m.spared(e, seq) {
		return
	}
	switch {
	case expired(e.Stored(), now, pressed):
		m.evict(e)
	case !e.waiting.Load() && now.Sub(e.storedAt) > int64(sweepInterval) && !m.judge.knows(e.id):
		// A Set that was dropped, or an id that was forgotten for another
		// entry's sake.
		m.judge.offer(e)
	}
}

// expired reports whether s is past any use: of a hit-for-miss marker as soon
// as it is stale, of a response when even the longest allowance for serving it
// stale has ended and nobody validated it for a while.
func expired(s *message.Stored, now message.Instant, pressed bool) bool {
	t := &s.Terms
	past := s.CurrentAge(now) - t.FreshnessLifetime
	if t.Flags.Has(message.TermHitForMiss) {
		return past > 0
	}
	past -= max(t.StaleWhileRevalidate, t.StaleIfError, t.StaleDisconnected)
	return pressed && past > expiryGrace
}
