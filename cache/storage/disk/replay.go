package disk

import (
	"errors"
	"fmt"
	"time"

	"edge/cache/storage/nameindex"
	"edge/cache/storage/vfs"
)

// Replaying: at start the segments, the oldest first, tell the index again what there
// is. A sealed one's checkpoint stands in for it (checkpoint.go); any other is read,
// and a checkpoint made of it.

// replay has the segments tell the index what there is.
func (v *volume) replay(ids []uint32) error {
	p := &replay{v: v, good: make(map[uint64]struct{}), deep: make(map[uint32]struct{})}
	started := v.o.Clock()
	lastLine := started
	for i, id := range ids {
		if i > 0 && id != ids[i-1]+1 { // what lay between is lost
			v.o.Logger.Warn("segments are lost: what was stored before them is validated before reuse", "disk", v.dir, "first", v.name(ids[i-1]+1), "last", v.name(id-1))
			p.damaged = true
		}
		if err := p.segment(id, len(ids)-1-i); err != nil {
			if errors.Is(err, errVersion) {
				return fmt.Errorf("disk: %s: %w; run the version that wrote it, or empty the directory", v.name(id), err)
			}
			v.health.ioErrors.Add(1)
			v.o.Logger.Warn("a segment cannot be read", "disk", v.dir, "segment", v.name(id), "error", err)
			p.damaged = true
		}
		v.o.Progress(v.dir, i+1, len(ids))
		if now := v.o.Clock(); now.Sub(lastLine) > int64(progressInterval) {
			lastLine = now
			v.o.Logger.Info("reading the disk", "disk", v.dir, "segments", i+1, "of", len(ids))
		}
		v.nextID = max(v.nextID, id+1)
	}
	if p.damaged { // the last one, which another time may be read
		v.doubt()
		v.placeFirst(&record{kind: kindDoubt})
	}
	p.raise()
	// What a head needs must be there.
	first := v.nextID
	if len(v.segments) > 0 {
		first = v.segments[0].id
	}
	v.dropRows(func(r *row) bool { return r.oldest < first }, &v.health.lost)
	v.seenUpTo = p.seen
	if now := v.o.Ledger.Sequence(); p.seen > now {
		v.newEpoch(p.seen, now)
	}
	v.o.Logger.Info("the disk is open", "disk", v.dir, "responses", v.count.Load(), "segments", len(ids),
		"read", p.read, "damaged", v.health.damaged.Load(), "took", time.Duration(v.o.Clock().Sub(started)))
	return nil
}

// progressInterval is the time between two lines of progress.
const progressInterval = 2 * time.Second

// replay is the state of reading a disk.
type replay struct {
	v    *volume
	read int // segments that the checkpoint did not have
	// good has the chunks (segment and offset of the bytes) that were read and
	// found right in the segments that were read with their bodies, which deep has.
	good map[uint64]struct{}
	deep map[uint32]struct{}
	// seen is the newest purge that the disk knows of.
	seen uint64
	// judged is how far what lies before judgedOff of judgedSeg has been judged, all of it:
	// the judgement that says most, and of several the last. (What lies behind has been
	// judged as far, or will be again.)
	judged               uint64
	judgedSeg, judgedOff uint32
	judgedFrom           uint32 // what needs an older segment was being reclaimed then, and not looked at
	// naming is the names of the head at hand.
	naming nameindex.Naming
	// damaged: something could not be read, nobody knows what. Whatever comes
	// after, what came before may have been taken away by it.
	damaged bool
}

// unsyncedBytes and unsyncedSegments: bodies are read and checked in this much of a
// disk's end, because not all of it may have been synced.
const (
	unsyncedBytes    = maxPending + 8<<20
	unsyncedSegments = 3
)

