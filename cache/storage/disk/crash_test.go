package disk

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"edge/cache/storage"
	"edge/cache/storage/storagetest"
	"edge/cache/storage/vfs"
	"edge/message"
)

// world is a store on a filesystem that can crash, and what was ever stored in it.
type world struct {
	t   *testing.T
	mem *vfs.Mem
	st  *Store
	rnd *rand.Rand
	n   uint64 // the newest version
	// surely has, by key, the newest version that must be found, or none: what
	// was stored and not touched since, when all was flushed (or synced).
	surely map[int]uint64
	ever   map[int]map[uint64]bool // versions of each key that may be found
	inval  map[int]bool            // must not be found valid: invalidated when all was flushed
}

const crashKeys = 40

func testClock() message.Instant { return message.Instant(time.Now().UnixNano()) }

func (w *world) open(fs vfs.FS) {
	w.t.Helper()
	var err error
	w.st, err = Open(Options{Disks: []Disk{{"/disk", 2 << 20}}, ChunkSize: 8 << 10, MaxObject: 200 << 10, FS: fs, Clock: testClock,
		SyncInterval: 2 * time.Second})
	if err != nil {
		w.t.Fatal(err)
	}
	st := w.st
	w.t.Cleanup(func() { _ = st.Close() }) // where the test fails before it does
}

// versionBody returns the body of a version, which says what it should be.
func versionBody(version uint64) []byte {
	rnd := rand.New(rand.NewPCG(version, 1))
	b := make([]byte, 8+rnd.IntN(1<<(4+rnd.IntN(13))))
	for i := range b {
		b[i] = byte(rnd.Uint32())
	}
	binary.LittleEndian.PutUint64(b, version)
	return b
}

// put stores another version of a key, or gives up halfway.
func (w *world) put(key int) {
	w.n++
	body := versionBody(w.n)
	p := &storage.Proposal{Key: storagetest.Key(key), Scheme: "http", Authority: []byte("a"), Target: []byte("/"), Total: int64(len(body)),
		Stored: &message.Stored{Status: 200, Terms: message.Terms{ETag: []byte(fmt.Sprintf(`"%d"`, w.n)), Date: message.Instant(w.n)}}}
	wr, err := w.st.Begin(p)
	if err != nil {
		return // the disk is out
	}
	defer wr.Abort(errors.New("end"))
	cut := len(body)
	if w.rnd.IntN(6) == 0 {
		cut = w.rnd.IntN(len(body))
	}
	if wr.Write(context.Background(), body[:cut]) != nil || cut < len(body) || wr.Commit(nil) != nil {
		return
	}
	if w.ever[key] == nil {
		w.ever[key] = map[uint64]bool{}
	}
	w.ever[key][w.n] = true
	w.surely[key] = w.n
	delete(w.inval, key)
}

// step does one random thing.
func (w *world) step() {
	key := w.rnd.IntN(crashKeys)
	switch w.rnd.IntN(12) {
	case 0:
		for _, e := range w.st.Lookup(nil, storagetest.Key(key)) {
			w.st.Remove(e)
			e.Release()
		}
		delete(w.surely, key)
	case 1:
		w.st.Invalidate(storagetest.Key(key))
		w.inval[key] = true
	case 2:
		for _, e := range w.st.Lookup(nil, storagetest.Key(key)) {
			head := *e.Stored()
			head.Head = []byte("Freshened: yes\r\n")
			head.Terms.Flags &^= message.TermInvalidated
			if w.st.Freshen(e, &head, 0) == nil {
				delete(w.inval, key)
			}
			e.Release()
		}
	case 3:
		time.Sleep(time.Duration(w.rnd.IntN(700)) * time.Millisecond)
	default:
		w.put(key)
	}
}

// check looks at everything: nothing that is found is wrong, and what must be found
// is. It returns how many keys are found.
func (w *world) check(must map[int]uint64, invalid map[int]bool) (found int) {
	w.t.Helper()
	for key := range crashKeys {
		list := w.st.Lookup(nil, storagetest.Key(key))
		var got uint64
		for _, e := range list {
			r := e.Reader(0, -1)
			var body []byte
			var err error
			for p := []byte(nil); err == nil; p, err = r.Next(context.Background()) {
				body = append(body, p...)
			}
			r.Close()
			flags := e.Stored().Terms.Flags
			if len(body) >= 8 {
				got = binary.LittleEndian.Uint64(body)
			}
			whole := len(body) >= 8 && bytes.Equal(body, versionBody(got)) && string(e.Stored().Terms.ETag) == fmt.Sprintf(`"%d"`, got)
			switch {
			case errors.Is(err, storage.ErrGone):
				got = 0 // damage, noticed
			case !whole:
				w.t.Fatalf("key %d: %d bytes that are no version of it: %v", key, len(body), err)
			case !w.ever[key][got]:
				w.t.Fatalf("key %d: version %d was never committed under it", key, got)
			case invalid[key] && !flags.Has(message.TermInvalidated):
				w.t.Fatalf("key %d: version %d is valid, though it was invalidated", key, got)
			default:
				found++
			}
			e.Release()
		}
		if want := must[key]; want != 0 && got < want {
			w.t.Fatalf("key %d: found version %d, want at least %d", key, got, want)
		}
	}
	return found
}

