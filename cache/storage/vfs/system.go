package vfs

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// SystemFile is what a File may implement besides, where the kernel can send from it
// without us. OS's files do.
type SystemFile interface {
	// Fd returns the descriptor, for as long as the file is open.
	Fd() uintptr
	// InMemory reports whether n bytes at off (n > 0) are known to lie in memory, so
	// that using them does not wait for a disk.
	InMemory(off, n int64) bool
}

var _ SystemFile = osFile{}

var pageSize = int64(unix.Getpagesize())

// InMemory asks with cachestat(2), which costs less than a microsecond. Kernels
// before Linux 6.5 cannot say.
func (f osFile) InMemory(off, n int64) bool {
	pages := (off+n-1)/pageSize - off/pageSize + 1
	at := unix.CachestatRange{Off: uint64(off), Len: uint64(n)}
	var st unix.Cachestat_t
	// By RawSyscall, since it never waits: docs/decisions/0005. Both structures are this
	// call's, and stay where they are while it lasts.
	_, _, errno := unix.RawSyscall6(unix.SYS_CACHESTAT, f.Fd(), uintptr(unsafe.Pointer(&at)), uintptr(unsafe.Pointer(&st)), 0, 0, 0)
	return errno == 0 && int64(st.Cache) >= pages
}
