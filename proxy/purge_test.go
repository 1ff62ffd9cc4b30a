package proxy

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"edge/cache/storage"
	"edge/message"
	"edge/purge"
)

// withLedger gives the rig a ledger.
func withLedger(t testing.TB, to **purge.Ledger) rigOption {
	return func(r *rig, o *Options) {
		start := time.Now()
		clock := func() message.Instant { return message.Instant(start.UnixNano() + int64(time.Since(start))) }
		l, err := purge.Open(purge.Options{Clock: clock})
		if err != nil {
			t.Fatal(err)
		}
		_ = r.store.Close()
		store, err := storage.NewMemory(storage.MemoryOptions{Size: 64 << 20, Ledger: l, Clock: clock})
		if err != nil {
			t.Fatal(err)
		}
		r.store, o.Store, o.Ledger, o.Purger = store, store, l, l
		*to = l
	}
}

func purgeNow(t testing.TB, l *purge.Ledger, mode purge.Mode, s purge.Selector, err error) {
	t.Helper()
	if err == nil {
		_, err = l.Purge(context.Background(), &purge.Purge{Selectors: []purge.Selector{s}, Mode: mode})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// inBubble runs a test of a rig with a ledger in virtual time.
func inBubble(t *testing.T, handler originHandler, f func(t *testing.T, r *rig, l *purge.Ledger), opts ...rigOption) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var l *purge.Ledger
		r := newRig(t, handler, append([]rigOption{withLedger(t, &l)}, opts...)...)
		f(t, r, l)
		r.close()
		_ = l.Close()
	})
}

// TestTagsAndGroups: a response is known by what its origin says, in whatever
// field, and the client sees groups but no tags.
func TestTagsAndGroups(t *testing.T) {
	const head = "HTTP/1.1 200 OK\nCache-Control: max-age=60\nSurrogate-Key: Red  blue\nCache-Tag: two words , Green,,\nX-Tags: seven, eight\nCache-Groups: \"News\", \"b\";x=1\n"
	for name, keep := range map[string]bool{"stripped": false, "kept": true} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(c *originConn) bool { return c.say(head, "x") }, func(t *testing.T, r *rig, _ *purge.Ledger) {
				for range 2 { // from the origin and from the store
					a := r.get("/x")
					a.expect(t, 200, "", "x")
					for _, f := range []string{"Surrogate-Key", "Cache-Tag", "X-Tags"} {
						if (a.Header.Get(f) != "") != keep {
							t.Errorf("%s is %q", f, a.Header.Get(f))
						}
					}
					if a.Header.Get("Cache-Groups") == "" {
						t.Error("Cache-Groups was taken away")
					}
				}
				r.store.Each(func(e storage.Entry) bool {
					m := e.Meta()
					if !slices.Equal(m.Tags, []string{"red", "blue", "two words", "green", "seven", "eight"}) || !slices.Equal(m.Groups, []string{"News", "b"}) {
						t.Errorf("tags %q, groups %q", m.Tags, m.Groups)
					}
					return true
				})
			}, func(r *rig, _ *Options) { r.route.KeepTags, r.route.TagFields = keep, [][]byte{[]byte("x-tags")} })
		})
	}
}

// TestTagsBeyondBounds: a tag too long is left out, a response with too many
// tags is served and not stored.
func TestTagsBeyondBounds(t *testing.T) {
	inBubble(t, func(c *originConn) bool {
		tags := strings.Repeat("x", maxTag+1) + " " + strings.Repeat("y", maxTag)
		if c.req.URL.Path == "/many" {
			tags = ""
			for i := range maxTags + 1 {
				tags += fmt.Sprintf(" t%d", i)
			}
		}
		return c.say("HTTP/1.1 200 OK\nCache-Control: max-age=60\nCache-Groups: not a list\nSurrogate-Key: "+tags, "x")
	}, func(t *testing.T, r *rig, _ *purge.Ledger) {
		for range 2 {
			r.get("/long").expect(t, 200, "", "x")
			r.get("/many").expect(t, 200, "", "x")
		}
		if n := r.origin.count(); n != 3 {
			t.Errorf("%d requests to the origin, want 3", n)
		}
		r.store.Each(func(e storage.Entry) bool {
			if m := e.Meta(); len(m.Tags) != 1 || len(m.Tags[0]) != maxTag || len(m.Groups) != 0 {
				t.Errorf("%d tags, groups %q", len(m.Tags), m.Groups)
			}
			return true
		})
	})
}

