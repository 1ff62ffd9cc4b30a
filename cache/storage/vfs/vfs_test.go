package vfs

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"path"
	"slices"
	"testing"
)

// TestBoth holds the real filesystem and the one in memory to the same words.
func TestBoth(t *testing.T) {
	for name, c := range map[string]struct {
		fs  FS
		dir string
	}{"os": {OS{}, t.TempDir()}, "mem": {NewMem(), "/disk"}, "faulty": {NewFaulty(NewMem()), "/disk"}} {
		t.Run(name, func(t *testing.T) { contract(t, c.fs, path.Join(c.dir, "a/b")) })
	}
}

func contract(t *testing.T, x FS, dir string) {
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := x.Create(path.Join(dir, "f")); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("a file in no directory: %v", err)
	}
	must(x.MkdirAll(dir))
	f, err := x.Create(path.Join(dir, "f"))
	must(err)
	if _, err := x.Create(path.Join(dir, "f")); !errors.Is(err, fs.ErrExist) {
		t.Fatalf("a name that is taken: %v", err)
	}
	_, err = f.WriteAt([]byte("world"), 6)
	must(err)
	_, err = f.WriteAt([]byte("hello "), 0)
	must(err)
	got := make([]byte, 20)
	if n, err := f.ReadAt(got, 0); n != 11 || err != io.EOF || string(got[:n]) != "hello world" {
		t.Fatalf("read %q, %v", got[:n], err)
	}
	if n, err := f.ReadAt(got[:5], 6); n != 5 || err != nil {
		t.Fatalf("read %d, %v", n, err)
	}
	must(f.Sync())
	must(f.Truncate(5))
	if n, err := f.Size(); n != 5 || err != nil {
		t.Fatalf("size %d, %v", n, err)
	}
	must(x.Rename(path.Join(dir, "f"), path.Join(dir, "g")))
	must(x.SyncDir(dir))
	list, err := x.List(dir)
	if err != nil || !slices.Equal(list, []string{"g"}) {
		t.Fatalf("list %v, %v", list, err)
	}
	must(x.Remove(path.Join(dir, "g")))
	if n, err := f.ReadAt(got[:5], 0); n != 5 || err != nil {
		t.Fatalf("reading what has no name any more: %d, %v", n, err)
	}
	must(f.Close())
	if _, err := x.Open(path.Join(dir, "g")); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("opening what was removed: %v", err)
	}
	l, err := x.Lock(path.Join(dir, "lock"))
	must(err)
	if _, err := x.Lock(path.Join(dir, "lock")); !errors.Is(err, ErrLocked) {
		t.Fatal("locked twice")
	}
	must(l.Close())
	l, err = x.Lock(path.Join(dir, "lock"))
	must(err)
	must(l.Close())
}

// TestCrash: what was synced survives, and nothing survives that was not
// written.
func TestCrash(t *testing.T) {
	m := NewMem()
	_ = m.MkdirAll("/d") // cannot fail
	f, _ := m.Create("/d/f")
	synced, later := bytes.Repeat([]byte("s"), 5000), bytes.Repeat([]byte("l"), 5000)
	_, _ = f.WriteAt(synced, 0)
	if names, _ := m.Crashed(nil).List("/d"); len(names) != 0 {
		t.Fatalf("%v survived without a sync of the directory", names)
	}
	_ = f.Sync()
	_ = m.SyncDir("/d")
	_, _ = f.WriteAt(later, 5000)
	_, _ = m.Create("/d/g")
	check := func(m *Mem, most int) int {
		t.Helper()
		f, err := m.Open("/d/f")
		if err != nil {
			t.Fatal(err)
		}
		n, _ := f.Size()
		got := make([]byte, n)
		if _, err := f.ReadAt(got, 0); err != nil && err != io.EOF {
			t.Fatal(err)
		}
		if n < 5000 || n > int64(most) || !bytes.Equal(got[:5000], synced) {
			t.Fatalf("%d bytes after the crash", n)
		}
		return int(n)
	}
	check(m.Crashed(nil), 5000)
	if check(m.Killed(), 10000) != 10000 {
		t.Fatal("killing a process loses what it wrote")
	}
	dice, seen := rand.New(rand.NewPCG(1, 1)), map[int]bool{}
	for range 50 {
		seen[check(m.Crashed(dice), 10000)] = true
	}
	if len(seen) < 3 {
		t.Fatalf("the dice left only %v", seen)
	}
	_ = m.Remove("/d/f")
	check(m.Crashed(nil), 5000) // a removal that was not synced
	if err := m.Flip("/d/g", 0, 1); err == nil {
		t.Fatal("flipped a bit of an empty file")
	}
}

// TestFailAt: the i-th operation fails, and a failing write is torn.
func TestFailAt(t *testing.T) {
	m := NewFaulty(NewMem())
	_ = m.MkdirAll("/d")
	h, count := FailAt(1, io.ErrShortWrite, nil)
	m.Set(h)
	f, err := m.Create("/d/f")
	if err != nil {
		t.Fatal(err)
	}
	if n, err := f.WriteAt([]byte("abcd"), 0); n != 2 || err != io.ErrShortWrite {
		t.Fatalf("wrote %d, %v", n, err)
	}
	if _, err := f.WriteAt([]byte("abcd"), 0); err != nil {
		t.Fatal(err)
	}
	if count() != 3 {
		t.Fatalf("%d operations", count())
	}
}
