package disk

import (
	"errors"
	"path"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"edge/message"
)

// health is what is known of a disk's condition. Writing and reading are taken
// out separately: a full disk can still be read.
type health struct {
	mu         sync.Mutex
	writeErr   error         // why writing is out, nil if it is not
	readErr    error         // likewise
	idle       time.Duration // since it was last looked at, while out; the flusher's
	noWrite    atomic.Bool
	noRead     atomic.Bool
	barErr     error // why the disk was taken out by its user (Journaled.Use)
	barred     atomic.Bool
	readFails  atomic.Int32 // in a row
	reading    atomic.Int32 // reads under way
	lastAnswer atomic.Int64 // the instant when a read last ended, or began where none was under way; 0: none is

	// Counted reasons.
	damaged, ioErrors, full, busy, slow, lost, outs, future atomic.Int64
	scrubbed                                                atomic.Int64 // bytes
}

const (
	// maxReadFails in a row take a disk out for reading.
	maxReadFails = 8
	// slowAfter is how long the disk may answer no read, while some are
	// waited for, until further ones are not even begun.
	slowAfter = 500 * time.Millisecond
)

func (h *health) writesOut() bool { return h.noWrite.Load() || h.barred.Load() }
func (h *health) readsOut() bool  { return h.noRead.Load() || h.barred.Load() }

// bar takes the disk out of use, whatever its condition; nil puts it back.
func (h *health) bar(why error) {
	h.mu.Lock()
	h.barErr = why
	h.mu.Unlock()
	if was := h.barred.Swap(why != nil); !was && why != nil {
		h.outs.Add(1)
	}
}

// beAbsent takes a disk out that could not be opened. At start, before it has workers.
func (h *health) beAbsent(why error) {
	h.readErr, h.writeErr = why, why
	h.noRead.Store(true)
	h.noWrite.Store(true)
	h.ioErrors.Add(1)
	h.outs.Add(1)
}

// begin asks whether a read may be begun; end must follow if so. elsewhere: who
// wants it can still do without the disk.
func (h *health) begin(now message.Instant, elsewhere bool) bool {
	if h.noRead.Load() {
		return false
	}
	if h.reading.Load() >= maxReading {
		h.slow.Add(1)
		return false
	}
	if last := h.lastAnswer.Load(); last == 0 {
		h.lastAnswer.CompareAndSwap(0, int64(now))
	} else if elsewhere && int64(now)-last > int64(slowAfter) {
		h.slow.Add(1)
		return false
	}
	h.reading.Add(1)
	return true
}

// end says how a read ended.
func (h *health) end(v *volume, err error) {
	last := int64(0) // nothing is waited for
	if h.reading.Add(-1) > 0 {
		last = int64(v.o.Clock())
	}
	h.lastAnswer.Store(last)
	if err == nil {
		if h.readFails.Load() != 0 {
			h.readFails.Store(0)
		}
		return
	}
	h.ioErrors.Add(1)
	if h.readFails.Add(1) == maxReadFails {
		h.mu.Lock()
		h.readErr = err
		h.mu.Unlock()
		h.noRead.Store(true)
		h.outs.Add(1)
		v.o.Logger.Error("a disk is taken out: it cannot be read", "disk", v.dir, "error", err)
	}
}

// failWrite takes a disk out for writing.
func (h *health) failWrite(v *volume, err error) {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		h.full.Add(1)
	} else {
		h.ioErrors.Add(1)
	}
	h.mu.Lock()
	h.writeErr = err
	h.mu.Unlock()
	if !h.noWrite.Swap(true) {
		h.outs.Add(1)
		v.o.Logger.Error("a disk is taken out: it cannot be written", "disk", v.dir, "error", err)
	}
}

// recover looks whether a disk that is out works again. For the flusher.
func (v *volume) recover() {
	h := &v.health
	if !h.noWrite.Load() && !h.noRead.Load() {
		return
	}
	if h.idle += v.o.FlushInterval; h.idle < v.o.Retry {
		return
	}
	h.idle = 0
	err := v.probe()
	h.mu.Lock()
	if err != nil {
		h.writeErr = err
		h.mu.Unlock()
		return
	}
	h.writeErr, h.readErr = nil, nil
	h.mu.Unlock()
	h.readFails.Store(0)
	h.noWrite.Store(false)
	h.noRead.Store(false)
	v.o.Logger.Info("a disk is back", "disk", v.dir)
}

// probeName is the file that probe makes.
const probeName = "probe"

// probe writes, syncs, reads and removes a file.
func (v *volume) probe() (err error) {
	name := path.Join(v.dir, probeName)
	_ = v.o.FS.Remove(name) // of an earlier probe that failed midway
	f, err := v.o.FS.Create(name)
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, f.Close(), v.o.FS.Remove(name))
	}()
	p := make([]byte, 64<<10)
	if _, err := f.WriteAt(p, 0); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	_, err = f.ReadAt(p, 0)
	return err
}
