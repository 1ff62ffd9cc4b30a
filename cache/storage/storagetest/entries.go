package storagetest

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"edge/cache/storage"
	"edge/message"
)

// testVisibility: "What Writer.Commit made is found by every Lookup that
// starts after the call returned. A Lookup never sees an entry whose writing
// has not been committed".
func testVisibility(t *testing.T, s suite) {
	st := s.store(t, nil)
	it := item{key: 1, body: content(1, 3000)}
	w := begin(t, st, it)
	wantNone(t, st, 1)
	write(t, w, it.body)
	wantNone(t, st, 1)
	if err := w.Commit(nil); err != nil {
		t.Fatal(err)
	}
	e := one(t, st, 1)
	defer e.Release()
	wantBody(t, e, it.body)
	w.Abort(errors.New("after the commit")) // "a deferred Abort after Commit does nothing"
	f := one(t, st, 1)
	defer f.Release()
	wantBody(t, f, it.body)
	for i := range 200 {
		mustPut(t, st, item{key: 100 + i, body: content(uint64(i), 10*i)})
		e := one(t, st, 100+i) // at once, whatever a policy thinks later
		wantBody(t, e, content(uint64(i), 10*i))
		e.Release()
	}
	w = begin(t, st, item{key: 2, body: it.body})
	write(t, w, it.body[:100])
	w.Abort(errors.New("given up"))
	wantNone(t, st, 2)
}

// testMeta: "The store copies what it keeps: nothing in it need outlive Begin."
func testMeta(t *testing.T, s suite) {
	st := s.store(t, nil)
	p := item{key: 1, nominated: "accept: x\r\n", body: content(1, 10), tags: []string{"a", "bc"}, seq: 7}.proposal()
	p.Groups = []string{"G"}
	p.Stored.Terms.StaleIfError = 5
	want := *p.Stored
	want.Head, want.Nominated = bytes.Clone(want.Head), bytes.Clone(want.Nominated)
	want.Reason, want.Terms.ETag = bytes.Clone(want.Reason), bytes.Clone(want.Terms.ETag)
	w, err := st.Begin(p)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range [][]byte{p.Stored.Head, p.Stored.Nominated, p.Stored.Reason, p.Stored.Terms.ETag, p.Authority, p.Target} {
		clear(b)
	}
	p.Tags[0], p.Groups[0], *p.Stored = "changed", "changed", message.Stored{}
	write(t, w, content(1, 10))
	if err := w.Commit(nil); err != nil {
		t.Fatal(err)
	}
	e := one(t, st, 1)
	defer e.Release()
	if got := e.Stored(); !reflect.DeepEqual(*got, want) {
		t.Fatalf("stored\n%+v, want\n%+v", *got, want)
	}
	if e.Key() != Key(1) || e.Sequence() != 7 {
		t.Fatalf("key %x, sequence %d", e.Key(), e.Sequence())
	}
	m := e.Meta()
	if m.Scheme != "https" || m.Authority != "example.com" || m.Target != "/item/1?x=y" ||
		!slices.Equal(m.Tags, []string{"a", "bc"}) || !slices.Equal(m.Groups, []string{"G"}) || m.Tier == "" {
		t.Fatalf("meta %+v", m)
	}
}

// testReplacement: "committing replaces the entry with the same Key and
// Nominated".
func testReplacement(t *testing.T, s suite) {
	st := s.store(t, nil)
	for i := range 50 {
		mustPut(t, st, item{key: 1, date: int64(i), body: content(uint64(i), 100*i)})
		e := one(t, st, 1)
		wantBody(t, e, content(uint64(i), 100*i))
		e.Release()
	}
	if n := st.Stats(); n.Entries != 1 || n.Stored != 50 || n.Replaced != 49 {
		t.Fatalf("stats %+v", n)
	}
	// What comes later replaces, even where its Date is older.
	mustPut(t, st, item{key: 1, date: 1, body: []byte("older date")})
	e := one(t, st, 1)
	defer e.Release()
	wantBody(t, e, []byte("older date"))
}

