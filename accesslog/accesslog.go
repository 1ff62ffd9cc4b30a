// Package accesslog writes a line for each exchange: JSON, one object a line.
//
// It is a room of its own because the proxy must not know how it is logged and
// the metrics must not wait for a disk; both are Observers of the same thing.
//
// # Theory of operation
//
// The exchange's goroutine encodes its line into a buffer of its own and copies
// it to the pending lines under a mutex that is held for that copy only. One
// goroutine, the writer, takes all that is pending at once and writes it: when
// FlushBytes are pending, or FlushInterval after the first. While a write
// hangs, lines gather up to Options.Buffer of them and MaxPending bytes; what
// comes then is dropped and counted. Nothing ever waits for the log.
package accesslog

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"edge/proxy"
)

// Bounds and defaults.
const (
	// DefaultBuffer is Options.Buffer where it is 0, in lines.
	DefaultBuffer = 8192
	// MaxPending is how many bytes may wait to be written.
	MaxPending = 16 << 20
	// FlushBytes is how many pending bytes are written without waiting.
	FlushBytes = 64 << 10
	// FlushInterval is how long a line waits at most before it is written,
	// where writing keeps up.
	FlushInterval = 500 * time.Millisecond
	// CloseTimeout is how long Close waits for a write that hangs.
	CloseTimeout = 2 * time.Second
)

// fileMode is for log files that are created: they name clients.
const fileMode = 0o640

// Options configure a Log.
type Options struct {
	// Path is "stdout", "stderr", or a file, which is created if absent and
	// appended to.
	Path string
	// Buffer is how many lines may wait to be written.
	Buffer int
	// Stdout and Stderr stand for the standard streams; nil for the process's.
	Stdout, Stderr Output
	// Logger is told when writing fails, and when it works again.
	Logger *slog.Logger
}

// Output is where lines go.
type Output interface {
	// Write writes all of p or says why not, as io.Writer.
	Write(p []byte) (int, error)
}

// Log is an access log. Safe for concurrent use. Open makes it, Close ends it.
type Log struct {
	path   string
	buffer int
	log    *slog.Logger

	mu      sync.Mutex // held to append or to swap, never over a write
	pending []byte
	lines   int
	closed  bool

	kick    chan struct{} // the first line is pending, or FlushBytes are
	closing chan struct{}
	done    chan struct{} // closed when the writer has ended

	outMu sync.Mutex // held to look at or replace out, never over a write
	out   Output
	stale []*os.File // replaced by Reopen, to be closed by the writer
	ended bool       // the writer closes no more files

	written, dropped, lost atomic.Uint64
}

// Open opens the log and starts its writer.
func Open(o Options) (*Log, error) {
	l := &Log{
		path: o.Path, buffer: o.Buffer, log: o.Logger,
		kick: make(chan struct{}, 1), closing: make(chan struct{}), done: make(chan struct{}),
	}
	if l.buffer <= 0 {
		l.buffer = DefaultBuffer
	}
	if l.log == nil {
		l.log = slog.New(slog.DiscardHandler)
	}
	switch o.Path {
	case "stdout":
		l.out = orOutput(o.Stdout, os.Stdout)
	case "stderr":
		l.out = orOutput(o.Stderr, os.Stderr)
	default:
		f, err := openFile(o.Path)
		if err != nil {
			return nil, err
		}
		l.out = f
	}
	go l.writer()
	return l, nil
}

func orOutput(given, standard Output) Output {
	if given != nil {
		return given
	}
	return standard
}

func openFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, fileMode)
	if err != nil {
		return nil, fmt.Errorf("access log: %w", err)
	}
	return f, nil
}

// Exchange records an exchange. It does not block, and keeps nothing of r.
func (l *Log) Exchange(r *proxy.Record) {
	b := lineBuffers.Get().(*[]byte)
	*b = appendExchange((*b)[:0], r)
	l.add(*b)
	lineBuffers.Put(b)
}

// Refused records a request that the codec refused. It does not block.
func (l *Log) Refused(peer netip.AddrPort, status int, reason string) {
	b := lineBuffers.Get().(*[]byte)
	*b = appendRefused((*b)[:0], time.Now().UnixNano(), peer, status, reason)
	l.add(*b)
	lineBuffers.Put(b)
}

// lineBuffers holds buffers for one line each.
var lineBuffers = sync.Pool{New: func() any { b := make([]byte, 0, 1024); return &b }}

// add queues a line, or drops it where no more may wait.
func (l *Log) add(line []byte) {
	l.mu.Lock()
	if l.closed || l.lines >= l.buffer || len(l.pending)+len(line) > MaxPending {
		l.mu.Unlock()
		l.dropped.Add(1)
		return
	}
	before := len(l.pending)
	l.pending = append(l.pending, line...)
	l.lines++
	l.mu.Unlock()
	if before == 0 || before < FlushBytes && before+len(line) >= FlushBytes {
		select {
		case l.kick <- struct{}{}:
		default:
		}
	}
}

// Reopen opens the file again by its name, after it was rotated. The standard
// streams stay. On an error the old file goes on.
func (l *Log) Reopen() error {
	if l.path == "stdout" || l.path == "stderr" {
		return nil
	}
	f, err := openFile(l.path)
	if err != nil {
		return err
	}
	l.outMu.Lock()
	defer l.outMu.Unlock()
	if l.ended {
		return errors.Join(errors.New("access log: closed"), f.Close())
	}
	if old, ok := l.out.(*os.File); ok {
		l.stale = append(l.stale, old)
	}
	l.out = f
	return nil
}

// Stats are a Log's counters.
type Stats struct {
	// Written and Dropped count lines: written, and not even queued for want
	// of room.
	Written, Dropped uint64
	// Lost counts lines that could not be written.
	Lost uint64
}

// Stats returns the counters now.
func (l *Log) Stats() Stats {
	return Stats{Written: l.written.Load(), Dropped: l.dropped.Load(), Lost: l.lost.Load()}
}

// Close writes what is pending and closes the file. Later lines are dropped. A
// write that hangs is waited for no longer than CloseTimeout.
func (l *Log) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	l.mu.Unlock()
	close(l.closing)
	t := time.NewTimer(CloseTimeout)
	defer t.Stop()
	select {
	case <-l.done:
		return nil
	case <-t.C:
		return fmt.Errorf("access log: a write to %s hangs", l.path)
	}
}
