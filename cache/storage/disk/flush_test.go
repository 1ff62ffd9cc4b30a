package disk

import (
	"testing"
	"testing/synctest"
	"time"

	"edge/cache/storage/vfs"
)

// TestSealedWhenSynced: a segment that was written and synced to its last byte before it
// was sealed is done with like any other: no memory is held for it, and it has its
// checkpoint.
func TestSealedWhenSynced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := vfs.NewMem()
		st, err := Open(Options{Disks: []Disk{{"/disk", 4 << 20}}, Clock: testClock, FS: fs, SegmentSize: 64 << 10, ChunkSize: 16 << 10})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = st.Close() })
		for i := range 4 {
			if err := keep(st, i, 1, 14<<10); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute) // all of it is synced
		if err := keep(st, 9, 1, 14<<10); err != nil {
			t.Fatal(err) // which begins another segment
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		v := st.volumes[0]
		v.mu.Lock()
		s, last := v.segments[0], v.segments[len(v.segments)-1]
		v.mu.Unlock()
		if s == last {
			t.Fatal("no other segment was begun")
		}
		if !s.settled.Load() || s.blocks != nil || s.notes != nil {
			t.Errorf("settled: %v; %d blocks and %d notes in memory", s.settled.Load(), len(s.blocks), len(s.notes))
		}
		if v.readIdx(s) == nil {
			t.Error("no checkpoint")
		}
	})
}
