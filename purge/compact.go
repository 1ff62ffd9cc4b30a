package purge

import (
	"time"

	"edge/message"
)

// Bounds on what is kept of purges that every stored response has been judged
// by.
const (
	// keepFor is how long they are kept all the same: for fetches that began
	// before them, and for those who follow.
	keepFor = time.Hour
	// maxNamed is how many selectors count at most. Beyond it the oldest purges
	// go, whatever their age.
	maxNamed = 1 << 18
	// maxHeld is how much of the journal they take at most, in bytes, likewise: names are
	// as long as clients make them, and maxNamed of the longest would be a journal that no
	// process reads again (maxJournal).
	maxHeld = 128 << 20
	// pruneInterval is the time between two looks for what can go.
	pruneInterval = 10 * time.Second
	// journalSlack is how much longer than what it must hold the journal may
	// be before it is written anew, in bytes, beside twice that.
	journalSlack = 256 << 10
)

// compact drops what is of no more use, now that every stored response has
// been judged by the purges up to seq.
func (l *Ledger) compact(seq uint64) {
	l.mu.Lock()
	l.swept = max(l.swept, seq)
	if !l.due() {
		l.mu.Unlock()
		return
	}
	l.pruned = l.clock()
	l.prune(l.pruned.Add(-int64(keepFor)))
	must := l.held
	l.mu.Unlock()
	if j := l.journal; j != nil && j.size.Load() > 2*must+journalSlack {
		j.compact.Store(true)
		j.poke()
	}
}

// due reports whether it is time to look for what can go. Under mu.
func (l *Ledger) due() bool {
	return l.beyond(maxNamed, maxHeld) || l.clock().Sub(l.pruned) >= int64(pruneInterval)
}

// beyond reports whether more counts than that. Under mu.
func (l *Ledger) beyond(named int, held int64) bool { return l.named > named || l.held > held }

// count counts a record, 1 where it comes and -1 where it goes. Under mu.
func (l *Ledger) count(r *record, times int) {
	l.named += times * len(r.Selectors)
	l.held += int64(times) * recordCost(r)
}

// recordCost is about how much a record takes in the journal, in bytes.
func recordCost(r *record) int64 {
	n := int64(frameSize + payloadMin)
	for i := range r.Selectors {
		s := &r.Selectors[i]
		n += int64(4 + len(s.Scheme) + len(s.Authority) + len(s.Name))
	}
	return n
}

// prune drops the purges that every stored response was judged by before a
// time, then of each selector all but the newest purges, and where that leaves
// too many, the oldest of the rest. What a purge that was dropped might have
// selected counts as purged if it was last judged before (index.floor): only a
// fetch, or a disk, that began longer ago than purges are kept can be. Under mu.
func (l *Ledger) prune(before message.Instant) {
	n := 0
	drop := func() {
		l.floor = l.records[n].seq
		l.count(l.records[n], -1)
		n++
	}
	for n < len(l.records) && l.records[n].seq <= l.swept && l.records[n].when < before {
		drop()
	}
	rest := supersede(l.records[n:], l.swept)
	l.records = append([]*record(nil), rest...)
	l.named, l.held, n = 0, 0, 0
	for _, r := range l.records {
		l.count(r, 1)
	}
	if l.beyond(maxNamed, maxHeld) {
		for l.beyond(maxNamed/2, maxHeld/2) && n < len(l.records)-1 {
			drop()
		}
	}
	l.records = append([]*record(nil), l.records[n:]...)
	x := newIndex()
	x.floor = l.floor
	for _, r := range l.records {
		x.insert(r, r.seq > l.swept && r.Mode != Invalid)
	}
	l.index.Store(x)
}

// supersede leaves out of the records up to swept what a later one of the same
// selector makes needless: one of the same mode or a stronger one.
func supersede(records []*record, swept uint64) []*record {
	later := make(map[Selector]Mode)
	kept := make([]*record, len(records))
	at := len(kept)
	for i := len(records) - 1; i >= 0; i-- {
		r := records[i]
		var names []Selector
		for _, s := range r.Selectors {
			if r.seq > swept || later[s] < r.Mode && later[All()] < r.Mode {
				names = append(names, s)
			}
		}
		for _, s := range names {
			later[s] = max(later[s], r.Mode)
		}
		if len(names) == 0 {
			continue
		}
		own := *r
		own.Selectors = names
		at--
		kept[at] = &own
	}
	return kept[at:]
}
