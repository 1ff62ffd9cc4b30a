package storage

import "edge/message"

// Purges meet stored responses lazily: each entry remembers the newest purge
// that it is known to have been judged by (checked), and whoever comes by it
// later, a look-up, the sweep or Each, asks the ledger about those since.

// spared asks the ledger about purges since e's head was last checked, and
// applies what it says. False: e is purged.
func (m *Memory) spared(e *entry, now uint64) bool {
	for {
		h := e.head.Load()
		since := h.checked.Load()
		if since >= now {
			return true // somebody else was quicker, or it is a newer head
		}
		verdict := m.ledger.Judge(e, since)
		if verdict == Live {
			h.checked.Store(now)
			return true
		}
		if verdict == Removed {
			if m.expelJudged(e, since, h.stored.Terms.Flags) {
				m.stats.removed.Add(1)
				m.judge.forget(e.id)
			}
			return false
		}
		s := h.stored
		m.apply(verdict, e, since, &s)
		if m.reheadJudged(e, h, s, since, now, verdict) {
			return true
		}
	}
}

// expelJudged is expel for what was purged.
func (m *Memory) expelJudged(e *entry, since uint64, before message.TermFlags) bool {
	s := m.index.shard(&e.key)
	s.mu.Lock()
	was := s.drop(e)
	if was {
		m.tell(e, since, before, markHard|markSoft)
	}
	s.mu.Unlock()
	if was {
		m.stats.entries.Add(-1)
		e.Release()
	}
	return was
}

// reheadJudged is rehead for what was made stale or invalid.
func (m *Memory) reheadJudged(e *entry, h *head, next message.Stored, since, now uint64, v Verdict) bool {
	s := m.index.shard(&e.key)
	s.mu.RLock()
	defer s.mu.RUnlock()
	if !e.rehead(h, next, now) {
		return false
	}
	if next.Terms.Flags != h.stored.Terms.Flags {
		mark := uint32(0)
		if v == Stale {
			mark = markSoft
		}
		m.tell(e, since, h.stored.Terms.Flags, mark)
	}
	return true
}

// tell tells the ledger what a purge took, where it counts and Take has not told
// it. Under the shard's lock. mark is what that makes of the entry's marks: markHard where it is gone.
func (m *Memory) tell(e *entry, since uint64, before message.TermFlags, mark uint32) {
	if m.witness == nil {
		return
	}
	had := e.marks.Or(mark)
	if mark&had&markHard != 0 {
		return
	}
	if had&markSoft != 0 {
		before |= message.TermSoftPurged
	}
	m.witness.Took(e, since, before, mark&markHard != 0)
}

// apply makes s, of e, what a verdict other than Live and Removed says about purges
// since.
func (m *Memory) apply(v Verdict, e Entry, since uint64, s *message.Stored) {
	if v == Invalid {
		s.Terms.Flags |= message.TermInvalidated
		return
	}
	Soften(m.ledger, e, since, s, m.clock())
}

// spares applies purges since sequence to s, a head that is about to become
// e's. False: it must not.
func (m *Memory) spares(e Entry, s *message.Stored, sequence uint64) bool {
	v := m.ledger.Judge(e, sequence)
	if v != Live && v != Removed {
		m.apply(v, e, sequence, s)
	}
	return v != Removed
}
