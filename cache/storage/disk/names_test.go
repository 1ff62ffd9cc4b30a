package disk

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"edge/cache/storage"
	"edge/cache/storage/vfs"
	"edge/message"
)

// tagged stores a response under a URL of its own.
func tagged(t testing.TB, st *Store, i int, extra bool, tags ...string) {
	t.Helper()
	target := fmt.Sprintf("/dir%d/%d", i%7, i)
	key := storage.URLKey("https", "a.example", target)
	if extra {
		key[15]++
	}
	w, err := st.Begin(&storage.Proposal{Key: key, Scheme: "https", Authority: []byte("a.example"), Target: []byte(target), Tags: tags,
		Stored: &message.Stored{Status: 200, Length: 1, Head: []byte("A: b\r\n"), Terms: message.Terms{FreshnessLifetime: 1 << 60}}, Total: 1})
	if err == nil {
		err = errors.Join(w.Write(context.Background(), []byte("x")), w.Commit(nil))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// numbered is a ledger that has given some numbers, and whose purges spare all that
// is looked up.
type numbered struct{ storage.NoPurges }

// Sequence returns the newest number.
func (numbered) Sequence() uint64 { return 1000 }

// TestNamesOutliveRestart: after a start what a name selects is found and counted
// without reading a head, whether the checkpoint has the names or the records do.
func TestNamesOutliveRestart(t *testing.T) {
	for _, c := range []struct {
		name   string
		forget bool // the checkpoints
	}{{"checkpoint", false}, {"records", true}} {
		t.Run(c.name, func(t *testing.T) {
			mem := vfs.NewMem()
			fs := vfs.NewFaulty(mem)
			open := func(l storage.Ledger) *Store {
				st, err := Open(Options{Disks: []Disk{{"/a", 4 << 20}}, Clock: testClock, FS: fs, Ledger: l})
				if err != nil {
					t.Fatal(err)
				}
				return st
			}
			st := open(storage.NoPurges{})
			const n = 3000
			for i := range n {
				var tags []string
				if i%3 == 0 {
					tags = []string{"third", fmt.Sprint("own", i)}
				}
				tagged(t, st, i, i%5 == 0, tags...)
			}
			if err := st.Close(); err != nil {
				t.Fatal(err)
			}
			if c.forget {
				names, _ := mem.List("/a")
				for _, name := range names {
					if strings.HasSuffix(name, ".idx") {
						_ = mem.Remove("/a/" + name)
					}
				}
			}
			st = open(numbered{})
			defer func() {
				fs.Set(nil)
				if err := st.Close(); err != nil {
					t.Error(err)
				}
			}()
			fs.Set(func(op vfs.Op, _ string) error {
				if op == vfs.OpRead {
					t.Error("something was read")
				}
				return nil
			})
			wantNamed(t, st, n)
		})
	}
}

// wantNamed takes by name what TestNamesOutliveRestart stored, one kind after the
// other, none of them again.
func wantNamed(t *testing.T, st *Store, n int) {
	t.Helper()
	under := 0 // /dir1 and no third
	for i := range n {
		if i%7 == 1 && i%3 != 0 {
			under++
		}
	}
	for i, c := range []struct {
		s    storage.Selector
		want int
	}{
		{storage.Selector{Kind: storage.ByTag, Name: "own6"}, 1},
		{storage.Selector{Kind: storage.ByURL, Scheme: "https", Authority: "a.example", Name: "/dir5/5"}, 1},  // its key says more
		{storage.Selector{Kind: storage.ByURL, Scheme: "https", Authority: "a.example", Name: "/dir4/11"}, 1}, // its key does not
		{storage.Selector{Kind: storage.ByTag, Name: "third"}, n/3 - 1},
		{storage.Selector{Kind: storage.ByPrefix, Scheme: "https", Authority: "a.example", Name: "/dir1"}, under},
		{storage.Selector{Kind: storage.ByHost, Authority: "a.example"}, n - n/3 - 2 - under},
		{storage.Selector{Kind: storage.Everything}, 0},
	} {
		got := 0
		st.Take([]storage.Taking{{Sequence: uint64(i + 1), Select: []storage.Selector{c.s}, Verdict: storage.Removed, Count: func(n int) { got += n }}})
		if got != c.want {
			t.Errorf("%v takes %d, want %d", c.s, got, c.want)
		}
	}
}
