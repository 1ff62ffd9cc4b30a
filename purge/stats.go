package purge

// Stats are counters (monotonic) and gauges of a Ledger.
type Stats struct {
	// Purges counts purges by kind and mode: one for each selector.
	Purges []Count
	// Sequence is the newest purge, Floor the newest that was dropped.
	Sequence, Floor uint64
	// Live is how many selectors count now.
	Live int64
	// Counting is how many purges have a receipt that is not final yet.
	Counting int64
	// Taken is how many stored responses purges have removed or made stale.
	// Visited is how many were visited for that, Sweeps how often all of them.
	Taken, Visited, Sweeps uint64
	// Marked is how many were found and counted, and are still to be freed or
	// made stale. Sweeping says that this is being done.
	Marked   int64
	Sweeping bool

	// Journal says that there is one; the rest is its own. Broken: it cannot
	// be written now.
	Journal, Broken bool
	JournalBytes    int64
	// Failures is how often it could not be written, Syncs how often it was
	// synced and SyncSeconds how long that took in all.
	Failures, Syncs int64
	SyncSeconds     float64
	// Guard is the state of the disks. Softened is how many disks were soft-purged
	// whole because they may have missed purges.
	Guard    Guard
	Softened uint64
}

// Count is how many purges there were of a kind and mode.
type Count struct {
	Kind Kind
	Mode Mode
	N    uint64
}

// Stats returns the counters and gauges now.
func (l *Ledger) Stats() Stats {
	s := Stats{Counting: int64(l.receipts.pending()), Taken: l.taken.Load(), Visited: l.sweeper.visited.Load(),
		Sweeps: l.sweeper.sweeps.Load(), Marked: l.sweeper.left.Load(), Sweeping: l.sweeper.running.Load(), Sequence: l.seq.Load()}
	s.Guard, s.Softened = l.guards.state(), l.softened.Load()
	l.mu.Lock()
	s.Live, s.Floor = int64(l.named), l.floor
	l.mu.Unlock()
	for k := URL; k < numKinds; k++ {
		for m := Soft; m < numModes; m++ {
			if n := l.counts[k][m].Load(); n > 0 {
				s.Purges = append(s.Purges, Count{k, m, n})
			}
		}
	}
	if j := l.journal; j != nil {
		s.Journal, s.Broken, s.JournalBytes = true, j.broken.Load(), j.size.Load()
		s.Failures, s.Syncs, s.SyncSeconds = j.failed.Load(), j.syncs.Load(), float64(j.syncNS.Load())/1e9
	}
	return s
}
