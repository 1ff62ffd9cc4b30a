package proxy

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
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

// partNames names what is sent by its first chunk.
func partNames(chunk int64) string {
	return fmt.Sprintf("Surrogate-Key: Intro-%d\r\nCache-Tag: all, Reel %[1]d\r\nX-Own: own-%[1]d\r\nCache-Groups: \"Group %[1]d\"\r\n", chunk)
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
					inParts(t, tier, partNames, func(j *joining) { purgeOfParts(j, mode, selectors) })
				})
			}
		}
	}
}

// joining is a rig whose film is put together from ranges.
type joining struct {
	*rig
	t *testing.T
	f *film
	l *purge.Ledger
}

// inParts runs a test of a film of two chunks in virtual time.
func inParts(t *testing.T, tier string, names func(chunk int64) string, run func(j *joining)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
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
		f := &film{size: 2 * filmChunk, etag: "v", names: names}
		r := newRig(t, f.serve, kept(st), func(r *rig, o *Options) {
			o.Ledger, o.Purger, r.route.TagFields = l, l, [][]byte{[]byte("x-own")}
			r.route.Purge = &PurgeMethod{Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}
		})
		defer r.close()
		l.Reclaim(st)
		run(&joining{r, t, f, l})
	})
}

// watch asks for bytes, after which the origin must have been asked so often.
func (j *joining) watch(path string, first, last int64, asked int) {
	j.t.Helper()
	if err := j.f.watch(j.rig, path, first, last); err != nil {
		j.t.Fatal(err)
	}
	j.f.settle(j.rig)
	if all, _ := j.f.stats(); len(all) != asked {
		j.t.Errorf("after bytes %d to %d of %s the origin was asked for %q, want %d requests", first, last, path, all, asked)
	}
}

func purgeOfParts(j *joining, mode purge.Mode, selectors []purge.Selector) {
	j.watch("/film", 0, 9, 1)
	j.watch("/film", filmChunk, filmChunk+9, 2)
	j.watch("/film", 0, j.f.size-1, 2) // they make a whole
	receipt, err := j.l.Purge(context.Background(), &purge.Purge{Selectors: selectors, Mode: mode})
	if err != nil {
		j.t.Fatal(err)
	}
	j.watch("/film", 0, 9, 3)
	if mode == purge.Hard {
		j.watch("/film", filmChunk, filmChunk+9, 4)
	}
	receipt.Wait(time.Minute)
	if n, exact := receipt.Matched(); n != 1 || !exact {
		j.t.Errorf("the purge matched %d, exact %v", n, exact)
	}
}

// TestPurgeOfPartsOfTwoURIs: by No-Vary-Search, parts that two URIs brought make one
// response, which a purge of either takes.
func TestPurgeOfPartsOfTwoURIs(t *testing.T) {
	for _, uri := range []string{"/film?u=1", "/film?u=2", "/film?u=3"} {
		rule := func(int64) string { return "No-Vary-Search: params=(\"u\")\r\n" }
		inParts(t, "memory", rule, func(j *joining) {
			j.watch("/film?u=1", 0, 9, 1)
			j.watch("/film?u=2", filmChunk, filmChunk+9, 2)
			j.watch("/film?u=3", 0, j.f.size-1, 2)
			if a := j.get("PURGE " + uri + " HTTP/1.1\nX: y"); a.StatusCode != 200 || !strings.Contains(a.body, `"matched":1,`) {
				t.Errorf("the purge of %s: %d %s", uri, a.StatusCode, a.body)
			}
			j.watch("/film?u=1", 0, 9, 3)
			j.watch("/film?u=2", filmChunk, filmChunk+9, 4)
		})
	}
}
