package disk

import (
	"errors"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"edge/cache/storage/storagetest"
	"edge/cache/storage/vfs"
	"edge/message"
)

// TestDisks: keys spread over disks by size; where one fails the rest serve, and it
// is back within 10 s of working again.
func TestDisks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := vfs.NewFaulty(vfs.NewMem())
		var st *Store
		open := func() {
			var err error
			st, err = Open(Options{Disks: []Disk{{"/a", 4 << 20}, {"/b", 12 << 20}}, Clock: testClock, FS: fs})
			if err != nil {
				t.Fatal(err)
			}
			opened := st
			t.Cleanup(func() { _ = opened.Close() }) // where the test fails before it does
		}
		open()
		const n = 400
		for i := range n {
			small(t, st, i)
		}
		if err := st.Close(); err != nil { // so that nothing is in memory any more
			t.Fatal(err)
		}
		open()
		found := func() (found int) {
			for i := range n {
				for _, e := range st.Lookup(nil, storagetest.Key(i)) {
					found++
					e.Release()
				}
			}
			return found
		}
		a := int(st.States()[0].Entries)
		if a < n/8 || a > n*3/8 || found() != n {
			t.Fatalf("%d of %d on the disk that is a quarter; %d found", a, n, found())
		}
		if err := st.Close(); err != nil { // what was found is kept in memory
			t.Fatal(err)
		}
		open()
		fs.Set(func(op vfs.Op, name string) error {
			if strings.HasPrefix(name, "/a/") {
				return syscall.EIO
			}
			return nil
		})
		if got := found(); got < n-a || got > n-maxReadFails {
			t.Fatalf("%d found of %d, %d of them on the disk that fails", got, n, a)
		}
		s := st.States()
		if s[0].Readable || !s[1].Readable || s[0].Reason == "" || s[0].Errors == 0 || s[0].TakenOut != 1 {
			t.Fatalf("%+v", s)
		}
		fs.Set(nil)
		time.Sleep(10 * time.Second)
		if s := st.States(); !s[0].Readable || !s[0].Writable {
			t.Fatalf("still out 10 s later: %+v", s[0])
		}
		if got := found(); got < n-maxReadFails {
			t.Fatalf("%d found of %d after the disk came back", got, n)
		}
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestFormat: another version's disk is refused, and nothing in it is touched; a
// process that is there already keeps others out.
func TestFormat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := vfs.NewMem()
		_ = fs.MkdirAll("/disk") // cannot fail
		f, err := fs.Create("/disk/FORMAT")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt([]byte("edge disk 0\n"), 0); err != nil {
			t.Fatal(err)
		}
		o := Options{Disks: []Disk{{"/disk", 4 << 20}}, Clock: testClock, FS: fs}
		if _, err := Open(o); !errors.Is(err, errVersion) || !strings.Contains(err.Error(), "/disk") {
			t.Fatalf("another version's disk: %v", err)
		}
		o.Disks[0].Path = "/other"
		st, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Open(o); err == nil {
			t.Fatal("two at once on one disk")
		}
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestFuture: "a wall clock behind a record's makes it stale".
func TestFuture(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs, late := vfs.NewMem(), int64(3600)
		open := func() *Store {
			st, err := Open(Options{Disks: []Disk{{"/disk", 4 << 20}}, FS: fs,
				Clock: func() message.Instant { return testClock().Add(late * message.Second) }})
			if err != nil {
				t.Fatal(err)
			}
			return st
		}
		st := open()
		small(t, st, 1)
		e := st.Lookup(nil, storagetest.Key(1))[0]
		head := *e.Stored()
		head.ResponseTime, head.Terms.FreshnessLifetime = testClock().Add(late*message.Second), 7200*message.Second
		if err := st.Freshen(e, &head, 0); err != nil {
			t.Fatal(err)
		}
		e.Release()
		_ = st.Close()
		late = 0 // the clock was set back
		st = open()
		e = st.Lookup(nil, storagetest.Key(1))[0]
		if s := e.Stored(); s.Terms.FreshnessLifetime > s.CurrentAge(testClock()) {
			t.Error("a response from the future is fresh")
		}
		e.Release()
		_ = st.Close()
	})
}
