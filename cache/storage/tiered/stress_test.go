package tiered

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"edge/cache/storage"
	"edge/cache/storage/disk"
	"edge/cache/storage/vfs"
	"edge/message"
)

// TestStress does everything at once with a few keys on two tiny disks behind a tiny
// memory, so that all the time something is evicted, reclaimed, promoted and written
// through. What is found says which version it is: its body must be that version's, and
// no version must come back that was replaced, removed, purged or invalidated before
// the look-up began. In the end, both tiers must agree.
func TestStress(t *testing.T) {
	for until := time.Now(); ; {
		s := openStress(t)
		s.run(2 * time.Second)
		s.agree()
		s.reopen()
		s.run(time.Second)
		s.agree()
		t.Logf("%+v; promoted %d, written through %d, refused by the disk %d; %+v", s.st.Stats(), s.st.stats.promoted.Load(),
			s.st.stats.persisted.Load(), s.st.stats.unwritten.Load(), s.st.disk.States()[0])
		if err := s.st.Close(); err != nil {
			t.Error(err)
		}
		if os.Getenv("EDGE_LONG") == "" || t.Failed() || time.Since(until) > 2*time.Minute {
			return
		}
	}
}

const (
	stressKeys     = 48
	stressVariants = 2
	stressWorkers  = 8
)

type stress struct {
	t      *testing.T
	fs     *vfs.Mem
	memory int64 // size
	disks  []disk.Disk
	ledger *purgeLog
	st     *Store
	slots  [stressKeys][stressVariants]slot
	began  uint64                 // the newest purge when st was opened: those up to it were taken of another
	locks  [stressKeys]sync.Mutex // over what changes a key, of those that take turns
	takes  sync.Mutex             // over what takes purges in their order
	// lostPower: a crash has taken the removal of segments back, of some and not of others.
	lostPower bool
}

// slot is what is known of a key and variant.
type slot struct {
	made  atomic.Uint64 // versions, of which a refresh makes one too
	floor atomic.Uint64 // what is found after a call ended that says so is no less
	doubt atomic.Uint64 // what is less is invalid
	soft  atomic.Uint64 // what is less is soft-purged
	// purged is the part of floor that outlives a crash whatever was written by then.
	purged atomic.Uint64
}

func openStress(t *testing.T) *stress {
	s := &stress{t: t, fs: vfs.NewMem(), ledger: &purgeLog{}, memory: 512 << 10,
		disks: []disk.Disk{{Path: "/a", Size: 1 << 20}, {Path: "/b", Size: 1536 << 10}}}
	s.open()
	return s
}

func (s *stress) open() {
	s.began = s.ledger.Sequence()
	var err error
	s.st, err = Open(Options{
		Memory: storage.MemoryOptions{Size: s.memory, MaxObject: 32 << 10, Ledger: s.ledger, Clock: wallClock},
		Disk: disk.Options{Disks: s.disks, FS: s.fs, Ledger: s.ledger, Clock: wallClock,
			FlushInterval: 5 * time.Millisecond, SyncInterval: 20 * time.Millisecond},
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *stress) reopen() {
	if err := s.st.Close(); err != nil {
		s.t.Error(err)
	}
	s.open()
}

// stressTarget is what the key k is the path and query of: of stressPrefixes prefixes one.
func stressTarget(k int) string { return fmt.Sprintf("/%d/%d", k%stressPrefixes, k) }

func stressKey(k int) storage.Key { return storage.URLKey("http", "a", stressTarget(k)) }

// stressHead is version n of a variant, the body of which is of version body.
func stressHead(variant int, n, body uint64) *message.Stored {
	h := binary.LittleEndian.AppendUint64(nil, n)
	s := &message.Stored{Status: 200, Head: binary.LittleEndian.AppendUint64(h, body)}
	s.Terms.ETag = fmt.Appendf(nil, `"%d"`, body)
	if variant > 0 {
		s.Nominated = fmt.Appendf(nil, "variant: %d\r\n", variant)
	}
	return s
}

// stressBody is the body of a version.
func stressBody(k, variant int, n uint64) []byte {
	sizes := [...]int{0, 100, 3 << 10, 12 << 10, 15 << 10, 17 << 10, 40 << 10, 90 << 10}
	var seed [32]byte
	binary.LittleEndian.PutUint64(seed[:], uint64(k))
	binary.LittleEndian.PutUint64(seed[8:], uint64(variant))
	binary.LittleEndian.PutUint64(seed[16:], n)
	rnd := rand.NewChaCha8(seed)
	b := make([]byte, sizes[rnd.Uint64()%uint64(len(sizes))])
	_, _ = rnd.Read(b) // cannot fail
	return b
}

// run has workers do what they do for a while.
func (s *stress) run(d time.Duration) {
	var wg sync.WaitGroup
	end := time.Now().Add(d)
	for i := range stressWorkers {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(rand.Uint64(), uint64(i)))
			for time.Now().Before(end) && !s.t.Failed() {
				s.step(rnd)
			}
		})
	}
	wg.Go(func() { // who carries out what was taken
		for ; time.Now().Before(end); time.Sleep(time.Millisecond) {
			s.takes.Lock()
			s.st.Reap(16)
			now := s.ledger.Sequence()
			for part := range storage.Parts {
				s.st.Judged(s.began, now, part)
			}
			s.takes.Unlock()
		}
	})
	wg.Wait()
}

