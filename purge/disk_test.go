package purge

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// fakeDisk is a disk that remembers. seq and epoch are what it has after a kill.
type fakeDisk struct {
	mu                             sync.Mutex
	epoch                          string
	seq                            uint64
	soft, forgotten                int
	seenErr, softErr, sawErr, fErr error
	out                            error
	hang                           chan struct{} // not nil: a position is not put before it is closed
}

func (d *fakeDisk) Name() string { return "fake" }

func (d *fakeDisk) Seen() (string, uint64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.epoch, d.seq, d.seenErr
}

func (d *fakeDisk) Saw(epoch string, seq uint64) error {
	if d.hang != nil {
		<-d.hang
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.sawErr == nil {
		d.epoch, d.seq = epoch, seq
	}
	return d.sawErr
}

func (d *fakeDisk) Sync() error { return nil }

func (d *fakeDisk) Forget() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fErr == nil {
		d.epoch, d.seq = "", Missed
		d.forgotten++
	}
	return d.fErr
}

func (d *fakeDisk) SoftPurge() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.soft++
	return d.softErr
}

func (d *fakeDisk) Use(why error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.out = why
}

func (d *fakeDisk) Close() error { return nil }

// fault makes the disk fail in all, or nothing.
func (d *fakeDisk) fault(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sawErr, d.fErr = err, err
}

func (d *fakeDisk) now() (epoch string, seq uint64, out bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.epoch, d.seq, d.out != nil
}

// like is another disk, with the same position.
func (d *fakeDisk) like() *fakeDisk {
	epoch, seq, _ := d.now()
	return &fakeDisk{epoch: epoch, seq: seq}
}

