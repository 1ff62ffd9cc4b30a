package tiered

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"edge/cache/storage"
	"edge/cache/storage/storagetest"
	"edge/cache/storage/vfs"
	"edge/message"
)

// crowd stores so much that memory is crowded, and returns once all of it is in a file.
func (p *pair) crowd() {
	p.t.Helper()
	for i := 1000; ; i++ {
		p.store(i, head("other", ""), 14<<10)
		if has, _ := p.st.inMemory(storagetest.Key(i), nil); !has {
			break
		}
		if i == 2000 {
			p.t.Fatalf("memory is never crowded: %+v", p.st.mem.Stats())
		}
		time.Sleep(10 * time.Millisecond) // the flusher's turn
	}
	p.settle()
}

// lies checks in which tiers a key lies.
func (p *pair) lies(when string, key int, memory, disk bool) {
	p.t.Helper()
	synctest.Wait() // the promoter has nothing to do any more
	has, _ := p.st.inMemory(storagetest.Key(key), nil)
	if on := p.st.disk.Has(storagetest.Key(key), nil); has != memory || on != disk {
		p.t.Errorf("%s: in memory %v, on the disk %v; want %v and %v", when, has, on, memory, disk)
	}
}

// TestPassing: with memory full, what is fetched once lies on the disk alone, and in
// memory once it is asked for again.
func TestPassing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := openPairOn(t, 64<<20)
		p.store(1, head("v1", ""), 1<<10)
		p.lies("memory has room", 1, true, true)
		p.crowd()
		p.store(2, head("v1", ""), 1<<10)
		p.lies("fetched once", 2, false, true)
		list := p.st.Lookup(nil, storagetest.Key(2))
		if len(list) != 1 || list[0].Size() != 1<<10 {
			t.Fatalf("%d found", len(list))
		}
		list[0].Release()
		p.lies("and found", 2, true, true)
		p.store(3, head("v1", ""), 1<<10)
		p.store(3, head("v2", ""), 1<<10)
		p.lies("fetched twice", 3, true, true)
		if s := p.st.Stats(); s.Replaced != 1 {
			t.Errorf("%d replaced, not 1", s.Replaced)
		}
		marker := head("", "")
		marker.Terms.Flags |= message.TermHitForMiss
		p.store(4, marker, 0)
		p.lies("a marker", 4, true, true)
		p.store(4, head("v1", "n1"), 4)
		p.lies("a marker that was proved wrong", 4, false, false)
	})
}

// TestPassingADiskThatFails: what the disk does not take after all lies in memory.
func TestPassingADiskThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := openPairOn(t, 64<<20)
		p.crowd()
		p.fs.Set(func(op vfs.Op, name string) error {
			if op == vfs.OpWrite {
				return errors.New("the disk's fault")
			}
			return nil
		})
		p.store(1, head("lost", ""), 4)
		time.Sleep(time.Minute) // it is noticed
		p.store(2, head("v1", ""), 4)
		p.lies("the disk is out", 2, true, false)
	})
}

// TestPassingWhileInvalidated: what is invalidated while it is written is not found, on
// the disk neither; who follows it gets all of it.
func TestPassingWhileInvalidated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := openPairOn(t, 64<<20)
		p.crowd()
		w, err := p.st.Begin(&storage.Proposal{Key: storagetest.Key(1), Scheme: "http", Stored: head("v1", ""), Total: 4})
		if err != nil {
			t.Fatal(err)
		}
		e := w.Entry()
		defer e.Release()
		if err := w.Write(context.Background(), []byte("body")); err != nil {
			t.Fatal(err)
		}
		p.st.Invalidate(storagetest.Key(1))
		if err := w.Commit(nil); !errors.Is(err, storage.ErrDoomed) {
			t.Errorf("committed: %v", err)
		}
		p.lies("invalidated", 1, false, false)
		if string(e.Bytes()) != "body" {
			t.Errorf("a reader has %q", e.Bytes())
		}
	})
}
