package disk

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edge/cache/storage"
	"edge/cache/storage/storagetest"
	"edge/cache/storage/vfs"
	"edge/message"
)

// keep stores n bytes of a version under a key, announced, under a strong validator.
func keep(st *Store, key int, version uint64, n int) error {
	p := &storage.Proposal{Key: storagetest.Key(key), Scheme: "http", Authority: []byte("a"), Target: []byte("/"), Total: int64(n),
		Stored: &message.Stored{Status: 200, Terms: message.Terms{ETag: []byte(fmt.Sprintf(`"%d"`, version))}}}
	w, err := st.Begin(p)
	if err != nil {
		return err
	}
	defer w.Abort(errors.New("end"))
	if err := w.Write(context.Background(), pattern(version, n)); err != nil {
		return err
	}
	return w.Commit(nil)
}

// pattern is what keep stores.
func pattern(version uint64, n int) []byte {
	var seed [32]byte
	binary.LittleEndian.PutUint64(seed[:], version)
	b := make([]byte, n)
	_, _ = rand.NewChaCha8(seed).Read(b) // cannot fail
	return b
}

// bytesOnDisk returns how many bytes the segments take, those included that have no name
// any more but are read from.
func bytesOnDisk(t *testing.T, st *Store, disk vfs.FS) int64 {
	t.Helper()
	v := st.volumes[0]
	// What reclaiming has taken off the list counts as condemned, whether its file is
	// still there or not; so it must not take more off meanwhile.
	listed := func() (first uint32, condemned int64) {
		v.mu.Lock()
		defer v.mu.Unlock()
		if len(v.segments) > 0 {
			first = v.segments[0].id
		}
		return first, v.condemnedBytes
	}
	for {
		first, condemned := listed()
		n := bytesFrom(t, disk, first)
		if again, left := listed(); again == first {
			return n + min(condemned, left)
		}
	}
}

// bytesFrom returns how many bytes the segments' files from a number on have.
func bytesFrom(t *testing.T, disk vfs.FS, first uint32) (n int64) {
	t.Helper()
	names, err := disk.List("/disk")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		digits, ok := strings.CutSuffix(name, ".seg")
		if id, err := strconv.ParseUint(digits, 16, 32); !ok || err != nil || uint32(id) < first {
			continue
		}
		f, err := disk.Open("/disk/" + name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // reclaimed this moment
		}
		if err != nil {
			t.Fatal(err)
		}
		size, _ := f.Size() // cannot fail
		n += size
		_ = f.Close() // it was only looked at
	}
	return n
}

// TestReclaim: whatever is stored, touched and held while space is reclaimed, the byte
// budget is not exceeded by more than a segment, no row needs a segment that has gone,
// what a segment's notes say is what a walk of the index finds, and whoever holds a
// response reads its own bytes to the end.
func TestReclaim(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { synctest.Test(t, func(t *testing.T) { testReclaim(t, seed) }) })
	}
}

