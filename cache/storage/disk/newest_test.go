package disk

import (
	"bytes"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"edge/cache/storage/storagetest"
	"edge/cache/storage/vfs"
	"edge/message"
)

// alarm is what a start says where the newest segment is lost.
const alarm = "newest segment is lost"

// started is a store that was opened, and what it said.
type started struct {
	*Store
	t   *testing.T
	log bytes.Buffer // read it when the store is closed
}

func start(t *testing.T, fs vfs.FS) *started {
	t.Helper()
	s := &started{t: t}
	var err error
	if s.Store, err = Open(Options{Disks: []Disk{{"/disk", 512 << 10}}, ChunkSize: 8 << 10, SegmentSize: 64 << 10, FS: fs, Clock: testClock,
		FlushInterval: 50 * time.Millisecond, SyncInterval: 200 * time.Millisecond, Logger: slog.New(slog.NewTextHandler(&s.log, nil))}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Store.Close() }) // where the test fails before it does
	return s
}

// stop closes it, and wants it to have given the alarm so often.
func (s *started) stop(alarms int) {
	s.t.Helper()
	if err := s.Close(); err != nil {
		s.t.Fatal(err)
	}
	if n := strings.Count(s.log.String(), alarm); n != alarms {
		s.t.Errorf("%d alarms, want %d:\n%s", n, alarms, s.log.String())
	}
}

// valid wants a key to be found, as it was stored or not.
func (s *started) valid(key int, want bool) {
	s.t.Helper()
	list := s.Lookup(nil, storagetest.Key(key))
	if len(list) != 1 {
		s.t.Fatalf("%d of key %d are found", len(list), key)
	}
	if got := !list[0].Stored().Terms.Flags.Has(message.TermInvalidated); got != want {
		s.t.Errorf("key %d is valid: %v, want %v", key, got, want)
	}
	list[0].Release()
}

// segmentsOf returns the names of a disk's segments.
func segmentsOf(t *testing.T, fs vfs.FS) []string {
	t.Helper()
	names, err := fs.List("/disk")
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(names, func(n string) bool { return !strings.HasSuffix(n, ".seg") })
}

// loseNewest takes the newest segments away, with all that belongs to them.
func loseNewest(t *testing.T, fs vfs.FS, n int) {
	t.Helper()
	list := segmentsOf(t, fs)
	for _, name := range list[len(list)-n:] {
		if err := fs.Remove("/disk/" + name); err != nil {
			t.Fatal(err)
		}
		_ = fs.Remove("/disk/" + strings.TrimSuffix(name, ".seg") + ".idx") // it need not have one
	}
}

// TestNewestSegmentWithoutATrace: a newest segment that is lost with all that belongs to it
// is missed, whatever ended the process that wrote it, and however many are lost with it: what
// was invalidated there is not found valid, at that start and at those that follow.
func TestNewestSegmentWithoutATrace(t *testing.T) {
	for _, end := range []string{"stopped", "killed", "power lost"} {
		for lost := 1; lost <= 2; lost++ {
			t.Run(fmt.Sprint(end, " ", lost), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { testNewestSegmentWithoutATrace(t, end, lost) })
			})
		}
	}
}

func testNewestSegmentWithoutATrace(t *testing.T, end string, lost int) {
	fs := vfs.NewMem()
	st := start(t, fs)
	for i := range 32 { // segments 1 and 2, and more
		if err := keep(st.Store, i, 1, 4000); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
	}
	if n := st.Invalidate(storagetest.Key(0)); n != 1 {
		t.Fatalf("%d were invalidated", n)
	}
	time.Sleep(time.Second)
	switch end {
	case "killed":
		fs = fs.Killed()
	case "power lost":
		fs = fs.Crashed(nil)
	}
	st.stop(0)
	loseNewest(t, fs, lost)
	for round := range 2 { // of which nothing was written
		st = start(t, fs)
		if list := st.Lookup(nil, storagetest.Key(0)); len(list) != 1 || !list[0].Stored().Terms.Flags.Has(message.TermInvalidated) {
			t.Errorf("start %d: %d found, or one that is valid", round, len(list))
		} else {
			list[0].Release()
		}
		st.stop(1)
	}
	st = start(t, fs)
	if err := keep(st.Store, 100, 1, 4000); err != nil {
		t.Fatal(err)
	}
	st.stop(1)
	for range 2 {
		st = start(t, fs) // the gap tells
		st.valid(0, false)
		st.valid(100, true)
		st.stop(0)
	}
}

