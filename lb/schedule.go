package lb

import (
	"slices"
	"time"
)

// schedule is the order in which endpoints come. Never changed once made.
type schedule struct {
	order []*Endpoint // never empty
	live  []*Endpoint // who is in it
	until time.Time   // when someone's rest ends; zero: nobody rests
}

// of reports whether s is the schedule of live.
func (s *schedule) of(live []*Endpoint) bool { return slices.Equal(s.live, live) }

// interleave returns a round in which every endpoint comes weight times, divided
// by the weights' greatest common divisor, as evenly spread as can be: nginx's
// smooth weighted round robin, run once through. Each step every endpoint gains
// its weight; the one with the most is next, and pays the sum of all weights.
func interleave(endpoints []*Endpoint) []*Endpoint {
	divisor := 0
	for _, e := range endpoints {
		divisor = gcd(divisor, e.Weight)
	}
	total := 0
	credit := make([]int, len(endpoints))
	for _, e := range endpoints {
		total += e.Weight / divisor
	}
	order := make([]*Endpoint, 0, total)
	if total == len(endpoints) { // all the same
		return append(order, endpoints...)
	}
	for range total {
		best := 0
		for i, e := range endpoints {
			credit[i] += e.Weight / divisor
			if credit[i] > credit[best] {
				best = i
			}
		}
		credit[best] -= total
		order = append(order, endpoints[best])
	}
	return order
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
