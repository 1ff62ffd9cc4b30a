package disk

import (
	"sync/atomic"

	"edge/cache/storage"
	"edge/message"
)

// entry is a stored response that somebody retains, or one being written. There
// is one entry for a row at a time, shared by all who look it up; it holds the
// response's head in memory and the body's place.
//
// References: each Lookup, Writer.Entry and Reader holds one, and the Writer until it
// ends. The last to go lets go of the body.
type entry struct {
	v    *volume
	key  storage.Key
	refs atomic.Int64

	head     atomic.Pointer[message.Stored]
	body     atomic.Pointer[body] // nil until the writing is complete
	fill     atomic.Pointer[fill] // set for entries that were written, not read
	sequence atomic.Uint64
	renamed  atomic.Pointer[storage.Names] // nil: names are what they were
	checked  atomic.Uint64

	// Guarded by the shard's lock; indexed may be read without.
	indexed  atomic.Bool
	row      uint32
	variant  uint32
	seg, off uint32 // where the head lies, to tell whether the row moved
	keptAt   int    // place among those kept, from 1; 0: it is not
	keptUsed bool   // found since the clock's hand passed
	// unwritten: what purges made of the head could not be written.
	unwritten bool

	// Not changed once the entry can be found.
	names    storage.Names
	total    int64 // announced complete length, or LengthUnknown
	order    uint64
	storedAt message.Instant
	trailers []byte
	hits     atomic.Uint64
	// footprint is what keeping the entry costs, in bytes; 0: it is not to be kept.
	footprint int64
}

var _ storage.Entry = (*entry)(nil)

// retain adds a reference unless the last has gone.
func (e *entry) retain() bool {
	for {
		n := e.refs.Load()
		if n <= 0 {
			return false
		}
		if e.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// Release gives a reference back.
func (e *entry) Release() {
	n := e.refs.Add(-1)
	if n > 0 {
		return
	}
	if n < 0 {
		panic("disk: entry released more often than retained")
	}
	s := e.v.index.shard(&e.key)
	s.mu.Lock()
	if e.indexed.Load() && s.open[e.row] == e {
		delete(s.open, e.row)
	}
	s.mu.Unlock()
	e.letGo()
}

// letGo lets go of the body, when the last reference has gone.
func (e *entry) letGo() {
	if b := e.body.Load(); b != nil {
		b.drop()
	}
	if f := e.fill.Load(); f != nil {
		f.free()
	}
}

// Stored returns the head now.
func (e *entry) Stored() *message.Stored { return e.head.Load() }

// Key returns the primary key.
func (e *entry) Key() storage.Key { return e.key }

// Sequence returns the purge sequence that the entry counts as stored at.
func (e *entry) Sequence() uint64 { return e.sequence.Load() }

// Names returns what purges go by.
func (e *entry) Names() storage.Names {
	if n := e.renamed.Load(); n != nil {
		return *n
	}
	return e.names
}

// Meta returns what the proposal said.
func (e *entry) Meta() storage.Meta {
	m := e.Names().Meta()
	m.Hits, m.StoredAt, m.Tier = e.hits.Load(), e.storedAt, "disk"
	return m
}

// retainBody returns the body with a reference for the caller, or nil while the
// writing goes on.
func (e *entry) retainBody() *body {
	for {
		b := e.body.Load()
		if b == nil || b.try() {
			return b
		}
	}
}

// Size returns the complete length of the body.
func (e *entry) Size() int64 {
	if b := e.body.Load(); b != nil {
		return b.size
	}
	if f := e.fill.Load(); f != nil {
		if n, ended := f.length(); ended && e.total < 0 {
			return n
		}
	}
	return e.total
}

// Held appends the ranges held.
func (e *entry) Held(dst []storage.ByteRange) []storage.ByteRange {
	if b := e.body.Load(); b != nil {
		return b.held(dst)
	}
	if f := e.fill.Load(); f != nil {
		return f.held(dst)
	}
	return dst
}

// Bytes returns the whole body where it lies in memory.
func (e *entry) Bytes() []byte {
	if b := e.body.Load(); b != nil {
		return b.whole
	}
	return nil
}

// Trailers returns the trailer lines.
func (e *entry) Trailers() []byte {
	if f := e.fill.Load(); f != nil {
		return f.trailersNow()
	}
	return e.trailers
}

// newer reports whether e goes before o in Lookup's order: RFC 9111 section 4
// has the cache use "the most recent response (as determined by the Date header
// field)".
func (e *entry) newer(o *entry) bool {
	if n := e.Stored().Recency(o.Stored()); n != 0 {
		return n < 0
	}
	return e.order > o.order
}
