package purge

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edge/cache/storage"
)

// written returns a journal of some purges, and where each record ends.
func written() (data []byte, ends []int) {
	data = appendHeader(nil, epoch{1, 2, 3}, 7, 5*runSpan)
	data = appendStart(data, runSpan, 5)
	ends = []int{headerSize, len(data)}
	for i, s := range []Selector{must(ByURL("https://a/b")), mustPrefix("https://a/b/"), must(ByTag("t")), must(ByGroup("http://a", "G")), must(ByHost("h")), All()} {
		data = appendPurge(data, &record{seq: runSpan + 1 + uint64(i), when: 6, Purge: Purge{Selectors: []Selector{s}, Mode: Hard}})
		ends = append(ends, len(data))
	}
	return data, ends
}

func parse(t testing.TB, data []byte) *contents {
	t.Helper()
	c, err := parseJournal(data)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestJournalRoundTrip: what is written is read.
func TestJournalRoundTrip(t *testing.T) {
	data, ends := written()
	c := parse(t, data)
	if c.damage != nil || c.good != int64(len(data)) || c.epoch != (epoch{1, 2, 3}) || c.floor != 7 || c.origin != 5*runSpan || len(c.records) != len(ends)-2 || c.last != runSpan+6 {
		t.Fatalf("%+v", c)
	}
	again := appendStart(appendHeader(nil, c.epoch, c.floor, c.origin), runSpan, 5)
	for i := range c.records {
		again = appendPurge(again, &c.records[i])
	}
	if !bytes.Equal(again, data) {
		t.Error("written again, it is another")
	}
}

// TestJournalTornAnywhere: cut at any byte, or with its end replaced by zeros, of the
// length it had or with a reserve, what was whole is read and the rest is a torn tail.
// A record that lacks no more than its end mark, which a zero is in the place of, is
// whole.
func TestJournalTornAnywhere(t *testing.T) {
	data, ends := written()
	for n := headerSize; n < len(data); n++ {
		zeros := append(bytes.Clone(data[:n]), make([]byte, len(data)-n)...)
		for _, torn := range [][]byte{data[:n], zeros, spared(data[:n])} {
			c, whole := parse(t, torn), 0
			for whole < len(ends)-1 && bytes.HasPrefix(torn, data[:ends[whole+1]-1]) && len(torn) >= ends[whole+1] {
				whole++
			}
			if c.damage != nil || c.good != int64(ends[whole]) || len(c.records) != max(whole-1, 0) {
				t.Fatalf("torn at %d: damage %v, good %d, %d records; want %d whole", n, c.damage, c.good, len(c.records), whole)
			}
		}
	}
}

// spared returns a journal with a reserve behind it.
func spared(data []byte) []byte { return append(bytes.Clone(data), make([]byte, 600)...) }

// TestJournalChangedAnywhere: any byte that becomes another is noticed, with a reserve
// behind the records and without, and where the last one is torn, and costs at most the
// record it is in; or nothing is lost by it.
func TestJournalChangedAnywhere(t *testing.T) {
	whole, all := written()
	for _, torn := range []int{0, 5} {
		ends := all[:len(all)-min(torn, 1)]
		for _, data := range [][]byte{whole[:len(whole)-torn], spared(whole[:len(whole)-torn])} {
			changeEach(t, data, ends)
		}
	}
}

// changeEach changes each byte of a journal to each other: up to the end of the last
// record that is whole.
func changeEach(t *testing.T, data []byte, ends []int) {
	t.Helper()
	for i := range ends[len(ends)-1] {
		for by := 1; by < 256; by++ {
			changed := bytes.Clone(data)
			changed[i] ^= byte(by)
			c, err := parseJournal(changed)
			switch {
			case i < 8:
				if !errors.Is(err, errForeign) {
					t.Fatalf("byte %d: %v; want it left alone", i, err)
				}
			case err != nil:
				t.Fatalf("byte %d, changed by %#x: %v", i, by, err)
			case c.damage == nil && (len(c.records) != len(ends)-2 || i < headerSize || changed[i] != 0):
				t.Fatalf("byte %d, changed by %#x: no damage seen, %d records", i, by, len(c.records))
			case i >= headerSize && len(c.records) < len(ends)-3:
				t.Fatalf("byte %d, changed by %#x: only %d records left", i, by, len(c.records))
			}
		}
	}
}

// TestJournalChangedAtRandom: several bytes of a record change at once, whichever it is.
// That is noticed, or nothing is lost by it; but for a last record that has not even its
// end mark any more, or that a torn one is behind: these look torn themselves, and only
// the disks' positions tell.
func TestJournalChangedAtRandom(t *testing.T) {
	whole, all := written()
	dice := rand.New(rand.NewPCG(1, 2))
	for range 30_000 {
		data, ends, last := whole, all, len(all)-2
		if dice.IntN(2) == 0 { // the last one is torn
			data, ends = whole[:len(whole)-5], all[:len(all)-1]
			last = len(ends) - 3
		}
		changed := bytes.Clone(data)
		if dice.IntN(2) == 0 {
			changed = spared(data)
		}
		k := dice.IntN(last + 1)
		begin, end := ends[k], ends[k+1]
		for range 1 + dice.IntN(6) {
			changed[begin+dice.IntN(end-begin)] = byte(dice.Uint32())
		}
		if end == len(data) && changed[end-1] != endMark {
			continue
		}
		if c := parse(t, changed); c.damage == nil && len(c.records) != len(ends)-2 {
			t.Fatalf("record %d, %x instead of %x: no damage seen, %d records", k, changed[begin:end], data[begin:end], len(c.records))
		}
	}
}

func TestForeignFiles(t *testing.T) {
	for name, data := range map[string][]byte{
		"text":    []byte("#!/bin/sh\necho this is a long enough file to be one of its own\n"),
		"version": func() []byte { d, _ := written(); d[8] = 2; return fixHeader(d) }(),
	} {
		path := filepath.Join(t.TempDir(), "journal")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(Options{Path: path, Clock: clock}); !errors.Is(err, errForeign) {
			t.Errorf("%s: %v", name, err)
		}
		if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, data) {
			t.Errorf("%s: the file was changed: %v", name, err)
		}
	}
}

