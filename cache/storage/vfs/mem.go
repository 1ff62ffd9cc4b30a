package vfs

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"sync"
)

// Mem is a filesystem in memory that knows what a crash would leave of it. The
// zero value is not ready: see NewMem.
//
// The model of power loss: of a file's bytes those survive that were there at
// the last Sync; of a directory's names those that were there at the last
// SyncDir. What came later survives or not, sector by sector and name by name,
// as the dice fall.
type Mem struct {
	mu     sync.Mutex
	names  map[string]*memFile // now
	synced map[string]*memFile // what the directories hold after power loss
	dirs   map[string]bool
	locks  map[string]bool
}

// NewMem returns an empty filesystem.
func NewMem() *Mem {
	return &Mem{names: map[string]*memFile{}, synced: map[string]*memFile{}, dirs: map[string]bool{}, locks: map[string]bool{}}
}

var _ FS = (*Mem)(nil)

// sectorSize is the unit that survives a power loss whole or not at all.
const sectorSize = 512

// memFile is a file's content, whatever names it has.
type memFile struct {
	mu     sync.Mutex
	data   []byte
	synced []byte
}

// memHandle is an open memFile.
type memHandle struct {
	*memFile
	name   string
	closed bool
}

// Killed returns the filesystem as a process that was killed leaves it: all
// that was written is there, and no lock.
func (m *Mem) Killed() *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	next := NewMem()
	copies := map[*memFile]*memFile{}
	clone := func(f *memFile) *memFile {
		if copies[f] == nil {
			f.mu.Lock()
			copies[f] = &memFile{data: bytes.Clone(f.data), synced: bytes.Clone(f.synced)}
			f.mu.Unlock()
		}
		return copies[f]
	}
	for name, f := range m.names {
		next.names[name] = clone(f)
	}
	for name, f := range m.synced {
		next.synced[name] = clone(f)
	}
	for d := range m.dirs {
		next.dirs[d] = true
	}
	return next
}

// Crashed returns the filesystem as a power loss leaves it. Without dice,
// exactly what was synced survives.
func (m *Mem) Crashed(dice *rand.Rand) *Mem {
	next := m.Killed()
	lucky := func() bool { return dice != nil && dice.IntN(2) == 0 }
	for name, f := range next.names {
		if next.synced[name] != f && !lucky() {
			delete(next.names, name)
		}
	}
	for name, f := range next.synced {
		if next.names[name] == nil && !lucky() {
			next.names[name] = f // its removal did not make it
		}
	}
	for _, f := range next.names {
		f.lose(lucky)
	}
	next.synced = map[string]*memFile{}
	for name, f := range next.names {
		next.synced[name] = f
	}
	return next
}

// lose forgets what was not synced, sector by sector.
func (f *memFile) lose(lucky func() bool) {
	if lucky() {
		f.synced = bytes.Clone(f.data)
		return
	}
	kept := bytes.Clone(f.synced)
	for at := 0; at < len(f.data); at += sectorSize {
		end := min(at+sectorSize, len(f.data))
		if end <= len(kept) && bytes.Equal(kept[at:end], f.data[at:end]) || !lucky() {
			continue
		}
		if end > len(kept) {
			kept = append(kept, make([]byte, end-len(kept))...)
		}
		copy(kept[at:end], f.data[at:end])
	}
	f.data, f.synced = kept, bytes.Clone(kept)
}

// Safe reports whether a power loss now would lose no byte and no name of the files that
// matter, by their names. One that was taken away may come back.
func (m *Mem) Safe(matters func(name string) bool) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name, f := range m.names {
		f.mu.Lock()
		safe := !matters(name) || m.synced[name] == f && bytes.Equal(f.data, f.synced)
		f.mu.Unlock()
		if !safe {
			return false
		}
	}
	return true
}

