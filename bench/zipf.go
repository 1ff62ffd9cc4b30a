//go:build linux

package main

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"time"

	"edge/cache/storage"
	"edge/cache/storage/disk"
	"edge/cache/storage/tiered"
	"edge/message"
)

// The workload. Object i of zipfObjects is asked for with a probability
// proportional to 1/(i+1)^zipfExponent: what is measured of web traffic lies between 0.6
// and 1. Both budgets are well below the working set of
// zipfObjects * zipfBody = 80 MiB.
const (
	zipfObjects  = 20_000
	zipfBody     = 4 << 10
	zipfExponent = 0.9
	zipfRequests = 160_000 // for objects of the catalogue; the second half is counted
	zipfMemory   = 4 << 20
	zipfDisk     = 20 << 20
)

// zipfPoints is the target: percentage points of hit ratio that as many requests again,
// each for a URL of its own, may cost.
const zipfPoints = 2.0

// The workload runs in the process and would outrun any disk. So it waits for the
// writing behind every zipfBurst stored bodies, and longer when the disk has
// refused one since for want of room.
const (
	zipfBurst   = 32
	zipfPause   = 2 * time.Millisecond
	zipfRefused = 50 * time.Millisecond
)

// runZipf measures object hit ratios in this process, over the store itself: of
// the Zipf requests alone, with and without as many requests in between that are for a
// URL nobody asks for again (half of all requests, then). Beside them a plain
// LRU simulated over the same requests, whose budget is that of both tiers
// together, without anything taken off for heads and bookkeeping; and what the same
// budget would bring to one that knew the probabilities.
func runZipf(ctx context.Context, l *lab) error {
	fmt.Printf("%d objects of %d KiB, 1/rank^%.1f; memory %d MiB, disk %d MiB\n",
		zipfObjects, zipfBody>>10, zipfExponent, zipfMemory>>20, zipfDisk>>20)
	lru := map[bool]float64{}
	for _, once := range []bool{false, true} {
		c := newLRU((zipfMemory + zipfDisk) / zipfBody)
		r, err := hitRatio(ctx, zipfStream(once), c.ask)
		if err != nil {
			return err
		}
		lru[once] = r
	}
	printZipf("plain LRU", lru)
	sums := zipfSums()
	fmt.Printf("%-17s hit ratio %.2f %%\n", "the most popular", 100*sums[(zipfMemory+zipfDisk)/zipfBody-1]/sums[zipfObjects-1])
	for _, minUses := range []int{1, 2} {
		got := map[bool]float64{}
		for _, once := range []bool{false, true} {
			r, err := l.zipfTiered(ctx, minUses, once)
			if err != nil {
				return fmt.Errorf("min_uses %d: %w", minUses, err)
			}
			got[once] = r
		}
		name := fmt.Sprintf("edge, min_uses %d", minUses)
		printZipf(name, got)
		l.target(name+": points lost to URLs asked for once", 100*(got[false]-got[true]), zipfPoints, "")
	}
	return nil
}

// printZipf prints hit ratios without and with URLs asked for once.
func printZipf(name string, r map[bool]float64) {
	fmt.Printf("%-17s hit ratio %.2f %%, with URLs asked for once %.2f %%: %.2f points less\n",
		name, 100*r[false], 100*r[true], 100*(r[false]-r[true]))
}

// zipfTiered measures the hit ratio of a tiered store of its own.
func (l *lab) zipfTiered(ctx context.Context, minUses int, once bool) (ratio float64, err error) {
	dir, err := os.MkdirTemp(l.disk, "edge-bench-")
	if err != nil {
		return 0, fmt.Errorf("-disk: %w", err)
	}
	defer os.RemoveAll(dir)
	clock := func() message.Instant { return message.Instant(time.Now().UnixNano()) }
	st, err := tiered.Open(tiered.Options{
		Memory:  storage.MemoryOptions{Size: zipfMemory, Clock: clock},
		Disk:    disk.Options{Disks: []disk.Disk{{Path: dir, Size: zipfDisk}}, Clock: clock, FlushInterval: zipfPause},
		MinUses: minUses,
	})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	a := &asker{st: st}
	ratio, err = hitRatio(ctx, zipfStream(once), a.ask)
	if a.busy > zipfRequests/100 {
		fmt.Printf("(the disk refused %d responses for want of room to write behind)\n", a.busy)
	}
	return ratio, err
}

