//go:build linux

package main

import (
	"context"
	"fmt"
	"math"

	"edge/config"
)

// diskHitToNginx is the target of a disk hit, as a ratio of CPU per request.
const diskHitToNginx = 1.0

// runDiskHits measures hits of what lies on the disk but not in memory: -set
// bytes of objects, many times the memory tier, each asked for in turn, so that
// none is in memory by the time that its turn comes again (but for the few that a
// tier resistant to scans may keep). All were read once before: chunks are
// verified, the page cache is warm. nginx runs twice, with and without
// open_file_cache; the better one counts.
func runDiskHits(ctx context.Context, l *lab) error {
	for _, size := range l.sizes {
		fmt.Printf("\n%v objects, %d of them\n", config.Size(size), l.set/size)
		if err := l.diskHits(ctx, size); err != nil {
			return fmt.Errorf("%v objects: %w", config.Size(size), err)
		}
	}
	return nil
}

// diskHits measures one size of objects.
func (l *lab) diskHits(ctx context.Context, size int) error {
	openFiles := func(ctx context.Context, o *origin, k keeping) (*subject, error) {
		k.openFiles = true
		return l.startNginx(ctx, o, k)
	}
	o, list, stop, err := l.startOnDisk(ctx, int64(l.set)*3/2+64<<20, starter{"edge", l.startEdge}, starter{"nginx", l.startNginx}, starter{"nginx", openFiles})
	defer stop()
	if err != nil {
		return err
	}
	numbers := upTo(l.set / size)
	at := map[string]*int{}
	for _, s := range list {
		at[s.name] = new(int)
		if err := l.fillDisk(ctx, s, o, size, numbers); err != nil {
			return err
		}
	}
	asked := o.total.Load()
	results, err := l.inTurn(ctx, list, func(ctx context.Context, s *subject) (load, error) {
		return epollLoad(ctx, s.addr, l.connections, l.duration, objects{size, s.addr}.around(numbers, at[s.name]))
	})
	if err != nil {
		return err
	}
	if n := o.total.Load() - asked; n != 0 {
		return fmt.Errorf("the origin was asked %d times while only hits were measured", n)
	}
	printTable(list, results)
	// The lower of nginx's two figures is the higher ratio.
	r := ratio(results, "edge", "nginx")
	if better := ratio(results, "edge", nginxOpenFiles); math.IsNaN(r) || better > r {
		r = better
	}
	if !math.IsNaN(r) {
		l.target(fmt.Sprintf("edge's CPU per %v disk hit, to nginx's", config.Size(size)), r, diskHitToNginx, "")
	}
	return nil
}

// fillPasses is how often a cache is asked for everything before it is to have
// everything on its disk.
const fillPasses = 5

// fillDisk has s store the objects and waits until they lie on the disk. The last of
// its passes reads each once and finds it.
func (l *lab) fillDisk(ctx context.Context, s *subject, o *origin, size int, numbers []int) error {
	missing := len(numbers)
	for pass := range fillPasses {
		kept, err := l.kept(ctx, s, o, size, numbers)
		if err == nil {
			err = s.quiet(ctx)
		}
		if err != nil {
			return err
		}
		if missing = len(numbers) - kept; missing == 0 {
			return nil
		}
		if pass > 0 {
			fmt.Printf("%-6s did not keep %d of %d objects at first\n", s.name, missing, len(numbers))
		}
	}
	return fmt.Errorf("%s: %d of %d objects are not kept after %d times\n%s", s.name, missing, len(numbers), fillPasses, &s.output)
}
