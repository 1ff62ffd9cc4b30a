package disk

import (
	"fmt"
	"sync"

	"golang.org/x/sys/unix"

	"edge/cache/storage"
)

// hot keeps what is read again and again of bodies that are too long for the memory
// tier: pieces of chunks, in frames of memory that the garbage collector does not see,
// found by where the piece lies. It takes what has to be read into our memory anyway
// (for TLS, HTTP/2, or because the page cache lost it), once it was asked for twice
// within as many bytes as there are frames: a scan goes by. What can be sent from the
// page cache is not copied here.
//
// What lies where does not change while the segment stands, and a segment that is
// reclaimed is forgotten at once. Safe for concurrent use; mu is a leaf and is never
// held over a read.
type hot struct {
	reuse *storage.Reuse
	size  int // of a frame, in bytes

	mu     sync.Mutex
	mem    []byte // all frames
	frames []frame
	at     map[place]int // the frames in use, by what they hold
	hand   int           // of the clock that chooses which frame to reuse
	pinned int
	closed bool
}

// place is where a piece lies. Segments are told apart by identity, so that none that
// comes later is taken for one that has gone.
type place struct {
	s   *segment
	off int64
}

// frame holds a piece.
type frame struct {
	at   place // the zero place: empty
	n    int
	pins int  // readers that read from it
	used bool // since the clock's hand passed
}

const (
	// hotFrames is how many frames there are at least: fewer are not worth having.
	hotFrames = 4
	// hotMemory is for how many asks each frame's worth of memory remembers.
	hotMemory = 16
)

// Hot returns how many bytes of memory hot chunks take, and may take.
func (st *Store) Hot() (bytes, budget int64) {
	h := st.hot
	if h == nil {
		return 0, 0
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return int64(len(h.at)) * int64(h.size), int64(len(h.frames)) * int64(h.size)
}

// newHot returns frames of size bytes, of no more than budget bytes in all; nil where
// that is too little.
func newHot(budget int64, size int) (*hot, error) {
	n := int(budget / int64(size))
	if n < hotFrames {
		return nil, nil
	}
	h := &hot{reuse: storage.NewReuse(budget, int64(n)*hotMemory), size: size, frames: make([]frame, n), at: make(map[place]int)}
	if poisoned {
		h.mem = make([]byte, n*size) // where the race detector sees it
		return h, nil
	}
	var err error
	if h.mem, err = unix.Mmap(-1, 0, n*size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE); err != nil {
		return nil, fmt.Errorf("disk: mapping %d bytes for hot chunks: %w", n*size, err)
	}
	return h, nil
}

// get returns what is held of a place and the frame it lies in, pinned: unpin gives
// it back. nil, -1 where nothing is.
func (h *hot) get(at place) ([]byte, int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	i, ok := h.at[at]
	if !ok || h.closed {
		return nil, -1
	}
	f := &h.frames[i]
	f.used = true
	f.pins++
	h.pinned++
	return h.mem[i*h.size:][:f.n:f.n], i
}

func (h *hot) unpin(i int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.frames[i].pins--
	h.pinned--
	h.unmap()
}

// deserves reports whether a piece that is about to be read should be put here.
func (h *hot) deserves(at place, n int) bool {
	x := (uint64(at.s.id)<<32 ^ uint64(at.off)) * 0x9e3779b97f4a7c15
	return h.reuse.Ask(x^x>>29, int64(n))
}

// put copies a piece in, unless its segment has gone or every frame is being read.
func (h *hot) put(at place, p []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := h.at[at]; ok || h.closed || at.s.gone.Load() || len(p) > h.size {
		return
	}
	for range 2 * len(h.frames) {
		i := h.hand
		h.hand = (h.hand + 1) % len(h.frames)
		f := &h.frames[i]
		if f.pins > 0 || f.used {
			f.used = false
			continue
		}
		delete(h.at, f.at)
		*f = frame{at: at, n: copy(h.mem[i*h.size:][:h.size], p)}
		h.at[at] = i
		return
	}
}

// forget lets go of what lies in a segment, which is gone.
func (h *hot) forget(s *segment) {
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range h.frames {
		if f := &h.frames[i]; f.at.s == s {
			delete(h.at, f.at)
			f.at, f.used = place{}, false
		}
	}
}

// close gives the memory back, as soon as nobody reads from it.
func (h *hot) close() {
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	clear(h.at)
	h.unmap()
}

// unmap gives the memory back where it can. Under mu.
func (h *hot) unmap() {
	if !h.closed || h.pinned > 0 || h.mem == nil {
		return
	}
	if !poisoned {
		if err := unix.Munmap(h.mem); err != nil {
			panic(fmt.Sprintf("disk: munmap of %d bytes: %v", len(h.mem), err))
		}
	}
	h.mem = nil
}

// hotPiece returns what is held from a checked extent's byte from on; or nil, and
// where the piece of it lies that deserves to be read whole and put here.
func (r *reader) hotPiece(x *located, from int64) (p []byte, at place, size int64) {
	h := r.e.v.st.hot
	if h == nil || r.e.Size() <= r.e.v.o.HotFrom {
		return nil, place{}, 0
	}
	start := from - from%int64(h.size)
	at = place{x.s, int64(x.off) + start}
	if p, i := h.get(at); i >= 0 {
		r.frame = i + 1
		return p[from-start:], at, 0
	}
	size = min(int64(h.size), int64(x.length)-start)
	if !h.deserves(at, int(size)) {
		return nil, place{}, 0
	}
	return nil, at, size
}

// leaveFrame gives back the frame that the last piece lies in.
func (r *reader) leaveFrame() {
	if r.frame > 0 {
		r.e.v.st.hot.unpin(r.frame - 1)
		r.frame = 0
	}
}
