package disk

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"edge/cache/storage"
	"edge/cache/storage/vfs"
)

// Reading within a bound. A disk that hangs holds whoever reads from it in the
// kernel, where nothing can call it back. So what is not in the kernel's memory
// already is read by a goroutine of its own, and who wants it waits for so long and
// no longer.

const (
	// lookPatience is how long a look-up, or a body's first piece, waits for the
	// disk: the request can still go to the origin.
	lookPatience = 500 * time.Millisecond
	// bodyPatience is how long the later pieces of a body wait that can only be cut.
	bodyPatience = 10 * time.Second
	// restPatience is how long they wait where a strong validator allows to get the rest
	// from the origin: longer than at the beginning, since a disk that is only slow has
	// most of it sooner.
	restPatience = 2 * time.Second
	// maxReading bounds the reads under way, those that were given up included. More
	// are not begun.
	maxReading = 1 << 10
)

// errSlow: the disk did not answer in time. The memory that was to be read into
// belongs to the kernel until it does, and must not be used again.
var errSlow = fmt.Errorf("disk: does not answer: %w", storage.ErrGone)

// read reads n bytes at off of a pinned segment, if the disk is in a condition to,
// for no longer than wait; into memory that buf gives unless they lie in a block that
// waits for the flusher: then block is that block, retained for the caller, and what
// the disk has is not known.
func (v *volume) read(s *segment, off int64, n int, wait time.Duration, buf func(int) []byte) (p []byte, block *counted, err error) {
	if !s.settled.Load() {
		if p, block := s.view(off, n); p != nil {
			return p, block, nil
		}
	}
	f := s.file.Load()
	if f == nil {
		return nil, nil, fmt.Errorf("disk: segment %08x has no file", s.id)
	}
	if !v.health.begin(v.o.Clock(), wait <= lookPatience) {
		return nil, nil, errNotNow
	}
	p = buf(n)
	if q, ok := (*f).(vfs.NowReader); ok {
		if got, _ := q.ReadNow(p, off); got == n {
			v.health.end(v, nil)
			return p, nil, nil
		}
	}
	err = v.await(s, *f, off, p, wait)
	if errors.Is(err, io.EOF) {
		// Shorter than what was written to it.
		v.health.damaged.Add(1)
		err = fmt.Errorf("%w: %w", errDamaged, err)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("disk: segment %08x, %d bytes at %d: %w", s.id, n, off, err)
	}
	return p, nil, nil
}

// readNow is read for what is in memory already, ours or the kernel's; nil where it is
// not.
func (v *volume) readNow(s *segment, off int64, n int, buf func(int) []byte) ([]byte, *counted) {
	if !s.settled.Load() {
		if p, block := s.view(off, n); p != nil {
			return p, block
		}
	}
	f := s.file.Load()
	if f == nil || v.health.readsOut() {
		return nil, nil
	}
	q, ok := (*f).(vfs.NowReader)
	if !ok {
		return nil, nil
	}
	p := buf(n)
	if got, _ := q.ReadNow(p, off); got != n {
		return nil, nil
	}
	return p, nil
}

// await fills p from f on another goroutine, and waits for it. After errSlow p is
// not the caller's any more. The goroutine ends when the kernel answers; it keeps
// the segment's file open until then.
func (v *volume) await(s *segment, f vfs.File, off int64, p []byte, wait time.Duration) error {
	done := make(chan error, 1)
	s.pin()
	go func() {
		defer s.unpin()
		got, err := f.ReadAt(p, off)
		if got == len(p) {
			err = nil
		}
		// A file that is too short is no fault of the disk's.
		v.health.end(v, ignore(err, io.EOF))
		done <- err
	}()
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case err := <-done:
		return err
	case <-t.C:
		v.health.slow.Add(1)
		return errSlow
	}
}

// stallAfter is how long one operation of the flusher or the reclaimer may take
// until nobody waits for them any more.
const stallAfter = time.Second

// stall is how long a worker has been at one operation on the disk. Written by the
// worker, read by anybody.
type stall struct{ since atomic.Int64 }

// begin and end go around an operation.
func (s *stall) begin(v *volume) { s.since.Store(int64(v.o.Clock())) }
func (s *stall) end()            { s.since.Store(0) }

// stalled reports whether a worker is held up by the disk.
func (v *volume) stalled() bool {
	for _, s := range [...]*stall{&v.flushing, &v.reclaiming} {
		if at := s.since.Load(); at != 0 && int64(v.o.Clock())-at > int64(stallAfter) {
			return true
		}
	}
	return false
}
