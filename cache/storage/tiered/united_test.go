package tiered

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"edge/cache/storage"
	"edge/cache/storage/disk"
	"edge/cache/storage/vfs"
	"edge/message"
)

// TestNamesOfPartsInBothTiers: what was joined from parts is copied to the other tier with
// the names of all of them, also where a part has a name that was purged before the
// part came; and a purge by any takes both copies, and counts one.
func TestNamesOfPartsInBothTiers(t *testing.T) {
	for name, minUses := range map[string]int{"disk to memory": 1, "memory to disk": 4} {
		for _, tag := range []string{"x", "y"} {
			t.Run(name+" "+tag, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { copyParts(t, minUses, tag) })
			})
		}
	}
}

func copyParts(t *testing.T, minUses int, tag string) {
	l := &purgeLog{}
	st, err := Open(Options{Memory: storage.MemoryOptions{Size: 1 << 20, Clock: wallClock, Ledger: l}, MinUses: minUses,
		Disk: disk.Options{Disks: []disk.Disk{{Path: "/disk", Size: 8 << 20}}, Clock: wallClock, FS: vfs.NewMem(), Ledger: l}})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	const half = 4 << 10
	key := storage.URLKey("http", "a", "/film")
	part := func(at int64, tags ...string) {
		t.Helper()
		w, err := st.Begin(&storage.Proposal{Key: key, Scheme: "http", Authority: []byte("a"), Target: []byte("/film"), Tags: tags, Sequence: l.Sequence(),
			Stored: &message.Stored{Status: 200, Length: 2 * half, Terms: message.Terms{FreshnessLifetime: 1 << 60, ETag: []byte(`"1"`)}},
			Part:   true, Offset: at, Total: 2 * half})
		if err == nil {
			err = errors.Join(w.Write(t.Context(), bytes.Repeat([]byte{'a'}, half)), w.Commit(nil))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	part(0, "x")
	l.add(storage.Removed, storage.Selector{Kind: storage.ByTag, Name: "y"})
	part(half, "y")
	for range 5 { // it is asked for
		list := st.Lookup(nil, key)
		if len(list) != 1 {
			t.Fatalf("%d are found", len(list))
		}
		list[0].Release()
		time.Sleep(time.Second)
		synctest.Wait()
	}
	for where, e := range map[string]storage.Entry{"memory": st.mem.Fetch(key, nil), "disk": st.disk.Fetch(key, nil)} {
		if e == nil {
			t.Fatalf("%s has no copy", where)
		}
		tags := e.Meta().Tags
		if slices.Sort(tags); !slices.Equal(tags, []string{"x", "y"}) {
			t.Errorf("%s has it under %q", where, tags)
		}
		e.Release()
	}
	p, count := l.add(storage.Removed, storage.Selector{Kind: storage.ByTag, Name: tag}), 0
	p.Count = func(n int) { count += n }
	st.Take([]storage.Taking{p})
	list := st.Lookup(nil, key)
	for _, e := range list {
		e.Release()
	}
	if count != 1 || len(list) != 0 {
		t.Errorf("a purge of %q counts %d, and %d are found", tag, count, len(list))
	}
}
