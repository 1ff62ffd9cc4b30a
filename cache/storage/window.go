package storage

import (
	"context"
	"fmt"
	"time"
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

// firstReaderWait is how long a window waits for its first reader: one who has
// the entry may be about to open it.
const firstReaderWait = 2 * time.Second

// slide returns the chunk that takes the next byte in window mode: a new one
// while the window is not full, else the memory of the oldest, as soon as the
// fastest reader is past it. Without any reader there is nobody to go on for.
func (w *writer) slide(ctx context.Context) (*chunk, error) {
	f, size := w.f, w.m.chunkSize
	var first <-chan time.Time // while no reader has come yet
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
		switch {
		case any:
			if c := w.reuse(fastest); c != nil {
				return c, nil // unlocked
			}
		case f.read:
			f.mu.Unlock()
			return nil, fmt.Errorf("%w, and nobody reads it any more", w.keepErr)
		case first == nil:
			t := time.NewTimer(firstReaderWait)
			defer t.Stop()
			first = t.C
		}
		ch := f.moved.Next()
		f.mu.Unlock()
		select {
		case <-ch:
		case <-first:
			return nil, fmt.Errorf("%w, and nobody reads it", w.keepErr)
		case <-ctx.Done():
			return nil, fmt.Errorf("storage: waiting for the fastest reader: %w", ctx.Err())
		}
	}
}

// reuse takes the oldest chunk out of the window if the fastest reader is past
// it, and puts its memory to use for the next bytes unless a slower reader
// still has it pinned. (A pin is only ever taken under the fill's lock, so a
// chunk seen without stays without.) What the window has too much goes for
// good; a pinned chunk goes when its reader moves on, but never the last: no
// other memory might be had. Called under the
// fill's lock, which it releases if it returns a chunk.
func (w *writer) reuse(fastest int64) *chunk {
	f := w.f
	for len(f.chunks) > 0 {
		c := f.chunks[0]
		end := c.at + int64(len(c.mem))
		free := c.refs.Load() == 1
		if end > fastest || !free && len(f.chunks) == 1 {
			return nil
		}
		f.chunks[0] = nil
		f.chunks = f.chunks[1:]
		f.base = end
		f.progress.Give() // readers that waited behind must learn that they fell out
		if free && f.end-end+int64(len(c.mem)) <= w.m.window {
			next := &chunk{at: f.end, mem: c.mem, slot: c.slot}
			next.refs.Store(1)
			f.chunks = append(f.chunks, next)
			f.mu.Unlock()
			return next
		}
		w.count(-c.slot.size())
		c.release(w.m.arena)
	}
	return nil
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

// fastest returns the position of the reader that is furthest ahead, and
// whether there is any. Under mu.
func (f *fill) fastest() (pos int64, any bool) {
	for r := f.readers; r != nil; r = r.next {
		pos, any = max(pos, r.pos), true
	}
	return pos, any
}
