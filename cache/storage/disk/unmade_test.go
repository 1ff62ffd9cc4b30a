package disk

import (
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"edge/cache/storage/vfs"
)

// TestSegmentThatWasNeverMade: a segment whose file could not be made leaves no gap in
// the numbers, which would have all before it validated after a restart.
func TestSegmentThatWasNeverMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := vfs.NewMem()
		faulty := vfs.NewFaulty(mem)
		var full atomic.Bool
		faulty.Set(func(op vfs.Op, name string) error {
			if full.Load() && op == vfs.OpCreate {
				return syscall.EMFILE
			}
			return nil
		})
		st := start(t, faulty)
		for key := range 3 {
			if err := keep(st.Store, key, 1, 4000); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second)
		full.Store(true)
		for key := range 20 {
			_ = keep(st.Store, 10+key, 1, 4000) // until the disk is out
		}
		time.Sleep(time.Second)
		if !st.volumes[0].health.writesOut() {
			t.Fatal("the disk is not out")
		}
		full.Store(false)
		time.Sleep(10 * time.Second)
		for key := range 20 {
			if err := keep(st.Store, 30+key, 1, 4000); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second)
		st.stop(0)
		st = start(t, mem)
		for key := range 3 {
			st.valid(key, true)
		}
		st.stop(0)
		if strings.Contains(st.log.String(), "lost") {
			t.Error(st.log.String())
		}
	})
}
