package storage

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"edge/message"
)

// open returns a memory tier that closes with the test.
func open(t testing.TB, o MemoryOptions) *Memory {
	t.Helper()
	if o.Size == 0 {
		o.Size = 8 << 20
	}
	m, err := NewMemory(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
		if n := m.live.Load(); n != 0 && !t.Failed() {
			t.Errorf("%d entries are still held", n)
		}
	})
	return m
}

// keyOf spreads n over keys as a hash would.
func keyOf(n int) (k Key) {
	x := uint64(n)*0x9e3779b97f4a7c15 + 1
	for i := range k {
		x ^= x >> 29
		x *= 0xbf58476d1ce4e5b9
		k[i] = byte(x >> 56)
	}
	return k
}

func proposal(n int, total int64) *Proposal {
	return &Proposal{
		Key: keyOf(n),
		Stored: &message.Stored{
			Status: 200, Length: total,
			Head:  []byte("Content-Type: text/plain\r\nETag: \"abc\"\r\nCache-Control: max-age=60\r\n"),
			Terms: message.Terms{FreshnessLifetime: 60 * message.Second, ETag: []byte(`"abc"`)},
		},
		Scheme: "https", Authority: []byte("example.com"), Target: []byte("/path/to/it"), Total: total,
	}
}

// put stores body under key n.
func put(t testing.TB, m *Memory, n int, body []byte) error {
	t.Helper()
	p := proposal(n, int64(len(body)))
	p.Stored.ResponseTime = m.clock()
	w, err := m.Begin(p)
	if err != nil {
		return err
	}
	if err := w.Write(context.Background(), body); err != nil {
		return err
	}
	return w.Commit(nil)
}

// has reports whether key n is found, without counting as a reader.
func has(m *Memory, n int) bool {
	list := m.Lookup(nil, keyOf(n))
	for _, e := range list {
		e.Release()
	}
	return len(list) > 0
}

func TestMemoryFindsWhatItStored(t *testing.T) {
	m := open(t, MemoryOptions{})
	body := bytes.Repeat([]byte("0123456789"), 100)
	if err := put(t, m, 1, body); err != nil {
		t.Fatal(err)
	}
	list := m.Lookup(nil, keyOf(1))
	if len(list) != 1 || !bytes.Equal(list[0].Bytes(), body) {
		t.Fatalf("found %d entries", len(list))
	}
	if m := list[0].Meta(); m.Authority != "example.com" || m.Tier != "memory" || m.Hits != 1 {
		t.Fatalf("meta %+v", m)
	}
	list[0].Release()
}

func TestLookupDoesNotAllocate(t *testing.T) {
	if instrumented {
		t.Log("the race detector allocates; measured in plain builds")
		return
	}
	m := open(t, MemoryOptions{})
	if err := put(t, m, 1, make([]byte, 1024)); err != nil {
		t.Fatal(err)
	}
	dst, key := make([]Entry, 0, 4), keyOf(1)
	n := testing.AllocsPerRun(10000, func() {
		dst = m.Lookup(dst[:0], key)
		if dst[0].Stored().Status != 200 || len(dst[0].Bytes()) != 1024 {
			t.Fatal("wrong entry")
		}
		dst[0].Release()
	})
	if n != 0 {
		t.Fatalf("%v allocations a lookup", n)
	}
}

func TestMemoryOptions(t *testing.T) {
	for _, o := range []MemoryOptions{
		{},
		{Size: MinMemory - 1},
		{Size: 1 << 20, ChunkSize: 5000},
		{Size: 1 << 20, ChunkSize: 2 << 20},
		{Size: 1 << 20, MaxObject: 2 << 20},
		{Size: 1 << 20, MaxObject: -1},
		{Size: 1 << 20, Window: -1},
	} {
		if m, err := NewMemory(o); err == nil {
			m.Close()
			t.Errorf("%+v was accepted", o)
		}
	}
	for size := int64(MinMemory); size < 1<<40; size *= 3 {
		o := MemoryOptions{Size: size}
		if err := o.complete(); err != nil {
			t.Errorf("size %d: %v", size, err)
		}
		if o.MaxObject > size/2 || o.Window > size/2 || o.ChunkSize > maxDefaultChunk {
			t.Errorf("size %d: %+v", size, o)
		}
	}
}

// TestNewcomersAreFound: in a full store, too, what was stored is found when
// Commit returns, whatever its size.
func TestNewcomersAreFound(t *testing.T) {
	m := open(t, MemoryOptions{Size: 2 << 20, ChunkSize: 16 << 10})
	for i := range 3000 {
		size := []int{100, 5000, 200000, 30000, 800}[i%5]
		if err := put(t, m, i, make([]byte, size)); err != nil {
			t.Fatalf("%d bytes: %v", size, err)
		}
		if !has(m, i) {
			t.Fatalf("object %d of %d bytes is not found", i, size)
		}
	}
	if s := m.Stats(); s.Rejected+s.Evicted == 0 {
		t.Fatal("the store never filled: nothing was tested")
	}
}

