package storage

import (
	"fmt"
	"math/bits"
	"math/rand/v2"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// Slabs: the memory that heads and bodies live in.
//
// An arena is a set of equal blocks outside the Go heap, so that the garbage
// collector neither scans nor copies nor counts them. A block in use is cut
// into slots of one size class; an empty block belongs to no class and can
// become any. What an arena hands out never exceeds its limit, and neither
// does what it has mapped together with what was charged to it by charge.
//
// Calcification. A store whose objects change their size would find all its
// blocks cut for the old size. Hence victims: it names the residents of the
// block that costs least to empty, and once they are gone the block is free
// for any class.
const (
	// minSlot is the smallest slot: a short head with no body takes as much.
	minSlot = 256
	// minBlock and maxBlock bound the size of a block in bytes.
	minBlock, maxBlock = 16 << 10, 1 << 20
	// blocksAimed is how many blocks an arena has at least, size permitting:
	// with fewer, size classes would crowd each other out.
	blocksAimed = 128
	// victimSample is how many blocks are looked at to find one to empty, and
	// doubled with every attempt; ownSample is how many residents of one block
	// compete for staying.
	victimSample, ownSample = 16, 16
	// poisonByte fills released slots in instrumented builds.
	poisonByte = 0xDB
)

// slot is a piece of a block. The zero slot is none.
type slot struct {
	b *block
	i int
}

// mem returns the slot's bytes. Valid until the slot is freed.
func (s slot) mem() []byte {
	off := s.i * s.b.slotSize
	return s.b.mem[off : off+s.b.slotSize : off+s.b.slotSize]
}

// size returns the slot's size in bytes, 0 for none.
func (s slot) size() int64 {
	if s.b == nil {
		return 0
	}
	return int64(s.b.slotSize)
}

// block is guarded by its arena's lock, but for mem and slotSize, which do not
// change while a slot of it is in use.
type block struct {
	mem      []byte
	class    int // -1 while free
	slotSize int
	slots    int
	used     int
	taken    []uint64 // a bit per slot
	hint     int      // no word of taken before this one has a free bit
	owners   []*entry // a resident per slot
	partial  int      // place in its class's list of partial blocks, or -1
	place    int      // place in arena.blocks
}

// arena hands out slots. Safe for concurrent use; its lock is a leaf: nothing
// is called while it is held.
type arena struct {
	blockSize int
	limit     int64
	onHeap    bool
	poison    bool
	classes   []int // slot sizes, ascending

	mu      sync.Mutex
	blocks  []*block   // all mapped blocks
	free    []*block   // those of no class
	partial [][]*block // by class: blocks with both free and taken slots
	charged int64      // bytes charged that are not in blocks
	inUse   int64      // bytes of slots handed out
	refused error      // why the system last refused memory; taken by trouble
	closed  bool
}

// newArena returns an arena of limit bytes whose blocks hold at least one slot
// of atLeast bytes (a power of two).
func newArena(limit int64, atLeast int, onHeap, poison bool) *arena {
	size := minBlock
	for size < maxBlock && int64(size)*2*blocksAimed <= limit {
		size *= 2
	}
	size = max(size, atLeast)
	a := &arena{blockSize: size, limit: limit, onHeap: onHeap, poison: poison, classes: slotClasses(size)}
	a.partial = make([][]*block, len(a.classes))
	return a
}

// slotClasses returns the slot sizes for blocks of a size: four a doubling,
// then the even divisions of a block, so that no more than about a fifth of a
// slot is wasted where the choice of what is stored is not adversarial.
func slotClasses(blockSize int) []int {
	var classes []int
	for size := minSlot; size <= blockSize/8; size *= 2 {
		for i := range 4 {
			if c := size + i*size/4; c < blockSize/8 {
				classes = append(classes, c)
			}
		}
	}
	for n := 8; n >= 1; n-- {
		classes = append(classes, blockSize/n&^63)
	}
	return classes
}

// classFor returns the smallest class whose slots hold n bytes, or -1.
func (a *arena) classFor(n int) int {
	lo, hi := 0, len(a.classes)
	for lo < hi {
		mid := (lo + hi) / 2
		if a.classes[mid] < n {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo == len(a.classes) {
		return -1
	}
	return lo
}

// alloc returns a slot of at least n bytes that belongs to owner, or false
// where there is none without making room first.
func (a *arena) alloc(n int, owner *entry) (slot, bool) {
	class := a.classFor(n)
	if class < 0 {
		return slot{}, false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	list := a.partial[class]
	var b *block
	if len(list) > 0 {
		b = list[len(list)-1]
	} else if b = a.takeBlock(class); b == nil {
		return slot{}, false
	}
	i := b.take()
	b.owners[i] = owner
	if b.used == b.slots {
		a.unlist(b)
	}
	a.inUse += int64(b.slotSize)
	return slot{b, i}, true
}

// takeBlock cuts a free or new block for a class and lists it as partial.
func (a *arena) takeBlock(class int) *block {
	var b *block
	if n := len(a.free); n > 0 {
		b = a.free[n-1]
		a.free = a.free[:n-1]
	} else if b = a.mapBlock(); b == nil {
		return nil
	}
	b.class, b.slotSize = class, a.classes[class]
	b.slots, b.used, b.hint = a.blockSize/b.slotSize, 0, 0
	words := (b.slots + 63) / 64
	b.taken = make([]uint64, words)
	if tail := b.slots % 64; tail != 0 {
		b.taken[words-1] = ^uint64(0) << tail // there are no such slots
	}
	b.owners = make([]*entry, b.slots)
	b.partial = len(a.partial[class])
	a.partial[class] = append(a.partial[class], b)
	return b
}

// mapBlock adds a block, or returns nil where the limit or the system refuses.
func (a *arena) mapBlock() *block {
	if a.closed || int64(len(a.blocks)+1)*int64(a.blockSize)+a.charged > a.limit {
		return nil
	}
	b := &block{class: -1, partial: -1, place: len(a.blocks)}
	if a.onHeap {
		b.mem = make([]byte, a.blockSize)
	} else {
		mem, err := unix.Mmap(-1, 0, a.blockSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
		if err != nil {
			a.refused = fmt.Errorf("storage: mapping %d bytes: %w", a.blockSize, err)
			return nil // the store is as full as it can be
		}
		b.mem = mem
	}
	a.blocks = append(a.blocks, b)
	return b
}

// unmapBlock gives a free block, already off the free list, back.
func (a *arena) unmapBlock(b *block) {
	last := len(a.blocks) - 1
	a.blocks[b.place] = a.blocks[last]
	a.blocks[b.place].place = b.place
	a.blocks[last] = nil
	a.blocks = a.blocks[:last]
	if !a.onHeap {
		if err := unix.Munmap(b.mem); err != nil {
			panic(fmt.Sprintf("storage: munmap of a block of %d bytes: %v", a.blockSize, err))
		}
	}
	b.mem = nil
}

// take marks a free slot as taken and returns its place. There is one.
func (b *block) take() int {
	for w := b.hint; ; w++ {
		if free := ^b.taken[w]; free != 0 {
			bit := bits.TrailingZeros64(free)
			b.taken[w] |= 1 << bit
			b.hint = w
			b.used++
			return w*64 + bit
		}
	}
}

// unlist takes b off its class's list of partial blocks.
func (a *arena) unlist(b *block) {
	list := a.partial[b.class]
	last := len(list) - 1
	list[b.partial] = list[last]
	list[b.partial].partial = b.partial
	list[last] = nil
	a.partial[b.class] = list[:last]
	b.partial = -1
}

// release takes a slot back. Its bytes must not be touched any more.
func (a *arena) release(s slot) {
	if s.b == nil {
		return
	}
	if a.poison {
		mem := s.mem()
		for i := range mem {
			mem[i] = poisonByte
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	b, w, bit := s.b, s.i/64, uint64(1)<<(s.i%64)
	if b.class < 0 || b.taken[w]&bit == 0 {
		panic("storage: slot released twice")
	}
	b.taken[w] &^= bit
	b.hint = min(b.hint, w)
	b.owners[s.i] = nil
	b.used--
	a.inUse -= int64(b.slotSize)
	if b.partial < 0 {
		b.partial = len(a.partial[b.class])
		a.partial[b.class] = append(a.partial[b.class], b)
	}
	if b.used == 0 {
		a.unlist(b)
		b.class, b.owners, b.taken = -1, nil, nil
		if a.closed {
			a.unmapBlock(b)
		} else {
			a.free = append(a.free, b)
		}
	}
}

// charge counts n bytes that live elsewhere (the Go heap) against the limit,
// giving free blocks back to the system where that makes room.
func (a *arena) charge(n int64) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for int64(len(a.blocks))*int64(a.blockSize)+a.charged+n > a.limit {
		last := len(a.free) - 1
		if last < 0 {
			return false
		}
		b := a.free[last]
		a.free = a.free[:last]
		a.unmapBlock(b)
	}
	a.charged += n
	return true
}

// discharge takes a charge back.
func (a *arena) discharge(n int64) {
	a.mu.Lock()
	a.charged -= n
	a.mu.Unlock()
}

// setOwner makes e the one to evict for the slot's sake.
func (a *arena) setOwner(s slot, e *entry) {
	if s.b == nil {
		return
	}
	a.mu.Lock()
	s.b.owners[s.i] = e
	a.mu.Unlock()
}

// used returns the bytes handed out and charged.
func (a *arena) used() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.inUse + a.charged
}

// mapped returns the bytes of the blocks that lie outside the Go heap.
func (a *arena) mapped() int64 {
	if a.onHeap {
		return 0
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return int64(len(a.blocks)) * int64(a.blockSize)
}

// trouble returns why the system refused memory since it was last asked.
func (a *arena) trouble() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	err := a.refused
	a.refused = nil
	return err
}

// pressed reports whether less than one part in n of the limit is left.
func (a *arena) pressed(n int64) bool { return a.used() > a.limit-a.limit/n }

// close makes the arena give every block back as it empties.
func (a *arena) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	for _, b := range a.free {
		a.unmapBlock(b)
	}
	a.free = nil
}

// victims appends to dst residents whose eviction would make room for n bytes,
// and says whether all of them must go or any one will do. All: those of a
// sparsely used block of another class, or of any block where n's class has
// none. One: some of a block of n's own class. Residents that somebody reads
// or writes are of no use: their slots stay taken. It looks at sample blocks.
func (a *arena) victims(dst []*entry, n, sample int) (_ []*entry, all bool) {
	class := a.classFor(n)
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.blocks) == 0 {
		return dst, false
	}
	var sparse, own *block
	for range min(sample, 4*len(a.blocks)) {
		b := a.blocks[rand.IntN(len(a.blocks))]
		switch {
		case b.class < 0:
		case b.class == class:
			if own == nil && slices.ContainsFunc(b.owners, idle) {
				own = b
			}
		case (sparse == nil || b.inUse() < sparse.inUse()) && !slices.ContainsFunc(b.owners, busy):
			sparse = b
		}
	}
	switch {
	case sparse != nil && (own == nil || sparse.inUse() < a.blockSize/2):
		return appendOwners(dst, sparse.owners, len(sparse.owners)), true
	case own != nil:
		from := rand.IntN(own.slots)
		dst = appendOwners(dst, own.owners[from:], ownSample)
		return appendOwners(dst, own.owners[:from], ownSample-len(dst)), false
	}
	return dst, false
}

func (b *block) inUse() int { return b.used * b.slotSize }

// idle reports whether evicting e would free its slots: it is in the index,
// and nobody but the index holds it.
func idle(e *entry) bool { return e != nil && e.indexed.Load() && e.refs.n.Load() == 1 }

// busy reports whether a slot that belongs to e could not be freed just now.
func busy(e *entry) bool { return e != nil && !idle(e) }

// appendOwners appends up to most idle owners.
func appendOwners(dst, owners []*entry, most int) []*entry {
	for _, e := range owners {
		if most > 0 && idle(e) {
			dst = append(dst, e)
			most--
		}
	}
	return dst
}
