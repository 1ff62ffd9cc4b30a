package disk

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"edge/cache/storage"
	"edge/cache/storage/inflight"
	"edge/message"
)

// writer implements storage.Writer. It belongs to one goroutine, but for doomed
// and place, which belong to the index.
type writer struct {
	st       *Store
	v        *volume
	e        *entry
	f        *fill
	chunk    int64
	wait     time.Duration // for room
	part     bool
	over     bool  // ended
	ifAbsent bool  // see BeginNow
	broken   bool  // a Write ended with its context: nobody knows what it took
	memory   int64 // bytes of pieces, as counted in Store.filling
	promised int64 // bytes of room, see keepPace
	keepErr  error // why the body will not be kept although it goes on: window mode

	doomed atomic.Bool
	place  inflight.Place[*writer] // among the writers under the key; by the shard's lock
}

var _ storage.Writer = (*writer)(nil)

const (
	// firstPiece is what a body of unannounced length begins with, in bytes; it
	// grows by pieceGrowth until it is a whole chunk.
	firstPiece  = 4 << 10
	pieceGrowth = 4
	// maxFilling is how many bytes of memory bodies being written may take:
	// more are not begun.
	maxFilling = 64 << 20
)

// Entry returns the entry being written, retained for the caller.
func (w *writer) Entry() storage.Entry {
	w.e.refs.Add(1)
	return w.e
}

// Write appends p.
func (w *writer) Write(ctx context.Context, p []byte) error {
	if w.over {
		return fmt.Errorf("disk: write after the end: %w", storage.ErrAborted)
	}
	if w.broken {
		return w.fail(fmt.Errorf("%w: write after one that its context ended", storage.ErrAborted))
	}
	if left := w.e.total - w.f.end; w.e.total >= 0 && int64(len(p)) > left {
		return w.fail(fmt.Errorf("%w: %d bytes more than the %d announced", storage.ErrAborted, int64(len(p))-left, w.e.total))
	}
	for len(p) > 0 {
		room, err := w.space(ctx, len(p))
		if err != nil {
			if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
				w.broken = true
				return err
			}
			return w.fail(err)
		}
		n := min(room, len(p))
		if w.f.end+int64(n) == w.e.total {
			w.keepPace(ctx)
		}
		w.f.publish(p[:n])
		p = p[n:]
	}
	return nil
}

// keepPace holds back the last bytes of a body in one long piece while records wait for the
// disk, as appending the full ones holds back a body in several. Else who has its answer asks
// for the next while this one still lies in memory, and with a disk that is slower than
// the origin the longest pieces are soon too much for it. It waits no longer than a piece that
// is full; whether there is room in the end, Commit says.
func (w *writer) keepPace(ctx context.Context) {
	if w.wait == 0 || w.chunk <= w.st.o.chunkFor(w.e.total) {
		return
	}
	p := patience{wait: w.wait}
	defer p.done()
	for ctx.Err() == nil {
		if w.v.promise(w.e.total) {
			w.promised = w.e.total
			return
		}
		if !w.v.waitRoom(&p) {
			return
		}
	}
}

// ended gives back what the writer has of memory, and of room.
func (w *writer) ended() {
	w.count(-w.memory)
	if w.promised > 0 {
		w.v.promise(-w.promised)
		w.promised = 0
	}
}

// fail ends the writing because nothing more can be accepted.
func (w *writer) fail(err error) error {
	w.Abort(err)
	return err
}

// space sees to it that the last piece has room, and returns how much; want is
// how many bytes are at hand.
func (w *writer) space(ctx context.Context, want int) (int, error) {
	f := w.f
	if n := len(f.pieces); n > 0 {
		if last := f.pieces[n-1]; len(last.mem) < cap(last.mem) {
			return cap(last.mem) - len(last.mem), nil
		}
	}
	if !f.window {
		room, err := w.extend(want)
		if err == nil {
			return room, nil
		}
		if w.wait == 0 {
			return 0, err // a copy: nobody follows it
		}
		w.keepErr = err
		f.mu.Lock()
		f.window = true
		f.mu.Unlock()
	}
	return w.slide(ctx)
}

