//go:build linux

// Package datasync is fdatasync(2) that leaves the processor to others.
//
// A goroutine that is in a system call keeps its processor until the runtime's monitor
// takes that away, which is 20 microseconds to 10 milliseconds later: on one core,
// whoever else could run waits meanwhile, though the core is idle. So the sync is
// handed to the kernel by its asynchronous I/O (io_submit(2), IOCB_CMD_FDSYNC, since
// Linux 4.18), and the goroutine waits for the eventfd that tells of its end as it
// would for a socket. docs/decisions/0018.
//
// Where the kernel refuses (a filter of system calls, fs.aio-max-nr, a file that knows
// no such thing, more syncs at once than maxSyncs), it is the system call that blocks.
package datasync

import (
	"io/fs"
	"os"
	"sync"

	"edge/internal/netpoll"

	"golang.org/x/sys/unix"
)

// maxSyncs is how many syncs the kernel is given at once: one for each disk, and one
// for the journal of purges, in most processes. The others block.
const maxSyncs = 16

// Sync makes what was written to f survive power loss: the data, and of the metadata
// what is needed to read it back. It waits for the disk, however long that takes. Its
// errors are those of fdatasync(2), and fs.ErrClosed; f may be closed meanwhile. Safe for
// concurrent use.
func Sync(f *os.File) error { return ofProcess.sync(f) }

// ofProcess has what the kernel keeps for the process: made when it is first needed,
// and gone with it. It holds a descriptor for each of the most syncs that there were at
// once, and no goroutine.
var ofProcess queue

// kernel is who syncs. Implemented by aio and, in tests, by one that does what it is
// told.
type kernel interface {
	// submit begins a sync of fd, and has event signalled at its end. An error says
	// that none has begun, and nothing else.
	submit(fd int, number int, event *netpoll.Event) error
	// ended calls f with the numbers of the syncs that have ended since it was called
	// last, and with what they returned: 0 or a negative errno. It does not wait.
	ended(f func(number int, result int64)) error
}

// queue has the syncs of a kernel.
type queue struct {
	once   sync.Once
	kernel kernel // nil: it refused, for good
	slots  [maxSyncs]slot

	mu   sync.Mutex // a leaf
	free []*slot    // those not in use that have been
	used int        // how many slots ever were
}

// slot is one sync at a time. It belongs to who took it; what it says of the end is
// written under the queue's mu.
type slot struct {
	number int
	event  *netpoll.Event
	ended  bool
	result int64
}

// sync syncs f.
func (q *queue) sync(f *os.File) error {
	q.once.Do(func() {
		if q.kernel == nil {
			q.kernel = newKernel()
		}
	})
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var synced error
	// The descriptor is f's until the function returns, whoever closes f.
	if raw.Control(func(fd uintptr) { synced = q.syncFD(int(fd)) }) != nil {
		return fs.ErrClosed // nothing else keeps the function from being called
	}
	return synced
}

// syncFD syncs what fd is open on.
func (q *queue) syncFD(fd int) error {
	s := q.take()
	if s == nil {
		return block(fd)
	}
	if q.kernel.submit(fd, s.number, s.event) != nil {
		q.give(s)
		return block(fd)
	}
	return q.wait(s)
}

// take returns a slot for a sync, nil where there is none.
func (q *queue) take() *slot {
	if q.kernel == nil {
		return nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if last := len(q.free) - 1; last >= 0 {
		s := q.free[last]
		q.free = q.free[:last]
		s.ended = false
		return s
	}
	if q.used == maxSyncs {
		return nil
	}
	event, err := netpoll.NewEvent()
	if err != nil {
		return nil // no descriptor is left: perhaps next time
	}
	s := &q.slots[q.used]
	s.number, s.event = q.used, event
	q.used++
	return s
}

func (q *queue) give(s *slot) {
	q.mu.Lock()
	q.free = append(q.free, s)
	q.mu.Unlock()
}

// wait waits for the sync of a slot, and gives the slot back. Where the end cannot be
// learnt the sync counts as failed, whatever became of it: a second one would not be
// told of the first one's failure, which the kernel tells once.
func (q *queue) wait(s *slot) error {
	for {
		if err := s.event.Wait(); err != nil {
			return err // the slot is lost: its end may come yet
		}
		result, ended, err := q.collect(s)
		if err != nil {
			return err
		}
		if !ended {
			continue
		}
		q.give(s)
		if result < 0 {
			return unix.Errno(-result)
		}
		return nil
	}
}

// collect notes which syncs have ended, and says whether that of s has. The kernel
// hands the ends to whoever asks; whoever comes later finds his own noted.
func (q *queue) collect(s *slot) (result int64, ended bool, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	err = q.kernel.ended(func(number int, result int64) {
		q.slots[number].ended, q.slots[number].result = true, result
	})
	return s.result, s.ended, err
}

// block is fdatasync(2).
func block(fd int) error {
	for {
		if err := unix.Fdatasync(fd); err != unix.EINTR {
			return err
		}
	}
}
