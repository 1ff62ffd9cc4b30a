package lb

import (
	"errors"
	"fmt"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// endpoints makes endpoints named a, b, c ... with these weights.
func endpoints(weights ...int) []*Endpoint {
	var es []*Endpoint
	for i, w := range weights {
		es = append(es, &Endpoint{ID: string(rune('a' + i)), Scheme: "http", Network: "tcp", Address: "192.0.2.1:80", Weight: w})
	}
	return es
}

func balancer(t *testing.T, p Policy, weights ...int) Balancer {
	t.Helper()
	b, err := New(p, endpoints(weights...), Options{})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// picks returns the IDs of the next n picks.
func picks(t *testing.T, b Balancer, n int) string {
	t.Helper()
	s := ""
	for range n {
		e, err := b.Pick(0, nil)
		if err != nil {
			t.Fatal(err)
		}
		s += e.ID
	}
	return s
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
		{[]int{4, 2, 2}, "abcaabca"},
	} {
		if got := picks(t, balancer(t, RoundRobin, tc.weights...), len(tc.want)); got != tc.want {
			t.Errorf("weights %v: %s, want %s", tc.weights, got, tc.want)
		}
	}
}

// In any window as long as one round, wherever it begins, each endpoint comes exactly
// weight times.
func TestWeightsAreExact(t *testing.T) {
	weights := []int{13, 7, 1, 1, 29, 256}
	total := 0
	for _, w := range weights {
		total += w
	}
	b := balancer(t, RoundRobin, weights...)
	s := picks(t, b, 3*total)
	for start := 0; start < 2*total; start += 5 {
		for i, w := range weights {
			if got := counts(s[start : start+total])[rune('a'+i)]; got != w {
				t.Fatalf("window at %d: endpoint %d came %d times, want %d", start, i, got, w)
			}
		}
	}
	for i, e := range b.Endpoints() {
		if e.Picked() != uint64(3*weights[i]) {
			t.Errorf("endpoint %s: Picked = %d, want %d", e.ID, e.Picked(), 3*weights[i])
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
				if _, err := b.Pick(0, nil); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for i, want := range []uint64{3000, 2000, 1000} {
		if got := b.Endpoints()[i].Picked(); got != want {
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
		if off := math.Abs(float64(got[rune('a'+i)]) - mean); off > 6*sigma {
			t.Errorf("endpoint %d: %d picks, want %.0f within %.0f", i, got[rune('a'+i)], mean, 6*sigma)
		}
	}
}

func TestRetriesGoElsewhere(t *testing.T) {
	for _, p := range Policies() {
		t.Run(string(p), func(t *testing.T) {
			b := balancer(t, p, 5, 1, 1)
			for range 50 {
				var tried Tried
				for attempt := range 3 {
					e, err := b.Pick(0, &tried)
					if err != nil {
						t.Fatal(err)
					}
					if tried.Has(e) {
						t.Fatalf("attempt %d: %s again", attempt, e.ID)
					}
					tried.Add(e)
				}
				if tried.Len() != 3 {
					t.Fatalf("Len = %d", tried.Len())
				}
				if _, err := b.Pick(0, &tried); !errors.Is(err, ErrAllTried) {
					t.Fatalf("fourth attempt of three endpoints: %v", err)
				}
			}
		})
	}
}

func TestCooldown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := balancer(t, RoundRobin, 2, 1, 1)
		a := b.Endpoints()[0]
		b.Report(a, Succeeded)
		b.Report(a, ExchangeFailed)
		if got := counts(picks(t, b, 8)); got['a'] != 4 || a.Failed() != 1 {
			t.Fatalf("before it could not be reached: %v", got)
		}
		b.Report(a, ConnectFailed)
		// The others share its part by their weights, not its successor alone.
		if got := counts(picks(t, b, 100)); got['a'] != 0 || got['b'] != 50 || got['c'] != 50 {
			t.Errorf("while it rests: %v", got)
		}
		if !a.Resting() {
			t.Error("Resting = false")
		}
		// A retry that has tried all others goes to it all the same.
		var tried Tried
		tried.Add(b.Endpoints()[1])
		tried.Add(b.Endpoints()[2])
		if e, err := b.Pick(0, &tried); err != nil || e != a {
			t.Errorf("last resort: %v, %v", e, err)
		}
		time.Sleep(DefaultCooldown - 1)
		if got := counts(picks(t, b, 100)); got['a'] != 0 {
			t.Errorf("just before the end: %v", got)
		}
		time.Sleep(1)
		if got := counts(picks(t, b, 100)); got['a'] != 50 {
			t.Errorf("after the cool-down: %v", got)
		}
		if a.Resting() {
			t.Error("Resting = true")
		}
	})
}

func TestEndsOfTwoCooldowns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := balancer(t, RoundRobin, 1, 1, 1)
		b.Report(b.Endpoints()[0], ConnectFailed)
		time.Sleep(time.Second)
		b.Report(b.Endpoints()[1], ConnectFailed)
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
	b := balancer(t, RoundRobin, 2, 1)
	for _, e := range b.Endpoints() {
		b.Report(e, ConnectFailed)
	}
	if got := counts(picks(t, b, 30)); got['a'] != 20 || got['b'] != 10 {
		t.Errorf("with nobody left: %v", got)
	}
	alone, err := New(RoundRobin, endpoints(1), Options{Cooldown: -1})
	if err != nil {
		t.Fatal(err)
	}
	alone.Report(alone.Endpoints()[0], ConnectFailed)
	if alone.Endpoints()[0].Resting() {
		t.Error("rests though there is no cool-down")
	}
}

