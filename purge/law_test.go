package purge

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"edge/cache/storage"
	"edge/message"
)

// The law: nothing stored before an acknowledged purge that matches it is found
// fresh after it. Here it is held over a ledger, its journal and a real memory
// tier, by random fills, refreshes, look-ups, purges, sweeps, compactions and
// crashes, against a model that compares each purge with each response.

// selects says, as simply as it can be said, whether s selects x.
func selects(s Selector, x thing) bool {
	path, _, _ := strings.Cut(x.target, "?")
	here := s.Scheme == x.scheme && s.Authority == x.authority
	switch s.Kind {
	case URL:
		return here && s.Name == x.target
	case Prefix:
		return here && (strings.HasPrefix(path, strings.TrimSuffix(s.Name, "/")+"/") || path == s.Name)
	case Tag:
		return slices.Contains(x.tags, s.Name)
	case Group:
		return here && slices.Contains(x.groups, s.Name)
	case Host:
		return s.Authority == x.authority
	case Everything:
		return true
	}
	return false
}

// lawMachine is the system and its model.
type lawMachine struct {
	t     *testing.T
	files *forgetful
	l     *Ledger
	st    *storage.Memory
	// purges are those acknowledged, or in force in this process.
	purges []lawPurge
	things []*lawThing
	fills  []lawFill
	asked  []lawAsked
	// disk is what another tier has kept across crashes: names and sequences.
	disk []lawDisk
	// dropped: purges were dropped, so more than must may count as purged.
	dropped bool
}

type lawPurge struct {
	seq uint64
	Purge
}

type lawThing struct {
	thing
	stored bool
	seq    uint64
}

type lawFill struct {
	w   storage.Writer
	x   *lawThing
	seq uint64
}

type lawAsked struct {
	e   storage.Entry
	x   *lawThing
	seq uint64
}

type lawDisk struct {
	x   *lawThing
	seq uint64
}

// verdict is what must be found of what was stored at seq.
func (m *lawMachine) verdict(x thing, seq uint64) storage.Verdict {
	worst := Mode(0)
	for _, p := range m.purges {
		if p.seq > seq && slices.ContainsFunc(p.Selectors, func(s Selector) bool { return selects(s, x) }) {
			worst = max(worst, p.Mode)
		}
	}
	return [numModes]storage.Verdict{storage.Live, storage.Stale, storage.Invalid, storage.Removed}[worst]
}

func TestTheLaw(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := &lawMachine{t: t, files: newForgetful()}
		for _, host := range []string{"a", "b:81"} {
			for _, target := range []string{"/", "/x", "/x?q", "/x/y", "/xy/"} {
				scheme := "https"
				if target == "/x" {
					scheme = "http"
				}
				m.things = append(m.things, &lawThing{thing: thing{scheme: scheme, authority: host, target: target,
					tags: []string{"t" + target[:1], "n" + host}, groups: []string{"G" + target}}})
			}
		}
		m.start(rt)
		defer m.stop()
		rt.Repeat(map[string]func(*rapid.T){
			"begin": m.begin, "commit": m.commit, "ask": m.ask, "freshen": m.freshen, "purge": m.purge, "invalidate": m.invalidate,
			"sweep": m.sweep, "compact": m.compact, "crash": m.crash, "keep": m.keep, "look": m.look, "check": m.check,
		})
	})
}

func (m *lawMachine) start(rt fataler) {
	var err error
	if m.l, err = Open(Options{Path: "j", files: m.files, Clock: clock}); err != nil {
		rt.Fatalf("%v", err)
	}
	if m.st, err = storage.NewMemory(storage.MemoryOptions{Size: 8 << 20, Ledger: m.l, Clock: clock}); err != nil {
		rt.Fatalf("%v", err)
	}
}

func (m *lawMachine) stop() {
	for _, f := range m.fills {
		f.w.Abort(errors.New("end"))
	}
	for _, a := range m.asked {
		a.e.Release()
	}
	m.fills, m.asked = nil, nil
	_ = m.st.Close()
	_ = m.l.Close()
}

func (m *lawMachine) thing(rt *rapid.T) *lawThing {
	return rapid.SampledFrom(m.things).Draw(rt, "thing")
}

func (m *lawMachine) begin(rt *rapid.T) {
	x, seq := m.thing(rt), m.l.Sequence()
	w, err := m.st.Begin(x.proposal(seq))
	if err != nil {
		rt.Fatalf("begin: %v", err)
	}
	m.fills = append(m.fills, lawFill{w, x, seq})
}

func (m *lawMachine) commit(rt *rapid.T) {
	if len(m.fills) == 0 {
		rt.Skip("no fill")
	}
	i := rapid.IntRange(0, len(m.fills)-1).Draw(rt, "fill")
	f := m.fills[i]
	m.fills = slices.Delete(m.fills, i, i+1)
	if err := f.w.Write(context.Background(), []byte("x")); err != nil {
		rt.Fatalf("write: %v", err)
	}
	err := f.w.Commit(nil)
	verdict := m.verdict(f.x.thing, f.seq)
	switch {
	case err != nil && !errors.Is(err, storage.ErrDoomed):
		rt.Fatalf("commit: %v", err)
	case err == nil && verdict != storage.Live:
		rt.Fatalf("what was purged while it was fetched is stored")
	case err != nil && verdict == storage.Live && !m.dropped:
		rt.Fatalf("doomed by no purge")
	case err == nil:
		f.x.stored, f.x.seq = true, f.seq
	}
}

// ask begins a refresh of what is found.
func (m *lawMachine) ask(rt *rapid.T) {
	x := m.thing(rt)
	list := m.st.Lookup(nil, x.proposal(0).Key)
	if len(list) == 0 {
		rt.Skip("not found")
	}
	m.asked = append(m.asked, lawAsked{list[0], x, m.l.Sequence()})
}

