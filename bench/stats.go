//go:build linux

package main

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"os"
	"slices"
	"text/tabwriter"
	"time"
)

// samples are one subject's results, one a round.
type samples struct {
	perRequest []float64 // CPU microseconds of the server per request
	rate       []float64 // requests per second
	requests   int
}

// measure runs one load against s and adds what it cost.
func (m *samples) measure(ctx context.Context, s *subject, run func(context.Context) (load, error)) error {
	before, err := s.cpu()
	if err != nil {
		return err
	}
	d, err := run(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	if err := d.check(); err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	after, err := s.cpu()
	if err != nil {
		return err
	}
	m.perRequest = append(m.perRequest, float64(after-before)/float64(time.Microsecond)/float64(d.requests))
	m.rate = append(m.rate, float64(d.requests)/d.elapsed.Seconds())
	m.requests += d.requests
	return nil
}

// inTurn measures every subject once a round; each round begins with the
// next subject.
func (l *lab) inTurn(ctx context.Context, list []*subject, run func(context.Context, *subject) (load, error)) (map[string]*samples, error) {
	results := map[string]*samples{}
	for _, s := range list {
		results[s.name] = &samples{}
	}
	for round := range l.rounds {
		for i := range list {
			s := list[(round+i)%len(list)]
			err := results[s.name].measure(ctx, s, func(ctx context.Context) (load, error) { return run(ctx, s) })
			if err != nil {
				return nil, err
			}
		}
	}
	return results, nil
}

// printTable prints one line a subject, in the order of list.
func printTable(list []*subject, results map[string]*samples) {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	others := []string{"nginx", nginxOpenFiles, "ats", "floor"}
	others = slices.DeleteFunc(others, func(name string) bool { return results[name] == nil })
	fmt.Fprint(w, "server\trequests\treq/s\tCPU µs/req\tmin\tmax\t")
	for _, name := range others {
		fmt.Fprintf(w, "to %s\t", name)
	}
	fmt.Fprintln(w)
	for _, s := range list {
		m := results[s.name]
		fmt.Fprintf(w, "%s\t%d\t%.0f\t%.2f\t%.2f\t%.2f\t", s.name, m.requests, median(m.rate),
			median(m.perRequest), slices.Min(m.perRequest), slices.Max(m.perRequest))
		for _, name := range others {
			fmt.Fprintf(w, "%.2f\t", ratio(results, s.name, name))
		}
		fmt.Fprintln(w)
	}
	w.Flush()
}

// ratio compares medians of CPU per request; NaN where either is missing.
func ratio(results map[string]*samples, a, b string) float64 {
	x, y := results[a], results[b]
	if x == nil || y == nil {
		return math.NaN()
	}
	return median(x.perRequest) / median(y.perRequest)
}

// median returns the middle value, the mean of the middle two for an even
// count, NaN for none.
func median(v []float64) float64 {
	if len(v) == 0 {
		return math.NaN()
	}
	s := slices.Sorted(slices.Values(v))
	mid := len(s) / 2
	if len(s)%2 == 1 {
		return s[mid]
	}
	return (s[mid-1] + s[mid]) / 2
}

// percentile returns the smallest value that at least p percent of the sorted
// values do not exceed (nearest rank).
func percentile[T cmp.Ordered](sorted []T, p float64) T {
	rank := int(math.Ceil(p / 100 * float64(len(sorted))))
	return sorted[min(max(rank, 1), len(sorted))-1]
}