// numbered answers with the number of the request, and a tag.
func numbered(directives string) originHandler {
	return func(c *originConn) bool {
		if c.req.Header.Get("If-None-Match") == `"same"` {
			return c.say("HTTP/1.1 304 Not Modified\nETag: \"same\"\nCache-Control: "+directives, "")
		}
		return c.say("HTTP/1.1 200 OK\nSurrogate-Key: a\nETag: \"same\"\nCache-Control: "+directives, fmt.Sprint(c.n))
	}
}

// TestHardAndSoft: what is purged hard is fetched anew; what is purged soft is
// stale, with all that stale responses are good for.
func TestHardAndSoft(t *testing.T) {
	inBubble(t, numbered("max-age=60, stale-while-revalidate=10"), func(t *testing.T, r *rig, l *purge.Ledger) {
		l.Reclaim(r.store) // so that the window counts from the purge
		r.get("/x").expect(t, 200, "fwd=uri-miss", "1")
		tag, err := purge.ByTag("A")
		purgeNow(t, l, purge.Soft, tag, err)
		r.get("/x").expect(t, 200, "hit; ttl=", "1") // while it is revalidated
		for r.proxy.Stats().Refreshes > 0 {
			time.Sleep(time.Nanosecond)
		}
		if got := r.origin.last(); !strings.Contains(got, `If-None-Match: "same"`) {
			t.Errorf("the refresh asked %q", got)
		}
		a := r.get("/x")
		a.expect(t, 200, "hit; ttl=", "1")
		purgeNow(t, l, purge.Hard, tag, err)
		r.get("/x").expect(t, 200, "fwd=uri-miss", "3")
		purgeNow(t, l, purge.Soft, tag, err)
		time.Sleep(11 * time.Second) // the window is over
		r.get("/x").expect(t, 200, "fwd=stale", "3")
		r.get("/x").expect(t, 200, "hit", "3")
	})
}

// TestSoftPurgedOnError: stale-if-error goes on working.
func TestSoftPurgedOnError(t *testing.T) {
	var down atomic.Bool
	inBubble(t, func(c *originConn) bool {
		if down.Load() {
			return c.say("HTTP/1.1 500 Internal Server Error", "broken")
		}
		return c.say("HTTP/1.1 200 OK\nCache-Control: max-age=60, stale-if-error=100", "fine")
	}, func(t *testing.T, r *rig, l *purge.Ledger) {
		r.get("/x").expect(t, 200, "fwd=uri-miss", "fine")
		purgeNow(t, l, purge.Soft, purge.All(), nil)
		down.Store(true)
		r.get("/x").expect(t, 200, "", "fine")
	})
}

// TestPurgeDuringAFill: who asked before gets what is on its way; who asks after
// gets something newer; and what was on its way is not stored.
func TestPurgeDuringAFill(t *testing.T) {
	var release chan struct{} // of the bubble
	handler := func(c *originConn) bool {
		if c.n > 1 {
			return c.say("HTTP/1.1 200 OK\nCache-Tag: a\nCache-Control: max-age=60", "new")
		}
		_, _ = fmt.Fprint(c, "HTTP/1.1 200 OK\r\nCache-Tag: a\r\nCache-Control: max-age=60\r\nContent-Length: 6\r\n\r\nold")
		<-release
		_, err := fmt.Fprint(c, "old")
		return err == nil
	}
	inBubble(t, handler, func(t *testing.T, r *rig, l *purge.Ledger) {
		release = make(chan struct{})
		var before sync.WaitGroup
		for range 3 {
			before.Go(func() { r.get("/x").expect(t, 200, "", "oldold") })
			synctest.Wait()
		}
		tag, err := purge.ByTag("a")
		purgeNow(t, l, purge.Hard, tag, err)
		r.get("/x").expect(t, 200, "", "new")
		close(release)
		before.Wait()
		synctest.Wait()
		r.get("/x").expect(t, 200, "hit", "new")
		if n := r.origin.count(); n != 2 {
			t.Errorf("%d requests to the origin, want 2", n)
		}
	})
}

