package purge

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"edge/cache/storage"
	"edge/message"
)

func clock() message.Instant { return message.Instant(time.Now().UnixNano()) }

// open opens a ledger that is closed when the test ends.
func open(t testing.TB, o Options) *Ledger {
	t.Helper()
	if o.Clock == nil {
		o.Clock = clock
	}
	l, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// settleNow is settle that does not wait for its time. After sweep.
func (l *Ledger) settleNow(taker storage.Taker) {
	l.mu.Lock()
	l.pruned = 0
	l.mu.Unlock()
	l.settle(taker)
}

// eventually waits for something that takes a few seconds at most.
func eventually(t testing.TB, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !so(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// fataler is what helpers need of a test or of rapid's.
type fataler interface {
	Helper()
	Fatalf(string, ...any)
}

// mustPurge purges, and must not fail.
func mustPurge(t fataler, l *Ledger, mode Mode, s ...Selector) *Receipt {
	t.Helper()
	r, err := l.Purge(context.Background(), &Purge{Selectors: s, Mode: mode})
	if err != nil {
		t.Fatalf("purge: %v", err)
	}
	return r
}

// must returns a selector that is right.
func must(s Selector, err error) Selector {
	if err != nil {
		panic(err)
	}
	return s
}

func mustPrefix(text string) Selector {
	list, err := ByPrefix(text)
	if err != nil {
		panic(err)
	}
	return list[0]
}

// thing is something to store.
type thing struct {
	scheme, authority, target string
	tags, groups              []string
	nominated                 string
}

func (x thing) proposal(seq uint64) *storage.Proposal {
	s := &message.Stored{Status: 200, ResponseTime: clock(), Head: []byte("ETag: \"a\"\r\n"), Length: 1}
	s.Terms = message.Terms{FreshnessLifetime: 3600 * message.Second, ETag: []byte(`"a"`)}
	if x.nominated != "" {
		s.Nominated = []byte(x.nominated)
	}
	return &storage.Proposal{Key: storage.URLKey(x.scheme, x.authority, x.target), Stored: s, Sequence: seq, Scheme: x.scheme, Authority: []byte(x.authority),
		Target: []byte(x.target), Tags: x.tags, Groups: x.groups, Total: 1}
}

// entry stands for a stored response where only its names count.
type entry struct {
	storage.Entry
	names storage.Names
}

// Names returns them.
func (e entry) Names() storage.Names { return e.names }

func (x thing) entry() entry { return entry{names: storage.MakeNames(x.proposal(0))} }

// store opens a memory tier judged by l.
func store(t testing.TB, l *Ledger) *storage.Memory {
	t.Helper()
	m, err := storage.NewMemory(storage.MemoryOptions{Size: 64 << 20, Ledger: l, Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m
}

// put stores x as if it was fetched at seq.
func put(t fataler, st storage.Store, x thing, seq uint64) error {
	t.Helper()
	w, err := st.Begin(x.proposal(seq))
	if err != nil {
		t.Fatalf("begin: %v", err)
	}
	e := w.Entry()
	defer e.Release()
	if err := w.Write(context.Background(), []byte("x")); err != nil {
		t.Fatalf("write: %v", err)
	}
	return w.Commit(nil)
}

// find says what is found of x: "fresh", "stale", "invalid" or "none".
func find(st storage.Store, x thing) string {
	found := "none"
	for _, e := range st.Lookup(nil, x.proposal(0).Key) {
		s := e.Stored()
		switch f := s.Terms.Flags; {
		case string(s.Nominated) != x.nominated:
		case f.Has(message.TermInvalidated):
			found = "invalid"
		case f.Has(message.TermSoftPurged):
			found = "stale"
		default:
			found = "fresh"
		}
		e.Release()
	}
	return found
}

var testNumber atomic.Int64

// many returns n different things of a host.
func many(n int, tags ...string) []thing {
	host := fmt.Sprintf("h%d.example", testNumber.Add(1))
	list := make([]thing, n)
	for i := range list {
		list[i] = thing{scheme: "https", authority: host, target: fmt.Sprintf("/%d", i), tags: tags}
	}
	return list
}
