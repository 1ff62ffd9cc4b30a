//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"syscall"
	"time"

	"edge/cache/storage/disk"
	"edge/message"
)

// The targets of many objects on a disk.
const (
	indexPerObject = 64              // bytes of memory
	firstHit       = 2 * time.Second // from exec
	residentShare  = 15              // percent that may come on top of the memory tier,
	residentSlack  = 64 << 20        // and bytes
)

// millionMemory is the memory tier, in bytes, where -objects are so many that
// they fill it several times over; else it is a quarter of their bodies.
const millionMemory = 256 << 20

// perObject is how many bytes of disk an object of 1 KiB gets: twice what it needs.
const perObject = 4 << 10

// sampleAfter is how many objects are asked for after a restart.
const sampleAfter = 1000

// runMillion fills a disk through edge, reads how much memory that took, and
// restarts edge twice: after it was killed, with what no checkpoint tells of yet,
// and after it was stopped.
func runMillion(ctx context.Context, l *lab) error {
	if !l.wants("edge") {
		fmt.Println("edge is not asked for")
		return nil
	}
	o, err := startOrigin()
	if err != nil {
		return err
	}
	defer o.stop()
	memory := min(millionMemory, int64(l.objects)<<8)
	k, free, err := l.onDisk(max(memory, 1<<20), int64(l.objects)*perObject+64<<20)
	defer free()
	if err != nil {
		return err
	}
	s, err := l.startEdge(ctx, o, k)
	if err != nil {
		return err
	}
	defer func() { s.stop() }() // of whichever process it is by then
	if err := l.millionFill(ctx, s); err != nil {
		return err
	}
	_ = s.cmd.Process.Signal(syscall.SIGKILL)
	<-s.exited
	if err := l.millionStart(ctx, s, o, "after kill -9"); err != nil {
		return err
	}
	s.stop()
	if err := l.millionStart(ctx, s, o, "after stop"); err != nil {
		return err
	}
	s.stop()
	return l.millionIndex(s)
}

// millionIndex prints what the index of the disk that s has left takes up.
func (l *lab) millionIndex(s *subject) error {
	perEntry, entries, err := indexMemory(s.kept.disk, s.kept.size)
	if err != nil {
		return err
	}
	fmt.Printf("index of %d responses, opened in this program: %.1f bytes a response\n", entries, perEntry)
	l.target("memory of the index, a response", perEntry, indexPerObject, " B")
	return nil
}

