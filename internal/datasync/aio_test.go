//go:build linux && (amd64 || arm64)

package datasync

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// TestSignalsEndNothing: who finds nothing, because another was told of its end, and is
// sent a signal meanwhile, as the runtime does all the time, has not failed.
func TestSignalsEndNothing(t *testing.T) {
	k := newKernel()
	if k == nil {
		t.Log("this kernel has no asynchronous I/O for us")
		return
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	thread := unix.Gettid()
	var ended atomic.Bool
	var signals sync.WaitGroup
	signals.Go(func() {
		for !ended.Load() {
			_ = unix.Tgkill(unix.Getpid(), thread, unix.SIGURG) // which the runtime ignores
		}
	})
	defer signals.Wait()
	defer ended.Store(true)
	for range 300_000 {
		if err := k.ended(func(int, int64) {}); err != nil {
			t.Fatal(err)
		}
	}
}
