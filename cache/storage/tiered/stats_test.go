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

// TestStats: what lies in both tiers is one response, and memory's part is told apart.
func TestStats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := func() message.Instant { return message.Instant(time.Now().UnixNano()) }
		st, err := Open(Options{Memory: storage.MemoryOptions{Size: 1 << 20, Clock: clock},
			Disk: disk.Options{Disks: []disk.Disk{{Path: "/disk", Size: 16 << 20}}, Clock: clock, FS: vfs.NewMem()}})
		if err != nil {
			t.Fatal(err)
		}
		defer st.Close()
		for i, size := range []int{100, 200, 100 << 10} { // the last is for the disk only
			w, err := st.Begin(&storage.Proposal{Key: storagetest.Key(i), Scheme: "http", Authority: []byte("a"), Target: []byte("/"),
				Stored: &message.Stored{Status: 200}, Total: int64(size)})
			if err != nil {
				t.Fatal(err)
			}
			if err := w.Write(context.Background(), make([]byte, size)); err != nil {
				t.Fatal(err)
			}
			if err := w.Commit(nil); err != nil {
				t.Fatal(err)
			}
		}
		s := st.Stats()
		if s.Entries != 3 || s.Memory.Entries != 2 || s.Stored != 3 {
			t.Errorf("%+v", s)
		}
		if s.Memory.Budget != 1<<20 || s.Budget != 17<<20 || s.Memory.Bytes >= s.Bytes || s.Memory.Bytes > s.Memory.Budget {
			t.Errorf("%+v", s)
		}
	})
}