// TestGroupInvalidation: RFC 9875, by responses to unsafe requests only, within
// one URI origin.
func TestGroupInvalidation(t *testing.T) {
	inBubble(t, func(c *originConn) bool {
		if c.req.URL.Path == "/act" {
			return c.say("HTTP/1.1 200 OK\nCache-Group-Invalidation: \"News\"\nCache-Control: no-store", "done")
		}
		return c.say("HTTP/1.1 200 OK\nCache-Control: max-age=60\nCache-Groups: \"News\"", fmt.Sprint(c.n))
	}, func(t *testing.T, r *rig, l *purge.Ledger) {
		r.get("POST /act HTTP/1.1\nContent-Length: 0").expect(t, 200, "", "done")
		if n := l.Sequence(); n != 0 {
			t.Errorf("%d purges where nothing is stored", n)
		}
		r.get("/x").expect(t, 200, "", "2")
		r.get("GET /x HTTP/1.1\nHost: other.example").expect(t, 200, "", "3")
		r.get("/act").expect(t, 200, "", "done")
		r.get("/x").expect(t, 200, "hit", "2")
		r.get("POST /act HTTP/1.1\nContent-Length: 0").expect(t, 200, "", "done")
		r.get("/x").expect(t, 200, "fwd", "6")
		r.get("GET /x HTTP/1.1\nHost: other.example").expect(t, 200, "hit", "3")
		sequence := l.Sequence()
		r.get("POST /x HTTP/1.1\nContent-Length: 0").expect(t, 200, "", "7")
		if l.Sequence() != sequence+1 {
			t.Error("an invalidation by URL was not noted")
		}
		r.get("POST /none HTTP/1.1\nContent-Length: 0").expect(t, 200, "", "8")
		if l.Sequence() != sequence+1 {
			t.Error("an invalidation of what is not stored was noted")
		}
	})
}

// TestPurgeMethod: off by default, by address or token, and never an origin's
// business.
func TestPurgeMethod(t *testing.T) {
	token := func(b []byte) bool { return string(b) == "secret" }
	for name, c := range map[string]struct {
		rule   *PurgeMethod
		fields string
		want   int
	}{
		"off":           {nil, "Authorization: Bearer secret", 405},
		"address":       {&PurgeMethod{Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}, "X: y", 200},
		"wrong address": {&PurgeMethod{Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.3.0/24")}}, "X-Forwarded-For: 192.0.3.1", 405},
		"token":         {&PurgeMethod{Token: token}, "Authorization: bearer secret", 200},
		"wrong token":   {&PurgeMethod{Token: token}, "Authorization: Bearer secrets", 405},
		"no token":      {&PurgeMethod{Token: token}, "Authorization: Basic secret", 405},
		"two tokens":    {&PurgeMethod{Token: token}, "Authorization: Bearer x\nAuthorization: Bearer secret", 405},
		"soft":          {&PurgeMethod{Token: token}, "Authorization: Bearer secret\nFastly-Soft-Purge: 1", 200},
		"soft or not":   {&PurgeMethod{Token: token}, "Authorization: Bearer secret\nFastly-Soft-Purge: true", 400},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			inBubble(t, numbered("max-age=60"), func(t *testing.T, r *rig, l *purge.Ledger) {
				l.Reclaim(r.store)
				r.get("/x").expect(t, 200, "", "1")
				a := r.get("PURGE /x?utm_a=b HTTP/1.1\n" + c.fields)
				if a.StatusCode != c.want || r.origin.count() != 1 {
					t.Errorf("%d %s, %d requests to the origin", a.StatusCode, a.body, r.origin.count())
				}
				if c.want != 200 {
					r.get("/x").expect(t, 200, "hit", "1")
					return
				}
				if want := `"matched":1,"exact":true,"soft":` + fmt.Sprint(name == "soft"); !strings.Contains(a.body, want) {
					t.Errorf("answered %s", a.body)
				}
				if name == "soft" {
					r.get("/x").expect(t, 200, "fwd=stale", "1")
				} else {
					r.get("/x").expect(t, 200, "fwd=uri-miss", "2")
				}
			}, func(r *rig, _ *Options) { r.route.Purge, r.route.Key = c.rule, KeyRules{QueryDrop: []string{"utm_*"}} })
		})
	}
}

