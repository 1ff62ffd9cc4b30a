package disk

import (
	"context"
	"fmt"
	"time"
)

// Window mode: the body outgrew what is kept, or the disk went, but readers
// follow it. The fill goes on in a window of memory that slides at the pace of its
// fastest reader.

// firstReaderWait is how long a window waits for its first reader: one who has
// the entry may be about to open it.
const firstReaderWait = 2 * time.Second

// slide adds a piece and returns its room, as soon as the window has space for
// it: while it is not full, or when the fastest reader is past its oldest piece.
// Without any reader there is nobody to go on for.
func (w *writer) slide(ctx context.Context) (int, error) {
	f, size := w.f, w.chunk
	var first <-chan time.Time // while no reader has come yet
	for {
		f.mu.Lock()
		fastest, any := f.fastest()
		if any {
			w.forget(fastest)
		}
		if f.end-f.base()+size <= w.st.o.Window {
			f.pieces = append(f.pieces, newPiece(f.end, int(size)))
			f.mu.Unlock()
			w.count(size)
			return int(size), nil
		}
		switch {
		case any:
		case f.read:
			f.mu.Unlock()
			return 0, fmt.Errorf("%w, and nobody reads it any more", w.keepErr)
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
			return 0, fmt.Errorf("%w, and nobody reads it", w.keepErr)
		case <-ctx.Done():
			return 0, fmt.Errorf("disk: waiting for the fastest reader: %w", ctx.Err())
		}
	}
}

// forget lets the window's oldest pieces go that the fastest reader is past, as
// far as the next piece needs room. Under the fill's lock.
func (w *writer) forget(fastest int64) {
	f := w.f
	for len(f.pieces) > 0 && f.end-f.base()+w.chunk > w.st.o.Window {
		c := f.pieces[0]
		if c.at+int64(len(c.mem)) > fastest {
			return
		}
		f.pieces[0] = nil
		f.pieces = f.pieces[1:]
		w.count(-int64(cap(c.mem)))
		c.release()
		f.progress.Give() // readers that waited behind must learn that they fell out
	}
}
