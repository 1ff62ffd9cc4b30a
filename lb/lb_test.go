package lb

import (
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func balancer(t *testing.T, p Policy, weights ...int) *Balancer {
	t.Helper()
	b, err := New(p, weights, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// picks returns the next n picks as letters: a for the first endpoint.
func picks(t *testing.T, b *Balancer, n int) string {
	t.Helper()
	s := make([]byte, n)
	for k := range s {
		i, ok := b.Pick(nil)
		if !ok {
			t.Fatal("Pick found none")
		}
		s[k] = 'a' + byte(i)
	}
	return string(s)
}

func counts(s string) map[rune]int {
	m := map[rune]int{}
	for _, r := range s {
		m[r]++
	}
	return m
}

func TestRoundRobinOrder(t *testing.T) {
	for _, tc := range []struct {
		weights []int
		want    string
	}{
		{[]int{0}, "aaaa"},
		{[]int{1, 1, 1}, "abcabcabc"},
		{[]int{7, 7}, "abab"},
		{[]int{2, 1}, "abaaba"},
		{[]int{5, 1, 1}, "aabacaaaabacaa"}, // nginx's own example
		{[]int{400, 200, 200}, "abcaabca"},
	} {
		for _, p := range []Policy{RoundRobin, Weighted} {
			if got := picks(t, balancer(t, p, tc.weights...), len(tc.want)); got != tc.want {
				t.Errorf("%s, weights %v: %s, want %s", p, tc.weights, got, tc.want)
			}
		}
	}
}

// In any window as long as one round, wherever it begins, each endpoint comes
// exactly weight times.
func TestWeightsAreExact(t *testing.T) {
	weights := []int{13, 7, 1, 1, 29, 256}
	total := 0
	for _, w := range weights {
		total += w
	}
	b := balancer(t, RoundRobin, weights...)
	s := picks(t, b, 3*total)
	for start := 0; start < 2*total; start += 5 {
		got := counts(s[start : start+total])
		for i, w := range weights {
			if got['a'+rune(i)] != w {
				t.Fatalf("window at %d: endpoint %d came %d times, want %d", start, i, got['a'+rune(i)], w)
			}
		}
	}
	for i, e := range b.Status() {
		if e.Picked != uint64(3*weights[i]) {
			t.Errorf("endpoint %d: Picked = %d, want %d", i, e.Picked, 3*weights[i])
		}
	}
}

// Spread evenly: at no point is an endpoint a whole turn or more from its share.
func TestNoBursts(t *testing.T) {
	weights := []int{50, 30, 15, 5}
	s := picks(t, balancer(t, RoundRobin, weights...), 100)
	for i, w := range weights {
		n := 0
		for k, r := range s {
			if r == 'a'+rune(i) {
				n++
			}
			if off := float64(n) - float64(w*(k+1))/100; math.Abs(off) >= 1.5 {
				t.Errorf("endpoint %d is %.2f turns off after %d picks", i, off, k+1)
			}
		}
	}
}

func TestWeightsTooFineForARound(t *testing.T) {
	weights := make([]int, MaxEndpoints)
	for i := range weights {
		weights[i] = MaxWeight
	}
	weights[0], weights[1] = 1, 499
	share, total := shares(weights)
	if total > maxRound+MaxEndpoints {
		t.Errorf("a round of %d", total)
	}
	if share[0] != 1 || share[1] != 32 || share[2] != 64 {
		t.Errorf("shares %v of %d", share[:3], total)
	}
	round := interleave(weights)
	got := make([]int, len(weights))
	for _, i := range round {
		got[i]++
	}
	for i := range got {
		if got[i] != share[i] {
			t.Fatalf("endpoint %d came %d times, want %d", i, got[i], share[i])
		}
	}
}

func TestWeightsAreExactAcrossGoroutines(t *testing.T) {
	b := balancer(t, RoundRobin, 3, 2, 1)
	const rounds, goroutines = 1000, 6
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() {
			for range rounds {
				if _, ok := b.Pick(nil); !ok {
					t.Error("Pick found none")
				}
			}
		})
	}
	wg.Wait()
	for i, want := range []uint64{3000, 2000, 1000} {
		if got := b.Status()[i].Picked; got != want {
			t.Errorf("endpoint %d: %d picks, want %d", i, got, want)
		}
	}
}

func TestRandomIsProportional(t *testing.T) {
	const n = 60000
	got := counts(picks(t, balancer(t, Random, 3, 2, 1), n))
	for i, share := range []float64{3. / 6, 2. / 6, 1. / 6} {
		mean := n * share
		sigma := math.Sqrt(n * share * (1 - share))
		if off := math.Abs(float64(got['a'+rune(i)]) - mean); off > 6*sigma {
			t.Errorf("endpoint %d: %d picks, want %.0f within %.0f", i, got['a'+rune(i)], mean, 6*sigma)
		}
	}
}

func TestRetriesGoElsewhere(t *testing.T) {
	for _, p := range Policies() {
		t.Run(string(p), func(t *testing.T) {
			b := balancer(t, p, 5, 1, 1)
			for range 50 {
				tried := map[int]bool{}
				for attempt := range 3 {
					i, ok := b.Pick(func(i int) bool { return tried[i] })
					if !ok || tried[i] {
						t.Fatalf("attempt %d: %d, %v after %v", attempt, i, ok, tried)
					}
					tried[i] = true
				}
				if i, ok := b.Pick(func(i int) bool { return tried[i] }); ok {
					t.Fatalf("fourth attempt of three endpoints: %d", i)
				}
			}
		})
	}
}

func TestCooldown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := balancer(t, RoundRobin, 2, 1, 1)
		b.Report(0, true)
		if got := counts(picks(t, b, 8)); got['a'] != 4 {
			t.Fatalf("before it failed: %v", got)
		}
		b.Report(0, false)
		// The others share its part by their weights, not its successor alone.
		if got := counts(picks(t, b, 100)); got['a'] != 0 || got['b'] != 50 || got['c'] != 50 {
			t.Errorf("while it rests: %v", got)
		}
		if s := b.Status()[0]; !s.Resting || s.Failed != 1 {
			t.Errorf("while it rests: %+v", s)
		}
		// A success on a connection made before does not bring it back.
		b.Report(0, true)
		// A retry that has tried all others goes to it all the same.
		if i, ok := b.Pick(func(i int) bool { return i != 0 }); !ok || i != 0 {
			t.Errorf("last resort: %d, %v", i, ok)
		}
		time.Sleep(DefaultCooldown - 1)
		if got := counts(picks(t, b, 100)); got['a'] != 0 {
			t.Errorf("just before the end: %v", got)
		}
		time.Sleep(1)
		if got := counts(picks(t, b, 100)); got['a'] != 50 {
			t.Errorf("after the cool-down: %v", got)
		}
		if s := b.Status()[0]; s.Resting {
			t.Errorf("after the cool-down: %+v", s)
		}
	})
}

