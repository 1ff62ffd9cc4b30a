package disk

import (
	"fmt"
	"sync"

	"edge/cache/storage"
	"edge/message"
)

// Putting: a small body that lies in memory as a whole becomes one record and one
// row at once, without an entry, a writer and their bookkeeping. It is what the disk
// does on most misses, and several times cheaper than Begin, Write and Commit.

// heads are buffers in which Put makes a record's head.
var heads = sync.Pool{New: func() any { b := make([]byte, 0, 4<<10); return &b }}

// MaxPut is the longest body that Put takes, in bytes.
const MaxPut = 64 << 10

// Put stores a copy of a whole response that another tier has: p's head and names,
// with that body and those trailers, of which it keeps nothing. What is found
// from then on is the copy. Like BeginNow's writer it does not wait: where there is no
// room at once, ErrFull. What purges after p.Sequence do to it, the first look-up
// finds.
func (st *Store) Put(p *storage.Proposal, names storage.Names, body, trailers []byte) error {
	n := uint32(len(body))
	switch {
	case st.closed.Load():
		return storage.ErrClosed
	case len(body) > MaxPut || int64(len(body)) > st.o.MaxObject:
		return fmt.Errorf("%w: %d bytes put", storage.ErrTooLarge, len(body))
	}
	v := st.volume(&p.Key)
	f := front{sequence: p.Sequence, checked: p.Sequence, total: int64(n), stored: *p.Stored, trailers: trailers, names: names.Packed()}
	f.stored.Terms.Flags &^= message.TermPartial
	r := record{kind: kindHead, key: p.Key, variant: variantOf(p.Stored.Nominated), order: st.order.Add(1), writtenAt: int64(v.o.Clock())}
	var one [1]extent
	if n > 0 {
		r.bodySum = checksum(body)
		one[0] = extent{length: n, take: n, sum: r.bodySum}
		f.extents = one[:]
	}
	if isMarker(p.Stored) {
		r.flags |= flagMarker
	}
	buf := heads.Get().(*[]byte)
	defer heads.Put(buf)
	*buf = appendFront((*buf)[:headerSize], &f)
	if err := v.put(&r, *buf, body, p.Stored); err != nil {
		return fmt.Errorf("disk: not put: %w", v.unkept(err))
	}
	st.stats.stored.Add(1)
	return nil
}

// isMarker reports whether a head is a hit-for-miss marker for its whole key.
func isMarker(s *message.Stored) bool {
	return s.Terms.Flags.Has(message.TermHitForMiss) && len(s.Nominated) == 0
}

// put appends the record of a head, which mem begins, and seats its row.
func (v *volume) put(r *record, mem, body []byte, stored *message.Stored) error {
	s := v.index.shard(&r.key)
	s.mu.Lock()
	defer s.mu.Unlock()
	seg, err := v.append(r, mem, body, false)
	if err != nil {
		return err
	}
	seg.unpin()
	n := noteOf(r, mem[headerSize:])
	v.seat(s, n.row(r.seg), stored)
	return nil
}
