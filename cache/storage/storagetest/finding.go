package storagetest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"edge/cache/storage"
	"edge/message"
)

// named is a storage.Ledger for tests: purges by name, and how many responses each
// has taken.
type named struct {
	mu     sync.Mutex
	purges []*namedPurge // the n-th has sequence n+1
}

type namedPurge struct {
	list    []storage.Selector
	verdict storage.Verdict
	count   int
}

// purge puts a purge in force and returns it as a Taker takes it.
func (l *named) purge(v storage.Verdict, list ...storage.Selector) storage.Taking {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := &namedPurge{list: list, verdict: v}
	l.purges = append(l.purges, p)
	return storage.Taking{Sequence: uint64(len(l.purges)), Select: list, Verdict: v, Count: func(n int) {
		l.mu.Lock()
		defer l.mu.Unlock()
		p.count += n
	}}
}

// Sequence returns the newest purge's number.
func (l *named) Sequence() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return uint64(len(l.purges))
}

// Judge says what the purges after since do to e.
func (l *named) Judge(e storage.Entry, since uint64) (worst storage.Verdict) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.purges[since:] {
		if p.verdict > worst && e.Names().Selected(p.list) {
			worst = p.verdict
		}
	}
	return worst
}

// Took counts for the first purge that removes, and before it for the first that
// makes stale.
func (l *named) Took(e storage.Entry, since uint64, flags message.TermFlags, removed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if flags.Has(message.TermHitForMiss) {
		return
	}
	stale := flags.Has(message.TermSoftPurged)
	for _, p := range l.purges[since:] {
		if !e.Names().Selected(p.list) {
			continue
		}
		if p.verdict == storage.Removed {
			if removed {
				p.count++
			}
			return
		}
		if p.verdict == storage.Stale && !stale {
			stale = true
			p.count++
		}
	}
}

// counted returns how many responses each purge has taken.
func (l *named) counted() (n []int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.purges {
		n = append(n, p.count)
	}
	return n
}

// page is a response with a name.
type page struct {
	scheme, authority, target string
	tags, groups              []string
	nominated                 string
	extra                     bool // something is added to the key
	marker                    bool
}

func (p *page) key() storage.Key {
	k := storage.URLKey(p.scheme, p.authority, p.target)
	if p.extra {
		k[3] ^= 0xff
	}
	return k
}

func (p *page) String() string {
	return fmt.Sprintf("%s://%s%s %q extra %v tags %v groups %v", p.scheme, p.authority, p.target, p.nominated, p.extra, p.tags, p.groups)
}

func (p *page) proposal(seq uint64) *storage.Proposal {
	it := item{nominated: p.nominated, seq: seq, body: []byte("x"), tags: p.tags, groups: p.groups}
	if p.marker {
		it.flags = message.TermHitForMiss
	}
	o := it.proposal()
	o.Key, o.Scheme, o.Authority, o.Target = p.key(), p.scheme, []byte(p.authority), []byte(p.target)
	return o
}

// names is p's as a store has them.
func (p *page) names() storage.Names { return storage.MakeNames(p.proposal(0)) }

// store stores it.
func (p *page) store(t fataler, st storage.Store, seq uint64) {
	t.Helper()
	w, err := st.Begin(p.proposal(seq))
	if err != nil {
		t.Fatalf("begin: %v", err)
	}
	write(t, w, []byte("x"))
	if err := w.Commit(nil); err != nil {
		t.Fatalf("commit: %v", err)
	}
}

// pages are those that the tests store: two origins of one host, and another.
func pages() (list []*page) {
	for i, target := range []string{"/", "/a", "/a?x=1", "/a?x=2", "/a/", "/a/b", "/a/b?y", "/ab", "/a//b", "/c/d/e"} {
		for _, at := range [][2]string{{"https", "one.example"}, {"http", "one.example"}, {"https", "two.example:81"}} {
			p := &page{scheme: at[0], authority: at[1], target: target, groups: []string{"G" + target[:2%len(target)]}}
			if i%3 != 0 {
				p.tags = []string{"t" + fmt.Sprint(i%2), at[1]}
			}
			list = append(list, p)
			if i%4 == 1 {
				v, x := *p, *p
				v.nominated, x.extra = "a: 1\r\n", true
				list = append(list, &v, &x)
			}
		}
	}
	return append(list, &page{scheme: "https", authority: "one.example", target: "/none", tags: []string{"t0"}, marker: true})
}