// TestContiguous: a body of up to a chunk is had by Bytes, however it came.
func TestContiguous(t *testing.T) {
	m := open(t, MemoryOptions{ChunkSize: 16 << 10})
	for i, n := range []int{0, 1, 4096, 4097, 10000, 16<<10 - 1, 16 << 10} {
		for _, total := range []int64{int64(n), message.LengthUnknown} {
			w, err := m.Begin(proposal(i, total))
			if err != nil {
				t.Fatal(err)
			}
			for range n {
				if err := w.Write(context.Background(), []byte{7}); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.Commit(nil); err != nil {
				t.Fatal(err)
			}
			list := m.Lookup(nil, keyOf(i))
			if b := list[0].Bytes(); len(b) != n || b == nil {
				t.Fatalf("%d bytes of %d, announced %d", len(b), n, total)
			}
			list[0].Release()
		}
	}
}

// TestUnannouncedBodiesTakeWhatTheyNeed: what a writer took in advance, because
// it could not know, is given back.
func TestUnannouncedBodiesTakeWhatTheyNeed(t *testing.T) {
	m := open(t, MemoryOptions{ChunkSize: 64 << 10})
	for i, n := range []int{1, 5000, 17000, 66 << 10} {
		before := m.Stats().Bytes
		w, err := m.Begin(proposal(i, message.LengthUnknown))
		if err != nil {
			t.Fatal(err)
		}
		for range n {
			if err := w.Write(context.Background(), []byte{1}); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Commit(nil); err != nil {
			t.Fatal(err)
		}
		if took := m.Stats().Bytes - before; took > int64(n)*3/2+2048 {
			t.Errorf("a body of %d bytes takes %d", n, took)
		}
	}
}

// TestPendingBodiesLeaveRoom: bodies being written do not push out everything
// else: beyond their share they go on in windows, and are whole for those who
// read them.
func TestPendingBodiesLeaveRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := open(t, MemoryOptions{Size: 4 << 20, MaxObject: 1 << 20, Window: 64 << 10, ChunkSize: 16 << 10, Poison: true})
		body := bytes.Repeat([]byte("0123456789abcdef"), 60<<10) // 960 KiB
		var writers []Writer
		var readers []Reader
		whole := make(chan bool)
		for i := range 8 { // twice the budget
			w, err := m.Begin(proposal(i, int64(len(body))))
			if err != nil {
				t.Fatal(err)
			}
			e := w.Entry()
			r := e.Reader(0, -1)
			e.Release()
			writers, readers = append(writers, w), append(readers, r)
		}
		for _, r := range readers {
			go func() {
				n := 0
				for {
					p, err := r.Next(context.Background())
					if err != nil {
						r.Close()
						whole <- n == len(body)
						return
					}
					if !bytes.Equal(p, body[n:n+len(p)]) {
						t.Error("wrong bytes")
					}
					n += len(p)
				}
			}()
		}
		for off := 0; off < len(body); off += 32 << 10 {
			for _, w := range writers {
				if err := w.Write(context.Background(), body[off:off+32<<10]); err != nil {
					t.Fatal(err)
				}
			}
			if n := m.pending.Load(); n > 3<<20 {
				t.Fatalf("%d bytes are taken by bodies being written", n)
			}
		}
		kept := 0
		for _, w := range writers {
			if w.Commit(nil) == nil {
				kept++
			}
		}
		for range readers {
			if !<-whole {
				t.Error("a reader that kept up did not get the whole body")
			}
		}
		if kept == 0 || kept == len(writers) || m.pending.Load() != 0 {
			t.Fatalf("%d of %d kept, %d bytes still pending", kept, len(writers), m.pending.Load())
		}
	})
}

// TestWindowWithoutMemory: where every byte of the store is taken by what
// cannot be evicted, a body on its way goes on with what it has; and one that
// has nothing is refused before anything depends on it.
func TestWindowWithoutMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := open(t, MemoryOptions{Size: 1 << 20, ChunkSize: 16 << 10, Poison: true})
		body := bytes.Repeat([]byte("0123456789abcdef"), 60<<10)
		w, err := m.Begin(proposal(1, message.LengthUnknown))
		if err != nil {
			t.Fatal(err)
		}
		e := w.Entry()
		var held []Entry
		for i := 100; ; i++ { // retained, so that nothing can go
			if err := put(t, m, i, make([]byte, 10000)); err != nil {
				if !errors.Is(err, ErrFull) {
					t.Fatal(err)
				}
				break
			}
			held = m.Lookup(held, keyOf(i))
		}
		if _, err := m.Begin(proposal(2, 100000)); !errors.Is(err, ErrFull) {
			t.Fatalf("begin without any room: %v", err)
		}
		got := make(chan []byte)
		go func() {
			time.Sleep(firstReaderWait / 2) // late, but not too late
			r := e.Reader(0, -1)
			e.Release()
			var all []byte
			for {
				p, err := r.Next(context.Background())
				if err != nil {
					r.Close()
					got <- all
					return
				}
				all = append(all, p...)
			}
		}()
		if err := w.Write(context.Background(), body); err != nil {
			t.Fatal(err)
		}
		if err := w.Commit(nil); !errors.Is(err, ErrFull) {
			t.Fatalf("commit: %v", err)
		}
		if all := <-got; !bytes.Equal(all, body) {
			t.Fatalf("the reader got %d bytes of %d", len(all), len(body))
		}
		for _, e := range held {
			e.Release()
		}
		if err := put(t, m, 3, body[:100000]); err != nil {
			t.Fatalf("after everything was released: %v", err)
		}
	})
}
