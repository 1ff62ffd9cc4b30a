package server

import "testing"

func TestPhases(t *testing.T) {
	names := map[string]bool{}
	for p := Setup; p < numPhases; p++ {
		row := phases[p]
		if row.name == "" || row.means == "" || names[row.name] {
			t.Errorf("phase %d: name %q, means %q", p, row.name, row.means)
		}
		names[row.name] = true
		if (p == Terminated) != (len(row.next) == 0) {
			t.Errorf("%v: followed by %v", p, row.next)
		}
		for _, next := range row.next {
			if next <= p {
				t.Errorf("%v: life does not go back to %v", p, next)
			}
		}
	}
	reached := map[Phase]bool{Setup: true}
	for p := Setup; p < numPhases; p++ {
		for _, next := range phases[p].next {
			reached[next] = reached[next] || reached[p]
		}
		if !reached[p] {
			t.Errorf("%v is never reached", p)
		}
	}
}

func TestEnterRefusesWhatCannotFollow(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("Running right after Setup")
		}
	}()
	New(Options{}).enter(Running)
}
