package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"

	"edge/cache/storage"
)

// Reclaiming: when segments run short, the oldest goes. What of it was hit since it
// was written is carried: appended again. Of a large body that lies only partly
// there, the rest stays as parts, if it has a strong validator.

const (
	// spareSegments is how many segments reclaiming keeps free, so that
	// appending does not wait for it.
	spareSegments = 2
	// carryShare: up to 1/carryShare of a segment's bytes are carried.
	carryShare = 2
	// dividedFrom: a whole body of that many segments is evicted a segment at a
	// time; a shorter one goes at once, because parts are of less use.
	dividedFrom = 4
	// condemnedShare: while 1/condemnedShare of the segments are reclaimed but
	// pinned by readers, no more are: it would not make room.
	condemnedShare = 4
)

// reclaimer runs until the volume closes.
func (v *volume) reclaimer() {
	defer v.workers.Done()
	for {
		select {
		case <-v.stop:
			return
		case <-v.reclaimNow:
		}
		for {
			s := v.victim()
			if s == nil {
				break
			}
			v.reclaim(s)
			s.unpin() // victim's
			select {
			case <-v.stop:
				return
			default:
			}
		}
	}
}

// victim returns the segment that has to go, pinned, or nil where there is room
// enough, or none can be made.
func (v *volume) victim() *segment {
	v.mu.Lock()
	defer v.mu.Unlock()
	room := v.limit-v.used() >= spareSegments*v.o.segmentSize && len(v.segments)+v.condemned < v.o.segments
	if room || len(v.segments) < 2 || v.heldUp() {
		return nil
	}
	s := v.segments[0]
	s.pin()
	return s
}

// reclaim empties the oldest segment and takes its name away.
func (v *volume) reclaim(s *segment) {
	s.gone.Store(true)
	carry := v.o.segmentSize / carryShare
	list := v.byHeat(s)
	for i := range list {
		v.move(s, &list[i], &carry)
	}
	v.mu.Lock()
	v.segments = v.segments[1:]
	v.condemn(s)
	v.mu.Unlock()
	v.reclaiming.begin(v)
	defer v.reclaiming.end()
	if s.removed.Store(true); s.file.Load() != nil {
		v.forgetFile(s)
	}
	v.st.hot.forget(s)
	v.forgetIdx(s.id)
	s.unpin() // the list's
}

