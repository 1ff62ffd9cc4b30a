package disk

import (
	"edge/cache/storage"
	"edge/cache/storage/nameindex"
	"edge/message"
)

// Finding and taking by name, on disks: by the index alone. A head is read only to
// call somebody with it, to write a soft purge into it, and where the index does not
// know enough of its names.

var (
	_ storage.Finder = (*Store)(nil)
	_ storage.Taker  = (*Store)(nil)
)

// Take marks what the takings select.
func (st *Store) Take(list []storage.Taking) {
	for _, v := range st.volumes {
		storage.EachGroup(list, &v.index.scopes, v.take)
	}
}

// take marks what takings select on one disk.
func (v *volume) take(list []storage.Taking, plan *nameindex.Plan, sets *nameindex.Sets) {
	first := &list[0]
	for i := range plan.URLs {
		u := &plan.URLs[i]
		key := storage.URLKey(u.Scheme, u.Authority, u.Name)
		s := v.index.shard(&key)
		s.mu.Lock()
		for n := v.index.first(s, &key); n != 0; n = s.following(n) {
			v.mark(s, n, first)
		}
		s.mu.Unlock()
	}
	if len(plan.Hashes) == 0 && !plan.Scans() {
		return
	}
	var unknown []identity
	for i := range v.index.shards {
		s := &v.index.shards[i]
		unknown = v.takeShard(s, list, plan, sets, unknown[:0])
		if first.Stopped() {
			return
		}
		for _, x := range unknown {
			if first.Stopped() {
				return
			}
			if e := v.fetchVariant(&x.key, x.variant); e != nil {
				if now := v.o.Ledger.Sequence(); e.checked.Load() < now {
					v.spared(e, now)
				}
				e.Release()
			}
		}
	}
}

// takeShard marks what takings select in one shard, and appends what only its head
// can tell of.
func (v *volume) takeShard(s *shard, list []storage.Taking, plan *nameindex.Plan, sets *nameindex.Sets, unknown []identity) []identity {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range plan.Hashes {
		s.lists.Walk(h, func(n uint32) bool {
			v.mark(s, n, &list[0])
			return true
		})
	}
	if !plan.Scans() {
		return unknown
	}
	s.each(func(n uint32, r *row) {
		for _, hit := range sets.Of(s.lists.Scope(r.names)) {
			switch {
			case !hit.Perhaps:
				v.mark(s, n, &list[hit.Plan])
			case r.checked() < list[hit.Plan].Sequence:
				unknown = append(unknown, identity{r.key, r.variant})
				return
			}
		}
	})
	return unknown
}

// each calls f with every row, in the order in which they lie in memory. Under mu; f
// may not change the index.
func (s *shard) each(f func(n uint32, r *row)) {
	for i, p := range s.pages {
		for j := range p {
			if r := &p[j]; r.seg != 0 { // no segment has the number 0
				f(uint32(i*pageRows+j+1), r)
			}
		}
	}
}

// mark notes that a purge takes a row, and counts it if none before has. Under the
// shard's lock.
func (v *volume) mark(s *shard, n uint32, t *storage.Taking) {
	r := s.row(n)
	had := r.flags
	if r.checked() >= t.Sequence || had&flagTaken != 0 {
		return
	}
	set, counts := uint8(flagMarked), false
	switch t.Verdict {
	case storage.Removed:
		set |= flagTaken
		counts = had&flagNone == 0
	case storage.Stale:
		set |= flagSoft
		counts = had&(flagSoft|flagNone) == 0
	case storage.Live, storage.Invalid: // not counted
	}
	if had&set == set {
		return
	}
	// What an earlier purge marked may be on the list no more, if what that made of it
	// could not be written; and if it is, it is there twice.
	if r.flags |= set; had&flagMarked == 0 || set&flagTaken != 0 {
		s.marked = append(s.marked, n)
		v.marked.Add(1)
	}
	if counts && t.Count != nil {
		t.Count(1)
	}
}

// Reap carries out what is marked.
func (st *Store) Reap(n int) (did, left int) {
	for _, v := range st.volumes {
		if !v.pressed() {
			did += v.reap(n - did)
		}
		left += int(v.marked.Load())
	}
	return did, left
}