// fixHeader makes a header's checksum right.
func fixHeader(d []byte) []byte {
	h := appendHeader(nil, epoch(d[16:32]), 0, 0)
	copy(h[8:], d[8:40])
	return append(append(h[:40:40], sum(h[:40])...), d[headerSize:]...)
}

// TestJournalSurvivesTheProcess, on the real file system.
func TestJournalSurvivesTheProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	x := thing{scheme: "https", authority: "a", target: "/", tags: []string{"t"}}
	l := open(t, Options{Path: path})
	stored := l.Sequence()
	r := mustPurge(t, l, Hard, must(ByTag("t")))
	if _, err := Open(Options{Path: path, Clock: clock}); err == nil {
		t.Fatal("two ledgers write one journal")
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Purge(context.Background(), &Purge{Selectors: []Selector{All()}, Mode: Hard}); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	l = open(t, Options{Path: path})
	if l.Judge(x.entry(), stored) != storage.Removed {
		t.Error("the purge is forgotten")
	}
	if l.Judge(x.entry(), r.Sequence) != storage.Live {
		t.Error("what was stored after the purge is purged")
	}
	if l.Sequence() <= r.Sequence+1 {
		t.Errorf("the sequence goes on at %d after %d: a number may be given twice", l.Sequence(), r.Sequence)
	}
}

// TestDamagedJournalIsKeptAside: and what could be read of it counts, under
// another epoch.
func TestDamagedJournalIsKeptAside(t *testing.T) {
	f := newForgetful()
	l := open(t, Options{Path: "j", files: f})
	for i := range 5 {
		mustPurge(t, l, Hard, must(ByTag(fmt.Sprint(i))))
	}
	before := l.epoch
	_ = l.Close()
	data := f.names["j"].data
	data[l.journal.size.Load()/2] ^= 1
	l = open(t, Options{Path: "j", files: f})
	if l.epoch == before || f.names["j.damaged"] == nil || !bytes.Equal(f.names["j.damaged"].data, data) {
		t.Error("damage goes unnoticed, or the damaged file is not kept")
	}
	if len(l.records) != 4 {
		t.Errorf("%d of 5 purges left", len(l.records))
	}
}

// TestCrashAnywhere: the file system fails operation i, for i = 1, 2, 3 ..., once
// or for a while; then the power goes. What was acknowledged is in force after
// the restart, whatever part of what was not has arrived.
func TestCrashAnywhere(t *testing.T) {
	for _, failFor := range []int{1, 4} {
		for failAt := 1; ; failAt++ {
			f := newForgetful()
			f.failAt, f.failFor = failAt, failFor
			acknowledged := purgeSome(t, f)
			for _, after := range []*forgetful{f.crash(0), f.crash(1), f.crash(9), f.crash(60), f.crash(1 << 20), f.kill()} {
				wantInForce(t, fmt.Sprintf("operation %d fails", failAt), after, acknowledged)
			}
			if f.ops < failAt {
				break // it ran through without a fault
			}
		}
	}
}

