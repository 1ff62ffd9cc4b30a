package disk

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"edge/cache/storage"
	"edge/message"
)

// Looking up: what the index knows of a key is made into entries, by reading the
// heads of those that nobody has open. No lock is held while a head is read.

// loadAttempts is how often a look-up tries again because a row moved while its
// head was read.
const loadAttempts = 4

// Lookup appends to dst every live entry under key.
func (st *Store) Lookup(dst []storage.Entry, key storage.Key) []storage.Entry {
	return st.LookupBut(dst, key, nil)
}

// LookupBut is Lookup without the variants that have says the caller has already,
// which are not read and not counted as hit.
func (st *Store) LookupBut(dst []storage.Entry, key storage.Key, have []storage.Entry) []storage.Entry {
	v := st.volume(&key)
	if st.closed.Load() || v.health.readsOut() {
		return dst
	}
	var room [4]uint32
	first := len(dst)
	for _, variant := range v.variants(room[:0], &key) {
		if slices.ContainsFunc(have, func(e storage.Entry) bool { return variantOf(e.Stored().Nominated) == variant }) {
			continue
		}
		e := v.fetchVariant(&key, variant)
		if e == nil {
			continue
		}
		if now := v.o.Ledger.Sequence(); e.checked.Load() < now && !v.spared(e, now) {
			e.Release()
			continue
		}
		v.hit(e)
		dst = append(dst, e)
	}
	slices.SortFunc(dst[first:], func(a, b storage.Entry) int {
		if a.(*entry).newer(b.(*entry)) {
			return -1
		}
		return 1
	})
	return dst
}

// variants appends the variants that the index has of a key.
func (v *volume) variants(dst []uint32, key *storage.Key) []uint32 {
	s := v.index.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	for n := v.index.first(s, key); n != 0; n = s.following(n) {
		dst = append(dst, s.row(n).variant)
	}
	return dst
}

// hit counts a hit, and keeps the entry open.
func (v *volume) hit(e *entry) {
	e.hits.Add(1)
	s := v.index.shard(&e.key)
	s.mu.Lock()
	var room [2]*entry
	out := room[:0]
	if e.indexed.Load() {
		if r := s.row(e.row); r.hits < 255 {
			r.hits++
		}
		out = s.kept.keep(e, out)
	}
	s.mu.Unlock()
	for _, o := range out {
		o.Release()
	}
}

// fetchVariant returns the entry of a key and variant, retained, or nil. It
// applies no purge.
func (v *volume) fetchVariant(key *storage.Key, variant uint32) *entry {
	s := v.index.shard(key)
	for range loadAttempts {
		s.mu.Lock()
		n := v.index.variant(s, key, variant)
		if n == 0 {
			s.mu.Unlock()
			return nil
		}
		if e := s.open[n]; e != nil && e.retain() {
			s.mu.Unlock()
			return e
		}
		r := *s.row(n)
		s.mu.Unlock()
		e, why := v.load(&r)
		s.mu.Lock()
		n = v.index.variant(s, key, variant)
		moved := n == 0 || s.row(n).seg != r.seg || s.row(n).off != r.off
		switch {
		case moved:
			s.mu.Unlock()
			if e != nil {
				e.Release()
			}
			continue
		case why != nil:
			if why != errNotNow && !errors.Is(why, errSlow) {
				v.remove(s, n)
				v.st.stats.removed.Add(1)
			}
			s.mu.Unlock()
			return nil
		}
		if o := s.open[n]; o != nil && o.retain() {
			s.mu.Unlock()
			e.Release()
			return o
		}
		if s.row(n).flags&flagDoubt != 0 {
			e.reflag(message.TermInvalidated)
		}
		e.checked.Store(s.row(n).checked())
		e.hits.Store(uint64(s.row(n).hits))
		e.row, e.seg, e.off = n, r.seg, r.off
		e.indexed.Store(true)
		s.open[n] = e
		s.mu.Unlock()
		return e
	}
	return nil
}

// errNotNow: the disk is not asked now; the record may be all right.
var errNotNow = fmt.Errorf("disk: not read now: %w", storage.ErrGone)