// pressed reports whether the disk takes no tombstones now, or has enough to write:
// those that cannot be written are owed, and how many has a bound.
func (v *volume) pressed() bool {
	if v.health.writesOut() {
		return true
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.pending() > maxPending/2
}

// reapHold is how many rows are reaped without letting go of a shard's lock.
const reapHold = 64

// reap is Reap for one disk; it returns how many it looked at.
func (v *volume) reap(n int) (did int) {
	for empty := 0; did < n && empty < numShards && v.marked.Load() > 0; {
		s := &v.index.shards[v.reaped]
		some, done := v.reapShard(s, min(reapHold, n-did))
		if empty++; some > 0 {
			empty = 0
		}
		if did += some; done {
			v.reaped = (v.reaped + 1) % numShards
		}
	}
	return did
}

// reapShard reaps up to n rows of one shard. done: nothing there is marked any more.
func (v *volume) reapShard(s *shard, n int) (did int, done bool) {
	var soft []identity
	s.mu.Lock()
	for ; did < n && len(s.marked) > 0; did++ {
		last := len(s.marked) - 1
		at := s.marked[last]
		s.marked = s.marked[:last]
		v.marked.Add(-1)
		if int(at) > len(s.pages)*pageRows {
			continue // the store is closed
		}
		switch r := s.row(at); {
		case r.seg == 0 || r.flags&flagMarked == 0: // it has gone, or was judged
		case r.flags&flagTaken != 0:
			v.remove(s, at)
			v.st.stats.removed.Add(1)
		default:
			soft = append(soft, identity{r.key, r.variant})
		}
	}
	if done = len(s.marked) == 0; done {
		s.marked = nil
	}
	s.mu.Unlock()
	for _, x := range soft {
		if e := v.fetchVariant(&x.key, x.variant); e != nil {
			if now := v.o.Ledger.Sequence(); e.checked.Load() < now {
				v.spared(e, now)
			}
			e.Release()
		}
	}
	return did, done
}

// Judged raises how far each row of a part that is not marked has been judged.
func (st *Store) Judged(since, sequence uint64, part int) {
	for _, v := range st.volumes {
		if part < numShards {
			v.judgedShard(&v.index.shards[part], since, sequence)
		}
		if part == numShards-1 {
			v.raised.Store(true)
		}
	}
}

func (v *volume) judgedShard(s *shard, since, sequence uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.each(func(_ uint32, r *row) {
		if at := r.checked(); r.flags&flagMarked == 0 && at >= since && at < sequence {
			r.setChecked(sequence)
		}
	})
	for n, e := range s.open { // for as long as it is open, the row is not asked
		if at, known := e.checked.Load(), s.row(n).checked(); at < known {
			e.checked.CompareAndSwap(at, known)
		}
	}
}

// Find calls f with every live entry that is selected.
func (st *Store) Find(list []storage.Selector, f func(storage.Entry) bool) {
	plans := []nameindex.Plan{nameindex.PlanOf(list)}
	for _, v := range st.volumes {
		sets := v.index.scopes.Select(plans)
		seen := make(map[identity]struct{})
		for i := range v.index.shards {
			clear(seen) // a shard's rows are in no other
			for _, x := range v.named(&v.index.shards[i], &plans[0], &sets) {
				if _, had := seen[x]; had {
					continue
				}
				seen[x] = struct{}{}
				if !v.show(x, list, f) {
					return
				}
			}
		}
	}
}

// show calls f with a row's entry, if it is live and selected.
func (v *volume) show(x identity, list []storage.Selector, f func(storage.Entry) bool) (more bool) {
	e := v.fetchVariant(&x.key, x.variant)
	if e == nil {
		return true
	}
	defer e.Release()
	if now := v.o.Ledger.Sequence(); !e.Names().Selected(list) || e.checked.Load() < now && !v.spared(e, now) {
		return true
	}
	return f(e)
}

// named returns the rows of a shard that a plan may select.
func (v *volume) named(s *shard, plan *nameindex.Plan, sets *nameindex.Sets) (list []identity) {
	s.mu.Lock()
	defer s.mu.Unlock()
	add := func(n uint32) bool {
		r := s.row(n)
		list = append(list, identity{r.key, r.variant})
		return true
	}
	for i := range plan.URLs {
		u := &plan.URLs[i]
		key := storage.URLKey(u.Scheme, u.Authority, u.Name)
		if v.index.shard(&key) == s {
			for n := v.index.first(s, &key); n != 0; n = s.following(n) {
				add(n)
			}
		}
	}
	for _, h := range plan.Hashes {
		s.lists.Walk(h, add)
	}
	if plan.Scans() {
		s.each(func(n uint32, r *row) {
			if len(sets.Of(s.lists.Scope(r.names))) > 0 {
				add(n)
			}
		})
	}
	return list
}

// expelJudged takes out an entry that a purge removed, and tells of it where Take has
// not counted it.
func (v *volume) expelJudged(e *entry, since uint64, before message.TermFlags) {
	s := v.index.shard(&e.key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !e.indexed.Load() {
		return
	}
	had := s.row(e.row).flags
	v.remove(s, e.row)
	v.st.stats.removed.Add(1)
	if had&flagTaken == 0 {
		v.tell(e, since, softened(before, had), true)
	}
}

// softened is the flags of a head's terms as they count for a purge: soft-purged
// where the index says so already.
func softened(terms message.TermFlags, row uint8) message.TermFlags {
	if row&flagSoft != 0 {
		terms |= message.TermSoftPurged
	}
	return terms
}
