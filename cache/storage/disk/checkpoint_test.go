package disk

import (
	"context"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"edge/cache/storage"
	"edge/cache/storage/storagetest"
	"edge/cache/storage/vfs"
	"edge/message"
)

// small stores key i with a body that is a function of i.
func small(t *testing.T, st storage.Store, i int) {
	t.Helper()
	body := versionBody(uint64(i))[:8]
	w, err := st.Begin(&storage.Proposal{Key: storagetest.Key(i), Scheme: "http", Authority: []byte("a"), Target: []byte("/"),
		Stored: &message.Stored{Status: 200}, Total: int64(len(body))})
	if err == nil {
		if err = w.Write(context.Background(), body); err == nil {
			err = w.Commit(nil)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestCheckpoint: a restart by the checkpoints finds what a restart by the segments
// does; a damaged or lost one is made anew.
func TestCheckpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := vfs.NewMem()
		open := func() *Store {
			t.Helper()
			st, err := Open(Options{Disks: []Disk{{"/disk", 4 << 20}}, Clock: testClock, FS: fs})
			if err != nil {
				t.Fatal(err)
			}
			return st
		}
		const n = 300
		st := open()
		for i := range n {
			small(t, st, i)
		}
		for i := 0; i < n; i += 3 {
			for _, e := range st.Lookup(nil, storagetest.Key(i)) {
				st.Remove(e)
				e.Release()
			}
		}
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
		check := func(how string) {
			t.Helper()
			if f, err := fs.Open("/disk/00000001.idx"); (err != nil) != (how == "lost") {
				t.Fatalf("%s: %v, %v", how, f, err)
			}
			st := open()
			defer func() { _ = st.Close() }()
			for i := range n {
				list := st.Lookup(nil, storagetest.Key(i))
				if want := min(1, i%3); len(list) != want {
					t.Fatalf("%s: key %d: %d entries, want %d", how, i, len(list), want)
				}
				for _, e := range list {
					if string(e.Bytes()) != string(versionBody(uint64(i))[:8]) {
						t.Fatalf("%s: key %d: wrong bytes", how, i)
					}
					e.Release()
				}
			}
		}
		check("written at the close")
		f, _ := fs.Open("/disk/00000001.idx")
		size, _ := f.Size()
		rnd := rand.New(rand.NewPCG(1, 1))
		for range 50 {
			if err := fs.Flip("/disk/00000001.idx", rnd.Int64N(size), 1<<rnd.IntN(8)); err != nil {
				t.Fatal(err)
			}
			check("damaged")
		}
		if err := fs.Remove("/disk/00000001.idx"); err != nil {
			t.Fatal(err)
		}
		check("lost")
	})
}

// TestFlips: whatever bit of a segment flips, nothing wrong is ever found: neither
// when the segment is read at start, nor when the checkpoint stands in for it.
func TestFlips(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := vfs.NewMem()
		w := &world{t: t, rnd: rand.New(rand.NewPCG(5, 5)), ever: map[int]map[uint64]bool{}, surely: map[int]uint64{}, inval: map[int]bool{}}
		w.open(fs)
		for range 60 {
			w.put(w.rnd.IntN(crashKeys))
			time.Sleep(10 * time.Millisecond)
		}
		if err := w.st.Close(); err != nil {
			t.Fatal(err)
		}
		f, err := fs.Open("/disk/00000001.seg")
		if err != nil {
			t.Fatal(err)
		}
		size, _ := f.Size()
		for round := range 60 {
			bad := fs.Killed()
			for range 1 + w.rnd.IntN(3) {
				if err := bad.Flip("/disk/00000001.seg", w.rnd.Int64N(size), 1<<w.rnd.IntN(8)); err != nil {
					t.Fatal(err)
				}
			}
			if round%2 == 0 {
				_ = bad.Remove("/disk/00000001.idx") // not there in some worlds
			}
			w.open(bad)
			w.check(nil, nil)
			w.check(nil, nil)
			if err := w.st.Close(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// TestDeletedSegment: what lay in a segment that somebody deleted is not found, and
// the rest is.
func TestDeletedSegment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := vfs.NewMem()
		w := &world{t: t, rnd: rand.New(rand.NewPCG(5, 5)), ever: map[int]map[uint64]bool{}, surely: map[int]uint64{}, inval: map[int]bool{}}
		w.open(fs)
		for i := range 20 {
			w.put(i)
		}
		if err := w.st.Close(); err != nil {
			t.Fatal(err)
		}
		if err := fs.Remove("/disk/00000001.seg"); err != nil {
			t.Fatal(err)
		}
		w.open(fs)
		w.check(nil, nil)
		w.put(1)
		if err := w.st.Close(); err != nil {
			t.Fatal(err)
		}
	})
}
