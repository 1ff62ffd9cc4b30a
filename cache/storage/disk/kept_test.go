package disk

import (
	"context"
	"io"
	"testing"
	"testing/synctest"

	"edge/cache/storage"
	"edge/cache/storage/storagetest"
	"edge/cache/storage/vfs"
	"edge/message"
)

// TestKeptReadsNothing: what is found again costs no read of the disk, and what is
// kept stays within its bound.
func TestKeptReadsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := vfs.NewFaulty(vfs.NewMem())
		st := openSmall(t, fs, 16<<20)
		const n = 3000
		for i := range n {
			put(t, st, i, make([]byte, 700))
		}
		st = reopen(t, st, fs, 16<<20)
		lookup := func(i int) {
			t.Helper()
			list := st.Lookup(nil, storagetest.Key(i))
			if len(list) != 1 {
				t.Fatalf("entry %d: %d found", i, len(list))
			}
			list[0].Release()
		}
		for i := range n {
			lookup(i)
		}
		total := 0
		for i := range st.volumes[0].index.shards {
			k := &st.volumes[0].index.shards[i].kept
			sum := int64(0)
			for at, e := range k.list {
				sum += e.footprint
				if e.keptAt != at+1 || e.refs.Load() != 1 {
					t.Fatalf("entry at %d says %d, %d references", at, e.keptAt, e.refs.Load())
				}
			}
			if sum != k.bytes || sum > keptBytes {
				t.Fatalf("shard %d keeps %d bytes and says %d; %d at most", i, sum, k.bytes, keptBytes)
			}
			total += len(k.list)
		}
		if total < n/2 {
			t.Fatalf("%d kept of %d", total, n)
		}
		reads := 0
		fs.Set(func(op vfs.Op, name string) error {
			if op == vfs.OpRead {
				reads++
			}
			return nil
		})
		lookup(n - 1)
		lookup(n - 1)
		if reads != 0 {
			t.Errorf("%d reads for what is kept", reads)
		}
	})
}

// TestKeptLetsReclaimingOn: entries that are kept hold no segment: the disk is
// written round several times while everything is looked up.
func TestKeptLetsReclaimingOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := vfs.NewMem()
		st := openSmall(t, fs, 2<<20)
		for i := range 4000 {
			put(t, st, i, make([]byte, 3000))
			if i == 100 {
				st = reopen(t, st, fs, 2<<20)
			}
			for j := max(0, i-100); j <= i; j += 10 {
				for _, e := range st.Lookup(nil, storagetest.Key(j)) {
					e.Release()
				}
			}
		}
		synctest.Wait()
		v := st.volumes[0]
		v.mu.Lock()
		condemned, segments := v.condemned, len(v.segments)
		v.mu.Unlock()
		if condemned != 0 || segments == 0 {
			t.Errorf("%d segments are reclaimed but pinned, of %d", condemned, segments)
		}
		if got := st.Stats().Evicted; got == 0 {
			t.Error("nothing was evicted: the test proves nothing")
		}
	})
}

func openSmall(t *testing.T, fs vfs.FS, size int64) *Store {
	t.Helper()
	st, err := Open(Options{Disks: []Disk{{"/disk", size}}, ChunkSize: 8 << 10, FS: fs, Clock: testClock})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() }) // where the test fails before it does
	return st
}

func reopen(t *testing.T, st *Store, fs vfs.FS, size int64) *Store {
	t.Helper()
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	return openSmall(t, fs, size)
}

func put(t testing.TB, st *Store, key int, body []byte) {
	t.Helper()
	w, err := st.Begin(&storage.Proposal{Key: storagetest.Key(key), Scheme: "http", Authority: []byte("a"), Target: []byte("/"),
		Stored: &message.Stored{Status: 200}, Total: int64(len(body))})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(context.Background(), body); err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(nil); err != nil {
		t.Fatal(err)
	}
}

// readRange reads an entry's range to its end.
func readRange(e storage.Entry, from, n int64) (got []byte, err error) {
	r := e.Reader(from, n)
	defer r.Close()
	for {
		p, err := r.Next(context.Background())
		if err == io.EOF {
			return got, nil
		}
		if err != nil {
			return got, err
		}
		got = append(got, p...)
	}
}