// millionFill fills and prints what edge takes up then.
func (l *lab) millionFill(ctx context.Context, s *subject) error {
	before, err := s.cpu()
	if err != nil {
		return err
	}
	d, err := l.fill(ctx, s, 1<<10, upTo(l.objects))
	if err != nil {
		return err
	}
	if err := s.quiet(ctx); err != nil {
		return err
	}
	after, err := s.cpu()
	if err != nil {
		return err
	}
	if err := l.millionWarm(ctx, s); err != nil {
		return err
	}
	m, err := s.metrics(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("filled in %v: %.0f/s, CPU %.2f µs each\n", d.elapsed.Round(time.Second), float64(d.requests)/d.elapsed.Seconds(),
		float64(after-before)/float64(time.Microsecond)/float64(d.requests))
	fmt.Printf("on disk: %.0f responses in %.0f MiB of %.0f; in memory: %.0f of %.0f MiB\n", m.sum("edge_disk_entries"),
		m.sum("edge_disk_used_bytes")/(1<<20), m.sum("edge_disk_size_bytes")/(1<<20),
		m.sum("edge_memory_used_bytes")/(1<<20), m.sum("edge_memory_budget_bytes")/(1<<20))
	now, most, err := s.resident()
	if err != nil {
		return err
	}
	limit := s.kept.memory + s.kept.memory*residentShare/100 + residentSlack
	fmt.Printf("resident: %d MiB now, %d MiB at most, Go's heap %.0f MiB\n", now>>20, most>>20, m.sum("go_memstats_heap_inuse_bytes")/(1<<20))
	l.target("resident memory with the memory tier full", float64(most)/(1<<20), float64(limit)/(1<<20), " MiB")
	if n := int(m.sum("edge_disk_entries")); n != l.objects {
		return fmt.Errorf("%d of %d objects are on the disk", n, l.objects)
	}
	return nil
}

// millionWarm fills memory, which when it is crowded takes only what is asked for again:
// it asks again, several times over, for somewhat less than one would think it holds,
// because promotions are dropped under load.
func (l *lab) millionWarm(ctx context.Context, s *subject) error {
	const times = 4
	warm := upTo(l.objects)
	warm = warm[max(0, len(warm)-int(s.kept.memory>>10)*4/5):]
	for range times {
		if _, err := l.fill(ctx, s, 1<<10, warm); err != nil {
			return err
		}
	}
	return s.quiet(ctx)
}

// millionStart starts s and times its first hit, then asks for a sample of all objects.
func (l *lab) millionStart(ctx context.Context, s *subject, o *origin, when string) error {
	asked := o.total.Load()
	start := time.Now()
	if err := l.again(ctx, s); err != nil {
		return fmt.Errorf("%s: %w", when, err)
	}
	ready := time.Since(start)
	sample := rand.New(rand.NewPCG(2, 2)).Perm(l.objects)[:min(sampleAfter, l.objects)]
	path := objects{1 << 10, s.addr}.path(sample[0])
	if _, err := fetch(s.addr, path, func(body []byte) bool { return isObject(sample[0], body) }); err != nil {
		return fmt.Errorf("%s: %w\n%s", when, err, &s.output)
	}
	hit := time.Since(start)
	if n := o.total.Load() - asked; n != 0 {
		return fmt.Errorf("%s: the first request was no hit", when)
	}
	kept, err := l.kept(ctx, s, o, 1<<10, sample)
	if err != nil {
		return fmt.Errorf("%s: %w", when, err)
	}
	switch err := s.quiet(ctx); {
	case errors.Is(err, errNotQuiet):
		fmt.Printf("%s: %v\n", when, err)
	case err != nil:
		return err
	}
	now, most, err := s.resident()
	if err != nil {
		return err
	}
	cpu, err := s.cpu()
	if err != nil {
		return err
	}
	fmt.Printf("%s: accepts after %v, first hit after %v; %d of %d objects found; CPU until now %v; resident %d MiB, at most %d\n",
		when, ready.Round(time.Millisecond), hit.Round(time.Millisecond), kept, len(sample), cpu.Round(time.Millisecond), now>>20, most>>20)
	l.target("from exec to the first hit, "+when, hit.Seconds(), firstHit.Seconds(), " s")
	if kept != len(sample) {
		return fmt.Errorf("%s: %d of %d objects are gone", when, len(sample)-kept, len(sample))
	}
	return nil
}

// indexMemory opens the disk tier that edge left and returns what its index takes, on
// the Go heap and beside it, in bytes a response.
func indexMemory(dir string, size int64) (perEntry float64, entries int64, err error) {
	before := liveHeap()
	clock := func() message.Instant { return message.Instant(time.Now().UnixNano()) }
	st, err := disk.Open(disk.Options{Disks: []disk.Disk{{Path: dir, Size: size}}, Clock: clock})
	if err != nil {
		return 0, 0, err
	}
	after := liveHeap() + st.Mapped()
	entries = st.Stats().Entries
	if err := st.Close(); err != nil {
		return 0, 0, err
	}
	if entries == 0 {
		return 0, 0, fmt.Errorf("%s: nothing on the disk", dir)
	}
	return float64(after-before) / float64(entries), entries, nil
}

// liveHeap returns how many bytes are in use on the Go heap.
func liveHeap() int64 {
	runtime.GC()
	runtime.GC() // what the first found in pools goes with the second
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
