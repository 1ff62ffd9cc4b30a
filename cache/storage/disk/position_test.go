package disk

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"edge/cache/storage/storagetest"
	"edge/cache/storage/vfs"
	"edge/message"
)

var errPosition = errors.New("injected fault")

// openJournaled opens a store of one disk, and returns that as the journal sees it.
func openJournaled(t *testing.T, fs vfs.FS) (*Store, *Journaled) {
	t.Helper()
	st, err := Open(Options{Disks: []Disk{{"/disk", MinSize}}, Clock: testClock, FS: fs, SyncInterval: 2 * time.Second, ScrubRate: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	return st, st.Journaled()[0]
}

// wantPosition wants a position on the disk, by both ways to read it.
func wantPosition(t *testing.T, when string, fs vfs.FS, epoch string, seq uint64) {
	t.Helper()
	if e, s, err := ReadPosition(fs, "/disk"); e != epoch || s != seq || err != nil {
		t.Errorf("%s: %q %d %v; want %q %d", when, e, s, err, epoch, seq)
	}
}

// TestPosition: it survives what it says that it survives, and where there is none an
// empty disk differs from one that is not.
func TestPosition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := vfs.NewMem()
		wantPosition(t, "no directory", mem, "", 0)
		st, j := openJournaled(t, mem)
		wantPosition(t, "a new disk", mem, "", 0)
		if e, s, err := j.Seen(); e != "" || s != 0 || err != nil {
			t.Errorf("a new disk has seen %q %d %v", e, s, err)
		}
		if j.Sync() == nil {
			t.Error("there was nothing to sync")
		}
		for seq := range uint64(5) {
			if err := j.Saw("epoch", seq); err != nil {
				t.Fatal(err)
			}
			wantPosition(t, "killed", mem.Killed(), "epoch", seq)
			if err := j.Sync(); err != nil {
				t.Fatal(err)
			}
			wantPosition(t, "power lost", mem.Crashed(nil), "epoch", seq)
		}
		if err := j.Saw("epoch", 100); err != nil {
			t.Fatal(err)
		}
		for i := range uint64(20) {
			e, s, err := ReadPosition(mem.Crashed(rand.New(rand.NewPCG(i, 0))), "/disk")
			if e != "epoch" || s != 4 && s != 100 || err != nil {
				t.Errorf("power lost before the sync: %q %d %v", e, s, err)
			}
		}
		put(t, st, 1, make([]byte, 100))
		time.Sleep(5 * time.Second)
		for range 2 {
			if err := j.Forget(); err != nil {
				t.Fatal(err)
			}
			wantPosition(t, "forgotten", mem.Crashed(nil), "", Missed)
		}
		if err := errors.Join(j.Saw("next", Missed), j.Sync()); err != nil {
			t.Fatal(err)
		}
		wantPosition(t, "told again", mem.Crashed(nil), "next", Missed)
		if j.Saw(string(make([]byte, maxEpoch+1)), 1) == nil {
			t.Error("an epoch too long")
		}
	})
}

// TestPositionFaults: whatever operation fails, what is read is what was put there
// before or after, or that nothing is known; and the next attempt succeeds.
func TestPositionFaults(t *testing.T) {
	for at := int64(0); ; at++ {
		mem := vfs.NewMem()
		fs := vfs.NewFaulty(mem)
		if err := mem.MkdirAll("/disk"); err != nil {
			t.Fatal(err)
		}
		p := &position{fs: fs, dir: "/disk"}
		hook, ops := vfs.FailAt(at, errPosition, nil)
		fs.Set(hook)
		last := uint64(0)
		for seq := uint64(1); seq <= 3; seq++ {
			if err := errors.Join(p.write("e", seq), p.sync()); err == nil {
				last = seq
			} else if !errors.Is(err, errPosition) {
				t.Fatal(err)
			}
		}
		for i := range uint64(5) {
			if _, s, err := ReadPosition(mem.Crashed(rand.New(rand.NewPCG(i, 1))), "/disk"); s < last || s > 3 || err != nil {
				t.Errorf("operation %d failed: read %d %v, when %d was synced", at, s, err, last)
			}
		}
		if err := p.forget(); err == nil {
			wantPosition(t, fmt.Sprintf("operation %d failed, forgotten", at), mem.Crashed(nil), "", 0)
		} else if !errors.Is(err, errPosition) {
			t.Fatal(err)
		}
		n := ops()
		fs.Set(nil)
		if err := errors.Join(p.write("e", 9), p.sync(), p.close()); err != nil {
			t.Fatal(err)
		}
		wantPosition(t, fmt.Sprintf("operation %d failed, then none", at), mem.Crashed(nil), "e", 9)
		if n <= at {
			return
		}
	}
}

