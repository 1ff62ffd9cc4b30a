package disk

import (
	"bytes"
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"edge/cache/storage"
	"edge/cache/storage/storagetest"
	"edge/cache/storage/vfs"
	"edge/message"
)

// TestPieces: what is announced with up to 1 MiB lies in one piece, unless bodies being
// written take much memory; what is longer, of unknown length or a part, in chunks.
func TestPieces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st, err := Open(Options{Disks: []Disk{{"/disk", 64 << 20}}, ChunkSize: 64 << 10, SegmentSize: 4 << 20, Clock: testClock, FS: vfs.NewMem()})
		if err != nil {
			t.Fatal(err)
		}
		defer st.Close()
		body := make([]byte, 1<<20+1)
		_, _ = rand.NewChaCha8([32]byte{9}).Read(body) // cannot fail
		for i, c := range []struct {
			size    int
			unknown bool
			filling int64
			want    int
		}{
			{size: 64 << 10, want: 1},
			{size: 200 << 10, want: 1},
			{size: 1 << 20, want: 1},
			{size: 1<<20 + 1, want: 17},
			{size: 1 << 20, unknown: true, want: 16},
			{size: 1 << 20, filling: maxFilling / 2, want: 16},
		} {
			p := &storage.Proposal{Key: storagetest.Key(i), Stored: &message.Stored{Status: 200}, Total: int64(c.size)}
			if c.unknown {
				p.Total = message.LengthUnknown
			}
			st.filling.Add(c.filling)
			w, err := st.Begin(p)
			st.filling.Add(-c.filling)
			if err != nil {
				t.Fatal(err)
			}
			for at := 0; at < c.size; at += 40_000 {
				if err := w.Write(context.Background(), body[at:min(at+40_000, c.size)]); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.Commit(nil); err != nil {
				t.Fatal(err)
			}
			list := st.Lookup(nil, storagetest.Key(i))
			if len(list) != 1 {
				t.Fatalf("%+v: %d found", c, len(list))
			}
			if n := len(list[0].(*entry).body.Load().extents); n != c.want {
				t.Errorf("%+v: in %d pieces", c, n)
			}
			if got, err := readRange(list[0], 0, -1); err != nil || !bytes.Equal(got, body[:c.size]) {
				t.Errorf("%+v: %d bytes, %v", c, len(got), err)
			}
			list[0].Release()
		}
	})
}

// TestPacedPieces: where the disk is slower than those who ask, and each asks for the next as
// soon as it has all of one, what is announced with 1 MiB is kept all the same, and in one piece.
func TestPacedPieces(t *testing.T) {
	const clients, each, size = 24, 3, 1 << 20
	synctest.Test(t, func(t *testing.T) {
		slow := vfs.NewFaulty(vfs.NewMem())
		slow.Set(func(op vfs.Op, _ string) error {
			if op == vfs.OpWrite {
				time.Sleep(10 * time.Millisecond)
			}
			return nil
		})
		st, err := Open(Options{Disks: []Disk{{"/disk", 512 << 20}}, ChunkSize: 256 << 10, SegmentSize: 16 << 20, Clock: testClock, FS: slow})
		if err != nil {
			t.Fatal(err)
		}
		defer st.Close()
		body := make([]byte, size)
		var asking, committing sync.WaitGroup
		for i := range clients {
			asking.Go(func() {
				for j := range each {
					w, err := st.Begin(&storage.Proposal{Key: storagetest.Key(i*each + j), Stored: &message.Stored{Status: 200}, Total: size})
					if err == nil {
						err = w.Write(context.Background(), body)
					}
					if err != nil {
						t.Errorf("body %d of client %d: %v", j, i, err)
						return
					}
					committing.Go(func() {
						if err := w.Commit(nil); err != nil {
							t.Errorf("body %d of client %d: %v", j, i, err)
						}
					})
					// In virtual time that is after all others have gone as far as they get: whoever
					// asks for the next must not overtake a commit that nothing holds up.
					time.Sleep(time.Microsecond)
				}
			})
		}
		asking.Wait()
		committing.Wait()
		for i := range clients * each {
			list := st.Lookup(nil, storagetest.Key(i))
			if len(list) != 1 {
				t.Fatalf("body %d: %d found", i, len(list))
			}
			if n := len(list[0].(*entry).body.Load().extents); n != 1 {
				t.Errorf("body %d: in %d pieces", i, n)
			}
			list[0].Release()
		}
	})
}
