package disk

import (
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"edge/cache/storage"
	"edge/cache/storage/storagetest"
	"edge/cache/storage/vfs"
	"edge/message"
)

// A disk that cannot be opened at the start is absent, and the rest serve.

const awayKeys = 60

// awayRig is a store of the disks /a and /b, of which /b fails at times.
type awayRig struct {
	t     *testing.T
	mem   *vfs.Mem
	fails *vfs.Faulty
	l     *storagetest.Ledger
	log   bytes.Buffer
	st    *Store
}

// newAwayRig returns one whose disks, which are closed, hold all keys.
func newAwayRig(t *testing.T) *awayRig {
	r := &awayRig{t: t, mem: vfs.NewMem(), l: &storagetest.Ledger{}}
	r.reopen(nil)
	for i := range awayKeys {
		small(t, r.st, i)
	}
	r.close()
	return r
}

func (r *awayRig) close() {
	r.t.Helper()
	if err := r.st.Close(); err != nil {
		r.t.Fatal(err)
	}
}

// reopen opens the store while the hook is asked about /b.
func (r *awayRig) reopen(h vfs.Hook) {
	r.t.Helper()
	if err := r.tryOpen(h, nil); err != nil {
		r.t.Fatal(err)
	}
}

func (r *awayRig) tryOpen(h vfs.Hook, away map[string]error) (err error) {
	r.fails = vfs.NewFaulty(r.mem)
	if h != nil {
		r.fails.Set(func(op vfs.Op, name string) error {
			if strings.HasPrefix(name, "/b") {
				return h(op, name)
			}
			return nil
		})
	}
	r.log.Reset()
	st, err := Open(Options{Disks: []Disk{{"/a", 4 << 20}, {"/b", 4 << 20}}, Away: away, Clock: testClock, FS: r.fails, Ledger: r.l,
		SegmentSize: 64 << 10, SyncInterval: 2 * time.Second, Logger: slog.New(slog.NewTextHandler(&r.log, nil))})
	if err == nil {
		r.st = st
		r.t.Cleanup(func() { _ = st.Close() }) // where the test fails before it does
	}
	return err
}

// on reports whether a key is spread to the disk at dir.
func (r *awayRig) on(dir string, i int) bool {
	key := storagetest.Key(i)
	return r.st.volume(&key).dir == dir
}

// some returns n keys that lie on /b.
func (r *awayRig) some(n int) (list []int) {
	for i := 0; len(list) < n; i++ {
		if r.on("/b", i) {
			list = append(list, i)
		}
	}
	return list
}

// flags returns those of what is found of a key.
func (r *awayRig) flags(i int) (flags message.TermFlags, ok bool) {
	for _, e := range r.st.Lookup(nil, storagetest.Key(i)) {
		flags, ok = e.Stored().Terms.Flags, true
		e.Release()
	}
	return flags, ok
}

// check looks at all keys: what /a has is as it was. It returns how many of /b's are
// found, and how many of those are to be validated.
func (r *awayRig) check() (found, doubted int) {
	r.t.Helper()
	for i := range awayKeys {
		switch f, ok := r.flags(i); {
		case r.on("/a", i):
			if !ok || f.Has(message.TermInvalidated) {
				r.t.Errorf("key %d of the disk that is well: found %v, flags %b", i, ok, f)
			}
		case ok:
			found++
			if f.Has(message.TermInvalidated) {
				doubted++
			}
		}
	}
	return found, doubted
}

// use does to the store what is done to one, while /b is absent or not.
func (r *awayRig) use() {
	seen := 0
	r.st.Each(func(storage.Entry) bool { seen++; return true })
	if s := r.st.Stats(); int64(seen) != s.Entries && (r.st.volumes[1].absent != nil || r.st.States()[1].Readable) {
		r.t.Errorf("%d visited of %d", seen, s.Entries)
	}
	all, listed := []storage.Selector{{Kind: storage.Everything}}, 0
	r.st.Find(all, func(storage.Entry) bool { listed++; return true })
	if listed != seen {
		r.t.Errorf("%d listed of %d", listed, seen)
	}
	r.st.Take([]storage.Taking{{Select: all}})
	for part := range numShards {
		r.st.Judged(0, 0, part)
	}
	if _, left := r.st.Reap(1000); left != 0 {
		r.t.Errorf("%d are left to reap", left)
	}
}

// TestAbsentDisk: whatever operation fails first while a disk is opened, for good or
// once, the other disk serves; and when it is back, what it had is found again, but
// nothing that was purged or invalidated meanwhile may be used as it is.
func TestAbsentDisk(t *testing.T) {
	for name, forGood := range map[string]func() bool{"once": nil, "for good": func() bool { return true }} {
		t.Run(name, func(t *testing.T) {
			absent := 0
			for at, more := int64(0), true; more; at++ {
				synctest.Test(t, func(t *testing.T) {
					hook, count := vfs.FailAt(at, syscall.EIO, forGood)
					r := newAwayRig(t)
					r.reopen(hook)
					if more = count() > at; !more {
						r.close()
						return
					}
					if r.st.volumes[1].absent != nil {
						absent++
					}
					r.absentThenBack(at)
				})
				if t.Failed() {
					t.Fatalf("operation %d of opening the disk failed", at)
				}
			}
			if absent < 4 {
				t.Errorf("the disk was absent %d times", absent)
			}
		})
	}
}