func (w *world) snapshot() (map[int]uint64, map[int]bool) {
	must, invalid := map[int]uint64{}, map[int]bool{}
	for k, v := range w.surely {
		must[k] = v
	}
	for k := range w.inval {
		invalid[k] = true
	}
	return must, invalid
}

// TestCrash: random operations, a crash, and again. What was flushed survives the
// process's being killed, what was synced survives power loss, and nothing is ever
// found that is not what was stored.
func TestCrash(t *testing.T) {
	seeds := uint64(40)
	if os.Getenv("EDGE_LONG") != "" {
		seeds = 1000
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { testCrash(t, seed) })
		})
	}
}

func testCrash(t *testing.T, seed uint64) {
	w := &world{t: t, mem: vfs.NewMem(), rnd: rand.New(rand.NewPCG(seed, 7)), ever: map[int]map[uint64]bool{}}
	w.surely, w.inval = map[int]uint64{}, map[int]bool{}
	w.open(w.mem)
	total := 0
	for round := range 6 {
		for range w.rnd.IntN(120) {
			w.step()
		}
		power := round%2 == 1
		wait := 1100 * time.Millisecond // a flush
		if power {
			wait = 3500 * time.Millisecond // and a sync
		}
		time.Sleep(wait)
		synctest.Wait()
		must, invalid := w.snapshot()
		if w.st.stats.evicted.Load() > 0 {
			clear(must) // too much was stored: anything may have gone
		}
		// More, of which nobody knows what survives.
		for range w.rnd.IntN(40) {
			key := w.rnd.IntN(crashKeys)
			w.put(key)
			delete(invalid, key)
		}
		var next *vfs.Mem
		if power {
			next = w.mem.Crashed(w.rnd)
		} else {
			next = w.mem.Killed()
		}
		if err := w.st.Close(); err != nil { // the other world's, for the goroutines' sake
			t.Fatal(err)
		}
		w.mem = next
		w.open(next)
		total += w.check(must, invalid)
		w.surely, w.inval = map[int]uint64{}, invalid
		for key := range crashKeys { // go on from what was found
			for _, e := range w.st.Lookup(nil, storagetest.Key(key)) {
				if e.Stored().Terms.Flags.Has(message.TermInvalidated) {
					w.inval[key] = true
				}
				e.Release()
			}
		}
	}
	if err := w.st.Close(); err != nil {
		t.Fatal(err)
	}
	if total == 0 {
		t.Fatal("nothing ever survived")
	}
}

// TestFailEach fails every operation once, in turn: no call panics or hangs, nothing
// wrong is found, then or after a restart, and the disk is back within 10 s.
func TestFailEach(t *testing.T) {
	for _, injected := range []error{syscall.EIO, syscall.ENOSPC, syscall.EMFILE} {
		for i := int64(0); ; i++ {
			done := false
			synctest.Test(t, func(t *testing.T) { done = failAt(t, i, injected) })
			if done || t.Failed() {
				t.Logf("%v: %d operations", injected, i)
				break
			}
		}
	}
}

// failAt runs a small life in which operation i fails, and reports whether there is
// no such operation.
func failAt(t *testing.T, i int64, injected error) bool {
	mem := vfs.NewMem()
	faulty := vfs.NewFaulty(mem)
	w := &world{t: t, mem: mem, rnd: rand.New(rand.NewPCG(3, 7)), ever: map[int]map[uint64]bool{}, surely: map[int]uint64{}, inval: map[int]bool{}}
	w.open(faulty)
	hook, count := vfs.FailAt(i, injected, nil)
	faulty.Set(hook)
	for range 60 {
		w.step()
	}
	w.check(nil, nil)
	time.Sleep(1100 * time.Millisecond)
	w.check(nil, nil)
	for range 30 {
		w.step()
	}
	time.Sleep(10 * time.Second)
	if w.st.volumes[0].health.writesOut() || w.st.volumes[0].health.readsOut() {
		t.Fatalf("operation %d failed once, and the disk is still out after 10 s", i)
	}
	before := count()
	delete(w.surely, 1)
	for try := 0; w.surely[1] == 0 && try < 20; try++ { // some are given up
		w.put(1)
	}
	time.Sleep(4 * time.Second)
	must := map[int]uint64{1: w.surely[1]}
	if must[1] == 0 {
		t.Fatal("nothing can be stored")
	}
	if before <= i && count() > i {
		must = nil // it failed meanwhile, so that it may not have been written
	}
	faulty.Set(nil)
	if err := w.st.Close(); err != nil {
		t.Fatal(err)
	}
	w.mem = w.mem.Killed()
	w.open(w.mem)
	w.check(must, w.inval)
	if err := w.st.Close(); err != nil {
		t.Fatal(err)
	}
	return count() <= i
}
