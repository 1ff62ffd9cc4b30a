package storagetest

import (
	"errors"
	"testing"

	"edge/cache/storage"
	"edge/message"
)

// testLedger: "what was purged is not returned, what was soft-purged is
// returned with TermInvalidated".
func testLedger(t *testing.T, s suite) {
	l := &Ledger{}
	st := s.store(t, l)
	for i := range 4 {
		mustPut(t, st, item{key: i, body: []byte("x")})
	}
	l.Purge(Key(0), false)
	l.Purge(Key(1), true)
	wantNone(t, st, 0)
	for range 2 { // and again, when it was checked already
		e := one(t, st, 1)
		if !e.Stored().Terms.Flags.Has(message.TermInvalidated) {
			t.Fatal("soft-purged, but not invalidated")
		}
		e.Release()
	}
	e := one(t, st, 2)
	if e.Stored().Terms.Flags.Has(message.TermInvalidated) {
		t.Fatal("invalidated, but not purged")
	}
	e.Release()
	// What is stored after a purge is not touched by it.
	mustPut(t, st, item{key: 0, seq: l.Sequence(), body: []byte("after")})
	mustPut(t, st, item{key: 1, seq: l.Sequence(), body: []byte("after")})
	for i := range 2 {
		e := one(t, st, i)
		wantBody(t, e, []byte("after"))
		if e.Stored().Terms.Flags.Has(message.TermInvalidated) {
			t.Fatal("purged before it was stored")
		}
		e.Release()
	}
}

// testLedgerWriters: "an invalidation or purge that matches arrived during the
// writing; the body goes on to its readers but is not kept".
func testLedgerWriters(t *testing.T, s suite) {
	l := &Ledger{}
	st := s.store(t, l)
	for _, soft := range []bool{false, true} {
		w := begin(t, st, item{key: 1, seq: l.Sequence(), body: []byte("abc")})
		other := begin(t, st, item{key: 2, seq: l.Sequence(), body: []byte("abc")})
		follower := w.Entry()
		write(t, w, []byte("a"))
		l.Purge(Key(1), soft)
		write(t, w, []byte("bc"))
		if err := w.Commit(nil); !errors.Is(err, storage.ErrDoomed) {
			t.Fatalf("commit after a purge (soft %v): %v", soft, err)
		}
		wantNone(t, st, 1)
		wantBody(t, follower, []byte("abc"))
		follower.Release()
		write(t, other, []byte("abc"))
		if err := other.Commit(nil); err != nil {
			t.Fatalf("commit of what no purge matches: %v", err)
		}
	}
	// A doomed writer leaves alone what is there.
	mustPut(t, st, item{key: 3, seq: l.Sequence(), body: []byte("kept")})
	w := begin(t, st, item{key: 3, seq: 0, body: []byte("late")})
	write(t, w, []byte("late"))
	l.Purge(Key(3), true)
	if err := w.Commit(nil); !errors.Is(err, storage.ErrDoomed) {
		t.Fatal(err)
	}
	e := one(t, st, 3)
	defer e.Release()
	wantBody(t, e, []byte("kept"))
}

// testLedgerFreshen: "a refresh sets it to the sequence at the refresh's
// start".
func testLedgerFreshen(t *testing.T, s suite) {
	l := &Ledger{}
	st := s.store(t, l)
	mustPut(t, st, item{key: 1, body: []byte("x")})
	began := l.Sequence()
	l.Purge(Key(1), true)
	e := one(t, st, 1)
	head := *e.Stored()
	head.Terms.Flags &^= message.TermInvalidated
	if err := st.Freshen(e, &head, began); err != nil {
		t.Fatal(err)
	}
	e.Release()
	e = one(t, st, 1)
	if !e.Stored().Terms.Flags.Has(message.TermInvalidated) {
		t.Fatal("a refresh begun before the soft purge undid it")
	}
	if err := st.Freshen(e, &head, l.Sequence()); err != nil {
		t.Fatal(err)
	}
	e.Release()
	e = one(t, st, 1)
	if e.Stored().Terms.Flags.Has(message.TermInvalidated) {
		t.Fatal("a refresh begun after the soft purge is not fresh")
	}
	e.Release()
	began = l.Sequence()
	e = one(t, st, 1)
	l.Purge(Key(1), false)
	if err := st.Freshen(e, &head, began); err == nil {
		wantNone(t, st, 1)
	}
	e.Release()
	wantNone(t, st, 1)
}
