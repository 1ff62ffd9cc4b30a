package purge

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"edge/cache/storage"
	"edge/message"
)

// settled waits for a receipt to be final.
func settled(t testing.TB, r *Receipt) int64 {
	t.Helper()
	select {
	case <-r.Done():
	case <-time.After(time.Minute):
		t.Fatal("a receipt never becomes final")
	}
	n, _ := r.Matched()
	return n
}

// TestMatched: live stored responses are counted, each once, and none that an
// earlier purge had taken.
func TestMatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := open(t, Options{})
		st := store(t, l)
		l.Reclaim(st)
		red, blue := many(30, "red"), many(20, "blue", "both")
		for _, x := range append(append([]thing(nil), red...), blue...) {
			if err := put(t, st, x, l.Sequence()); err != nil {
				t.Fatal(err)
			}
		}
		variant := red[0]
		variant.nominated = "accept: x\r\n"
		if err := put(t, st, variant, l.Sequence()); err != nil {
			t.Fatal(err)
		}
		host := must(ByHost(red[0].authority))
		first := must(ByURL("https://" + red[0].authority + red[0].target))
		for i, c := range []struct {
			mode Mode
			s    []Selector
			want int64
		}{
			{Soft, []Selector{first}, 2},
			{Soft, []Selector{first}, 0},
			{Hard, []Selector{first}, 2},
			{Hard, []Selector{first}, 0},
			{Soft, []Selector{must(ByTag("RED")), host}, 29},
			{Hard, []Selector{host, must(ByTag("red"))}, 29},
			{Hard, []Selector{must(ByTag("none"))}, 0},
			{Hard, []Selector{All(), must(ByTag("blue"))}, 20},
			{Hard, []Selector{All()}, 0},
		} {
			r := mustPurge(t, l, c.mode, c.s...)
			r.Wait(l.CountWait())
			if n, exact := r.Matched(); n != c.want || !exact {
				t.Errorf("purge %d: matched %d, exact %v, want %d", i, n, exact, c.want)
			}
			if again, ok := l.Receipt(r.ID); !ok || again != r {
				t.Errorf("purge %d has no receipt", i)
			}
		}
		eventually(t, "what was purged is freed", func() bool { return st.Stats().Entries == 0 })
		if s := l.Stats(); s.Counting != 0 || s.Taken == 0 || s.Sweeps == 0 {
			t.Errorf("%+v", s)
		}
	})
}

// TestMatchedMeanwhile: who finds a purged response first does not matter, nor
// that several purges come at once.
func TestMatchedMeanwhile(t *testing.T) {
	l := open(t, Options{})
	st := store(t, l)
	things := many(500, "t")
	for _, x := range things {
		if err := put(t, st, x, l.Sequence()); err != nil {
			t.Fatal(err)
		}
	}
	var found sync.WaitGroup
	r := []*Receipt{mustPurge(t, l, Soft, must(ByTag("t"))), mustPurge(t, l, Hard, must(ByTag("t"))), mustPurge(t, l, Hard, All())}
	for range 4 {
		found.Go(func() {
			for _, x := range things {
				if f := find(st, x); f != "none" {
					t.Errorf("found %s", f)
				}
			}
		})
	}
	l.Reclaim(st)
	found.Wait()
	for i, want := range []int64{500, 500, 0} {
		if n := settled(t, r[i]); n != want {
			t.Errorf("purge %d: matched %d, want %d", i, n, want)
		}
	}
}

// TestMoreThanExact: beyond ExactUpTo an answer need not wait.
func TestMoreThanExact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := open(t, Options{})
		r := mustPurge(t, l, Hard, All())
		for range ExactUpTo + 1 {
			l.receipts.count(r.Sequence)
		}
		began := time.Now()
		r.Wait(time.Minute)
		if n, exact := r.Matched(); n != ExactUpTo+1 || exact || time.Since(began) != 0 {
			t.Errorf("matched %d, exact %v after %v", n, exact, time.Since(began))
		}
	})
}

// TestReceiptsAreBounded: the oldest go.
func TestReceiptsAreBounded(t *testing.T) {
	l := open(t, Options{})
	first := mustPurge(t, l, Hard, All())
	var last *Receipt
	for range maxReceipts {
		last = mustPurge(t, l, Hard, All())
	}
	if _, ok := l.Receipt(first.ID); ok {
		t.Error("the oldest is still there")
	}
	if _, ok := l.Receipt(last.ID); !ok || len(l.receipts.byID) != maxReceipts || len(l.receipts.ring) != maxReceipts {
		t.Errorf("%d receipts", len(l.receipts.byID))
	}
}

