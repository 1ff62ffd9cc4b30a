package disk

import (
	"math/bits"
	"sync"
	"sync/atomic"
)

// Bodies on their way to the disk pass through memory: a piece that readers follow,
// then a block that waits for the flusher. Both are used again, when the last who
// reads from them has moved on, so that a long fill costs a few buffers and not its
// length in garbage.

const (
	// minPooled is the smallest buffer that is used again, in bytes; the sizes are
	// the powers of two from there to maxBody, and largeBlock.
	minPooled = 64 << 10
	// largeBlock is what a block has room for that takes chunks, in bytes: four of
	// the usual ones, with their headers, in one write.
	largeBlock  = maxBody + 4<<10
	pooledSizes = 6
)

// buffers has what may be used again, by size.
var buffers [pooledSizes]sync.Pool

// poolOf returns where buffers of n bytes come from, or nil.
func poolOf(n int) *sync.Pool {
	switch {
	case n == largeBlock:
		return &buffers[pooledSizes-1]
	case n < minPooled || n > maxBody || n&(n-1) != 0:
		return nil
	}
	return &buffers[bits.Len(uint(n))-bits.Len(uint(minPooled))]
}

// counted is memory that several read from: it is used again once nobody does. Who
// made it holds the first reference; more may be taken by whoever knows that there is
// one.
type counted struct {
	refs atomic.Int32
	buf  *[]byte
	pool *sync.Pool // nil: for the garbage collector
}

// allocate returns room for n bytes, none of them filled.
func (c *counted) allocate(n int) []byte {
	c.refs.Store(1)
	if c.pool = poolOf(n); c.pool == nil {
		return make([]byte, 0, n)
	}
	c.buf, _ = c.pool.Get().(*[]byte)
	if c.buf == nil {
		b := make([]byte, n)
		c.buf = &b
	}
	return (*c.buf)[:0:n]
}

func (c *counted) retain() { c.refs.Add(1) }

// release gives a reference back.
func (c *counted) release() {
	switch n := c.refs.Add(-1); {
	case n < 0:
		panic("disk: memory released more often than retained")
	case n > 0 || c.pool == nil:
		return
	}
	if poisoned {
		for i := range *c.buf {
			(*c.buf)[i] = 0xdb
		}
	}
	c.pool.Put(c.buf)
	c.buf = nil
}
