package disk

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edge/cache/storage/storagetest"
	"edge/cache/storage/vfs"
)

// TestShortenedSegment: a segment that is shorter than its checkpoint knows, or that another
// file has taken the place of, has lost records, and with them what they took away: what was invalidated there is not found
// valid, at that start and at those that follow; and what came after it is.
func TestShortenedSegment(t *testing.T) {
	for _, cut := range []int64{1, 4096, 1 << 20, -4096} {
		for _, back := range []int{0, 2} { // from the newest
			t.Run(fmt.Sprint(cut, " of the last but ", back), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { testShortenedSegment(t, cut, back) })
			})
		}
	}
}

func testShortenedSegment(t *testing.T, cut int64, back int) {
	fs := vfs.NewMem()
	fill := func(key int) { // a segment
		t.Helper()
		st := start(t, fs)
		if err := keep(st.Store, key, 1, 100); err != nil {
			t.Fatal(err)
		}
		if key > 1 { // the last record of its segment
			st.Invalidate(storagetest.Key(key - 1))
		}
		time.Sleep(time.Second)
		st.stop(0)
	}
	for key := 1; key <= 5; key++ {
		fill(key)
	}
	list := segmentsOf(t, fs)
	if len(list) != 5 {
		t.Fatalf("%q", list)
	}
	f, err := fs.Open("/disk/" + list[4-back])
	if err != nil {
		t.Fatal(err)
	}
	size, err := f.Size()
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(max(size-cut, 0)); err != nil {
		t.Fatal(err)
	}
	if cut < 0 {
		if _, err := f.WriteAt(bytes.Repeat([]byte{0xa5}, int(size-cut)), 0); err != nil {
			t.Fatal(err)
		}
	}
	for round := range 3 {
		st := start(t, fs)
		for key := 1; key <= 4-back; key++ {
			st.valid(key, false)
		}
		if back > 0 {
			st.valid(5, true) // it came after
		}
		st.stop(0)
		if !strings.Contains(st.log.String(), "has become shorter") {
			t.Errorf("the log of start %d does not say so:\n%s", round, st.log.String())
		}
	}
}
