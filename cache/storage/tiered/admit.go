package tiered

import (
	"slices"

	"edge/cache/storage"
	"edge/cache/storage/disk"
	"edge/message"
)

// Admission to the disk. While it has room, it takes what has been used
// Options.MinUses times. Once it is full, what it takes makes something else go, and
// it takes what has been used twice at least: what a crawler touches once stays in
// memory, waits there on probation, and pushes out nothing that is asked for
// often. What memory cannot hold is not asked to wait, for it would not be kept at
// all. A use is a fetch, or a hit of what lies in memory alone; one that comes later
// than as many bytes after the one before as the disk holds does not count, since
// the disk would have let go of it by then.
const (
	// pressedUses is how many uses a full disk asks for.
	pressedUses = 2
	// historySpacing: a use is remembered, in 8 bytes, for so many bytes of disk;
	// but for no more than 1/historyShare of the memory tier's size, and for
	// minHistory.
	historySpacing = 4 << 10
	historyShare   = 64
	minHistory     = 1 << 16
)

// newHistory returns what remembers uses.
func newHistory(diskSize, memorySize int64) *storage.Reuse {
	n := min(diskSize/historySpacing, memorySize/historyShare/8)
	return storage.NewReuse(diskSize, max(n, minHistory))
}

// needed is how often something of that length must have been used for the disk
// to take it now.
func (t *Store) needed(key storage.Key, size int64) int {
	if size < 0 || size > t.memMax || !t.disk.Crowded(key) {
		return t.minUses
	}
	return max(t.minUses, pressedUses)
}

// admitted counts a fetch, and reports whether the disk is to take what it brings.
func (t *Store) admitted(p *storage.Proposal) bool {
	return t.used.Count(hashOf(p.Key, p.Stored.Nominated), max(p.Total, 0)) >= t.needed(p.Key, p.Total)
}

// passes reports whether what is to be copied to the disk passes memory by. As long as
// memory has room it takes everything; once it is crowded, only what is asked for again
// within as many bytes as it holds, whether that is fetched or found on the disk
// (promote.go). So what a crawler touches once makes nothing else go, and storing it costs
// 0.7 of what it would (BenchmarkStore). Markers, which stand for the lack of a response,
// are few, small and soon outdated: they lie in memory.
func (w *writer) passes() bool {
	t, e := w.t, w.e
	return w.copy && t.mem.Crowded() && !e.Stored().Terms.Flags.Has(message.TermHitForMiss) &&
		!t.asked.Ask(hashOf(w.p.Key, e.Stored().Nominated), w.p.Total)
}

// persist counts a hit of what lies in memory alone, and queues it if it is for the
// disk.
func (p *promoter) persist(e storage.Entry) {
	t := p.t
	if !t.promotable(e) || t.disk.Out(e.Key()) {
		return
	}
	if t.used.Count(hashOf(e.Key(), e.Stored().Nominated), e.Size()) >= t.needed(e.Key(), e.Size()) {
		p.enqueue(name{e.Key(), slices.Clone(e.Stored().Nominated), true})
	}
}

// writeThrough puts on the disk what lies in memory alone. Under the key's lock, so
// that it is what memory has and nobody else changes; and at once or not at all.
func (p *promoter) writeThrough(n *name) {
	t := p.t
	l := t.lock(n.key)
	l.Lock()
	defer l.Unlock()
	e := t.mem.Fetch(n.key, n.nominated)
	if e == nil {
		return
	}
	defer e.Release()
	if !t.promotable(e) || t.disk.Has(n.key, n.nominated) || !t.mem.UpToDate(e) {
		return
	}
	// A body that is written to the disk without the key's lock may be committed this
	// moment: then it is what is found, and e is about to be taken out.
	if t.copyToDisk(e, proposalOf(e), true) == nil {
		t.stats.persisted.Add(1)
	}
}

// copyToDisk writes what memory has to the disk too, at once or not at all. p
// describes it. ifAbsent: only where the disk has nothing of its key and variant.
func (t *Store) copyToDisk(e storage.Entry, p *storage.Proposal, ifAbsent bool) error {
	if body := e.Bytes(); body != nil && len(body) <= disk.MaxPut {
		p.Stored, p.Sequence = e.Stored(), e.Sequence()
		if ifAbsent {
			return t.disk.PutIfAbsent(p, e.Names(), body, e.Trailers())
		}
		return t.disk.Put(p, e.Names(), body, e.Trailers())
	}
	to, err := t.disk.BeginNow(proposalOf(e), ifAbsent)
	if err != nil {
		return err
	}
	return transfer(e, to)
}
