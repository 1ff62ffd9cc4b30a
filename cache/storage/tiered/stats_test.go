package tiered

import (
	"testing"
	"testing/synctest"
)

// TestStats: what lies in both tiers is one response, and memory's part is told apart.
func TestStats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := openPair(t)
		for i, size := range []int{100, 200, 100 << 10} { // the last is for the disk only
			p.store(i, head("1", ""), size)
		}
		s := p.st.Stats()
		if s.Entries != 3 || s.Memory.Entries != 2 || s.Stored != 3 {
			t.Errorf("%+v", s)
		}
		if s.Memory.Budget != 1<<20 || s.Budget != 9<<20 || s.Memory.Bytes >= s.Bytes || s.Memory.Bytes > s.Memory.Budget {
			t.Errorf("%+v", s)
		}
	})
}
