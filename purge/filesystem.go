package purge

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"edge/internal/datasync"

	"golang.org/x/sys/unix"
)

// filesystem is what the journal needs of one. Implemented by osFiles and, in
// tests, by one that fails and forgets. Not safe for concurrent use.
type filesystem interface {
	// ReadFile reads a regular file of at most so many bytes; errNotExist.
	ReadFile(path string, most int64) ([]byte, error)
	// Create makes an empty file, in the place of an older one.
	Create(path string) (journalFile, error)
	// Open opens a file that there is for writing.
	Open(path string) (journalFile, error)
	// Rename is atomic.
	Rename(from, to string) error
	// SyncDir makes what was renamed in path's directory durable.
	SyncDir(path string) error
	// Lock keeps other processes off path until release is called.
	Lock(path string) (release func(), err error)
}

// errNotExist: there is no such file.
var errNotExist = fs.ErrNotExist

// osFiles is the operating system's file system.
type osFiles struct{}

// journalMode lets only the process's own user read what is purged.
const journalMode = 0o600

// ReadFile reads a file.
func (osFiles) ReadFile(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a regular file", path)
	case info.Size() > most:
		return nil, fmt.Errorf("%s has more than %d bytes", path, most)
	}
	return io.ReadAll(io.LimitReader(f, most))
}

// Create makes a file.
func (osFiles) Create(path string) (journalFile, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, journalMode)
	if err != nil {
		return nil, err
	}
	return &osFile{f}, nil
}

// Open opens a file.
func (osFiles) Open(path string) (journalFile, error) {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	return &osFile{f}, nil
}

// Rename renames a file.
func (osFiles) Rename(from, to string) error { return os.Rename(from, to) }

// SyncDir syncs the directory that path is in.
func (osFiles) SyncDir(path string) error {
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Lock takes a lock that ends with the process, on a file beside path: path
// itself is replaced at times.
func (osFiles) Lock(path string) (func(), error) {
	f, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR, journalMode)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close() // the lock is what failed
		return nil, fmt.Errorf("%s is in use by another process: %w", path, err)
	}
	return func() { _ = f.Close() }, nil // which gives the lock back
}

// osFile is a file of the operating system's.
type osFile struct{ *os.File }

// Sync is fdatasync: data, and what of the metadata is needed to find it.
func (f *osFile) Sync() error { return datasync.Sync(f.File) }