// TestTheLawInARace: beside clients that fetch, follow and hit, and refreshes
// behind them, no request that begins after a purge was acknowledged is answered
// with what the origin said before it.
func TestTheLawInARace(t *testing.T) {
	var version atomic.Int64
	version.Store(1)
	var l *purge.Ledger
	r := newRig(t, func(c *originConn) bool {
		v := fmt.Sprint(version.Load())
		etag := `"` + v + `"`
		if c.req.Header.Get("If-None-Match") == etag {
			return c.say("HTTP/1.1 304 Not Modified\nETag: "+etag+"\nCache-Control: max-age=60", "")
		}
		return c.say("HTTP/1.1 200 OK\nSurrogate-Key: a b\nCache-Groups: \"g\"\nETag: "+etag+"\nCache-Control: max-age=60", v)
	}, withLedger(t, &l))
	l.Reclaim(r.store)
	selectors := []purge.Selector{purge.All()}
	for _, by := range []func() (purge.Selector, error){
		func() (purge.Selector, error) { return purge.ByTag("b") },
		func() (purge.Selector, error) { return purge.ByHost("example.com") },
		func() (purge.Selector, error) { return purge.ByGroup("http://example.com", "g") },
	} {
		s, err := by()
		if err != nil {
			t.Fatal(err)
		}
		selectors = append(selectors, s)
	}
	prefix, err := purge.ByPrefix("http://example.com/")
	if err != nil {
		t.Fatal(err)
	}
	selectors = append(selectors, prefix...)
	var acknowledged atomic.Int64
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				least := acknowledged.Load()
				a := r.get(fmt.Sprintf("/%d", n%3))
				var got int64
				if _, err := fmt.Sscan(a.body, &got); err != nil || got < least {
					t.Errorf("version %q after a purge at version %d was acknowledged: %s", a.body, least, a.Header.Get("Cache-Status"))
					return
				}
			}
		})
	}
	for i := range 300 {
		v := version.Add(1)
		purgeNow(t, l, purge.Mode(1+2*(i%2)), selectors[i%len(selectors)], nil) // soft, then hard
		acknowledged.Store(v)
		if i%10 == 0 {
			time.Sleep(time.Millisecond)
		}
	}
	close(stop)
	clients.Wait()
	r.close()
	_ = l.Close()
}