// purgeSome purges ten tags, waiting for some retries, and returns those that
// were acknowledged.
func purgeSome(t *testing.T, f *forgetful) (acknowledged []string) {
	t.Helper()
	l, err := Open(Options{Path: "j", files: f, Clock: clock})
	if err != nil {
		if !errors.Is(err, errInjected) {
			t.Fatal(err)
		}
		return nil
	}
	for i := range 10 {
		tag := fmt.Sprint(i)
		if i%3 == 2 {
			if err := l.Invalidate(must(ByTag("unsynced"))); err != nil {
				t.Fatal(err)
			}
		}
		if i == 5 {
			l.journal.compact.Store(true)
		}
		_, err := l.Purge(context.Background(), &Purge{Selectors: []Selector{must(ByTag(tag))}, Mode: Hard})
		switch {
		case err == nil:
			acknowledged = append(acknowledged, tag)
		case !errors.Is(err, ErrNotDurable) || !errors.Is(err, errInjected):
			t.Fatal(err)
		}
		if l.Judge(thing{tags: []string{tag}}.entry(), 0) != storage.Removed {
			t.Fatal("a purge is not in force when it is answered")
		}
	}
	// The process ends without Close, or with: both must do.
	close(l.journal.stop)
	<-l.journal.done
	return acknowledged
}

// wantInForce wants tags to be purged for a process that starts with what is left in f,
// and that nothing of it is damaged, unless it may be.
func wantInForce(t *testing.T, when string, f *forgetful, tags []string, damaged ...bool) {
	t.Helper()
	l, err := Open(Options{Path: "j", files: f, Clock: clock})
	if err != nil {
		t.Fatalf("%s: %v", when, err)
	}
	defer l.Close()
	if len(tags) > 0 && f.names["j.damaged"] != nil && !slices.Contains(damaged, true) {
		t.Errorf("%s: what a crash leaves is taken for damage", when)
	}
	for _, tag := range tags {
		if l.Judge(thing{tags: []string{tag}}.entry(), 0) != storage.Removed {
			t.Errorf("%s: the acknowledged purge %s is lost", when, tag)
		}
	}
}

// TestSectorsInAnyOrder: the power goes during a write of several sectors, of which any
// arrive. What was acknowledged before is in force all the same, whether what is left is
// taken for a torn tail or for damage; and where they arrived in order it is no damage.
func TestSectorsInAnyOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newForgetful()
		l := open(t, Options{Path: "j", files: f})
		var acknowledged []string
		for i := range 40 { // more than a sector
			acknowledged = append(acknowledged, fmt.Sprint("a", i))
			mustPurge(t, l, Hard, must(ByTag(acknowledged[i])))
		}
		for i := range 40 {
			if err := l.Invalidate(must(ByTag(fmt.Sprint("a-name-that-is-somewhat-longer-", i)))); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait() // until they are written: they are synced a second later
		last := l.Sequence()
		for pick := range 1 << 7 {
			left, inOrder := f.crash(0), pick&(pick+1) == 0
			left.names["j"] = stableInode(f.kept["j"].scattered(func(i int) bool { return pick>>i&1 == 1 }))
			wantInForce(t, fmt.Sprintf("sectors %b", pick), left, acknowledged, !inOrder)
			if n := bytes.Count(left.names["j"].data, []byte("a-name")); pick == 0 && n != 0 || pick == 1<<7-1 && n != 40 {
				t.Fatalf("sectors %b: %d of what was not synced", pick, n)
			}
			if next := open(t, Options{Path: "j", files: left}); next.Sequence() <= last {
				t.Fatalf("sectors %b: a number may be given twice", pick)
			}
		}
	})
}

