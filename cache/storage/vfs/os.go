package vfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"edge/internal/datasync"

	"golang.org/x/sys/unix"
)

// OS is the operating system's filesystem.
type OS struct{}

var _ FS = OS{}

// The modes of what is made: stored responses are nobody else's business.
const (
	dirMode  = 0o750
	fileMode = 0o640
)

// MkdirAll makes a directory.
func (OS) MkdirAll(dir string) error { return os.MkdirAll(dir, dirMode) }

// Create makes an empty file.
func (OS) Create(name string) (File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

// Open opens a file.
func (OS) Open(name string) (File, error) {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.EROFS) {
		f, err = os.Open(name)
	}
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

// Remove takes a name away.
func (OS) Remove(name string) error { return os.Remove(name) }

// Rename gives a file another name.
func (OS) Rename(from, to string) error { return os.Rename(from, to) }

// List returns the names in a directory.
func (OS) List(dir string) ([]string, error) {
	list, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(list))
	for i, e := range list {
		names[i] = e.Name()
	}
	return names, nil
}

// SyncDir syncs a directory.
func (OS) SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// ErrLocked: another process has the lock.
var ErrLocked = errors.New("another process has it locked")

// Lock locks a file with flock, which the kernel gives back when the process
// ends, however it ends.
func (OS) Lock(name string) (io.Closer, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, fileMode)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = ErrLocked
		}
		return nil, errors.Join(fmt.Errorf("locking %s: %w", name, err), f.Close())
	}
	return f, nil
}

// osFile is an *os.File that syncs data only: of the metadata fdatasync writes
// what is needed to read the data back, the length included.
type osFile struct{ *os.File }

// Sync is fdatasync.
func (f osFile) Sync() error {
	if err := datasync.Sync(f.File); err != nil {
		return &fs.PathError{Op: "fdatasync", Path: f.Name(), Err: err}
	}
	return nil
}

// ReadOnce reads past the page cache, where the filesystem can.
func (f osFile) ReadOnce(p []byte, off int64) (n int, err error) {
	for n < len(p) {
		got, err := unix.Preadv2(int(f.Fd()), [][]byte{p[n:]}, off+int64(n), unix.RWF_DONTCACHE)
		if err != nil || got == 0 {
			rest, err := f.ReadAt(p[n:], off+int64(n)) // it cannot, or this is the end
			return n + rest, err
		}
		n += got
	}
	return n, nil
}

// ReadNow reads what is in the page cache. Some filesystems cannot say what is.
func (f osFile) ReadNow(p []byte, off int64) (int, error) {
	return unix.Preadv2(int(f.Fd()), [][]byte{p}, off, unix.RWF_NOWAIT)
}

// Changed returns the file's status change time, which unlike that of its last
// modification nobody can set.
func (f osFile) Changed() int64 {
	var st unix.Stat_t
	if unix.Fstat(int(f.Fd()), &st) != nil {
		return 0
	}
	return st.Ctim.Nano()
}

// Size returns the length in bytes.
func (f osFile) Size() (int64, error) {
	i, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return i.Size(), nil
}
