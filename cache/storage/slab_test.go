package storage

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

func TestSlotClasses(t *testing.T) {
	for size := minBlock; size <= maxBlock; size *= 2 {
		classes := slotClasses(size)
		a := &arena{classes: classes}
		for i, c := range classes {
			if i > 0 && c <= classes[i-1] {
				t.Fatalf("block of %d: classes %v do not ascend", size, classes)
			}
			if a.classFor(c) != i || i > 0 && a.classFor(classes[i-1]+1) != i {
				t.Fatalf("block of %d: class of %d is %d, want %d", size, c, a.classFor(c), i)
			}
		}
		if classes[0] != minSlot || classes[len(classes)-1] != size || a.classFor(size+1) != -1 {
			t.Fatalf("block of %d: classes %v", size, classes)
		}
		// What is wasted: never more than a slot of half the size would do.
		for n := minSlot; n <= size; n += 1 + n/100 {
			if c := classes[a.classFor(n)]; c > 2*n {
				t.Fatalf("%d bytes take %d", n, c)
			}
		}
	}
}

// TestArenaSlotsAreDisjoint: random allocation and release; every slot keeps
// what was written into it until it is released, and the limit holds.
func TestArenaSlotsAreDisjoint(t *testing.T) {
	const limit = 1 << 20
	type held struct {
		s    slot
		fill byte
	}
	for _, onHeap := range []bool{false, true} {
		a := newArena(limit, 4096, onHeap, true)
		rnd := rand.New(rand.NewPCG(1, 2))
		var list []held
		full := 0
		for range 20000 {
			if rnd.IntN(5) < 3 {
				s, ok := a.alloc(1+rnd.IntN(1<<rnd.IntN(14)), nil)
				if !ok {
					full++
					continue
				}
				h := held{s, byte(rnd.Uint32())}
				for i := range s.mem() {
					s.mem()[i] = h.fill
				}
				list = append(list, h)
			} else if len(list) > 0 {
				i := rnd.IntN(len(list))
				h := list[i]
				if m := h.s.mem(); bytes.Count(m, []byte{h.fill}) != len(m) {
					t.Fatal("a slot was written by another")
				}
				a.release(h.s)
				list[i] = list[len(list)-1]
				list = list[:len(list)-1]
			}
			if mapped := len(a.blocks) * a.blockSize; mapped > limit || a.used() > limit {
				t.Fatalf("%d bytes mapped, %d used, of %d", mapped, a.used(), limit)
			}
		}
		if full == 0 {
			t.Fatal("the arena never filled: nothing was tested")
		}
		for _, h := range list {
			a.release(h.s)
		}
		if a.used() != 0 || len(a.free) != len(a.blocks) {
			t.Fatalf("%d bytes used, %d of %d blocks free, after everything was released", a.used(), len(a.free), len(a.blocks))
		}
		a.close()
		if len(a.blocks) != 0 {
			t.Fatalf("%d blocks mapped after close", len(a.blocks))
		}
	}
}

func TestArenaPoisonsAndCatchesDoubleRelease(t *testing.T) {
	a := newArena(1<<20, 4096, true, true)
	keep, _ := a.alloc(1000, nil) // so that the block stays
	s, _ := a.alloc(1000, nil)
	mem := s.mem()
	mem[0], mem[999] = 1, 2
	a.release(s)
	if mem[0] != poisonByte || mem[999] != poisonByte {
		t.Fatal("a released slot was not poisoned")
	}
	defer func() {
		if recover() == nil {
			t.Fatal("a second release went unnoticed")
		}
		a.release(keep)
	}()
	a.release(s)
}

func TestArenaChargesCompeteWithBlocks(t *testing.T) {
	a := newArena(1<<20, 4096, true, false)
	var list []slot
	for {
		s, ok := a.alloc(4096, nil)
		if !ok {
			break
		}
		list = append(list, s)
	}
	if a.charge(1<<10) && len(a.blocks)*a.blockSize+1<<10 > 1<<20 {
		t.Fatal("a charge beyond the limit")
	}
	for _, s := range list {
		a.release(s)
	}
	if !a.charge(1 << 19) {
		t.Fatal("free blocks did not make way for a charge")
	}
	if n := len(a.blocks) * a.blockSize; n > 1<<19 {
		t.Fatalf("%d bytes stay mapped", n)
	}
	a.discharge(1<<19 + 1<<10)
}

// TestCalcification: when what is asked for changes its size, the blocks
// follow.
func TestCalcification(t *testing.T) {
	m := open(t, MemoryOptions{Size: 4 << 20, ChunkSize: 16 << 10})
	first := 0
	for round, size := range []int{1000, 12000, 300, 5000, 16000, 700} {
		count := 2 << 20 / (size + entryOverhead) // about half the budget
		for range 40 {
			for i := first; i < first+count; i++ {
				if has(m, i) {
					continue
				}
				if err := put(t, m, i, make([]byte, size)); err != nil {
					t.Fatalf("round %d, %d bytes: %v", round, size, err)
				}
			}
			m.judge.flush() // however slow the machine is, all were counted
			m.judge.settle()
		}
		kept := 0
		for i := first; i < first+count; i++ {
			if has(m, i) {
				kept++
			}
		}
		t.Logf("round %d: %d of %d objects of %d bytes are kept", round, kept, count, size)
		if kept < count/4 {
			t.Errorf("round %d: only %d of %d objects of %d bytes are kept", round, kept, count, size)
		}
		first += count
	}
}
