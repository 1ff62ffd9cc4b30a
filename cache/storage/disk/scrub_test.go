package disk

import (
	"bytes"
	"context"
	"errors"
	"io"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"edge/cache/storage"
	"edge/cache/storage/storagetest"
	"edge/cache/storage/vfs"
)

// readAll reads a body, or what comes of it.
func readAll(e storage.Entry) (got []byte, err error) {
	r := e.Reader(0, -1)
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

// TestScrub: what rots after it was verified is found, and dropped: of a large body the
// chunk only. What is sound stays, whatever else is wrong.
func TestScrub(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n, size = 60, 50_000
		mem := vfs.NewMem()
		st, err := Open(Options{Disks: []Disk{{"/disk", 8 << 20}}, ChunkSize: 16 << 10, SegmentSize: 256 << 10, FS: mem, Clock: testClock,
			ScrubRate: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		for i := range n {
			if err := keep(st, i, uint64(i+1), size); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(12 * time.Second) // it is flushed and synced, and read once
		v := st.volumes[0]
		if v.health.damaged.Load() != 0 || v.health.scrubbed.Load() < n*size/2 {
			t.Fatalf("%d bytes read, %d damaged, before anything was", v.health.scrubbed.Load(), v.health.damaged.Load())
		}
		for i := range n { // everything is verified
			e := st.Lookup(nil, storagetest.Key(i))[0]
			if _, err := readAll(e); err != nil {
				t.Fatal(err)
			}
			e.Release()
		}
		// Of the third segment, which is sealed: each response there is hit somewhere.
		for at := int64(5000); at < 250_000; at += 40_000 {
			if err := mem.Flip("/disk/00000003.seg", at, 1); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(10 * time.Second)
		if v.health.damaged.Load() < 5 {
			t.Errorf("%d damaged records found", v.health.damaged.Load())
		}
		whole, parts := 0, 0
		for i := range n {
			for _, e := range st.Lookup(nil, storagetest.Key(i)) {
				var held []byte
				for _, r := range e.Held(nil) {
					rd := e.Reader(r.Start, r.End-r.Start)
					for p, err := rd.Next(context.Background()); err != io.EOF; p, err = rd.Next(context.Background()) {
						if err != nil {
							t.Fatalf("response %d: %v", i, err)
						}
						held = append(held, p...)
					}
					rd.Close()
					if !bytes.Equal(held, pattern(uint64(i+1), size)[r.Start:r.End]) {
						t.Fatalf("response %d: wrong bytes in [%d, %d)", i, r.Start, r.End)
					}
					held = held[:0]
				}
				if e.Bytes() != nil || len(e.Held(nil)) == 1 && e.Held(nil)[0].End-e.Held(nil)[0].Start == size {
					whole++
				} else {
					parts++
				}
				e.Release()
			}
		}
		if parts < 3 || whole < n-10 {
			t.Errorf("%d whole and %d in parts of %d", whole, parts, n)
		}
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestScrubMakesWay: it reads nothing while the disk is out, and next to nothing while
// the disk is slow.
func TestScrubMakesWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		faulty := vfs.NewFaulty(vfs.NewMem())
		st, err := Open(Options{Disks: []Disk{{"/disk", 8 << 20}}, SegmentSize: 256 << 10, FS: faulty, Clock: testClock, ScrubRate: 8 << 20})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 60 {
			if err := keep(st, i, uint64(i+1), 50_000); err != nil {
				t.Fatal(err)
			}
		}
		scrubbed := func(d time.Duration) int64 {
			before := st.volumes[0].health.scrubbed.Load()
			time.Sleep(d)
			return st.volumes[0].health.scrubbed.Load() - before
		}
		time.Sleep(3 * time.Second)
		if n := scrubbed(5 * time.Second); n < 20<<20 {
			t.Errorf("%d bytes in 5 s at 8 MiB/s", n)
		}
		faulty.Set(func(op vfs.Op, _ string) error {
			if op == vfs.OpRead {
				time.Sleep(300 * time.Millisecond)
			}
			return nil
		})
		if n := scrubbed(30 * time.Second); n > 3<<20 {
			t.Errorf("%d bytes in 30 s from a disk that takes 300 ms a read", n)
		}
		faulty.Set(func(op vfs.Op, _ string) error {
			if op == vfs.OpWrite || op == vfs.OpCreate {
				return syscall.EIO
			}
			return nil
		})
		_ = keep(st, 1000, 1, 50_000)
		time.Sleep(10 * time.Second)
		if n := scrubbed(30 * time.Second); n != 0 {
			t.Errorf("%d bytes from a disk that is out", n)
		}
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestHangingDisk: a disk that answers nothing any more holds nobody up: look-ups and
// readers give up within their patience, writers go on without the disk, and all is
// well again once it answers.
func TestHangingDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		faulty := vfs.NewFaulty(vfs.NewMem())
		o := Options{Disks: []Disk{{"/disk", 64 << 20}}, FS: faulty, Clock: testClock, ScrubRate: -1}
		st, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		keepTwenty(t, st)
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
		if st, err = Open(o); err != nil { // so that nothing lies in memory
			t.Fatal(err)
		}
		begun := st.Lookup(nil, storagetest.Key(19))[0]
		rd := begun.Reader(0, -1)
		if _, err := rd.Next(context.Background()); err != nil {
			t.Fatal(err)
		}
		hang := make(chan struct{})
		faulty.Set(func(vfs.Op, string) error {
			<-hang
			return nil
		})
		most := func(what string, most time.Duration, f func()) {
			t.Helper()
			started := time.Now()
			if f(); time.Since(started) > most {
				t.Errorf("%s took %v", what, time.Since(started))
			}
		}
		most("the first look-up", lookPatience, func() {
			if n := len(st.Lookup(nil, storagetest.Key(1))); n != 0 {
				t.Errorf("%d entries of a disk that hangs", n)
			}
		})
		time.Sleep(slowAfter)
		most("ten more look-ups", 0, func() {
			for i := range 10 {
				st.Lookup(nil, storagetest.Key(i))
			}
		})
		most("a body that was begun", bodyPatience, func() {
			if _, err := rd.Next(context.Background()); !errors.Is(err, storage.ErrGone) {
				t.Errorf("a reader: %v", err)
			}
		})
		rd.Close()
		begun.Release()
		for i := range 100 { // more than may wait for the flusher
			most("storing", appendWait, func() { _ = keep(st, 100+i, uint64(i+101), 300_000) })
		}
		most("storing once it is known", 0, func() { _ = keep(st, 300, 301, 1000) })
		if st.volumes[0].health.slow.Load() == 0 {
			t.Error("it is not counted")
		}
		faulty.Set(nil)
		close(hang)
		time.Sleep(10 * time.Second)
		wantTwenty(t, st)
		if err := keep(st, 400, 401, 300_000); err != nil {
			t.Errorf("storing after it: %v", err)
		}
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// keepTwenty stores twenty responses, which wantTwenty wants to be found.
func keepTwenty(t *testing.T, st *Store) {
	t.Helper()
	for i := range 20 {
		if err := keep(st, i, uint64(i+1), 200_000); err != nil {
			t.Fatal(err)
		}
	}
}

func wantTwenty(t *testing.T, st *Store) {
	t.Helper()
	for i := range 20 {
		list := st.Lookup(nil, storagetest.Key(i))
		if len(list) != 1 {
			t.Fatalf("response %d: found %d times after the disk answered again", i, len(list))
		}
		if got, err := readAll(list[0]); err != nil || !bytes.Equal(got, pattern(uint64(i+1), 200_000)) {
			t.Fatalf("response %d: %d bytes, %v", i, len(got), err)
		}
		list[0].Release()
	}
}