// segment opens one segment, before later others, and applies what it says.
func (p *replay) segment(id uint32, later int) error {
	v := p.v
	f, err := v.o.FS.Open(v.name(id))
	if err != nil {
		return err
	}
	size, err := f.Size()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	if size > maxSegment { // what is beyond is none of ours, and might take hours to look through
		_ = f.Truncate(maxSegment) // else it takes room that nobody counts
		size = maxSegment
	}
	s := &segment{v: v, id: id, old: true, end: size, written: size, synced: size, sealed: true}
	s.pins.Store(1)
	s.settled.Store(true)
	s.file.Store(&f)
	v.segments = append(v.segments, s)
	v.sealed += size
	// Where something before it was damaged, the segment is read, so that its checkpoint
	// says so from now on.
	packed, naming, length := v.readCheckpoint(s)
	if packed != nil && !p.damaged {
		for ; len(packed) > 0; packed = packed[noteSize:] {
			n := parseNote(packed)
			if n.kind == kindHead {
				naming.next(&p.naming)
			}
			p.apply(s, &n)
		}
		return nil
	}
	p.read++
	deep := later < unsyncedSegments || int64(later)*v.o.segmentSize < unsyncedBytes
	if deep {
		p.deep[id] = struct{}{}
	}
	end, err := p.scan(s, f, deep)
	if err != nil {
		return err
	}
	if end < length {
		// What it lost may have taken something away, of it and of what came before. It keeps
		// the checkpoint that tells, for the starts to come.
		v.health.damaged.Add(1)
		v.o.Logger.Warn("a segment has become shorter: what was stored until then is validated before reuse", "disk", v.dir, "segment", v.name(id))
		p.damaged = true
		return nil
	}
	if f.Sync() == nil { // what the checkpoint says must not outlive what it says it of
		v.checkpoint(s)
	}
	return nil
}

// apply tells the index of one record, a head with the names in p.naming.
func (p *replay) apply(s *segment, n *note) {
	v := p.v
	if p.damaged {
		p.damaged = false
		v.doubt()
		s.notes = append(s.notes, note{kind: kindDoubt})
	}
	sh := v.index.shard(&n.key)
	switch n.kind {
	case kindChunk: // a head says what becomes of it
	case kindDoubt:
		v.doubt()
	case kindJudged:
		p.seen = max(p.seen, n.checked)
		if n.order >= p.judged {
			p.judged, p.judgedSeg, p.judgedOff, p.judgedFrom = n.order, s.id, n.off, n.variant
		}
	case kindEpoch:
		p.seen, p.judged = n.order, 0
		v.doubt()
		v.setChecked(func(uint64) uint64 { return n.order })
	case kindHead:
		v.st.order.Store(max(v.st.order.Load(), n.order))
		p.seen = max(p.seen, n.checked)
		r := n.row(s.id)
		if i := v.index.variant(sh, &n.key, n.variant); i != 0 {
			v.account(sh.row(i), -1)
			r.next, r.names = sh.row(i).next, sh.row(i).names
			*sh.row(i) = r
			v.index.name(sh, i, &p.naming)
		} else {
			v.index.name(sh, v.index.insert(sh, r), &p.naming)
		}
		v.account(&r, 1)
	case kindTombstone:
		if i := v.index.variant(sh, &n.key, n.variant); i != 0 {
			v.drop(sh, i)
		}
	case kindInvalidation:
		for i := v.index.first(sh, &n.key); i != 0; i = sh.following(i) {
			sh.row(i).flags |= flagDoubt
		}
	case kindWipe:
		var ignored counter
		v.dropRows(func(*row) bool { return true }, &ignored)
	}
}

// raise applies the judgements. Once, and not at each: there may be one for each second
// that the disk was in use.
func (p *replay) raise() {
	for i := range p.v.index.shards {
		p.v.index.shards[i].walk(func(_ uint32, r *row) {
			// What is in doubt may have been taken away by what was damaged, after it was
			// judged: it is judged again.
			if r.flags&flagDoubt == 0 && r.oldest >= p.judgedFrom && (r.seg < p.judgedSeg || r.seg == p.judgedSeg && r.off < p.judgedOff) {
				r.setChecked(max(r.checked(), p.judged))
			}
		})
	}
}

// counter counts for nobody.
type counter int64

// Add adds.
func (c *counter) Add(n int64) int64 {
	*c += counter(n)
	return int64(*c)
}

// doubt makes everything that is found so far invalid until it is validated.
func (v *volume) doubt() {
	for i := range v.index.shards {
		v.index.shards[i].walk(func(_ uint32, r *row) { r.flags |= flagDoubt })
	}
}