// testVariants: "Its Nominated block tells variants of one key apart".
func testVariants(t *testing.T, s suite) {
	st := s.store(t, nil)
	names := []string{"", "accept-encoding: gzip\r\n", "accept-encoding: br\r\n", "accept-encoding\r\n"}
	for i, n := range names {
		mustPut(t, st, item{key: 1, nominated: n, date: int64(i), body: []byte("body " + n)})
	}
	check := func(want ...string) {
		t.Helper()
		list := lookup(st, 1)
		defer release(list)
		var got []string
		for _, e := range list {
			got = append(got, string(e.Stored().Nominated))
			wantBody(t, e, []byte("body "+string(e.Stored().Nominated)))
		}
		if !slices.Equal(got, want) {
			t.Fatalf("variants %q, want %q", got, want)
		}
	}
	check(names[3], names[2], names[1], names[0])
	mustPut(t, st, item{key: 1, nominated: names[1], date: 9, body: []byte("body " + names[1])})
	check(names[1], names[3], names[2], names[0])
	list := lookup(st, 1)
	st.Remove(list[1])
	release(list)
	check(names[1], names[2], names[0])
}

// testOrder: "the most recently stored first", by Date.
func testOrder(t *testing.T, s suite) {
	st := s.store(t, nil)
	for _, date := range []int64{5, 1, 9, 3, 7} {
		mustPut(t, st, item{key: 1, nominated: fmt.Sprintf("n: %d\r\n", date), date: date})
	}
	order := func() (got []int64) {
		list := lookup(st, 1)
		defer release(list)
		for _, e := range list {
			got = append(got, int64(e.Stored().Terms.Date)/message.Second)
		}
		return got
	}
	if got := order(); !slices.Equal(got, []int64{9, 7, 5, 3, 1}) {
		t.Fatalf("dates %v", got)
	}
	list := lookup(st, 1)
	head := *list[3].Stored()
	head.Terms.Date = 8 * message.Instant(message.Second)
	if err := st.Freshen(list[3], &head, 0); err != nil {
		t.Fatal(err)
	}
	release(list)
	if got := order(); !slices.Equal(got, []int64{9, 8, 7, 5, 1}) {
		t.Fatalf("dates after freshening %v", got)
	}
	// Appended to what is in dst already.
	dst := lookup(st, 1)
	dst = st.Lookup(dst, Key(1))
	if len(dst) != 10 || dst[0] != dst[5] {
		t.Fatalf("%d entries after two look-ups into one slice", len(dst))
	}
	release(dst)
	// "One entry per variant" does not mean "any number of variants": a key's
	// variants are bounded, and the newest are those that stay.
	for i := range 1000 {
		mustPut(t, st, item{key: 2, nominated: fmt.Sprintf("n: %d\r\n", i), date: int64(i)})
	}
	list = lookup(st, 2)
	defer release(list)
	if n := len(list); n < 8 || n > 256 || int64(list[0].Stored().Terms.Date) != 999*message.Second {
		t.Fatalf("%d variants of a key, the newest of %d", n, list[0].Stored().Terms.Date)
	}
}

// testMarkers: a hit-for-miss marker is an entry with no body; a response
// that can be stored after all makes it go.
func testMarkers(t *testing.T, s suite) {
	st := s.store(t, nil)
	marker := item{key: 1, flags: message.TermHitForMiss}
	mustPut(t, st, marker)
	e := one(t, st, 1)
	if !e.Stored().Terms.Flags.Has(message.TermHitForMiss) {
		t.Fatal("the marker lost its flag")
	}
	wantBody(t, e, nil)
	e.Release()
	mustPut(t, st, item{key: 1, nominated: "a: b\r\n", body: []byte("real")})
	e = one(t, st, 1)
	wantBody(t, e, []byte("real"))
	e.Release()
	marker.nominated = "a: c\r\n"
	mustPut(t, st, marker)
	list := lookup(st, 1)
	if len(list) != 2 {
		t.Fatalf("%d entries: a marker for one variant says nothing of the other", len(list))
	}
	release(list)
	mustPut(t, st, item{key: 1, nominated: "a: c\r\n", body: []byte("now real")})
	list = lookup(st, 1)
	defer release(list)
	for _, e := range list {
		if e.Stored().Terms.Flags.Has(message.TermHitForMiss) {
			t.Fatal("a marker outlived the response it said there would not be")
		}
	}
}

