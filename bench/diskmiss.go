//go:build linux

package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// The targets of a miss that is stored on disk, as ratios of CPU per request.
const (
	diskMissToTraffic = 0.70
	diskMissToNginx   = 0.35
)

// missDisk is the space each cache has, in bytes: enough to keep everything.
const missDisk = 4 << 30

// missSample is how many of the objects are asked for again to see whether they
// were kept: a miss that is not stored would be cheap.
const missSample = 1000

// span is the numbers [from, to) of the objects asked for in one run.
type span struct{ from, to int }

// runDiskMisses asks each cache for URLs nobody asked for before and counts the
// CPU of all its processes and threads until it is quiet, so that what is written
// behind the answers counts in. What kernel threads do for them (writing pages
// out, the file system's journal) does not show on a process's clock; it is
// printed, but not counted.
func runDiskMisses(ctx context.Context, l *lab) error {
	o, list, stop, err := l.startOnDisk(ctx, missDisk, starter{"edge", l.startEdge}, starter{"ats", l.startTrafficServer}, starter{"nginx", l.startNginx})
	defer stop()
	if err != nil {
		return err
	}
	last := 0
	spans := map[string][]span{}
	kernel := map[string]time.Duration{}
	results, err := l.inTurn(ctx, list, func(ctx context.Context, s *subject) (load, error) {
		before, from, asked := kernelCPU(), last+1, o.total.Load()
		d, err := epollLoad(ctx, s.addr, l.connections, l.duration, objects{1 << 10, s.addr}.unique(&last))
		if err != nil {
			return d, err
		}
		if n := o.total.Load() - asked; n != int64(d.requests) {
			return d, fmt.Errorf("%d unique URLs were answered, but the origin was asked %d times", d.requests, n)
		}
		err = s.quiet(ctx)
		spans[s.name] = append(spans[s.name], span{from, last + 1})
		kernel[s.name] += kernelCPU() - before
		return d, err
	})
	if err != nil {
		return err
	}
	printTable(list, results)
	for _, s := range list {
		perRequest := float64(kernel[s.name]) / float64(time.Microsecond) / float64(results[s.name].requests)
		fmt.Printf("%-6s kernel threads of the whole machine meanwhile, not counted: %.1f µs a request\n", s.name, perRequest)
		if err := l.missesKept(ctx, s, o, spans[s.name]); err != nil {
			return err
		}
	}
	if r := ratio(results, "edge", "ats"); !math.IsNaN(r) {
		l.target("edge's CPU per miss stored on disk, to ATS's", r, diskMissToTraffic, "")
	}
	if r := ratio(results, "edge", "nginx"); !math.IsNaN(r) {
		l.target("edge's CPU per miss stored on disk, to nginx's", r, diskMissToNginx, "")
	}
	return nil
}

// missesKept prints how much of a sample of what s was asked for it has, and what
// edge says of its disk. edge is to have all of it.
func (l *lab) missesKept(ctx context.Context, s *subject, o *origin, spans []span) error {
	sample := draw(spans, missSample)
	kept, err := l.kept(ctx, s, o, 1<<10, sample)
	if err != nil {
		return err
	}
	fmt.Printf("%-6s has %d of %d objects that were asked for\n", s.name, kept, len(sample))
	if s.name != "edge" {
		return nil
	}
	m, err := s.metrics(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("%-6s on disk: %.0f responses in %.0f MiB; refused for want of room to write behind: %.0f\n", s.name,
		m.sum("edge_disk_entries"), m.sum("edge_disk_live_bytes")/(1<<20), m.sum("edge_disk_faults_total", `reason="busy"`))
	if kept != len(sample) {
		return fmt.Errorf("edge kept %d of %d", kept, len(sample))
	}
	return nil
}

// draw returns n numbers of the spans, none twice, or all of them where they are fewer.
func draw(spans []span, n int) []int {
	var all []int
	for _, s := range spans {
		for i := s.from; i < s.to; i++ {
			all = append(all, i)
		}
	}
	r := rand.New(rand.NewPCG(1, 1))
	r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return slices.Clip(all[:min(n, len(all))])
}