// extend makes room for bytes that are kept: the full piece becomes larger, or a
// chunk of the log.
func (w *writer) extend(want int) (int, error) {
	f := w.f
	if kept := f.end - f.start; kept >= w.st.o.MaxObject {
		return 0, fmt.Errorf("%w: more than %d bytes", storage.ErrTooLarge, w.st.o.MaxObject)
	}
	at, have := f.end, 0
	if len(f.pieces) > 0 {
		at, have = f.pieces[0].at, len(f.pieces[0].mem)
	}
	room := int(w.chunk - at%w.chunk) // chunks end at multiples of their size, so that parts fit together
	if have == room {
		if err := w.store(w.wait); err != nil {
			return 0, err
		}
		at, have, room = f.end, 0, int(w.chunk)
	}
	size := int(min(int64(room), w.st.o.MaxObject-(at-f.start)))
	if w.e.total >= 0 {
		size = int(min(int64(size), w.e.total-at))
	}
	if (w.e.total < 0 || w.part) && len(f.chunks) == 0 { // it may be short
		size = min(size, max(firstPiece, have*pieceGrowth, have+want))
	}
	c := newPiece(at, size)
	w.count(int64(size - have))
	f.mu.Lock()
	defer f.mu.Unlock()
	if have > 0 {
		c.mem = append(c.mem, f.pieces[0].mem...)
		f.pieces[0].release() // readers go on with it
		f.pieces[0] = c
	} else {
		f.pieces = []*piece{c}
	}
	return size - have, nil
}

// store makes the one piece there is a chunk of the log.
func (w *writer) store(wait time.Duration) error {
	c := w.f.pieces[0]
	if len(w.f.chunks)+1 >= maxExtents {
		return fmt.Errorf("%w: more than %d pieces", storage.ErrTooLarge, maxExtents)
	}
	r := record{kind: kindChunk, key: w.e.key, variant: w.e.variant, order: uint64(c.at), bodySum: checksum(c.mem)}
	s, err := w.v.appendWaiting(&r, make([]byte, headerSize), c.mem, wait)
	if err != nil {
		return w.v.unkept(err)
	}
	n := uint32(len(c.mem))
	x := extent{at: c.at, length: n, sum: r.bodySum, seg: r.seg, off: r.off + headerSize, take: n}
	w.f.mu.Lock()
	w.f.chunks = append(w.f.chunks, located{x, s})
	w.f.pieces = nil
	w.f.mu.Unlock()
	c.release()
	w.count(-w.memory)
	return nil
}

// unkept makes an error of appending one of the contract.
func (v *volume) unkept(err error) error {
	switch {
	case errors.Is(err, errBusy), errors.Is(err, errPinned):
		v.health.busy.Add(1)
		return fmt.Errorf("%w: %v", storage.ErrFull, err)
	case errors.Is(err, errStalled):
		v.health.slow.Add(1)
		return fmt.Errorf("%w: %v", storage.ErrFull, err)
	case errors.Is(err, errOut):
		return fmt.Errorf("%w: %v", storage.ErrFull, err)
	}
	return err
}

// count adds to what the bodies being written take.
func (w *writer) count(n int64) {
	w.memory += n
	w.st.filling.Add(n)
}

// Commit ends the body and makes the entry visible.
func (w *writer) Commit(trailers []byte) error {
	if w.over {
		return fmt.Errorf("disk: commit after the end: %w", storage.ErrAborted)
	}
	if w.broken {
		return w.fail(fmt.Errorf("%w: commit after a write that its context ended", storage.ErrAborted))
	}
	if !w.part && w.e.total >= 0 && w.f.end != w.e.total {
		return w.fail(fmt.Errorf("%w: %d bytes of the %d announced", storage.ErrAborted, w.f.end, w.e.total))
	}
	w.over = true
	defer w.e.Release()
	defer w.ended()
	if len(trailers) > 0 {
		trailers = append([]byte(nil), trailers...)
	} else {
		trailers = nil
	}
	w.f.finish(filled, trailers, nil)
	if w.keepErr != nil {
		w.leave()
		w.st.stats.tooLarge.Add(1)
		return fmt.Errorf("%w, kept for its readers only", w.keepErr)
	}
	p := publication{e: w.e, w: w, chunks: w.f.chunks, trailers: trailers, part: w.part, size: w.f.end, doomed: &w.doomed, wait: w.wait, ifAbsent: w.ifAbsent}
	if w.part {
		p.size = w.e.total
	}
	if len(w.f.pieces) > 0 && len(w.f.pieces[0].mem) > 0 {
		p.last = w.f.pieces[0]
	}
	return w.v.publish(&p)
}

// Abort ends the writing; readers get ErrAborted.
func (w *writer) Abort(reason error) {
	if w.over {
		return
	}
	w.over = true
	defer w.e.Release()
	defer w.ended()
	if !errors.Is(reason, storage.ErrAborted) {
		reason = fmt.Errorf("%w: %w", storage.ErrAborted, reason)
	}
	w.st.stats.aborted.Add(1)
	salvage := w.part && w.e.Stored().Terms.HasStrongValidator() && !w.f.window
	if n := len(w.f.pieces); salvage && n > 0 && w.f.end%w.chunk == 0 && len(w.f.pieces[0].mem) > 0 {
		_ = w.store(0) // a whole chunk; without it, what was stored before will do
	}
	w.f.finish(aborted, nil, reason)
	if salvage && len(w.f.chunks) > 0 {
		w.salvage()
	}
	w.leave()
}

