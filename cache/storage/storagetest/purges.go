package storagetest

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"edge/cache/storage"
	"edge/message"
)

// testLedger: "what was purged is not returned, what was soft-purged is
// returned with TermSoftPurged".
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
		if !e.Stored().Terms.Flags.Has(message.TermSoftPurged) {
			t.Fatal("soft-purged, but not marked so")
		}
		if s := e.Stored(); s.Terms.FreshnessLifetime > s.CurrentAge(message.Instant(time.Now().UnixNano())) {
			t.Fatal("soft-purged, but its lifetime goes on")
		}
		e.Release()
	}
	e := one(t, st, 2)
	if e.Stored().Terms.Flags.Has(message.TermSoftPurged) {
		t.Fatal("soft-purged by nobody")
	}
	e.Release()
	// What is stored after a purge is not touched by it.
	mustPut(t, st, item{key: 0, seq: l.Sequence(), body: []byte("after")})
	mustPut(t, st, item{key: 1, seq: l.Sequence(), body: []byte("after")})
	for i := range 2 {
		e := one(t, st, i)
		wantBody(t, e, []byte("after"))
		if e.Stored().Terms.Flags.Has(message.TermSoftPurged) {
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
	head.Terms.Flags &^= message.TermSoftPurged
	if err := st.Freshen(e, &head, began); err != nil {
		t.Fatal(err)
	}
	e.Release()
	e = one(t, st, 1)
	if !e.Stored().Terms.Flags.Has(message.TermSoftPurged) {
		t.Fatal("a refresh begun before the soft purge undid it")
	}
	if err := st.Freshen(e, &head, l.Sequence()); err != nil {
		t.Fatal(err)
	}
	e.Release()
	e = one(t, st, 1)
	if e.Stored().Terms.Flags.Has(message.TermSoftPurged) {
		t.Fatal("a refresh begun after the soft purge is not fresh")
	}
	e.Release()
	began = l.Sequence()
	e = one(t, st, 1)
	l.Purge(Key(1), false)
	if err := st.Freshen(e, &head, began); !errors.Is(err, storage.ErrGone) {
		t.Fatalf("freshened what was purged meanwhile: %v", err)
	}
	e.Release()
	wantNone(t, st, 1)
}

// testLedgerParts: what a purge takes is not there as a part of what it does not take,
// which was asked for before the purge and has no such tag.
func testLedgerParts(t *testing.T, s suite) {
	body := content(5, 4*chunkSize)
	const middle = 2 * chunkSize
	for _, v := range []storage.Verdict{storage.Removed, storage.Stale, storage.Invalid} {
		for _, taken := range []bool{false, true} {
			l := &named{}
			st := s.store(t, l)
			tagged := partOf(1, body, 0, middle)
			tagged.tags = []string{"t"}
			mustPut(t, st, tagged)
			w := begin(t, st, partOf(1, body, middle, len(body)))
			write(t, w, body[middle:])
			p := l.purge(v, storage.Selector{Kind: storage.ByTag, Name: "t"})
			if taker, can := st.(storage.Taker); can && taken {
				taker.Take([]storage.Taking{p})
			}
			if err := w.Commit(nil); err != nil {
				t.Fatal(err)
			}
			e := one(t, st, 1)
			wantHeld(t, e, body, storage.ByteRange{Start: middle, End: int64(len(body))})
			e.Release()
		}
	}
}

// testWitness: each entry that a purge takes is told of once, whoever finds it.
func testWitness(t *testing.T, s suite) {
	l := &witness{}
	st := s.store(t, l)
	const n = 50
	for i := range n {
		mustPut(t, st, item{key: i, body: []byte("x")})
		l.Purge(Key(i), i%2 == 0)
	}
	var looking sync.WaitGroup
	for range 4 {
		looking.Go(func() {
			st.Each(func(storage.Entry) bool { return true })
			for i := range n {
				release(lookup(st, i))
			}
		})
	}
	looking.Wait()
	if got := l.took.Load(); got != n {
		t.Fatalf("%d entries were said to be taken, want %d", got, n)
	}
	l.Purge(Key(0), true)
	st.Each(func(storage.Entry) bool { return true })
	if got := l.took.Load(); got != n {
		t.Fatal("what is soft-purged already was taken again")
	}
	w := begin(t, st, item{key: n, seq: l.Sequence(), body: []byte("x")})
	l.Purge(Key(n), false)
	write(t, w, []byte("x"))
	if err := w.Commit(nil); !errors.Is(err, storage.ErrDoomed) || l.took.Load() != n {
		t.Fatalf("what was never found was taken: %v", err)
	}
}

// witness counts what its purges take.
type witness struct {
	Ledger
	took atomic.Int64
}

// Took counts.
func (w *witness) Took(e storage.Entry, _ uint64, _ message.TermFlags, _ bool) {
	if _, authority, _ := e.Names().URI(); len(authority) > 0 {
		w.took.Add(1)
	}
}

// testNames: Names is Meta's, without allocating.
func testNames(t *testing.T, s suite) {
	st := s.store(t, nil)
	mustPut(t, st, item{key: 1, tags: []string{"a", "bb"}, groups: []string{"G"}, body: []byte("x")})
	mustPut(t, st, item{key: 2, body: []byte("x")})
	for key, want := range map[int]string{1: "https example.com /item/1?x=y a bb | G", 2: "https example.com /item/2?x=y |"} {
		e := one(t, st, key)
		n := e.Names()
		scheme, authority, target := n.URI()
		tags, groups := n.Lists()
		got := fmt.Sprintf("%s %s %s", scheme, authority, target)
		for name, ok := tags.Next(); ok; name, ok = tags.Next() {
			got += " " + string(name)
		}
		got += " |"
		for name, ok := groups.Next(); ok; name, ok = groups.Next() {
			got += " " + string(name)
		}
		if got != want {
			t.Errorf("names are %q, want %q", got, want)
		}
		e.Release()
	}
}