// attach opens a ledger and attaches disks, as a process does.
func attach(t *testing.T, f *forgetful, disks ...*fakeDisk) *Ledger {
	t.Helper()
	o := Options{Path: "j", files: f}
	for _, d := range disks {
		epoch, seq, _ := d.now()
		o.Positions = append(o.Positions, Position{epoch, seq})
	}
	l := open(t, o)
	for _, d := range disks {
		if err := l.Attach(d); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

// TestDisks: a disk that may have missed a purge is soft-purged whole, and only
// such a one.
func TestDisks(t *testing.T) {
	f := newForgetful()
	d := &fakeDisk{}
	l := attach(t, f, d)
	mustPurge(t, l, Hard, must(ByTag("a")))
	if d.soft != 0 || d.seq != l.began+1 {
		t.Fatalf("a new disk: %+v", d)
	}
	_ = l.Close()
	detached := d.like()

	l = attach(t, f, d)
	mustPurge(t, l, Hard, must(ByTag("b")))
	last := l.Sequence()
	if d.soft != 0 || d.seq != last {
		t.Fatalf("a disk that was always there: %+v", d)
	}
	_ = l.Close()

	behind := detached.like() // the journal still holds what it missed
	l = attach(t, f, behind)
	if behind.soft != 0 {
		t.Error("a disk that the journal can bring up to date was purged")
	}
	l.mu.Lock()
	l.swept = l.seq.Load()
	l.prune(clock() + 1)
	l.mu.Unlock()
	l.journal.compact.Store(true)
	if err := l.journal.flush(); err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	behind = detached.like()
	_ = attach(t, f, behind).Close()
	if behind.soft != 1 {
		t.Error("a disk behind the journal's tail was not purged")
	}

	lost := d.like()
	l = attach(t, newForgetful(), lost)
	if lost.soft != 1 {
		t.Error("with the journal lost, the disk was not purged")
	}
	if l.Sequence() <= last {
		t.Errorf("sequences go on at %d, and the disk has responses of up to %d", l.Sequence(), last)
	}
}

// TestDisksAhead: a disk that knows more than what was left of the journal.
func TestDisksAhead(t *testing.T) {
	lost := &fakeDisk{}
	l := attach(t, newForgetful(), lost)
	_ = l.Close()
	ahead := &fakeDisk{epoch: lost.epoch, seq: lost.seq + 100*runSpan}
	l = attach(t, l.journal.fs.(*forgetful), ahead)
	if ahead.soft != 1 || l.Sequence() <= lost.seq+100*runSpan {
		t.Error("a journal that lost its end goes unnoticed")
	}
	last := l.Sequence()
	_ = l.Close()
	if l = open(t, Options{Path: "j", files: l.journal.fs}); l.Sequence() <= last {
		t.Error("the numbers that were passed over are given after all")
	}
	unread := &fakeDisk{epoch: lost.epoch, seq: lost.seq, seenErr: errInjected}
	if err := l.Attach(unread); err != nil || unread.soft != 1 {
		t.Errorf("a disk whose position cannot be read: %v, %+v", err, unread)
	}
}

// TestFollowersOfAnotherEpoch: a follower that does not say which epoch its number is of is
// told all the same that there is another now, by that process and those after it.
func TestFollowersOfAnotherEpoch(t *testing.T) {
	ended, end := context.WithCancel(t.Context())
	end()
	follow := func(l *Ledger, since uint64, want error) uint64 {
		t.Helper()
		page, err := l.Since(ended, "", since)
		if !errors.Is(err, want) || want == nil && err != nil {
			t.Errorf("since %d: %v, want %v", since, err, want)
		}
		return page.Sequence
	}
	f, d := newForgetful(), &fakeDisk{}
	l := attach(t, f, d)
	mustPurge(t, l, Hard, must(ByTag("a")))
	old := follow(l, 0, nil)
	_ = l.Close()
	for _, c := range []struct {
		what  string
		files *forgetful
		disks []*fakeDisk
	}{
		{"the journal is lost", newForgetful(), []*fakeDisk{d.like()}},
		{"it may not hold everything", f.kill(), []*fakeDisk{d.like(), {epoch: d.epoch, seq: Missed}}},
		{"its numbers are outrun", f.kill(), []*fakeDisk{d.like(), {epoch: "another", seq: 100 * runSpan}}},
	} {
		t.Log(c.what)
		l = attach(t, c.files, c.disks...)
		follow(l, 0, ErrBehind)
		now := follow(l, old, ErrBehind)
		follow(l, now, nil)
		mustPurge(t, l, Hard, must(ByTag("b")))
		_ = l.Close()
		l = attach(t, c.files, c.disks...)
		mustPurge(t, l, Hard, must(ByTag("c")))
		follow(l, old, ErrBehind)
		if next := follow(l, now, nil); next != l.Sequence() {
			t.Errorf("from %d on: %d", now, next)
		}
		_ = l.Close()
	}
}

// TestSoftPurgeIsOwed: a disk on which that it was soft-purged does not last is told no
// position, so that the next process does it again.
func TestSoftPurgeIsOwed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &fakeDisk{epoch: "another", seq: 5, softErr: errInjected}
		f := newForgetful()
		l := attach(t, f, d)
		mustPurge(t, l, Hard, must(ByTag("a")))
		if epoch, seq, _ := d.now(); epoch != "another" || seq != 5 || d.soft < 1 {
			t.Errorf("%+v", d)
		}
		d.mu.Lock()
		d.softErr = nil
		d.mu.Unlock()
		mustPurge(t, l, Hard, must(ByTag("b")))
		eventually(t, "the position", func() bool { _, seq, _ := d.now(); return seq == l.Sequence() })
		_ = l.Close()
		d = d.like()
		if attach(t, f, d); d.soft != 0 {
			t.Error("it is purged again")
		}
	})
}

// broken makes everything that is written to the journal fail, or nothing.
func (f *forgetful) broken(yes bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failAt = 0; yes {
		f.failAt, f.failFor = f.ops+1, 1<<30
	}
}

// wantNotDurable purges, and wants just that.
func wantNotDurable(t *testing.T, l *Ledger, tag string) *Receipt {
	t.Helper()
	r, err := l.Purge(t.Context(), &Purge{Selectors: []Selector{must(ByTag(tag))}, Mode: Hard})
	if !errors.Is(err, ErrNotDurable) || r == nil || l.Durable(r) == nil {
		t.Fatalf("%v", err)
	}
	return r
}