// load reads the head that a row points at and makes an entry of it, retained for
// the caller.
func (v *volume) load(r *row) (*entry, error) {
	s := v.segment(r.seg)
	if s == nil {
		return nil, errNotNow // reclaimed this moment: the row is about to go
	}
	defer s.unpin()
	b, err := v.readCopy(s, int64(r.off), int(r.read))
	if err != nil {
		return nil, err
	}
	rec, f, err := openHead(b, r)
	if err != nil {
		v.health.damaged.Add(1)
		v.o.Logger.Warn("a damaged record was dropped", "disk", v.dir, "segment", v.name(r.seg), "offset", r.off)
		return nil, err
	}
	names, err := storage.OpenNames(f.names)
	if err != nil {
		v.health.damaged.Add(1)
		return nil, err
	}
	segments, err := v.pinAll(f.extents)
	if err != nil {
		v.health.lost.Add(1)
		return nil, err
	}
	e := &entry{v: v, key: r.key, variant: r.variant, names: names, total: f.total, order: rec.order,
		storedAt: message.Instant(rec.writtenAt), trailers: f.trailers}
	e.refs.Store(1)
	e.sequence.Store(f.sequence)
	e.checked.Store(f.checked)
	e.head.Store(&f.stored)
	if s.old {
		v.doubtFuture(&f.stored)
	}
	e.footprint = keptEntry + int64(len(b)+len(f.extents)*keptExtent)
	body := newBody(f.extents, segments, f.total)
	e.body.Store(body)
	if end := int64(headerSize+rec.front) + int64(rec.body); body.complete && len(f.extents) == 1 && f.extents[0].seg == r.seg &&
		f.extents[0].off == r.off+headerSize+rec.front && f.extents[0].length == rec.body && end <= int64(len(b)) {
		if body.whole = b[headerSize+rec.front : end : end]; checksum(body.whole) != f.extents[0].sum {
			e.Release()
			v.health.damaged.Add(1)
			return nil, errDamaged
		}
	}
	return e, nil
}

// openHead verifies and opens the head's record that r points at.
func openHead(b []byte, r *row) (rec record, f *front, err error) {
	if len(b) < headerSize {
		return rec, nil, errDamaged
	}
	if rec, err = parseHeader(b, r.seg, r.off); err != nil {
		return rec, nil, err
	}
	if rec.kind != kindHead || rec.key != r.key || rec.variant != r.variant || int64(len(b)) < headerSize+int64(rec.front) || !verify(b, &rec) {
		return rec, nil, errDamaged
	}
	f, err = parseFront(b[headerSize:headerSize+rec.front:headerSize+rec.front], &rec)
	return rec, f, err
}

// pinAll pins the segment of each extent.
func (v *volume) pinAll(extents []extent) ([]*segment, error) {
	list := make([]*segment, len(extents))
	for i := range extents {
		if i > 0 && extents[i].seg == extents[i-1].seg {
			list[i] = list[i-1]
			list[i].pin()
			continue
		}
		if list[i] = v.segment(extents[i].seg); list[i] == nil {
			for _, s := range list[:i] {
				s.unpin()
			}
			return nil, fmt.Errorf("%w: segment %08x is gone", errDamaged, extents[i].seg)
		}
	}
	return list, nil
}

// doubtFuture makes what a wall clock behind the record's would take for fresher
// than it is stale: nobody knows how old it is.
func (v *volume) doubtFuture(s *message.Stored) {
	now := v.o.Clock()
	if s.ResponseTime <= now {
		return
	}
	v.health.future.Add(1)
	s.Terms.FreshnessLifetime = min(s.Terms.FreshnessLifetime, s.CurrentAge(now))
}

// readCopy is read into memory of its own, for a look-up.
func (v *volume) readCopy(s *segment, off int64, n int) ([]byte, error) {
	return v.readCopyWithin(s, off, n, lookPatience)
}

// readCopyWithin is readCopy that waits for so long.
func (v *volume) readCopyWithin(s *segment, off int64, n int, wait time.Duration) ([]byte, error) {
	var own []byte
	p, block, err := v.read(s, off, n, wait, func(n int) []byte {
		own = make([]byte, n)
		return own
	})
	if err == nil && own == nil {
		p = slices.Clone(p)
	}
	if block != nil {
		block.release()
	}
	return p, err
}

// Each calls f with every live entry.
func (st *Store) Each(f func(storage.Entry) bool) {
	for _, v := range st.volumes {
		if !v.each(f) {
			return
		}
	}
}

// each is Each for one disk.
func (v *volume) each(f func(storage.Entry) bool) bool {
	var list []identity
	for i := range v.index.shards {
		s := &v.index.shards[i]
		list = list[:0]
		s.walk(func(_ uint32, r *row) { list = append(list, identity{r.key, r.variant}) })
		for _, x := range list {
			e := v.fetchVariant(&x.key, x.variant)
			if e == nil {
				continue
			}
			now, more := v.o.Ledger.Sequence(), true
			if e.checked.Load() >= now || v.spared(e, now) {
				more = f(e)
			}
			e.Release()
			if !more {
				return false
			}
		}
	}
	return true
}

// walk calls f with every row, under the lock; f may not change the index.
func (s *shard) walk(f func(n uint32, r *row)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.buckets {
		for ; n != 0; n = s.row(n).next {
			f(n, s.row(n))
		}
	}
}

// dropRows takes the rows that f chooses out of the index, and counts them.
func (v *volume) dropRows(f func(r *row) bool, why interface{ Add(int64) int64 }) {
	var list []uint32
	for i := range v.index.shards {
		s := &v.index.shards[i]
		list = list[:0]
		s.mu.Lock()
		for _, n := range s.buckets {
			for ; n != 0; n = s.row(n).next {
				if f(s.row(n)) {
					list = append(list, n)
				}
			}
		}
		for _, n := range list {
			v.drop(s, n)
		}
		s.mu.Unlock()
		why.Add(int64(len(list)))
	}
}