// salvage keeps the whole chunks of an aborted part: they are right, whatever
// became of the rest. Its readers hold the entry being written, which stays
// aborted; what is kept is an entry of its own.
func (w *writer) salvage() {
	o := &entry{v: w.v, key: w.e.key, variant: w.e.variant, names: w.e.names, total: w.e.total}
	o.refs.Store(1)
	o.head.Store(w.e.Stored())
	o.sequence.Store(w.e.sequence.Load())
	p := publication{e: o, chunks: w.f.chunks, part: true, size: w.e.total, doomed: &w.doomed}
	_ = w.v.publish(&p) // not kept is no error: nothing was promised
	o.Release()
}

// enter notes in the index that the writer writes: until leave, or until what it wrote is
// in the index, an invalidation dooms it.
func (w *writer) enter() {
	s := w.v.index.shard(&w.e.key)
	s.mu.Lock()
	s.pending.Enter(w.e.key, &w.place, w)
	s.mu.Unlock()
}

// leave ends what enter began, if it has not ended.
func (w *writer) leave() {
	s := w.v.index.shard(&w.e.key)
	s.mu.Lock()
	s.pending.Leave(w.e.key, &w.place)
	s.mu.Unlock()
}

// Begin starts storing.
func (st *Store) Begin(p *storage.Proposal) (storage.Writer, error) {
	switch {
	case st.closed.Load():
		return nil, storage.ErrClosed
	case !p.Part && p.Total > st.o.MaxObject:
		st.stats.tooLarge.Add(1)
		return nil, fmt.Errorf("%w: %d bytes announced, %d at most", storage.ErrTooLarge, p.Total, st.o.MaxObject)
	case p.Part && (p.Total < 0 || p.Offset < 0 || p.Offset > p.Total || p.Total > maxTotal) || !p.Part && p.Offset != 0:
		return nil, fmt.Errorf("disk: a part at %d of %d cannot be placed", p.Offset, p.Total)
	case st.filling.Load() > maxFilling:
		return nil, fmt.Errorf("%w: bodies being written take %d bytes of memory", storage.ErrFull, st.filling.Load())
	}
	v := st.volume(&p.Key)
	if v.health.writesOut() {
		v.health.busy.Add(1)
		return nil, fmt.Errorf("%w: %w", storage.ErrFull, errOut)
	}
	e := &entry{v: v, key: p.Key, names: storage.MakeNames(p), total: p.Total}
	e.refs.Store(1)
	e.sequence.Store(p.Sequence)
	s := copyStored(p.Stored)
	if s.Terms.Flags &^= message.TermPartial; p.Part {
		s.Terms.Flags |= message.TermPartial
	}
	e.head.Store(s)
	e.variant = variantOf(s.Nominated)
	f := &fill{start: p.Offset, end: p.Offset}
	e.fill.Store(f)
	w := &writer{st: st, v: v, e: e, f: f, part: p.Part, chunk: st.chunkOf(p), wait: appendWait}
	w.enter()
	return w, nil
}

// chunkOf returns the size of the pieces that a body is to be kept in. A whole one that is
// announced and no longer than the longest piece there may be is kept in one, while bodies
// being written take less than half of the memory they may: each piece is sent by a call of
// its own, and leaves in packets of its own. (A hit of 1 MiB in one piece costs 0.80 of the
// CPU of one in four: go run ./bench -only diskhit -size 1MiB -disk /dev/shm, nginx at 0.70.)
// That it stays less, where the disk is slow, is keepPace's.
func (st *Store) chunkOf(p *storage.Proposal) int64 {
	o := st.o
	if !p.Part && p.Total > int64(o.chunk) && p.Total <= maxChunk && 4*maxChunk <= o.segmentSize && st.filling.Load() < maxFilling/2 {
		return maxChunk
	}
	return o.chunkFor(p.Total)
}

// BeginNow is Begin for a copy of what is kept elsewhere: where the disk has no
// room at once, the writing fails instead of waiting. ifAbsent: the commit fails with
// ErrHeld where the disk then has something of that key and nominated fields.
func (st *Store) BeginNow(p *storage.Proposal, ifAbsent bool) (storage.Writer, error) {
	w, err := st.Begin(p)
	if err != nil {
		return nil, err
	}
	o := w.(*writer)
	o.wait, o.ifAbsent = 0, ifAbsent
	return w, nil
}

// copyStored returns a copy of s whose bytes lie in one arena of their own.
func copyStored(s *message.Stored) *message.Stored {
	c := *s
	mem := make([]byte, 0, len(s.Head)+len(s.Nominated)+len(s.Reason)+len(s.Terms.ETag))
	for _, p := range [...]*[]byte{&c.Head, &c.Nominated, &c.Reason, &c.Terms.ETag} {
		if b := *p; b != nil {
			n := len(mem)
			mem = append(mem, b...)
			*p = mem[n:len(mem):len(mem)]
		}
	}
	return &c
}
