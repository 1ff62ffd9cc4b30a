package storage

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"testing"
)

// heapNow returns the live heap's bytes and objects.
func heapNow() (bytes, objects int64) {
	runtime.GC()
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return int64(s.HeapAlloc), int64(s.HeapObjects)
}

// TestEntryOverhead: what an entry costs on the Go heap is what the budget is
// charged for it.
func TestEntryOverhead(t *testing.T) {
	if instrumented {
		t.Log("slabs are on the heap in this build; measured in plain builds")
		return
	}
	const n = 30000
	m := open(t, MemoryOptions{Size: 128 << 20})
	body := make([]byte, 1024)
	bytes, objects := heapNow()
	for i := range n {
		if err := put(t, m, i, body); err != nil {
			t.Fatal(err)
		}
	}
	m.judge.settle()
	b, o := heapNow()
	bytes, objects = (b-bytes)/n, (o-objects)/n
	t.Logf("%d bytes and %d objects of heap an entry; %d bytes charged", bytes, objects, entryOverhead)
	if bytes > entryOverhead || bytes < entryOverhead/2 {
		t.Errorf("an entry costs %d bytes of heap, the budget is charged %d", bytes, entryOverhead)
	}
	if objects > 2 {
		t.Errorf("%d heap objects an entry, 2 at most", objects)
	}
	runtime.KeepAlive(m)
}

func BenchmarkLookupHit(b *testing.B) {
	m := open(b, MemoryOptions{Size: 64 << 20})
	const n = 1 << 12
	keys := make([]Key, n)
	for i := range n {
		keys[i] = keyOf(i)
		if err := put(b, m, i, make([]byte, 1024)); err != nil {
			b.Fatal(err)
		}
	}
	hit := func(dst []Entry, key Key) []Entry {
		dst = m.Lookup(dst[:0], key)
		if dst[0].Stored().Status != 200 || len(dst[0].Bytes()) != 1024 {
			b.Fatal("wrong entry")
		}
		dst[0].Release()
		return dst
	}
	b.Run("one key", func(b *testing.B) {
		b.ReportAllocs()
		dst := make([]Entry, 0, 4)
		for b.Loop() {
			dst = hit(dst, keys[0])
		}
	})
	b.Run("many keys", func(b *testing.B) {
		b.ReportAllocs()
		dst := make([]Entry, 0, 4)
		for i := 0; b.Loop(); i++ {
			dst = hit(dst, keys[i%n])
		}
	})
	b.Run("parallel one key", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			dst := make([]Entry, 0, 4)
			for pb.Next() {
				dst = hit(dst, keys[0])
			}
		})
	})
	b.Run("parallel many keys", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			dst := make([]Entry, 0, 4)
			for i := 0; pb.Next(); i++ {
				dst = hit(dst, keys[i%n])
			}
		})
	})
}

func BenchmarkStore(b *testing.B) {
	m := open(b, MemoryOptions{Size: 64 << 20})
	body := make([]byte, 1024)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if err := put(b, m, i, body); err != nil {
			b.Fatal(err)
		}
	}
}

// resident returns the process's resident memory in bytes, 0 where the system
// does not tell.
func resident() int64 {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	var size, pages int64
	if _, err := fmt.Sscan(string(b), &size, &pages); err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}

// TestResidentMemory: a full store takes no more than its budget, and what the
// garbage collector adds to the part that is on the heap.
func TestResidentMemory(t *testing.T) {
	if instrumented || resident() == 0 {
		t.Log("measured in plain builds on Linux")
		return
	}
	const size = 64 << 20
	debug.FreeOSMemory()
	before := resident()
	m := open(t, MemoryOptions{Size: size})
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range 60000 {
		if err := put(t, m, i, make([]byte, 1<<rnd.IntN(15))); err != nil {
			t.Fatal(err)
		}
	}
	s := m.Stats()
	debug.FreeOSMemory()
	took := resident() - before
	t.Logf("%d MiB resident for a budget of %d; %d entries, %d MiB in use", took>>20, size>>20, s.Entries, s.Bytes>>20)
	if most := int64(size + size*15/100 + 8<<20); took > most {
		t.Errorf("%d bytes resident, at most %d", took, most)
	}
	if s.Bytes < size*3/4 {
		t.Errorf("only %d of %d bytes are in use", s.Bytes, size)
	}
}
