//go:build linux && (amd64 || arm64)

package datasync

import (
	"runtime"
	"unsafe"

	"edge/internal/netpoll"

	"golang.org/x/sys/unix"
)

// The asynchronous I/O of Linux, from linux/aio_abi.h. package unix has the numbers of
// the calls, but not what they take. All calls are made by RawSyscall, since none of
// them waits: docs/decisions/0005.

const (
	commandFdsync = 3 // IOCB_CMD_FDSYNC
	flagEvent     = 1 // IOCB_FLAG_RESFD: resfd is an eventfd
)

// control is struct iocb, as it is on little-endian machines.
type control struct {
	data    uint64 // what its event has
	key     uint32
	rwFlags uint32
	opcode  uint16
	reqprio int16
	fildes  uint32
	buf     uint64
	nbytes  uint64
	offset  int64
	_       uint64
	flags   uint32
	resfd   uint32
}

// event is struct io_event.
type event struct {
	data   uint64 // its iocb's
	obj    uint64
	result int64
	_      int64
}

// aio is a context of asynchronous I/O. Nobody destroys it: the kernel does, when the
// process ends.
type aio struct{ context uintptr }

// newKernel returns the kernel, nil where it refuses.
func newKernel() kernel {
	a := new(aio)
	if _, _, errno := unix.RawSyscall(unix.SYS_IO_SETUP, maxSyncs, uintptr(unsafe.Pointer(&a.context)), 0); errno != 0 {
		return nil // ENOSYS, EPERM: not here. EAGAIN: others have all that there may be
	}
	return a
}

// submit begins a sync. The kernel reads c and the pointer to it before it returns, and
// keeps neither; it holds the file by itself.
func (a *aio) submit(fd, number int, event *netpoll.Event) error {
	c := &control{data: uint64(number), opcode: commandFdsync, fildes: uint32(fd), flags: flagEvent, resfd: uint32(event.Fd())}
	n, _, errno := unix.RawSyscall(unix.SYS_IO_SUBMIT, a.context, 1, uintptr(unsafe.Pointer(&c)))
	runtime.KeepAlive(c)
	switch {
	case errno != 0:
		return errno
	case n != 1:
		return unix.EAGAIN
	}
	return nil
}

// ended asks for what has ended. The kernel writes to events and reads the timeout
// before it returns.
func (a *aio) ended(f func(number int, result int64)) error {
	var events [maxSyncs]event
	var now unix.Timespec // no time at all
	var n uintptr
	// EINTR: there was nothing, another having been told of it, and a signal came, as the
	// runtime's own do all the time.
	for errno := unix.EINTR; errno == unix.EINTR; {
		n, _, errno = unix.RawSyscall6(unix.SYS_IO_GETEVENTS, a.context, 0, uintptr(len(events)),
			uintptr(unsafe.Pointer(&events)), uintptr(unsafe.Pointer(&now)), 0)
		if errno != 0 && errno != unix.EINTR {
			return errno
		}
	}
	for i := range events[:n] {
		f(int(events[i].data), events[i].result)
	}
	return nil
}
