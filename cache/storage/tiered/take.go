package tiered

import "edge/cache/storage"

// Finding and taking by name, in both tiers: what lies in both is the disk's to show
// and to count.

var (
	_ storage.Finder = (*Store)(nil)
	_ storage.Taker  = (*Store)(nil)
)

// Find calls f with every live entry that is selected, once.
func (t *Store) Find(list []storage.Selector, f func(storage.Entry) bool) {
	more := true
	t.mem.Find(list, func(e storage.Entry) bool {
		if !t.onDisk(e) {
			more = f(e)
		}
		return more
	})
	if more {
		t.disk.Find(list, f)
	}
}

// Take marks what the takings select. What the disk evicts between the two, having
// counted it, memory counts once more: a purge would have to remember all that it takes
// to rule that out.
func (t *Store) Take(list []storage.Taking) {
	t.disk.Take(list)
	t.mem.TakeBut(list, t.onDisk)
}

// Reap carries out what is marked.
func (t *Store) Reap(n int) (did, left int) {
	did, left = t.mem.Reap(n)
	more, rest := t.disk.Reap(n - did)
	return did + more, left + rest
}

// Judged raises how far each entry of a part that is not marked has been judged.
func (t *Store) Judged(since, sequence uint64, part int) {
	t.mem.Judged(since, sequence, part)
	t.disk.Judged(since, sequence, part)
}

// onDisk reports whether the disk has the variant of an entry.
func (t *Store) onDisk(e storage.Entry) bool { return t.disk.Has(e.Key(), e.Stored().Nominated) }
