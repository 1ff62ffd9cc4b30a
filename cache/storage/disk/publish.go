package disk

import (
	"bytes"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"

	"edge/cache/storage"
	"edge/cache/storage/nameindex"
	"edge/message"
)

// publication is a response on its way into the index.
type publication struct {
	e        *entry
	w        *writer   // on the list of pending ones, or nil
	chunks   []located // of the body, in the log and pinned by somebody
	last     *piece    // the rest of it, nil for none: it goes into the head's record
	trailers []byte
	part     bool
	size     int64 // of the representation
	doomed   *atomic.Bool
	wait     time.Duration // for room
	joined   bool          // with what was held
	ifAbsent bool          // else ErrHeld
}

var (
	// errMoved: what was prepared for has changed meanwhile; once more.
	errMoved = errors.New("disk: changed meanwhile")
	// errHeldAlready: the whole is held, so a part of it adds nothing.
	errHeldAlready = errors.New("disk: the whole is held already")
)

// publishAttempts is how often a part is joined anew with what it finds.
const publishAttempts = 16

// variantOf tells variants of a key apart. Should two meet, one takes the other's
// place, which costs a fetch and nothing else: who uses a response compares the
// nominated fields themselves.
func variantOf(nominated []byte) uint32 {
	if len(nominated) == 0 {
		return variantOfWhole
	}
	return uint32(xxhash.Sum64(nominated)) | 1
}

// publish makes a response visible, or says why not.
func (v *volume) publish(p *publication) error {
	e := p.e
	e.storedAt = v.o.Clock()
	e.order = v.st.order.Add(1)
	wait := patience{wait: p.wait}
	defer wait.done()
	for attempt := 0; ; attempt++ {
		err := v.attempt(p)
		switch {
		case err == errBusy && v.waitRoom(&wait):
			continue
		case err == errMoved && attempt < publishAttempts:
			continue
		}
		if p.w != nil && err != nil {
			p.w.leave()
		}
		switch {
		case err == nil:
			v.st.stats.stored.Add(1)
			return nil
		case err == errHeldAlready:
			return nil
		case err == errMoved:
			err = storage.ErrFull
		case err == storage.ErrDoomed:
			v.st.stats.doomed.Add(1)
		}
		return fmt.Errorf("disk: not kept: %w", v.unkept(err))
	}
}

