package tiered

import "edge/cache/storage"

// Where returns which tiers hold the response that e is, and how often it was
// found in them: for listing. It counts as no hit. Each names one tier only.
func (t *Store) Where(e storage.Entry) (tier string, hits uint64) {
	m := e.Meta()
	if !t.disk.Owns(e) {
		return m.Tier, m.Hits
	}
	copied := t.mem.Fetch(e.Key(), e.Stored().Nominated)
	if copied == nil {
		return m.Tier, m.Hits
	}
	defer copied.Release()
	return "memory+disk", m.Hits + copied.Meta().Hits
}
