package purge

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
)

var errInjected = errors.New("injected fault")

// forgetful is a filesystem that knows what is on stable storage and what is
// not, and fails when it is told to.
type forgetful struct {
	mu    sync.Mutex
	names map[string]*inode // as the process sees them
	kept  map[string]*inode // as a crash leaves them
	locks map[string]bool
	ops   int
	// failAt is the operation, from 1, that fails; failFor how many after it
	// do. 0: none.
	failAt, failFor int
	// noData: nothing can be written to files; names can be changed.
	noData bool
	// most is how long a file can get, in bytes. 0: as long as it likes.
	most int64
	// onSync, where not nil, is called before each sync of a file.
	onSync func()
}

// inode is a file.
type inode struct {
	data    []byte // as the process sees it
	stable  []byte // as a crash leaves it
	pending []extent
}

// extent is something that was written and not synced.
type extent struct {
	off  int64
	data []byte
}

// stableInode is a file of which everything is on stable storage.
func stableInode(data []byte) *inode {
	return &inode{data: bytes.Clone(data), stable: bytes.Clone(data)}
}

// overwrite writes p at off into b, which grows by zeros where it must.
func overwrite(b, p []byte, off int64) []byte {
	if grown := int(off) + len(p) - len(b); grown > 0 {
		b = append(b, make([]byte, grown)...)
	}
	copy(b[off:], p)
	return b
}

// torn returns what a power loss leaves: of what was not synced the first n bytes.
func (i *inode) torn(n int) []byte {
	left := bytes.Clone(i.stable)
	for _, e := range i.pending {
		part := e.data[:min(n, len(e.data))]
		left = overwrite(left, part, e.off)
		n -= len(part)
	}
	return left
}

// sectorSize is what a disk writes whole or not at all, in bytes.
const sectorSize = 512

// scattered returns what a power loss leaves where sectors are written in any order: of
// those that were not synced, counted from 0, the ones that arrived says so of.
func (i *inode) scattered(arrived func(n int) bool) []byte {
	left, n := bytes.Clone(i.stable), 0
	for at := 0; at < len(i.data); at += sectorSize {
		sector := i.data[at:min(at+sectorSize, len(i.data))]
		if at+len(sector) <= len(i.stable) && bytes.Equal(sector, i.stable[at:at+len(sector)]) {
			continue
		}
		if arrived(n) {
			left = overwrite(left, sector, int64(at))
		}
		n++
	}
	return left
}

func newForgetful() *forgetful {
	return &forgetful{names: map[string]*inode{}, kept: map[string]*inode{}, locks: map[string]bool{}}
}

// fails counts an operation and says whether it is one to fail.
func (f *forgetful) fails() bool {
	f.ops++
	return f.failAt > 0 && f.ops >= f.failAt && f.ops < f.failAt+max(f.failFor, 1)
}

// crash returns what is left after a power loss: of what was not synced, the
// first torn bytes.
func (f *forgetful) crash(torn int) *forgetful {
	f.mu.Lock()
	defer f.mu.Unlock()
	after := newForgetful()
	for name, i := range f.kept {
		after.names[name] = stableInode(i.torn(torn))
	}
	after.kept = maps.Clone(after.names)
	return after
}

// kill returns what is left after the process alone has ended.
func (f *forgetful) kill() *forgetful {
	f.mu.Lock()
	defer f.mu.Unlock()
	after := newForgetful()
	for name, i := range f.names {
		after.names[name] = &inode{bytes.Clone(i.data), bytes.Clone(i.stable), slices.Clone(i.pending)}
		after.kept[name] = after.names[name]
	}
	return after
}

func (f *forgetful) ReadFile(path string, _ int64) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := f.names[path]
	if i == nil {
		return nil, errNotExist
	}
	return bytes.Clone(i.data), nil
}

func (f *forgetful) Create(path string) (journalFile, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fails() {
		return nil, errInjected
	}
	i := new(inode)
	f.names[path] = i
	return &openInode{f, i}, nil
}

func (f *forgetful) Rename(from, to string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fails() {
		return errInjected
	}
	f.names[to] = f.names[from]
	delete(f.names, from)
	return nil
}

func (f *forgetful) SyncDir(string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fails() {
		return errInjected
	}
	f.kept = maps.Clone(f.names)
	return nil
}

func (f *forgetful) Lock(path string) (func(), error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.locks[path] {
		return nil, fmt.Errorf("%s is in use", path)
	}
	f.locks[path] = true
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.locks, path)
	}, nil
}

type openInode struct {
	f *forgetful
	i *inode
}

// WriteAt may write half of it and fail.
func (o *openInode) WriteAt(p []byte, off int64) (int, error) {
	o.f.mu.Lock()
	defer o.f.mu.Unlock()
	var err error
	if o.f.fails() || o.f.noData {
		p, err = p[:len(p)/2], errInjected
	} else if room := o.f.most - off; o.f.most > 0 && int64(len(p)) > room {
		p, err = p[:max(room, 0)], errInjected
	}
	o.i.data = overwrite(o.i.data, p, off)
	o.i.pending = append(o.i.pending, extent{off, bytes.Clone(p)})
	return len(p), err
}

// Sync may fail, and what it was to keep is then lost.
func (o *openInode) Sync() error {
	if o.f.onSync != nil {
		o.f.onSync()
	}
	o.f.mu.Lock()
	defer o.f.mu.Unlock()
	if o.f.fails() {
		o.i.data, o.i.pending = bytes.Clone(o.i.stable), nil
		return errInjected
	}
	o.i.stable, o.i.pending = o.i.torn(1<<62), nil
	return nil
}

func (o *openInode) Close() error { return nil }