// TestNewestOfAnEarlierVersion: a disk that does not say which segment is the newest is as
// good as any, and says so from then on; so is one that was emptied, whatever is left behind.
func TestNewestOfAnEarlierVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := vfs.NewMem()
		fill := func(key int) {
			st := start(t, fs)
			if err := keep(st.Store, key, 1, 4000); err != nil {
				t.Fatal(err)
			}
			st.stop(0)
		}
		fill(1)
		fill(2)
		if err := fs.Remove("/disk/" + newestName); err != nil {
			t.Fatal(err)
		}
		st := start(t, fs)
		st.valid(1, true)
		st.stop(0)
		loseNewest(t, fs, 1)
		st = start(t, fs)
		st.valid(1, false)
		st.stop(1)
		loseNewest(t, fs, 1) // and that is all
		fill(3)
		st = start(t, fs)
		st.valid(3, true)
		st.stop(0)
		f, err := fs.Open("/disk/" + newestName)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Truncate(newestLength / 2); err != nil { // torn
			t.Fatal(err)
		}
		st = start(t, fs)
		st.valid(3, true)
		st.stop(0)
	})
}

// TestNoFalseAlarm: whenever the process is killed, or power is lost, while segments are
// begun, filled and reclaimed, and whatever of it fails, no start misses a segment.
func TestNoFalseAlarm(t *testing.T) {
	for _, how := range []string{"all goes well", "it cannot be noted", "it is torn"} {
		t.Run(how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { testNoFalseAlarm(t, how) })
		})
	}
}

func testNoFalseAlarm(t *testing.T, how string) {
	mem, rnd := vfs.NewMem(), rand.New(rand.NewPCG(4, 4))
	faulty := vfs.NewFaulty(mem)
	st := start(t, faulty)
	var mu sync.Mutex
	var worlds []*vfs.Mem
	seen, tried, noted := 0, 0, 0
	faulty.Set(func(op vfs.Op, name string) error {
		mu.Lock()
		defer mu.Unlock()
		mark := strings.HasSuffix(name, newestName)
		if seen++; mark && how != "it cannot be noted" || seen%29 == 0 || op == vfs.OpCreate || op == vfs.OpRemove || op == vfs.OpSyncDir {
			switch tried++; tried % 3 { // there are many
			case 0:
				worlds = append(worlds, mem.Killed())
			case 1:
				worlds = append(worlds, mem.Crashed(nil))
			case 2:
				worlds = append(worlds, mem.Crashed(rnd))
			}
		}
		if mark && op == vfs.OpWrite {
			noted++
			if how == "it cannot be noted" || how == "it is torn" && noted%3 == 0 {
				return syscall.ENOSPC // half of it is written
			}
		}
		return nil
	})
	for i := range 140 {
		if err := keep(st.Store, i, uint64(i), 4000); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
	}
	if list := segmentsOf(t, mem); list[0] == "00000001.seg" {
		t.Fatal("nothing was reclaimed")
	}
	st.stop(0)
	if noted < 7 || len(worlds) < 40 {
		t.Fatalf("%d notes and %d worlds: nothing was tried", noted, len(worlds))
	}
	for _, world := range worlds {
		st := start(t, world)
		if st.stop(0); t.Failed() {
			return
		}
	}
	t.Logf("%d worlds", len(worlds))
}

// FuzzNewest: whatever the file says, only what was written whole is believed.
func FuzzNewest(f *testing.F) {
	f.Add(newestLine(1))
	f.Add(newestLine(1 << 31))
	f.Add(newestLine(math.MaxUint32))
	f.Add([]byte("edge newest 1: ffffffff 00000000\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if id := parseNewest(b); id > maxNumber || id != 0 && !bytes.Equal(b, newestLine(id)) {
			t.Errorf("%q says %d", b, id)
		}
	})
}
