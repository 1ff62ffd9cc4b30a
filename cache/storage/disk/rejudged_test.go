package disk

import (
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"edge/cache/storage"
	"edge/cache/storage/storagetest"
	"edge/cache/storage/vfs"
	"edge/message"
)

// What is not on the disk as purges left it must be judged again after a restart.

// openJudged opens a store of one disk with a ledger that outlives it.
func openJudged(t *testing.T, fs vfs.FS, l storage.Ledger) *Store {
	t.Helper()
	st, err := Open(Options{Disks: []Disk{{"/disk", 4 << 20}}, Clock: testClock, FS: fs, Ledger: l, SyncInterval: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	return st
}

// found looks key 1 up, and returns its flags.
func found(st *Store) (flags message.TermFlags, ok bool) {
	for _, e := range st.Lookup(nil, storagetest.Key(1)) {
		flags, ok = e.Stored().Terms.Flags, true
		e.Release()
	}
	return flags, ok
}

// TestSoftPurgeThatCouldNotBeWritten: it counts after a restart, also where purges that
// do not concern the response were judged meanwhile.
func TestSoftPurgeThatCouldNotBeWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem, l := vfs.NewMem(), &storagetest.Ledger{}
		faulty := vfs.NewFaulty(mem)
		st := openJudged(t, faulty, l)
		small(t, st, 1)
		time.Sleep(10 * time.Second) // it is synced
		faulty.Set(func(o vfs.Op, _ string) error {
			if o == vfs.OpWrite {
				return syscall.EIO
			}
			return nil
		})
		small(t, st, 2) // lost
		time.Sleep(2 * time.Second)
		if !st.volumes[0].health.writesOut() {
			t.Fatal("the disk is not out")
		}
		held := lookupOne(t, st) // open meanwhile: who looks it up has this
		l.Purge(storagetest.Key(1), true)
		for range 2 {
			if flags, ok := found(st); !ok || !flags.Has(message.TermSoftPurged) {
				t.Fatalf("found %v, flags %b", ok, flags)
			}
			l.Purge(storagetest.Key(99), false)
		}
		faulty.Set(nil)
		time.Sleep(2 * time.Minute) // the disk is back, and says how far all was judged
		held.Release()
		left := mem.Killed()
		st = openJudged(t, left, l)
		if flags, ok := found(st); !ok || !flags.Has(message.TermSoftPurged) {
			t.Errorf("after a restart: found %v, flags %b", ok, flags)
		}
	})
}

// TestJudgedWhileReclaimed: what left the index with its segment was not looked at when
// the disk said how far all was judged, and may be there when the process is killed.
func TestJudgedWhileReclaimed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem, l := vfs.NewMem(), &storagetest.Ledger{}
		st := openJudged(t, mem, l)
		v := st.volumes[0]
		small(t, st, 1)
		v.mu.Lock()
		s := v.active
		v.seal()
		v.mu.Unlock()
		small(t, st, 2)
		time.Sleep(10 * time.Second)
		// As reclaim does, until the name would go.
		s.gone.Store(true)
		budget := int64(0)
		for _, r := range v.byHeat(s) {
			v.move(s, &r, &budget)
		}
		l.Purge(storagetest.Key(1), false)
		l.Purge(storagetest.Key(99), false)
		for range 3 {
			st.Each(func(storage.Entry) bool { return true })
			time.Sleep(10 * time.Second)
		}
		if v.judgedUpTo != l.Sequence() {
			t.Fatalf("judged up to %d of %d: the test says nothing", v.judgedUpTo, l.Sequence())
		}
		if _, ok := found(openJudged(t, mem.Killed(), l)); ok {
			t.Error("what was purged is back")
		}
	})
}

// TestTombstoneDamaged: where what took a response away is damaged, it is in doubt, and
// purges that the disk had judged are judged again.
func TestTombstoneDamaged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem, l := vfs.NewMem(), &storagetest.Ledger{}
		st := openJudged(t, mem, l)
		small(t, st, 1)
		l.Purge(storagetest.Key(1), false)
		if _, ok := found(st); ok {
			t.Fatal("not purged")
		}
		for range 3 {
			small(t, st, 2)
			time.Sleep(10 * time.Second)
		}
		if v := st.volumes[0]; v.judgedUpTo != l.Sequence() {
			t.Fatalf("judged up to %d of %d: the test says nothing", v.judgedUpTo, l.Sequence())
		}
		left := mem.Killed()
		if n := damageTombstones(t, left, "/disk/00000001.seg"); n != 1 {
			t.Fatalf("%d tombstones", n)
		}
		if flags, ok := found(openJudged(t, left, l)); ok {
			t.Errorf("what was purged is back, with flags %b", flags)
		}
	})
}

// damageTombstones flips a bit of each tombstone in a segment, and returns how many
// there are.
func damageTombstones(t *testing.T, mem *vfs.Mem, name string) (n int) {
	t.Helper()
	f, err := mem.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	size, err := f.Size()
	if err != nil {
		t.Fatal(err)
	}
	w := &sliding{f: f, size: size}
	for off := int64(0); off+headerSize <= size; {
		r, _, err := w.record(1, off)
		if err != nil {
			t.Fatal(err)
		}
		if r.kind == kindTombstone {
			n++
			if err := mem.Flip(name, off+20, 1); err != nil {
				t.Fatal(err)
			}
		}
		off += r.size()
	}
	return n
}

// TestFileOfAReclaimedSegment: the flusher may make a segment's file when it was
// reclaimed; it must not be there at the next start, with all that was replaced since.
func TestFileOfAReclaimedSegment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := vfs.NewMem()
		st := openJudged(t, mem, storage.NoPurges{})
		v := st.volumes[0]
		small(t, st, 1)
		v.mu.Lock()
		s := v.active
		v.seal()
		s.pin()
		v.mu.Unlock()
		small(t, st, 2)
		v.reclaim(s)
		if s.file.Load() != nil {
			t.Fatal("it is written already: the test says nothing")
		}
		if _, err := v.file(s); err != nil { // as the flusher does that came by it before
			t.Fatal(err)
		}
		names, err := mem.List("/disk")
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if name == "00000001.seg" {
				t.Error("a reclaimed segment is on the disk")
			}
		}
		s.unpin()
	})
}
