package storagetest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"edge/cache/storage"
	"edge/message"
)

// What is joined from parts is purged by the names of each of them.

// named returns it with names.
func (it item) named(tags, groups []string) item {
	it.tags, it.groups = tags, groups
	return it
}

// wantNames checks the tags and groups of e, in whatever order.
func wantNames(t fataler, e storage.Entry, tags, groups []string) {
	t.Helper()
	m := e.Meta()
	slices.Sort(m.Tags)
	slices.Sort(m.Groups)
	if !slices.Equal(m.Tags, tags) || !slices.Equal(m.Groups, groups) {
		t.Fatalf("tags %.100q, groups %.100q; want %.100q, %.100q", m.Tags, m.Groups, tags, groups)
	}
}

// testUnited: a purge by a name that one part had takes what they make together, and
// counts it once.
func testUnited(t *testing.T, s suite) {
	body := content(1, 3*chunkSize)
	at := storage.Selector{Scheme: "https", Authority: "example.com"}
	group := func(name string) storage.Selector {
		g := at
		g.Kind, g.Name = storage.ByGroup, name
		return g
	}
	tag := func(name string) storage.Selector { return storage.Selector{Kind: storage.ByTag, Name: name} }
	for i, selectors := range [][]storage.Selector{
		{tag("x")}, {tag("y")}, {tag("z")}, {tag("all")}, {group("g")}, {group("G")}, {tag("x"), tag("y"), group("G")},
		{{Kind: storage.ByHost, Authority: "example.com"}}, {{Kind: storage.Everything}},
	} {
		for _, verdict := range []storage.Verdict{storage.Removed, storage.Stale, storage.Invalid} {
			l := &named{}
			st := s.store(t, l)
			mustPut(t, st, partOf(1, body, 0, chunkSize).named([]string{"x", "all"}, []string{"G"}))
			mustPut(t, st, partOf(1, body, 2*chunkSize, 3*chunkSize).named([]string{"all", "y"}, []string{"g"}))
			mustPut(t, st, partOf(1, body, chunkSize, 2*chunkSize).named([]string{"z"}, nil))
			e := one(t, st, 1)
			wantBody(t, e, body)
			wantNames(t, e, []string{"all", "x", "y", "z"}, []string{"G", "g"})
			e.Release()
			found := 0
			st.(storage.Finder).Find(selectors, func(storage.Entry) bool { found++; return true })
			if found != 1 {
				t.Fatalf("%v finds %d", selectors, found)
			}
			st.(storage.Taker).Take([]storage.Taking{l.purge(verdict, selectors...)})
			list := lookup(st, 1)
			count, flags := 1, message.TermFlags(0)
			switch verdict {
			case storage.Stale:
				flags = message.TermSoftPurged
			case storage.Invalid:
				count, flags = 0, message.TermInvalidated
			case storage.Live, storage.Removed:
			}
			if (len(list) == 0) != (verdict == storage.Removed) || len(list) > 0 && !list[0].Stored().Terms.Flags.Has(flags) {
				t.Fatalf("%d: after a purge of %v, verdict %v: %d are found", i, selectors, verdict, len(list))
			}
			release(list)
			if got := l.counted()[0]; got != count {
				t.Fatalf("a purge of %v, verdict %v, took %d, want %d", selectors, verdict, got, count)
			}
			mustPut(t, st, item{key: 1, seq: l.Sequence(), body: body}) // a whole has its own names only
			e = one(t, st, 1)
			wantNames(t, e, nil, nil)
			e.Release()
		}
	}
}

