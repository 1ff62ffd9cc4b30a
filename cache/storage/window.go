package storage

import (
	"context"
	"fmt"
)

// Window mode: the body outgrew what is kept, but readers follow it. The fill
// goes on in a window that slides at the pace of its fastest reader.

// enterWindow starts window mode because of err.
func (w *writer) enterWindow(err error) {
	w.keepErr = err
	w.f.mu.Lock()
	w.f.window = true
	w.f.mu.Unlock()
}

// slide returns the chunk that takes the next byte in window mode: a new one
// while the window is not full, else the memory of the oldest, as soon as the
// fastest reader is past it. Without any reader there is nobody to go on for.
func (w *writer) slide(ctx context.Context) (*chunk, error) {
	f, size := w.f, w.m.chunkSize
	for {
		f.mu.Lock()
		if f.end-f.base+int64(size) <= w.m.window {
			f.mu.Unlock()
			if c, err := w.windowChunk(size); err == nil {
				return c, nil
			}
			f.mu.Lock()
		}
		fastest, any := f.fastest()
		if !any {
			f.mu.Unlock()
			return nil, fmt.Errorf("%w, and nobody reads it", w.keepErr)
		}
		if len(f.chunks) > 0 && f.chunks[0].at+int64(len(f.chunks[0].mem)) <= fastest {
			w.dropOldest() // unlocks
			continue
		}
		if len(f.chunks) == 0 {
			f.mu.Unlock()
			return nil, w.keepErr
		}
		ch := f.room
		if ch == nil {
			ch = make(chan struct{})
			f.room = ch
		}
		f.mu.Unlock()
		select {
		case <-ch:
		case <-ctx.Done():
			return nil, fmt.Errorf("storage: waiting for the fastest reader: %w", ctx.Err())
		}
	}
}

// windowChunk adds a chunk, without evicting anything for its sake: nothing
// that is kept should make way for what is not.
func (w *writer) windowChunk(size int) (*chunk, error) {
	s, ok := w.m.arena.alloc(size, w.e)
	if !ok {
		return nil, ErrFull
	}
	w.count(s.size())
	c := &chunk{at: w.f.end, mem: s.mem()[:size:size], slot: s}
	c.refs.Store(1)
	w.f.mu.Lock()
	w.f.chunks = append(w.f.chunks, c)
	w.f.mu.Unlock()
	return c, nil
}

// dropOldest takes the oldest chunk out of the window. Called under the
// fill's lock, which it releases.
func (w *writer) dropOldest() {
	f := w.f
	c := f.chunks[0]
	f.chunks[0] = nil
	f.chunks = f.chunks[1:]
	f.base = c.at + int64(len(c.mem))
	f.stir() // readers that waited behind must learn that they fell out
	f.mu.Unlock()
	w.count(-c.slot.size())
	c.release(w.m.arena)
}

// fastest returns the position of the reader that is furthest ahead, and
// whether there is any. Under mu.
func (f *fill) fastest() (pos int64, any bool) {
	for r := f.readers; r != nil; r = r.next {
		pos, any = max(pos, r.pos), true
	}
	return pos, any
}

// advanced tells a waiting writer that a reader moved or left. Under mu.
func (f *fill) advanced() {
	if f.room != nil {
		close(f.room)
		f.room = nil
	}
}
