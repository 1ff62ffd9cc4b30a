package nameindex

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
)

// TestLists holds lists to a map of sets.
func TestLists(t *testing.T) {
	var l Lists
	rnd := rand.New(rand.NewPCG(1, 2))
	words := map[uint32]Word{}
	model := map[uint64]map[uint32]bool{}
	for range 100_000 {
		row, h := rnd.Uint32N(200)+1, rnd.Uint64N(60)
		w, used := words[row]
		switch {
		case !used:
			words[row] = Word(row % 7)
		case rnd.IntN(8) == 0:
			if scope := l.Drop(w); scope != Word(row%7) {
				t.Fatalf("row %d has scope %d", row, scope)
			}
			delete(words, row)
			for _, rows := range model {
				delete(rows, row)
			}
		default:
			words[row] = l.Add(w, row, h)
			if model[h] == nil {
				model[h] = map[uint32]bool{}
			}
			model[h][row] = true
		}
		got := map[uint32]bool{}
		l.Walk(h, func(row uint32) bool {
			if got[row] {
				t.Fatalf("row %d is twice on a list", row)
			}
			got[row] = true
			return true
		})
		if len(got) != len(model[h]) {
			t.Fatalf("%d rows, want %d", len(got), len(model[h]))
		}
		for row := range got {
			if !model[h][row] || !l.Has(words[row], h) {
				t.Fatalf("row %d is on a list that it is not on", row)
			}
		}
	}
	for _, w := range words {
		l.Drop(w)
	}
	if l.count != 0 || l.nodes.used != 0 || len(l.buckets) != 0 {
		t.Errorf("with nothing in them, they hold %d names and %d nodes", l.count, l.nodes.used)
	}
}

// TestListsMemory prints what a name costs a row that shares it, and one that has it
// alone.
func TestListsMemory(t *testing.T) {
	const n = 200_000
	for _, c := range []struct {
		name string
		hash func(i int) uint64
		most float64
	}{{"shared by a thousand", func(i int) uint64 { return uint64(i / 1000) }, 22}, {"alone", func(i int) uint64 { return uint64(i) }, 46}} {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		var l Lists
		for i := range n {
			l.Add(0, uint32(i+1), c.hash(i))
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		per := float64(after.HeapAlloc-before.HeapAlloc) / n
		t.Logf("a name that a row has %s: %.1f bytes", c.name, per)
		if per > c.most {
			t.Errorf("a name that a row has %s: %.1f bytes, more than %.0f", c.name, per, c.most)
		}
		runtime.KeepAlive(&l)
	}
}

// selects says, as simply as it can be said, whether s selects a URI by host or path.
func selects(s *Selector, scheme, authority, target string) bool {
	return authority == s.Authority && (s.Kind == Host || scheme == s.Scheme && UnderPath([]byte(target), s.Name))
}

// TestScopes: of what scopes a plan selects, with the URLs it names besides, is what its
// selectors select; and where scopes are too many, perhaps.
func TestScopes(t *testing.T) {
	targets := []string{"*", "/", "/?q", "/a", "/a?x", "/a/", "/a/?", "/a/b", "/a/b?y=/z/", "/ab", "/ab/c", "/a//b", "//", "/a/b/c/d"}
	for _, crowded := range []bool{false, true} {
		var scopes Scopes
		for i := 0; crowded && i < 4*minScopes; i++ {
			scopes.Enter(AppendScope(nil, []byte("http"), fmt.Appendf(nil, "h%d", i), fmt.Appendf(nil, "/%d/", i)))
		}
		for _, scheme := range []string{"http", "https"} {
			for _, authority := range []string{"a", "b"} {
				for _, target := range targets {
					id := scopes.Enter(AppendScope(nil, []byte(scheme), []byte(authority), []byte(target)))
					for _, prefix := range []string{"/", "/a", "/a/", "/a/b", "/a/b/", "//", "/a//"} {
						for _, s := range []Selector{{Prefix, "https", "a", prefix}, {Host, "", "b", ""}} {
							plan := PlanOf([]Selector{s})
							sets := scopes.Select([]Plan{plan})
							hits := sets.Of(id)
							by := slices.ContainsFunc(plan.URLs, func(u Selector) bool { return u.Scheme == scheme && u.Authority == authority && u.Name == target })
							want := selects(&s, scheme, authority, target)
							switch got := len(hits) > 0 || by; {
							case len(hits) > 0 && hits[0].Perhaps && crowded:
							case got != want || len(hits) > 0 && hits[0].Perhaps:
								t.Errorf("crowded %v: %v selects %s://%s%s: %v, want %v", crowded, s, scheme, authority, target, got, want)
							}
						}
					}
				}
			}
		}
	}
}

// TestScopesAreBounded: however many paths, and what is left is given back.
func TestScopesAreBounded(t *testing.T) {
	var scopes Scopes
	var ids []Word
	const n = 100_000
	for i := range n {
		ids = append(ids, scopes.Enter(AppendScope(nil, []byte("http"), []byte("a"), fmt.Appendf(nil, "/%d/", i))))
	}
	if held, unknown := scopes.Stats(); held > minScopes+n/rowsPerScope+1 || unknown > 0 {
		t.Errorf("%d scopes, %d rows in none", held, unknown)
	}
	for _, id := range ids {
		scopes.Leave(id)
	}
	if held, unknown := scopes.Stats(); held != 0 || unknown != 0 || scopes.total != 0 {
		t.Errorf("%d scopes and %d rows in none are left", held, unknown)
	}
}

// BenchmarkAdd is what a row with a tag costs the indexes.
func BenchmarkAdd(b *testing.B) {
	var l Lists
	var scopes Scopes
	text := AppendScope(nil, []byte("https"), []byte("www.example.com"), []byte("/a/b"))
	i := uint32(0)
	for b.Loop() {
		i++
		l.Add(scopes.Enter(text), i, uint64(i%1000))
	}
}
