package tiered

import (
	"fmt"
	"math/rand/v2"
	"os"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"edge/cache/storage"
)

// What TestStress and TestStressCrash purge by: each key has one of so many prefixes
// and one of so many tags.
const (
	stressPrefixes = 8
	stressTags     = 6
)

// purgeLog is a ledger that forgets nothing, and outlives every crash.
type purgeLog struct {
	seq atomic.Uint64

	mu   sync.RWMutex
	list []storage.Taking // by sequence
}

// add puts a purge in force and returns it.
func (l *purgeLog) add(v storage.Verdict, s storage.Selector) storage.Taking {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := storage.Taking{Sequence: l.seq.Load() + 1, Select: []storage.Selector{s}, Verdict: v}
	l.list = append(l.list, p)
	l.seq.Store(p.Sequence)
	return p
}

// Sequence returns the newest purge's number.
func (l *purgeLog) Sequence() uint64 { return l.seq.Load() }

// Judge says what the purges after since do to e.
func (l *purgeLog) Judge(e storage.Entry, since uint64) storage.Verdict {
	l.mu.RLock()
	defer l.mu.RUnlock()
	v, names := storage.Live, e.Names()
	for _, p := range l.list[sort.Search(len(l.list), func(i int) bool { return l.list[i].Sequence > since }):] {
		if names.Selected(p.Select) {
			v = max(v, p.Verdict)
		}
	}
	return v
}

// purge purges a key and what shares some name with it, and has it taken.
func (s *stress) purge(rnd *rand.Rand, k int) {
	sel, same := storage.Selector{Kind: storage.ByURL, Scheme: "http", Authority: "a", Name: stressTarget(k)}, stressKeys
	switch n := rnd.IntN(40); {
	case n < 10:
		sel, same = storage.Selector{Kind: storage.ByTag, Name: fmt.Sprint("t", k%stressTags)}, stressTags
	case n < 20:
		sel = storage.Selector{Kind: storage.ByPrefix, Scheme: "http", Authority: "a", Name: "/" + strconv.Itoa(k%stressPrefixes) + "/"}
		same = stressPrefixes
	case n == 20:
		sel, same = storage.Selector{Kind: storage.ByHost, Authority: "a"}, 1
	case n == 21:
		sel, same = storage.Selector{Kind: storage.Everything}, 1
	}
	verdict := storage.Removed
	if rnd.IntN(3) == 0 {
		verdict = storage.Stale
	}
	var keys []int // those that are selected and take turns
	for at := k % same; at < stressKeys; at += same {
		if at%2 == 0 {
			s.locks[at].Lock()
			defer s.locks[at].Unlock()
			keys = append(keys, at)
		}
	}
	s.takes.Lock()
	s.st.Take([]storage.Taking{s.ledger.add(verdict, sel)})
	s.takes.Unlock()
	for _, at := range keys {
		for i, made := range s.made(at) {
			x := &s.slots[at][i]
			if verdict == storage.Stale {
				raise(&x.soft, made+1)
				continue
			}
			raise(&x.floor, made+1)
			raise(&x.purged, made+1)
		}
	}
}

// TestStressCrash is TestStress with processes that are killed, and machines that lose
// power, while everything goes on: what was stored, removed and invalidated before all
// was written (or synced) counts still, and every purge does.
func TestStressCrash(t *testing.T) {
	for until := time.Now(); ; {
		testStressCrash(t, rand.Uint64())
		if os.Getenv("EDGE_LONG") == "" || t.Failed() || time.Since(until) > 2*time.Minute {
			return
		}
	}
}

func testStressCrash(t *testing.T, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	s := openStress(t)
	for range 6 {
		s.run(time.Duration(100+rnd.IntN(200)) * time.Millisecond)
		power := rnd.IntN(2) == 0
		s.settle(power)
		before := s.known()
		going := make(chan struct{})
		go func() {
			defer close(going)
			s.run(time.Duration(50+rnd.IntN(100)) * time.Millisecond)
		}()
		time.Sleep(time.Duration(rand.IntN(100)) * time.Millisecond)
		left := s.fs.Killed()
		if power {
			left = s.fs.Crashed(rand.New(rand.NewPCG(rand.Uint64(), 2)))
		}
		<-going
		if err := s.st.Close(); err != nil { // of the other world, for its goroutines' sake
			t.Error(err)
		}
		s.forget(before)
		s.fs, s.lostPower = left, s.lostPower || power
		s.memory = []int64{storage.MinMemory, 512 << 10, 1 << 20, 4 << 20}[rand.IntN(4)]
		s.open()
		looks := rand.New(rand.NewPCG(rand.Uint64(), 3))
		for k := range stressKeys {
			s.look(looks, k, k%2 == 0)
		}
		if t.Failed() {
			t.Fatalf("after a crash; power was lost: %v", power)
		}
	}
	s.agree()
	if err := s.st.Close(); err != nil {
		t.Error(err)
	}
}

// settle waits until everything that was done is written, or synced.
func (s *stress) settle(synced bool) {
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		left := int64(len(s.st.promoter.queue))
		for _, x := range s.st.disk.States() {
			left += x.Unwritten
		}
		if left == 0 && (!synced || s.fs.Safe(isSegment)) {
			return
		}
		if time.Now().After(end) {
			s.t.Fatalf("%d bytes are never written, or not synced: %+v", left, s.st.disk.States())
		}
	}
}

// isSegment tells what matters on a disk: all else can be made anew.
func isSegment(name string) bool { return strings.HasSuffix(name, ".seg") }

// knowledge is what a crash may take slots back to.
type knowledge [stressKeys][stressVariants]struct{ floor, doubt uint64 }

func (s *stress) known() (all knowledge) {
	for k := range all {
		for i := range all[k] {
			all[k][i].floor, all[k][i].doubt = s.slots[k][i].floor.Load(), s.slots[k][i].doubt.Load()
		}
	}
	return all
}

// forget is what a crash does: all that is known is what was known before, and purges.
func (s *stress) forget(before knowledge) {
	for k := range before {
		for i, was := range before[k] {
			x := &s.slots[k][i]
			x.floor.Store(max(was.floor, x.purged.Load()))
			x.doubt.Store(was.doubt)
		}
	}
}