// testUnitedOrder: a name takes what had it when the purge came, and not what got it
// from a part that was asked for later; and a part that was asked for before a purge
// does not undo what that made of another.
func testUnitedOrder(t *testing.T, s suite) {
	body := content(1, 2*chunkSize)
	l := &named{}
	st := s.store(t, l)
	first, second := partOf(1, body, 0, chunkSize), partOf(1, body, chunkSize, 2*chunkSize)
	taker := st.(storage.Taker)
	mustPut(t, st, first.named([]string{"x"}, nil))
	p := l.purge(storage.Removed, storage.Selector{Kind: storage.ByTag, Name: "y"})
	second.seq = l.Sequence()
	mustPut(t, st, second.named([]string{"y"}, nil))
	taker.Take([]storage.Taking{p})
	e := one(t, st, 1)
	wantBody(t, e, body)
	e.Release()
	if got := l.counted(); got[0] != 0 {
		t.Fatalf("what got its name after the purge was counted: %v", got)
	}
	for _, verdict := range []storage.Verdict{storage.Stale, storage.Invalid} {
		for _, looked := range []bool{false, true} {
			key, before := 2+2*int(verdict), l.Sequence()
			if looked {
				key++
			}
			old, late, later := partOf(key, body, 0, chunkSize), partOf(key, body, chunkSize, chunkSize+1), partOf(key, body, chunkSize+1, chunkSize+2)
			old.seq, late.seq = before, before
			mustPut(t, st, old.named([]string{"x"}, nil))
			w := begin(t, st, late.named([]string{"y"}, nil))
			l.purge(verdict, storage.Selector{Kind: storage.ByTag, Name: "x"})
			if looked {
				release(lookup(st, key)) // it is stale from now on
			}
			write(t, w, late.body)
			if err := w.Commit(nil); err != nil {
				t.Fatal(err)
			}
			e := one(t, st, key)
			wantHeld(t, e, body, storage.ByteRange{Start: chunkSize, End: chunkSize + 1})
			wantNames(t, e, []string{"y"}, nil)
			e.Release()
			later.seq = l.Sequence()
			mustPut(t, st, later)
			e = one(t, st, key)
			wantHeld(t, e, body, storage.ByteRange{Start: chunkSize, End: chunkSize + 2})
			e.Release()
		}
	}
}

// testUnitedRenamed: a refresh says what the whole is called; parts that come then have
// their names besides.
func testUnitedRenamed(t *testing.T, s suite) {
	body := content(1, 4*chunkSize)
	st := s.store(t, &named{})
	part := func(i int, tags ...string) item {
		return partOf(1, body, i*chunkSize, (i+1)*chunkSize).named(tags, nil)
	}
	mustPut(t, st, part(0, "a"))
	mustPut(t, st, part(1, "b"))
	e := one(t, st, 1)
	if err := st.(storage.Renamer).FreshenAs(e, e.Stored(), 0, e.Names().With([]string{"new"}, []string{"G"})); err != nil {
		t.Fatal(err)
	}
	e.Release()
	mustPut(t, st, part(2, "c"))
	e = one(t, st, 1)
	wantNames(t, e, []string{"c", "new"}, []string{"G"})
	if err := st.Freshen(e, e.Stored(), 0); err != nil {
		t.Fatal(err)
	}
	e.Release()
	w := begin(t, st, part(3, "d"))
	follower := w.Entry()
	write(t, w, body[3*chunkSize:])
	if err := w.Commit(nil); err != nil {
		t.Fatal(err)
	}
	follower.Release()
	e = one(t, st, 1)
	defer e.Release()
	wantBody(t, e, body)
	wantNames(t, e, []string{"c", "d", "new"}, []string{"G"})
}

// testUnitedBounds: what would have more names than there may be is not joined: the
// newest part begins anew, with all of its names.
func testUnitedBounds(t *testing.T, s suite) {
	body := content(1, 4*chunkSize)
	many := func(of string, n int) (list []string) {
		for i := range n {
			list = append(list, fmt.Sprint(of, i))
		}
		slices.Sort(list)
		return list
	}
	for i, c := range []struct {
		name                  string
		a, b                  []string
		groupsOfA, groupsOfB  []string
		joined                bool
		wantTags, wantGroupsN int
	}{
		{"just so", many("a", storage.MaxNames-1), []string{"b"}, nil, nil, true, storage.MaxNames, 0},
		{"tags", many("a", storage.MaxNames), []string{"b"}, nil, nil, false, 1, 0},
		{"groups", nil, []string{"b"}, many("A", storage.MaxNames/2), many("B", storage.MaxNames/2+1), false, 1, storage.MaxNames/2 + 1},
		{"the same", many("a", storage.MaxNames), many("a", storage.MaxNames), nil, nil, true, storage.MaxNames, 0},
	} {
		st := s.store(t, nil)
		mustPut(t, st, partOf(i, body, 0, chunkSize).named(c.a, c.groupsOfA))
		mustPut(t, st, partOf(i, body, chunkSize, 2*chunkSize).named(c.b, c.groupsOfB))
		e := one(t, st, i)
		want := storage.ByteRange{Start: chunkSize, End: 2 * chunkSize}
		if c.joined {
			want.Start = 0
		}
		wantHeld(t, e, body, want)
		if m := e.Meta(); len(m.Tags) != c.wantTags || len(m.Groups) != c.wantGroupsN {
			t.Fatalf("%s: %d tags, %d groups", c.name, len(m.Tags), len(m.Groups))
		}
		e.Release()
		mustPut(t, st, partOf(i, body, 3*chunkSize, 4*chunkSize).named(c.b, c.groupsOfB)) // and it goes on
		e = one(t, st, i)
		wantHeld(t, e, body, want, storage.ByteRange{Start: 3 * chunkSize, End: 4 * chunkSize})
		e.Release()
	}
}

