package disk

import (
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"edge/cache/storage/storagetest"
	"edge/cache/storage/vfs"
)

// TestRecovery: whatever the disk fails to do for a while under load, afterwards it takes
// everything again, at once, and has it after a restart.
func TestRecovery(t *testing.T) {
	for i, x := range []struct {
		op  vfs.Op
		err error
	}{{vfs.OpWrite, syscall.EIO}, {vfs.OpWrite, syscall.ENOSPC}, {vfs.OpSync, syscall.EIO}, {vfs.OpCreate, syscall.EMFILE},
		{vfs.OpRead, syscall.EIO}, {vfs.OpRemove, syscall.EROFS}, {vfs.OpRename, syscall.EROFS}, {vfs.OpSyncDir, syscall.EIO}} {
		seeds := uint64(2)
		if poisoned { // the race detector makes each costly
			if seeds = 1; i%3 != 0 {
				continue
			}
		}
		for seed := range seeds {
			t.Run(fmt.Sprintf("%s %v %d", x.op, x.err, seed), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { testRecovery(t, x.op, x.err, seed) })
			})
		}
	}
}

func testRecovery(t *testing.T, op vfs.Op, fault error, seed uint64) {
	faulty, rnd := vfs.NewFaulty(vfs.NewMem()), rand.New(rand.NewPCG(seed, 17))
	o := Options{Disks: []Disk{{"/disk", 16 << 20}}, FS: faulty, Clock: testClock, FlushInterval: 50 * time.Millisecond}
	st, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	load := func(n int) {
		for range n {
			key := rnd.IntN(150)
			if list := st.Lookup(nil, storagetest.Key(key)); len(list) > 0 {
				_, _ = readAll(list[0]) // it may be the disk's bad time
				list[0].Release()
			} else {
				_ = keep(st, key, uint64(key+1), 2000+rnd.IntN(3)*150_000) // likewise
			}
			if seed%2 == 0 { // else much waits for the flusher at a time
				time.Sleep(time.Duration(rnd.IntN(10)) * time.Millisecond)
			}
		}
	}
	load(120)
	when := rnd.IntN(3)
	faulty.Set(func(o vfs.Op, _ string) error {
		if o == op && (when == 0 || rand.IntN(when+1) == 0) {
			return fault
		}
		return nil
	})
	load(120)
	faulty.Set(nil)
	time.Sleep(10 * time.Second)
	for i := range 30 {
		started := time.Now()
		if err := keep(st, 1000+i, uint64(i+1), 150_000); err != nil {
			t.Fatalf("storing %d: %v: %+v", i, err, st.States()[0])
		}
		if took := time.Since(started); took > roomRecheck*4 {
			t.Errorf("storing %d took %v", i, took)
		}
		time.Sleep(60 * time.Millisecond)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	wantUnpinned(t, st)
	if st, err = Open(o); err != nil {
		t.Fatal(err)
	}
	for i := range 30 {
		list := st.Lookup(nil, storagetest.Key(1000+i))
		if len(list) != 1 {
			t.Fatalf("response %d is not found after a restart", i)
		}
		if got, err := readAll(list[0]); err != nil || string(got) != string(pattern(uint64(i+1), 150_000)) {
			t.Fatalf("response %d after a restart: %d bytes, %v", i, len(got), err)
		}
		list[0].Release()
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
}

// wantUnpinned wants no segment of a closed store to be held by anybody, where nobody
// has an entry.
func wantUnpinned(t *testing.T, st *Store) {
	t.Helper()
	synctest.Wait()
	for _, v := range st.volumes {
		v.mu.Lock()
		if v.condemned != 0 || v.condemnedBytes != 0 {
			t.Errorf("%d segments of %d bytes are held for good", v.condemned, v.condemnedBytes)
		}
		v.mu.Unlock()
	}
}
