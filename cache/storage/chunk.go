package storage

import "sync/atomic"

// chunk is a run of body bytes in one piece of memory.
//
// It is counted: the body or fill that it is part of holds it, and a Reader
// that follows a fill pins the one it returned bytes of, because a fill may
// drop chunks (window mode) or move them (growing, shrinking). Bytes below
// what the fill has published never change.
type chunk struct {
	refs atomic.Int32
	at   int64  // position of mem[0] in the representation
	mem  []byte // capacity; how much is filled is the fill's knowledge
	slot slot   // none where mem lies in the entry's base slot
}

func (c *chunk) retain() { c.refs.Add(1) }

// release gives one reference back, and the slot with the last.
func (c *chunk) release(a *arena) {
	switch n := c.refs.Add(-1); {
	case n == 0:
		c.mem = nil
		a.release(c.slot)
	case n < 0:
		panic("storage: chunk released more often than retained")
	}
}

// piece is [start, end) of a representation, found in a chunk.
type piece struct {
	start, end int64
	c          *chunk
}

// bytes returns the piece's bytes from position pos on.
func (p piece) bytes(pos int64) []byte { return p.c.mem[pos-p.c.at : p.end-p.c.at] }

// body is what a written entry holds: pieces in ascending order that do not
// overlap. Immutable.
type body struct {
	pieces []piece
	// whole is the complete body where it lies in one piece, else nil.
	whole []byte
	// complete says that [0, size) is held.
	complete bool
	size     int64 // of the representation
}

// find returns the index of the first piece that ends after pos.
func (b *body) find(pos int64) int {
	lo, hi := 0, len(b.pieces)
	for lo < hi {
		mid := (lo + hi) / 2
		if b.pieces[mid].end <= pos {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// held appends the ranges held, adjacent pieces joined.
func (b *body) held(dst []ByteRange) []ByteRange {
	first := len(dst)
	for _, p := range b.pieces {
		if n := len(dst); n > first && dst[n-1].End == p.start {
			dst[n-1].End = p.end
		} else {
			dst = append(dst, ByteRange{p.start, p.end})
		}
	}
	return dst
}

// bytesHeld returns how many bytes the pieces hold.
func (b *body) bytesHeld() (n int64) {
	for _, p := range b.pieces {
		n += p.end - p.start
	}
	return n
}

// settle derives complete and whole from the pieces.
func (b *body) settle() {
	pos := int64(0)
	for _, p := range b.pieces {
		if p.start != pos {
			return
		}
		pos = p.end
	}
	if b.complete = pos == b.size; !b.complete {
		return
	}
	switch len(b.pieces) {
	case 0:
		b.whole = emptyBody
	case 1:
		b.whole = b.pieces[0].bytes(0)
	}
}

// emptyBody is the whole of every empty body: empty, but not nil.
var emptyBody = []byte{}