// unitedMachine holds what parts make together to a model that knows which answer
// brought each byte: the n-th answer is bytes of value n.
type unitedMachine struct {
	st      storage.Store
	taker   storage.Taker
	l       *named
	answers []answer // the 0-th is none
	writers map[int]storage.Writer
	counts  []int // what each purge must take
}

type answer struct {
	it     item
	joined int // the how manieth it was to be committed
}

const (
	unitedParts = 5  // of the representation
	unitedPart  = 50 // bytes of each
)

// testUnitedModel: parts with names, purges, refreshes and sweeps in any order. No byte is
// found after a purge by a name that its answer had; what is found fresh has no byte that
// a purge made stale, unless the origin was asked since; and what is found has the
// names of every answer that there is a byte of.
func testUnitedModel(t *testing.T, s suite) {
	rapid.Check(t, func(rt *rapid.T) {
		m := &unitedMachine{l: &named{}, answers: make([]answer, 1), writers: map[int]storage.Writer{}}
		m.st = s.open(t, Options{Size: size, MaxObject: maxObject, Window: window, ChunkSize: chunkSize, Ledger: m.l,
			Clock: func() message.Instant { return 0 }})
		m.taker = m.st.(storage.Taker)
		defer func() {
			for _, w := range m.writers {
				w.Abort(errors.New("end"))
			}
			if !rt.Failed() {
				checkClosed(t, m.st)
			}
		}()
		rt.Repeat(map[string]func(*rapid.T){
			"begin": m.begin, "commit": m.commit, "purge": m.purge, "reap": m.reap, "freshen": m.freshen, "": m.check,
		})
	})
}

func (m *unitedMachine) begin(rt *rapid.T) {
	n := len(m.answers)
	if n > 255 {
		rt.Skip("a byte tells no more apart")
	}
	i := rapid.IntRange(0, unitedParts-1).Draw(rt, "part")
	some := func(of ...string) []string {
		return rapid.SliceOfNDistinct(rapid.SampledFrom(of), 0, 2, rapid.ID).Draw(rt, "names")
	}
	it := item{part: true, offset: int64(i * unitedPart), total: unitedParts * unitedPart, seq: m.l.Sequence(),
		body: bytes.Repeat([]byte{byte(n)}, unitedPart), tags: some("t", "u", "v"), groups: some("g", "G")}
	m.answers = append(m.answers, answer{it: it})
	m.writers[n] = begin(rt, m.st, it)
}

// verdict is what the purges since a response was asked for do to what has its names.
func (m *unitedMachine) verdict(it *item) storage.Verdict {
	names, worst := storage.MakeNames(it.proposal()), storage.Live
	for _, p := range m.l.purges[it.seq:] {
		if names.Selected(p.list) {
			worst = max(worst, p.verdict)
		}
	}
	return worst
}

func (m *unitedMachine) commit(rt *rapid.T) {
	if len(m.writers) == 0 {
		rt.Skip("no writer")
	}
	var list []int
	for n := range m.writers {
		list = append(list, n)
	}
	slices.Sort(list)
	n := rapid.SampledFrom(list).Draw(rt, "answer")
	w, a := m.writers[n], &m.answers[n]
	delete(m.writers, n)
	write(rt, w, a.it.body)
	err := w.Commit(nil)
	if verdict := m.verdict(&a.it); (verdict == storage.Live) != (err == nil) || err != nil && !errors.Is(err, storage.ErrDoomed) {
		rt.Fatalf("commit of answer %d, verdict %v: %v", n, verdict, err)
	}
	if err != nil {
		return
	}
	a.joined = 1
	for i := range m.answers {
		if i != n {
			a.joined = max(a.joined, m.answers[i].joined+1)
		}
	}
	e := one(rt, m.st, 0) // whatever became of what was held
	defer e.Release()
	if _, err := read(e, a.it.offset, unitedPart); err != nil {
		rt.Fatalf("what was committed is not there: %v", err)
	}
}

