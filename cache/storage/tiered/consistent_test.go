package tiered

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edge/cache/storage"
	"edge/cache/storage/disk"
	"edge/cache/storage/storagetest"
	"edge/cache/storage/vfs"
	"edge/message"
)

// pair is a store under test whose disk can be made to fail.
type pair struct {
	t  *testing.T
	st *Store
	fs *vfs.Faulty
}

func wallClock() message.Instant { return message.Instant(time.Now().UnixNano()) }

func openPair(t *testing.T) *pair { t.Helper(); return openPairOn(t, 8<<20) }

// openPairOn is openPair with a disk of a size.
func openPairOn(t *testing.T, size int64) *pair {
	t.Helper()
	p := &pair{t: t, fs: vfs.NewFaulty(vfs.NewMem())}
	var err error
	p.st, err = Open(Options{Memory: storage.MemoryOptions{Size: 1 << 20, Clock: wallClock},
		Disk: disk.Options{Disks: []disk.Disk{{Path: "/disk", Size: size}}, Clock: wallClock, FS: p.fs}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.st.Close() })
	return p
}

// head is a head of a version, told apart by its ETag field, for a variant.
func head(version, nominated string) *message.Stored {
	s := &message.Stored{Status: 200, Head: []byte("ETag: \"" + version + "\"\r\n")}
	if nominated != "" {
		s.Nominated = []byte(nominated)
	}
	return s
}

// store stores n bytes under a key, in both tiers.
func (p *pair) store(key int, s *message.Stored, n int) {
	p.t.Helper()
	w, err := p.st.Begin(&storage.Proposal{Key: storagetest.Key(key), Scheme: "http", Authority: []byte("a"), Target: []byte("/"), Stored: s, Total: int64(n)})
	if err != nil {
		p.t.Fatal(err)
	}
	if err := w.Write(context.Background(), make([]byte, n)); err != nil {
		p.t.Fatal(err)
	}
	if err := w.Commit(nil); err != nil {
		p.t.Fatal(err)
	}
}

// settle has what was stored be in a file, and not in memory on its way there.
func (p *pair) settle() {
	p.t.Helper()
	for i := range 12 {
		p.store(100+i, head("other", ""), 14<<10)
	}
	time.Sleep(time.Minute)
	synctest.Wait()
}

// find returns what a look-up finds first.
func (p *pair) find() storage.Entry {
	p.t.Helper()
	list := p.st.Lookup(nil, storagetest.Key(1))
	if len(list) == 0 {
		p.t.Fatal("nothing is found")
	}
	for _, e := range list[1:] {
		e.Release()
	}
	return list[0]
}

// slow makes the disk answer no read in time.
func (p *pair) slow(yes bool) {
	p.fs.Set(nil)
	if yes {
		p.fs.Set(func(op vfs.Op, name string) error {
			if op == vfs.OpRead && strings.HasSuffix(name, ".seg") {
				time.Sleep(5 * time.Second)
			}
			return nil
		})
	} else {
		time.Sleep(time.Minute)
	}
}

// evict has memory let go of everything.
func (p *pair) evict() {
	p.st.mem.Each(func(e storage.Entry) bool {
		p.st.mem.Remove(e)
		return true
	})
}

// heads returns what is found, as its heads say.
func (p *pair) heads() (found []string) {
	for _, e := range p.st.Lookup(nil, storagetest.Key(1)) {
		found = append(found, string(e.Stored().Nominated)+" "+strings.TrimSpace(string(e.Stored().Head)))
		e.Release()
	}
	return found
}

// want checks what is found, as heads says it.
func (p *pair) want(when string, want ...string) {
	p.t.Helper()
	if got := p.heads(); !slices.Equal(got, want) {
		p.t.Errorf("%s: found %q, want %q", when, got, want)
	}
}

// TestFreshenBesideASlowDisk: what was freshened while the disk could not be asked for its
// copy does not come back as it was.
func TestFreshenBesideASlowDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := openPair(t)
		p.store(1, head("v1", ""), 4)
		p.settle()
		p.slow(true)
		e := p.find()
		if err := p.st.Freshen(e, head("v2", ""), 0); err != nil {
			t.Fatal(err)
		}
		e.Release()
		p.evict()
		p.slow(false)
		p.want("evicted from memory")
	})
}

// TestRemoveBesideASlowDisk: likewise for what was removed.
func TestRemoveBesideASlowDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := openPair(t)
		p.store(1, head("v1", ""), 4)
		p.settle()
		p.slow(true)
		e := p.find()
		p.st.Remove(e)
		e.Release()
		p.slow(false)
		p.want("removed")
	})
}

// TestFreshenRenamesBesideAnother: a head whose nominated fields become those of another
// variant takes its place in both tiers, also where it lies in memory alone.
func TestFreshenRenamesBesideAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := openPair(t)
		p.store(1, head("old", "n2"), 4)
		p.store(1, head("v1", "n1"), 4)
		p.st.disk.Discard(storagetest.Key(1), []byte("n1"))
		for _, e := range p.st.mem.Lookup(nil, storagetest.Key(1)) {
			if string(e.Stored().Nominated) == "n1" {
				if err := p.st.Freshen(e, head("v2", "n2"), 0); err != nil {
					t.Fatal(err)
				}
			}
			e.Release()
		}
		p.evict()
		p.want("evicted from memory")
	})
}

// TestFreshenOfTheDisksRenames: what memory has of an entry of the disk goes under its
// old nominated fields too.
func TestFreshenOfTheDisksRenames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := openPair(t)
		p.store(1, head("v1", "n1"), 4)
		e := p.st.disk.Fetch(storagetest.Key(1), []byte("n1"))
		if err := p.st.Freshen(e, head("v2", "n2"), 0); err != nil {
			t.Fatal(err)
		}
		e.Release()
		p.want("freshened", `n2 ETag: "v2"`)
	})
}

// TestFreshenAgainstAnotherFreshening: of two who freshen one entry at once, both tiers
// have the second's head.
func TestFreshenAgainstAnotherFreshening(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := openPair(t)
		p.store(1, head("v1", ""), 4)
		p.settle()
		e := p.find()
		defer e.Release()
		p.slow(true)
		go func() {
			if err := p.st.Freshen(e, head("v2", ""), 0); err != nil { // waits for the disk
				t.Error(err)
			}
		}()
		time.Sleep(100 * time.Millisecond)
		go func() {
			if err := p.st.Freshen(e, head("v3", ""), 0); err != nil {
				t.Error(err)
			}
		}()
		p.slow(false)
		memory := p.heads()
		p.evict()
		if got := p.heads(); len(got) > 0 && !slices.Equal(got, memory) {
			t.Errorf("the disk has %q where memory had %q", got, memory)
		}
	})
}

// TestOpenOnAFullDisk: space is reclaimed from the first moment, which asks what memory
// has in use.
func TestOpenOnAFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := openPair(t)
		for i := range 500 {
			p.store(i, head("v1", ""), 14<<10)
			time.Sleep(10 * time.Millisecond)
		}
		if err := p.st.Close(); err != nil {
			t.Fatal(err)
		}
		for range 10 {
			st, err := Open(Options{Memory: storage.MemoryOptions{Size: 1 << 20, Clock: wallClock},
				Disk: disk.Options{Disks: []disk.Disk{{Path: "/disk", Size: 4 << 20}}, Clock: wallClock, FS: p.fs}})
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
			if s := st.Disk().States()[0]; s.Used > s.Size {
				t.Errorf("%d bytes used of %d", s.Used, s.Size)
			}
			if err := st.Close(); err != nil {
				t.Fatal(err)
			}
		}
	})
}
