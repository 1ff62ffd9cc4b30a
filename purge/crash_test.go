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
	// onSync, where not nil, is called before each sync of a file.
	onSync func()
}

type inode struct {
	data   []byte
	synced int // what of data survives a crash
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
		n := min(len(i.data), i.synced+torn)
		after.names[name] = &inode{bytes.Clone(i.data[:n]), n}
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
		after.names[name] = &inode{bytes.Clone(i.data), i.synced}
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

// Write may write half of it and fail.
func (o *openInode) Write(p []byte) (int, error) {
	o.f.mu.Lock()
	defer o.f.mu.Unlock()
	if o.f.fails() || o.f.noData {
		o.i.data = append(o.i.data, p[:len(p)/2]...)
		return len(p) / 2, errInjected
	}
	o.i.data = append(o.i.data, p...)
	return len(p), nil
}

// Sync may fail, and what it was to keep is then lost.
func (o *openInode) Sync() error {
	if o.f.onSync != nil {
		o.f.onSync()
	}
	o.f.mu.Lock()
	defer o.f.mu.Unlock()
	if o.f.fails() {
		o.i.data = slices.Clone(o.i.data[:o.i.synced])
		return errInjected
	}
	o.i.synced = len(o.i.data)
	return nil
}

func (o *openInode) Close() error { return nil }
