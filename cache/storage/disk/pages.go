package disk

import (
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// pages hands out pages of rows. They hold no pointers, and there may be gigabytes
// of them: outside the Go heap they neither make the collector run later, by as
// much again, nor are charged to its limit. The zero value is ready. Safe for
// concurrent use; its lock is a leaf.
type pages struct {
	mu      sync.Mutex
	regions [][]byte
	free    []byte       // of the last region
	mapped  atomic.Int64 // bytes
}

type page = [pageRows]row

const (
	pageBytes = int(unsafe.Sizeof(page{}))
	// regionPages is how many pages are mapped at once.
	regionPages = 64
)

// take returns a page of zeroed rows.
func (p *pages) take() *page {
	if poisoned {
		return new(page) // where the race detector sees it
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.free) < pageBytes {
		mem, err := unix.Mmap(-1, 0, regionPages*pageBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
		if err != nil {
			return new(page) // the heap may have room where the system allows no more mappings
		}
		p.regions = append(p.regions, mem)
		p.free = mem
		p.mapped.Add(int64(len(mem)))
	}
	at := (*page)(unsafe.Pointer(unsafe.SliceData(p.free))) // a mapping begins at a page, and pageBytes is a multiple of a row's alignment
	p.free = p.free[pageBytes:]
	return at
}

// release gives everything back. Nobody holds a page any more.
func (p *pages) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, mem := range p.regions {
		_ = unix.Munmap(mem) // it fails for what is no mapping only
		p.mapped.Add(-int64(len(mem)))
	}
	p.regions, p.free = nil, nil
}