func TestEndsOfTwoCooldowns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := balancer(t, RoundRobin, 1, 1, 1)
		b.Report(0, false)
		time.Sleep(time.Second)
		b.Report(1, false)
		if got := picks(t, b, 3); got != "ccc" {
			t.Errorf("two rest: %s", got)
		}
		time.Sleep(DefaultCooldown - time.Second)
		if got := counts(picks(t, b, 10)); got['a'] != 5 || got['c'] != 5 {
			t.Errorf("one rests: %v", got)
		}
		time.Sleep(time.Second)
		if got := counts(picks(t, b, 9)); got['a'] != 3 || got['b'] != 3 || got['c'] != 3 {
			t.Errorf("none rests: %v", got)
		}
	})
}

func TestAllDownIsAllUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := balancer(t, RoundRobin, 2, 1)
		b.Report(0, false)
		time.Sleep(time.Second)
		b.Report(1, false)
		if got := counts(picks(t, b, 30)); got['a'] != 20 || got['b'] != 10 {
			t.Errorf("with nobody left: %v", got)
		}
		time.Sleep(DefaultCooldown - time.Second)
		if got := counts(picks(t, b, 30)); got['a'] != 30 {
			t.Errorf("with one back: %v", got)
		}
	})
	b, err := New(RoundRobin, []int{1}, Options{Cooldown: -1})
	if err != nil {
		t.Fatal(err)
	}
	b.Report(0, false)
	if s := b.Status()[0]; s.Resting || s.Failed != 1 {
		t.Errorf("without a cool-down: %+v", s)
	}
}

// Reports, picks and ends of cool-downs all at once, for the race detector; and
// no pick is lost.
func TestConcurrentReports(t *testing.T) {
	b, err := New(RoundRobin, []int{1, 2, 3, 4}, Options{Cooldown: 50 * time.Microsecond})
	if err != nil {
		t.Fatal(err)
	}
	const goroutines, n = 8, 3000
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			for k := range n {
				i, ok := b.Pick(nil)
				if !ok {
					t.Error("Pick found none")
					return
				}
				b.Report(i, (k+g)%7 != 0)
				if k%100 == 0 {
					b.Status()
				}
			}
		})
	}
	wg.Wait()
	var picked, failed uint64
	for _, e := range b.Status() {
		picked += e.Picked
		failed += e.Failed
	}
	if picked != goroutines*n {
		t.Errorf("%d picks counted, want %d", picked, goroutines*n)
	}
	if failed < goroutines*(n/7) || failed > goroutines*(n/7+1) {
		t.Errorf("%d failures counted, want about %d", failed, goroutines*n/7)
	}
}

func TestNewRefuses(t *testing.T) {
	for _, tc := range []struct {
		policy  Policy
		weights []int
	}{
		{RoundRobin, nil},
		{"", []int{1}},
		{"fastest", []int{1}},
		{RoundRobin, []int{-1}},
		{RoundRobin, []int{1, MaxWeight + 1}},
		{RoundRobin, make([]int, MaxEndpoints+1)},
	} {
		if _, err := New(tc.policy, tc.weights, Options{}); err == nil {
			t.Errorf("New(%q, %d endpoints) accepted", tc.policy, len(tc.weights))
		}
	}
}

func TestPickDoesNotAllocate(t *testing.T) {
	for _, p := range Policies() {
		b := balancer(t, p, 3, 2, 1)
		tried := func(i int) bool { return i == 0 }
		if n := testing.AllocsPerRun(100, func() { b.Pick(tried) }); n != 0 {
			t.Errorf("%s: Pick allocates %v times", p, n)
		}
	}
}