// zipfStream returns a function that returns the objects asked for, one after the
// other: the same ones at every run. With once, every second is beyond the catalogue and
// never comes again.
func zipfStream(once bool) func() int {
	r := rand.New(rand.NewPCG(3, 3))
	sums := zipfSums()
	total := sums[zipfObjects-1]
	extra, turn := zipfObjects, false
	return func() int {
		if turn = once && !turn; turn {
			extra++
			return extra - 1
		}
		n, _ := slices.BinarySearch(sums, r.Float64()*total)
		return min(n, zipfObjects-1)
	}
}

// zipfSums returns, for each object, the weights of those up to it added up.
func zipfSums() []float64 {
	sums := make([]float64, zipfObjects)
	total := 0.0
	for i := range sums {
		total += math.Pow(float64(i+1), -zipfExponent)
		sums[i] = total
	}
	return sums
}

// hitRatio asks for what the stream says until zipfRequests objects of the catalogue
// have been asked for, and returns how much of the second half of them was found.
func hitRatio(ctx context.Context, next func() int, ask func(n int) (hit bool, err error)) (float64, error) {
	hits := 0
	for done := 0; done < zipfRequests; {
		n := next()
		hit, err := ask(n)
		if err != nil {
			return 0, err
		}
		if n >= zipfObjects {
			continue
		}
		if done++; done > zipfRequests/2 && hit {
			hits++
		}
		if done%1000 == 0 && ctx.Err() != nil {
			return 0, ctx.Err()
		}
	}
	return float64(hits) / (zipfRequests - zipfRequests/2), nil
}

// asker asks a store as the proxy would: it looks up, reads what it found, and
// stores what it did not find.
type asker struct {
	st     *tiered.Store
	room   [4]storage.Entry
	stored int
	busy   int64 // what the disk has refused
}

// pace counts a stored body and waits where it is time to.
func (a *asker) pace() {
	if a.stored++; a.stored%zipfBurst != 0 {
		return
	}
	busy := int64(0)
	for _, d := range a.st.Disk().States() {
		busy += d.Busy
	}
	pause := zipfPause
	if busy > a.busy {
		pause = zipfRefused
	}
	a.busy = busy
	time.Sleep(pause)
}

// ask reports whether object n was found.
func (a *asker) ask(n int) (hit bool, err error) {
	key := objectKey(n)
	mark, rest := objectBody(n, zipfBody)
	for _, e := range a.st.Lookup(a.room[:0], key) {
		if !hit {
			hit, err = readObject(e, n)
		}
		e.Release()
	}
	if hit || err != nil {
		return hit, err
	}
	w, err := a.st.Begin(objectProposal(key, n))
	if err != nil {
		return false, notKept(err)
	}
	defer w.Abort(storage.ErrAborted)
	defer w.Entry().Release()
	for _, p := range [][]byte{mark[:], rest} {
		if err := w.Write(context.Background(), p); err != nil {
			return false, notKept(err)
		}
	}
	err = w.Commit(nil)
	a.pace()
	return false, notKept(err)
}

// notKept returns err unless it says that a store has no room just now.
func notKept(err error) error {
	if errors.Is(err, storage.ErrFull) {
		return nil
	}
	return err
}

// readObject reads e and checks that it is object n. What cannot be read any more was
// no hit.
func readObject(e storage.Entry, n int) (bool, error) {
	r := e.Reader(0, -1)
	defer r.Close()
	var body []byte
	for {
		p, err := r.Next(context.Background())
		if errors.Is(err, io.EOF) {
			break
		}
		if errors.Is(err, storage.ErrGone) {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("reading object %d: %w", n, err)
		}
		body = append(body, p...)
	}
	if len(body) != zipfBody || !isObject(n, body) {
		return false, fmt.Errorf("object %d: %d bytes of another", n, len(body))
	}
	return true, nil
}

// objectKey is the key of object n.
func objectKey(n int) storage.Key {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(n))
	sum := sha256.Sum256(b[:])
	return storage.Key(sum[:len(storage.Key{})])
}

// objectProposal proposes to store object n.
func objectProposal(key storage.Key, n int) *storage.Proposal {
	now := message.Instant(time.Now().UnixNano())
	return &storage.Proposal{
		Key: key, Scheme: "http", Authority: []byte("bench"), Target: objects{size: zipfBody}.appendPath(nil, n), Total: zipfBody,
		Stored: &message.Stored{
			Status: 200, Reason: []byte("OK"), Length: zipfBody, RequestTime: now, ResponseTime: now,
			Head:  []byte("Cache-Control: public, max-age=3600\r\nContent-Type: text/plain\r\n"),
			Terms: message.Terms{FreshnessLifetime: 3600 * message.Second, Date: now},
		},
	}
}
