package storagetest

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"edge/cache/storage"
	"edge/message"
)

// partOf returns [from, to) of a body as something to store.
func partOf(key int, body []byte, from, to int) item {
	return item{key: key, part: true, offset: int64(from), total: int64(len(body)), body: body[from:to]}
}

// wantHeld checks the ranges that e holds, and that they read right.
func wantHeld(t fataler, e storage.Entry, body []byte, want ...storage.ByteRange) {
	t.Helper()
	got := e.Held(nil)
	if !slices.Equal(got, want) {
		t.Fatalf("held %v, want %v", got, want)
	}
	for _, r := range got {
		p, err := read(e, r.Start, r.End-r.Start)
		if err != nil || !bytes.Equal(p, body[r.Start:r.End]) {
			t.Fatalf("reading %v: %d bytes, %v", r, len(p), err)
		}
	}
}

// testParts: parts "never to be found as a whole until the last missing byte
// is held".
func testParts(t *testing.T, s suite) {
	st := s.store(t, nil)
	body := content(1, 10*chunkSize+33)
	end := len(body)
	mustPut(t, st, partOf(1, body, 1000, 5000))
	e := one(t, st, 1)
	if !e.Stored().Terms.Flags.Has(message.TermPartial) || e.Bytes() != nil || e.Size() != int64(end) {
		t.Fatalf("a part: flags %x, size %d", e.Stored().Terms.Flags, e.Size())
	}
	wantHeld(t, e, body, storage.ByteRange{Start: 1000, End: 5000})
	for _, c := range [][2]int64{{0, 10}, {4999, 2}, {1000, -1}, {6000, 1}} {
		if got, err := read(e, c[0], c[1]); !errors.Is(err, storage.ErrGone) {
			t.Fatalf("reading %d bytes at %d, which are not held: %d bytes, %v", c[1], c[0], len(got), err)
		}
	}
	// Freshened, it is no more of a whole than it was, whatever its head says.
	head := *e.Stored()
	head.Terms.Flags &^= message.TermPartial
	if err := st.Freshen(e, &head, 0); err != nil || !e.Stored().Terms.Flags.Has(message.TermPartial) {
		t.Fatalf("a freshened part: %v, flags %x", err, e.Stored().Terms.Flags)
	}
	early := e
	mustPut(t, st, partOf(1, body, 8*chunkSize, end))
	mustPut(t, st, partOf(1, body, 4000, 7000)) // overlaps
	e = one(t, st, 1)
	wantHeld(t, e, body, storage.ByteRange{Start: 1000, End: 7000}, storage.ByteRange{Start: 8 * chunkSize, End: int64(end)})
	e.Release()
	mustPut(t, st, partOf(1, body, 7000, 8*chunkSize))
	e = one(t, st, 1)
	wantHeld(t, e, body, storage.ByteRange{Start: 1000, End: int64(end)})
	if !e.Stored().Terms.Flags.Has(message.TermPartial) {
		t.Fatal("a byte short of the whole, but not partial")
	}
	e.Release()
	mustPut(t, st, partOf(1, body, 0, 1000))
	e = one(t, st, 1)
	if e.Stored().Terms.Flags.Has(message.TermPartial) {
		t.Fatal("whole, but partial")
	}
	wantBody(t, e, body)
	e.Release()
	mustPut(t, st, partOf(1, body, 500, 600)) // of what is whole: it stays whole
	e = one(t, st, 1)
	wantBody(t, e, body)
	e.Release()
	wantHeld(t, early, body, storage.ByteRange{Start: 1000, End: 5000})
	early.Release()
	if n := st.Stats(); n.Entries != 1 {
		t.Fatalf("%d entries for one representation", n.Entries)
	}
}

