package disk

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"edge/cache/storage"
	"edge/cache/storage/storagetest"
	"edge/cache/storage/vfs"
	"edge/message"
)

// countingLedger counts how often it is asked.
type countingLedger struct {
	*storagetest.Ledger
	judged atomic.Int64
}

// Judge counts, and judges.
func (l *countingLedger) Judge(e storage.Entry, since uint64) storage.Verdict {
	l.judged.Add(1)
	return l.Ledger.Judge(e, since)
}

// TestJudgedOutlivesRestart: what purges have been judged is known after a restart,
// and a ledger that lost its memory is noticed.
func TestJudgedOutlivesRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs, l := vfs.NewMem(), &storagetest.Ledger{}
		open := func(l storage.Ledger) *Store {
			t.Helper()
			st, err := Open(Options{Disks: []Disk{{"/disk", 4 << 20}}, Clock: testClock, FS: fs, Ledger: l, SyncInterval: 2 * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = st.Close() })
			return st
		}
		st := open(l)
		for i := range 3 {
			small(t, st, i)
		}
		l.Purge(storagetest.Key(0), false)
		l.Purge(storagetest.Key(99), false)
		st.Each(func(storage.Entry) bool { return true })
		time.Sleep(10 * time.Second)
		_ = st.Close()
		checked := func(st *Store, want uint64, doubted bool) {
			t.Helper()
			n := 0
			st.Each(func(e storage.Entry) bool {
				n++
				if got := e.(*entry).checked.Load(); got != want {
					t.Errorf("judged up to %d, want %d", got, want)
				}
				if got := e.Stored().Terms.Flags.Has(message.TermInvalidated); got != doubted {
					t.Errorf("invalid: %v, want %v", got, doubted)
				}
				return true
			})
			if n != 2 {
				t.Errorf("%d entries, want 2", n)
			}
			_ = st.Close()
		}
		again := &countingLedger{Ledger: l}
		checked(open(again), 2, false)
		if n := again.judged.Load(); n != 0 {
			t.Errorf("%d judged again", n)
		}
		checked(open(&storagetest.Ledger{}), 0, true)
		fresh := &storagetest.Ledger{} // it begins to count anew
		fresh.Purge(storagetest.Key(98), false)
		checked(open(fresh), 1, true)
	})
}

// TestLooksBecomeRarer: while a row that nobody asks for is behind, the rows are looked
// at ever more rarely; once it was judged, that is said at once.
func TestLooksBecomeRarer(t *testing.T) {
	l := &storagetest.Ledger{}
	st, err := Open(Options{Disks: []Disk{{"/disk", 4 << 20}}, Clock: testClock, FS: vfs.NewMem(), Ledger: l,
		FlushInterval: time.Hour}) // the flusher has its turn where the test says so
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	small(t, st, 0)
	l.Purge(storagetest.Key(99), false)
	v, looks := st.volumes[0], 0
	const syncs = 200
	for range syncs {
		v.noteJudged(true)
		if v.lookIn == v.lookRest {
			looks++
		}
	}
	if looks > 10 || v.judgedUpTo != 0 || v.seenUpTo != 1 {
		t.Errorf("%d looks in %d syncs; judged up to %d, seen up to %d", looks, syncs, v.judgedUpTo, v.seenUpTo)
	}
	for part := range storage.Parts {
		st.Judged(0, 1, part)
	}
	if v.noteJudged(true); v.judgedUpTo != 1 {
		t.Errorf("judged up to %d, 1 is said", v.judgedUpTo)
	}
}

// TestJudgedWhileOpen: what is judged with all the rest while somebody has it open is not
// judged again, by purges that may have been forgotten since.
func TestJudgedWhileOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &countingLedger{Ledger: &storagetest.Ledger{}}
		st, err := Open(Options{Disks: []Disk{{"/disk", 4 << 20}}, Clock: testClock, FS: vfs.NewMem(), Ledger: l})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = st.Close() })
		small(t, st, 0)
		e := st.Lookup(nil, storagetest.Key(0))[0]
		defer e.Release()
		l.Purge(storagetest.Key(99), false)
		for part := range storage.Parts {
			st.Judged(0, 1, part)
		}
		for _, o := range st.Lookup(nil, storagetest.Key(0)) {
			o.Release()
		}
		if n := l.judged.Load(); n != 0 {
			t.Errorf("judged again, %d times", n)
		}
	})
}
