package disk

// Purges and restarts: how far a response has been judged is in its row only, since
// it would cost a write for each. So the disk says now and then how far all of them
// have been: after a restart nothing is judged again by purges that the ledger has
// forgotten, and a ledger that has forgotten more than the disk knows of is noticed.

// noteJudged says what is new since it was last said. thorough: look at all rows. For
// the flusher.
func (v *volume) noteJudged(thorough bool) {
	now := v.o.Ledger.Sequence()
	if v.health.writesOut() || now == v.seenUpTo && (now == v.judgedUpTo || !thorough) {
		return
	}
	judged := v.judgedUpTo
	if thorough {
		// What is being published was judged moments ago, and may not be in the
		// index yet; so no further than where the purges ended at the last look.
		judged, v.lookedAt = v.lookedAt, now
		for i := range v.index.shards {
			v.index.shards[i].walk(func(_ uint32, r *row) { judged = min(judged, r.checked()) })
		}
	}
	if now == v.seenUpTo && judged <= v.judgedUpTo {
		return
	}
	judged = max(judged, v.judgedUpTo)
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.payOwed() != nil {
		return
	}
	r := record{kind: kindJudged, order: judged, writtenAt: int64(now)}
	if s, err := v.place(&r, make([]byte, headerSize), nil, false); err == nil {
		s.unpin()
		v.judgedUpTo, v.seenUpTo = judged, now
	}
}

// newEpoch makes everything on the disk invalid until it is validated, because a
// ledger that ends at now cannot know of the purges up to seen. At start.
func (v *volume) newEpoch(seen, now uint64) {
	v.o.Logger.Warn("the purge journal is behind the disk: all of it is validated before reuse", "disk", v.dir,
		"disk has seen", seen, "journal ends at", now)
	v.doubt()
	v.setChecked(func(uint64) uint64 { return now })
	v.mu.Lock()
	defer v.mu.Unlock()
	v.seenUpTo = now
	r := record{kind: kindEpoch, order: now}
	s, err := v.place(&r, make([]byte, headerSize), nil, true)
	if err != nil {
		v.owedAll = true // it goes, then
		return
	}
	s.unpin()
}

// setChecked changes how far each row has been judged.
func (v *volume) setChecked(f func(uint64) uint64) {
	for i := range v.index.shards {
		v.index.shards[i].walk(func(_ uint32, r *row) { r.setChecked(f(r.checked())) })
	}
}
