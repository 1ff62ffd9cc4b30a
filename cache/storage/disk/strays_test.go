package disk

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"edge/cache/storage/storagetest"
	"edge/cache/storage/vfs"
	"edge/message"
)

// strays returns the files of a disk that belong to no segment there is.
func strays(t *testing.T, disk vfs.FS) (list []string) {
	t.Helper()
	names, err := disk.List("/disk")
	if err != nil {
		t.Fatal(err)
	}
	there := map[string]bool{}
	for _, n := range names {
		there[n] = true
	}
	for _, n := range names {
		if id, ok := strings.CutSuffix(n, ".idx"); ok && !there[id+".seg"] || n == "idx.tmp" || n == "probe" {
			list = append(list, n)
		}
	}
	return list
}

// TestStrays: whenever the process is killed, or power is lost, the next start leaves no
// file that belongs to nothing, and touches none that it does not know.
func TestStrays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem, rnd := vfs.NewMem(), rand.New(rand.NewPCG(9, 9))
		faulty := vfs.NewFaulty(mem)
		open := func(fs vfs.FS) *Store {
			t.Helper()
			st, err := Open(Options{Disks: []Disk{{"/disk", 1 << 20}}, ChunkSize: 8 << 10, SegmentSize: 64 << 10, FS: fs, Clock: testClock})
			if err != nil {
				t.Fatal(err)
			}
			return st
		}
		st := open(faulty)
		if _, err := mem.Create("/disk/README"); err != nil {
			t.Fatal(err)
		}
		if err := mem.SyncDir("/disk"); err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		var worlds []*vfs.Mem
		snapshot := func(op vfs.Op, _ string) error {
			if op == vfs.OpRemove || op == vfs.OpRename || op == vfs.OpCreate { // of which each may be the last
				mu.Lock()
				defer mu.Unlock()
				worlds = append(worlds, mem.Killed(), mem.Crashed(rnd))
			}
			return nil
		}
		for i := range 320 {
			if i == 260 { // the disk is full
				faulty.Set(snapshot)
			}
			_ = keep(st, i, uint64(i), 4000) // not all find room
			time.Sleep(20 * time.Millisecond)
		}
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
		left := map[string]int{}
		for _, world := range worlds {
			for _, n := range strays(t, world) {
				left[n[len(n)-4:]]++
			}
			st := open(world)
			if list := strays(t, world); len(list) > 0 {
				t.Fatalf("after a start there are still %v", list)
			}
			if _, err := world.Open("/disk/README"); err != nil {
				t.Fatal(err)
			}
			if err := st.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if left[".idx"] == 0 || left[".tmp"] == 0 {
			t.Fatalf("%d worlds, in which %v was left behind: nothing was tried", len(worlds), left)
		}
	})
}

