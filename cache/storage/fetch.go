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