// TestMarkedBeforeTheAnswer: whoever is told that a purge is not durable can rely on
// the disks' being marked, each for the others; and when the journal is written again
// everything is as it was.
func TestMarkedBeforeTheAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newForgetful()
		a, b := &fakeDisk{}, &fakeDisk{}
		l := attach(t, f, a, b)
		mustPurge(t, l, Hard, must(ByTag("before")))
		b.fault(errInjected)
		f.broken(true)
		r := wantNotDurable(t, l, "x")
		if _, seq, out := a.now(); seq != Missed || out {
			t.Errorf("a disk that can be written: %d, out %v", seq, out)
		}
		if _, seq, out := b.now(); seq == Missed || !out {
			t.Errorf("a disk that cannot: %d, out %v", seq, out)
		}
		if g := l.Guard(); g.Marked != 1 || g.Out != 1 || g.Aside {
			t.Errorf("%+v", g)
		}
		for _, left := range []*forgetful{f.kill(), f.crash(0)} {
			a2, b2 := a.like(), b.like()
			if next := attach(t, left, a2, b2); a2.soft != 1 || b2.soft != 1 || next.epoch == l.epoch {
				t.Errorf("after a restart: %+v, %+v", a2, b2)
			}
		}
		b.fault(nil)
		f.broken(false)
		eventually(t, "the journal", func() bool { return l.Durable(r) == nil })
		for _, d := range []*fakeDisk{a, b} {
			eventually(t, "the disk", func() bool { _, seq, out := d.now(); return seq == l.Sequence() && !out })
		}
		a, b = a.like(), b.like()
		attach(t, f.kill(), a, b)
		if a.soft != 0 || b.soft != 0 {
			t.Error("disks are purged though the journal holds everything")
		}
	})
}

// TestForgottenWhereThereIsNoRoom: the position is taken away where it cannot be
// written.
func TestForgottenWhereThereIsNoRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, d := newForgetful(), &fakeDisk{}
		l := attach(t, f, d)
		d.mu.Lock()
		d.sawErr = errInjected
		d.mu.Unlock()
		f.broken(true)
		wantNotDurable(t, l, "x")
		if _, seq, out := d.now(); seq != Missed || out || d.forgotten == 0 {
			t.Errorf("%+v", d)
		}
	})
}

// TestJournalPutAside: where no disk can be marked, the journal is made unfindable; and
// where not even that can be done, the disks are out of use until something can.
func TestJournalPutAside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, d := newForgetful(), &fakeDisk{}
		l := attach(t, f, d)
		d.fault(errInjected)
		f.mu.Lock()
		f.noData = true
		f.mu.Unlock()
		r := wantNotDurable(t, l, "x")
		if _, _, out := d.now(); out || !l.Guard().Aside {
			t.Errorf("%+v", l.Guard())
		}
		next := d.like()
		if attach(t, f.kill(), next); next.soft != 1 {
			t.Error("believed after a restart")
		}
		f.mu.Lock()
		f.noData = false
		f.mu.Unlock()
		d.fault(nil)
		eventually(t, "the journal", func() bool { return l.Durable(r) == nil })
		eventually(t, "the position", func() bool { _, seq, _ := d.now(); return seq == l.Sequence() })
		next = d.like()
		if attach(t, f.kill(), next); next.soft != 0 {
			t.Error("not believed though the journal is whole")
		}

		d.fault(errInjected)
		f.broken(true)
		wantNotDurable(t, l, "y")
		if _, _, out := d.now(); !out || l.Guard().Out != 1 {
			t.Errorf("nothing can be written, and the disk is used: %+v", l.Guard())
		}
		d.fault(nil)
		eventually(t, "the disk, marked", func() bool { _, seq, out := d.now(); return seq == Missed && !out })
	})
}