// Flip inverts bits of a file behind everybody's back, as bit rot does.
func (m *Mem) Flip(name string, at int64, bits byte) error {
	m.mu.Lock()
	f := m.names[path.Clean(name)]
	m.mu.Unlock()
	if f == nil {
		return notExist("flip", name)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if at < 0 || at >= int64(len(f.data)) {
		return fmt.Errorf("vfs: byte %d of %d in %s", at, len(f.data), name)
	}
	f.data[at] ^= bits
	if at < int64(len(f.synced)) {
		f.synced[at] ^= bits
	}
	return nil
}

func notExist(op, name string) error {
	return &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
}

// MkdirAll makes a directory. Directories survive everything: only names in
// them are at stake.
func (m *Mem) MkdirAll(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for d := path.Clean(dir); d != "." && d != "/"; d = path.Dir(d) {
		m.dirs[d] = true
	}
	return nil
}

// Create makes an empty file.
func (m *Mem) Create(name string) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	name = path.Clean(name)
	if !m.dirs[path.Dir(name)] {
		return nil, notExist("create", name)
	}
	if m.names[name] != nil {
		return nil, &fs.PathError{Op: "create", Path: name, Err: fs.ErrExist}
	}
	f := &memFile{}
	m.names[name] = f
	return &memHandle{memFile: f, name: name}, nil
}

// Open opens a file.
func (m *Mem) Open(name string) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	name = path.Clean(name)
	f := m.names[name]
	if f == nil {
		return nil, notExist("open", name)
	}
	return &memHandle{memFile: f, name: name}, nil
}

// Remove takes a name away.
func (m *Mem) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	name = path.Clean(name)
	if m.names[name] == nil {
		return notExist("remove", name)
	}
	delete(m.names, name)
	return nil
}

// Rename gives a file another name.
func (m *Mem) Rename(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	from, to = path.Clean(from), path.Clean(to)
	f := m.names[from]
	if f == nil {
		return notExist("rename", from)
	}
	delete(m.names, from)
	m.names[to] = f
	return nil
}

// List returns the names in a directory.
func (m *Mem) List(dir string) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir = path.Clean(dir)
	if !m.dirs[dir] {
		return nil, notExist("list", dir)
	}
	var list []string
	for name := range m.names {
		if path.Dir(name) == dir {
			list = append(list, path.Base(name))
		}
	}
	for d := range m.dirs {
		if path.Dir(d) == dir {
			list = append(list, path.Base(d))
		}
	}
	slices.Sort(list)
	return list, nil
}

// SyncDir makes the names in a directory survive.
func (m *Mem) SyncDir(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	in := func(name string) bool { return strings.HasPrefix(name, path.Clean(dir)+"/") }
	for name := range m.synced {
		if in(name) && m.names[name] == nil {
			delete(m.synced, name)
		}
	}
	for name, f := range m.names {
		if in(name) {
			m.synced[name] = f
		}
	}
	return nil
}

// Lock takes an exclusive lock.
func (m *Mem) Lock(name string) (io.Closer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	name = path.Clean(name)
	if m.locks[name] {
		return nil, fmt.Errorf("locking %s: %w", name, ErrLocked)
	}
	m.locks[name] = true
	return &memLock{m, name}, nil
}

type memLock struct {
	m    *Mem
	name string
}

// Close gives the lock back.
func (l *memLock) Close() error {
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	delete(l.m.locks, l.name)
	return nil
}

// ReadAt reads.
func (h *memHandle) ReadAt(p []byte, off int64) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return 0, fs.ErrClosed
	}
	if off >= int64(len(h.data)) {
		return 0, io.EOF
	}
	n := copy(p, h.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// WriteAt writes.
func (h *memHandle) WriteAt(p []byte, off int64) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return 0, fs.ErrClosed
	}
	if end := off + int64(len(p)); end > int64(len(h.data)) {
		h.data = append(h.data, make([]byte, end-int64(len(h.data)))...)
	}
	return copy(h.data[off:], p), nil
}

// Sync makes what was written survive.
func (h *memHandle) Sync() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return fs.ErrClosed
	}
	h.synced = bytes.Clone(h.data)
	return nil
}

// Size returns the length.
func (h *memHandle) Size() (int64, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return int64(len(h.data)), nil
}

// Truncate sets the length.
func (h *memHandle) Truncate(size int64) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if size <= int64(len(h.data)) {
		h.data = h.data[:size:size]
	} else {
		h.data = append(h.data, make([]byte, size-int64(len(h.data)))...)
	}
	return nil
}

// Close closes this handle; others stay open.
func (h *memHandle) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return fs.ErrClosed
	}
	h.closed = true
	return nil
}
