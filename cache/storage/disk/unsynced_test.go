package disk

import (
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"edge/cache/storage/storagetest"
	"edge/cache/storage/vfs"
	"edge/message"
)

// TestSyncFailsOnce: a sync that works after one that failed does not say that what the
// first one was of is on stable storage. So after a restart nothing from before is used
// unvalidated.
func TestSyncFailsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem, l := vfs.NewMem(), &storagetest.Ledger{}
		faulty := vfs.NewFaulty(mem)
		st := openJudged(t, faulty, l)
		small(t, st, 1)
		var failed atomic.Bool
		faulty.Set(func(o vfs.Op, name string) error {
			if o == vfs.OpSync && strings.HasSuffix(name, ".seg") && !failed.Swap(true) {
				return syscall.EIO
			}
			return nil
		})
		time.Sleep(2 * time.Minute) // it fails, and the disk is back
		if !failed.Load() || st.volumes[0].health.writesOut() {
			t.Fatalf("failed %v, out %v", failed.Load(), st.volumes[0].health.writesOut())
		}
		if flags, ok := found(st); !ok || flags.Has(message.TermInvalidated) {
			t.Errorf("found %v, flags %b: what is read here is what was written", ok, flags)
		}
		small(t, st, 2)
		time.Sleep(10 * time.Second)
		st = openJudged(t, mem.Killed(), l)
		if flags, ok := found(st); !ok || !flags.Has(message.TermInvalidated) {
			t.Errorf("after a restart: found %v, flags %b", ok, flags)
		}
		e := st.Lookup(nil, storagetest.Key(2))
		if len(e) != 1 || e[0].Stored().Terms.Flags.Has(message.TermInvalidated) {
			t.Errorf("%d found of what was stored since, or not valid", len(e))
		}
		for _, e := range e {
			e.Release()
		}
	})
}