// TestCompaction: what everything was judged by goes, the index and the journal
// with it, and what was last judged before counts as purged.
func TestCompaction(t *testing.T) {
	f := newForgetful()
	l := open(t, Options{Path: "j", files: f})
	st := store(t, l)
	kept := many(1, "other")[0]
	if err := put(t, st, kept, l.Sequence()); err != nil {
		t.Fatal(err)
	}
	began := l.Sequence()
	for i := range 3000 {
		if err := l.Invalidate(must(ByTag(fmt.Sprintf("%0200d", i%3)))); err != nil {
			t.Fatal(err)
		}
	}
	mustPurge(t, l, Hard, must(ByTag("t")))
	before := l.Stats()
	l.sweep(st)
	l.settleNow(st)
	if s := l.Stats(); s.Live != 4 || s.Floor != 0 {
		t.Errorf("of %d purges of 4 tags %d are left, floor %d", before.Live, s.Live, s.Floor)
	}
	mustPurge(t, l, Hard, must(ByTag("again")))
	if s := l.Stats(); s.JournalBytes*10 > before.JournalBytes || s.Live != 5 {
		t.Errorf("the journal has %d bytes after %d", s.JournalBytes, before.JournalBytes)
	}
	wantInForce(t, "compacted", f.crash(0), []string{"t", "again"})
	l.sweep(st)
	l.settleNow(st)
	l.mu.Lock()
	l.prune(clock() + 1)
	l.mu.Unlock()
	if s := l.Stats(); s.Live != 0 || s.Floor != l.Sequence() {
		t.Errorf("%+v", s)
	}
	if l.Judge(kept.entry(), began) != storage.Removed {
		t.Error("what cannot be judged any more is taken for live")
	}
	if find(st, kept) != "fresh" {
		t.Error("what was judged in time is gone")
	}
}

// TestTooManyPurges: however many, what is kept of them is bounded.
func TestTooManyPurges(t *testing.T) {
	l := open(t, Options{})
	p := &Purge{Mode: Hard}
	for round := 0; l.Stats().Live <= maxNamed; round++ {
		p.Selectors = p.Selectors[:0]
		for i := range MaxSelectors {
			p.Selectors = append(p.Selectors, must(ByTag(fmt.Sprintf("%d-%d", round, i))))
		}
		if _, err := l.Purge(context.Background(), p); err != nil {
			t.Fatal(err)
		}
	}
	l.compact(0)
	if s := l.Stats(); s.Live > maxNamed/2 || s.Floor == 0 {
		t.Errorf("%d are kept, floor %d", s.Live, s.Floor)
	}
	if l.Judge(thing{tags: []string{"0-0"}}.entry(), 0) != storage.Removed {
		t.Error("a purge was dropped and what it selects is live")
	}
}

// TestPurgesTooLong: nor do they take more than so many bytes, however long the names that
// clients cause purges by; the journal, in which they are twice at most, can be read again.
func TestPurgesTooLong(t *testing.T) {
	const _ = uint(maxJournal - 4*maxHeld)
	l := open(t, Options{})
	l.Reclaim(store(t, l))
	name := strings.Repeat("x", 4*MaxURL) // its end tells them apart, and its memory is shared
	long := func(i int) Selector { return Selector{Kind: Tag, Name: name[i:]} }
	n := 0
	for held := 0; held <= maxHeld; n++ {
		if err := l.Invalidate(long(n)); err != nil {
			t.Fatal(err)
		}
		held += len(name) - n
	}
	last := l.Sequence()
	l.mu.Lock()
	all := l.held
	l.mu.Unlock()
	if all > maxHeld+maxHeld/64 {
		t.Errorf("%d bytes are kept", all)
	}
	eventually(t, "the oldest to go", func() bool { return l.Stats().Floor > 0 })
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held > maxHeld/2 || l.held < maxHeld/4 || l.floor >= last || len(l.records) >= n {
		t.Errorf("%d bytes of %d purges are kept, floor %d", l.held, len(l.records), l.floor)
	}
}

