package storage

import (
	"bytes"
	"sync"
	"sync/atomic"

	"edge/message"
)

// entry is a stored response of the memory tier, or one being written.
//
// References: the index holds one while it lists the entry, the Writer holds
// one until it ends, and each Lookup, Writer.Entry and Reader holds one. The
// last to go frees the memory. While indexed is set (under the shard's lock)
// the count is at least one, so the index may add to it without trying.
//
// What is written before publication and never after: key, id, base, meta,
// total, order, storedAt, cost, trailers.
type entry struct {
	m     *Memory
	key   Key
	id    uint64 // what the judge calls it: the same for every entry of its Key and Nominated
	refs  retained
	marks atomic.Uint32 // what Take noted

	head     atomic.Pointer[head]
	body     atomic.Pointer[body] // nil until the writing is complete
	fill     atomic.Pointer[fill] // nil once body is set
	sequence atomic.Uint64
	hits     atomic.Uint64
	waiting  atomic.Bool // on probation

	// Guarded by the shard's lock; indexed may be read without.
	indexed atomic.Bool
	next    *entry // the next older variant under the same key
	order   uint64 // of publication
	place   uint32 // the number of its slot, from 1 on

	base     slot   // meta, the first head, and a small announced body
	meta     []byte // packed, in base
	total    int64  // announced complete length, or LengthUnknown
	storedAt message.Instant
	cost     int64 // bytes the judge weighs it by
	trailers []byte
	trailer  slot
	spare    []*chunk // brought, but held already when they came: for readers from before

	mu      sync.Mutex
	retired *head       // heads replaced by Freshen that somebody may still read
	stale   atomic.Bool // there are any

	// The parts that every entry needs, here so that they cost no object.
	head0  head
	body0  body
	piece0 [1]piece
	chunk0 chunk
}

// entryOverhead is what an entry costs beside its slots, in bytes: itself, its
// place in the index, its slot's owner pointer and the judge's records. Held
// to the truth by TestEntryOverhead.
const entryOverhead = 1024

var _ Entry = (*entry)(nil)

// Stored returns the head now.
func (e *entry) Stored() *message.Stored { return &e.head.Load().stored }

// Key returns the primary key.
func (e *entry) Key() Key { return e.key }

// Sequence returns the purge sequence that the entry counts as stored at.
func (e *entry) Sequence() uint64 { return e.sequence.Load() }

// Meta unpacks what the proposal said.
func (e *entry) Meta() Meta {
	m := e.Names().Meta()
	m.Hits, m.StoredAt, m.Tier = e.hits.Load(), e.storedAt, "memory"
	return m
}

// Names returns what purges go by.
func (e *entry) Names() Names {
	if h := e.head.Load(); h != nil && h.names != nil {
		return Names{h.names}
	}
	return Names{e.meta}
}

// Size returns the complete length of the body.
func (e *entry) Size() int64 {
	if b := e.body.Load(); b != nil {
		return b.size
	}
	return e.total
}

// Held appends the ranges held.
func (e *entry) Held(dst []ByteRange) []ByteRange {
	if b := e.body.Load(); b != nil {
		return b.held(dst)
	}
	if f := e.fill.Load(); f != nil {
		return f.held(dst)
	}
	if b := e.body.Load(); b != nil { // it was sealed between the two looks
		return b.held(dst)
	}
	return dst
}

// Bytes returns the whole body where it is complete and contiguous.
func (e *entry) Bytes() []byte {
	if b := e.body.Load(); b != nil {
		return b.whole
	}
	return nil
}

// Trailers returns the trailer lines.
func (e *entry) Trailers() []byte {
	if e.body.Load() == nil {
		if f := e.fill.Load(); f != nil && !f.ended() {
			return nil
		}
	}
	return e.trailers
}

// Release gives a reference back; the last one frees the memory. With nobody
// left but the index, heads that freshening replaced are freed: whoever had
// them has released, and nobody can find them any more. (Where a release races
// with the freshening, the next release does it.)
func (e *entry) Release() {
	if !e.stale.Load() {
		if e.refs.drop() == 0 {
			e.free()
		}
		return
	}
	e.mu.Lock()
	var old *head
	left := e.refs.drop()
	// One left is the index's only if e is still in the index now: the index
	// gives its reference back after it has cleared indexed.
	if left == 0 || left == 1 && e.indexed.Load() {
		old, e.retired = e.retired, nil
		e.stale.Store(false)
	}
	e.mu.Unlock()
	e.m.releaseHeads(old)
	if left == 0 {
		e.free()
	}
}

// retire keeps a replaced head until nobody can be reading it.
func (e *entry) retire(h *head) {
	e.mu.Lock()
	h.next = e.retired
	e.retired = h
	e.stale.Store(true)
	e.mu.Unlock()
}

// free gives everything back. No reference is left.
func (e *entry) free() {
	a := e.m.arena
	if f := e.fill.Load(); f != nil {
		for _, c := range f.chunks {
			c.release(a)
		}
	}
	if b := e.body.Load(); b != nil {
		for _, p := range b.pieces {
			p.c.release(a)
		}
	}
	for _, c := range e.spare {
		c.release(a)
	}
	e.m.releaseHeads(e.retired)
	a.release(e.head.Load().slot)
	a.release(e.trailer)
	a.release(e.base)
	a.discharge(entryOverhead)
	e.m.live.Add(-1)
}

// reflag changes the head's flags by putting a changed copy in its place. It
// returns the flags from before, and whether it was this call that changed them.
func (e *entry) reflag(set, clear message.TermFlags) (before message.TermFlags, changed bool) {
	for {
		h := e.head.Load()
		s := h.stored
		if s.Terms.Flags = s.Terms.Flags&^clear | set; s.Terms.Flags == h.stored.Terms.Flags {
			return s.Terms.Flags, false
		}
		if e.rehead(h, s, h.checked.Load()) {
			return h.stored.Terms.Flags, true
		}
	}
}

// rehead puts s, which is h's but for the terms, in the place of h. False: h is
// not the head any more.
func (e *entry) rehead(h *head, s message.Stored, checked uint64) bool {
	// The copy takes over the slot; readers of h stay safe because the slot
	// goes only when the copy does.
	next := &head{stored: s, slot: h.slot, names: h.names}
	next.checked.Store(checked)
	return e.head.CompareAndSwap(h, next)
}

// flags returns the head's flags now.
func (e *entry) flags() message.TermFlags { return e.Stored().Terms.Flags }

// nominates reports whether the entry's variant is the one that nominated names.
func (e *entry) nominates(nominated []byte) bool {
	return bytes.Equal(e.Stored().Nominated, nominated)
}

// newer reports whether e goes before o in Lookup's order: RFC 9111 section 4
// has the cache use "the most recent response (as determined by the Date
// header field)".
func (e *entry) newer(o *entry) bool {
	if n := e.Stored().Recency(o.Stored()); n != 0 {
		return n < 0
	}
	return e.order > o.order
}

// weigh computes what the judge weighs e by.
func (e *entry) weigh() {
	n := entryOverhead + e.base.size() + e.head.Load().slot.size() + e.trailer.size()
	if b := e.body.Load(); b != nil {
		for _, p := range b.pieces {
			n += p.c.slot.size()
		}
	}
	for _, c := range e.spare {
		n += c.slot.size()
	}
	e.cost = n
}