// TestLateCheckpoint: a checkpoint that is written while its segment is reclaimed does
// not outlive it.
func TestLateCheckpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := vfs.NewMem()
		faulty := vfs.NewFaulty(mem)
		st, err := Open(Options{Disks: []Disk{{"/disk", 1 << 20}}, ChunkSize: 8 << 10, SegmentSize: 64 << 10, FS: faulty, Clock: testClock})
		if err != nil {
			t.Fatal(err)
		}
		renaming, reclaimed := make(chan struct{}), make(chan struct{})
		var once sync.Once
		faulty.Set(func(op vfs.Op, _ string) error {
			if op == vfs.OpRename {
				once.Do(func() {
					close(renaming)
					<-reclaimed
				})
			}
			return nil
		})
		for i := range 20 {
			if err := keep(st, i, uint64(i), 4000); err != nil {
				t.Fatal(fmt.Errorf("response %d: %w", i, err))
			}
		}
		<-renaming
		v := st.volumes[0]
		v.mu.Lock()
		s := v.segments[0]
		v.mu.Unlock()
		v.reclaim(s)
		close(reclaimed)
		synctest.Wait()
		if list := strays(t, mem); len(list) > 0 {
			t.Errorf("there are still %v", list)
		}
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestLostNewestSegment: where the newest segment is lost, what it may have taken the place
// of is not valid any more, at this start and at those that follow; and its number is not
// used again.
func TestLostNewestSegment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := vfs.NewMem()
		open := func() *Store {
			t.Helper()
			st, err := Open(Options{Disks: []Disk{{"/disk", 1 << 20}}, ChunkSize: 8 << 10, SegmentSize: 64 << 10, FS: mem, Clock: testClock})
			if err != nil {
				t.Fatal(err)
			}
			return st
		}
		put := func(st *Store, key int) {
			t.Helper()
			if err := keep(st, key, uint64(key), 4000); err != nil {
				t.Fatal(err)
			}
			if err := st.Close(); err != nil {
				t.Fatal(err)
			}
		}
		put(open(), 1)
		put(open(), 1)                         // once more, in segment 2
		if err := open().Close(); err != nil { // of which this makes the checkpoint
			t.Fatal(err)
		}
		if err := mem.Remove("/disk/00000002.seg"); err != nil {
			t.Fatal(err)
		}
		for round := range 4 {
			st := open()
			t.Cleanup(func() { _ = st.Close() })
			list := st.Lookup(nil, storagetest.Key(1))
			if len(list) != 1 || !list[0].Stored().Terms.Flags.Has(message.TermInvalidated) {
				t.Fatalf("start %d: %d found, or one that is valid", round, len(list))
			}
			list[0].Release()
			if round == 0 {
				if err := st.Close(); err != nil { // nothing is written
					t.Fatal(err)
				}
				continue
			}
			put(st, 1+round)
		}
		if _, err := mem.Open("/disk/00000002.seg"); err == nil {
			t.Error("its number was used again")
		}
		if list := strays(t, mem); len(list) > 0 {
			t.Errorf("there are still %v", list)
		}
		st := open()
		defer st.Close()
		for _, e := range st.Lookup(nil, storagetest.Key(2)) {
			if e.Stored().Terms.Flags.Has(message.TermInvalidated) {
				t.Error("what was stored after is not valid")
			}
			e.Release()
		}
	})
}

// TestStrayNumbers: files named like segments and checkpoints, with numbers that no disk
// comes to, are left alone: they put nothing in doubt, and what is stored later is found
// again.
func TestStrayNumbers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := vfs.NewMem()
		for key := range 4 {
			st := start(t, fs)
			if err := keep(st.Store, key, 1, 4000); err != nil {
				t.Fatal(err)
			}
			for before := range key {
				st.valid(before, true)
			}
			st.stop(0)
			if key > 0 {
				continue
			}
			for _, name := range []string{"00500000.seg", "7fffffff.seg", "80000000.seg", "ffffffff.seg", "7ffffffe.idx", "80000000.idx", "ffffffff.idx"} {
				f, err := fs.Create("/disk/" + name)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := f.WriteAt([]byte("hello"), 0); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}

// TestRottenFormat: a FORMAT file that names no format is made anew where there are
// segments; where there are none, the directory is somebody else's.
func TestRottenFormat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := vfs.NewMem()
		st := start(t, fs)
		if err := keep(st.Store, 0, 1, 4000); err != nil {
			t.Fatal(err)
		}
		st.stop(0)
		if err := fs.Flip("/disk/FORMAT", 3, 1); err != nil {
			t.Fatal(err)
		}
		if r, err := Verify(fs, "/disk", nil); err != nil || len(r.Places) != 1 || !strings.HasPrefix(r.Places[0], "FORMAT") {
			t.Errorf("%+v, %v", r, err)
		}
		if err := Readable(fs, "/disk"); err != nil {
			t.Error(err)
		}
		for range 2 {
			st = start(t, fs)
			st.valid(0, true)
			st.stop(0)
		}
		if r, err := Verify(fs, "/disk", nil); err != nil || r.Damaged != 0 {
			t.Errorf("%+v, %v", r, err)
		}
		loseNewest(t, fs, len(segmentsOf(t, fs)))
		if err := fs.Flip("/disk/FORMAT", 3, 1); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(Options{Disks: []Disk{{"/disk", 512 << 10}}, FS: fs, Clock: testClock}); !errors.Is(err, errVersion) {
			t.Errorf("no disk of ours: %v", err)
		}
	})
}
