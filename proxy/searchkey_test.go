package proxy

import (
	"fmt"
	"io"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edge/internal/memconn"
	"edge/wire/h1"
)

// ruled answers with its number and target, and the rule that f says.
func ruled(f func(c *originConn) string) originHandler {
	return func(c *originConn) bool {
		return c.say(ruledHead(f(c)), fmt.Sprint(c.n, " ", c.req.RequestURI))
	}
}

func ruledHead(rule string) string {
	head := "HTTP/1.1 200 OK\nCache-Control: max-age=60"
	if rule != "" {
		head += "\nNo-Vary-Search: " + rule
	}
	return head
}

// slowly is ruled, with answers that take a second from their head to their end.
func slowly(f func(c *originConn) string) originHandler {
	return func(c *originConn) bool {
		body := fmt.Sprint(c.n, " ", c.req.RequestURI)
		if !c.say(ruledHead(f(c))+fmt.Sprintf("\nContent-Length: %d", len(body)), "") {
			return false
		}
		time.Sleep(time.Second)
		_, err := io.WriteString(c, body)
		return err == nil
	}
}

func always(rule string) originHandler { return ruled(func(*originConn) string { return rule }) }

// One answer for every query that its rule makes equal; the origin is asked for
// what the client asked for.
func TestNoVarySearch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, always(`key-order, params=("utm")`))
		defer r.close()
		r.get("/p?b=2&a=1&utm=x").expect(t, 200, "uri-miss", "1 /p?b=2&a=1&utm=x")
		for _, same := range []string{"/p?b=2&a=1&utm=x", "/p?a=1&b=2", "/p?utm=y&%61=1&b=%32", "/p?a=1&utm&b=2&"} {
			r.get(same).expect(t, 200, "hit", "1 /p?b=2&a=1&utm=x")
		}
		r.get("/p?a=1&b=3").expect(t, 200, "uri-miss", "2 /p?a=1&b=3")
		r.get("/p").expect(t, 200, "uri-miss", "3 /p")
		r.get("/p?utm=z").expect(t, 200, "hit", "3 /p")
		r.get("/q?utm=z").expect(t, 200, "uri-miss", "4 /q?utm=z") // another path
		r.get("/p?utm=z\nHost: other.example").expect(t, 200, "uri-miss", "5 /p?utm=z")
	})
}

// A rule that an answer does not carry is not its own, and an answer without one
// answers its own query only.
func TestNoVarySearchIsTheAnswersOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, ruled(func(c *originConn) string {
			switch {
			case strings.HasPrefix(c.req.URL.RawQuery, "wide"):
				return "except=()"
			case strings.HasPrefix(c.req.URL.RawQuery, "order"):
				return "key-order"
			}
			return ""
		}))
		defer r.close()
		r.get("/p?plain&u=1").expect(t, 200, "uri-miss", "1 /p?plain&u=1")
		r.get("/p?wide").expect(t, 200, "uri-miss", "2 /p?wide")
		// Its own answer is at hand too, and either will do.
		r.get("/p?other").expect(t, 200, "hit", "2 /p?wide")
		r.get("/p?order&a").expect(t, 200, "hit", "2 /p?wide")
	})
}

// What a changed rule makes unreachable is asked for again, and never mixed.
func TestNoVarySearchChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rule := `params=("u")`
		r := newRig(t, ruled(func(*originConn) string { return rule }))
		defer r.close()
		r.get("/p?a&u=1").expect(t, 200, "uri-miss", "1 /p?a&u=1")
		rule = `params=("v")`
		r.get("/p?b&v=1").expect(t, 200, "uri-miss", "2 /p?b&v=1") // teaches the new one
		r.get("/p?b&v=2").expect(t, 200, "hit", "2 /p?b&v=1")
		r.get("/p?a&u=2").expect(t, 200, "uri-miss", "3 /p?a&u=2")
		rule = `params=("u")`
		r.get("/p?c&u=1").expect(t, 200, "uri-miss", "4 /p?c&u=1")
		// Stored under the first rule, which had another number.
		r.get("/p?a&u=1").expect(t, 200, "uri-miss", "5 /p?a&u=1")
		rule = `params=("u"` // broken, hence none
		r.get("/p?e&u=1").expect(t, 200, "uri-miss", "6 /p?e&u=1")
		r.get("/p?e&u=1").expect(t, 200, "hit", "6 /p?e&u=1")
		rule = ""
		r.get("/p?d&u=1").expect(t, 200, "uri-miss", "7 /p?d&u=1")
		r.get("/p?d&u=2").expect(t, 200, "uri-miss", "8 /p?d&u=2")
		r.get("/p?d&u=1").expect(t, 200, "hit", "7 /p?d&u=1")
		r.get("/p?c&u=9").expect(t, 200, "hit", "4 /p?c&u=1")
	})
}

