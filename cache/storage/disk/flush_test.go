package disk

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"edge/cache/storage"
	"edge/cache/storage/storagetest"
	"edge/cache/storage/vfs"
	"edge/message"
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

// TestLostIsLetGo: what could not be written is held in memory for those who read it, and
// no longer; and does not count as taken.
func TestLostIsLetGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := vfs.NewFaulty(vfs.NewMem())
		st, err := Open(Options{Disks: []Disk{{"/disk", 4 << 20}}, Clock: testClock, FS: fs})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = st.Close() })
		if err := keep(st, 1, 1, 3<<10); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute + 300*time.Millisecond) // between two turns of the flusher
		before := st.States()[0].Used
		full := func(op vfs.Op, name string) error {
			if op == vfs.OpWrite && strings.HasSuffix(name, ".seg") {
				return syscall.ENOSPC // but the probe finds room
			}
			return nil
		}
		read := make(chan error, 1)
		for i := range 20 {
			fs.Set(full)
			if err := keep(st, 2, uint64(i), 40<<10); err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				e := st.Lookup(nil, storagetest.Key(2))[0]
				go func() {
					defer e.Release()
					time.Sleep(5 * time.Second)
					got, err := readAll(e)
					if err == nil && !bytes.Equal(got, pattern(0, 40<<10)) {
						err = errors.New("other bytes")
					}
					read <- err
				}()
			}
			time.Sleep(20 * time.Second) // what is owed is lost in turn
			fs.Set(nil)
			time.Sleep(20 * time.Second)
		}
		if err := <-read; err != nil {
			t.Errorf("who had it open when it was lost: %v", err)
		}
		v, held := st.volumes[0], int64(0)
		v.mu.Lock()
		for _, s := range v.segments {
			for _, b := range s.blocks {
				if s.lost { // not the block that is being filled
					held += int64(len(b.mem))
				}
			}
		}
		v.mu.Unlock()
		if held > 0 {
			t.Errorf("%d bytes of what was lost are in memory", held)
		}
		if used := st.States()[0].Used; used > before+st.o.segmentSize {
			t.Errorf("%d bytes are used, %d were", used, before)
		}
		if err := keep(st, 3, 1, 40<<10); err != nil {
			t.Fatal(err)
		}
		e := st.Lookup(nil, storagetest.Key(1))
		if len(e) != 1 {
			t.Fatal("what was written before is gone")
		}
		e[0].Release()
	})
}

// TestLostWhileWritten: what the disk lost a chunk of while it was being written is not
// kept, also where the disk is back by then.
func TestLostWhileWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := vfs.NewFaulty(vfs.NewMem())
		st, err := Open(Options{Disks: []Disk{{"/disk", 4 << 20}}, Clock: testClock, FS: fs})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = st.Close() })
		const n = 40 << 10
		w, err := st.Begin(&storage.Proposal{Key: storagetest.Key(1), Scheme: "http", Authority: []byte("a"), Target: []byte("/"), Total: n,
			Stored: &message.Stored{Status: 200}})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Write(context.Background(), pattern(1, n)[:n/2]); err != nil {
			t.Fatal(err)
		}
		fs.Set(func(op vfs.Op, name string) error {
			if op == vfs.OpWrite {
				return syscall.EIO
			}
			return nil
		})
		time.Sleep(10 * time.Second)
		fs.Set(nil)
		time.Sleep(10 * time.Second)
		if err := w.Write(context.Background(), pattern(1, n)[n/2:]); err != nil {
			t.Fatal(err)
		}
		if err := w.Commit(nil); !errors.Is(err, storage.ErrFull) {
			t.Errorf("committed: %v", err)
		}
		if list := st.Lookup(nil, storagetest.Key(1)); len(list) > 0 {
			t.Error("it is found")
		}
	})
}
