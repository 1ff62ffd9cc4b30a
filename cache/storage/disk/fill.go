package disk

import (
	"fmt"
	"io"
	"sync"

	"edge/cache/storage"
	"edge/cache/storage/inflight"
)

// fill is a body on its way in: what a writer and the readers that follow it
// share. Whole chunks lie in the log; what is not yet a whole chunk, and in
// window mode what is not kept, lies in pieces of memory. The writer alone
// changes it but for the readers; mu guards all of it and is never held over a
// wait.
type fill struct {
	start int64 // where the first byte lies in the representation

	mu       sync.Mutex
	chunks   []located // in the log, pinned until the entry goes
	pieces   []*piece  // in memory, ascending and adjacent
	end      int64     // after the last byte published
	state    fillState
	err      error           // why, once aborted
	progress inflight.Signal // what readers wait for
	moved    inflight.Signal // a reader has, or has come or left: what the writer waits for
	readers  map[*reader]struct{}
	read     bool // a reader has been attached
	window   bool
	trailers []byte
}

// piece is a run of bytes in memory. Bytes below its length never change; what it
// has capacity for, the writer adds.
//
// The fill holds a reference, and so does each reader that returned bytes of it, until it
// moves on.
type piece struct {
	counted
	at  int64
	mem []byte
}

// newPiece makes a piece with room for n bytes.
func newPiece(at int64, n int) *piece {
	c := &piece{at: at}
	c.mem = c.allocate(n)
	return c
}

type fillState uint8

// The states of a fill.
const (
	filling fillState = iota // the writer writes
	filled                   // ended whole: readers get io.EOF
	aborted                  // ended short: readers get err
)

// publish makes p readable behind what is, in the last piece, which has room.
func (f *fill) publish(p []byte) {
	f.mu.Lock()
	last := f.pieces[len(f.pieces)-1]
	last.mem = append(last.mem, p...)
	f.end += int64(len(p))
	f.progress.Give()
	f.mu.Unlock()
}

// finish ends the fill, once.
func (f *fill) finish(state fillState, trailers []byte, err error) {
	f.mu.Lock()
	if f.state == filling {
		f.state, f.err, f.trailers = state, err, trailers
	}
	f.progress.Give()
	f.mu.Unlock()
}

// length returns where the body ends so far, and whether that is its end.
func (f *fill) length() (n int64, ended bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.end, f.state == filled
}

// trailersNow returns the trailers once the body is whole.
func (f *fill) trailersNow() []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.trailers
}

// held appends the range that is held now.
func (f *fill) held(dst []storage.ByteRange) []storage.ByteRange {
	f.mu.Lock()
	defer f.mu.Unlock()
	from := f.start
	if f.window {
		from = f.base()
	}
	if f.end > from && f.state != aborted {
		dst = append(dst, storage.ByteRange{Start: from, End: f.end})
	}
	return dst
}

// base is the first byte in memory. Under mu.
func (f *fill) base() int64 {
	if len(f.pieces) > 0 {
		return f.pieces[0].at
	}
	return f.end
}

// chunked is where the chunks in the log end. Under mu.
func (f *fill) chunked() int64 {
	if n := len(f.chunks); n > 0 {
		return f.chunks[n-1].end()
	}
	return f.start
}

// take returns what a reader at r.pos can have now: bytes, or a chunk to be
// read from the log; neither and no error where that means waiting. Under mu.
func (f *fill) take(r *reader) (p []byte, x *located, err error) {
	switch {
	case r.pos >= r.limit:
		return nil, nil, io.EOF // it has what it asked for, whatever comes of the rest
	case f.state == aborted:
		return nil, nil, f.err
	case r.pos < f.start:
		return nil, nil, fmt.Errorf("%w: byte %d lies before the part from %d", storage.ErrGone, r.pos, f.start)
	case r.pos < f.chunked():
		i := len(f.chunks) - 1 // a follower is mostly at the end
		for f.chunks[i].start() > r.pos {
			i--
		}
		return nil, &f.chunks[i], nil
	case r.pos < f.base():
		return nil, nil, fmt.Errorf("%w: byte %d is gone, %d is the first", storage.ErrFellBehind, r.pos, f.base())
	case r.pos < f.end:
		return f.slice(r), nil, nil
	case f.state == filled && r.e.total >= 0 && f.end < min(r.e.total, r.limit):
		return nil, nil, fmt.Errorf("%w: the part ended at %d of %d", storage.ErrGone, f.end, r.e.total)
	case f.state == filled:
		return nil, nil, io.EOF
	}
	return nil, nil, nil
}

// slice returns bytes in memory from r.pos on, which moves. Under mu.
func (f *fill) slice(r *reader) []byte {
	for _, c := range f.pieces {
		if end := c.at + int64(len(c.mem)); end > r.pos {
			end = min(end, r.limit)
			p := c.mem[r.pos-c.at : end-c.at : end-c.at]
			r.pos = end
			c.retain()
			r.held = &c.counted
			return p
		}
	}
	panic("disk: a byte that was published is in no piece")
}

// fastest returns the position of the reader that is furthest ahead, and whether
// there is any. Under mu.
func (f *fill) fastest() (pos int64, any bool) {
	for r := range f.readers {
		pos, any = max(pos, r.pos), true
	}
	return pos, any
}

// free lets go of the chunks. Nobody reads any more.
func (f *fill) free() {
	for i := range f.chunks {
		f.chunks[i].s.unpin()
	}
	f.chunks, f.pieces = nil, nil
}