// TestPositionDamaged: of a slot that does not read the other counts, and of two that
// do not, none.
func TestPositionDamaged(t *testing.T) {
	mem := vfs.NewMem()
	if err := mem.MkdirAll("/disk"); err != nil {
		t.Fatal(err)
	}
	p := &position{fs: mem, dir: "/disk"}
	for seq := uint64(1); seq <= 2; seq++ {
		if err := p.write("e", seq); err != nil {
			t.Fatal(err)
		}
	}
	if err := mem.Flip("/disk/PURGES", 100, 1); err != nil { // the second write's
		t.Fatal(err)
	}
	wantPosition(t, "one damaged", mem, "e", 1)
	if err := mem.Flip("/disk/PURGES", 2*positionSlot-1, 1); err != nil {
		t.Fatal(err)
	}
	wantPosition(t, "both damaged", mem, "", 0)
	f, err := mem.Create("/disk/00000001.seg")
	if err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	wantPosition(t, "both damaged, of a disk in use", mem, "", Missed)
}

// TestSoftPurgeLasts: what is on the disk when it is soft-purged is invalid at once, and
// after a power loss the moment after; what comes later is not.
func TestSoftPurgeLasts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := vfs.NewMem()
		fs := vfs.NewFaulty(mem)
		st, j := openJournaled(t, fs)
		put(t, st, 1, make([]byte, 100))
		put(t, st, 2, make([]byte, 20<<10))
		time.Sleep(5 * time.Second)
		want := func(when string, st *Store, invalid map[int]bool) {
			t.Helper()
			for key, inv := range invalid {
				list := st.Lookup(nil, storagetest.Key(key))
				if len(list) != 1 || list[0].Stored().Terms.Flags.Has(message.TermInvalidated) != inv {
					t.Errorf("%s: %d: %d found; want one, invalid: %v", when, key, len(list), inv)
				}
				for _, e := range list {
					e.Release()
				}
			}
		}
		want("before", st, map[int]bool{1: false, 2: false})
		fs.Set(func(op vfs.Op, _ string) error {
			if op == vfs.OpWrite || op == vfs.OpSync {
				return errPosition
			}
			return nil
		})
		if j.SoftPurge() == nil {
			t.Error("it lasts though nothing can be written")
		}
		want("at once", st, map[int]bool{1: true, 2: true})
		fs.Set(nil)
		time.Sleep(10 * time.Second) // the disk is back
		if err := j.SoftPurge(); err != nil {
			t.Fatal(err)
		}
		crashed := mem.Crashed(nil)
		put(t, st, 3, make([]byte, 100))
		want("at last", st, map[int]bool{1: true, 2: true, 3: false})
		time.Sleep(5 * time.Second)
		later := mem.Crashed(nil)
		next, _ := openJournaled(t, crashed)
		want("after a power loss", next, map[int]bool{1: true, 2: true})
		next, _ = openJournaled(t, later)
		want("after a later one", next, map[int]bool{1: true, 2: true, 3: false})
	})
}

// TestOutOfUse: nothing is found or stored on a disk that is out of use, a reader reads
// on, and nothing is lost by it.
func TestOutOfUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st, j := openJournaled(t, vfs.NewMem())
		put(t, st, 1, make([]byte, 20<<10))
		e := st.Lookup(nil, storagetest.Key(1))[0]
		j.Use(errPosition)
		if found := st.Lookup(nil, storagetest.Key(1)); len(found) > 0 || !st.Out(storagetest.Key(1)) {
			t.Errorf("%d found", len(found))
		}
		time.Sleep(time.Minute) // and no probe puts it back
		if s := st.States()[0]; s.Readable || s.Writable || s.Reason != errPosition.Error() || s.TakenOut != 1 {
			t.Errorf("%+v", s)
		}
		r := e.Reader(0, 20<<10)
		n := 0
		for n < 20<<10 {
			b, err := r.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			n += len(b)
		}
		r.Close()
		e.Release()
		j.Use(nil)
		found := st.Lookup(nil, storagetest.Key(1))
		if s := st.States()[0]; len(found) != 1 || !s.Readable || !s.Writable || s.Reason != "" {
			t.Errorf("back: %d found, %+v", len(found), s)
		}
		for _, e := range found {
			e.Release()
		}
	})
}
