package disk

import (
	"math/rand/v2"
	"runtime"
	"testing"
	"unsafe"

	"edge/cache/storage"
)

// TestIndex holds the index to a map.
func TestIndex(t *testing.T) {
	var x index
	x.init()
	rnd := rand.New(rand.NewPCG(1, 2))
	type id struct {
		key     storage.Key
		variant uint32
	}
	model := map[id]uint32{}
	for range 200000 {
		k := id{variant: uint32(rnd.IntN(3))}
		k.key[0], k.key[1], k.key[9] = byte(rnd.IntN(8)), byte(rnd.IntN(4)), byte(rnd.IntN(40))
		s := x.shard(&k.key)
		n := x.variant(s, &k.key, k.variant)
		if want, ok := model[k]; ok != (n != 0) || ok && s.row(n).off != want {
			t.Fatalf("%v: row %d, want %v", k, n, ok)
		}
		switch {
		case n == 0:
			off := rnd.Uint32()
			x.insert(s, row{key: k.key, variant: k.variant, off: off})
			model[k] = off
		case rnd.IntN(2) == 0:
			x.delete(s, n)
			delete(model, k)
		}
	}
	rows := 0
	for i := range x.shards {
		rows += x.shards[i].rows
	}
	if rows != len(model) {
		t.Fatalf("%d rows, want %d", rows, len(model))
	}
}

// TestIndexMemory: at most 64 bytes an object, on the Go heap and mapped outside it, and
// nothing for the garbage collector to walk.
func TestIndexMemory(t *testing.T) {
	if unsafe.Sizeof(row{}) != 56 {
		t.Fatalf("a row of %d bytes", unsafe.Sizeof(row{}))
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	x := new(index)
	x.init()
	defer x.memory.release()
	const n = 400000 // the buckets have just grown: as many as there ever are for a row
	rnd := rand.New(rand.NewPCG(1, 2))
	for range n {
		var k storage.Key
		for i := range k {
			k[i] = byte(rnd.Uint32())
		}
		x.insert(x.shard(&k), row{key: k})
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	heap, mapped := float64(after.HeapAlloc-before.HeapAlloc)/n, float64(x.memory.mapped.Load())/n
	t.Logf("%.1f bytes an object, %.1f of them outside the Go heap", heap+mapped, mapped)
	if heap+mapped > 64 || heap+mapped < 56 {
		t.Errorf("%.1f bytes an object", heap+mapped)
	}
	runtime.KeepAlive(x)
}
