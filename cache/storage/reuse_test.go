package storage

import (
	"math/rand/v2"
	"testing"
)

// TestReuseScan: what is asked for once deserves nothing, and neither does what
// comes round over more than the memory holds, however often.
func TestReuseScan(t *testing.T) {
	const window, size = 1 << 20, 4 << 10
	r := NewReuse(window, 4<<10)
	rnd := rand.New(rand.NewPCG(1, 2))
	hashes := make([]uint64, 2*window/size)
	for i := range hashes {
		hashes[i] = rnd.Uint64()
	}
	copies := 0
	for range 20 {
		for _, h := range hashes {
			if r.Ask(h, size) {
				copies++
			}
		}
	}
	if copies > 0 {
		t.Errorf("a scan over twice the memory was worth %d copies", copies)
	}
}

// TestReuseOften: what is asked for again within the window is worth a copy at the
// second time, also among things that are asked for once.
func TestReuseOften(t *testing.T) {
	const window, size = 1 << 20, 4 << 10
	r := NewReuse(window, 4<<10)
	rnd := rand.New(rand.NewPCG(3, 4))
	const hot = uint64(0x1234567812345678)
	if r.Ask(hot, size) {
		t.Fatal("the first ask was worth a copy")
	}
	for range window / size / 2 {
		r.Ask(rnd.Uint64(), size)
	}
	if !r.Ask(hot, size) {
		t.Error("asked for again after half the window: no copy")
	}
	r.Pass(window)
	if r.Ask(hot, size) {
		t.Error("asked for again after more than the window, passed elsewhere: a copy")
	}
}

// TestReuseCounts: each use within the window of the one before counts.
func TestReuseCounts(t *testing.T) {
	const window = 1 << 20
	r := NewReuse(window, 256)
	for want := 1; want <= 300; want++ {
		if n := r.Count(42, 1); n != min(want, maxUses) {
			t.Fatalf("use %d counts as %d", want, n)
		}
	}
	r.Pass(2 * window)
	if n := r.Count(42, 1); n != 1 {
		t.Errorf("after the window it counts on, as %d", n)
	}
}
