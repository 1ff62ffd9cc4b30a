package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"sync"

	"edge/cache/storage"
)

// reader implements storage.Reader. It reads a finished body, or follows a
// fill. pos is guarded by the fill's lock while there is one.
type reader struct {
	e          *entry
	b          *body // finished, retained; or
	f          *fill // followed
	pos, limit int64
	buf        *[]byte  // what the last piece lies in, where it was read
	held       *counted // what it lies in, where that is others' too, retained
	begun      bool     // something was read
	frame      int      // of the hot chunks, from 1, that the last piece lies in; 0: none
	doubt      bool     // the file gave less than was known to be there
	closed     bool

	offered   storage.FilePiece // by NextFile, at offeredAt
	offeredAt int64
}

var _ storage.Reader = (*reader)(nil)

// readPiece is how much of a verified chunk is read at a time, in bytes.
const readPiece = 256 << 10

// Buffers for reading, by capacity.
var smallBuffers, largeBuffers = sync.Pool{New: func() any { b := make([]byte, readPiece); return &b }},
	sync.Pool{New: func() any { b := make([]byte, maxBody); return &b }}

// Reader opens the body at offset for n bytes.
func (e *entry) Reader(offset, n int64) storage.Reader {
	e.refs.Add(1)
	r := &reader{e: e, pos: max(offset, 0), limit: math.MaxInt64}
	if n >= 0 && n < math.MaxInt64-r.pos {
		r.limit = r.pos + n
	}
	if r.b = e.retainBody(); r.b == nil {
		r.f = e.fill.Load()
		r.f.mu.Lock()
		if r.f.readers == nil {
			r.f.readers = make(map[*reader]struct{})
		}
		r.f.readers[r] = struct{}{}
		r.f.read = true
		r.f.moved.Give()
		r.f.mu.Unlock()
	}
	return r
}

// Next returns the next piece.
func (r *reader) Next(ctx context.Context) ([]byte, error) {
	r.moveOn()
	switch {
	case r.closed:
		return nil, fmt.Errorf("disk: read after close: %w", storage.ErrGone)
	case r.f != nil:
		return r.nextFollowed(ctx)
	}
	if r.pos >= r.limit || r.pos >= r.b.size {
		return nil, io.EOF
	}
	if r.b.whole != nil {
		p := r.b.whole[r.pos:min(r.limit, r.b.size)]
		r.pos += int64(len(p))
		return p[:len(p):len(p)], nil
	}
	i := find(r.b.extents, r.pos)
	if i == len(r.b.extents) || r.b.extents[i].start() > r.pos {
		return nil, fmt.Errorf("%w: byte %d of %d is not held", storage.ErrGone, r.pos, r.b.size)
	}
	p, err := r.load(&located{r.b.extents[i], r.b.segments[i]})
	r.pos += int64(len(p))
	return p, err
}

// nextFollowed is Next on a fill: it waits for bytes where there are none.
func (r *reader) nextFollowed(ctx context.Context) ([]byte, error) {
	f := r.f
	for {
		f.mu.Lock()
		p, x, err := f.take(r)
		if p != nil {
			f.moved.Give()
		}
		if x != nil {
			at := *x // the slice may grow meanwhile
			f.mu.Unlock()
			p, err = r.load(&at)
			f.mu.Lock()
			r.pos += int64(len(p))
			f.moved.Give()
		}
		if p != nil || err != nil {
			f.mu.Unlock()
			return p, err
		}
		ch := f.progress.Next()
		f.mu.Unlock()
		select {
		case <-ch:
		case <-ctx.Done():
			return nil, fmt.Errorf("disk: waiting for byte %d: %w", r.pos, ctx.Err())
		}
	}
}

// load reads from an extent at r.pos. An extent that was not yet found right, or is
// not in memory any more, is read whole.
func (r *reader) load(x *located) ([]byte, error) {
	v := r.e.v
	from, n := r.pos-x.at, min(x.end(), r.limit)-r.pos
	proof := x.s.proven()
	known := proof.has(x.off, x.length)
	lo, size := int64(0), int(x.length)
	if known {
		n = min(n, readPiece)
		lo, size = from, int(n)
	}
	var hot place
	if known {
		p, at, whole := r.hotPiece(x, from)
		if p != nil {
			n = min(n, int64(len(p)))
			return p[:n:n], nil
		}
		if hot = at; whole > 0 {
			lo = hot.off - int64(x.off)
			n, size = min(n, lo+whole-from), int(whole)
		}
	}
	if known {
		if p, block := v.readNow(x.s, int64(x.off)+lo, size, r.buffer); p != nil {
			r.begun, r.held = true, block
			if hot.s != nil {
				v.st.hot.put(hot, p)
			}
			return p[from-lo:][:n:n], nil
		}
	}
	// It comes from the disk, for the first time or once more: all of it is checked.
	p, err := r.loadChecked(x, proof)
	if err != nil {
		return nil, err
	}
	if hot.s != nil {
		v.st.hot.put(hot, p[lo:][:size])
	}
	return p[from : from+n : from+n], nil
}

// loadChecked reads all of an extent and checks it.
func (r *reader) loadChecked(x *located, proof *proof) ([]byte, error) {
	v, wait := r.e.v, lookPatience
	switch {
	case !r.begun:
	case r.e.Stored().Terms.HasStrongValidator():
		wait = restPatience
	default:
		wait = bodyPatience
	}
	p, block, err := v.read(x.s, int64(x.off), int(x.length), wait, r.buffer)
	switch {
	case errors.Is(err, errSlow):
		r.buf = nil // the kernel's now
		return nil, err
	case errors.Is(err, errNotNow):
		return nil, err
	case err != nil:
		v.mend(r.e, x)
		return nil, fmt.Errorf("%w: %w", storage.ErrGone, err)
	}
	r.begun = true
	r.held = block
	if checksum(p) != x.sum {
		v.health.damaged.Add(1)
		v.mend(r.e, x)
		return nil, fmt.Errorf("%w: %w: segment %08x at %d", storage.ErrGone, errDamaged, x.seg, x.off)
	}
	if block == nil { // else it is not known what is on the disk
		proof.set(x.off, x.length)
	}
	return p, nil
}

// buffer returns n bytes of memory that are r's until the next call.
func (r *reader) buffer(n int) []byte {
	if r.buf != nil && len(*r.buf) < n {
		r.letGo()
	}
	if r.buf == nil {
		pool := &smallBuffers
		if n > readPiece {
			pool = &largeBuffers
		}
		r.buf = pool.Get().(*[]byte)
	}
	return (*r.buf)[:n]
}

// moveOn lets go of what the last piece lies in.
func (r *reader) moveOn() {
	r.leaveFrame()
	if r.held != nil {
		r.held.release()
		r.held = nil
	}
}

func (r *reader) letGo() {
	if r.buf == nil {
		return
	}
	if poisoned {
		for i := range *r.buf {
			(*r.buf)[i] = 0xdb
		}
	}
	if len(*r.buf) > readPiece {
		largeBuffers.Put(r.buf)
	} else {
		smallBuffers.Put(r.buf)
	}
	r.buf = nil
}

// Close ends the reading.
func (r *reader) Close() {
	if r.closed {
		return
	}
	r.closed = true
	r.offered = storage.FilePiece{}
	r.moveOn()
	r.letGo()
	if f := r.f; f != nil {
		f.mu.Lock()
		delete(f.readers, r)
		f.moved.Give()
		f.mu.Unlock()
	} else {
		r.b.drop()
	}
	r.e.Release()
}