// testPartsOrder: any cover of the body by parts, in any order, ends in the
// whole and never shows it sooner.
func testPartsOrder(t *testing.T, s suite) {
	st := s.store(t, nil)
	rnd := rand.New(rand.NewPCG(1, 2))
	for round := range 40 {
		body := content(uint64(round), 1+rnd.IntN(6*chunkSize))
		have := make([]bool, len(body))
		missing := len(body)
		for missing > 0 {
			from := rnd.IntN(len(body))
			to := min(from+1+rnd.IntN(2*chunkSize), len(body))
			if rnd.IntN(4) == 0 { // aim at what is missing
				from = slices.Index(have, false)
				to = max(to, from+1)
			}
			mustPut(t, st, partOf(round, body, from, to))
			for i := from; i < to; i++ {
				if !have[i] {
					have[i] = true
					missing--
				}
			}
			e := one(t, st, round)
			wantHeld(t, e, body, runs(have)...)
			if whole := !e.Stored().Terms.Flags.Has(message.TermPartial); whole != (missing == 0) {
				t.Fatalf("whole %v with %d bytes missing", whole, missing)
			}
			e.Release()
		}
		e := one(t, st, round)
		wantBody(t, e, body)
		e.Release()
	}
}

// runs returns the ranges of true.
func runs(have []bool) (list []storage.ByteRange) {
	for i := 0; i < len(have); i++ {
		if !have[i] {
			continue
		}
		j := i
		for j < len(have) && have[j] {
			j++
		}
		list = append(list, storage.ByteRange{Start: int64(i), End: int64(j)})
		i = j
	}
	return list
}

// testPartsMismatch: only under one strong validator and one length.
func testPartsMismatch(t *testing.T, s suite) {
	st := s.store(t, nil)
	body := content(1, 1000)
	other := content(2, 1000)
	for i, c := range []struct {
		first, second string
		flags         message.TermFlags
		longer        bool
		joined        bool
	}{
		{first: `"a"`, second: `"a"`, joined: true},
		{first: `"a"`, second: `"b"`},
		{first: `W/"a"`, second: `W/"a"`},
		{first: `W/"a"`, second: `W/"a"`, flags: message.TermLastModifiedStrong, joined: true},
		{first: `"a"`, second: `W/"a"`, flags: message.TermLastModifiedStrong},
		{first: `"a"`, second: `"a"`, longer: true},
	} {
		a := partOf(i, body, 0, 500)
		a.etag, a.flags = c.first, c.flags
		mustPut(t, st, a)
		from := other
		if c.joined {
			from = body
		}
		if c.longer {
			from = content(3, 1001)
		}
		b := partOf(i, from, 500, 700)
		b.etag, b.flags = c.second, c.flags
		mustPut(t, st, b)
		e := one(t, st, i)
		if c.joined {
			wantHeld(t, e, body, storage.ByteRange{Start: 0, End: 700})
		} else {
			wantHeld(t, e, from, storage.ByteRange{Start: 500, End: 700})
		}
		e.Release()
	}
	// A part of something newer takes the place of a whole that is obsolete,
	// and a whole that of parts.
	mustPut(t, st, item{key: 50, body: body})
	p := partOf(50, other, 0, 10)
	p.etag = `"v2"`
	mustPut(t, st, p)
	e := one(t, st, 50)
	wantHeld(t, e, other, storage.ByteRange{Start: 0, End: 10})
	e.Release()
	mustPut(t, st, item{key: 50, body: body})
	e = one(t, st, 50)
	wantBody(t, e, body)
	e.Release()
}

