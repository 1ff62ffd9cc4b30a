//go:build linux

package netpoll

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Turn is for a goroutine that has much to do, in small pieces, and nothing to wait
// for. runtime.Gosched between the pieces would let those go first who are ready, but
// the scheduler does not look who has become so at a socket while anybody is: it
// would find out when its monitor looks, every ten milliseconds. On one processor,
// requests would wait for that long.
//
// So Yield parks the goroutine on an eventfd that is signalled already. It goes on
// when the poller was asked, which finds it, and with it all for whom something has
// come. Where nobody else has anything to do that takes a microsecond or two.
//
// A nil Turn is ready for use: its Yield is runtime.Gosched.
type Turn struct{ event *Event }

// NewTurn returns a Turn for one goroutine, nil where there can be none.
func NewTurn() *Turn {
	e, err := NewEvent()
	if err != nil {
		return nil
	}
	return &Turn{e}
}

// Yield returns when all have had their turn who were ready or for whom the poller has
// something.
func (t *Turn) Yield() {
	if t == nil {
		runtime.Gosched()
		return
	}
	signalled := false
	err := t.event.raw.Read(func(fd uintptr) bool {
		if signalled {
			return true // and stays so: a signal to one that is set is one all the same
		}
		signalled = true
		// By RawSyscall, since it never waits: docs/decisions/0005. The bytes are the
		// package's, and stay where they are. If it fails, nobody would wake us.
		_, _, errno := unix.RawSyscall(unix.SYS_WRITE, fd, uintptr(unsafe.Pointer(&one[0])), uintptr(len(one)))
		return errno != 0
	})
	if err != nil {
		runtime.Gosched() // it is closed
	}
}

// Close gives back what t holds.
func (t *Turn) Close() {
	if t != nil {
		_ = t.event.Close() // nothing is written there that could be lost
	}
}
