package purge

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"edge/cache/storage"
)

// filled returns a store of n responses, a tenth of them tagged "tenth".
func filled(b *testing.B, l *Ledger, n int) (*storage.Memory, []thing) {
	b.Helper()
	st, err := storage.NewMemory(storage.MemoryOptions{Size: int64(n)*3<<10 + 64<<20, Ledger: l, Clock: clock})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = st.Close() })
	things := many(n)
	for i := range things {
		if i%10 == 0 {
			things[i].tags = []string{"tenth"}
		}
	}
	refill(b, l, st, things)
	return st, things
}

// refill stores what is not stored.
func refill(b *testing.B, l *Ledger, st *storage.Memory, things []thing) {
	b.Helper()
	for i := range things {
		if err := put(b, st, things[i], l.Sequence()); err != nil {
			b.Fatal(err)
		}
	}
}

// percentile returns the p-th of durations.
func percentile(d []time.Duration, p float64) time.Duration {
	slices.Sort(d)
	return d[min(int(float64(len(d))*p), len(d)-1)]
}

// tenths returns every tenth of things.
func tenths(things []thing) (list []thing) {
	for i := 0; i < len(things); i += 10 {
		list = append(list, things[i])
	}
	return list
}

// BenchmarkTagPurge is a purge of a tag that a tenth of many stored responses
// carry, with the journal synced: until the answer, and how much of it the sync
// took. Each is followed by a look-up, which must miss; then, off the clock, all of
// the tenth is stored again. What that leaves for the garbage collector, hundreds of
// megabytes, is collected off the clock too: an operator purges beside what purges cause,
// not beside what storing a hundred thousand responses in a second does; except where
// collections run into the purges as they will. final-ms is until all of it is counted,
// freed-ms until its space is.
func BenchmarkTagPurge(b *testing.B) {
	for _, c := range []struct {
		name    string
		stored  int
		collect bool // off the clock
	}{{"10000", 10_000, true}, {"1000000", 1_000_000, true}, {"1000000-beside-collections", 1_000_000, false}} {
		b.Run(c.name, func(b *testing.B) {
			t := &tagPurges{l: open(b, Options{Path: filepath.Join(b.TempDir(), "journal")}), stored: c.stored}
			var things []thing
			t.st, things = filled(b, t.l, c.stored)
			t.l.Reclaim(t.st)
			t.tagged = tenths(things)
			runtime.GC()
			b.ResetTimer()
			for range b.N {
				r := t.purge(b)
				b.StopTimer()
				t.wait(b, r)
				if refill(b, t.l, t.st, t.tagged); c.collect {
					runtime.GC()
				}
				b.StartTimer()
			}
			b.ReportMetric(100*float64(inAll(t.synced))/float64(inAll(t.took)), "%fsync")
			b.ReportMetric(float64(percentile(t.took, 0.5))/1e6, "p50-ms")
			b.ReportMetric(float64(percentile(t.took, 0.99))/1e6, "p99-ms")
			b.ReportMetric(float64(percentile(t.synced, 0.99))/1e6, "sync-p99-ms")
			b.ReportMetric(float64(t.final)/1e6, "final-ms")
			b.ReportMetric(float64(t.freed)/1e6, "freed-ms")
		})
	}
}

// inAll adds durations up.
func inAll(d []time.Duration) (all time.Duration) {
	for _, one := range d {
		all += one
	}
	return all
}

// tagPurges are the purges of a tag that a part of what is stored carries.
type tagPurges struct {
	l            *Ledger
	st           *storage.Memory
	stored       int
	tagged       []thing
	began        time.Time // of the last
	took, synced []time.Duration
	final, freed time.Duration // the longest
}

// purge purges, on the clock.
func (t *tagPurges) purge(b *testing.B) *Receipt {
	b.Helper()
	synced := t.l.journal.syncNS.Load()
	t.began = time.Now()
	status, answer := t.l.Request(context.Background(), &Purge{Selectors: []Selector{must(ByTag("tenth"))}, Mode: Hard})
	t.took = append(t.took, time.Since(t.began))
	t.synced = append(t.synced, time.Duration(t.l.journal.syncNS.Load()-synced))
	a, n := answer.(*Answer), int64(len(t.tagged))
	if status != 200 || find(t.st, t.tagged[0]) != "none" || a.Exact && a.Matched != n || a.Matched <= min(ExactUpTo, n-1) {
		b.Fatalf("status %d, %+v", status, a)
	}
	r, _ := t.l.Receipt(a.ID)
	return r
}