// testRetention: "The bytes of a retained entry stay readable after eviction,
// replacement, invalidation and purge."
func testRetention(t *testing.T, s suite) {
	l := &Ledger{}
	st := s.store(t, l)
	var held []storage.Entry
	var bodies [][]byte
	for i := range 60 {
		it := item{key: i % 10, body: content(uint64(i), 700*(i%40)), seq: l.Sequence(), unknown: i%3 == 0}
		mustPut(t, st, it)
		held, bodies = append(held, one(t, st, it.key)), append(bodies, it.body)
		switch i % 4 {
		case 1:
			st.Invalidate(Key(it.key))
		case 2:
			l.Purge(Key(it.key), false)
			wantNone(t, st, it.key)
		case 3:
			st.Remove(held[i])
		}
	}
	for i := range 400 { // and what came after took over the memory
		mustPut(t, st, item{key: 100 + i, body: content(1, 30000), seq: l.Sequence()})
	}
	for i, e := range held {
		wantBody(t, e, bodies[i])
		if want := string(item{body: bodies[i]}.proposal().Stored.Head); string(e.Stored().Head) != want {
			t.Fatalf("head %q, want %q", e.Stored().Head, want)
		}
		e.Release()
	}
}

// testRemove: "Idempotent."
func testRemove(t *testing.T, s suite) {
	st := s.store(t, nil)
	mustPut(t, st, item{key: 1, body: []byte("a")})
	old := one(t, st, 1)
	st.Remove(old)
	wantNone(t, st, 1)
	mustPut(t, st, item{key: 1, body: []byte("b")})
	st.Remove(old) // takes out nothing but what it names
	e := one(t, st, 1)
	wantBody(t, e, []byte("b"))
	wantBody(t, old, []byte("a"))
	e.Release()
	old.Release()
	if n := st.Stats(); n.Removed != 1 || n.Entries != 1 {
		t.Fatalf("stats %+v", n)
	}
}

// testFreshen: "replaces e's head and sets its sequence; e's body stays."
func testFreshen(t *testing.T, s suite) {
	st := s.store(t, nil)
	body := content(4, 50000)
	mustPut(t, st, item{key: 1, body: body, seq: 3})
	e := one(t, st, 1)
	head := *e.Stored()
	head.Head = []byte("Freshened: once\r\n")
	if err := st.Freshen(e, &head, 4); err != nil {
		t.Fatal(err)
	}
	before := e.Stored()
	was := string(before.Head)
	head.Head = []byte("Freshened: yes\r\n")
	head.Terms.ETag = nil
	if err := st.Freshen(e, &head, 9); err != nil {
		t.Fatal(err)
	}
	clear(head.Head)
	for _, x := range []storage.Entry{e, one(t, st, 1)} {
		if string(x.Stored().Head) != "Freshened: yes\r\n" || x.Sequence() != 9 || x.Stored().Terms.ETag != nil {
			t.Fatalf("head %q, sequence %d", x.Stored().Head, x.Sequence())
		}
		wantBody(t, x, body)
	}
	if string(before.Head) != was {
		t.Fatal("a head changed under the hands of one who retains the entry")
	}
	// Nor does it when everybody else has gone, the index included.
	mustPut(t, st, item{key: 1, body: []byte("new")})
	e.Release()
	for i := range 50 { // and the memory is wanted
		mustPut(t, st, item{key: 100 + i, body: content(1, 50)})
	}
	if string(before.Head) != was {
		t.Fatal("a head changed after its entry was replaced, though it is retained")
	}
	if err := st.Freshen(e, &message.Stored{}, 10); !errors.Is(err, storage.ErrGone) {
		t.Fatalf("freshening what was replaced: %v", err)
	}
	e.Release()
	n := one(t, st, 1)
	wantBody(t, n, []byte("new"))
	st.Remove(n)
	if err := st.Freshen(n, &message.Stored{}, 10); !errors.Is(err, storage.ErrGone) {
		t.Fatalf("freshening what was removed: %v", err)
	}
	n.Release()
}

