package inflight

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestSignal: who waits is woken once, by what comes after.
func TestSignal(t *testing.T) {
	var s Signal
	s.Give() // nobody waits
	given := func(ch <-chan struct{}) bool {
		select {
		case <-ch:
			return true
		default:
			return false
		}
	}
	first, same := s.Next(), s.Next()
	if given(first) || first != same {
		t.Fatal("given before it was, or not to all alike")
	}
	s.Give()
	if next := s.Next(); !given(first) || given(next) {
		t.Error("not given to who waited, or to who waits for the next")
	}
}

// TestWriters: whoever enters and leaves, in whatever order, twice or never, those under a
// key are those who entered and did not leave, the last first.
func TestWriters(t *testing.T) {
	type writer struct {
		key   int
		place Place[*writer]
	}
	var x Writers[int, *writer]
	rnd := rand.New(rand.NewPCG(1, 2))
	want := map[int][]*writer{}
	var all []*writer
	for range 5000 {
		if len(all) == 0 || rnd.IntN(5) < 2 {
			w := &writer{key: rnd.IntN(3)}
			x.Enter(w.key, &w.place, w)
			want[w.key] = slices.Insert(want[w.key], 0, w)
			all = append(all, w)
		} else {
			w := all[rnd.IntN(len(all))] // who may have left
			x.Leave(w.key, &w.place)
			want[w.key] = slices.DeleteFunc(want[w.key], func(o *writer) bool { return o == w })
		}
		for key := range 3 {
			if got := slices.Collect(x.Under(key)); !slices.Equal(got, want[key]) {
				t.Fatalf("key %d: %d writers, want %d", key, len(got), len(want[key]))
			}
		}
	}
	for _, w := range all {
		x.Leave(w.key, &w.place)
	}
	if len(x.newest) != 0 {
		t.Errorf("%d keys are left of which nobody writes any", len(x.newest))
	}
	if n := testing.AllocsPerRun(100, func() {
		w := all[0]
		x.Enter(w.key, &w.place, w)
		for range x.Under(w.key) {
		}
		x.Leave(w.key, &w.place)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
