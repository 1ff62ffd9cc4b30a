package disk

import (
	"bytes"
	"log/slog"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"edge/cache/storage/storagetest"
	"edge/cache/storage/vfs"
	"edge/message"
)

// settlingRig is a store of two disks, whose sizes change between runs.
type settlingRig struct {
	t   *testing.T
	fs  vfs.FS
	st  *Store
	log bytes.Buffer // read it when the store is closed
}

func (r *settlingRig) open(a, b int64) {
	r.t.Helper()
	r.log.Reset()
	st, err := Open(Options{Disks: []Disk{{"/a", a}, {"/b", b}}, Clock: testClock, FS: r.fs, SegmentSize: 64 << 10, ChunkSize: 8 << 10,
		SyncInterval: 2 * time.Second, Logger: slog.New(slog.NewTextHandler(&r.log, nil))})
	if err != nil {
		r.t.Fatal(err)
	}
	r.st = st
	r.t.Cleanup(func() { _ = st.Close() }) // where the test fails before it does
}

// close closes it, and returns whether it said that disks have changed.
func (r *settlingRig) close() (changed bool) {
	r.t.Helper()
	if err := r.st.Close(); err != nil {
		r.t.Fatal(err)
	}
	return strings.Contains(r.log.String(), "disks have changed")
}

// fill stores so much that both disks are full.
func (r *settlingRig) fill() {
	r.t.Helper()
	for i := range 600 {
		if err := keep(r.st, i, uint64(i), 15<<10); err != nil {
			r.t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// valid returns how many of the keys are found, and how many of those are valid.
func (r *settlingRig) valid(keys int) (found, valid int) {
	for i := range keys {
		for _, e := range r.st.Lookup(nil, storagetest.Key(i)) {
			if found++; !e.Stored().Terms.Flags.Has(message.TermInvalidated) {
				valid++
			}
			e.Release()
		}
	}
	return found, valid
}

// TestSettlesOnceThereIsRoom: where full disks are made smaller, and keys lie elsewhere, what
// is left on them is in doubt from then on: also after power loss, once there was room to say
// so. The starts that follow have nothing to do any more.
func TestSettlesOnceThereIsRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := vfs.NewMem()
		r := &settlingRig{t: t, fs: mem}
		r.open(2<<20, 6<<20)
		r.fill()
		r.close()
		slow := vfs.NewFaulty(mem)
		slow.Set(func(op vfs.Op, _ string) error {
			if op == vfs.OpRemove {
				time.Sleep(50 * time.Millisecond)
			}
			return nil
		})
		r.fs = slow
		r.open(2<<20, 1<<20)
		time.Sleep(time.Minute) // nobody asks for anything
		left := mem.Crashed(nil)
		found, valid := r.valid(600)
		if found == 0 || valid > 0 {
			t.Fatalf("%d found, of which %d are valid", found, valid)
		}
		if !r.close() || !strings.Contains(r.log.String(), "does not survive a restart yet") {
			t.Fatalf("there was room at once: nothing was tried:\n%s", r.log.String())
		}
		for _, fs := range []*vfs.Mem{mem, left} {
			r.fs = fs
			r.open(2<<20, 1<<20)
			if found, valid := r.valid(600); found == 0 || valid > 0 {
				t.Errorf("after a restart %d found, of which %d are valid", found, valid)
			}
			if err := keep(r.st, 1000, 1, 100); err != nil {
				t.Fatal(err)
			}
			if r.close() {
				t.Errorf("it was done once more:\n%s", r.log.String())
			}
			r.open(2<<20, 1<<20)
			if e := r.st.Lookup(nil, storagetest.Key(1000)); len(e) != 1 || e[0].Stored().Terms.Flags.Has(message.TermInvalidated) {
				t.Errorf("%d found of what was stored since, or not valid", len(e))
			} else {
				e[0].Release()
			}
			r.close()
		}
	})
}

// TestSettlingEnds: a process that ends while disks have not yet said that what is on them
// is in doubt ends at once, and the next one begins anew.
func TestSettlingEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := vfs.NewMem()
		r := &settlingRig{t: t, fs: mem}
		r.open(2<<20, 6<<20)
		r.fill()
		r.close()
		faulty := vfs.NewFaulty(mem)
		faulty.Set(func(op vfs.Op, name string) error {
			if op == vfs.OpWrite && strings.HasSuffix(name, ".seg") {
				return syscall.EROFS
			}
			return nil
		})
		r.fs = faulty
		r.open(6<<20, 2<<20)
		time.Sleep(time.Minute)
		began := time.Now()
		if !r.close() {
			t.Fatal("nothing has changed")
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("closing took %v", took)
		}
		r.fs = mem
		r.open(6<<20, 2<<20)
		if found, valid := r.valid(600); found == 0 || valid > 0 {
			t.Errorf("%d found, of which %d are valid", found, valid)
		}
		if !r.close() {
			t.Error("it was not done once more")
		}
		r.open(6<<20, 2<<20)
		if r.close() {
			t.Error("it was done a third time")
		}
	})
}

// TestDamageOnADiskThatShrank: where there is no room at start to note that what is on the
// disk is in doubt, it is noted before anything else, and nothing is dropped for it.
func TestDamageOnADiskThatShrank(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := vfs.NewMem()
		st := openSmall(t, mem, 4<<20)
		for i := range 120 {
			if err := keep(st, i, uint64(i), 15<<10); err != nil {
				t.Fatal(err)
			}
			time.Sleep(100 * time.Millisecond)
		}
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
		newest := "/disk/" + segmentsOf(t, mem)[len(segmentsOf(t, mem))-1]
		faulty := vfs.NewFaulty(mem)
		faulty.Set(func(op vfs.Op, name string) error {
			if op == vfs.OpOpen && name == newest {
				return syscall.EMFILE
			}
			return nil
		})
		size := int64(1 << 20)
		o := Options{Disks: []Disk{{"/disk", size}}, ChunkSize: 8 << 10, SegmentSize: 64 << 10, FS: faulty, Clock: testClock}
		st, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		st.volumes[0].mu.Lock()
		dropped := st.volumes[0].owedAll
		st.volumes[0].mu.Unlock()
		if dropped {
			t.Error("all of the disk is dropped")
		}
		time.Sleep(10 * time.Second)
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
		o.FS = mem
		if st, err = Open(o); err != nil {
			t.Fatal(err)
		}
		found, valid := (&settlingRig{t: t, st: st}).valid(120)
		if found == 0 || valid > 0 {
			t.Errorf("%d found, of which %d are valid", found, valid)
		}
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
	})
}