// TestReserve: records take the place of zeros, which do not count as the journal's
// size; when these are used up there are more. Each power loss in between leaves what
// was acknowledged, and no damage.
func TestReserve(t *testing.T) {
	f := newForgetful()
	l := open(t, Options{Path: "j", files: f})
	length := func() int64 {
		f.mu.Lock()
		defer f.mu.Unlock()
		return int64(len(f.names["j"].data))
	}
	if n := l.journal.size.Load(); n >= 200 || l.Stats().JournalBytes != n || length() != reserveSize {
		t.Errorf("new: %d bytes of %d", n, length())
	}
	long := strings.Repeat("x", 1000)
	var tags []string
	for used := int64(0); used < reserveSize*5/2; {
		tags = append(tags, fmt.Sprint(long, len(tags)))
		before := length()
		mustPurge(t, l, Hard, must(ByTag(tags[len(tags)-1])))
		used = l.journal.size.Load()
		if grew := length() - before; length() < used || length()%reserveAlign != 0 || grew > 0 && used <= before {
			t.Fatalf("%d bytes used of %d, of which %d are new", used, length(), grew)
		}
		if len(tags)%50 == 0 || length() > before {
			wantInForce(t, fmt.Sprintf("%d bytes used", used), f.crash(0), tags)
			wantInForce(t, fmt.Sprintf("%d bytes used", used), f.crash(sectorSize), tags)
		}
	}
	// A batch that is longer than a reserve.
	var all []Selector
	for i := range 300 {
		all = append(all, must(ByTag(fmt.Sprint(long, "-", i))))
	}
	mustPurge(t, l, Hard, all...)
	wantInForce(t, "a long one", f.crash(0), tags)
	if used := l.journal.size.Load(); length() < used+reserveSize-reserveAlign {
		t.Errorf("behind a long one: %d bytes used of %d", used, length())
	}
}

// TestNoRoomForTheReserve: where only the records fit they are written, whether it is at
// the start or later that there is no room for more.
func TestNoRoomForTheReserve(t *testing.T) {
	long := strings.Repeat("x", 1000)
	for _, most := range []int64{100, 1000, reserveSize - 1, reserveSize, reserveSize + 5000, 2 * reserveSize} {
		f := newForgetful()
		f.most = most
		l := open(t, Options{Path: "j", files: f})
		var tags []string
		for {
			tag := fmt.Sprint(long, len(tags))
			if l.journal.size.Load()+recordCost(&record{Purge: Purge{Selectors: []Selector{must(ByTag(tag))}}})+8 > most {
				break
			}
			mustPurge(t, l, Hard, must(ByTag(tag)))
			tags = append(tags, tag)
		}
		wantInForce(t, fmt.Sprintf("room for %d bytes", most), f.crash(0), tags)
		wantNotDurable(t, l, long)
		f.mu.Lock()
		f.most = 0
		f.mu.Unlock()
		mustPurge(t, l, Hard, must(ByTag("again")))
		wantInForce(t, "there is room again", f.crash(0), append(tags, "again", long))
		if int64(len(f.names["j"].data)) != l.journal.size.Load() {
			t.Error("a reserve is written where there may be no room")
		}
		l.journal.compact.Store(true)
		if err := l.journal.flush(); err != nil {
			t.Fatal(err)
		}
		if int64(len(f.names["j"].data)) < l.journal.size.Load()+reserveSize-reserveAlign {
			t.Error("written anew, it has no reserve")
		}
		wantInForce(t, "and anew", f.crash(0), append(tags, "again", long))
	}
}

// TestNotDurable: without a journal that can be written a purge is in force all
// the same and says what it is; and when it can be written again, everything is.
func TestNotDurable(t *testing.T) {
	f := newForgetful()
	l := open(t, Options{Path: "j", files: f})
	f.mu.Lock()
	f.failAt, f.failFor = f.ops+1, 3
	f.mu.Unlock()
	for range 3 {
		r, err := l.Purge(context.Background(), &Purge{Selectors: []Selector{must(ByTag("lost"))}, Mode: Hard})
		if !errors.Is(err, ErrNotDurable) || r == nil {
			t.Fatalf("%v", err)
		}
	}
	mustPurge(t, l, Hard, must(ByTag("kept")))
	wantInForce(t, "journal healed", f.crash(0), []string{"lost", "kept"})
}

