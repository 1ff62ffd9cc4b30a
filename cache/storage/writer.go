package storage

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"edge/cache/storage/inflight"
	"edge/message"
)

// fill is a body on its way in: what a writer and the readers that follow it
// share. The writer alone changes it but for the readers' list; mu guards all
// of it and is never held over a wait.
type fill struct {
	start int64 // where the first byte lies in the representation

	mu       sync.Mutex
	chunks   []*chunk // ascending, adjacent; each referenced once
	base     int64    // the first byte still held; start, but in window mode
	end      int64    // after the last byte published
	state    fillState
	err      error           // why, once aborted
	progress inflight.Signal // what readers wait for
	moved    inflight.Signal // a reader has, or has come or left: what the writer waits for
	readers  *reader         // attached
	read     bool            // a reader has been attached
	window   bool
}

type fillState uint8

// The states of a fill.
const (
	filling fillState = iota // the writer writes
	filled                   // ended whole: readers get io.EOF
	aborted                  // ended short: readers get err
)

// firstChunk is the size that a body of unannounced length begins with; it
// grows by chunkGrowth until it is a whole chunk.
const (
	firstChunk  = 4 << 10
	chunkGrowth = 4
)

// publish makes n more bytes readable.
func (f *fill) publish(n int) {
	f.mu.Lock()
	f.end += int64(n)
	f.progress.Give()
	f.mu.Unlock()
}

// finish ends the fill, once.
func (f *fill) finish(state fillState, err error) {
	f.mu.Lock()
	if f.state == filling {
		f.state, f.err = state, err
	}
	f.progress.Give()
	f.mu.Unlock()
}

// ended reports whether the whole body came.
func (f *fill) ended() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state == filled
}

// held appends the range that is held now.
func (f *fill) held(dst []ByteRange) []ByteRange {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.end > f.base && f.state != aborted {
		dst = append(dst, ByteRange{f.base, f.end})
	}
	return dst
}

// writer implements Writer for the memory tier. It belongs to one goroutine,
// but for doomed and place, which belong to the index.
type writer struct {
	m       *Memory
	e       *entry
	f       *fill
	part    bool
	over    bool  // ended
	pending int64 // bytes of chunks, as counted in Memory.pending
	broken  bool  // a Write ended with its context: nobody knows what it took
	keepErr error // why the body will not be kept although it goes on: window mode

	doomed atomic.Bool
	place  inflight.Place[*writer] // among the writers under the key; by the shard's lock
}

var _ Writer = (*writer)(nil)

// Entry returns the entry being written, retained for the caller.
func (w *writer) Entry() Entry {
	w.e.refs.add()
	return w.e
}

// Write appends p.
func (w *writer) Write(ctx context.Context, p []byte) error {
	if w.over {
		return fmt.Errorf("storage: write after the end: %w", ErrAborted)
	}
	if w.broken {
		return w.fail(fmt.Errorf("%w: write after one that its context ended", ErrAborted))
	}
	if left := w.e.total - w.f.end; w.e.total >= 0 && int64(len(p)) > left {
		return w.fail(fmt.Errorf("%w: %d bytes more than the %d announced", ErrAborted, int64(len(p))-left, w.e.total))
	}
	for len(p) > 0 {
		c, err := w.space(ctx, len(p))
		if err != nil {
			if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
				w.broken = true
				return err
			}
			return w.fail(err)
		}
		n := copy(c.mem[w.f.end-c.at:], p) // beyond end: no reader looks there yet
		w.f.publish(n)
		p = p[n:]
	}
	return nil
}

// fail ends the writing because nothing more can be accepted.
func (w *writer) fail(err error) error {
	w.Abort(err)
	return err
}

// space returns the chunk that takes the next byte, made if need be; want is
// how many bytes are at hand.
func (w *writer) space(ctx context.Context, want int) (*chunk, error) {
	f := w.f
	var last *chunk
	if n := len(f.chunks); n > 0 {
		last = f.chunks[n-1]
		if f.end < last.at+int64(len(last.mem)) {
			return last, nil
		}
	}
	if !f.window {
		c, err := w.extend(last, want)
		if err == nil {
			return c, nil
		}
		w.enterWindow(err)
	}
	return w.slide(ctx)
}