// TestJournalPutAsideIsBack: where the journal was put aside, and an attempt to write it anew
// fails when it has its name already, that is noticed: it is put aside once more or, where
// that fails, the disks are out of use.
func TestJournalPutAsideIsBack(t *testing.T) {
	for fails, want := range map[int]Guard{1: {Disks: 1, Untold: 1, Aside: true}, 1 << 30: {Disks: 1, Untold: 1, Out: 1, Unsafe: true}} {
		synctest.Test(t, func(t *testing.T) {
			f, d := newForgetful(), &fakeDisk{}
			l := attach(t, f, d)
			d.fault(errInjected)
			f.mu.Lock()
			f.noData = true
			f.mu.Unlock()
			wantNotDurable(t, l, "x")
			if !l.Guard().Aside {
				t.Fatalf("%+v", l.Guard())
			}
			f.mu.Lock()
			f.noData = false
			f.failAt, f.failFor = f.ops+5, fails // it is created, written, synced and renamed
			f.mu.Unlock()
			wantNotDurable(t, l, "y")
			if g := l.Guard(); g != want {
				t.Errorf("%d operations fail: %+v, want %+v", fails, g, want)
			}
			_, err := f.ReadFile("j", 1<<20)
			if aside := errors.Is(err, errNotExist); aside != want.Aside {
				t.Errorf("%d operations fail: the journal: %v", fails, err)
			}
		})
	}
}

// TestJournalLosesItsEnd: whatever is cut off the journal, or if an older copy takes
// its place, no disk is believed that knows of more; and a whole one is.
func TestJournalLosesItsEnd(t *testing.T) {
	f, d := newForgetful(), &fakeDisk{}
	l := attach(t, f, d)
	mustPurge(t, l, Hard, must(ByTag("early")))
	_ = l.Close()
	early := f.kill()
	l = attach(t, f, d)
	older := f.kill()
	for _, tag := range []string{"a", "b", "c"} {
		mustPurge(t, l, Hard, must(ByTag(tag)))
	}
	whole := f.kill()
	size := int(l.journal.size.Load())
	for cut := size; cut >= 0; cut-- {
		left := whole.kill()
		i := left.names["j"]
		i.data = i.data[:cut]
		if !unbelieved(t, left, d) && cut < size {
			t.Fatalf("cut to %d of %d bytes, it is believed", cut, size)
		}
		left = whole.kill()
		clear(left.names["j"].data[max(cut, headerSize):])
		if !unbelieved(t, left, d) && cut < size-1 { // the end mark alone is not missed
			t.Fatalf("with zeros from byte %d of %d on, it is believed", cut, size)
		}
	}
	if unbelieved(t, whole.kill(), d) {
		t.Error("the whole journal is not believed")
	}
	for name, left := range map[string]*forgetful{"the run before": early, "the run's start": older, "none": newForgetful()} {
		if !unbelieved(t, left, d) {
			t.Errorf("%s: believed", name)
		}
	}
	// It is noticed by the other disks too, and however often the start is tried.
	left, behind := older, d.like()
	behind.seq--
	o := Options{Path: "j", files: left, Clock: clock, Positions: []Position{{d.epoch, d.seq}, {behind.epoch, behind.seq}}}
	first, err := Open(o) // and then the power goes
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	again, other := d.like(), behind
	if attach(t, left.crash(0), again, other); again.soft != 1 || other.soft != 1 {
		t.Errorf("%d, %d: believed after a start that did not end", again.soft, other.soft)
	}
}

// unbelieved says whether a process that starts with a journal soft-purges a disk with
// the position of d.
func unbelieved(t *testing.T, f *forgetful, d *fakeDisk) bool {
	t.Helper()
	own := d.like()
	l := attach(t, f, own)
	defer l.Close()
	return own.soft > 0
}

