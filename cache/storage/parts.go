package storage

import (
	"errors"
	"fmt"

	"edge/message"
)

// Parts: 206 responses kept as what they are, combined under one strong
// validator, and taken for a whole once the last missing byte is held.
// RFC 9111 section 3.4: "A cache MAY complete a stored incomplete response by
// making a subsequent range request and combining the successful response
// with the stored response".

// errHeldAlready: the whole is held, so a part of it adds nothing.
var errHeldAlready = errors.New("storage: the whole is held already")

// join makes what p is to publish, a sealed part, the union of itself and what is held
// under the same Key, Nominated and validator. Its chunks are shared with the entry it
// replaces, which its readers may go on with. Under the shard's lock.
//
// What cannot be joined is replaced: what a purge has taken, and what has names that
// the union could not all have (Names.Unite).
func (m *Memory) join(s *shard, p *publication) error {
	e := p.w.e
	var held *entry
	for o := s.live[e.key]; o != nil; o = o.next {
		if o.nominates(e.Stored().Nominated) {
			held = o
			break
		}
	}
	if held == nil || !sameRepresentation(held, e) || m.purged(held, e) {
		e.promote(e.body.Load())
		return nil
	}
	old := held.body.Load()
	if old.complete {
		return errHeldAlready
	}
	b := old.union(e.body.Load())
	if n := b.bytesHeld(); n > m.maxObject {
		return fmt.Errorf("%w: %d bytes of parts", ErrTooLarge, n)
	}
	if err := p.unite(held.Names()); err == errNotUnited {
		e.promote(e.body.Load())
		return nil
	} else if err != nil {
		return err
	}
	// Each part has been judged by the purges so far, by its own names (refused, purged).
	// What they make together counts as stored now: judged again by all of its names, it
	// would be taken by a purge of one that only the other part has, and got later.
	e.sequence.Store(e.head.Load().checked.Load())
	for _, p := range b.pieces {
		p.c.retain()
		m.arena.setOwner(p.c.slot, e)
	}
	for _, p := range e.body.Load().pieces {
		if b.uses(p.c) {
			p.c.release(m.arena) // the union's reference is enough
			continue
		}
		// Held already. But who follows e, or has begun to read it as it was
		// sealed, comes to it yet, with no reference but that on e.
		e.spare = append(e.spare, p.c)
	}
	e.promote(b)
	return nil
}

// purged reports whether purges take held that e, a part, must not undo: by held's own
// names, which e need not have. Those since it was judged last; and where it was made
// stale or invalid, also those that did so after both were asked for. Under the shard's
// lock.
func (m *Memory) purged(held, e *entry) bool {
	since := held.head.Load().checked.Load()
	if held.flags()&(message.TermSoftPurged|message.TermInvalidated) != 0 {
		since = min(since, max(held.sequence.Load(), e.sequence.Load()))
	}
	return m.ledger.Sequence() > since && m.ledger.Judge(held, since) != Live
}

// uses reports whether bytes of c are b's.
func (b *body) uses(c *chunk) bool {
	for i := range b.pieces {
		if b.pieces[i].c == c {
			return true
		}
	}
	return false
}

// promote gives e its body, and lets it count as a whole if it is one.
func (e *entry) promote(b *body) {
	e.body.Store(b)
	if b.complete {
		e.reflag(0, message.TermPartial)
	}
}

// sameRepresentation reports whether two entries hold bytes of the same
// representation. RFC 9110 section 15.3.7.3: parts may be combined "if they all
// have the same strong validator".
func sameRepresentation(a, b *entry) bool {
	if a.body.Load().size != b.body.Load().size {
		return false
	}
	return a.Stored().Terms.SharesStrongValidator(&b.Stored().Terms)
}

// union returns a body of what b and o hold; where both hold a byte it is b's.
func (b *body) union(o *body) *body {
	u := &body{size: b.size}
	i := 0
	for _, p := range o.pieces {
		for i < len(b.pieces) && b.pieces[i].end <= p.start {
			u.pieces = append(u.pieces, b.pieces[i])
			i++
		}
		// Of p, take what lies between b's pieces.
		pos := p.start
		for i < len(b.pieces) && b.pieces[i].start < p.end {
			if q := b.pieces[i]; pos < q.start {
				u.pieces = append(u.pieces, piece{pos, q.start, p.c})
			}
			pos = b.pieces[i].end
			if pos > p.end {
				break // the next piece of o may meet it too
			}
			u.pieces = append(u.pieces, b.pieces[i])
			i++
		}
		if pos < p.end {
			u.pieces = append(u.pieces, piece{pos, p.end, p.c})
		}
	}
	u.pieces = append(u.pieces, b.pieces[i:]...)
	u.settle()
	return u
}

// salvage keeps the whole chunks of an aborted part: they are right, whatever
// became of the rest.
func (w *writer) salvage() {
	f := w.f
	cut := f.end - f.end%int64(w.m.chunkSize)
	if cut <= f.start {
		w.leave()
		return
	}
	b := &body{size: w.e.total}
	for _, c := range f.chunks {
		if end := min(c.at+int64(len(c.mem)), cut); end > c.at {
			b.pieces = append(b.pieces, piece{c.at, end, c})
			c.retain()
		}
	}
	b.settle()
	// Its readers hold the entry being written, which stays aborted; what is
	// kept is an entry of its own.
	kept := w.e.offshoot(b)
	if kept == nil {
		for _, p := range b.pieces {
			p.c.release(w.m.arena)
		}
		w.leave()
		return
	}
	w.e, kept = kept, w.e
	_ = w.m.publish(w) // not kept is no error: nothing was promised
	w.e.Release()
	w.e = kept
}

// offshoot returns a new entry with e's head and meta and the body b, whose
// references pass to it; nil where there is no room.
func (e *entry) offshoot(b *body) *entry {
	m, h := e.m, e.Stored()
	if !m.charge(entryOverhead) {
		return nil
	}
	m.live.Add(1)
	o := &entry{m: m, key: e.key, id: e.id, total: e.total}
	o.refs.add()
	o.head.Store(&o.head0)
	o.sequence.Store(e.sequence.Load())
	s, err := m.allocate(len(e.meta)+headSize(h), o)
	if err != nil {
		o.Release()
		return nil
	}
	o.base = s
	o.meta = s.mem()[:copy(s.mem(), e.meta):len(e.meta)]
	copyStored(&o.head0.stored, h, s.mem()[len(e.meta):])
	for _, p := range b.pieces {
		m.arena.setOwner(p.c.slot, o)
	}
	o.body.Store(b)
	return o
}