func (s *stress) step(rnd *rand.Rand) {
	k, variant := rnd.IntN(stressKeys), rnd.IntN(stressVariants)
	if rnd.IntN(4) == 0 {
		k %= 6 // some are asked for more often
	}
	turns := k%2 == 0 // else whoever comes
	change := func(f func()) {
		if turns {
			s.locks[k].Lock()
			defer s.locks[k].Unlock()
		}
		f()
	}
	switch n := rnd.IntN(100); {
	case n < 55:
		s.look(rnd, k, turns)
	case n < 75:
		change(func() { s.store(rnd, k, variant, turns) })
	case n < 80:
		change(func() { s.part(rnd, k, variant, turns) })
	case n < 89:
		change(func() { s.freshen(k, variant, turns) })
	case n < 92:
		change(func() { s.remove(k, variant, turns) })
	case n < 95:
		change(func() {
			made := s.made(k)
			s.st.Invalidate(stressKey(k))
			for i := range made {
				raise(&s.slots[k][i].doubt, made[i]+1)
			}
		})
	case n < 97:
		s.purge(rnd, k)
	case n < 98:
		s.st.Each(func(e storage.Entry) bool { return len(e.Stored().Head) == 16 && rnd.IntN(20) > 0 })
	case n < 99:
		s.st.Find([]storage.Selector{{Kind: storage.ByHost, Authority: "a"}}, func(e storage.Entry) bool { return rnd.IntN(20) > 0 })
	default:
		s.st.Stats()
		s.st.Disk().States()
	}
}

func raise(at *atomic.Uint64, to uint64) {
	for {
		if old := at.Load(); old >= to || at.CompareAndSwap(old, to) {
			return
		}
	}
}

func (s *stress) made(k int) (made [stressVariants]uint64) {
	for i := range made {
		made[i] = s.slots[k][i].made.Load()
	}
	return made
}

func (s *stress) proposal(k, variant int, n uint64, total int) *storage.Proposal {
	return &storage.Proposal{Key: stressKey(k), Stored: stressHead(variant, n, n), Sequence: s.ledger.Sequence(), Scheme: "http",
		Authority: []byte("a"), Target: []byte(stressTarget(k)), Tags: []string{"t", fmt.Sprint("t", k%stressTags)}, Total: int64(total)}
}

// store stores a new version.
func (s *stress) store(rnd *rand.Rand, k, variant int, turns bool) {
	at := &s.slots[k][variant]
	n := at.made.Add(1)
	body := stressBody(k, variant, n)
	p := s.proposal(k, variant, n, len(body))
	if rnd.IntN(4) == 0 {
		p.Total = message.LengthUnknown
	}
	w, err := s.st.Begin(p)
	if err != nil {
		return
	}
	defer w.Abort(errors.New("left off"))
	for len(body) > 0 {
		piece := min(len(body), 1+rnd.IntN(20<<10))
		if rnd.IntN(50) == 0 || w.Write(context.Background(), body[:piece]) != nil {
			return
		}
		body = body[piece:]
	}
	if w.Commit(nil) == nil && turns {
		raise(&at.floor, n)
	}
}

// part stores part of the newest version. It may join what is there or replace it.
func (s *stress) part(rnd *rand.Rand, k, variant int, turns bool) {
	at := &s.slots[k][variant]
	n := at.made.Add(1)
	body := stressBody(k, variant, n)
	if len(body) < 2 {
		return
	}
	p := s.proposal(k, variant, n, len(body))
	p.Part, p.Offset = true, int64(rnd.IntN(len(body)-1))
	w, err := s.st.Begin(p)
	if err != nil {
		return
	}
	defer w.Abort(errors.New("left off"))
	if w.Write(context.Background(), body[p.Offset:]) == nil && w.Commit(nil) == nil {
		if turns {
			raise(&at.floor, n)
		}
	}
}