// wait waits until what was purged is counted and freed.
func (t *tagPurges) wait(b *testing.B, r *Receipt) {
	b.Helper()
	<-r.Done()
	t.final = max(t.final, time.Since(t.began))
	if n, _ := r.Matched(); n != int64(len(t.tagged)) {
		b.Fatalf("matched %d of %d", n, len(t.tagged))
	}
	for t.st.Stats().Entries > int64(t.stored-len(t.tagged)) {
		time.Sleep(time.Millisecond)
	}
	t.freed = max(t.freed, time.Since(t.began))
}

// BenchmarkPurgeOfFew is a purge that takes one response of a million, by each way of
// naming it, until its exact answer.
func BenchmarkPurgeOfFew(b *testing.B) {
	l := open(b, Options{})
	st, things := filled(b, l, 1_000_000)
	one := things[5]
	one.authority, one.tags, one.groups = "few.example", []string{"few"}, []string{"few"}
	l.Reclaim(st)
	for _, c := range []struct {
		name string
		s    Selector
	}{
		{"url", must(ByURL("https://few.example" + one.target))}, {"tag", must(ByTag("few"))}, {"group", must(ByGroup("https://few.example", "few"))},
		{"prefix", mustPrefix("https://few.example/")}, {"host", must(ByHost("few.example"))},
	} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				if err := put(b, st, one, l.Sequence()); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
				_, answer := l.Request(context.Background(), &Purge{Selectors: []Selector{c.s}, Mode: Hard})
				if a := answer.(*Answer); a.Matched != 1 || !a.Exact {
					b.Fatalf("%+v", a)
				}
			}
		})
	}
}

// BenchmarkHitBesidePurges is a look-up of a small response: with no purge, with
// many live ones of each kind, and where each look-up is the first since a purge.
func BenchmarkHitBesidePurges(b *testing.B) {
	for _, c := range []struct {
		name  string
		live  int
		fresh bool // a purge before each look-up
	}{{"none", 0, false}, {"10000-of-each", 10_000, false}, {"judged-each-time", 10_000, true}} {
		b.Run(c.name, func(b *testing.B) {
			l := open(b, Options{})
			st, things := filled(b, l, 1000)
			for i := range c.live {
				mustPurge(b, l, Hard, must(ByURL(fmt.Sprintf("https://other/%d", i))), mustPrefix(fmt.Sprintf("https://other/%d/", i)),
					must(ByTag(fmt.Sprint("x", i))), must(ByHost(fmt.Sprint("h", i))), must(ByGroup("https://other", fmt.Sprint(i))))
			}
			var dst [4]storage.Entry
			key := things[1].proposal(0).Key
			p := &Purge{Selectors: []Selector{must(ByTag("none"))}, Mode: Hard}
			b.ReportAllocs()
			for b.Loop() {
				if c.fresh {
					b.StopTimer()
					if _, err := l.Purge(context.Background(), p); err != nil {
						b.Fatal(err)
					}
					b.StartTimer()
				}
				found := st.Lookup(dst[:0], key)
				if len(found) != 1 {
					b.Fatal("not found")
				}
				found[0].Release()
			}
		})
	}
}

// BenchmarkHitsUnderPurges is the slowest of a hundred look-ups beside a thousand
// purges a second, of tags and of hosts, and beside none.
func BenchmarkHitsUnderPurges(b *testing.B) {
	for _, c := range []struct {
		name string
		s    func(i int) Selector // nil: no purges
	}{
		{"none", nil},
		{"1000-tags", func(i int) Selector { return must(ByTag(fmt.Sprint("none", i))) }},
		{"1000-hosts", func(i int) Selector { return must(ByHost(fmt.Sprint("none", i))) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			l := open(b, Options{Path: filepath.Join(b.TempDir(), "journal")})
			st, things := filled(b, l, 100_000)
			l.Reclaim(st)
			var ended atomic.Bool
			done := make(chan struct{})
			go func() {
				defer close(done)
				next := time.Now()
				for i := 0; c.s != nil && !ended.Load(); i++ {
					// Not waited for one by one: a thousand come in a second,
					// however long each takes.
					go func() {
						_, _ = l.Purge(context.Background(), &Purge{Selectors: []Selector{c.s(i)}, Mode: Hard})
					}()
					next = next.Add(time.Millisecond)
					time.Sleep(time.Until(next))
				}
			}()
			var keys []storage.Key
			for i := range things {
				keys = append(keys, things[i].proposal(0).Key)
			}
			var dst [4]storage.Entry
			took := make([]time.Duration, 0, 1<<20)
			i := 0
			b.ResetTimer()
			for b.Loop() {
				began := time.Now()
				found := st.Lookup(dst[:0], keys[i%len(keys)])
				took = append(took, time.Since(began))
				if len(found) != 1 {
					b.Fatal("not found")
				}
				found[0].Release()
				i++
			}
			ended.Store(true)
			<-done
			b.ReportMetric(float64(percentile(took, 0.99)), "p99-ns")
		})
	}
}