// selectorsFor are selectors of every kind, some of which select p.
func selectorsFor(p *page) []storage.Selector {
	at := storage.Selector{Scheme: p.scheme, Authority: p.authority}
	by := func(kind func(*storage.Selector)) storage.Selector {
		s := at
		kind(&s)
		return s
	}
	list := []storage.Selector{
		by(func(s *storage.Selector) { s.Kind, s.Name = storage.ByURL, p.target }),
		by(func(s *storage.Selector) { s.Kind, s.Scheme = storage.ByHost, "" }),
		by(func(s *storage.Selector) { s.Kind, s.Name = storage.ByGroup, p.groupOr("none") }),
		{Kind: storage.ByTag, Name: "t1"}, {Kind: storage.ByTag, Name: p.authority}, {Kind: storage.Everything},
	}
	for _, prefix := range []string{"/", "/a", "/a/", "/a/b", "/c/d", "/a/b/"} {
		list = append(list, by(func(s *storage.Selector) { s.Kind, s.Name = storage.ByPrefix, prefix }))
	}
	return list
}

func (p *page) groupOr(none string) string {
	if len(p.groups) == 0 {
		return none
	}
	return p.groups[0]
}

// testFind: every live entry that is selected is found, once, and no other.
func testFind(t *testing.T, s suite) {
	l := &named{}
	st := s.store(t, l)
	finder, ok := st.(storage.Finder)
	if !ok {
		t.Fatal("it is no storage.Finder")
	}
	list := pages()
	for _, p := range list {
		p.store(t, st, 0)
	}
	check := func(selectors ...storage.Selector) {
		t.Helper()
		want := 0
		for _, p := range list {
			if p.names().Selected(selectors) {
				want++
			}
		}
		got := 0
		finder.Find(selectors, func(e storage.Entry) bool {
			got++
			if !e.Names().Selected(selectors) {
				t.Errorf("%v finds what it does not select", selectors)
			}
			return true
		})
		if got != want {
			t.Errorf("%v finds %d, want %d", selectors, got, want)
		}
	}
	for _, p := range list {
		for _, sel := range selectorsFor(p) {
			check(sel)
			check(sel, storage.Selector{Kind: storage.ByTag, Name: "t0"}, storage.Selector{Kind: storage.ByHost, Authority: p.authority})
		}
	}
	stopped := 0
	finder.Find([]storage.Selector{{Kind: storage.Everything}}, func(storage.Entry) bool { stopped++; return stopped < 3 })
	if stopped != 3 {
		t.Errorf("after the end was said %d were called with", stopped)
	}
	l.purge(storage.Removed, storage.Selector{Kind: storage.Everything})
	list = nil
	check(storage.Selector{Kind: storage.Everything})
}

// takeMachine holds what purges count to a model that compares every purge with
// every response.
type takeMachine struct {
	st    storage.Store
	taker storage.Taker
	l     *named
	pages []*page
	live  map[*page]*taken
	want  []int
	left  int
}

type taken struct{ soft bool }

// testTaking: random stores, refreshes, look-ups, removals and purges of every kind,
// and what these count.
func testTaking(t *testing.T, s suite) {
	rapid.Check(t, func(rt *rapid.T) {
		m := &takeMachine{l: &named{}, pages: pages(), live: map[*page]*taken{}}
		m.st = s.open(t, Options{Size: size, MaxObject: maxObject, Window: window, ChunkSize: chunkSize, Ledger: m.l,
			Clock: func() message.Instant { return 0 }})
		var ok bool
		if m.taker, ok = m.st.(storage.Taker); !ok {
			rt.Fatalf("it is no storage.Taker")
		}
		defer func() {
			if !rt.Failed() {
				checkClosed(t, m.st)
			}
		}()
		for _, p := range m.pages {
			m.put(rt, p)
		}
		rt.Repeat(map[string]func(*rapid.T){
			"store": func(rt *rapid.T) { m.put(rt, m.page(rt)) }, "purge": m.purge, "look": m.look, "freshen": m.freshen,
			"remove": m.remove, "reap": m.reap, "judged": m.judged, "": m.check,
		})
		for m.left = 1; m.left > 0; {
			_, m.left = m.taker.Reap(100)
		}
		m.judged(rt)
		m.check(rt)
		for _, p := range m.pages {
			m.lookAt(rt, p)
		}
	})
}