// TestGroupsOfWhatIsStored: an invalidation that matches nothing costs nothing.
func TestGroupsOfWhatIsStored(t *testing.T) {
	l := open(t, Options{})
	invalidate := func(groups ...string) uint64 {
		if err := l.InvalidateGroups("https", "a", groups); err != nil {
			t.Fatal(err)
		}
		return l.Sequence()
	}
	if n := invalidate("G", "", "\x00"); n != 0 {
		t.Errorf("%d purges of what is not there", n)
	}
	l.NoteGroups("https", "a", []string{"G", "H"})
	l.NoteGroups("http", "a", []string{"I"})
	if n := invalidate("g", "I"); n != 0 {
		t.Errorf("%d purges of other groups", n)
	}
	if n := invalidate("G"); n != 1 {
		t.Errorf("%d purges, want 1", n)
	}
	if l.Judge(thing{scheme: "https", authority: "a", target: "/", groups: []string{"G"}}.entry(), 0) != storage.Invalid {
		t.Error("the group is not invalid")
	}
	if n := invalidate("G", "G"); n != 1 {
		t.Error("invalidated again, though nothing was stored since")
	}
	for i := range maxGroups + 1 {
		l.NoteGroups("https", "b", []string{fmt.Sprint(i)})
	}
	if n := invalidate("G"); n != 2 {
		t.Error("with too many groups to know, one was taken for not stored")
	}
}

// TestFollow: a follower sees every purge once, waits for the next, and is told
// where it has missed some.
func TestFollow(t *testing.T) {
	l := open(t, Options{})
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	ctx, stop := context.WithTimeout(context.Background(), 30*time.Second)
	defer stop()
	page, err := l.Since(ended, "", 0)
	if err != nil || page.Sequence != 0 || len(page.Events) != 0 {
		t.Fatalf("%+v, %v", page, err)
	}
	epoch := page.Epoch
	go func() {
		_, _ = l.Purge(context.Background(), &Purge{Selectors: []Selector{must(ByTag("a"))}, Mode: Soft})
	}()
	page, err = l.Since(ctx, epoch, 0)
	if err != nil || page.Sequence != 1 || len(page.Events) != 1 || page.Events[0].Selectors[0].Name != "a" || page.Events[0].Mode != Soft {
		t.Fatalf("%+v, %v", page, err)
	}
	for range MaxPage + 10 {
		mustPurge(t, l, Hard, All())
	}
	seen, at := 0, page.Sequence
	for at < l.Sequence() {
		page, err := l.Since(ctx, epoch, at)
		if err != nil || len(page.Events) > MaxPage {
			t.Fatalf("%d events, %v", len(page.Events), err)
		}
		for _, e := range page.Events {
			if e.Sequence <= at {
				t.Fatalf("%d after %d", e.Sequence, at)
			}
			at = e.Sequence
			seen++
		}
		at = page.Sequence
	}
	if seen != MaxPage+10 {
		t.Errorf("seen %d", seen)
	}
	l.mu.Lock()
	l.swept = l.seq.Load()
	l.prune(clock() + 1)
	l.mu.Unlock()
	for _, c := range []struct {
		epoch string
		since uint64
		want  error
	}{{epoch, l.Sequence(), nil}, {"", 5, ErrBehind}, {epoch, l.Sequence() + 1, ErrBehind}, {"another", l.Sequence(), ErrBehind}} {
		if page, err := l.Since(ended, c.epoch, c.since); !errors.Is(err, c.want) || page.Sequence != l.Sequence() {
			t.Errorf("%q %d: %+v, %v", c.epoch, c.since, page, err)
		}
	}
	done := make(chan error, 1)
	go func() { _, err := l.Since(ctx, epoch, l.Sequence()); done <- err }()
	time.Sleep(time.Millisecond)
	_ = l.Close()
	if err := <-done; !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// TestStaleSince: the windows of what was soft-purged begin with the purge, whenever
// it is come by, and with the first of several.
func TestStaleSince(t *testing.T) {
	now := message.Instant(time.Hour)
	tick := func() message.Instant { return now }
	l := open(t, Options{Clock: tick})
	st, err := storage.NewMemory(storage.MemoryOptions{Size: 8 << 20, Ledger: l, Clock: tick})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = st.Close() }()
	x := many(1, "t")[0]
	w, err := st.Begin(x.proposal(l.Sequence()))
	if err != nil {
		t.Fatal(err)
	}
	e := w.Entry()
	defer e.Release()
	if err := errors.Join(w.Write(context.Background(), []byte("x")), w.Commit(nil)); err != nil {
		t.Fatal(err)
	}
	responded := e.Stored().ResponseTime // of the system's clock
	now = responded.Add(int64(time.Minute))
	mustPurge(t, l, Soft, must(ByTag("t")))
	now = now.Add(int64(time.Minute))
	mustPurge(t, l, Soft, All())
	now = now.Add(int64(time.Minute))
	if got := find(st, x); got != "stale" {
		t.Fatalf("found %s", got)
	}
	if got := time.Duration(e.Stored().Terms.FreshnessLifetime); got != time.Minute {
		t.Errorf("soft-purged a minute after it came, it was fresh for %v", got)
	}
}