// testPartsAborted: "For parts under a strong validator, whole chunks may
// stay": those and no more.
func testPartsAborted(t *testing.T, s suite) {
	st := s.store(t, nil)
	body := content(1, 10*chunkSize)
	for i, etag := range []string{`"strong"`, `W/"weak"`} {
		it := partOf(i, body, 100, 3*chunkSize+50)
		it.etag = etag
		w := begin(t, st, it)
		e := w.Entry()
		r := e.Reader(100, 1000)
		write(t, w, it.body)
		w.Abort(errors.New("cut"))
		if _, err := drain(r); !errors.Is(err, storage.ErrAborted) {
			t.Fatal(err)
		}
		r.Close()
		e.Release()
		list := lookup(st, i)
		for _, e := range list {
			if etag[0] == 'W' || !e.Stored().Terms.Flags.Has(message.TermPartial) {
				t.Fatal("more was kept than may be")
			}
			for _, h := range e.Held(nil) {
				if h.Start < 100 || h.End > 3*chunkSize {
					t.Fatalf("%v is held of an aborted part", h)
				}
			}
			wantHeld(t, e, body, e.Held(nil)...)
		}
		release(list)
	}
	// What was held before stays whatever becomes of the next part.
	mustPut(t, st, partOf(5, body, 0, 10))
	w := begin(t, st, partOf(5, body, 10, 20))
	write(t, w, body[10:15])
	w.Abort(errors.New("cut"))
	e := one(t, st, 5)
	defer e.Release()
	wantHeld(t, e, body, storage.ByteRange{Start: 0, End: 10})
}

// testPartsFollowed: who follows a part reads it to its end, whatever of it turns out
// to be held already, and whatever takes the memory of what is not kept twice.
func testPartsFollowed(t *testing.T, s suite) {
	st := s.store(t, nil)
	body := content(1, 8*chunkSize)
	for i, had := range [][2]int{{0, 6 * chunkSize}, {2*chunkSize + 100, 4 * chunkSize}, {3 * chunkSize, 3*chunkSize + 1}, {4 * chunkSize, 7 * chunkSize}} {
		mustPut(t, st, partOf(i, body, had[0], had[1]))
		const from, to = chunkSize, 6 * chunkSize
		w := begin(t, st, partOf(i, body, from, to))
		e := w.Entry()
		r := e.Reader(from, to-from)
		write(t, w, body[from:to])
		first, err := r.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got := bytes.Clone(first)
		if err := w.Commit(nil); err != nil {
			t.Fatalf("a part beside %v: %v", had, err)
		}
		other := content(uint64(100+i), 5*chunkSize)
		mustPut(t, st, item{key: 100 + i, total: int64(len(other)), body: other})
		rest, err := drain(r)
		if got = append(got, rest...); err != nil || !bytes.Equal(got, body[from:to]) {
			t.Fatalf("following a part beside %v, which is held: %d bytes of %d, right: %v; %v", had, len(got), to-from, bytes.HasPrefix(body[from:], got), err)
		}
		r.Close()
		e.Release()
	}
}

// testPartsSequence: what is joined has been judged by the purges so far, each part by its
// own names, and counts as stored then.
func testPartsSequence(t *testing.T, s suite) {
	l := &Ledger{}
	st := s.store(t, l)
	body := content(1, 1000)
	mustPut(t, st, partOf(1, body, 0, 500))
	l.Purge(Key(99), false) // another key: the numbers go on
	l.Purge(Key(99), false)
	p := partOf(1, body, 500, 1000)
	p.seq = l.Sequence()
	mustPut(t, st, p)
	e := one(t, st, 1)
	wantBody(t, e, body)
	if e.Sequence() != l.Sequence() {
		t.Fatalf("sequence %d of what was joined, want %d", e.Sequence(), l.Sequence())
	}
	e.Release()
	// A part that is purged while another is fetched does not come back.
	mustPut(t, st, func() item { p := partOf(2, body, 0, 500); p.seq = l.Sequence(); return p }())
	l.Purge(Key(2), false)
	p = partOf(2, body, 500, 600)
	p.seq = l.Sequence()
	mustPut(t, st, p)
	for _, e := range lookup(st, 2) {
		wantHeld(t, e, body, storage.ByteRange{Start: 500, End: 600})
		e.Release()
	}
	p = partOf(2, body, 600, 700)
	p.seq = l.Sequence()
	w := begin(t, st, p)
	write(t, w, p.body)
	st.Invalidate(Key(2))
	if err := w.Commit(nil); !errors.Is(err, storage.ErrDoomed) {
		t.Fatalf("a part over an invalidation: %v", err)
	}
}
