package storage

import (
	"math/bits"
	"sync/atomic"
)

// Reuse tells what is asked for often enough to deserve a copy in a memory of a
// given size: what was asked for before, no longer ago than as many bytes were
// asked for since as that memory holds. Any longer ago, and the memory would have
// let go of the copy before it was of use. So a scan passes, also one that comes
// round over more than fits, and what is asked for often is known at the second
// time. (The distance of reuse, rather than a count: S. Jiang and X. Zhang, "LIRS",
// SIGMETRICS 2002.)
//
// It remembers roughly: a slot holds the last of those that share it, and is lost
// to the next. Safe for concurrent use; an ask costs two atomic operations.
type Reuse struct {
	window int64 // bytes
	unit   int64 // bytes that the clock's ticks stand for
	clock  atomic.Int64
	slots  []atomic.Uint64 // 24 bits of the hash, 8 that count, 32 of the tick
}

// reuseTicks is how many ticks the window has: distances are known as exactly.
const reuseTicks = 1 << 12

// NewReuse returns a Reuse for a memory of window bytes that remembers about
// remember asks, in 8 bytes each.
func NewReuse(window int64, remember int64) *Reuse {
	r := &Reuse{window: window, unit: max(1, window/reuseTicks), slots: make([]atomic.Uint64, 1<<bits.Len64(uint64(max(remember, 256)-1)))}
	r.clock.Store(2*window + 2*r.unit) // so that an empty slot is long ago
	return r
}

// Pass notes that n bytes were asked for which nobody need remember.
func (r *Reuse) Pass(n int64) { r.clock.Add(n) }

// Ask notes that n bytes with a hash were asked for, and reports whether they
// deserve a copy.
func (r *Reuse) Ask(hash uint64, n int64) bool { return r.Count(hash, n) > 1 }

// maxUses is how far a Reuse counts.
const maxUses = 1<<8 - 1

// Count is Ask that returns how often they have been asked for by now, each time
// within the window of the time before; up to maxUses.
func (r *Reuse) Count(hash uint64, n int64) int {
	now := uint32(r.clock.Add(n) / r.unit)
	s := &r.slots[hash&uint64(len(r.slots)-1)]
	mark, uses := hash>>40, uint64(1)
	last := s.Load()
	// The tick wraps, after millions of windows: what comes of it is a copy for
	// nothing. Its own n bytes are part of the distance.
	if last>>40 == mark && int64(now-uint32(last))*r.unit <= r.window {
		uses = min(last>>32&maxUses+1, maxUses)
	}
	s.Store(mark<<40 | uses<<32 | uint64(now)) // one of two at once may go uncounted
	return int(uses)
}
