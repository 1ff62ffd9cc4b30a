package disk

import (
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"edge/cache/storage"
	"edge/cache/storage/storagetest"
	"edge/cache/storage/vfs"
)

// TestTakenAfterWhatCouldNotBeWritten: what a purge removes goes, also where an earlier one
// made it stale and that could not be written.
func TestTakenAfterWhatCouldNotBeWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem, l := vfs.NewMem(), &storagetest.Ledger{}
		faulty := vfs.NewFaulty(mem)
		st := openJudged(t, faulty, l)
		small(t, st, 1)
		time.Sleep(10 * time.Second) // it is synced
		faulty.Set(func(o vfs.Op, _ string) error {
			if o == vfs.OpWrite {
				return syscall.EIO
			}
			return nil
		})
		small(t, st, 2) // lost
		time.Sleep(2 * time.Second)
		if !st.volumes[0].health.writesOut() {
			t.Fatal("the disk is not out")
		}
		l.Purge(storagetest.Key(1), true)
		if _, ok := found(st); !ok {
			t.Fatal("what was made stale is not found")
		}
		faulty.Set(nil)
		time.Sleep(2 * time.Minute) // the disk is back
		counted := 0
		st.Take([]storage.Taking{{Sequence: l.Purge(storagetest.Key(1), false), Verdict: storage.Removed,
			Select: []storage.Selector{{Kind: storage.Everything}}, Count: func(n int) { counted += n }}})
		if counted != 1 {
			t.Errorf("%d were taken", counted)
		}
		for left := 1; left > 0; {
			_, left = st.Reap(100)
		}
		if n := st.Stats().Entries; n != 0 {
			t.Errorf("%d are left of what was purged", n)
		}
	})
}
