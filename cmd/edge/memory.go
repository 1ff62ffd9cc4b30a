package main

import (
	"errors"
	"log/slog"
	"os"
	"runtime/debug"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// The Go heap is told to stay below heapShare percent of what the container
// leaves it, so that stacks and buffers of the kernel have room, and never to
// less than minHeap bytes: below that the collector would do nothing else.
const (
	heapShare = 90
	minHeap   = 64 << 20
)

// setMemoryLimit tells the Go runtime how much memory there is for it: the
// container's, less the store's slabs, which lie outside its heap. GOMEMLIMIT,
// if set, has the last word.
func setMemoryLimit(slabs int64, log *slog.Logger) {
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	total, err := memlimit.FromCgroup()
	if err != nil {
		if !errors.Is(err, memlimit.ErrNoLimit) {
			log.Debug("no memory limit could be read", "error", err)
		}
		return
	}
	limit, tight := heapLimit(total, slabs)
	if tight {
		log.Warn("cache.memory.size leaves too little of the container's memory", "container_bytes", total, "cache_bytes", slabs)
	}
	debug.SetMemoryLimit(limit)
}

// heapLimit is the runtime's memory limit in bytes in a container of total, and
// whether that is less than it should have.
func heapLimit(total uint64, slabs int64) (limit int64, tight bool) {
	const most = 1 << 62
	rest := int64(min(total, most)) - slabs
	limit = rest / 100 * heapShare
	if limit < minHeap {
		return minHeap, true
	}
	return limit, false
}