// absentThenBack uses the store, and opens it again with the disk.
func (r *awayRig) absentThenBack(at int64) {
	t, absent := r.t, r.st.volumes[1].absent != nil
	keys := r.some(5)
	if found, _ := r.check(); absent {
		s := r.st.States()[1]
		if found != 0 || s.Readable || s.Writable || !strings.Contains(s.Reason, syscall.EIO.Error()) || s.TakenOut != 1 || s.Path != "/b" {
			t.Errorf("%d are found on an absent disk: %+v", found, s)
		}
		if n := strings.Count(r.log.String(), "level=ERROR"); n != 1 || !strings.Contains(r.log.String(), "disk=/b") {
			t.Errorf("%d errors are logged: %s", n, r.log.String())
		}
		if _, err := r.st.Begin(&storage.Proposal{Key: storagetest.Key(keys[0]), Stored: &message.Stored{Status: 200}}); !errors.Is(err, storage.ErrFull) {
			t.Errorf("storing on an absent disk: %v", err)
		}
		if n := len(r.st.Journaled()); n != 1 {
			t.Errorf("the journal is told of %d disks", n)
		}
	}
	r.l.Purge(storagetest.Key(keys[0]), false)
	r.l.Purge(storagetest.Key(keys[1]), true)
	r.st.Invalidate(storagetest.Key(keys[2]))
	r.use()
	time.Sleep(time.Minute)
	if absent && r.st.States()[1].Readable {
		t.Error("an absent disk is back without a start")
	}
	r.close()
	r.reopen(nil)
	found, doubted := r.check()
	if _, ok := r.flags(keys[0]); ok {
		t.Errorf("%d: what was purged is found", at)
	}
	for _, i := range keys[1:3] {
		if f, ok := r.flags(i); ok && f&(message.TermInvalidated|message.TermSoftPurged) == 0 {
			t.Errorf("%d: what was soft-purged or invalidated may be used", at)
		}
	}
	if want := awayKeys - r.countOn("/a") - 1; absent && (found != want || doubted != want) {
		t.Errorf("%d: of %d, %d are found and %d are to be validated", at, want, found, doubted)
	}
	r.use()
	small(t, r.st, keys[3]) // it takes what is stored again, and that may be used
	r.close()
	r.reopen(nil)
	if f, ok := r.flags(keys[3]); !ok || f.Has(message.TermInvalidated) {
		t.Errorf("%d: stored since: found %v, flags %b", at, ok, f)
	}
	r.close()
}

func (r *awayRig) countOn(dir string) (n int) {
	for i := range awayKeys {
		if r.on(dir, i) {
			n++
		}
	}
	return n
}

// TestAbsentInTurns: of two disks that are absent in turns, each has missed what was done
// without it.
func TestAbsentInTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newAwayRig(t)
		for _, dir := range []string{"/b", "/a", "/b", "/b"} {
			if err := r.tryOpen(nil, map[string]error{dir: syscall.EIO}); err != nil {
				t.Fatal(err)
			}
			r.close()
		}
		r.reopen(nil)
		for i := range awayKeys {
			if f, ok := r.flags(i); !ok || !f.Has(message.TermInvalidated) {
				t.Errorf("key %d: found %v, flags %b", i, ok, f)
			}
		}
		for i := range awayKeys {
			small(t, r.st, i)
		}
		r.close()
		r.reopen(nil)
		if found, doubted := r.check(); found == 0 || doubted != 0 {
			t.Errorf("once both were told, %d are found, %d of them to be validated", found, doubted)
		}
		r.close()
	})
}

// TestRefusedAtStart: where no disk can be opened, or one that another process has or
// another version wrote is among them, the store is not opened, and no lock is kept.
func TestRefusedAtStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newAwayRig(t)
		one, two := errors.New("one"), errors.New("two")
		if err := r.tryOpen(nil, map[string]error{"/a": one, "/b": two}); err != one {
			t.Errorf("no disk can be opened: %v", err)
		}
		lock, err := r.mem.Lock("/b/LOCK")
		if err != nil {
			t.Fatal(err)
		}
		if err := r.tryOpen(nil, map[string]error{"/a": one}); !errors.Is(err, vfs.ErrLocked) || !strings.Contains(err.Error(), "/b") {
			t.Errorf("another process has a disk: %v", err)
		}
		if err := lock.Close(); err != nil {
			t.Fatal(err)
		}
		if err := r.mem.Flip("/b/FORMAT", int64(len(formatPrefix)), 1); err != nil {
			t.Fatal(err)
		}
		if err := r.tryOpen(nil, map[string]error{"/a": one}); !errors.Is(err, errVersion) {
			t.Errorf("another version's disk: %v", err)
		}
		if err := r.mem.Flip("/b/FORMAT", int64(len(formatPrefix)), 1); err != nil {
			t.Fatal(err)
		}
		r.reopen(nil)
		r.close()
	})
}

// TestFormatTorn: a new disk that fails while its format is written is a new disk still.
func TestFormatTorn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &awayRig{t: t, mem: vfs.NewMem(), l: &storagetest.Ledger{}}
		r.reopen(func(op vfs.Op, name string) error {
			if op == vfs.OpWrite && name == "/b/FORMAT" {
				return syscall.EIO
			}
			return nil
		})
		r.close()
		r.reopen(nil)
		if s := r.st.States()[1]; !s.Readable {
			t.Errorf("%+v", s)
		}
		small(t, r.st, r.some(1)[0])
		r.close()
		if _, err := r.mem.Open("/b/00000001.seg"); errors.Is(err, fs.ErrNotExist) {
			t.Error("nothing is stored on it")
		}
	})
}
