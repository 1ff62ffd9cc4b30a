package storage

import (
	"context"
	"fmt"
	"io"
	"math"
	"sort"
)

// reader implements Reader for the memory tier. It reads a finished body, or
// follows a fill. pos, next and prev are guarded by the fill's lock while
// there is one.
type reader struct {
	e          *entry
	b          *body // finished, or
	f          *fill // followed
	pos, limit int64
	pin        *chunk // what the last piece lies in, when following
	next, prev *reader
	closed     bool
}

var _ Reader = (*reader)(nil)

// Reader opens the body at offset for n bytes.
func (e *entry) Reader(offset, n int64) Reader {
	e.refs.add()
	r := &reader{e: e, pos: max(offset, 0), limit: math.MaxInt64}
	if n >= 0 && n < math.MaxInt64-r.pos {
		r.limit = r.pos + n
	}
	if r.b = e.body.Load(); r.b == nil {
		if f := e.fill.Load(); f != nil {
			r.follow(f)
		} else {
			r.b = e.body.Load() // sealed between the two looks
		}
	}
	return r
}

// follow attaches r to a fill.
func (r *reader) follow(f *fill) {
	r.f = f
	f.mu.Lock()
	if r.next = f.readers; r.next != nil {
		r.next.prev = r
	}
	f.readers = r
	f.read = true
	f.moved.Give()
	f.mu.Unlock()
}

// Next returns the next piece.
func (r *reader) Next(ctx context.Context) ([]byte, error) {
	switch {
	case r.closed:
		return nil, fmt.Errorf("storage: read after close: %w", ErrGone)
	case r.f != nil:
		return r.nextFollowed(ctx)
	}
	if r.pos >= r.limit || r.pos >= r.b.size {
		return nil, io.EOF
	}
	i := r.b.find(r.pos)
	if i == len(r.b.pieces) || r.b.pieces[i].start > r.pos {
		return nil, fmt.Errorf("%w: byte %d of %d is not held", ErrGone, r.pos, r.b.size)
	}
	p := r.b.pieces[i].bytes(r.pos)
	if left := r.limit - r.pos; int64(len(p)) > left {
		p = p[:left]
	}
	r.pos += int64(len(p))
	return p, nil
}

// nextFollowed is Next on a fill: it waits for bytes where there are none.
func (r *reader) nextFollowed(ctx context.Context) ([]byte, error) {
	r.unpin()
	f := r.f
	for {
		p, ch, err := r.takeOrWait(f)
		if p != nil || err != nil {
			return p, err
		}
		select {
		case <-ch:
		case <-ctx.Done():
			return nil, fmt.Errorf("storage: waiting for byte %d: %w", r.pos, ctx.Err())
		}
	}
}

// takeOrWait is take, or what to wait on. A panic must not leave the lock taken:
// it ends one exchange, whose reader is then closed.
func (r *reader) takeOrWait(f *fill) (p []byte, wake <-chan struct{}, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.moved.Give() // a writer may want what was pinned
	if p, err = r.take(f); p != nil || err != nil {
		return p, nil, err
	}
	return nil, f.progress.Next(), nil
}

// take returns what can be had from f now; neither bytes nor an error where
// that means waiting. Under f's lock.
func (r *reader) take(f *fill) ([]byte, error) {
	switch {
	case r.pos >= r.limit:
		return nil, io.EOF // it has what it asked for, whatever comes of the rest
	case f.state == aborted:
		return nil, f.err
	case r.pos < f.start:
		return nil, fmt.Errorf("%w: byte %d lies before the part from %d", ErrGone, r.pos, f.start)
	case r.pos < f.base:
		return nil, fmt.Errorf("%w: byte %d is gone, %d is the first", ErrFellBehind, r.pos, f.base)
	case r.pos < f.end:
		return r.cut(f), nil
	case f.state == filled && r.e.total >= 0 && f.end < min(r.e.total, r.limit):
		return nil, fmt.Errorf("%w: the part ended at %d of %d", ErrGone, f.end, r.e.total)
	case f.state == filled:
		return nil, io.EOF
	}
	return nil, nil
}

// cut takes the next piece out of f and pins its chunk. Under f's lock.
func (r *reader) cut(f *fill) []byte {
	i := sort.Search(len(f.chunks), func(i int) bool {
		return f.chunks[i].at+int64(len(f.chunks[i].mem)) > r.pos
	})
	c := f.chunks[i]
	end := min(c.at+int64(len(c.mem)), f.end, r.limit)
	p := c.mem[r.pos-c.at : end-c.at : end-c.at]
	c.retain()
	r.pin = c
	r.pos = end
	f.moved.Give()
	return p
}

// unpin lets go of the chunk that the last piece lies in.
func (r *reader) unpin() {
	if r.pin != nil {
		r.pin.release(r.e.m.arena)
		r.pin = nil
	}
}

// Close ends the reading.
func (r *reader) Close() {
	if r.closed {
		return
	}
	r.closed = true
	r.unpin()
	if f := r.f; f != nil {
		f.mu.Lock()
		if r.prev != nil {
			r.prev.next = r.next
		} else {
			f.readers = r.next
		}
		if r.next != nil {
			r.next.prev = r.prev
		}
		f.moved.Give()
		f.mu.Unlock()
	}
	r.e.Release()
}
