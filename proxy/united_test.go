package proxy

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"edge/cache/storage"
	"edge/cache/storage/disk"
	"edge/cache/storage/tiered"
	"edge/cache/storage/vfs"
	"edge/message"
	"edge/purge"
)

// ledgerStores are stores that a ledger is asked about.
func ledgerStores(t *testing.T, l *purge.Ledger, clock storage.Clock) map[string]func() (storage.Store, error) {
	t.Helper()
	memory := storage.MemoryOptions{Size: 64 << 20, MaxObject: 16 << 20, Ledger: l, Clock: clock}
	onDisk := disk.Options{Disks: []disk.Disk{{Path: "/disk", Size: 64 << 20}}, FS: vfs.NewMem(), Ledger: l, Clock: clock}
	return map[string]func() (storage.Store, error){
		"memory": func() (storage.Store, error) { return storage.NewMemory(memory) },
		"disk":   func() (storage.Store, error) { return disk.Open(onDisk) },
		"tiered": func() (storage.Store, error) { return tiered.Open(tiered.Options{Memory: memory, Disk: onDisk}) },
	}
}

// selected makes a selector of what one of the functions of purge returned.
func selected(t *testing.T) func(purge.Selector, error) purge.Selector {
	return func(s purge.Selector, err error) purge.Selector {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
}

// TestPurgeOfParts: two ranges of one file are brought under different names, and make one
// stored response; a purge by a name of either takes all of it, and counts it once.
func TestPurgeOfParts(t *testing.T) {
	sel := selected(t)
	for name, selectors := range map[string][]purge.Selector{
		"the first's key":   {sel(purge.ByTag("Intro-0"))},
		"the second's key":  {sel(purge.ByTag("intro-1"))},
		"the first's tag":   {sel(purge.ByTag("reel 0"))},
		"the second's tag":  {sel(purge.ByTag("REEL 1"))},
		"the first's field": {sel(purge.ByTag("own-0"))},
		"the first's group": {sel(purge.ByGroup("http://example.com", "Group 0"))},
		"the last's group":  {sel(purge.ByGroup("http://example.com", "Group 1"))},
		"names of both":     {sel(purge.ByTag("intro-0")), sel(purge.ByTag("reel 1"))},
	} {
		for _, tier := range []string{"memory", "disk", "tiered"} {
			for _, mode := range []purge.Mode{purge.Hard, purge.Soft} {
				t.Run(fmt.Sprintf("%s/%s/%v", name, tier, mode), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { purgeOfParts(t, tier, mode, selectors) })
				})
			}
		}
	}
}

func purgeOfParts(t *testing.T, tier string, mode purge.Mode, selectors []purge.Selector) {
	f := &film{size: 2 * filmChunk, etag: "v", names: func(chunk int64) string {
		return fmt.Sprintf("Surrogate-Key: Intro-%d\r\nCache-Tag: all, Reel %d\r\nX-Own: own-%[1]d\r\nCache-Groups: \"Group %[1]d\"\r\n", chunk, chunk)
	}}
	start := time.Now()
	clock := func() message.Instant { return message.Instant(start.UnixNano() + int64(time.Since(start))) }
	l, err := purge.Open(purge.Options{Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	st, err := ledgerStores(t, l, clock)[tier]()
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, f.serve, kept(st), func(r *rig, o *Options) {
		o.Ledger, o.Purger, r.route.TagFields = l, l, [][]byte{[]byte("x-own")}
	})
	defer r.close()
	l.Reclaim(st)
	watch := func(first, last int64, asked int) {
		t.Helper()
		if err := f.watch(r, "/film", first, last); err != nil {
			t.Fatal(err)
		}
		f.settle(r)
		if all, _ := f.stats(); len(all) != asked {
			t.Errorf("after bytes %d to %d the origin was asked for %q, want %d requests", first, last, all, asked)
		}
	}
	watch(0, 9, 1)
	watch(filmChunk, filmChunk+9, 2)
	watch(0, f.size-1, 2) // they make a whole
	receipt, err := l.Purge(context.Background(), &purge.Purge{Selectors: selectors, Mode: mode})
	if err != nil {
		t.Fatal(err)
	}
	watch(0, 9, 3)
	if mode == purge.Hard {
		watch(filmChunk, filmChunk+9, 4)
	}
	receipt.Wait(time.Minute)
	if n, exact := receipt.Matched(); n != 1 || !exact {
		t.Errorf("the purge matched %d, exact %v", n, exact)
	}
}
