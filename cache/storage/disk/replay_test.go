package disk

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edge/cache/storage"
	"edge/cache/storage/storagetest"
	"edge/cache/storage/vfs"
	"edge/message"
)

// TestReclaimAfterALostSegment: what lies in the segment behind one that is lost is known,
// and goes with it; and what was doubted because of the loss stays so over restarts.
func TestReclaimAfterALostSegment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := vfs.NewMem()
		var st *Store
		var log bytes.Buffer // read it when the store is closed
		open := func() {
			var err error
			if st, err = Open(Options{Disks: []Disk{{"/disk", 4 << 20}}, Clock: testClock, FS: fs, SegmentSize: 64 << 10,
				Logger: slog.New(slog.NewTextHandler(&log, nil))}); err != nil {
				t.Fatal(err)
			}
		}
		stop := func() {
			if err := st.Close(); err != nil {
				t.Fatal(err)
			}
		}
		open()
		for i := range 40 {
			if err := keep(st, i, 1, 14<<10); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute)
		stop()
		if err := fs.Remove("/disk/00000003.seg"); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			open()
			for _, e := range st.Lookup(nil, storagetest.Key(0)) {
				if !e.Stored().Terms.Flags.Has(message.TermInvalidated) {
					t.Error("what lay before a lost segment is valid")
				}
				e.Release()
			}
			stop()
		}
		if n := strings.Count(log.String(), "segments are lost"); n != 2 || !strings.Contains(log.String(), "first=/disk/00000003.seg last=/disk/00000003.seg") {
			t.Errorf("the log of two starts names the loss %d times:\n%s", n, log.String())
		}
		open()
		defer stop()
		for i := range 400 {
			if err := keep(st, 100+i, 1, 14<<10); err != nil {
				t.Fatal(err)
			}
			time.Sleep(100 * time.Millisecond)
		}
		if first := leftBehind(t, st.volumes[0]); first < 8 {
			t.Fatalf("nothing was reclaimed: segment %d is the first", first)
		}
	})
}

// TestReplayOfJudgements: what was written before a judgement has been judged, and what
// was written behind it has not, however many there are.
func TestReplayOfJudgements(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs, l := vfs.NewMem(), &storagetest.Ledger{}
		open := func() *Store {
			st, err := Open(Options{Disks: []Disk{{"/disk", 4 << 20}}, Clock: testClock, FS: fs, Ledger: l})
			if err != nil {
				t.Fatal(err)
			}
			return st
		}
		st := open()
		small(t, st, 0)
		for i := range 5 {
			l.Purge(storagetest.Key(90+i), false)
		}
		judged := func(order uint64) {
			v := st.volumes[0]
			v.mu.Lock()
			defer v.mu.Unlock()
			s, err := v.place(&record{kind: kindJudged, order: order, writtenAt: 5}, make([]byte, headerSize), nil, false)
			if err != nil {
				t.Fatal(err)
			}
			s.unpin()
		}
		judged(2)
		judged(4)
		judged(1)
		w, err := st.Begin(&storage.Proposal{Key: storagetest.Key(1), Scheme: "http", Authority: []byte("a"), Target: []byte("/"),
			Stored: &message.Stored{Status: 200}, Total: 0, Sequence: 5})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Commit(nil); err != nil {
			t.Fatal(err)
		}
		judged(4)
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
		st = open()
		defer func() { _ = st.Close() }()
		for i := range st.volumes[0].index.shards {
			st.volumes[0].index.shards[i].walk(func(_ uint32, r *row) {
				if want := map[storage.Key]uint64{storagetest.Key(0): 4, storagetest.Key(1): 5}[r.key]; r.checked() != want {
					t.Errorf("judged up to %d, want %d", r.checked(), want)
				}
			})
		}
	})
}

// TestReclaimAfterADamagedChunk: likewise for a body of which one chunk lies in a segment,
// and was found damaged at start.
func TestReclaimAfterADamagedChunk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := vfs.NewMem()
		var st *Store
		open := func() {
			var err error
			if st, err = Open(Options{Disks: []Disk{{"/disk", 4 << 20}}, Clock: testClock, FS: fs, SegmentSize: 64 << 10, ChunkSize: 16 << 10}); err != nil {
				t.Fatal(err)
			}
		}
		stop := func() {
			if err := st.Close(); err != nil {
				t.Fatal(err)
			}
		}
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		open()
		for i := range 3 {
			must(keep(st, i, 1, 15<<10))
		}
		must(keep(st, 9, 9, 40<<10)) // its first chunk fills the segment
		for i := range 5 {
			must(keep(st, 10+i, 1, 15<<10))
		}
		time.Sleep(time.Minute)
		stop()
		const name = "/disk/00000001"
		f, err := fs.Open(name + ".seg")
		must(err)
		b := make([]byte, 64<<10)
		n, _ := f.ReadAt(b, 0) // as long as it is
		must(f.Close())
		at := bytes.Index(b[:n], pattern(9, 40<<10)[:32])
		if at < 0 {
			t.Fatal("the chunk is elsewhere")
		}
		must(fs.Flip(name+".seg", int64(at), 1))
		must(fs.Remove(name + ".idx"))
		open()
		defer stop()
		v := st.volumes[0]
		first := uint32(0)
		for i := 0; i < 300 && first < 4 && !t.Failed(); i++ {
			must(keep(st, 100+i, 1, 14<<10))
			time.Sleep(100 * time.Millisecond)
			first = leftBehind(t, v)
		}
		if first < 2 {
			t.Fatal("nothing was reclaimed")
		}
	})
}

// leftBehind checks that no row needs a segment before the first, which it returns.
func leftBehind(t *testing.T, v *volume) uint32 {
	t.Helper()
	v.mu.Lock()
	first := v.segments[0].id
	v.mu.Unlock()
	for i := range v.index.shards {
		v.index.shards[i].walk(func(_ uint32, r *row) {
			if r.oldest < first {
				t.Errorf("a row is left of segment %d, where %d is the first", r.oldest, first)
			}
		})
	}
	return first
}