// attempt is one attempt at publishing.
func (v *volume) attempt(p *publication) error {
	e := p.e
	p.joined = false
	e.renamed.Store(nil) // as it was before an attempt that joined it
	var held *entry
	if p.part {
		if held = v.fetchVariant(&e.key, e.variant); held != nil {
			defer held.Release()
		}
	}
	s := v.index.shard(&e.key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := v.refused(p); err != nil {
		return err
	}
	if p.ifAbsent && v.index.variant(s, &e.key, e.variant) != 0 {
		return ErrHeld
	}
	extents := append([]located(nil), p.chunks...)
	if c := p.last; c != nil {
		n := uint32(len(c.mem))
		extents = append(extents, located{extent: extent{at: c.at, length: n, take: n, sum: checksum(c.mem)}})
	}
	if p.part {
		n := v.index.variant(s, &e.key, e.variant)
		if (n == 0) != (held == nil) || n != 0 && !held.indexed.Load() {
			return errMoved
		}
		if n != 0 && sameRepresentation(held, p) && !v.purged(held, e) {
			var err error
			if extents, err = v.join(p, held, extents); err != nil {
				return err
			}
		}
	}
	return v.enter(s, p, extents)
}

// refused tells why a response must not be found, and notes how far it was judged. The
// ledger's number is taken before it is asked: a purge that comes after is found by the
// first Lookup; and under the shard's lock, so that Take, which comes after the purge,
// finds what was not judged by it.
func (v *volume) refused(p *publication) error {
	e, ledger := p.e, v.o.Ledger
	now, since := ledger.Sequence(), e.sequence.Load()
	purged := now > since && ledger.Judge(e, since) != storage.Live
	e.checked.Store(max(now, since))
	switch {
	case v.st.closed.Load():
		return storage.ErrClosed
	case purged || p.doomed.Load():
		return storage.ErrDoomed
	}
	return nil
}

// purged reports whether purges take held that e, a part, must not undo: by held's own
// names, which e need not have. Those since it was judged last; and where it was made
// stale or invalid, also those that did so after both were asked for. Then it is not
// joined, but replaced. Under the shard's lock.
func (v *volume) purged(held, e *entry) bool {
	since := held.checked.Load()
	if held.Stored().Terms.Flags&(message.TermSoftPurged|message.TermInvalidated) != 0 {
		since = min(since, max(held.sequence.Load(), e.sequence.Load()))
	}
	return v.o.Ledger.Sequence() > since && v.o.Ledger.Judge(held, since) != storage.Live
}

// join adds what is held of p's representation to the extents of p, and its names to
// p's; not where they are too many, for then it is replaced. Under the shard's lock.
func (v *volume) join(p *publication, held *entry, extents []located) ([]located, error) {
	b := held.body.Load()
	if b.complete {
		return nil, errHeldAlready
	}
	all := union(b.locate(), extents)
	if n := heldBy(all); n > v.o.MaxObject || len(all) > maxExtents {
		return nil, fmt.Errorf("%w: %d bytes of parts", storage.ErrTooLarge, n)
	}
	e := p.e
	names, ok := e.names.Unite(held.Names())
	if !ok {
		return extents, nil
	}
	e.renamed.Store(&names)
	p.joined = true
	return all, nil
}

// sameRepresentation reports whether held and p hold bytes of the same
// representation. RFC 9110 section 15.3.7.3: parts may be combined "if they all
// have the same strong validator".
func sameRepresentation(held *entry, p *publication) bool {
	if held.body.Load().size != p.size || !bytes.Equal(held.Stored().Nominated, p.e.Stored().Nominated) {
		return false
	}
	return held.Stored().Terms.SharesStrongValidator(&p.e.Stored().Terms)
}

func heldBy(list []located) (n int64) {
	for i := range list {
		n += int64(list[i].take)
	}
	return n
}

// enter writes p's head and puts it in the index. Under the shard's lock.
func (v *volume) enter(s *shard, p *publication, extents []located) error {
	e := p.e
	stored := *e.Stored()
	if stored.Terms.Flags &^= message.TermPartial; !covers(extents, p.size) {
		stored.Terms.Flags |= message.TermPartial
	}
	var last []byte
	if p.last != nil {
		last = p.last.mem
	}
	naming := new(nameindex.Naming)
	e.Names().Naming(e.key, naming)
	sequence := e.sequence.Load()
	if p.joined {
		// Each part has been judged by the purges so far, by its own names (refused, purged).
		// What they make together counts as stored now: judged again by all of its names, it
		// would be taken by a purge of one that only the other part has, and got later.
		sequence = e.checked.Load()
	}
	b, r, err := v.writeHead(&headRecord{e: e, stored: &stored, sequence: sequence, checked: e.checked.Load(),
		trailers: p.trailers, size: p.size, naming: naming}, extents, last, false)
	if err != nil {
		return err
	}
	n := v.seat(s, r, &stored, naming)
	if p.w != nil {
		s.pending.Leave(e.key, &p.w.place)
	}
	e.trailers = p.trailers
	e.sequence.Store(sequence)
	e.head.Store(&stored)
	e.row, e.seg, e.off = n, r.seg, r.off
	s.open[n] = e
	e.body.Store(b)
	e.indexed.Store(true)
	return nil
}

// seat puts a row in the index, in the place of the one of its key and variant, and
// takes out what makes way for it. Under the shard's lock.
func (v *volume) seat(s *shard, r row, stored *message.Stored, naming *nameindex.Naming) (n uint32) {
	v.displace(s, &r, stored)
	if n = v.index.variant(s, &r.key, r.variant); n != 0 {
		v.st.stats.replaced.Add(1)
		v.close(s, n)
		v.account(s.row(n), -1)
		r.next, r.names = s.row(n).next, s.row(n).names
		*s.row(n) = r
	} else {
		n = v.index.insert(s, r)
	}
	v.index.name(s, n, naming)
	v.account(&r, 1)
	return n
}

// covers reports whether extents give all of [0, size).
func covers(extents []located, size int64) bool {
	pos := int64(0)
	for i := range extents {
		if extents[i].start() != pos {
			return false
		}
		pos = extents[i].end()
	}
	return pos == size
}

// displace takes out what makes way for a new row besides the row of its own
// variant: a hit-for-miss marker for the whole key, which it proves wrong; the row
// written first where there are too many. Under the shard's lock.
func (v *volume) displace(s *shard, of *row, stored *message.Stored) {
	real := !stored.Terms.Flags.Has(message.TermHitForMiss)
	kept, first := 0, uint32(0)
	for n := v.index.first(s, &of.key); n != 0; {
		r, next := s.row(n), s.following(n)
		switch {
		case r.variant == of.variant:
		case real && r.flags&flagMarker != 0:
			v.st.stats.replaced.Add(1)
			v.remove(s, n)
		default:
			kept++
			if first == 0 || before(r, s.row(first)) {
				first = n
			}
		}
		n = next
	}
	if kept >= maxVariants {
		v.st.stats.replaced.Add(1)
		v.remove(s, first)
	}
}

// before reports whether a was written before b.
func before(a, b *row) bool { return a.seg < b.seg || a.seg == b.seg && a.off < b.off }

// close makes the entry that is open for a row stand alone. Under the shard's lock.
func (v *volume) close(s *shard, n uint32) {
	if o := s.open[n]; o != nil {
		o.indexed.Store(false)
		delete(s.open, n)
		s.kept.close(o)
	}
}

// account adds a row to what is found, or takes it off.
func (v *volume) account(r *row, sign int64) {
	v.count.Add(sign)
	v.live.Add(sign * int64(r.size) * sizeUnit)
}

// drop takes a row out of the index only. Under the shard's lock.
func (v *volume) drop(s *shard, n uint32) {
	v.close(s, n)
	v.account(s.row(n), -1)
	v.index.delete(s, n)
}

// remove takes a row out, for good. Under the shard's lock.
func (v *volume) remove(s *shard, n uint32) {
	r := s.row(n)
	key, variant := r.key, r.variant
	v.drop(s, n)
	v.bury(key, variant)
}

// headRecord is what a head's record says beside the body.
type headRecord struct {
	e                 *entry
	stored            *message.Stored
	sequence, checked uint64
	trailers          []byte
	size              int64
	naming            *nameindex.Naming // nil: made of e's names
}

// writeHead appends a head's record and returns the body and row that it makes.
// Extents without a segment are of last, which goes into the record. Under the
// shard's lock; the segments of extents are pinned by somebody.
func (v *volume) writeHead(h *headRecord, extents []located, last []byte, reserve bool) (*body, row, error) {
	e := h.e
	f := front{sequence: h.sequence, checked: h.checked, total: h.size, stored: *h.stored, trailers: h.trailers, names: e.Names().Packed()}
	f.extents = make([]extent, len(extents))
	r := record{kind: kindHead, key: e.key, variant: e.variant, order: e.order, writtenAt: int64(e.storedAt)}
	inline := false
	for i := range extents {
		f.extents[i] = extents[i].extent
		switch s := extents[i].s; {
		case s == nil:
			inline = true
			r.bodySum = extents[i].sum
			f.extents[i].seg, f.extents[i].off = 0, 0 // wherever it lay before
		case s.gone.Load():
			return nil, row{}, fmt.Errorf("%w: reclaimed while it was written", storage.ErrFull)
		case s.lacks(int64(extents[i].off) + int64(extents[i].length)):
			return nil, row{}, fmt.Errorf("%w: the disk failed while it was written", storage.ErrFull)
		default:
			r.flags |= flagForeign
		}
	}
	if !inline {
		last = nil
	}
	if h.stored.Terms.Flags.Has(message.TermPartial) {
		r.flags |= flagPartial
	}
	r.flags |= flagsOf(h.stored)
	if r.naming = h.naming; r.naming == nil {
		r.naming = new(nameindex.Naming)
		e.Names().Naming(e.key, r.naming)
	}
	mem := make([]byte, headerSize, headerSize+frontFixed+len(extents)*extentSize+len(f.stored.Head)+len(f.stored.Nominated)+
		len(f.stored.Reason)+len(f.stored.Terms.ETag)+len(f.trailers)+len(f.names)+6*5)
	mem = appendFront(mem, &f)
	s, err := v.append(&r, mem, last, reserve)
	if err != nil {
		return nil, row{}, err
	}
	defer s.unpin()
	segments := make([]*segment, len(extents))
	for i := range f.extents {
		if segments[i] = extents[i].s; segments[i] == nil {
			segments[i] = s
			f.extents[i].seg, f.extents[i].off = r.seg, r.off+headerSize+r.front
		}
		segments[i].pin()
	}
	b := newBody(f.extents, segments, h.size)
	if b.complete && len(f.extents) == 1 && inline {
		b.whole = last
	}
	n := noteOf(&r, mem[headerSize:])
	return b, n.row(r.seg), nil
}

// rewrite replaces the head of an entry that is in the index, by appending another
// record. Under the shard's lock.
func (v *volume) rewrite(s *shard, e *entry, stored *message.Stored, sequence, checked uint64) error {
	b := e.body.Load()
	extents, last := b.locate(), []byte(nil)
	if b.whole != nil && len(b.whole) > 0 && len(b.whole) <= smallRead {
		// Small: the body goes along, so that one read finds both.
		last = b.whole
		n := uint32(len(last))
		extents = []located{{extent: extent{length: n, take: n, sum: checksum(last)}}}
	}
	next, r, err := v.writeHead(&headRecord{e: e, stored: stored, sequence: sequence, checked: checked, trailers: e.trailers, size: b.size},
		extents, last, false)
	if err != nil {
		return err
	}
	old := s.row(e.row)
	v.account(old, -1)
	r.next, r.hits, r.names = old.next, old.hits, old.names
	*old = r
	v.account(&r, 1)
	e.seg, e.off = r.seg, r.off
	e.head.Store(stored)
	e.sequence.Store(sequence)
	e.checked.Store(checked)
	e.unwritten = false
	next.whole = b.whole
	e.body.Store(next)
	b.drop()
	return nil
}
