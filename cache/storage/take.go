package storage

import (
	"edge/cache/storage/nameindex"
	"edge/message"
)

// Finding and taking by name, in memory. A shard's lists lead to its slots, and what
// the lists cannot tell the entries can.

// The marks of an entry.
const (
	markHard    = 1 << iota // a purge that removes it has counted it
	markSoft                // a purge that makes it stale has
	markPending             // it is on the shard's list of what is marked
)

// enlist enters an entry in the lists. Under the shard's lock.
func (s *shard) enlist(e *entry, x *nameindex.Naming) {
	if last := len(s.free) - 1; last >= 0 {
		e.place, s.free = s.free[last], s.free[:last]
		s.slots[e.place-1] = e
	} else {
		s.slots, s.words = append(s.slots, e), append(s.words, 0)
		e.place = uint32(len(s.slots))
	}
	w := e.m.scopes.Enter(x.Scope)
	for _, h := range x.Hashes {
		w = s.lists.Add(w, e.place, h)
	}
	s.words[e.place-1] = w
}

// rename has the lists lead to an entry by its names as they are now. Under the
// shard's lock.
func (s *shard) rename(e *entry) {
	var x nameindex.Naming
	e.Names().Naming(e.key, &x)
	w := s.lists.Drop(s.words[e.place-1])
	for _, h := range x.Hashes {
		w = s.lists.Add(w, e.place, h)
	}
	s.words[e.place-1] = w
}

// delist takes an entry out of the lists. Under the shard's lock.
func (s *shard) delist(e *entry) {
	e.m.scopes.Leave(s.lists.Drop(s.words[e.place-1]))
	s.slots[e.place-1], s.words[e.place-1] = nil, 0
	s.free = append(s.free, e.place)
	if e.place = 0; len(s.live) == 0 {
		s.slots, s.words, s.free = nil, nil, nil
	}
}

// maxGroup bounds how many takings are looked for together.
const maxGroup = 256

// EachGroup calls f with takings in their order, those that can be looked for
// together at once: sets says which of them a scope belongs to, and plan what else
// to look for, which is for the first only. For implementations of Taker.
func EachGroup(list []Taking, scopes *nameindex.Scopes, f func(list []Taking, plan *nameindex.Plan, sets *nameindex.Sets)) {
	for len(list) > 0 {
		plans := []nameindex.Plan{nameindex.PlanOf(list[0].Select)}
		for n := 1; plans[0].OnlyScopes() && n < min(len(list), maxGroup); n++ {
			p := nameindex.PlanOf(list[n].Select)
			if !p.OnlyScopes() {
				break
			}
			plans = append(plans, p)
		}
		sets := scopes.Select(plans)
		f(list[:len(plans)], &plans[0], &sets)
		list = list[len(plans):]
	}
}

// Take marks what the takings select.
func (m *Memory) Take(list []Taking) { m.TakeBut(list, nil) }

// TakeBut is Take that does not count what elsewhere says is counted elsewhere; nil:
// nothing is. elsewhere is called under a lock.
func (m *Memory) TakeBut(list []Taking, elsewhere func(Entry) bool) {
	EachGroup(list, &m.scopes, func(list []Taking, plan *nameindex.Plan, sets *nameindex.Sets) {
		first := &list[0]
		for i := range plan.URLs {
			u := &plan.URLs[i]
			key := URLKey(u.Scheme, u.Authority, u.Name)
			s := m.index.shard(&key)
			s.mu.Lock()
			for e := s.live[key]; e != nil; e = e.next {
				first.count(s.mark(e, first, elsewhere))
			}
			s.mu.Unlock()
		}
		if len(plan.Hashes) == 0 && !plan.Scans() {
			return
		}
		for i := range m.index.shards {
			s := &m.index.shards[i]
			for _, h := range plan.Hashes {
				s.takeListed(h, first, elsewhere)
			}
			if plan.Scans() {
				s.takeScoped(list, sets, elsewhere)
			}
			if first.Stopped() {
				return
			}
		}
	})
}

// The most that are looked at without letting go of a shard's lock.
const (
	markHold = 256  // entries, which are far apart in memory
	scanHold = 4096 // words, which are not
)

// takeListed marks what a list leads to.
func (s *shard) takeListed(hash uint64, t *Taking, elsewhere func(Entry) bool) {
	found := s.listed(hash, t)
	for rest := found; len(rest) > 0; {
		n := min(len(rest), markHold)
		s.markAll(rest[:n], t, elsewhere)
		if rest = rest[n:]; len(rest) > 0 && t.Stopped() {
			break
		}
	}
	if clear(found); cap(found) <= maxFound {
		s.mu.Lock()
		s.found = found
		s.mu.Unlock()
	}
}

// maxFound is how many entries' room a shard keeps for the next to be found.
const maxFound = 1024

// listed returns what a list leads to that is to be marked. First all of it, and then
// the marks: an atomic operation after each would have every entry's way from memory be
// waited for on its own.
func (s *shard) listed(hash uint64, t *Taking) (found []*entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found, s.found = s.found[:0], nil
	s.lists.Walk(hash, func(n uint32) bool {
		e := s.slots[n-1]
		if h := e.head.Load(); h.checked.Load() < t.Sequence {
			found = append(found, e)
		}
		return true
	})
	return found
}

// markAll marks entries that are still found.
func (s *shard) markAll(list []*entry, t *Taking, elsewhere func(Entry) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, e := range list {
		if e.indexed.Load() {
			n += s.mark(e, t, elsewhere)
		}
	}
	t.count(n)
}

