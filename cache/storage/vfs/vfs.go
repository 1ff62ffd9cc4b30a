// Package vfs is the part of a filesystem that the disk tier needs, as an
// interface, so that every operation can be made to fail and every crash can be
// tried: OS is the real one, Mem lives in memory and can crash, and Faulty
// fails operations of either.
package vfs

import "io"

// FS is a filesystem. Safe for concurrent use. Names are slash-separated paths.
// Errors are those of package os: errors.Is(err, fs.ErrNotExist) and so on.
type FS interface {
	// MkdirAll makes a directory and those above it, where they are missing.
	MkdirAll(dir string) error
	// Create makes an empty file for reading and writing; it fails where the
	// name is taken. The name survives power loss once SyncDir returned.
	Create(name string) (File, error)
	// Open opens a file for reading and writing, or where that is not
	// permitted for reading only.
	Open(name string) (File, error)
	// Remove takes a name away. Whoever has the file open goes on with it.
	Remove(name string) error
	// Rename gives a file another name, which it takes from any file that has it.
	Rename(from, to string) error
	// List returns the names in a directory, without the directory, sorted.
	List(dir string) ([]string, error)
	// SyncDir makes creations, removals and renames in a directory survive
	// power loss.
	SyncDir(dir string) error
	// Lock takes an exclusive lock that ends with the process or with Close.
	// It does not wait: where another holds it, it fails.
	Lock(name string) (io.Closer, error)
}

// NowReader is what a File may implement besides.
type NowReader interface {
	// ReadNow is ReadAt for what is in memory already: it never waits for a disk,
	// and may read less, or nothing with an error, without anything being wrong.
	ReadNow(p []byte, off int64) (int, error)
}

// DatedFile is what a File may implement besides.
type DatedFile interface {
	// Changed returns when the file was changed last, by whomever, in nanoseconds: a
	// number that is another after each change. 0: it is not known.
	Changed() int64
}

// OnceReader is what a File may implement besides.
type OnceReader interface {
	// ReadOnce is ReadAt of what nobody will read again soon: it leaves nothing behind
	// in memory that was not there before.
	ReadOnce(p []byte, off int64) (int, error)
}

// File is an open file. Safe for concurrent use.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// Sync makes what was written survive power loss (fdatasync).
	Sync() error
	// Size returns the length in bytes.
	Size() (int64, error)
	// Truncate sets the length in bytes.
	Truncate(size int64) error
}
