package lb

import (
	"slices"
	"time"
)

// schedule is the order in which endpoints come. Never changed once made.
type schedule struct {
	order []uint16  // indexes of endpoints; never empty
	live  []int     // who is in it, ascending
	until time.Time // when the first rest ends; zero: nobody rests
}

// unchanged returns the order of the present schedule if it is that of live,
// else nil.
func (b *Balancer) unchanged(live []int) []uint16 {
	if s := b.schedule.Load(); s != nil && slices.Equal(s.live, live) {
		return s.order
	}
	return nil
}

// maxRound is how long one round may be. Up to that the shares are the weights'
// exactly; beyond, as near as a round of that length comes, and never zero.
const maxRound = 1 << 14

// interleave returns a round in which every index comes weight times, divided
// by the weights' greatest common divisor, as evenly spread as can be: nginx's
// smooth weighted round robin, run once through. Each step everyone gains their
// weight; the one with the most is next, and pays the sum of all weights.
func interleave(weights []int) []int {
	share, total := shares(weights)
	credit := make([]int, len(share))
	round := make([]int, total)
	if total == len(share) { // all the same
		for i := range round {
			round[i] = i
		}
		return round
	}
	for step := range round {
		best := 0
		for i, s := range share {
			credit[i] += s
			if credit[i] > credit[best] {
				best = i
			}
		}
		credit[best] -= total
		round[step] = best
	}
	return round
}

// shares returns the weights in lowest terms, and their sum.
func shares(weights []int) (share []int, total int) {
	divisor, sum := 0, 0
	for _, w := range weights {
		divisor = gcd(divisor, w)
		sum += w
	}
	share = make([]int, len(weights))
	for i, w := range weights {
		if sum/divisor <= maxRound {
			share[i] = w / divisor
		} else {
			share[i] = max(1, w*maxRound/sum)
		}
		total += share[i]
	}
	return share, total
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
