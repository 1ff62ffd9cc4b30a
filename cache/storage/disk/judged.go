package disk

import "math"

// Purges and restarts: how far a response has been judged is in its row only, since
// it would cost a write for each. So the disk says now and then how far all of them
// have been: after a restart nothing is judged again by purges that the ledger has
// forgotten, and a ledger that has forgotten more than the disk knows of is noticed.

// firstKept returns the oldest segment that is not being reclaimed. What needs an older
// one may have left the index, and be on the disk yet. Under mu.
func (v *volume) firstKept() uint32 {
	for _, s := range v.segments {
		if !s.gone.Load() {
			return s.id
		}
	}
	return v.nextID
}

// maxLookRest is for how many syncs no row is looked at, at most, after looks that were
// of no use: an hour, by default.
const maxLookRest = 360

// noteJudged says what is new since it was last said. thorough: look at all rows. For
// the flusher.
func (v *volume) noteJudged(thorough bool) {
	now := v.o.Ledger.Sequence()
	if v.health.writesOut() || now == v.seenUpTo && (now == v.judgedUpTo || !thorough) {
		return
	}
	judged := v.judgedUpTo
	if thorough && v.mayLook() {
		judged = v.look(now)
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
	r := record{kind: kindJudged, variant: v.firstKept(), order: judged, writtenAt: int64(now)}
	if s, err := v.place(&r, make([]byte, headerSize), nil, false); err == nil {
		s.unpin()
		v.judgedUpTo, v.seenUpTo = judged, now
	}
}

// mayLook reports whether looking at the rows may be of use. What nobody asks for stays
// as far behind as it is until purges are compacted, so looks that find such a row
// become rarer. For the flusher.
func (v *volume) mayLook() bool {
	if v.raised.Swap(false) {
		v.lookRest, v.lookIn = 0, 0
	}
	if v.lookIn > 0 {
		v.lookIn--
		return false
	}
	return true
}

// look returns how far all rows have been judged, now at most. It ends at the first
// row that tells nothing new. For the flusher.
func (v *volume) look(now uint64) uint64 {
	// What is being published was judged moments ago, and may not be in the
	// index yet; so no further than where the purges ended at the last look.
	most := v.lookedAt
	v.lookedAt = now
	judged := most
	for i := range v.index.shards {
		if judged <= v.judgedUpTo {
			break
		}
		judged = min(judged, v.index.shards[i].judged(v.judgedUpTo))
	}
	if v.lookRest = min(2*v.lookRest+1, maxLookRest); judged == most {
		v.lookRest = 0 // no row is in the way
	}
	v.lookIn = v.lookRest
	return judged
}

// judged returns how far all rows of the shard have been judged, or, where that is not
// further than known, something that is not either.
func (s *shard) judged(known uint64) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	least := uint64(math.MaxUint64)
	for _, p := range s.pages {
		for i := range p {
			if r := &p[i]; r.seg != 0 {
				least = min(least, r.checked())
			}
		}
		if least <= known {
			break
		}
	}
	return least
}

// newEpoch makes everything on the disk invalid until it is validated, because a
// ledger that ends at now cannot know of the purges up to seen. At start.
func (v *volume) newEpoch(seen, now uint64) {
	v.o.Logger.Warn("the purge journal is behind the disk: all of it is validated before reuse", "disk", v.dir,
		"disk has seen", seen, "journal ends at", now)
	v.doubt()
	v.setChecked(func(uint64) uint64 { return now })
	v.seenUpTo = now
	v.placeFirst(&record{kind: kindEpoch, order: now})
}

// placeFirst appends a record that says something of all that was stored before this
// process. At start.
func (v *volume) placeFirst(r *record) {
	v.mu.Lock()
	defer v.mu.Unlock()
	s, err := v.place(r, make([]byte, headerSize), nil, true)
	switch {
	case err == nil:
		s.unpin()
	case r.kind == kindDoubt: // the disk has become smaller: as soon as there is room, and before anything else
		v.owe(owing{kind: kindDoubt})
	default:
		v.owedAll = true // it goes, then
	}
}

// setChecked changes how far each row has been judged.
func (v *volume) setChecked(f func(uint64) uint64) {
	for i := range v.index.shards {
		v.index.shards[i].walk(func(_ uint32, r *row) { r.setChecked(f(r.checked())) })
	}
}