func testReclaim(t *testing.T, seed uint64) {
	mem, rnd := vfs.NewMem(), rand.New(rand.NewPCG(seed, 13))
	st, err := Open(Options{Disks: []Disk{{"/disk", 2 << 20}}, ChunkSize: 8 << 10, SegmentSize: 128 << 10, FS: mem, Clock: testClock})
	if err != nil {
		t.Fatal(err)
	}
	v := st.volumes[0]
	var held []holding
	versions, stored := map[int]uint64{}, 0
	sizes := map[uint64]int{}
	for i := range 1500 {
		key := rnd.IntN(400)
		switch rnd.IntN(8) {
		case 0, 1: // a hit, and sometimes a long one
			for _, e := range st.Lookup(nil, storagetest.Key(key)) {
				if len(held) < 6 {
					held = append(held, holding{e.Reader(0, -1), nil, pattern(versions[key], sizes[versions[key]])})
				}
				e.Release()
			}
		case 2:
			if n := len(held); n > 0 {
				held[n-1].finish(t)
				held = held[:n-1]
			}
		case 3:
			time.Sleep(time.Duration(rnd.IntN(600)) * time.Millisecond)
		default:
			version, n := uint64(i+1), rnd.IntN(3000)
			if rnd.IntN(6) == 0 {
				n = rnd.IntN(80_000)
			}
			if keep(st, key, version, n) == nil {
				versions[key], sizes[version] = version, n
				stored += n
			}
		}
		if used := bytesOnDisk(t, st, mem); used > v.limit+v.o.segmentSize {
			t.Fatalf("%d bytes on a disk of %d, segments of %d", used, v.limit, v.o.segmentSize)
		}
		if i%100 == 99 {
			wantNotes(t, v)
		}
	}
	for _, h := range held {
		h.finish(t)
	}
	if stored < 3<<20 || st.stats.evicted.Load() == 0 {
		t.Fatalf("%d bytes stored, %d evicted: nothing was tried", stored, st.stats.evicted.Load())
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	wantUnpinned(t, st)
}

// holding is a reader that reads a piece and then nothing for a while.
type holding struct {
	r         storage.Reader
	got, want []byte
}

// finish reads to the end, and wants the right bytes.
func (h *holding) finish(t *testing.T) {
	t.Helper()
	for {
		p, err := h.r.Next(context.Background())
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("a reader that held on: %v after %d of %d bytes", err, len(h.got), len(h.want))
		}
		h.got = append(h.got, p...)
	}
	if !bytes.Equal(h.got, h.want) {
		t.Fatalf("a reader that held on got %d bytes that are not those", len(h.got))
	}
	h.r.Close()
}

// wantNotes wants what the oldest segment's notes find to be what a walk finds, and
// nothing to need what is older.
func wantNotes(t *testing.T, v *volume) {
	t.Helper()
	synctest.Wait() // the reclaimer, the flusher
	v.mu.Lock()
	s := v.segments[0]
	active := s == v.active
	v.mu.Unlock()
	type id struct {
		key     storage.Key
		variant uint32
	}
	walked, noted := map[id]bool{}, map[id]bool{}
	v.eachRowWalked(s, func(r *row) {
		walked[id{r.key, r.variant}] = true
		if r.oldest < s.id {
			t.Errorf("a row needs segment %d, and %d is the oldest", r.oldest, s.id)
		}
	})
	if active {
		return
	}
	if !v.eachNoteIn(s, func(*note) {}) {
		t.Errorf("segment %d has no notes", s.id)
	}
	v.eachRowIn(s, func(r *row) { noted[id{r.key, r.variant}] = true })
	for x := range walked {
		if !noted[x] {
			t.Errorf("segment %d: the notes do not say that key %x is there", s.id, x.key)
		}
	}
	if len(noted) > len(walked) {
		t.Errorf("segment %d: the notes find %d rows, the index has %d", s.id, len(noted), len(walked))
	}
}

// BenchmarkReclaim: one segment of 64, with a million responses on the disk.
func BenchmarkReclaim(b *testing.B) {
	const rows = 1_000_000
	st, err := Open(Options{Disks: []Disk{{b.TempDir(), 512 << 20}}, SegmentSize: 4 << 20, Clock: testClock})
	if err != nil {
		b.Fatal(err)
	}
	defer st.Close()
	for i := range rows {
		for keep(st, i, 1, 16) != nil {
			time.Sleep(time.Millisecond) // for the flusher
		}
	}
	v := st.volumes[0]
	time.Sleep(1500 * time.Millisecond) // a flush
	for _, way := range []struct {
		name string
		find func(s *segment, f func(r *row))
	}{{"walk", v.eachRowWalked}, {"notes", v.eachRowIn}} {
		b.Run("find/"+way.name, func(b *testing.B) {
			n := 0
			for b.Loop() {
				way.find(v.segments[0], func(*row) { n++ })
			}
			b.ReportMetric(float64(n)/float64(b.N), "rows")
		})
	}
	b.Run("reclaim", func(b *testing.B) {
		before := v.count.Load()
		for range b.N {
			if len(v.segments) > 2 {
				v.reclaim(v.segments[0])
			}
		}
		b.ReportMetric(float64(before-v.count.Load())/float64(b.N), "rows")
	})
}
