package disk

import (
	"sync"
	"sync/atomic"

	"edge/cache/storage/vfs"
)

// segment is one file of the log, or what will be one: what was appended lies
// in blocks of memory until the flusher has written it.
//
// Pins: the volume's list holds one, and everything that may read from the
// segment holds one: bodies, fills, loads under way. A segment that is reclaimed
// loses its name at once and its file when the last pin goes: nobody ever reads
// from a segment that is gone.
type segment struct {
	v    *volume
	id   uint32
	pins atomic.Int64
	// old: from before this process; its wall clock may have been ahead.
	old bool

	// gone: reclaimed. Nothing new may point here; set before the index is walked.
	gone atomic.Bool
	// removed: its file's name is gone, or goes as soon as there is one.
	removed atomic.Bool
	// settled says that all of it is in the file: what follows is then
	// read without mu.
	settled atomic.Bool
	file    atomic.Pointer[vfs.File]

	mu      sync.RWMutex
	end     int64    // bytes appended
	written int64    // of those, in the file
	blocks  []*block // [written, end), and what of their first is in the file already
	sealed  bool     // nothing more is appended
	lost    bool     // written is all that there will ever be in the file

	// The flusher's own.
	synced int64

	// checked is what was read and found right: proof.go.
	checked atomic.Pointer[proof]
	// notes is what the checkpoint will say of the segment. Guarded by the
	// volume's lock while it is active, then the checkpointer's.
	notes  []note
	naming namings // of the heads among them
}

// block is a run of records on their way to the file. Bytes below filled never
// change.
//
// The segment holds a reference, and so does whoever reads what is not written yet.
type block struct {
	counted
	off int64
	mem []byte // filled up to its length
}

const (
	// blockSize is what a block has room for, in bytes, unless a record needs a larger.
	blockSize = 256 << 10
)

// pin keeps the segment's bytes readable. The caller must know that somebody
// holds a pin.
func (s *segment) pin() { s.pins.Add(1) }

// tryPin is pin for those who cannot know. False: it is gone.
func (s *segment) tryPin() bool {
	for {
		n := s.pins.Load()
		if n <= 0 {
			return false
		}
		if s.pins.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// unpin gives a pin back; with the last the file is closed.
func (s *segment) unpin() {
	switch n := s.pins.Add(-1); {
	case n == 0:
		if f := s.file.Swap(nil); f != nil {
			_ = (*f).Close() // what it holds is not wanted any more
		}
		s.v.departed(s)
	case n < 0:
		panic("disk: segment unpinned more often than pinned")
	}
}

// add appends size bytes, which fill is to fill in. Under the volume's lock.
func (s *segment) add(size int64, fill func(mem []byte, off int64)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	off := s.end
	var b *block
	if n := len(s.blocks); n > 0 {
		b = s.blocks[n-1]
	}
	if b == nil || int64(cap(b.mem)-len(b.mem)) < size {
		room := int64(blockSize)
		if size > minPooled {
			room = max(size, largeBlock)
		}
		b = &block{off: off}
		b.mem = b.allocate(int(room))
		s.blocks = append(s.blocks, b)
	}
	at := len(b.mem)
	b.mem = b.mem[:at+int(size)]
	s.end += size
	fill(b.mem[at:], off)
}

// seal ends the appending.
func (s *segment) seal() {
	s.mu.Lock()
	s.sealed = true
	s.mu.Unlock()
}

// next returns the next bytes to write and where, none where all is written.
// For the flusher.
func (s *segment) next() (mem []byte, off int64, sealed bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, b := range s.blocks {
		if !s.lost && b.off+int64(len(b.mem)) > s.written {
			return b.mem[s.written-b.off:], s.written, s.sealed
		}
	}
	return nil, s.written, s.sealed
}

// wrote notes that bytes up to end are in the file, and lets go of blocks that are
// and take no more. For the flusher.
func (s *segment) wrote(end int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.written = end
	for len(s.blocks) > 0 {
		b := s.blocks[0]
		if b.off+int64(len(b.mem)) > end || len(s.blocks) == 1 && !s.sealed {
			break
		}
		s.blocks[0] = nil
		s.blocks = s.blocks[1:]
		b.release()
	}
	if s.sealed && s.written == s.end {
		s.blocks = nil
		s.settled.Store(true)
	}
}

// pending returns how many bytes wait for the flusher.
func (s *segment) pending() int64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.lost {
		return 0
	}
	return s.end - s.written
}

// lose gives up on what is not written. It returns it, for what it says to be
// noted elsewhere, and where it begins. Who has the segment pinned can still
// read it.
func (s *segment) lose() (blocks []*block, from int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lost || s.written == s.end {
		s.sealed = true
		return nil, s.end
	}
	s.lost, s.sealed = true, true
	return s.blocks, s.written
}

// view returns bytes that still lie in memory, and what they lie in, retained for the
// caller; nil where they are in the file.
func (s *segment) view(off int64, n int) ([]byte, *counted) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for i := len(s.blocks) - 1; i >= 0; i-- {
		if b := s.blocks[i]; off >= b.off && off+int64(n) <= b.off+int64(len(b.mem)) {
			b.retain()
			return b.mem[off-b.off:][:n:n], &b.counted
		}
	}
	return nil, nil
}
