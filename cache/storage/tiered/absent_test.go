package tiered

import (
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"edge/cache/storage"
	"edge/cache/storage/disk"
	"edge/cache/storage/storagetest"
	"edge/cache/storage/vfs"
	"edge/message"
)

const absentKeys = 40

// openDisks opens a store of the disks /a and /b.
func (p *pair) openDisks() {
	p.t.Helper()
	var err error
	p.st, err = Open(Options{Memory: storage.MemoryOptions{Size: 4 << 20, Clock: wallClock},
		Disk: disk.Options{Disks: []disk.Disk{{Path: "/a", Size: 8 << 20}, {Path: "/b", Size: 8 << 20}}, Clock: wallClock, FS: p.fs}})
	if err != nil {
		p.t.Fatal(err)
	}
	st := p.st
	p.t.Cleanup(func() { _ = st.Close() }) // where the test fails before it does
}

func (p *pair) end() {
	p.t.Helper()
	if err := p.st.Close(); err != nil {
		p.t.Fatal(err)
	}
}

// version returns what version is found of a key, and whether it is to be validated; ""
// for nothing.
func (p *pair) version(key int) (found string) {
	for _, e := range p.st.Lookup(nil, storagetest.Key(key)) {
		s := e.Stored()
		if found = string(s.Head[len(`ETag: "`):][:2]); s.Terms.Flags.Has(message.TermInvalidated) {
			found += ", invalid"
		}
		e.Release()
	}
	return found
}

// TestAbsentDisk: where one of two disks cannot be opened, its keys are in memory alone;
// the other's are on it, as before. When it is back, both have what they had.
func TestAbsentDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pair{t: t, fs: vfs.NewFaulty(vfs.NewMem())}
		p.openDisks()
		for i := range absentKeys {
			p.store(i, head("v1", ""), 1<<10)
		}
		p.end()
		p.fs.Set(func(op vfs.Op, name string) error {
			if strings.HasPrefix(name, "/b") && op == vfs.OpLock {
				return syscall.EROFS
			}
			return nil
		})
		p.openDisks()
		var absent []int
		for i := range absentKeys {
			want := "v1"
			if p.st.disk.Out(storagetest.Key(i)) {
				absent, want = append(absent, i), ""
			}
			if found := p.version(i); found != want {
				t.Errorf("key %d while a disk is absent: %q, not %q", i, found, want)
			}
		}
		if len(absent) == 0 || len(absent) == absentKeys {
			t.Fatalf("%d of %d keys are of the absent disk", len(absent), absentKeys)
		}
		for _, n := range []int{1 << 10, 14 << 10, 40 << 10} {
			for _, i := range absent {
				p.store(i, head("v2", ""), n)
				p.lies("stored while its disk is absent", i, true, false)
			}
		}
		time.Sleep(time.Minute)
		if s := p.st.Disk().States()[1]; s.Readable || s.Writable || !strings.Contains(s.Reason, "read-only") || s.Entries != 0 {
			t.Errorf("%+v", s)
		}
		p.end()
		p.fs.Set(nil)
		p.openDisks()
		for i := range absentKeys {
			want := "v1"
			if slices.Contains(absent, i) {
				want = "v1, invalid" // v2 was never on it
			}
			if found := p.version(i); found != want {
				t.Errorf("key %d after the disk is back: %q, not %q", i, found, want)
			}
		}
		p.end()
	})
}
