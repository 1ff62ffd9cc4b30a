package disk

import (
	"sync/atomic"

	"edge/cache/storage"
)

// body is what a written response holds: extents in ascending order that do not
// overlap, and pins on the segments they lie in. Counted: the entry holds one
// reference and each Reader one, so that carrying can put another in its place.
// Immutable but for the count.
type body struct {
	refs     atomic.Int64
	extents  []extent
	segments []*segment // one for each extent, pinned once for each
	size     int64      // of the representation
	complete bool
	// whole is the complete body where it lies in memory, else nil.
	whole []byte
}

// emptyBody is the whole of every empty body: empty, but not nil.
var emptyBody = []byte{}

// newBody makes a body of extents whose segments are pinned for it.
func newBody(extents []extent, segments []*segment, size int64) *body {
	b := &body{extents: extents, segments: segments, size: size}
	b.refs.Store(1)
	pos := int64(0)
	for i := range extents {
		if extents[i].start() != pos {
			return b
		}
		pos = extents[i].end()
	}
	if b.complete = pos == size; b.complete && size == 0 {
		b.whole = emptyBody
	}
	return b
}

// try adds a reference unless there is none left.
func (b *body) try() bool {
	for {
		n := b.refs.Load()
		if n <= 0 {
			return false
		}
		if b.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// drop gives a reference back; the last one unpins the segments.
func (b *body) drop() {
	switch n := b.refs.Add(-1); {
	case n == 0:
		for _, s := range b.segments {
			s.unpin()
		}
	case n < 0:
		panic("disk: body released more often than retained")
	}
}

// find returns the index of the first extent that ends after pos.
func find(extents []extent, pos int64) int {
	lo, hi := 0, len(extents)
	for lo < hi {
		mid := (lo + hi) / 2
		if extents[mid].end() <= pos {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// held appends the ranges held, adjacent ones joined.
func (b *body) held(dst []storage.ByteRange) []storage.ByteRange {
	first := len(dst)
	for i := range b.extents {
		start, end := b.extents[i].start(), b.extents[i].end()
		if n := len(dst); n > first && dst[n-1].End == start {
			dst[n-1].End = end
		} else {
			dst = append(dst, storage.ByteRange{Start: start, End: end})
		}
	}
	return dst
}

// cut returns what x gives of [start, end).
func (x extent) cut(start, end int64) extent {
	x.skip, x.take = uint32(start-x.at), uint32(end-start)
	return x
}

// located is an extent with its segment.
type located struct {
	extent
	s *segment
}

// union merges what a and b give; where both give a byte it is a's.
func union(a, b []located) (u []located) {
	i := 0
	for _, p := range b {
		for i < len(a) && a[i].end() <= p.start() {
			u = append(u, a[i])
			i++
		}
		// Of p, take what lies between a's extents.
		pos := p.start()
		for i < len(a) && a[i].start() < p.end() {
			if pos < a[i].start() {
				u = append(u, located{p.cut(pos, a[i].start()), p.s})
			}
			pos = a[i].end()
			if pos > p.end() {
				break // the next of b may meet it too
			}
			u = append(u, a[i])
			i++
		}
		if pos < p.end() {
			u = append(u, located{p.cut(pos, p.end()), p.s})
		}
	}
	return append(u, a[i:]...)
}

// locate pairs a body's extents with their segments.
func (b *body) locate() []located {
	list := make([]located, len(b.extents))
	for i := range list {
		list[i] = located{b.extents[i], b.segments[i]}
	}
	return list
}
