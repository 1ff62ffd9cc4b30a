package storagetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"edge/cache/storage"
	"edge/message"
)

// testLengths: bodies of every awkward length, announced and not.
func testLengths(t *testing.T, s suite) {
	st := s.store(t, nil)
	lengths := []int{0, 1, 255, 256, 4095, 4096, 4097, chunkSize - 1, chunkSize, chunkSize + 1,
		2 * chunkSize, 3*chunkSize + 7, 300 << 10, maxObject - 1, maxObject}
	for i, n := range lengths {
		for _, unknown := range []bool{false, true} {
			body := content(uint64(i), n)
			mustPut(t, st, item{key: i, body: body, unknown: unknown})
			e := one(t, st, i)
			wantBody(t, e, body)
			if n == 0 && e.Bytes() == nil {
				t.Fatal("an empty complete body returns a non-nil empty slice")
			}
			e.Release()
		}
	}
	// No write at all is an empty body, and so is an empty write.
	w := begin(t, st, item{key: 99, unknown: true})
	if err := w.Write(context.Background(), nil); err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(nil); err != nil {
		t.Fatal(err)
	}
	e := one(t, st, 99)
	defer e.Release()
	wantBody(t, e, nil)
}

// testAnnounced: "A body shorter or longer than an announced Total is an
// abort."
func testAnnounced(t *testing.T, s suite) {
	st := s.store(t, nil)
	for _, total := range []int{1, 10, 3 * chunkSize} {
		for _, written := range []int{0, total - 1, total + 1} {
			body := content(1, written)
			p := item{key: 1, body: body}.proposal()
			p.Total = int64(total)
			w, err := st.Begin(p)
			if err != nil {
				t.Fatal(err)
			}
			e := w.Entry()
			r := e.Reader(0, -1)
			err = w.Write(context.Background(), body)
			if err == nil {
				err = w.Commit(nil)
			}
			if !errors.Is(err, storage.ErrAborted) {
				t.Fatalf("%d bytes of %d announced: %v", written, total, err)
			}
			if _, err := drain(r); !errors.Is(err, storage.ErrAborted) {
				t.Fatalf("the reader of %d bytes of %d announced: %v", written, total, err)
			}
			r.Close()
			if e.Bytes() != nil {
				t.Fatal("bytes of an aborted body")
			}
			e.Release()
			w.Abort(errors.New("deferred"))
			wantNone(t, st, 1)
		}
	}
	if n := st.Stats(); n.Aborted != 9 || n.Stored != 0 {
		t.Fatalf("stats %+v", n)
	}
}

// testRanges: "Reader opens the body at offset for n bytes (n < 0: to the
// end)."
func testRanges(t *testing.T, s suite) {
	st := s.store(t, nil)
	body := content(1, 5*chunkSize+100)
	mustPut(t, st, item{key: 1, body: body})
	e := one(t, st, 1)
	defer e.Release()
	end := int64(len(body))
	for _, c := range [][2]int64{
		{0, 0}, {0, 1}, {0, -1}, {5, 10}, {chunkSize - 1, 2}, {chunkSize, chunkSize}, {chunkSize + 1, 3 * chunkSize},
		{end - 1, 1}, {end - 1, -1}, {end - 1, 100}, {end, -1}, {end, 5}, {end + 100, -1}, {17, end}, {1, 1<<63 - 1},
	} {
		from, to := min(c[0], end), end
		if c[1] >= 0 && c[1] < end-from {
			to = from + c[1]
		}
		got, err := read(e, c[0], c[1])
		if err != nil || !bytes.Equal(got, body[from:to]) {
			t.Fatalf("%d bytes from %d: %d bytes, %v", c[1], c[0], len(got), err)
		}
	}
	r := e.Reader(0, -1)
	if _, err := r.Next(context.Background()); err != nil {
		t.Fatal(err)
	}
	r.Close()
	r.Close() // "Idempotent."
	if _, err := r.Next(context.Background()); err == nil || err == io.EOF {
		t.Fatalf("reading after close: %v", err)
	}
}

// testTrailers: "Meaningful once the body is complete."
func testTrailers(t *testing.T, s suite) {
	st := s.store(t, nil)
	w := begin(t, st, item{key: 1, body: []byte("abc"), unknown: true})
	e := w.Entry()
	defer e.Release()
	write(t, w, []byte("abc"))
	if e.Trailers() != nil {
		t.Fatal("trailers before the end")
	}
	r := e.Reader(0, -1)
	defer r.Close()
	trailers := []byte("Digest: x\r\nServer-Timing: y\r\n")
	if err := w.Commit(trailers); err != nil {
		t.Fatal(err)
	}
	clear(trailers)
	if _, err := drain(r); err != nil {
		t.Fatal(err)
	}
	f := one(t, st, 1)
	defer f.Release()
	for _, e := range []storage.Entry{e, f} {
		if string(e.Trailers()) != "Digest: x\r\nServer-Timing: y\r\n" {
			t.Fatalf("trailers %q", e.Trailers())
		}
	}
	mustPut(t, st, item{key: 2, body: []byte("abc")})
	g := one(t, st, 2)
	defer g.Release()
	if g.Trailers() != nil {
		t.Fatalf("trailers %q from nowhere", g.Trailers())
	}
}