// freshen makes the next version of what is found, with the body that it has.
func (s *stress) freshen(k, variant int, turns bool) {
	at := &s.slots[k][variant]
	for _, e := range s.st.Lookup(nil, stressKey(k)) {
		if v, _, body := stressOf(e); v == variant {
			seq := s.ledger.Sequence()
			n := at.made.Add(1)
			if s.st.Freshen(e, stressHead(variant, n, body), seq) == nil && turns {
				raise(&at.floor, n)
			}
		}
		e.Release()
	}
}

func (s *stress) remove(k, variant int, turns bool) {
	at := &s.slots[k][variant]
	for _, e := range s.st.Lookup(nil, stressKey(k)) {
		if v, n, _ := stressOf(e); v == variant {
			if s.st.Remove(e); turns {
				raise(&at.floor, n+1)
			}
		}
		e.Release()
	}
}

// stressOf reads what a head says.
func stressOf(e storage.Entry) (variant int, n, body uint64) {
	h := e.Stored()
	if len(h.Nominated) > 0 {
		variant = 1
	}
	return variant, binary.LittleEndian.Uint64(h.Head), binary.LittleEndian.Uint64(h.Head[8:])
}

// look looks a key up and reads what is found.
func (s *stress) look(rnd *rand.Rand, k int, turns bool) {
	var floor, doubt, soft, purged [stressVariants]uint64
	for i := range floor {
		x := &s.slots[k][i]
		floor[i], doubt[i], soft[i], purged[i] = x.floor.Load(), x.doubt.Load(), x.soft.Load(), x.purged.Load()
	}
	for _, e := range s.st.Lookup(nil, stressKey(k)) {
		variant, n, body := stressOf(e)
		flags := e.Stored().Terms.Flags
		// What power took may have been what replaced it; then nobody uses it unvalidated.
		validated := s.lostPower && flags.Has(message.TermInvalidated) && n >= purged[variant]
		switch {
		case turns && n < floor[variant] && !validated:
			s.t.Errorf("key %d variant %d: version %d is back, %d is the oldest there can be (owned by the disk: %v)", k, variant, n, floor[variant], s.st.disk.Owns(e))
		case turns && n < doubt[variant] && !flags.Has(message.TermInvalidated):
			s.t.Errorf("key %d variant %d: version %d is valid again, those before %d are not (owned by the disk: %v)", k, variant, n, doubt[variant], s.st.disk.Owns(e))
		case turns && n < soft[variant] && flags&(message.TermSoftPurged|message.TermInvalidated) == 0:
			s.t.Errorf("key %d variant %d: version %d is fresh again, those before %d are not (owned by the disk: %v)", k, variant, n, soft[variant], s.st.disk.Owns(e))
		case rnd.IntN(3) > 0:
			s.read(rnd, e, k, variant, body)
		}
		e.Release()
	}
}

// read reads some of what an entry holds.
func (s *stress) read(rnd *rand.Rand, e storage.Entry, k, variant int, version uint64) {
	want := stressBody(k, variant, version)
	if b := e.Bytes(); b != nil {
		if !bytes.Equal(b, want) {
			s.t.Errorf("key %d variant %d version %d: %d other bytes", k, variant, version, len(b))
		}
		return
	}
	for _, held := range e.Held(nil) {
		from := held.Start + rnd.Int64N(max(held.End-held.Start, 1))
		r := e.Reader(from, held.End-from)
		at := from
		for {
			p, err := r.Next(context.Background())
			if err != nil {
				if err == io.EOF && at < held.End {
					s.t.Errorf("key %d variant %d version %d: ends at %d of %d", k, variant, version, at, held.End)
				}
				break
			}
			if at+int64(len(p)) > int64(len(want)) || !bytes.Equal(p, want[at:at+int64(len(p))]) {
				s.t.Errorf("key %d variant %d version %d: other bytes from %d", k, variant, version, at)
				break
			}
			at += int64(len(p))
		}
		r.Close()
	}
}

// agree checks that what lies in both tiers is the same.
func (s *stress) agree() {
	for time.Sleep(50 * time.Millisecond); len(s.st.promoter.queue) > 0; {
		time.Sleep(10 * time.Millisecond)
	}
	s.st.mem.Each(func(e storage.Entry) bool {
		if o := s.st.disk.Fetch(e.Key(), e.Stored().Nominated); o != nil {
			if !same(e.Stored(), o.Stored()) {
				s.t.Errorf("memory has version %d, the disk %d", binary.LittleEndian.Uint64(e.Stored().Head), binary.LittleEndian.Uint64(o.Stored().Head))
			}
			o.Release()
		}
		return true
	})
}
