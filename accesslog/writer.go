package accesslog

import (
	"os"
	"time"
)

// writer is the goroutine that writes. It ends by Close, once what is pending is
// written. Owner of every write and of the files.
type writer struct {
	*Log
	spare   []byte // the other of the two buffers
	torn    bool   // the last write ended within a line
	failing bool   // the last write failed
}

func (l *Log) writer() {
	w := &writer{Log: l}
	defer close(l.done)
	t := time.NewTimer(FlushInterval)
	defer t.Stop()
	for {
		select {
		case <-l.kick:
			w.gather(t)
			w.flush()
		case <-l.closing:
			w.flush() // the last: nothing is added any more
			w.closeFiles()
			return
		}
	}
}

// gather waits for more to write together: until FlushBytes are pending, or
// FlushInterval is over.
func (w *writer) gather(t *time.Timer) {
	w.mu.Lock()
	enough := len(w.pending) >= FlushBytes
	w.mu.Unlock()
	if enough {
		return
	}
	t.Reset(FlushInterval)
	select {
	case <-t.C:
	case <-w.kick:
	case <-w.closing:
	}
}

// flush writes all that is pending.
func (w *writer) flush() {
	w.mu.Lock()
	batch, lines := w.pending, w.lines
	w.pending, w.lines = w.spare[:0], 0
	w.mu.Unlock()
	w.spare = batch
	if cap(w.spare) > 4*FlushBytes {
		w.spare = nil // a burst's buffer is not kept for quiet times
	}
	if lines > 0 {
		w.write(batch, lines)
	}
	w.closeStale()
}

// closeStale closes the files that Reopen replaced.
func (w *writer) closeStale() {
	w.outMu.Lock()
	stale := w.stale
	w.stale = nil
	w.outMu.Unlock()
	for _, f := range stale {
		_ = f.Close()
	}
}

func (w *writer) write(batch []byte, lines int) {
	w.outMu.Lock()
	out := w.out
	w.outMu.Unlock()
	if w.torn {
		// Half a line must not swallow the next one.
		if _, err := out.Write([]byte{'\n'}); err == nil {
			w.torn = false
		}
	}
	n, err := out.Write(batch)
	if err == nil {
		w.written.Add(uint64(lines))
		if w.failing {
			w.failing = false
			w.log.Info("access log: writing again", "path", w.path, "lost", w.lost.Load())
		}
		return
	}
	whole := 0
	for _, c := range batch[:n] {
		if c == '\n' {
			whole++
		}
	}
	if n > 0 {
		w.torn = batch[n-1] != '\n'
	}
	w.written.Add(uint64(whole))
	w.lost.Add(uint64(lines - whole))
	if !w.failing {
		w.failing = true
		w.log.Error("access log: cannot write; lines are lost", "path", w.path, "error", err)
	}
}

// closeFiles closes what Open and Reopen opened.
func (w *writer) closeFiles() {
	w.outMu.Lock()
	w.ended = true
	f, _ := w.out.(*os.File)
	w.outMu.Unlock()
	w.closeStale()
	if f != nil && w.path != "stdout" && w.path != "stderr" {
		_ = f.Close()
	}
}