// testMisuse: what must fail, and leave the store as it was.
func testMisuse(t *testing.T, s suite) {
	st := s.store(t, nil)
	p := item{key: 1, part: true, offset: 5, total: message.LengthUnknown}.proposal()
	if _, err := st.Begin(p); err == nil {
		t.Fatal("a part of nothing known began")
	}
	p = item{key: 1, part: true, offset: 11, total: 10}.proposal()
	if _, err := st.Begin(p); err == nil {
		t.Fatal("a part beyond the end began")
	}
	w := begin(t, st, item{key: 1, body: []byte("abc")})
	write(t, w, []byte("abc"))
	if err := w.Commit(nil); err != nil {
		t.Fatal(err)
	}
	if err := w.Write(context.Background(), []byte("d")); err == nil {
		t.Fatal("a write after the commit")
	}
	if err := w.Commit(nil); err == nil {
		t.Fatal("a second commit")
	}
	e := one(t, st, 1)
	defer e.Release()
	wantBody(t, e, []byte("abc"))
}

// testClose: "Entries retained stay readable until released; Lookup finds
// nothing and Begin returns ErrClosed from then on."
func testClose(t *testing.T, s suite) {
	st := s.store(t, nil)
	mustPut(t, st, item{key: 1, body: content(1, 70000)})
	e := one(t, st, 1)
	r := e.Reader(0, -1)
	w := begin(t, st, item{key: 2, body: []byte("abc")})
	follower := w.Entry()
	write(t, w, []byte("ab"))
	for range 2 {
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
	}
	wantNone(t, st, 1)
	if _, err := st.Begin(item{key: 3}.proposal()); !errors.Is(err, storage.ErrClosed) {
		t.Fatalf("begin after close: %v", err)
	}
	write(t, w, []byte("c"))
	if err := w.Commit(nil); !errors.Is(err, storage.ErrClosed) {
		t.Fatalf("commit after close: %v", err)
	}
	wantBody(t, follower, []byte("abc"))
	follower.Release()
	wantNone(t, st, 2)
	wantBody(t, e, content(1, 70000))
	e.Release()
	if got, err := drain(r); err != nil || !bytes.Equal(got, content(1, 70000)) {
		t.Fatalf("a reader after close: %d bytes, %v", len(got), err)
	}
	r.Close()
	if n := st.Invalidate(Key(1)); n != 0 {
		t.Fatalf("%d entries invalidated after close", n)
	}
}

// testBudget: however much is stored, the budget holds, and what is found is
// right.
func testBudget(t *testing.T, s suite) {
	st := s.sized(t, Options{Size: 1 << 20, MaxObject: 256 << 10, Window: 64 << 10, ChunkSize: 8 << 10})
	stored := 2000
	keep := func(i int) {
		n := []int{10, 1000, 5000, 20000, 100000}[i%5]
		if i >= 1000 { // a change of sizes must not starve the new ones
			n = 12000
		}
		body := content(uint64(i), n)
		if err := put(t, st, item{key: i, body: body, unknown: i%2 == 0}); err != nil && !errors.Is(err, storage.ErrFull) {
			t.Fatalf("storing %d bytes: %v", n, err)
		}
		if st := st.Stats(); st.Bytes > st.Budget || st.Budget != 1<<20 {
			t.Fatalf("%d bytes of %d", st.Bytes, st.Budget)
		}
		for _, e := range lookup(st, i) {
			wantBody(t, e, body)
			e.Release()
		}
	}
	for i := range stored {
		keep(i)
	}
	newer := func() (found int) {
		for i := 1000; i < stored; i++ {
			list := lookup(st, i)
			found += min(len(list), 1)
			release(list)
		}
		return found
	}
	// Of about 80 that fit. What lies in memory goes to disks behind the look-ups,
	// which on a busy machine takes more of them.
	for ; newer() < 30; stored++ {
		if stored == 6000 {
			t.Fatalf("only %d of the newer size are kept", newer())
		}
		keep(stored)
		time.Sleep(time.Millisecond)
	}
	if n := st.Stats(); n.Evicted+n.Rejected == 0 {
		t.Fatalf("stats %+v", n)
	}
}