func (m *takeMachine) page(rt *rapid.T) *page { return rapid.SampledFrom(m.pages).Draw(rt, "page") }

func (m *takeMachine) put(rt *rapid.T, p *page) {
	p.store(rt, m.st, m.l.Sequence())
	m.live[p] = &taken{}
}

func (m *takeMachine) purge(rt *rapid.T) {
	var list []storage.Taking
	for range rapid.IntRange(1, 3).Draw(rt, "purges") {
		v := rapid.SampledFrom([]storage.Verdict{storage.Stale, storage.Stale, storage.Removed}).Draw(rt, "verdict")
		var selectors []storage.Selector
		for range rapid.IntRange(1, 2).Draw(rt, "selectors") {
			selectors = append(selectors, rapid.SampledFrom(selectorsFor(m.page(rt))).Draw(rt, "selector"))
		}
		list = append(list, m.l.purge(v, selectors...))
		m.want = append(m.want, m.take(v, selectors))
	}
	if rapid.Bool().Draw(rt, "looked at before") {
		m.lookAt(rt, m.page(rt))
	}
	m.taker.Take(list)
}

// take is what a purge does to the model.
func (m *takeMachine) take(v storage.Verdict, selectors []storage.Selector) (n int) {
	for p, x := range m.live {
		if !p.names().Selected(selectors) {
			continue
		}
		if (v == storage.Removed || !x.soft) && !p.marker {
			n++
		}
		if x.soft = true; v == storage.Removed {
			delete(m.live, p)
		}
	}
	return n
}

func (m *takeMachine) look(rt *rapid.T) { m.lookAt(rt, m.page(rt)) }

// find returns the entry of a page, retained, or nil.
func (m *takeMachine) find(p *page) (found storage.Entry) {
	for _, e := range m.st.Lookup(nil, p.key()) {
		if string(e.Stored().Nominated) == p.nominated {
			found = e
		} else {
			e.Release()
		}
	}
	return found
}

func (m *takeMachine) lookAt(rt *rapid.T, p *page) {
	e, x := m.find(p), m.live[p]
	if e == nil {
		if x != nil {
			rt.Fatalf("%v is gone", p)
		}
		return
	}
	defer e.Release()
	if x == nil || e.Stored().Terms.Flags.Has(message.TermSoftPurged) != x.soft {
		rt.Fatalf("%v is found with flags %x, want %+v", p, e.Stored().Terms.Flags, x)
	}
}

func (m *takeMachine) freshen(rt *rapid.T) {
	p := m.page(rt)
	e := m.find(p)
	if e == nil {
		rt.Skip("not found")
	}
	defer e.Release()
	head := *e.Stored()
	head.Terms.Flags &^= message.TermSoftPurged
	if err := m.st.Freshen(e, &head, m.l.Sequence()); err != nil {
		rt.Fatalf("freshen: %v", err)
	}
	m.live[p].soft = false
}

func (m *takeMachine) remove(rt *rapid.T) {
	p := m.page(rt)
	if e := m.find(p); e != nil {
		m.st.Remove(e)
		e.Release()
		delete(m.live, p)
	}
}

func (m *takeMachine) reap(rt *rapid.T) {
	_, m.left = m.taker.Reap(rapid.IntRange(1, 20).Draw(rt, "responses"))
}

// judged is called whenever everything was taken, carried out or not.
func (m *takeMachine) judged(*rapid.T) {
	for part := range storage.Parts {
		m.taker.Judged(0, m.l.Sequence(), part)
	}
}