// A 304 that changes the rule takes the stored response from where the old rule
// put it.
func TestNoVarySearchFreshened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *originConn) bool {
			if c.req.Header.Get("If-None-Match") != "" {
				return c.say("HTTP/1.1 304 Not Modified\nCache-Control: max-age=60\nETag: \"a\"\nNo-Vary-Search: key-order", "")
			}
			return c.say("HTTP/1.1 200 OK\nCache-Control: max-age=60\nETag: \"a\"\nNo-Vary-Search: params=(\"u\")", c.req.RequestURI)
		})
		defer r.close()
		r.get("/p?u=1").expect(t, 200, "uri-miss", "/p?u=1")
		r.get("/p?u=2").expect(t, 200, "hit", "/p?u=1")
		time.Sleep(61 * time.Second)
		r.get("/p?u=1").expect(t, 200, "fwd=stale", "/p?u=1")
		r.get("/p?u=2").expect(t, 200, "uri-miss", "/p?u=2")
	})
}

// RFC 9111 section 4.4: what the target URI could be answered with is
// invalidated, whichever URI brought it; and what was on its way then is not
// stored, though its rule was not known.
func TestNoVarySearchIsInvalidated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *originConn) bool {
			if c.req.Method == "POST" {
				return c.say("HTTP/1.1 204 No Content\nContent-Length: 0", "")
			}
			if strings.HasPrefix(c.req.RequestURI, "/slow") && c.n < 6 {
				time.Sleep(10 * time.Second)
			}
			return always(`params=("u")`)(c)
		})
		defer r.close()
		post := "POST %s HTTP/1.1\nContent-Length: 0"
		r.get("/p?a&u=1").expect(t, 200, "uri-miss", "1 /p?a&u=1")
		r.get(fmt.Sprintf(post, "/p?a&u=9")).expect(t, 204, "", "")
		if a := r.get("/p?a"); a.body != "3 /p?a" {
			t.Errorf("after the POST: %q, Cache-Status %q", a.body, a.Header.Get("Cache-Status"))
		}
		r.get("/p?a&u=3").expect(t, 200, "hit", "3 /p?a")

		done := make(chan answer)
		go func() { done <- r.get("/slow?u=1") }()
		time.Sleep(time.Second)
		r.get(fmt.Sprintf(post, "/slow")).expect(t, 204, "", "")
		if a := <-done; a.body != "4 /slow?u=1" {
			t.Errorf("the slow one got %q", a.body)
		}
		r.get("/slow?u=2").expect(t, 200, "uri-miss", "6 /slow?u=2")
		r.get("/slow?u=3").expect(t, 200, "hit", "6 /slow?u=2")
	})
}

// An invalidation is not missed because the rule changed meanwhile.
func TestNoVarySearchChangesUnderway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *originConn) bool {
			switch {
			case c.req.Method == "POST":
				return c.say("HTTP/1.1 204 No Content\nContent-Length: 0", "")
			case c.n == 1:
				return always(`params=("u")`)(c)
			case c.req.RequestURI == "/p?other":
				return always(`params=("v")`)(c)
			case c.n == 2:
				time.Sleep(10 * time.Second)
			}
			return always("")(c)
		})
		defer r.close()
		r.get("/p?first").expect(t, 200, "uri-miss", "1 /p?first")
		done := make(chan answer)
		go func() { done <- r.get("/p?a") }() // under the first rule's key
		time.Sleep(time.Second)
		r.get("/p?other").expect(t, 200, "uri-miss", "3 /p?other")
		r.get("POST /p?a HTTP/1.1\nContent-Length: 0").expect(t, 204, "", "")
		(<-done).expect(t, 200, "uri-miss", "2 /p?a")
		r.get("/p?a").expect(t, 200, "uri-miss", "5 /p?a")
	})
}

// Decorated requests wait for one another, unless the answer turns out to be
// for one query only.
func TestNoVarySearchCollapses(t *testing.T) {
	for _, keeps := range []bool{true, false} {
		t.Run(fmt.Sprint(keeps), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, slowly(func(c *originConn) string {
					if c.n == 1 {
						return `params=("u")`
					}
					time.Sleep(time.Second)
					if keeps {
						return `params=("u")`
					}
					return ""
				}))
				defer r.close()
				r.get("/p?first").expect(t, 200, "uri-miss", "1 /p?first")
				type pair struct {
					asked string
					got   answer
				}
				all := make(chan pair)
				for i := range 10 {
					go func() {
						asked := fmt.Sprintf("/p?a&u=%d", i)
						all <- pair{asked, r.get(asked)}
					}()
				}
				for range 10 {
					p := <-all
					if own := strings.HasSuffix(p.got.body, " "+p.asked); !keeps && !own {
						t.Errorf("%s got %q", p.asked, p.got.body)
					}
				}
				if n := r.origin.count(); keeps && n != 2 {
					t.Errorf("the origin was asked %d times", n)
				}
			})
		})
	}
}

// Nothing that a client sends sets a rule, and neither does what is not stored.
func TestNoVarySearchIsNotTheClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *originConn) bool {
			if c.n == 1 {
				return c.say("HTTP/1.1 200 OK\nCache-Control: private\nNo-Vary-Search: except=()", "mine")
			}
			return always("")(c)
		})
		defer r.close()
		r.get("/p?x=0\nNo-Vary-Search: except=()").expect(t, 200, "uri-miss", "mine")
		r.get("/p?x=1\nNo-Vary-Search: except=()").expect(t, 200, "uri-miss", "2 /p?x=1")
		r.get("/p?x=2\nNo-Vary-Search: except=()").expect(t, 200, "uri-miss", "3 /p?x=2")
		if n := r.proxy.rules.len(); n != 0 {
			t.Errorf("%d rules were learnt", n)
		}
	})
}