// TestPositionIsNeverBeyondTheSync: what is written and not synced is in no disk's
// position, so that a power loss does not make the journal look short.
func TestPositionIsNeverBeyondTheSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, d := newForgetful(), &fakeDisk{}
		l := attach(t, f, d)
		mustPurge(t, l, Hard, must(ByTag("a")))
		if err := l.InvalidateURL("https", "a.example", "/"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if _, seq, _ := d.now(); seq != l.Sequence()-1 {
			t.Errorf("the disk is told of %d, of %d", seq, l.Sequence())
		}
		if unbelieved(t, f.crash(0), d) {
			t.Error("a power loss makes the disk cold")
		}
		time.Sleep(2 * syncDelay)
		if _, seq, _ := d.now(); seq != l.Sequence() {
			t.Errorf("the disk is not told of what was synced later: %d, of %d", seq, l.Sequence())
		}
	})
}

// TestHangingDisk: a disk that does not answer delays a purge by tellWait, and only
// one.
func TestHangingDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &fakeDisk{}
		l := attach(t, newForgetful(), d)
		d.hang = make(chan struct{})
		for i, most := range []time.Duration{tellWait, 0, 0} {
			began := time.Now()
			mustPurge(t, l, Hard, must(ByTag("a")))
			if took := time.Since(began); took > most {
				t.Errorf("purge %d took %v", i, took)
			}
		}
		close(d.hang)
		synctest.Wait()
		if _, seq, _ := d.now(); seq != l.Sequence() {
			t.Errorf("it did not catch up: %d of %d", seq, l.Sequence())
		}
	})
}

// TestHangingJournal: where the journal does not answer at all, whoever waited long
// enough is told so when the disks are marked; and the mark goes when it does answer.
func TestHangingJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, d := newForgetful(), &fakeDisk{}
		l := attach(t, f, d)
		gate := make(chan struct{})
		f.onSync = func() { <-gate }
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		r, err := l.Purge(ctx, &Purge{Selectors: []Selector{must(ByTag("a"))}, Mode: Hard})
		if _, seq, _ := d.now(); !errors.Is(err, ErrNotDurable) || seq != Missed {
			t.Errorf("%v, and the disk is told of %d", err, seq)
		}
		close(gate)
		synctest.Wait()
		if _, seq, _ := d.now(); l.Durable(r) != nil || seq != r.Sequence {
			t.Errorf("%v, and the disk is told of %d", l.Durable(r), seq)
		}
	})
}

// TestTransitionsAreLogged: once each.
func TestTransitionsAreLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said strings.Builder
		f, d := newForgetful(), &fakeDisk{}
		l := open(t, Options{Path: "j", files: f, Logger: slog.New(slog.NewTextHandler(&said, nil))})
		if err := l.Attach(d); err != nil {
			t.Fatal(err)
		}
		d.fault(errInjected)
		f.broken(true)
		wantNotDurable(t, l, "x")
		time.Sleep(time.Minute)
		d.fault(nil)
		time.Sleep(time.Minute)
		f.broken(false)
		time.Sleep(time.Minute)
		synctest.Wait()
		for _, line := range []string{"the purge journal cannot be written", "a disk cannot be told", "a disk is taken out of use", "a disk is marked",
			"a disk is in use again", "the purge journal is written again", "a disk's mark is taken off"} {
			if n := strings.Count(said.String(), line); n != 1 {
				t.Errorf("%q is said %d times:\n%s", line, n, said.String())
			}
		}
	})
}

// TestFailingOftener: each time that the journal fails the disk is marked, however soon
// after the time before.
func TestFailingOftener(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, d := newForgetful(), &fakeDisk{}
		l := attach(t, f, d)
		for range 5 {
			f.broken(true)
			wantNotDurable(t, l, "x")
			if _, seq, _ := d.now(); seq != Missed {
				t.Fatalf("not marked: %d", seq)
			}
			f.broken(false)
			r := mustPurge(t, l, Hard, must(ByTag("y")))
			if _, seq, _ := d.now(); seq != r.Sequence {
				t.Fatalf("marked though the journal is written: %d", seq)
			}
		}
	})
}
