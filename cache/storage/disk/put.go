package disk

import (
	"errors"
	"fmt"
	"sync"

	"edge/cache/storage"
	"edge/cache/storage/nameindex"
	"edge/message"
)

// Putting: a small body that lies in memory as a whole becomes one record and one
// row at once, without an entry, a writer and their bookkeeping. It is what the disk
// does on most misses, and several times cheaper than Begin, Write and Commit.

// heads are buffers in which Put makes a record's head.
var heads = sync.Pool{New: func() any { b := make([]byte, 0, 4<<10); return &b }}

// MaxPut is the longest body that Put takes, in bytes: what comes in bursts that are
// faster than the disk is better slowed down by a Writer than turned away.
const MaxPut = 16 << 10

// Put stores a copy of a whole response that another tier has: p's head and names,
// with that body and those trailers, of which it keeps nothing. What is found
// from then on is the copy. Like BeginNow's writer it does not wait: where there is no
// room at once, ErrFull. What purges after p.Sequence do to it, the first look-up
// finds.
func (st *Store) Put(p *storage.Proposal, names storage.Names, body, trailers []byte) error {
	return st.put(p, names, body, trailers, false)
}

// PutIfAbsent is Put where the disk has nothing of that key and nominated fields;
// ErrHeld where it has.
func (st *Store) PutIfAbsent(p *storage.Proposal, names storage.Names, body, trailers []byte) error {
	return st.put(p, names, body, trailers, true)
}

func (st *Store) put(p *storage.Proposal, names storage.Names, body, trailers []byte, ifAbsent bool) error {
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
	r.flags |= flagsOf(p.Stored)
	var scope [128]byte
	naming := nameindex.Naming{Scope: scope[:0]}
	names.Naming(p.Key, &naming)
	r.naming = &naming
	buf := heads.Get().(*[]byte)
	defer heads.Put(buf)
	*buf = appendFront((*buf)[:headerSize], &f)
	if err := v.put(&r, *buf, body, p, names, ifAbsent); err != nil {
		return fmt.Errorf("disk: not put: %w", v.unkept(err))
	}
	st.stats.stored.Add(1)
	return nil
}

// flagsOf returns those of a record's flags that its head's terms say.
func flagsOf(s *message.Stored) (flags uint8) {
	if s.Terms.Flags.Has(message.TermSoftPurged) {
		flags |= flagSoft
	}
	if s.Terms.Flags.Has(message.TermHitForMiss) {
		if flags |= flagNone; len(s.Nominated) == 0 {
			flags |= flagMarker // for the whole key
		}
	}
	return flags
}

// ErrHeld: the disk has something of that key and nominated fields, and only where it
// has nothing was the copy to be stored.
var ErrHeld = errors.New("disk: held already")

// known is an entry as far as a Ledger looks at it.
type known struct {
	storage.Entry
	key   storage.Key
	names storage.Names
}

// Key returns the primary key.
func (k *known) Key() storage.Key { return k.key }

// Names returns what purges go by.
func (k *known) Names() storage.Names { return k.names }

// put appends the record of a head, which mem begins, and seats its row.
func (v *volume) put(r *record, mem, body []byte, p *storage.Proposal, names storage.Names, ifAbsent bool) error {
	s := v.index.shard(&r.key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if ifAbsent && v.index.variant(s, &r.key, r.variant) != 0 {
		return ErrHeld
	}
	// As in attempt: Take must find what was not judged by a purge before it.
	now := v.o.Ledger.Sequence()
	if now > p.Sequence && v.o.Ledger.Judge(&known{key: p.Key, names: names}, p.Sequence) != storage.Live {
		return storage.ErrDoomed
	}
	seg, err := v.append(r, mem, body, false)
	if err != nil {
		return err
	}
	seg.unpin()
	n := noteOf(r, mem[headerSize:])
	to := n.row(r.seg)
	to.setChecked(max(now, p.Sequence))
	v.seat(s, to, p.Stored, r.naming)
	return nil
}
