package storage

// Fetch returns the entry of a key with these nominated fields, retained, or
// nil. It is not counted as a hit, and no purge is applied.
func (m *Memory) Fetch(key Key, nominated []byte) Entry {
	s := m.index.shard(&key)
	s.mu.RLock()
	defer s.mu.RUnlock()
	for e := s.live[key]; e != nil; e = e.next {
		if e.nominates(nominated) {
			e.refs.add()
			return e
		}
	}
	return nil
}

// UpToDate reports whether every purge there has been is known to spare e, which
// is this store's.
func (m *Memory) UpToDate(e Entry) bool {
	o, ok := e.(*entry)
	return ok && o.head.Load().checked.Load() >= m.ledger.Sequence()
}

// Hits returns how often what lies under a key was found, which this does not count
// as.
func (m *Memory) Hits(key Key) (n uint64) {
	s := m.index.shard(&key)
	s.mu.RLock()
	defer s.mu.RUnlock()
	for e := s.live[key]; e != nil; e = e.next {
		n += e.hits.Load()
	}
	return n
}