// Reports, picks and ends of cool-downs all at once, for the race detector;
// and no pick is ever lost or of a stranger.
func TestConcurrentReports(t *testing.T) {
	b, err := New(RoundRobin, endpoints(1, 2, 3, 4), Options{Cooldown: 50 * time.Microsecond})
	if err != nil {
		t.Fatal(err)
	}
	const goroutines, n = 8, 3000
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			for i := range n {
				e, err := b.Pick(0, nil)
				if err != nil {
					t.Error(err)
					return
				}
				if (i+g)%7 == 0 {
					b.Report(e, ConnectFailed)
				}
				_ = e.Resting()
			}
		})
	}
	wg.Wait()
	var sum uint64
	for _, e := range b.Endpoints() {
		sum += e.Picked()
	}
	if sum != goroutines*n {
		t.Errorf("%d picks counted, want %d", sum, goroutines*n)
	}
}

func TestNewRefuses(t *testing.T) {
	for _, tc := range []struct {
		policy Policy
		es     []*Endpoint
	}{
		{RoundRobin, nil},
		{"", endpoints(1)},
		{"fastest", endpoints(1)},
		{RoundRobin, endpoints(-1)},
		{RoundRobin, endpoints(1, MaxWeight+1)},
		{RoundRobin, endpoints(make([]int, MaxEndpoints+1)...)},
	} {
		if _, err := New(tc.policy, tc.es, Options{}); err == nil {
			t.Errorf("New(%q, %d endpoints) accepted", tc.policy, len(tc.es))
		}
	}
}

func TestNewCopies(t *testing.T) {
	es := endpoints(1)
	b, err := New(RoundRobin, es, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if e := b.Endpoints()[0]; e == es[0] || e.ID != es[0].ID || e.Address != es[0].Address {
		t.Errorf("%+v is not a copy of %+v", e, es[0])
	}
}

func TestTriedForgetsTheOldest(t *testing.T) {
	var tried Tried
	es := endpoints(make([]int, MaxTried+1)...)
	for _, e := range es {
		tried.Add(e)
	}
	if tried.Has(es[0]) || !tried.Has(es[1]) || !tried.Has(es[MaxTried]) {
		t.Error("forgot another than the oldest")
	}
	if (*Tried)(nil).Has(es[0]) {
		t.Error("nil has one")
	}
}

func TestPickDoesNotAllocate(t *testing.T) {
	for _, p := range Policies() {
		b := balancer(t, p, 3, 2, 1)
		var tried Tried
		tried.Add(b.Endpoints()[0])
		if n := testing.AllocsPerRun(100, func() { _, _ = b.Pick(0, &tried) }); n != 0 {
			t.Errorf("%s: Pick allocates %v times", p, n)
		}
	}
}

func TestParseEndpoint(t *testing.T) {
	for _, tc := range []struct{ in, want string }{
		{"http://10.0.0.1:9000", "http tcp 10.0.0.1:9000 10.0.0.1:9000 10.0.0.1"},
		{"http://example.com", "http tcp example.com:80 example.com example.com"},
		{"http://Example.COM:80/", "http tcp Example.COM:80 example.com Example.COM"},
		{"http://host80", "http tcp host80:80 host80 host80"},
		{"http://host:", "http tcp host:80 host host"},
		{"https://example.com", "https tcp example.com:443 example.com example.com"},
		{"https://example.com:80", "https tcp example.com:80 example.com:80 example.com"},
		{"https://[2001:db8::1]:8443", "https tcp [2001:db8::1]:8443 [2001:db8::1]:8443 2001:db8::1"},
		{"http://[::1]", "http tcp [::1]:80 [::1] ::1"},
		{"unix:/run/app.sock", "http unix /run/app.sock  "},
		{"https+unix:/run/app.sock", "https unix /run/app.sock  "},
	} {
		e, err := ParseEndpoint(tc.in)
		if err != nil {
			t.Errorf("%s: %v", tc.in, err)
			continue
		}
		got := fmt.Sprintf("%s %s %s %s %s", e.Scheme, e.Network, e.Address, e.Authority, e.ServerName)
		if got != tc.want || e.ID != tc.in {
			t.Errorf("%s: %q (ID %q), want %q", tc.in, got, e.ID, tc.want)
		}
	}
	for _, in := range []string{
		"", "example.com", "example.com:80", "ftp://example.com", "http://", "http:///x", "http://:80",
		"http://example.com/path", "http://example.com?q", "http://example.com?", "http://example.com#f",
		"http://user@example.com", "http://example.com:0", "http://example.com:65536", "http://example.com:http",
		"http:example.com", "unix:relative", "unix:", "http://exa mple.com", "http://[::1",
	} {
		if e, err := ParseEndpoint(in); err == nil {
			t.Errorf("%q accepted as %+v", in, e.Address)
		}
	}
}