// forgetFile takes the name of a reclaimed segment away, which the flusher may have done.
func (v *volume) forgetFile(s *segment) {
	if err := v.o.FS.Remove(v.name(s.id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		v.health.ioErrors.Add(1)
		v.o.Logger.Warn("a reclaimed segment cannot be removed", "disk", v.dir, "segment", v.name(s.id), "error", err)
	}
}

// warmHits is how many hits a row counts as whose response is in use in another
// tier, which its own hits do not show.
const warmHits = 4

// byHeat returns copies of the rows that need a segment, what was hit most often
// first: so it is what is carried where not all that was hit can be.
func (v *volume) byHeat(s *segment) (list []row) {
	v.eachRowIn(s, func(r *row) {
		c := *r
		if v.o.Warm(r.key) {
			c.hits = uint8(min(int(c.hits)+warmHits, math.MaxUint8))
		}
		list = append(list, c)
	})
	slices.SortStableFunc(list, func(a, b row) int { return int(b.hits) - int(a.hits) })
	return list
}

// move takes a row off a segment: by carrying, by keeping the rest, or by evicting.
func (v *volume) move(s *segment, r *row, budget *int64) {
	hot := r.hits > 0
	size := int64(r.size) * sizeUnit
	if hot && size <= *budget || r.flags&flagForeign != 0 {
		if e := v.fetchVariant(&r.key, r.variant); e != nil {
			err := v.carry(s, e, hot, budget)
			e.Release()
			if err == nil {
				v.st.stats.carried.Add(1)
				return
			}
		}
	}
	sh := v.index.shard(&r.key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if n := v.index.variant(sh, &r.key, r.variant); n != 0 && sh.row(n).oldest <= s.id {
		v.drop(sh, n) // its records go with the segment: no tombstone is needed
		v.st.stats.evicted.Add(1)
		if r.seg != s.id {
			v.bury(r.key, r.variant) // but for a head that lies elsewhere
		}
	}
}

// carry writes e again without what lies in s: if hot, with that appended anew.
func (v *volume) carry(s *segment, e *entry, hot bool, budget *int64) error {
	b := e.retainBody()
	defer b.drop()
	var extents []located
	var last []byte
	defer func() {
		for i := range extents {
			if extents[i].s != nil {
				extents[i].s.unpin()
			}
		}
	}()
	for i, x := range b.locate() {
		switch {
		case x.s != s:
			x.s.pin()
			extents = append(extents, x)
		case !hot || int64(x.length) > *budget:
		case i == len(b.extents)-1: // into the head's record, as it was
			p, err := v.readChecked(&x)
			if err != nil {
				return err
			}
			last, x.s = p, nil
			extents = append(extents, x)
			*budget -= int64(x.length)
		default:
			moved, err := v.carryChunk(e, &x)
			if err != nil {
				return err
			}
			extents = append(extents, moved)
			*budget -= int64(x.length)
		}
	}
	whole := covers(extents, b.size)
	divided := !b.complete || b.size >= dividedFrom*v.o.segmentSize
	if !whole && (len(extents) == 0 || !divided || !e.Stored().Terms.HasStrongValidator()) {
		return storage.ErrGone
	}
	wait := patience{wait: appendWait}
	defer wait.done()
	for {
		err := v.relocate(e, b, extents, last, whole, true)
		if err != errBusy || !v.waitRoom(&wait) {
			return err
		}
	}
}

// readChecked reads the whole run that an extent is of, in memory of its own.
func (v *volume) readChecked(x *located) ([]byte, error) {
	p, err := v.readCopyWithin(x.s, int64(x.off), int(x.length), bodyPatience)
	if err != nil {
		return nil, err
	}
	if checksum(p) != x.sum {
		v.health.damaged.Add(1)
		return nil, fmt.Errorf("%w: segment %08x at %d", errDamaged, x.seg, x.off)
	}
	return p, nil
}

// carryChunk appends a chunk again and returns where it lies, pinned.
func (v *volume) carryChunk(e *entry, x *located) (located, error) {
	p, err := v.readChecked(x)
	if err != nil {
		return located{}, err
	}
	r := record{kind: kindChunk, key: e.key, variant: e.variant, order: uint64(x.at), bodySum: x.sum}
	wait := patience{wait: appendWait}
	defer wait.done()
	for {
		s, err := v.append(&r, make([]byte, headerSize), p, true)
		if err == nil {
			to := *x
			to.s, to.seg, to.off = s, r.seg, r.off+headerSize
			return to, nil
		}
		if err != errBusy || !v.waitRoom(&wait) {
			return located{}, err
		}
	}
}

// relocate puts e's head with other extents in the place of the one it has. reserve:
// for reclaiming.
func (v *volume) relocate(e *entry, b *body, extents []located, last []byte, whole, reserve bool) error {
	s := v.index.shard(&e.key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !e.indexed.Load() || e.body.Load() != b {
		return storage.ErrGone // replaced or freshened meanwhile; the caller looks again
	}
	stored := partialIf(e.Stored(), !whole, b.size)
	next, r, err := v.writeHead(&headRecord{e: e, stored: stored, sequence: e.sequence.Load(), checked: e.checked.Load(),
		trailers: e.trailers, size: b.size}, extents, last, reserve)
	if err != nil {
		return err
	}
	old := s.row(e.row)
	v.account(old, -1)
	r.next, r.names, r.flags = old.next, old.names, r.flags|old.flags&(flagDoubt|flagTakings)
	*old = r
	v.account(&r, 1)
	e.seg, e.off = r.seg, r.off
	e.head.Store(stored)
	e.unwritten = false
	e.body.Store(next)
	b.drop() // the entry's reference; the caller has one of its own
	return nil
}