// extend adds a chunk, or replaces a small first one by a larger.
func (w *writer) extend(last *chunk, want int) (*chunk, error) {
	f, full := w.f, w.m.chunkSize
	if kept := f.end - f.start; kept+min(int64(want), 1) > w.m.maxObject {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrTooLarge, w.m.maxObject)
	}
	// Chunks end at multiples of their size, so that parts fit together.
	room := full - int(f.end%int64(full))
	switch {
	case w.e.total >= 0 && !w.part:
		room = int(min(int64(room), w.e.total-f.end))
	case w.part:
		room = min(room, int(w.e.total-f.end))
		if last == nil {
			room = min(room, max(firstChunk, want))
		}
	case last == nil:
		room = min(room, max(firstChunk, want))
	case len(f.chunks) == 1 && len(last.mem) < full:
		return w.grow(last, min(full, max(chunkGrowth*len(last.mem), len(last.mem)+want)))
	}
	c, err := w.newChunk(f.end, room)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	f.chunks = append(f.chunks, c)
	f.mu.Unlock()
	return c, nil
}

// newChunk allocates a chunk of size bytes for position at.
func (w *writer) newChunk(at int64, size int) (*chunk, error) {
	if w.m.pending.Load() > w.m.arena.limit/pendingShare {
		return nil, fmt.Errorf("%w: bodies being written take a %dth of it", ErrFull, pendingShare)
	}
	s, err := w.m.allocate(size, w.e)
	if err != nil {
		return nil, err
	}
	w.count(s.size())
	c := &chunk{at: at, mem: s.mem(), slot: s}
	if w.e.total >= 0 || size == w.m.chunkSize {
		c.mem = c.mem[:size:size]
	} else if len(c.mem) > w.m.chunkSize {
		c.mem = c.mem[:w.m.chunkSize:w.m.chunkSize]
	}
	c.refs.Store(1)
	return c, nil
}

// grow moves the first chunk's bytes into a larger one, which keeps the body
// contiguous. Readers that look at the old one have it pinned.
func (w *writer) grow(old *chunk, size int) (*chunk, error) {
	c, err := w.newChunk(old.at, size)
	if err != nil {
		return nil, err
	}
	w.replace(0, old, c)
	return c, nil
}

// replace puts c in the place of chunk i with the same bytes.
func (w *writer) replace(i int, old, c *chunk) {
	copy(c.mem, old.mem[:w.f.end-old.at])
	w.f.mu.Lock()
	w.f.chunks[i] = c
	w.f.mu.Unlock()
	w.count(-old.slot.size())
	old.release(w.m.arena)
}

// count adds to what the bodies being written take.
func (w *writer) count(n int64) {
	w.pending += n
	w.m.pending.Add(n)
}

// shrink gives back what the last chunk has too much.
func (w *writer) shrink() {
	f := w.f
	i := len(f.chunks) - 1
	if i < 0 {
		return
	}
	last := f.chunks[i]
	used := int(f.end - last.at)
	if last.slot.b == nil || used == 0 || used > last.slot.b.slotSize*3/4 {
		return
	}
	if s, ok := w.m.arena.alloc(used, w.e); ok {
		w.count(s.size())
		c := &chunk{at: last.at, mem: s.mem()[:used:used], slot: s}
		c.refs.Store(1)
		w.replace(i, last, c)
	}
}

// seal turns the ended fill into the entry's body. The chunks' references
// pass to it.
func (w *writer) seal() {
	f, e := w.f, w.e
	b := &e.body0
	b.pieces = e.piece0[:0]
	for _, c := range f.chunks {
		if end := min(c.at+int64(len(c.mem)), f.end); end > c.at {
			b.pieces = append(b.pieces, piece{c.at, end, c})
		} else {
			c.release(w.m.arena)
		}
	}
	b.size = f.end
	if w.part {
		b.size = e.total
	}
	b.settle()
	e.body.Store(b)
	e.fill.Store(nil)
}

// Commit ends the body and makes the entry visible.
func (w *writer) Commit(trailers []byte) error {
	if err := w.complete(trailers); err != nil {
		return err
	}
	return w.settle(w.m.publish(w))
}

// complete ends the body, and makes it the entry's. With an error the writing has
// ended, and nothing of it is kept.
func (w *writer) complete(trailers []byte) error {
	if w.over {
		return fmt.Errorf("storage: commit after the end: %w", ErrAborted)
	}
	if w.broken {
		return w.fail(fmt.Errorf("%w: commit after a write that its context ended", ErrAborted))
	}
	if !w.part && w.e.total >= 0 && w.f.end != w.e.total {
		return w.fail(fmt.Errorf("%w: %d bytes of the %d announced", ErrAborted, w.f.end, w.e.total))
	}
	if len(trailers) > 0 {
		if err := w.keepTrailers(trailers); err != nil {
			w.keepErr = err
		}
	}
	w.over = true
	if w.keepErr != nil {
		w.leave()
		w.m.stats.tooLarge.Add(1)
		return w.settle(fmt.Errorf("%w, kept for its readers only", w.keepErr))
	}
	w.shrink()
	w.seal()
	return nil
}