func TestNoVarySearchIgnored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, always("except=()"), func(r *rig, _ *Options) { r.route.IgnoreNoVarySearch = true })
		defer r.close()
		r.get("/p?1").expect(t, 200, "uri-miss", "1 /p?1")
		r.get("/p?2").expect(t, 200, "uri-miss", "2 /p?2")
		r.get("/p?1").expect(t, 200, "hit", "1 /p?1")
	})
}

// The route's own rules come first: what they drop, no rule sees.
func TestNoVarySearchAfterTheRoutesRules(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, always("key-order"), func(r *rig, _ *Options) {
			r.route.Key = KeyRules{QueryDrop: []string{"utm_*"}, Cookies: [][]byte{[]byte("lang")}}
		})
		defer r.close()
		r.get("/p?b&utm_x&a").expect(t, 200, "uri-miss", "1 /p?b&a")
		r.get("/p?a&b").expect(t, 200, "hit", "1 /p?b&a")
		r.get("/p?a&b\nCookie: lang=fr").expect(t, 200, "uri-miss", "2 /p?a&b")
		r.get("/p?b&a\nCookie: lang=fr").expect(t, 200, "hit", "2 /p?a&b")
	})
}

// A full table keeps what is in use, and forgetting costs hits only.
func TestURITableIsBounded(t *testing.T) {
	const room = uriShards * maxURIShard
	table := newURITable[int]()
	willDo := func(int) bool { return true }
	seen := make(map[uint64]bool)
	for i := range 2 * room {
		e := table.put(fmt.Append(nil, i), i, willDo)
		if e == nil || seen[e.number] {
			t.Fatalf("entry %d: %v", i, e)
		}
		seen[e.number] = true
	}
	if n := table.len(); n > room || n < room*9/10 {
		t.Errorf("%d entries", n)
	}
	kept := 0
	for i := range 2 * room {
		if e := table.get(fmt.Append(nil, i)); e != nil && e.value == i {
			kept++
		}
	}
	if int64(kept) != table.len() {
		t.Errorf("%d entries were found of %d", kept, table.len())
	}
	// Now all are in use: most of what is new is not remembered, at first.
	refused := 0
	for i := range 1000 {
		if table.put(fmt.Append(nil, "new", i), i, willDo) == nil {
			refused++
		}
	}
	if refused < 500 {
		t.Errorf("%d of 1000 were refused", refused)
	}
	if e := table.get([]byte("never")); e != nil {
		t.Errorf("an entry nobody made: %v", e)
	}
	if table.put(make([]byte, maxURI+1), 1, willDo) != nil {
		t.Error("a URI too long was remembered")
	}
}

func TestURITableNumbers(t *testing.T) {
	table := newURITable[int]()
	x, less := []byte("x"), func(v int) func(int) bool { return func(old int) bool { return old >= v } }
	first := table.put(x, 1, less(1))
	if again := table.put(x, 0, less(0)); again != first {
		t.Errorf("%v was replaced by %v", first, again)
	}
	second := table.put(x, 2, less(2))
	table.forget(x)
	table.forget(x)
	third := table.put(x, 2, less(2))
	if first.number == second.number || second.number == third.number || table.get(x) != third || table.len() != 1 {
		t.Errorf("%v, %v, %v", first, second, third)
	}
}

// A hit by a rule allocates no more than any other.
func TestSearchHitAllocations(t *testing.T) {
	r := newRig(t, func(c *originConn) bool {
		return c.say("HTTP/1.1 200 OK\nCache-Control: max-age=100000\nNo-Vary-Search: key-order, params=(\"u\")", "end")
	})
	defer r.close()
	r.get("/hit?b=2&u=1&a=1").expect(t, 200, "uri-miss", "end")
	a, b := memconn.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.proxy.ServeConn(h1.NewServerConn(b, &h1.ServerOptions{Scheme: "http"}), netip.MustParseAddrPort("192.0.2.1:1234"))
	}()
	defer func() { a.Close(); <-done }()
	request, buf := []byte("GET /hit?a=1&b=2 HTTP/1.1\r\nHost: example.com\r\n\r\n"), make([]byte, 4096)
	hit := func() {
		if _, err := a.Write(request); err != nil {
			t.Fatal(err)
		}
		for n := 0; n == 0 || !strings.HasSuffix(string(buf[:n]), "end"); {
			k, err := a.Read(buf[n:])
			if n += k; err != nil {
				t.Fatal(err)
			}
		}
	}
	hit()
	if !strings.Contains(string(buf), "Cache-Status: edge; hit") {
		t.Fatalf("not a hit: %q", buf)
	}
	if n := testing.AllocsPerRun(500, hit); n > 4 {
		t.Errorf("a hit allocates %v times", n)
	}
}
