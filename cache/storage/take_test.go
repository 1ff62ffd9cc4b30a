package storage

import "testing"

// crowd fills one shard with n responses of a host that have a tag.
func crowd(t *testing.T, m *Memory, n int) (keys []Key) {
	t.Helper()
	for i := range n {
		p := proposal(i, 1)
		p.Key[0] = 7
		p.Tags = []string{"crowd"}
		w, err := m.Begin(p)
		if err != nil {
			t.Fatal(err)
		}
		w.Entry().Release()
		if err := w.Write(t.Context(), []byte("x")); err != nil {
			t.Fatal(err)
		}
		if err := w.Commit(nil); err != nil {
			t.Fatal(err)
		}
		keys = append(keys, p.Key)
	}
	return keys
}

// crowdSelectors lead to a crowd, by a list and by its scope.
var crowdSelectors = map[string]Selector{"tag": {Kind: ByTag, Name: "crowd"}, "host": {Kind: ByHost, Authority: "example.com"}}

// TestTakeInPieces: while a crowd is being marked, others get at its shard; what they
// remove meanwhile is not counted, and the rest is, once.
func TestTakeInPieces(t *testing.T) {
	const n = 4*markHold + 10
	for name, selector := range crowdSelectors {
		t.Run(name, func(t *testing.T) {
			m := open(t, MemoryOptions{})
			keys := crowd(t, m, n)
			counted, pieces := 0, 0
			m.Take([]Taking{{Sequence: 1, Select: []Selector{selector}, Verdict: Removed, Count: func(n int) {
				if counted += n; n > markHold {
					t.Errorf("%d counted under one lock", n)
				}
			}, Stop: func() bool {
				pieces++
				if before := counted; before < n {
					// Between two pieces, the next to be marked, wherever it began.
					for _, key := range []Key{keys[pieces], keys[n-pieces]} {
						for _, e := range m.Lookup(nil, key) {
							if e.(*entry).marks.Load() == 0 {
								m.Remove(e)
								counted++
							}
							e.Release()
						}
					}
				}
				return false
			}}})
			if counted != n || pieces < n/markHold {
				t.Errorf("%d of %d counted or removed, in %d pieces", counted, n, pieces)
			}
		})
	}
}

// TestTakeStops: marking leaves off between two pieces, and the next counts only what is
// left.
func TestTakeStops(t *testing.T) {
	const n = 4*markHold + 10
	for name, selector := range crowdSelectors {
		t.Run(name, func(t *testing.T) {
			m := open(t, MemoryOptions{})
			crowd(t, m, n)
			counted := 0
			taking := Taking{Sequence: 1, Select: []Selector{selector}, Verdict: Removed, Count: func(n int) { counted += n }}
			first := taking
			first.Stop = func() bool { return counted > 0 }
			if m.Take([]Taking{first}); counted == 0 || counted > markHold {
				t.Errorf("%d counted before it left off", counted)
			}
			if m.Take([]Taking{taking}); counted != n {
				t.Errorf("%d of %d counted in the end", counted, n)
			}
		})
	}
}
