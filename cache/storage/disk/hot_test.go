package disk

import (
	"bytes"
	"context"
	"math/rand/v2"
	"testing"
	"testing/synctest"

	"edge/cache/storage/storagetest"
	"edge/cache/storage/vfs"
)

// hotWorld is a store with hot chunks in whose bodies every read of the disk is counted.
func hotWorld(t *testing.T, budget int64, bodies ...[]byte) (st *Store, reads *int) {
	t.Helper()
	fs := vfs.NewFaulty(vfs.NewMem())
	open := func() {
		var err error
		st, err = Open(Options{Disks: []Disk{{"/disk", 8 << 20}}, ChunkSize: 16 << 10, MaxObject: 2 << 20, FS: fs, Clock: testClock,
			Hot: budget, HotFrom: 20 << 10})
		if err != nil {
			t.Fatal(err)
		}
		opened := st
		t.Cleanup(func() { _ = opened.Close() }) // where the test fails before it does
	}
	open()
	for i, b := range bodies {
		put(t, st, 1+i, b)
	}
	if err := st.Close(); err != nil { // so that nothing waits for the flusher
		t.Fatal(err)
	}
	open()
	reads = new(int)
	fs.Set(func(op vfs.Op, name string) error {
		if op == vfs.OpRead {
			*reads++
		}
		return nil
	})
	return st, reads
}

func randomBody(seed byte, n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

// TestHotChunks: what is read again and again is read from the disk no more, whatever
// range of it is asked for; what is short is left to the memory tier.
func TestHotChunks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body, short := randomBody(1, 100<<10), randomBody(2, 20<<10)
		st, reads := hotWorld(t, 256<<10, body, short)
		long, little := st.Lookup(nil, storagetest.Key(1))[0], st.Lookup(nil, storagetest.Key(2))[0]
		defer long.Release()
		defer little.Release()
		for range 3 { // to check it, to notice it, to take it in
			if got, err := readRange(long, 0, -1); err != nil || !bytes.Equal(got, body) {
				t.Fatalf("%d bytes, %v", len(got), err)
			}
		}
		*reads = 0
		for _, r := range [][2]int64{{0, -1}, {5, 10}, {16<<10 - 1, 2}, {30 << 10, 50 << 10}, {99 << 10, -1}} {
			want := body[r[0]:]
			if r[1] >= 0 {
				want = want[:r[1]]
			}
			if got, err := readRange(long, r[0], r[1]); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("range %v: %d bytes, %v", r, len(got), err)
			}
		}
		if *reads != 0 {
			t.Errorf("what is hot was read from the disk %d times", *reads)
		}
		for range 5 {
			if got, err := readRange(little, 0, -1); err != nil || !bytes.Equal(got, short) {
				t.Fatalf("%d bytes, %v", len(got), err)
			}
		}
		if *reads == 0 {
			t.Error("a short body is among the hot chunks")
		}
	})
}

// TestHotChunksBounded: the budget holds, a scan takes nothing in, and who reads from a
// frame keeps it.
func TestHotChunksBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const budget = 100 << 10 // six frames
		one, scan := randomBody(1, 64<<10), randomBody(2, 1<<20)
		st, reads := hotWorld(t, budget, one, scan)
		e, other := st.Lookup(nil, storagetest.Key(1))[0], st.Lookup(nil, storagetest.Key(2))[0]
		defer e.Release()
		defer other.Release()
		for range 3 {
			if _, err := readRange(e, 0, -1); err != nil {
				t.Fatal(err)
			}
		}
		if int64(len(st.hot.mem)) > budget || len(st.hot.at) != 4 {
			t.Fatalf("%d bytes of %d, %d pieces", len(st.hot.mem), budget, len(st.hot.at))
		}
		for range 3 {
			if got, err := readRange(other, 0, -1); err != nil || !bytes.Equal(got, scan) {
				t.Fatal(err)
			}
		}
		*reads = 0
		if _, err := readRange(e, 0, -1); err != nil || *reads != 0 {
			t.Errorf("after a scan %d reads, %v", *reads, err)
		}
		r := e.Reader(0, -1)
		p, err := r.Next(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		for range 20 { // everything else becomes hot
			for at := int64(0); at < 5; at++ {
				if _, err := readRange(other, at<<14, 1<<14); err != nil {
					t.Fatal(err)
				}
			}
		}
		if !bytes.Equal(p, one[:len(p)]) {
			t.Error("a frame was reused while it was read from")
		}
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(p, one[:len(p)]) {
			t.Error("a frame went with the store while it was read from")
		}
		r.Close()
		if st.hot.mem != nil {
			t.Error("the memory was not given back")
		}
	})
}

// TestHotChunksForgotten: nothing is held of a segment that was reclaimed.
func TestHotChunksForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st, _ := hotWorld(t, 256<<10, randomBody(1, 100<<10))
		e := st.Lookup(nil, storagetest.Key(1))[0]
		for range 3 {
			if _, err := readRange(e, 0, -1); err != nil {
				t.Fatal(err)
			}
		}
		s := e.(*entry).body.Load().segments[0]
		if len(st.hot.at) == 0 {
			t.Fatal("nothing is hot: the test proves nothing")
		}
		e.Release()
		s.gone.Store(true) // as reclaiming does
		st.hot.forget(s)
		st.hot.put(place{s, 0}, make([]byte, 10))
		if len(st.hot.at) != 0 {
			t.Errorf("%d pieces of a segment that has gone", len(st.hot.at))
		}
	})
}