// TestTagsFollowARefresh: a 304 that names tags or groups renames what is stored; one
// that names none leaves it as it is.
func TestTagsFollowARefresh(t *testing.T) {
	for _, c := range []struct {
		refresh string
		gone    []string // by a purge of which the response goes afterwards
		kept    []string
	}{
		{"", []string{"old", "G old"}, []string{"new"}},
		{"Surrogate-Key: New\n", []string{"new", "G old"}, []string{"old"}},
		{"Cache-Groups: \"new\"\n", []string{"old", "G new"}, []string{"G old"}},
	} {
		for _, by := range append(c.gone, c.kept...) {
			t.Run(c.refresh+by, func(t *testing.T) {
				asked := 0
				origin := func(o *originConn) bool {
					if asked++; asked == 2 {
						return o.say("HTTP/1.1 304 Not Modified\nCache-Control: max-age=60\nETag: \"a\"\n"+c.refresh, "")
					}
					return o.say("HTTP/1.1 200 OK\nCache-Control: max-age=1\nETag: \"a\"\nSurrogate-Key: old\nCache-Groups: \"old\"\n", "x")
				}
				inBubble(t, origin, func(t *testing.T, r *rig, l *purge.Ledger) {
					r.get("/x").expect(t, 200, "", "x")
					time.Sleep(2 * time.Second)
					r.get("/x").expect(t, 200, "", "x")
					if asked != 2 {
						t.Fatalf("the origin was asked %d times", asked)
					}
					var s purge.Selector
					var err error
					if group, ok := strings.CutPrefix(by, "G "); ok {
						s, err = purge.ByGroup("http://example.com", group)
					} else {
						s, err = purge.ByTag(by)
					}
					purgeNow(t, l, purge.Hard, s, err)
					n := 0
					for _, e := range r.store.Lookup(nil, storage.URLKey("http", "example.com", "/x")) {
						e.Release()
						n++
					}
					if (n == 0) != slices.Contains(c.gone, by) {
						t.Errorf("after a purge of %s %d are left", by, n)
					}
				})
			})
		}
	}
}

// TestPurgeReachesWhatAnswersTheURI: by No-Vary-Search a response that another URI
// brought answers this one, and is purged with it; one that is on its way to the
// store when the purge comes is validated first.
func TestPurgeReachesWhatAnswersTheURI(t *testing.T) {
	for _, soft := range []bool{false, true} {
		t.Run(fmt.Sprint("soft=", soft), func(t *testing.T) {
			inBubble(t, func(c *originConn) bool {
				body := fmt.Sprint(c.n)
				if c.req.Header.Get("If-None-Match") != "" {
					return c.say(ruledHead(`params=("u")`)+"\nETag: \"a"+body+"\"", body)
				}
				if !c.say(ruledHead(`params=("u")`)+"\nETag: \"a"+body+"\"\nContent-Length: 1", "") {
					return false
				}
				if strings.HasPrefix(c.req.URL.Path, "/slow") {
					time.Sleep(time.Second)
				}
				_, err := fmt.Fprint(c, body)
				return err == nil
			}, func(t *testing.T, r *rig, l *purge.Ledger) {
				l.Reclaim(r.store)
				purge := func(target string, matched int) {
					t.Helper()
					request := "PURGE " + target + " HTTP/1.1\nX: y"
					if soft {
						request += "\nFastly-Soft-Purge: 1"
					}
					if a := r.get(request); a.StatusCode != 200 || !strings.Contains(a.body, fmt.Sprintf(`"matched":%d,`, matched)) {
						t.Errorf("%d %s; want %d matched", a.StatusCode, a.body, matched)
					}
				}
				r.get("/p?u=1").expect(t, 200, "uri-miss", "1")
				r.get("/p?u=2").expect(t, 200, "hit", "1")
				purge("/p?u=2", 1)
				r.get("/p?u=2").expect(t, 200, "fwd", "2")
				r.get("/slow?u=0").expect(t, 200, "uri-miss", "3") // for the rule
				purge("/slow?u=0", 1)
				done := make(chan answer)
				go func() { done <- r.get("/slow?u=1") }()
				synctest.Wait()
				purge("/slow?u=2", 0)
				(<-done).expect(t, 200, "fwd", "4")
				synctest.Wait()
				r.get("/slow?u=2").expect(t, 200, "fwd", "5")
			}, func(r *rig, _ *Options) {
				r.route.Purge = &PurgeMethod{Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}
			})
		})
	}
}
