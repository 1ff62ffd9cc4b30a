//go:build linux

package main

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// fillHitsToNginx is the target: edge's p99.9 to nginx's.
const fillHitsToNginx = 1.0

// hotObjects is how many objects the hits are for.
const hotObjects = 100

// fillHits is what one server did in all rounds.
type fillHits struct {
	latencies []time.Duration
	perRound  []float64 // p99.9, milliseconds
	fills     float64   // a second
}

// runFillHits has a light client ask for hot objects at a fixed rate and times
// the answers, while the generator asks for one unique URL after the other as fast as it
// is answered, each stored on disk.
func runFillHits(ctx context.Context, l *lab) error {
	o, list, stop, err := l.startOnDisk(ctx, missDisk, starter{"edge", l.startEdge}, starter{"nginx", l.startNginx})
	defer stop()
	if err != nil {
		return err
	}
	last := hotObjects
	results := map[string]*fillHits{}
	for _, s := range list {
		results[s.name] = &fillHits{}
		for range 2 { // asked for more than once: hot
			if _, err := l.fill(ctx, s, 1<<10, upTo(hotObjects)); err != nil {
				return err
			}
		}
	}
	for round := range l.rounds {
		for i := range list {
			s := list[(round+i)%len(list)]
			if err := l.fillHitsRound(ctx, s, o, &last, results[s.name]); err != nil {
				return fmt.Errorf("%s: %w\n%s", s.name, err, &s.output)
			}
		}
	}
	for _, s := range list {
		r := results[s.name]
		slices.Sort(r.latencies)
		fmt.Printf("%-6s %d hits beside %.0f fills/s: median %v, p99 %v, p99.9 %v, max %v\n", s.name, len(r.latencies),
			r.fills/float64(l.rounds), short(percentile(r.latencies, 50)), short(percentile(r.latencies, 99)),
			short(percentile(r.latencies, 99.9)), short(r.latencies[len(r.latencies)-1]))
	}
	if e, n := results["edge"], results["nginx"]; e != nil && n != nil {
		l.target("edge's p99.9 of hits while filling, to nginx's",
			float64(percentile(e.latencies, 99.9))/float64(percentile(n.latencies, 99.9)), fillHitsToNginx, "")
		fmt.Printf("        (medians over rounds of p99.9: edge %.2f ms, nginx %.2f ms)\n", median(e.perRound), median(n.perRound))
	}
	return nil
}

// fillHitsRound runs both clients against s.
func (l *lab) fillHitsRound(ctx context.Context, s *subject, o *origin, last *int, r *fillHits) error {
	asked := o.total.Load()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		load
		err error
	}
	filler := make(chan result, 1)
	go func() { // ends by itself, or with ctx
		d, err := epollLoad(ctx, s.addr, l.connections, l.duration, objects{1 << 10, s.addr}.unique(last))
		filler <- result{d, err}
	}()
	at := 0
	latencies, err := paced(ctx, s.addr, l.rate, l.duration, objects{1 << 10, s.addr}.around(upTo(hotObjects), &at))
	if err != nil {
		cancel()
		<-filler
		return err
	}
	d := <-filler
	if d.err != nil {
		return d.err
	}
	if n := o.total.Load() - asked; n != int64(d.requests) {
		return fmt.Errorf("%d unique URLs were answered, but the origin was asked %d times: hits were not hits", d.requests, n)
	}
	slices.Sort(latencies)
	r.perRound = append(r.perRound, ms(percentile(latencies, 99.9)))
	r.latencies = append(r.latencies, latencies...)
	r.fills += float64(d.requests) / d.elapsed.Seconds()
	return s.quiet(ctx)
}