// settle ends a writing whose fate is err: for its readers too, and not before, since who
// has the whole of a response must find it.
func (w *writer) settle(err error) error {
	w.f.finish(filled, nil)
	w.count(-w.pending)
	w.e.Release()
	return err
}

// keepTrailers copies the trailers; without room for them readers do without
// and the response is not kept.
func (w *writer) keepTrailers(trailers []byte) error {
	s, err := w.m.allocate(len(trailers), w.e)
	if err != nil {
		return err
	}
	w.e.trailer = s
	w.e.trailers = s.mem()[:copy(s.mem(), trailers):len(trailers)]
	return nil
}

// Abort ends the writing; readers get ErrAborted.
func (w *writer) Abort(reason error) {
	if w.over {
		return
	}
	w.over = true
	defer func() { w.count(-w.pending) }()
	if !errors.Is(reason, ErrAborted) {
		reason = fmt.Errorf("%w: %w", ErrAborted, reason)
	}
	w.f.finish(aborted, reason)
	w.m.stats.aborted.Add(1)
	if w.part && w.e.Stored().Terms.HasStrongValidator() && !w.f.window {
		w.salvage()
	} else {
		w.leave()
	}
	w.e.Release()
}

// enter notes in the index that the writer writes: until leave, or until what it wrote is
// in the index, an invalidation dooms it.
func (w *writer) enter() {
	s := w.m.index.shard(&w.e.key)
	s.mu.Lock()
	s.pending.Enter(w.e.key, &w.place, w)
	s.mu.Unlock()
}

// leave ends what enter began, if it has not ended.
func (w *writer) leave() {
	s := w.m.index.shard(&w.e.key)
	s.mu.Lock()
	s.pending.Leave(w.e.key, &w.place)
	s.mu.Unlock()
}

// Begin starts storing.
func (m *Memory) Begin(p *Proposal) (Writer, error) {
	if m.closed.Load() {
		return nil, ErrClosed
	}
	if !p.Part && p.Total > m.maxObject {
		m.stats.tooLarge.Add(1)
		return nil, fmt.Errorf("%w: %d bytes announced, %d at most", ErrTooLarge, p.Total, m.maxObject)
	}
	if p.Part && (p.Total < 0 || p.Offset < 0 || p.Offset > p.Total) || !p.Part && p.Offset != 0 {
		return nil, fmt.Errorf("storage: a part at %d of %d cannot be placed", p.Offset, p.Total)
	}
	if !m.charge(entryOverhead) {
		return nil, fmt.Errorf("%w: no room for another entry", ErrFull)
	}
	m.live.Add(1)
	e := &entry{m: m, key: p.Key, id: m.judge.identify(p.Key, p.Stored.Nominated), total: p.Total}
	e.refs.add()
	e.head.Store(&e.head0)
	e.sequence.Store(p.Sequence)
	f := &fill{start: p.Offset, base: p.Offset, end: p.Offset}
	if err := e.furnish(p, f); err != nil {
		e.Release()
		return nil, err
	}
	e.fill.Store(f)
	w := &writer{m: m, e: e, f: f, part: p.Part}
	// The first chunk now, so that a store without room says so while the
	// caller can still do without it.
	if p.Total != 0 && len(f.chunks) == 0 {
		if _, err := w.extend(nil, 1); err != nil {
			w.count(-w.pending)
			e.Release()
			return nil, err
		}
	}
	w.enter()
	return w, nil
}

// furnish gives e its base slot: meta, head, and the body where it is announced
// and fits beside them.
func (e *entry) furnish(p *Proposal, f *fill) error {
	m := e.m
	meta := metaSize(p)
	need := meta + headSize(p.Stored)
	inline := 0
	if !p.Part && p.Total > 0 && p.Total <= int64(m.inlineMax) {
		inline = int(p.Total)
	}
	s, err := m.allocate(need+inline, e)
	if err != nil {
		return fmt.Errorf("a head of %d bytes: %w", need, err)
	}
	e.base = s
	mem := s.mem()
	e.meta = appendMeta(mem[:0:meta], p)
	rest := copyStored(&e.head0.stored, p.Stored, mem[meta:])
	flags := &e.head0.stored.Terms.Flags
	if *flags &^= message.TermPartial; p.Part {
		*flags |= message.TermPartial
	}
	if inline > 0 {
		e.chunk0.mem = rest[:inline:inline]
		e.chunk0.refs.Store(1)
		f.chunks = []*chunk{&e.chunk0}
	}
	return nil
}