// check compares what was counted.
func (m *takeMachine) check(rt *rapid.T) {
	if got := m.l.counted(); !slices.Equal(got, m.want) {
		rt.Fatalf("purges took %v, want %v", got, m.want)
	}
}

// testTakingMeanwhile: whoever comes by first, a look-up or Take, each response is
// counted once.
func testTakingMeanwhile(t *testing.T, s suite) {
	l := &named{}
	st := s.store(t, l)
	taker := st.(storage.Taker)
	list := pages()
	want := 0
	for _, v := range []storage.Verdict{storage.Stale, storage.Removed} {
		for _, p := range list {
			p.store(t, st, l.Sequence())
		}
		all := l.purge(v, storage.Selector{Kind: storage.Everything})
		var meanwhile sync.WaitGroup
		for range 3 {
			meanwhile.Go(func() {
				for _, p := range list {
					release(st.Lookup(nil, p.key()))
				}
			})
		}
		taker.Take([]storage.Taking{all})
		meanwhile.Wait()
		for left := 1; left > 0; {
			_, left = taker.Reap(7)
		}
		want = len(list) - 1 // one is a marker
	}
	if got := l.counted(); !slices.Equal(got, []int{want, want}) {
		t.Errorf("purges took %v of %d", got, want)
	}
	if n := st.Stats().Entries; n != 0 {
		t.Errorf("%d entries are left", n)
	}
}

// testRename: a refresh may change what an entry is found and purged by; a purge that
// came after the refresh began applies to what it was called and to what it is.
func testRename(t *testing.T, s suite) {
	l := &named{}
	st := s.store(t, l)
	renamer, ok := st.(storage.Renamer)
	if !ok {
		t.Fatal("it is no storage.Renamer")
	}
	p := &page{scheme: "https", authority: "a.example", target: "/", tags: []string{"old"}, groups: []string{"G"}}
	tag := func(name string) storage.Selector { return storage.Selector{Kind: storage.ByTag, Name: name} }
	found := func(sel storage.Selector) (n int) {
		st.(storage.Finder).Find([]storage.Selector{sel}, func(storage.Entry) bool { n++; return true })
		return n
	}
	rename := func(seq uint64) error {
		list := st.Lookup(nil, p.key())
		defer release(list)
		return renamer.FreshenAs(list[0], list[0].Stored(), seq, list[0].Names().With([]string{"new"}, nil))
	}
	p.store(t, st, 0)
	if err := rename(0); err != nil {
		t.Fatal(err)
	}
	group := storage.Selector{Kind: storage.ByGroup, Scheme: "https", Authority: "a.example", Name: "G"}
	if found(tag("old")) != 0 || found(tag("new")) != 1 || found(group) != 1 {
		t.Errorf("found %d by the old tag, %d by the new, %d by group", found(tag("old")), found(tag("new")), found(group))
	}
	l.purge(storage.Removed, tag("old"))
	list := st.Lookup(nil, p.key())
	if len(list) != 1 || st.Freshen(list[0], list[0].Stored(), l.Sequence()) != nil || found(tag("new")) != 1 {
		t.Error("purged by what it is not called any more, or its name lost in another refresh")
	}
	release(list)
	for _, name := range []string{"old", "new"} {
		p.store(t, st, l.Sequence())
		list := st.Lookup(nil, p.key())
		began := l.Sequence()
		l.purge(storage.Removed, tag(name))
		err := renamer.FreshenAs(list[0], list[0].Stored(), began, list[0].Names().With([]string{"new"}, nil))
		if !errors.Is(err, storage.ErrGone) {
			t.Errorf("renamed while it was purged by its %s name: %v", name, err)
		}
		release(list)
	}
	p.store(t, st, l.Sequence())
	if err := rename(l.Sequence()); err != nil {
		t.Fatal(err)
	}
	l.purge(storage.Removed, tag("new"))
	wantFound := st.Lookup(nil, p.key())
	if release(wantFound); len(wantFound) != 0 {
		t.Error("not purged by its new name")
	}
}
