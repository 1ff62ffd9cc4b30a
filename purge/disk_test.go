package purge

import (
	"errors"
	"testing"
)

// fakeDisk is a disk that remembers.
type fakeDisk struct {
	epoch   string
	seq     uint64
	soft    int
	seenErr error
	softErr error
}

func (d *fakeDisk) Seen() (string, uint64, error) { return d.epoch, d.seq, d.seenErr }
func (d *fakeDisk) Saw(epoch string, seq uint64) error {
	d.epoch, d.seq = epoch, seq
	return nil
}
func (d *fakeDisk) SoftPurge() error {
	d.soft++
	return d.softErr
}

// attach opens a ledger and attaches a disk.
func attach(t *testing.T, f *forgetful, d *fakeDisk) *Ledger {
	t.Helper()
	l := open(t, Options{Path: "j", files: f})
	if err := l.Attach(d); err != nil {
		t.Fatal(err)
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
	_ = l.Close()
	if d.soft != 0 || d.seq < l.began+1 {
		t.Fatalf("a new disk: %+v", d)
	}
	detached := *d

	l = attach(t, f, d)
	mustPurge(t, l, Hard, must(ByTag("b")))
	last := l.Sequence()
	if d.soft != 0 || d.seq != last {
		t.Fatalf("a disk that was always there: %+v", d)
	}
	_ = l.Close()

	behind := detached // the journal still holds what it missed
	l = attach(t, f, &behind)
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
	behind = detached
	_ = attach(t, f, &behind).Close()
	if behind.soft != 1 {
		t.Error("a disk behind the journal's tail was not purged")
	}

	lost := *d
	l = attach(t, newForgetful(), &lost)
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
	ahead := fakeDisk{epoch: lost.epoch, seq: lost.seq + 100*runSpan}
	l = attach(t, l.journal.fs.(*forgetful), &ahead)
	if ahead.soft != 1 || l.Sequence() <= lost.seq+100*runSpan {
		t.Error("a journal that lost its end goes unnoticed")
	}
	last := l.Sequence()
	_ = l.Close()
	if l = open(t, Options{Path: "j", files: l.journal.fs}); l.Sequence() <= last {
		t.Error("the numbers that were passed over are given after all")
	}
	for _, bad := range []*fakeDisk{{seenErr: errInjected}, {epoch: "x", softErr: errInjected}} {
		if err := l.Attach(bad); !errors.Is(err, errInjected) {
			t.Errorf("%v", err)
		}
	}
}
