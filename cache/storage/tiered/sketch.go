package tiered

import (
	"math/bits"
	"sync/atomic"

	"edge/cache/storage"
)

// sketchSpacing: a counter for that many bytes of memory tier.
const sketchSpacing = 1024

// sketch counts how often responses were stored, roughly: in 4-byte counters that
// keys may share, which a count of as many as there are counters halves.
type sketch struct {
	counters []atomic.Uint32
	added    atomic.Int64
}

func newSketch(n int64) *sketch {
	return &sketch{counters: make([]atomic.Uint32, 1<<bits.Len64(uint64(max(n, 1<<10))))}
}

// count counts one use and returns how many there have been.
func (s *sketch) count(key storage.Key) int {
	at := uint32(key[8]) | uint32(key[9])<<8 | uint32(key[10])<<16 | uint32(key[11])<<24
	n := s.counters[at&uint32(len(s.counters)-1)].Add(1)
	if s.added.Add(1) > int64(len(s.counters)) {
		s.added.Store(0)
		for i := range s.counters {
			s.counters[i].Store(s.counters[i].Load() / 2)
		}
	}
	return int(n)
}
