//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"
)

const (
	// purgeHitsToNone is the target: the p99 of hits beside purges, to that without.
	purgeHitsToNone = 1.5
	// purgesPerSecond are sent to edge's admin listener, one tag each, the journal
	// synced before each answer.
	purgesPerSecond = 1000
)

// purgeHits is what one kind of round measured.
type purgeHits struct {
	latencies []time.Duration
	purges    []time.Duration
	perRound  []float64 // p99, milliseconds
	hits      float64   // a second
}

// runPurgeHits has a light client time hits at a fixed rate beside full load of hits,
// in turn with and without purges of tags that nothing has: so every hit is judged
// again and again, and none becomes a miss.
func runPurgeHits(ctx context.Context, l *lab) error {
	o, list, stop, err := l.startOnDisk(ctx, missDisk, starter{"edge", l.startEdge})
	defer stop()
	if err != nil || len(list) == 0 {
		return err
	}
	s := list[0]
	for range 3 { // asked for more than once: hot
		if _, err := l.fill(ctx, s, 1<<10, upTo(hotObjects)); err != nil {
			return err
		}
	}
	without, with, last := &purgeHits{}, &purgeHits{}, 0
	for round := range 2 * l.rounds {
		if round%2 == 0 {
			err = l.purgeHitsRound(ctx, s, o, nil, without)
		} else {
			err = l.purgeHitsRound(ctx, s, o, &last, with)
		}
		if err != nil {
			return fmt.Errorf("%w\n%s", err, &s.output)
		}
	}
	without.print("without purges", l.rounds)
	with.print("with purges", l.rounds)
	slices.Sort(with.purges)
	fmt.Printf("%d purges of a tag, each synced: median %v, p99 %v\n", len(with.purges),
		short(percentile(with.purges, 50)), short(percentile(with.purges, 99)))
	l.target("p99 of hits beside purges, to that without (medians over rounds)", median(with.perRound)/median(without.perRound), purgeHitsToNone, "")
	return nil
}

func (r *purgeHits) print(what string, rounds int) {
	slices.Sort(r.latencies)
	fmt.Printf("%-14s beside %.0f hits/s: %d timed: median %v, p99 %v, p99.9 %v\n", what, r.hits/float64(rounds), len(r.latencies),
		short(percentile(r.latencies, 50)), short(percentile(r.latencies, 99)), short(percentile(r.latencies, 99.9)))
}

// purgeHitsRound runs the clients against s; the purging one where last is not nil.
func (l *lab) purgeHitsRound(ctx context.Context, s *subject, o *origin, last *int, r *purgeHits) error {
	asked := o.total.Load()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var at, by int
	hot := func(at *int) work { return objects{1 << 10, s.addr}.around(upTo(hotObjects), at) }
	loaded, purged := make(chan error, 1), make(chan error, 1)
	go func() { // ends by itself, or with ctx
		d, err := epollLoad(ctx, s.addr, l.connections, l.duration, hot(&at))
		r.hits += float64(d.requests) / d.elapsed.Seconds()
		loaded <- err
	}()
	go func() { // likewise
		if last == nil {
			purged <- nil
			return
		}
		took, err := paced(ctx, s.admin, purgesPerSecond, l.duration, purges(s.admin, last))
		r.purges = append(r.purges, took...)
		purged <- err
	}()
	latencies, err := paced(ctx, s.addr, l.rate, l.duration, hot(&by))
	if err != nil {
		cancel()
	}
	for _, other := range []error{<-loaded, <-purged} {
		if err == nil {
			err = other
		}
	}
	if err != nil {
		return err
	}
	if n := o.total.Load() - asked; n != 0 {
		return fmt.Errorf("the origin was asked %d times while only hits were measured", n)
	}
	slices.Sort(latencies)
	r.perRound = append(r.perRound, ms(percentile(latencies, 99)))
	r.latencies = append(r.latencies, latencies...)
	return s.quiet(ctx)
}

// purges is the work of purging one tag after the other.
func purges(addr string, last *int) work {
	durable := []byte(`"durable":true`)
	return work{
		next: func(dst []byte) ([]byte, int) {
			*last++
			body := strconv.AppendInt([]byte(`{"tags":["bench-`), int64(*last), 10)
			body = append(body, `"]}`...)
			dst = fmt.Appendf(dst, "POST /purge HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", addr, len(body))
			return append(dst, body...), *last
		},
		right: func(_ int, answer []byte) bool { return bytes.Contains(answer, durable) },
	}
}