func (m *unitedMachine) purge(rt *rapid.T) {
	at := storage.Selector{Kind: storage.ByGroup, Scheme: "https", Authority: "example.com"}
	name := rapid.SampledFrom([]string{"t", "u", "v", "g", "G"}).Draw(rt, "name")
	if at.Name = name; strings.Contains("tuv", name) {
		at = storage.Selector{Kind: storage.ByTag, Name: name}
	}
	verdict := rapid.SampledFrom([]storage.Verdict{storage.Stale, storage.Removed, storage.Invalid}).Draw(rt, "verdict")
	want := 0
	for _, e := range lookup(m.st, 0) {
		stale := e.Stored().Terms.Flags.Has(message.TermSoftPurged)
		if e.Names().Selected([]storage.Selector{at}) && (verdict == storage.Removed || verdict == storage.Stale && !stale) {
			want++
		}
		e.Release()
	}
	m.counts = append(m.counts, want)
	p := m.l.purge(verdict, at)
	if rapid.Bool().Draw(rt, "looked up first") {
		release(lookup(m.st, 0))
	}
	m.taker.Take([]storage.Taking{p})
	if got := m.l.counted(); !slices.Equal(got, m.counts) {
		rt.Fatalf("purges took %v, want %v", got, m.counts)
	}
}

func (m *unitedMachine) reap(*rapid.T) {
	for left := 1; left > 0; {
		_, left = m.taker.Reap(10)
	}
	for part := range storage.Parts {
		m.taker.Judged(0, m.l.Sequence(), part)
	}
}

// freshen makes what is found fresh again, under the names that it has.
func (m *unitedMachine) freshen(rt *rapid.T) {
	for _, e := range lookup(m.st, 0) {
		head := *e.Stored()
		head.Terms.Flags &^= message.TermInvalidated | message.TermSoftPurged
		head.Terms.FreshnessLifetime = 3600 * message.Second
		if err := m.st.Freshen(e, &head, m.l.Sequence()); err != nil {
			rt.Fatalf("freshen: %v", err)
		}
		for i := range m.answers { // the origin says that all of it is as it was
			if a := &m.answers[i]; a.joined > 0 {
				a.it.seq = m.l.Sequence()
			}
		}
		e.Release()
	}
}

// check looks at each byte that is found.
func (m *unitedMachine) check(rt *rapid.T) {
	for _, e := range lookup(m.st, 0) {
		fresh := e.Stored().Terms.Flags&(message.TermInvalidated|message.TermSoftPurged) == 0
		for _, r := range e.Held(nil) {
			b, err := read(e, r.Start, r.End-r.Start)
			if err != nil {
				rt.Fatalf("reading %v: %v", r, err)
			}
			for _, n := range slices.Compact(b) {
				m.checkAnswer(rt, e, int(n), fresh)
			}
		}
		e.Release()
	}
}

// checkAnswer checks that bytes of an answer may be found in e.
func (m *unitedMachine) checkAnswer(rt *rapid.T, e storage.Entry, n int, fresh bool) {
	a := &m.answers[n]
	names := storage.MakeNames(a.it.proposal())
	if all, ok := e.Names().Unite(names); !ok || len(all.Packed()) != len(e.Names().Packed()) {
		rt.Fatalf("answer %d, tags %v, groups %v, is found without its names: %+v", n, a.it.tags, a.it.groups, e.Meta())
	}
	for i, p := range m.l.purges[a.it.seq:] {
		if !names.Selected(p.list) {
			continue
		}
		seq := a.it.seq + uint64(i) + 1
		confirmed := slices.ContainsFunc(m.answers, func(o answer) bool { return o.joined > a.joined && o.it.seq >= seq })
		if p.verdict == storage.Removed || fresh && !confirmed {
			rt.Fatalf("answer %d, asked for at %d, is found, fresh %v, after purge %d of %v, verdict %v", n, a.it.seq, fresh, seq, p.list, p.verdict)
		}
	}
}
