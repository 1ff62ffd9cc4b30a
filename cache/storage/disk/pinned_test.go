package disk

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"edge/cache/storage"
	"edge/cache/storage/storagetest"
	"edge/cache/storage/vfs"
)

// TestSlowReadersHoldSegments: a thousand readers that read a piece and then nothing hold
// every segment there is. What is reclaimed under them still takes space, so that at some
// point nothing more is stored: at once, without holding up whoever stores. The budget
// is kept, what is not yet reclaimed is found, each reader gets its own bytes to the end,
// and once they have gone everything is stored again.
func TestSlowReadersHoldSegments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const readers, size = 1000, 40_000
		mem := vfs.NewMem()
		st, err := Open(Options{Disks: []Disk{{"/disk", 8 << 20}}, ChunkSize: 8 << 10, SegmentSize: 128 << 10, FS: mem, Clock: testClock})
		if err != nil {
			t.Fatal(err)
		}
		v := st.volumes[0]
		var all []holding
		n, refused := 0, 0
		store := func() {
			n++
			started := time.Now()
			err := keep(st, n, uint64(n), size)
			if errors.Is(err, storage.ErrFull) {
				refused++
			} else if err != nil {
				t.Fatal(err)
			}
			if took := time.Since(started); took > appendWait+firstReaderWait {
				t.Fatalf("storing took %v", took)
			}
			if used := bytesOnDisk(t, st, mem); used > v.limit+v.o.segmentSize {
				t.Fatalf("%d bytes on a disk of %d", used, v.limit)
			}
		}
		for len(all) < readers {
			if store(); n%10 == 0 {
				time.Sleep(1100 * time.Millisecond)
			}
			for i := max(1, n-20); i <= n && len(all) < readers; i++ {
				all = hold(t, st, i, size, all)
			}
		}
		for range 300 {
			store()
		}
		time.Sleep(2 * stallAfter)
		found := findable(st, n)
		t.Logf("%d stored, %d refused, %d found while %d readers hold %d MiB of %d", n, refused, found, readers, v.condemnedBytes>>20, v.limit>>20)
		if refused == 0 || found < int(v.limit/size/2) {
			t.Error("nothing was held up, or too much")
		}
		// It is known by now: what does not fit is refused at once.
		for i := range 50 {
			started := time.Now()
			if err := keep(st, 5000+i, 1, 2000); err != nil && !errors.Is(err, storage.ErrFull) {
				t.Fatal(err)
			}
			if took := time.Since(started); took > 0 {
				t.Fatalf("a refusal took %v", took)
			}
		}
		for _, h := range all {
			h.finish(t)
		}
		time.Sleep(2 * time.Second)
		for i := range 100 {
			if err := keep(st, 6000+i, 1, size); err != nil {
				t.Fatalf("storing after they have gone: %v", err)
			}
			time.Sleep(50 * time.Millisecond)
		}
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
		wantUnpinned(t, st)
	})
}

// hold has a reader read one piece of each response under a key that keep stored, and
// nothing more.
func hold(t *testing.T, st *Store, key, size int, all []holding) []holding {
	t.Helper()
	for _, e := range st.Lookup(nil, storagetest.Key(key)) {
		r := e.Reader(0, -1)
		p, err := r.Next(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, holding{r, bytes.Clone(p), pattern(uint64(key), size)})
		e.Release()
	}
	return all
}

// findable returns how many responses are found under the keys 1 to n.
func findable(st *Store, n int) (found int) {
	for i := range n {
		for _, e := range st.Lookup(nil, storagetest.Key(i+1)) {
			found++
			e.Release()
		}
	}
	return found
}
