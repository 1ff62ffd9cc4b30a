package purge

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edge/cache/storage/disk"
	"edge/cache/storage/vfs"
)

func (v vfsFiles) Open(name string) (journalFile, error) { return v.fs.Open(name) }

func (f *forgetful) Open(path string) (journalFile, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := f.names[path]
	switch {
	case i == nil:
		return nil, errNotExist
	case f.fails():
		return nil, errInjected
	}
	return &openInode{f, i}, nil
}

// noRoom fails what needs room for a journal beside the one there is, as a file system
// does that says so only at the sync.
func noRoom(op vfs.Op, name string) error {
	if strings.HasSuffix(name, ".new") && op == vfs.OpSync {
		return errInjected
	}
	return nil
}

// tryStart starts a process on files of which some operations fail, and may have it know
// of more disks than there are.
func tryStart(t *testing.T, mem *vfs.Mem, hook vfs.Hook, more ...Position) (*restartRig, error) {
	t.Helper()
	r := &restartRig{t: t, fs: vfs.NewFaulty(mem)}
	if err := mem.MkdirAll("/j"); err != nil {
		t.Fatal(err)
	}
	o := Options{Path: restartJournal, Positions: more, Clock: clock, files: vfsFiles{r.fs}}
	for _, d := range restartDisks {
		epoch, seq, err := disk.ReadPosition(r.fs, d.Path)
		if err != nil {
			t.Fatal(err)
		}
		o.Positions = append(o.Positions, Position{epoch, seq})
	}
	r.fs.Set(hook)
	l, err := Open(o)
	if err != nil {
		return nil, err
	}
	if err := l.Close(); err != nil { // and then again, with the disks
		t.Fatal(err)
	}
	r.start(o)
	return r, nil
}

// TestStartWithoutRoom: a process starts where there is no room to write the journal
// anew, start after start, with all that was purged and all that was not; and what it
// purges is durable, with numbers that none before it gave.
func TestStartWithoutRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem, things := vfs.NewMem(), restartThings()
		r, err := tryStart(t, mem, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range things {
			if err := put(t, r.st, x, r.l.Sequence()); err != nil {
				t.Fatal(err)
			}
		}
		last := uint64(0)
		for i, tag := range []string{"t1", "t2", "none"} {
			if i > 0 {
				if r, err = tryStart(t, mem, noRoom); err != nil {
					t.Fatal(err)
				}
			}
			if n := r.l.Sequence(); n <= last {
				t.Errorf("numbers go on from %d, and %d was given", n, last)
			}
			receipt := mustPurge(t, r.l, Hard, must(ByTag(tag)))
			last = receipt.Sequence
			if left, err := (vfsFiles{mem}).ReadFile(restartJournal+".new", 1<<20); len(left) > 0 || i > 0 && err != nil {
				t.Errorf("of what there was no room for %d bytes are left: %v", len(left), err)
			}
			if g := r.l.Guard(); g != (Guard{Disks: 2}) {
				t.Errorf("%+v", g)
			}
			time.Sleep(5 * time.Second) // what was stored is synced
			left := mem.Killed()
			r.close()
			mem = left
		}
		if r, err = tryStart(t, mem, noRoom); err != nil {
			t.Fatal(err)
		}
		for i, x := range things {
			want := "fresh"
			if i%4 == 1 || i%4 == 2 {
				want = "none"
			}
			if found := find(r.st, x); found != want {
				t.Errorf("%d is %s, not %s", i, found, want)
			}
		}
		r.close()
	})
}

// TestNoRoomForAnotherJournal: a journal that is not believed does not go on in its file.
func TestNoRoomForAnotherJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := vfs.NewMem()
		r, err := tryStart(t, mem, nil)
		if err != nil {
			t.Fatal(err)
		}
		mustPurge(t, r.l, Hard, All())
		mem = mem.Killed()
		r.close()
		if _, err := tryStart(t, mem, noRoom, Position{Sequence: Missed}); !errors.Is(err, errInjected) {
			t.Errorf("it goes on: %v", err)
		}
	})
}

// TestNumbersOutrunWithoutRoom: the numbers that a start passes over, since a disk has seen
// them, are never given again, even if there is no room to write the journal anew: else
// what was stored under them would count as stored after a later purge.
func TestNumbersOutrunWithoutRoom(t *testing.T) {
	files := vfs.NewFaulty(vfs.NewMem())
	if err := files.MkdirAll("/j"); err != nil {
		t.Fatal(err)
	}
	start := func() *Ledger { return open(t, Options{Path: restartJournal, files: vfsFiles{files}}) }
	_ = start().Close()
	files.Set(noRoom)
	l := start()
	if err := l.Attach(&fakeDisk{epoch: "another", seq: 100 * runSpan}); err != nil {
		t.Fatal(err)
	}
	given := l.Sequence()
	_ = l.Close()
	if n := start().Sequence(); given <= 100*runSpan || n <= given {
		t.Errorf("numbers go on from %d and then from %d: the disk has %d", given, n, 100*runSpan)
	}
}

// TestContinueInPlace: whatever fails when a journal goes on in its file, and however
// much of that arrives, the next process reads all that was purged and no damage. With a
// torn tail it does not go on.
func TestContinueInPlace(t *testing.T) {
	const began = 2 * runSpan
	whole, ends := written()
	for name, data := range map[string][]byte{"whole": whole, "reserved": append(bytes.Clone(whole), reserve[:100]...),
		"torn": whole[:ends[len(ends)-2]+9], "no end mark": append(bytes.Clone(whole[:len(whole)-1]), 0)} {
		went := 0
		for failing := range 5 {
			fs := newForgetful()
			fs.names["j"] = stableInode(data)
			fs.kept["j"], fs.failAt = fs.names["j"], failing
			c := parse(t, data)
			j := &journal{fs: fs, path: "j", clock: clock, cur: newBatch()}
			err := j.continueInPlace(c, began)
			if err == nil {
				went++
				if b, _ := fs.ReadFile("j", 1<<20); j.durable.Load() != began || parse(t, b).good != j.end {
					t.Errorf("%s: %d is durable, records end at %d", name, j.durable.Load(), j.end)
				}
			}
			for torn := range 32 {
				b, _ := fs.crash(torn).ReadFile("j", 1<<20)
				got := parse(t, b)
				if got.damage != nil || len(got.records) != len(c.records) || got.epoch != c.epoch || got.last != began && (err == nil || got.last != c.last) {
					t.Fatalf("%s, failing %d (%v), %d arrived: %+v", name, failing, err, torn, got)
				}
			}
		}
		if want := map[string]int{"whole": 2, "reserved": 2, "no end mark": 2}[name]; went != want {
			t.Errorf("%s: went on %d times of 5, not %d", name, went, want)
		}
	}
}