// takeScoped marks what is in a scope that is selected. What comes into a slot that was
// passed already has been judged by then.
func (s *shard) takeScoped(list []Taking, sets *nameindex.Sets, elsewhere func(Entry) bool) {
	for from, more := 0, true; more; {
		if from, more = s.takeSlots(from, list, sets, elsewhere); more && list[0].Stopped() {
			return
		}
	}
}

// takeSlots is takeScoped for slots from a number on, as many as can be looked at
// without letting go of the lock; it returns where to go on.
func (s *shard) takeSlots(from int, list []Taking, sets *nameindex.Sets, elsewhere func(Entry) bool) (next int, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	looked := 0 // at entries
	for i := from; i < len(s.words); i++ {
		if looked >= markHold || i-from >= scanHold {
			return i, true
		}
		for _, hit := range sets.Of(s.lists.Scope(s.words[i])) {
			t, e := &list[hit.Plan], s.slots[i]
			if e == nil {
				break
			}
			looked++
			if !hit.Perhaps || e.Names().Selected(t.Select) {
				t.count(s.mark(e, t, elsewhere))
			}
		}
	}
	return 0, false
}

// mark notes that a purge takes e, and returns 1 if none before has, and it counts.
// Under the shard's lock.
func (s *shard) mark(e *entry, t *Taking, elsewhere func(Entry) bool) int {
	h := e.head.Load()
	had := e.marks.Load()
	if h.checked.Load() >= t.Sequence || had&markHard != 0 {
		return 0
	}
	set := uint32(markPending)
	switch t.Verdict {
	case Removed:
		set |= markHard
	case Stale:
		set |= markSoft
	case Live, Invalid: // not counted
	}
	if had&set == set {
		return 0
	}
	// Whoever sets a mark counts: the other is a look-up, which told the ledger.
	had = e.marks.Or(set)
	if had&markPending == 0 {
		s.marked = append(s.marked, e.place)
		e.m.marked.Add(1)
	}
	flags := h.stored.Terms.Flags
	counts := set&^had&(markHard|markSoft) != 0 && !flags.Has(message.TermHitForMiss)
	if t.Verdict == Stale && flags.Has(message.TermSoftPurged) {
		counts = false // stale already
	}
	if counts && (elsewhere == nil || !elsewhere(e)) {
		return 1
	}
	return 0
}

// Reap judges what is marked.
func (m *Memory) Reap(n int) (did, left int) {
	for range m.index.shards {
		if did >= n || m.marked.Load() == 0 {
			break
		}
		s := &m.index.shards[m.reaped]
		var list []*entry
		s.mu.Lock()
		for did < n && len(s.marked) > 0 {
			last := len(s.marked) - 1
			if place := s.marked[last]; int(place) <= len(s.slots) {
				if e := s.slots[place-1]; e != nil && e.marks.And(^uint32(markPending))&markPending != 0 {
					e.refs.add()
					list = append(list, e)
				}
			}
			s.marked = s.marked[:last]
			m.marked.Add(-1)
			did++
		}
		if len(s.marked) == 0 {
			s.marked = nil
			m.reaped = (m.reaped + 1) % numShards
		}
		s.mu.Unlock()
		now := m.ledger.Sequence()
		for _, e := range list {
			if e.head.Load().checked.Load() >= now || m.spared(e, now) {
				e.marks.And(^uint32(markHard)) // it was another name of the same hash
			}
			e.Release()
		}
	}
	return did, int(m.marked.Load())
}

// Judged raises how far each entry of a part that is not marked has been judged.
func (m *Memory) Judged(since, sequence uint64, part int) {
	s := &m.index.shards[part%numShards]
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, e := range s.slots {
		if e == nil || e.marks.Load()&markPending != 0 {
			continue
		}
		h := e.head.Load()
		for {
			at := h.checked.Load()
			if at < since || at >= sequence || h.checked.CompareAndSwap(at, sequence) {
				break
			}
		}
	}
}

// Find calls f with every live entry that is selected.
func (m *Memory) Find(list []Selector, f func(Entry) bool) {
	plan := nameindex.PlanOf(list)
	sets := m.scopes.Select([]nameindex.Plan{plan})
	seen := make(map[*entry]struct{})
	var found []*entry
	for i := range m.index.shards {
		found = m.index.named(found[:0], i, &plan, &sets)
		clear(seen) // a shard's entries are in no other
		more := true
		for _, e := range found {
			_, had := seen[e]
			if more && !had && e.Names().Selected(list) {
				seen[e] = struct{}{}
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

// named appends the entries of a shard that a plan may select, retained.
func (x *index) named(dst []*entry, shard int, plan *nameindex.Plan, sets *nameindex.Sets) []*entry {
	s := &x.shards[shard]
	s.mu.RLock()
	defer s.mu.RUnlock()
	add := func(e *entry) {
		e.refs.add()
		dst = append(dst, e)
	}
	for i := range plan.URLs {
		u := &plan.URLs[i]
		if key := URLKey(u.Scheme, u.Authority, u.Name); x.shard(&key) == s {
			for e := s.live[key]; e != nil; e = e.next {
				add(e)
			}
		}
	}
	for _, h := range plan.Hashes {
		s.lists.Walk(h, func(n uint32) bool {
			add(s.slots[n-1])
			return true
		})
	}
	if plan.Scans() {
		for i, w := range s.words {
			if s.slots[i] != nil && len(sets.Of(s.lists.Scope(w))) > 0 {
				add(s.slots[i])
			}
		}
	}
	return dst
}
