package tiered

import (
	"context"
	"encoding/binary"
	"testing"
	"time"

	"edge/cache/storage"
	"edge/cache/storage/disk"
	"edge/message"
)

// admission is a small store under test, and how it is used.
type admission struct {
	t  *testing.T
	st *Store
}

func openAdmission(t *testing.T, minUses int) *admission {
	t.Helper()
	clock := func() message.Instant { return message.Instant(time.Now().UnixNano()) }
	st, err := Open(Options{
		Memory:  storage.MemoryOptions{Size: 8 << 20, Clock: clock},
		Disk:    disk.Options{Clock: clock, FlushInterval: time.Millisecond, Disks: []disk.Disk{{Path: t.TempDir(), Size: 16 << 20}}},
		MinUses: minUses,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	return &admission{t, st}
}

func admissionKey(n int) (k storage.Key) {
	binary.LittleEndian.PutUint64(k[:], uint64(n)*0x9e3779b97f4a7c15)
	binary.LittleEndian.PutUint64(k[8:], uint64(n)*0xbf58476d1ce4e5b9)
	return k
}

// store fetches object n of 32 KiB, as on a miss.
func (a *admission) store(n int) {
	a.t.Helper()
	const size = 32 << 10
	head := &message.Stored{Status: 200, Head: []byte("ETag: \"v1\"\r\n"), Length: size}
	w, err := a.st.Begin(&storage.Proposal{Key: admissionKey(n), Stored: head, Scheme: "http",
		Authority: []byte("example.com"), Target: []byte("/"), Total: size})
	if err != nil {
		a.t.Fatal(err)
	}
	if err := w.Write(context.Background(), make([]byte, size)); err != nil {
		a.t.Fatal(err)
	}
	if err := w.Commit(nil); err != nil {
		a.t.Fatal(err)
	}
}

// find reports whether object n is found, as a request would.
func (a *admission) find(n int) bool {
	list := a.st.Lookup(nil, admissionKey(n))
	for _, e := range list {
		e.Release()
	}
	return len(list) > 0
}

func (a *admission) onDisk(n int) bool { return a.st.disk.Has(admissionKey(n), nil) }

// fill stores objects from first on until the disk is full, and returns the next.
func (a *admission) fill(first int) int {
	a.t.Helper()
	for n := first; n < first+10000; n++ {
		if a.st.disk.Crowded(admissionKey(n)) {
			return n
		}
		if a.store(n); n%32 == 0 {
			time.Sleep(time.Millisecond) // the flusher's turn
		}
	}
	a.t.Fatal("the disk never fills")
	return 0
}

// A disk with room takes what is fetched once; a full one what is fetched twice, or
// is found in memory.
func TestAdmissionToAFullDisk(t *testing.T) {
	a := openAdmission(t, 1)
	if a.store(1); !a.onDisk(1) {
		t.Error("a disk with room did not take what was fetched once")
	}
	n := a.fill(2)
	if a.store(n); a.onDisk(n) || !a.find(n) {
		t.Errorf("fetched once: on the full disk %v; want in memory only", a.onDisk(n))
	}
	a.find(n)
	for end := time.Now().Add(time.Minute); !a.onDisk(n); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("found in memory, and never written to the disk")
		}
		a.find(n)
	}
	if a.store(n + 1); a.onDisk(n + 1) {
		t.Error("another one fetched once is on the full disk")
	}
	if a.store(n + 1); !a.onDisk(n + 1) {
		t.Error("what was fetched twice is not on the full disk")
	}
}

// min_uses counts fetches, also where there is room.
func TestAdmissionByUses(t *testing.T) {
	a := openAdmission(t, 3)
	for use := 1; use <= 3; use++ {
		if a.store(1); a.onDisk(1) != (use >= 3) {
			t.Errorf("fetched %d times of 3: on the disk %v", use, a.onDisk(1))
		}
	}
}
