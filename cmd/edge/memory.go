package main

import (
	"errors"
	"log/slog"
	"math"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"

	"github.com/KimMachineGun/automemlimit/memlimit"

	"edge/cache/storage"
)

// What the process is to take: what cache.memory.size says, a share of it and a
// fixed part for everything else. The stores keep to their part by themselves, but
// a garbage collector with nothing but its default would let the heap grow to twice
// what is live: half of what small responses take lies there.
const (
	residentShare = 15       // percent of the cache's size
	residentFixed = 64 << 20 // bytes
	// residentBeside of which is neither the Go runtime's nor the stores': the program's
	// own text and data, and what the stores map between two looks.
	residentBeside = 24 << 20
	// The Go heap is told to stay below heapShare percent of what the container
	// leaves it, so that stacks and buffers of the kernel have room, and never to
	// less than minHeap bytes, nor than what is in use and liveShare percent of what
	// is live: below that the collector would do nothing else.
	heapShare = 90
	minHeap   = 64 << 20
	liveShare = 30
	// limitInterval is the time between two looks at what is mapped and live.
	limitInterval = time.Second / 4
	// The heap may grow by leastGrowth bytes between two collections, the limit
	// permitting, or by as much as is live, whichever is more: see gcPercent.
	leastGrowth    = 32 << 20
	defaultPercent = 100
	mostPercent    = 800
)

// memoryLimit keeps the Go runtime's memory limit where it should be. Owner: the
// node, which must end it.
type memoryLimit struct {
	container int64 // bytes, 0 for none
	size      int64 // cache.memory.size
	mapped    func() int64
	paces     bool // says when to collect as well; not where GOGC is set
	stop      chan struct{}
	done      sync.WaitGroup
}

// startMemoryLimit begins; GOMEMLIMIT, if set, has the last word, and nil is
// returned. store may tell what it has mapped outside the Go heap.
func startMemoryLimit(size int64, store storage.Store, log *slog.Logger) *memoryLimit {
	if os.Getenv("GOMEMLIMIT") != "" {
		return nil
	}
	l := &memoryLimit{container: containerLimit(log), size: size, paces: os.Getenv("GOGC") == "", stop: make(chan struct{})}
	l.mapped = func() int64 { return 0 }
	if s, ok := store.(interface{ Mapped() int64 }); ok {
		l.mapped = s.Mapped
	}
	if l.container > 0 && l.container/100*heapShare-size < minHeap {
		log.Warn("cache.memory.size leaves too little of the container's memory", "container_bytes", l.container, "cache_bytes", size)
	}
	l.done.Go(l.run)
	return l
}

// containerLimit is how much memory the container has, in bytes, 0 where it has
// no limit.
func containerLimit(log *slog.Logger) int64 {
	total, err := memlimit.FromCgroup()
	if err != nil {
		if !errors.Is(err, memlimit.ErrNoLimit) {
			log.Debug("no memory limit could be read", "error", err)
		}
		return 0
	}
	return int64(min(total, math.MaxInt64))
}

func (l *memoryLimit) run() {
	tick := time.NewTicker(limitInterval)
	defer tick.Stop()
	u := newUsage()
	last, lastPercent := int64(0), defaultPercent
	for {
		live, other := u.read()
		if percent := gcPercent(live); l.paces && percent != lastPercent {
			debug.SetGCPercent(percent)
			lastPercent = percent
		}
		if limit := heapLimit(l.container, l.size, l.mapped(), live, other); limit != last {
			debug.SetMemoryLimit(limit)
			last = limit
		}
		select {
		case <-l.stop:
			return
		case <-tick.C:
		}
	}
}

// end ends the looking; the limit stays.
func (l *memoryLimit) end() {
	if l != nil {
		close(l.stop)
		l.done.Wait()
	}
}

// usage reads what the Go runtime uses.
type usage []metrics.Sample

func newUsage() usage {
	var u usage
	for _, name := range []string{"/gc/heap/live:bytes", "/memory/classes/total:bytes", "/memory/classes/heap/objects:bytes",
		"/memory/classes/heap/unused:bytes", "/memory/classes/heap/free:bytes", "/memory/classes/heap/released:bytes"} {
		u = append(u, metrics.Sample{Name: name})
	}
	return u
}

// read returns how many bytes of the heap were live when the collector last
// looked, and how many are in use that it cannot free: stacks, for the most part.
func (u usage) read() (live, other int64) {
	metrics.Read(u)
	other = int64(u[1].Value.Uint64())
	for _, heap := range u[2:] {
		other -= int64(heap.Value.Uint64())
	}
	return int64(u[0].Value.Uint64()), max(other, 0)
}

// gcPercent is how many percent of live, in bytes, may be allocated until the heap is
// collected again. It is 100, as in any Go program, but for a small heap, which is that of
// most nodes, since bodies and heads lie outside it: the more is thrown away at once, the
// less is looked at for it. Collecting (GODEBUG=gctrace=1) takes 0.4 µs of the 43 of a miss
// stored on disk rather than 1.4, while the heap peaks at 51 MiB rather than 26: go run
// ./bench -only diskmiss. With the memory tier full it changes nothing: 325 and 328 MiB
// resident with it, 326 and 328 without: -only million.
func gcPercent(live int64) int {
	percent := defaultPercent
	for percent < mostPercent && live/100*int64(percent) < leastGrowth {
		percent *= 2
	}
	return percent
}

// heapLimit is the Go runtime's memory limit in bytes: in a container, 0 for none,
// with a cache of some size, where mapped bytes lie outside the Go runtime, live ones
// in its heap, and other ones elsewhere in it.
func heapLimit(container, size, mapped, live, other int64) int64 {
	limit := size/100*(100+residentShare) + residentFixed - residentBeside
	if container > 0 {
		limit = min(limit, container/100*heapShare)
	}
	return max(limit-mapped, live/100*(100+liveShare)+other, minHeap)
}
