package purge

import (
	"context"
	"fmt"
	"path/filepath"
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
	things := many(n, "all")
	for i := range things {
		if i%10 == 0 {
			things[i].tags = []string{"all", "tenth"}
		}
		if err := put(b, st, things[i], l.Sequence()); err != nil {
			b.Fatal(err)
		}
	}
	return st, things
}

// percentile returns the p-th of durations.
func percentile(d []time.Duration, p float64) time.Duration {
	slices.Sort(d)
	return d[min(int(float64(len(d))*p), len(d)-1)]
}

// BenchmarkTagPurge is a purge of a tag that a tenth of many stored responses
// carry, with the journal synced: until the answer, and how much of it the sync
// took. Each is followed by a look-up, which must miss.
func BenchmarkTagPurge(b *testing.B) {
	for _, n := range []int{10_000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			l := open(b, Options{Path: filepath.Join(b.TempDir(), "journal")})
			st, things := filled(b, l, n)
			l.Reclaim(st)
			took := make([]time.Duration, 0, b.N)
			before := l.journal.syncNS.Load()
			b.ResetTimer()
			for range b.N {
				began := time.Now()
				status, _ := l.Request(context.Background(), &Purge{Selectors: []Selector{must(ByTag("tenth"))}, Mode: Hard})
				took = append(took, time.Since(began))
				if status != 200 || find(st, things[0]) != "none" {
					b.Fatal("not purged")
				}
				b.StopTimer()
				_ = put(b, st, things[0], l.Sequence())
				b.StartTimer()
			}
			synced := l.journal.syncNS.Load() - before
			var all time.Duration
			for _, d := range took {
				all += d
			}
			b.ReportMetric(float64(percentile(took, 0.99))/1e6, "p99-ms")
			b.ReportMetric(100*float64(synced)/float64(all), "%fsync")
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
// purges a second, and beside none.
func BenchmarkHitsUnderPurges(b *testing.B) {
	for _, rate := range []int{0, 1000} {
		b.Run(fmt.Sprint(rate), func(b *testing.B) {
			l := open(b, Options{Path: filepath.Join(b.TempDir(), "journal")})
			st, things := filled(b, l, 10_000)
			l.Reclaim(st)
			var ended atomic.Bool
			done := make(chan struct{})
			go func() {
				defer close(done)
				for i := 0; rate > 0 && !ended.Load(); i++ {
					_, _ = l.Purge(context.Background(), &Purge{Selectors: []Selector{must(ByTag(fmt.Sprint("none", i)))}, Mode: Hard})
					time.Sleep(time.Second / time.Duration(rate))
				}
			}()
			var took []time.Duration
			i := 0
			for b.Loop() {
				began := time.Now()
				find(st, things[i%len(things)])
				took = append(took, time.Since(began))
				i++
			}
			ended.Store(true)
			<-done
			b.ReportMetric(float64(percentile(took, 0.99)), "p99-ns")
		})
	}
}
