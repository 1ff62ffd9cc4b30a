package vfs

import (
	"io"
	"sync/atomic"
)

// Op names an operation.
type Op string

// The operations.
const (
	OpMkdir    Op = "mkdir"
	OpCreate   Op = "create"
	OpOpen     Op = "open"
	OpRemove   Op = "remove"
	OpRename   Op = "rename"
	OpList     Op = "list"
	OpSyncDir  Op = "syncdir"
	OpLock     Op = "lock"
	OpRead     Op = "read"
	OpWrite    Op = "write"
	OpSync     Op = "sync"
	OpSize     Op = "size"
	OpTruncate Op = "truncate"
)

// Hook is asked before each operation; an error it returns is the operation's.
// It may be called from any goroutine, and may wait, which makes a slow disk.
type Hook func(op Op, name string) error

// FailAt returns a Hook that fails operation number i, counted from 0, and all
// after it for as long as more says so (nil: none), and a function that tells
// how many operations there were.
func FailAt(i int64, err error, more func() bool) (Hook, func() int64) {
	var n atomic.Int64
	return func(Op, string) error {
		at := n.Add(1) - 1
		if at == i || at > i && more != nil && more() {
			return err
		}
		return nil
	}, n.Load
}

// Faulty is a filesystem whose operations fail when its Hook says so. A write
// that fails has written its first half, as a full disk does it.
type Faulty struct {
	FS   FS
	hook atomic.Pointer[Hook]
}

var _ FS = (*Faulty)(nil)

// NewFaulty wraps a filesystem.
func NewFaulty(fs FS) *Faulty { return &Faulty{FS: fs} }

// Set sets the Hook; nil for none.
func (f *Faulty) Set(h Hook) {
	if h == nil {
		f.hook.Store(nil)
		return
	}
	f.hook.Store(&h)
}

func (f *Faulty) ask(op Op, name string) error {
	if h := f.hook.Load(); h != nil {
		return (*h)(op, name)
	}
	return nil
}

// MkdirAll makes a directory.
func (f *Faulty) MkdirAll(dir string) error {
	if err := f.ask(OpMkdir, dir); err != nil {
		return err
	}
	return f.FS.MkdirAll(dir)
}

// Create makes an empty file.
func (f *Faulty) Create(name string) (File, error) { return f.file(OpCreate, name, f.FS.Create) }

// Open opens a file.
func (f *Faulty) Open(name string) (File, error) { return f.file(OpOpen, name, f.FS.Open) }

func (f *Faulty) file(op Op, name string, do func(string) (File, error)) (File, error) {
	if err := f.ask(op, name); err != nil {
		return nil, err
	}
	file, err := do(name)
	if err != nil {
		return nil, err
	}
	return &faultyFile{File: file, fs: f, name: name}, nil
}

// Remove takes a name away.
func (f *Faulty) Remove(name string) error {
	if err := f.ask(OpRemove, name); err != nil {
		return err
	}
	return f.FS.Remove(name)
}

// Rename gives a file another name.
func (f *Faulty) Rename(from, to string) error {
	if err := f.ask(OpRename, from); err != nil {
		return err
	}
	return f.FS.Rename(from, to)
}

// List returns the names in a directory.
func (f *Faulty) List(dir string) ([]string, error) {
	if err := f.ask(OpList, dir); err != nil {
		return nil, err
	}
	return f.FS.List(dir)
}

// SyncDir syncs a directory.
func (f *Faulty) SyncDir(dir string) error {
	if err := f.ask(OpSyncDir, dir); err != nil {
		return err
	}
	return f.FS.SyncDir(dir)
}

// Lock takes an exclusive lock.
func (f *Faulty) Lock(name string) (io.Closer, error) {
	if err := f.ask(OpLock, name); err != nil {
		return nil, err
	}
	return f.FS.Lock(name)
}

// faultyFile is an open file of a Faulty. Close never fails.
type faultyFile struct {
	File
	fs   *Faulty
	name string
}

// ReadAt reads.
func (f *faultyFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.fs.ask(OpRead, f.name); err != nil {
		return 0, err
	}
	return f.File.ReadAt(p, off)
}

// WriteAt writes.
func (f *faultyFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.fs.ask(OpWrite, f.name); err != nil {
		n, _ := f.File.WriteAt(p[:len(p)/2], off) // the first half, for what it is worth
		return n, err
	}
	return f.File.WriteAt(p, off)
}

// Sync syncs.
func (f *faultyFile) Sync() error {
	if err := f.fs.ask(OpSync, f.name); err != nil {
		return err
	}
	return f.File.Sync()
}

// Size returns the length.
func (f *faultyFile) Size() (int64, error) {
	if err := f.fs.ask(OpSize, f.name); err != nil {
		return 0, err
	}
	return f.File.Size()
}

// Truncate sets the length.
func (f *faultyFile) Truncate(size int64) error {
	if err := f.fs.ask(OpTruncate, f.name); err != nil {
		return err
	}
	return f.File.Truncate(size)
}