// TestGroupCommit: purges that come together share a sync.
func TestGroupCommit(t *testing.T) {
	f := newForgetful()
	l := open(t, Options{Path: "j", files: f})
	gate := make(chan struct{})
	f.onSync = func() { <-gate }
	const n = 50
	results := make(chan error, n)
	for i := range n {
		go func() {
			_, err := l.Purge(context.Background(), &Purge{Selectors: []Selector{must(ByTag(fmt.Sprint(i)))}, Mode: Hard})
			results <- err
		}()
	}
	for l.Sequence() < l.began+n {
		time.Sleep(time.Millisecond)
	}
	select {
	case <-results:
		t.Error("answered before the sync")
	default:
	}
	before := l.journal.syncs.Load()
	close(gate)
	for range n {
		if err := <-results; err != nil {
			t.Fatal(err)
		}
	}
	if syncs := l.journal.syncs.Load() - before; syncs > 3 {
		t.Errorf("%d syncs for %d purges at once", syncs, n)
	}
	wantInForce(t, "power lost", f.crash(0), []string{"0", "49"})
}

// TestSweeperWaitsForTheSync: who has much to do leaves the processor to a sync that
// answers wait for, once for each, and not for long; and to no other.
func TestSweeperWaitsForTheSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newForgetful()
		l := open(t, Options{Path: "j", files: f})
		took := time.Duration(0) // by a sync
		f.onSync = func() { time.Sleep(took) }
		wantWait := func(what string, want time.Duration) {
			t.Helper()
			time.Sleep(turnLength)
			began := time.Now()
			if l.giveWay(); time.Since(began) != want {
				t.Errorf("%s: waited for %v, not %v", what, time.Since(began), want)
			}
		}
		purged := make(chan error, 1)
		purge := func(sync time.Duration) {
			took = sync
			go func() {
				_, err := l.Purge(context.Background(), &Purge{Selectors: []Selector{must(ByTag("t"))}, Mode: Hard})
				purged <- err
			}()
			synctest.Wait()
		}
		wantWait("no sync", 0)
		purge(turnLength + syncTurn/2)
		wantWait("a fast one", syncTurn/2)
		if err := <-purged; err != nil {
			t.Fatal(err)
		}
		wantWait("it has ended", 0)
		purge(10 * syncTurn)
		wantWait("a slow one", syncTurn)
		wantWait("the same", 0)
		if err := <-purged; err != nil {
			t.Fatal(err)
		}
		if err := l.InvalidateURL("https", "a", "/"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(syncDelay + syncTurn) // it is being synced
		wantWait("one that nobody waits for", 0)
	})
}

// TestInvalidateDoesNotWait: a client's doing costs no sync of its own.
func TestInvalidateDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newForgetful()
		l := open(t, Options{Path: "j", files: f})
		before := l.journal.syncs.Load()
		for range 20 {
			if err := l.InvalidateURL("https", "a", "/"); err != nil {
				t.Fatal(err)
			}
		}
		if l.Judge(thing{scheme: "https", authority: "a", target: "/"}.entry(), 0) != storage.Invalid {
			t.Error("not in force")
		}
		if n := l.journal.syncs.Load() - before; n != 0 {
			t.Errorf("%d syncs", n)
		}
		time.Sleep(10 * syncDelay)
		if n := l.journal.syncs.Load() - before; n != 1 {
			t.Errorf("%d syncs in the background", n)
		}
	})
}

// TestWaitEndsWithItsContext, however long the disk takes.
func TestWaitEndsWithItsContext(t *testing.T) {
	f := newForgetful()
	l := open(t, Options{Path: "j", files: f})
	gate := make(chan struct{})
	f.onSync = func() { <-gate }
	defer close(gate)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, err := l.Purge(ctx, &Purge{Selectors: []Selector{All()}, Mode: Soft}); !errors.Is(err, ErrNotDurable) {
		t.Errorf("%v", err)
	}
}

// FuzzJournal: whatever the file holds, reading it ends, and what was read can
// be written and read again.
func FuzzJournal(f *testing.F) {
	data, ends := written()
	f.Add(data)
	f.Add(data[:ends[3]+5])
	f.Add(spared(data[:ends[3]+5]))
	f.Add(append(bytes.Clone(data[:ends[2]]), data[ends[3]:]...))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := parseJournal(data)
		if err != nil {
			return
		}
		again := appendHeader(nil, c.epoch, c.floor, c.origin)
		x := newIndex()
		for i := range c.records {
			again = appendPurge(again, &c.records[i])
			x.insert(&c.records[i], false)
		}
		if d, err := parseJournal(again); err != nil || d.damage != nil || len(d.records) != len(c.records) {
			t.Fatalf("written again, it does not read: %v %v", err, d.damage)
		}
	})
}

// sum is a checksum as the journal has it.
func sum(b []byte) []byte {
	return binary.LittleEndian.AppendUint32(nil, crc32.Checksum(b, castagnoli))
}