// freshen ends a refresh.
func (m *lawMachine) freshen(rt *rapid.T) {
	if len(m.asked) == 0 {
		rt.Skip("no refresh")
	}
	i := rapid.IntRange(0, len(m.asked)-1).Draw(rt, "refresh")
	e, x, seq := m.asked[i].e, m.asked[i].x, m.asked[i].seq
	m.asked = slices.Delete(m.asked, i, i+1)
	defer e.Release()
	head := *e.Stored()
	head.Terms.Flags &^= message.TermInvalidated | message.TermSoftPurged
	head.Terms.FreshnessLifetime = 3600 * message.Second
	switch err := m.st.Freshen(e, &head, seq); {
	case err == nil:
		x.seq = seq
	case !errors.Is(err, storage.ErrGone):
		rt.Fatalf("freshen: %v", err)
	}
}

func (m *lawMachine) selector(rt *rapid.T) Selector {
	x := m.thing(rt)
	switch Kind(rapid.IntRange(int(URL), int(Everything)).Draw(rt, "kind")) {
	case URL:
		return Selector{Kind: URL, Scheme: x.scheme, Authority: x.authority, Name: x.target}
	case Prefix:
		return Selector{Kind: Prefix, Scheme: x.scheme, Authority: x.authority, Name: rapid.SampledFrom([]string{"/", "/x", "/x/", "/x/y"}).Draw(rt, "prefix")}
	case Tag:
		return Selector{Kind: Tag, Name: rapid.SampledFrom(x.tags).Draw(rt, "tag")}
	case Group:
		return Selector{Kind: Group, Scheme: x.scheme, Authority: x.authority, Name: x.groups[0]}
	case Host:
		return Selector{Kind: Host, Authority: x.authority}
	case Everything:
	}
	return All()
}

func (m *lawMachine) purge(rt *rapid.T) {
	p := Purge{Mode: rapid.SampledFrom([]Mode{Soft, Hard}).Draw(rt, "mode")}
	for range rapid.IntRange(1, 3).Draw(rt, "selectors") {
		p.Selectors = append(p.Selectors, m.selector(rt))
	}
	r := mustPurge(rt, m.l, p.Mode, p.Selectors...)
	m.purges = append(m.purges, lawPurge{r.Sequence, p})
}

// invalidate is not waited for: a crash may undo it, for what outlives a crash.
func (m *lawMachine) invalidate(rt *rapid.T) {
	s := m.selector(rt)
	if err := m.l.Invalidate(s); err != nil {
		rt.Fatalf("%v", err)
	}
	m.purges = append(m.purges, lawPurge{m.l.Sequence(), Purge{[]Selector{s}, Invalid}})
}

func (m *lawMachine) sweep(*rapid.T) { m.l.sweep(m.st) }

// compact drops all that may be dropped, whatever its age.
func (m *lawMachine) compact(*rapid.T) {
	m.l.sweep(m.st)
	m.l.settleNow(m.st)
	m.l.mu.Lock()
	floor := m.l.floor
	m.l.prune(1 << 62)
	m.dropped = m.dropped || m.l.floor > floor
	m.l.mu.Unlock()
	m.l.journal.compact.Store(true)
}

// keep puts what is found on a disk, as it is there.
func (m *lawMachine) keep(rt *rapid.T) {
	if x := m.thing(rt); find(m.st, x.thing) == "fresh" {
		m.disk = append(m.disk, lawDisk{x, x.seq})
	}
}

// crash ends the process, or the power, and starts another.
func (m *lawMachine) crash(rt *rapid.T) {
	files := m.files.kill()
	if rapid.Bool().Draw(rt, "power") {
		files = m.files.crash(rapid.IntRange(0, 100).Draw(rt, "torn"))
	}
	m.purges = slices.DeleteFunc(m.purges, func(p lawPurge) bool { return p.Mode == Invalid })
	last := m.l.Sequence()
	m.stop()
	m.files = files
	for _, x := range m.things {
		x.stored = false
	}
	m.start(rt)
	if m.l.Sequence() <= last {
		rt.Fatalf("sequences go on at %d after %d", m.l.Sequence(), last)
	}
}

// look looks one thing up: most are not looked at for a while, as in life.
func (m *lawMachine) look(rt *rapid.T) { m.lookAt(rt, m.thing(rt)) }

func (m *lawMachine) lookAt(rt *rapid.T, x *lawThing) {
	got := find(m.st, x.thing)
	if !x.stored {
		if got != "none" {
			rt.Fatalf("%s is found %s, and was not stored", x.target, got)
		}
		return
	}
	want := m.verdict(x.thing, x.seq)
	switch {
	case got == "fresh" && want != storage.Live, got == "stale" && want == storage.Removed, got == "invalid" && want == storage.Removed,
		got == "stale" && want == storage.Invalid:
		rt.Fatalf("%v, stored at %d, is found %s; want %v of %v", x.thing, x.seq, got, want, m.purges)
	case got == "none" && want != storage.Removed && !m.dropped:
		rt.Fatalf("%v is gone; want %v", x.thing, want)
	}
	x.stored = got != "none"
}

// check looks everything up.
func (m *lawMachine) check(rt *rapid.T) {
	for _, x := range m.things {
		m.lookAt(rt, x)
	}
	for _, d := range m.disk {
		want := m.verdict(d.x.thing, d.seq)
		if d.seq < m.l.Sequence() && m.l.Judge(d.x.entry(), d.seq) < want {
			rt.Fatalf("%v, on a disk since %d: %v, want %v", d.x.thing, d.seq, m.l.Judge(d.x.entry(), d.seq), want)
		}
	}
}
