package tiered

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"edge/cache/storage"
	"edge/cache/storage/disk"
	"edge/cache/storage/storagetest"
	"edge/cache/storage/vfs"
	"edge/message"
)

// TestPromotion: a scan, also one that comes round over more than memory holds, promotes
// nothing; what is asked for again is promoted at the second time, scan or not.
func TestPromotion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := vfs.NewMem()
		clock := func() message.Instant { return message.Instant(time.Now().UnixNano()) }
		open := func() *Store {
			st, err := Open(Options{Memory: storage.MemoryOptions{Size: 1 << 20, Clock: clock},
				Disk: disk.Options{Disks: []disk.Disk{{Path: "/disk", Size: 16 << 20}}, Clock: clock, FS: fs}})
			if err != nil {
				t.Fatal(err)
			}
			return st
		}
		const n, size = 400, 8 << 10 // three times the memory
		st := open()
		for i := range n {
			w, err := st.Begin(&storage.Proposal{Key: storagetest.Key(i), Scheme: "http", Authority: []byte("a"), Target: []byte("/"),
				Stored: &message.Stored{Status: 200}, Total: size})
			if err != nil {
				t.Fatal(err)
			}
			if err := w.Write(context.Background(), make([]byte, size)); err != nil {
				t.Fatal(err)
			}
			if err := w.Commit(nil); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Millisecond)
		}
		if err := st.Close(); err != nil { // memory is cold then
			t.Fatal(err)
		}
		st = open()
		defer st.Close()
		ask := func(i int) {
			t.Helper()
			list := st.Lookup(nil, storagetest.Key(i))
			if len(list) != 1 {
				t.Fatalf("%d: %d found", i, len(list))
			}
			list[0].Release()
			synctest.Wait() // the promoter has nothing to do any more
		}
		for range 3 {
			for i := range n {
				ask(i)
			}
		}
		if got := st.stats.promoted.Load(); got != 0 {
			t.Errorf("a scan had %d promoted", got)
		}
		ask(7)
		ask(8)
		ask(7)
		if has, _ := st.inMemory(storagetest.Key(7), nil); st.stats.promoted.Load() != 1 || !has {
			t.Errorf("asked for again at once: %d promoted; in memory %v", st.stats.promoted.Load(), has)
		}
	})
}
