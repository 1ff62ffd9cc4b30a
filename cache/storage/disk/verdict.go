package disk

import (
	"edge/cache/storage"
	"edge/message"
)

// What the ledger says of a response when it is looked up, and what is made of it: in the
// entry, in its row, and on the disk.

// spared asks the ledger about purges since e was last checked, and applies what
// it says. False: e is purged.
func (v *volume) spared(e *entry, now uint64) bool {
	for {
		since, before := e.checked.Load(), e.Stored()
		if since >= now {
			return true // somebody else was quicker, or it is a newer head
		}
		verdict := v.o.Ledger.Judge(e, since)
		if verdict == storage.Removed {
			v.expelJudged(e, since, before.Terms.Flags)
			return false
		}
		if v.judged(e, before, verdict, since, now) {
			return true
		}
	}
}

// judged notes what the ledger said of an entry with the head before. False: it has
// another head by now.
func (v *volume) judged(e *entry, before *message.Stored, verdict storage.Verdict, since, now uint64) bool {
	s := v.index.shard(&e.key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.Stored() != before || e.checked.Load() != since {
		return false
	}
	if verdict == storage.Live {
		e.checked.Store(now)
		// Where an earlier verdict could not be written, what the row points at is not
		// judged: the row says so until it is written.
		if e.indexed.Load() && (!e.unwritten || v.rewrite(s, e, before, e.sequence.Load(), now) == nil) {
			r := s.row(e.row)
			r.setChecked(now)
			r.flags = r.flags&^flagTakings | flagsOf(before)&flagSoft
		}
		return true
	}
	next := *before
	v.apply(verdict, e, since, &next)
	had := uint8(0)
	if e.indexed.Load() {
		had = s.row(e.row).flags
	}
	if next.Terms.Flags != before.Terms.Flags {
		v.tell(e, since, softened(before.Terms.Flags, had), false)
	}
	if !e.indexed.Load() {
		e.head.Store(&next)
		e.checked.Store(now)
		return true
	}
	if v.rewrite(s, e, &next, e.sequence.Load(), now) != nil {
		// It cannot be written: those who have it see it, and who reads it
		// again judges it again.
		e.head.Store(&next)
		e.checked.Store(now)
		e.unwritten = true
		s.row(e.row).flags |= flagMarked | flagsOf(&next)&flagSoft
	}
	s.row(e.row).flags |= had & flagSoft // counted, even if it was invalidated since
	return true
}

// tell tells the ledger what a purge took, where it counts. Under the shard's lock.
func (v *volume) tell(e *entry, since uint64, before message.TermFlags, removed bool) {
	if v.st.witness != nil {
		v.st.witness.Took(e, since, before, removed)
	}
}

// apply makes s, of e, what a verdict other than Removed says about purges since.
func (v *volume) apply(verdict storage.Verdict, e *entry, since uint64, s *message.Stored) {
	switch verdict {
	case storage.Live, storage.Removed: // neither changes a head
	case storage.Invalid:
		s.Terms.Flags |= message.TermInvalidated
	case storage.Stale:
		storage.Soften(v.o.Ledger, e, since, s, v.o.Clock())
	}
}