// testFreshenMany: an entry that is freshened for ever takes no more room for
// ever, though somebody always has it.
func testFreshenMany(t *testing.T, s suite) {
	st := s.store(t, nil)
	mustPut(t, st, item{key: 1, body: content(1, 1000)})
	first, most := st.Stats().Bytes, int64(0)
	for i := range 5000 {
		e := one(t, st, 1)
		head := *e.Stored()
		head.Head = []byte(fmt.Sprintf("Round: %d\r\n", i))
		if err := st.Freshen(e, &head, uint64(i)); err != nil {
			t.Fatal(err)
		}
		e.Release()
		most = max(most, st.Stats().Bytes)
	}
	if most > first+64<<10 {
		t.Fatalf("one entry of 1000 bytes grew by %d", most-first)
	}
}

// testInvalidate: "every entry under it becomes TermInvalidated, and a Writer
// begun before is doomed".
func testInvalidate(t *testing.T, s suite) {
	st := s.store(t, nil)
	mustPut(t, st, item{key: 1, nominated: "a: 1\r\n", body: []byte("1")})
	mustPut(t, st, item{key: 1, nominated: "a: 2\r\n", body: []byte("2")})
	mustPut(t, st, item{key: 2, body: []byte("other")})
	w := begin(t, st, item{key: 1, nominated: "a: 3\r\n", body: []byte("3")})
	follower := w.Entry()
	other := begin(t, st, item{key: 3, body: []byte("3")})
	if n := st.Invalidate(Key(1)); n != 2 {
		t.Fatalf("%d entries invalidated, want 2", n)
	}
	if n := st.Invalidate(Key(99)); n != 0 {
		t.Fatalf("%d entries of no key invalidated", n)
	}
	write(t, w, []byte("3"))
	if err := w.Commit(nil); !errors.Is(err, storage.ErrDoomed) {
		t.Fatalf("commit of a doomed writer: %v", err)
	}
	wantBody(t, follower, []byte("3")) // "readers got a whole body"
	follower.Release()
	write(t, other, []byte("3"))
	if err := other.Commit(nil); err != nil {
		t.Fatalf("commit under another key: %v", err)
	}
	list := lookup(st, 1)
	if len(list) != 2 {
		t.Fatalf("%d entries, want the 2 invalidated", len(list))
	}
	for _, e := range list {
		if !e.Stored().Terms.Flags.Has(message.TermInvalidated) {
			t.Fatal("not invalidated")
		}
	}
	// Freshening gives a new head, which is not invalidated.
	head := *list[0].Stored()
	head.Terms.Flags &^= message.TermInvalidated
	if err := st.Freshen(list[0], &head, 0); err != nil || list[0].Stored().Terms.Flags.Has(message.TermInvalidated) {
		t.Fatalf("after freshening: %v, %x", err, list[0].Stored().Terms.Flags)
	}
	release(list)
	mustPut(t, st, item{key: 1, nominated: "a: 3\r\n", body: []byte("3")}) // begun after
	e := one(t, st, 2)
	defer e.Release()
	if e.Stored().Terms.Flags.Has(message.TermInvalidated) {
		t.Fatal("another key was invalidated")
	}
	if n := st.Stats(); n.Invalidated != 2 || n.Doomed != 1 {
		t.Fatalf("stats %+v", n)
	}
}

// testEach: "every live entry ... until f returns false".
func testEach(t *testing.T, s suite) {
	l := &Ledger{}
	st := s.store(t, l)
	for i := range 30 {
		mustPut(t, st, item{key: i, body: content(uint64(i), i)})
	}
	l.Purge(Key(7), false)
	seen := map[storage.Key]int{}
	st.Each(func(e storage.Entry) bool {
		seen[e.Key()]++
		wantBody(t, e, content(uint64(e.Size()), int(e.Size())))
		return true
	})
	if len(seen) != 29 || seen[Key(7)] != 0 {
		t.Fatalf("%d entries seen, the purged one %d times", len(seen), seen[Key(7)])
	}
	n := 0
	st.Each(func(storage.Entry) bool { n++; return n < 5 })
	if n != 5 {
		t.Fatalf("%d calls, want 5", n)
	}
}