// scan reads a segment's records, and returns where the last that is right ends. deep: with
// their bodies.
func (p *replay) scan(s *segment, f vfs.File, deep bool) (end int64, err error) {
	w, before := &sliding{f: f, size: s.end}, p.damaged
	for off := int64(0); off+headerSize <= s.end; {
		r, front, err := w.record(s.id, off)
		switch {
		case errors.Is(err, errDamaged):
			if !p.damaged {
				p.v.health.damaged.Add(1)
			}
			p.damaged = true
			off += recordAlign // look for the next one
			continue
		case err != nil:
			return end, err
		}
		n := noteOf(&r, front)
		namingOf(&r, front, &p.naming)
		if deep && !p.whole(w, &r, off) {
			// It was not all written, or has changed since. What it took the
			// place of may be all right, but nobody knows.
			p.v.health.damaged.Add(1)
			n.kind = kindInvalidation
		}
		p.apply(s, &n)
		s.noteRecord(n, &p.naming)
		off += r.size()
		end = off
	}
	if s.end > end {
		p.damaged = before && end == 0 // a torn end: nothing came after it
		if f.Truncate(end) == nil {
			s.end, s.written, s.synced = end, end, end
			p.v.sealed -= w.size - end
		}
	}
	return end, nil
}

// whole checks a record's body, and that the chunks it needs are.
func (p *replay) whole(w *sliding, r *record, off int64) bool {
	if r.body > 0 {
		b, err := w.at(off+headerSize+int64(r.front), int(r.body))
		if err != nil || checksum(b) != r.bodySum {
			return false
		}
	}
	switch r.kind {
	case kindTombstone, kindWipe, kindInvalidation, kindJudged, kindEpoch, kindDoubt: // have nothing besides
	case kindChunk:
		p.good[uint64(r.seg)<<32|uint64(r.off+headerSize)] = struct{}{}
	case kindHead:
		b, err := w.at(off+headerSize, int(r.front))
		if err != nil {
			return false
		}
		f, err := parseFront(b, r)
		if err != nil {
			return false
		}
		own := r.off + headerSize + r.front
		if r.body > 0 {
			p.good[uint64(r.seg)<<32|uint64(own)] = struct{}{}
		}
		for i := range f.extents {
			x := &f.extents[i]
			_, read := p.deep[x.seg]
			if _, ok := p.good[uint64(x.seg)<<32|uint64(x.off)]; read && !ok {
				return false
			}
		}
	}
	return true
}

// sliding reads a file through a window of memory.
type sliding struct {
	f    vfs.File
	size int64
	off  int64
	buf  []byte
	most int // how much is read at a time, in bytes; 0: slidingSize
}

// slidingSize is the window's size in bytes, where nothing else is said.
const slidingSize = 2 << 20

// at returns n bytes at off, which stay right until the next call.
func (w *sliding) at(off int64, n int) ([]byte, error) {
	if off+int64(n) > w.size {
		return nil, errDamaged
	}
	if off < w.off || off+int64(n) > w.off+int64(len(w.buf)) {
		most := w.most
		if most == 0 {
			most = slidingSize
		}
		if cap(w.buf) < max(n, most) {
			w.buf = make([]byte, max(n, most))
		}
		w.buf = w.buf[:min(int64(max(n, most)), w.size-off)]
		w.off = off
		if got, err := w.f.ReadAt(w.buf, off); got < len(w.buf) {
			w.buf = w.buf[:0]
			return nil, fmt.Errorf("%d bytes at %d: %w", n, off, err)
		}
	}
	return w.buf[off-w.off:][:n:n], nil
}

// record reads and checks the header and front of a record.
func (w *sliding) record(seg uint32, off int64) (r record, front []byte, err error) {
	b, err := w.at(off, headerSize)
	if err != nil {
		return r, nil, err
	}
	r, version := parseHeader(b, seg, uint32(off))
	if version != nil && !errors.Is(version, errVersion) {
		return r, nil, version
	}
	if b, err = w.at(off, headerSize+int(r.front)); err != nil {
		return r, nil, err
	}
	if !verify(b, &r) {
		return r, nil, errDamaged // not another version's, then
	}
	return r, b[headerSize:], version
}
