package proxy

import (
	"fmt"
	"io"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"edge/message"
)

// What the origin trusts but the key lacks must not reach it from anybody.
func TestUnkeyedFieldsAreRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *originConn) bool {
			return c.say("HTTP/1.1 200 OK\nCache-Control: max-age=60", c.req.Header.Get("X-Forwarded-Host")+" "+c.req.Header.Get("X-Forwarded-Proto"))
		})
		defer r.close()
		evil := "/p"
		for _, id := range impliedFields {
			evil += "\n" + id.String() + ": evil.example"
		}
		evil += "\nX-Forwarded-For: 6.6.6.6\nX-Real-IP: 6.6.6.6"
		r.get(evil).expect(t, 200, "uri-miss", "example.com http")
		if strings.Contains(r.origin.last(), "evil") || strings.Contains(r.origin.last(), "6.6.6.6") {
			t.Errorf("the origin got %q", r.origin.last())
		}
		if !strings.Contains(r.origin.last(), "X-Forwarded-For: 192.0.2.1") {
			t.Errorf("the origin was not told of the client: %q", r.origin.last())
		}
	})
}

func TestTrustedPeerSpeaksForItsClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *originConn) bool {
			return c.say("HTTP/1.1 200 OK\nCache-Control: max-age=60", c.req.Header.Get("X-Forwarded-Proto")+" "+strings.Join(c.req.Header.Values("X-Forwarded-For"), ", "))
		}, func(r *rig, o *Options) { o.Trusted = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} })
		defer r.close()
		r.get("/t\nX-Forwarded-Proto: https\nX-Forwarded-For: 198.51.100.7").expect(t, 200, "uri-miss", "https 198.51.100.7, 192.0.2.1")
		// The scheme is in the key.
		r.get("/t\nX-Forwarded-Proto: http\nX-Forwarded-For: 198.51.100.7").expect(t, 200, "uri-miss", "http 198.51.100.7, 192.0.2.1")
	})
}

func TestKeyIsAuthorityAndRawTarget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *originConn) bool {
			return c.say("HTTP/1.1 200 OK\nCache-Control: max-age=60", c.req.Host+c.req.RequestURI)
		})
		defer r.close()
		for _, x := range []struct{ head, body string }{
			{"/a", "example.com/a"},
			{"/a\nHost: other.example", "other.example/a"},
			{"/a\nHost: EXAMPLE.com:80", ""}, // the same as the first
			{"/a?", "example.com/a?"},
			{"/a?x=1&y=2", "example.com/a?x=1&y=2"},
			{"/a?y=2&x=1", "example.com/a?y=2&x=1"},
			{"/%61", "example.com/%61"},
			{"/a%2fb", "example.com/a%2fb"},
			{"/a/b", "example.com/a/b"},
			{"/a%00", "example.com/a%00"},
			{"/A", "example.com/A"},
			{"/a//b", "example.com/a//b"},
			{"/a/../b", "example.com/a/../b"},
		} {
			if x.body == "" {
				r.get(x.head).expect(t, 200, "edge; hit", "example.com/a")
				continue
			}
			r.get(x.head).expect(t, 200, "uri-miss", x.body)
			r.get(x.head).expect(t, 200, "edge; hit", x.body)
		}
		// RFC 9112 section 3.2.2: the absolute form rules over Host.
		r.get("GET http://example.com/a HTTP/1.1\nHost: evil.example").expect(t, 200, "edge; hit", "example.com/a")
	})
}

func TestKeyRulesAlsoRuleWhatIsForwarded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *originConn) bool { return c.say("HTTP/1.1 200 OK\nCache-Control: max-age=60", c.req.RequestURI) },
			func(r *rig, o *Options) { r.route.Key = KeyRules{QueryDrop: []string{"utm_*"}, QuerySort: true} })
		defer r.close()
		r.get("/k?b=2&utm_source=evil&a=1").expect(t, 200, "uri-miss", "/k?a=1&b=2")
		r.get("/k?a=1&b=2&utm_campaign=x").expect(t, 200, "edge; hit", "/k?a=1&b=2")
		r.get("/k?utm_x=1").expect(t, 200, "uri-miss", "/k")
	})
}

// Without explicit freshness only the heuristic stores, and only for an
// ordinary request.
func TestHeuristicsOnlyForOrdinaryRequests(t *testing.T) {
	old := "Last-Modified: Mon, 01 Jan 1990 00:00:00 GMT"
	for _, x := range []struct {
		name, request, response string
		stored                  bool
	}{
		{"plain", "/x", old, true},
		{"a file extension means nothing", "/account.css", "", false},
		{"with a cookie", "/x\nCookie: a=b", old, false},
		{"with authorization", "/x\nAuthorization: Basic YQ==", old, false},
		{"explicit, with authorization", "/x\nAuthorization: Basic YQ==", "Cache-Control: max-age=60", false},
		{"public, with authorization", "/x\nAuthorization: Basic YQ==", "Cache-Control: public, max-age=60", true},
		{"sets a cookie", "/x", "Cache-Control: max-age=60\nSet-Cookie: id=1", false},
		{"public, sets a cookie", "/x", "Cache-Control: public, max-age=60\nSet-Cookie: id=1", true},
		{"Vary: *", "/x", "Cache-Control: max-age=60\nVary: Accept, *", false},
		{"* in a second Vary", "/x", "Cache-Control: max-age=60\nVary: Accept\nVary: *", false},
	} {
		t.Run(x.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, func(c *originConn) bool {
					return c.say(strings.TrimSuffix("HTTP/1.1 200 OK\n"+x.response, "\n"), fmt.Sprint(c.n))
				})
				defer r.close()
				r.get(x.request)
				want := "2"
				if x.stored {
					want = "1"
				}
				if a := r.get(x.request); a.body != want {
					t.Errorf("second answer %q (%s), want %q", a.body, a.Header.Get("Cache-Status"), want)
				}
			})
		})
	}
}

// An error is stored only with explicit freshness: one odd request must not
// take a page down for everybody.
func TestErrorsAreNotStoredByAccident(t *testing.T) {
	for _, status := range []int{400, 413, 416, 417, 431, 500, 502, 503} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, func(c *originConn) bool {
					if c.req.Header.Get("X-Odd") != "" {
						return c.say(fmt.Sprintf("HTTP/1.1 %d Error\nLast-Modified: Mon, 01 Jan 1990 00:00:00 GMT", status), "error")
					}
					return c.say("HTTP/1.1 200 OK\nCache-Control: max-age=60", "good")
				})
				defer r.close()
				r.get("/e\nX-Odd: "+strings.Repeat("a", 9000)).expect(t, status, "", "error")
				r.get("/e").expect(t, 200, "", "good")
			})
		})
	}
}

// A GET with content is passed, not cached; HEAD, POST and 206 never answer a
// GET wrongly.
func TestOtherAnswersNeverAnswerAGet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *originConn) bool {
			switch {
			case c.req.Method == "HEAD":
				return c.say("HTTP/1.1 200 OK\nCache-Control: max-age=60\nContent-Length: 4", "")
			case c.req.Header.Get("Range") != "":
				return c.say("HTTP/1.1 206 Partial Content\nCache-Control: max-age=60\nETag: \"v\"\nContent-Range: bytes 0-1/4", "fu")
			case len(c.body) > 0:
				return c.say("HTTP/1.1 200 OK\nCache-Control: max-age=60", "evil "+string(c.body))
			}
			return c.say("HTTP/1.1 200 OK\nCache-Control: max-age=60\nETag: \"v\"", "full")
		})
		defer r.close()
		r.get("HEAD /o HTTP/1.1").expect(t, 200, "", "")
		r.get("/o\nRange: bytes=0-1").expect(t, 206, "", "fu")
		for _, method := range []string{"GET", "POST"} {
			c := r.dial()
			c.send(method+" /o HTTP/1.1\nContent-Length: 4", "body")
			c.read(method).expect(t, 200, "", "evil body")
			c.nc.Close()
		}
		r.get("/o").expect(t, 200, "fwd=partial", "full")
	})
}

// A response asked for before an invalidation is not stored after it.
func TestInvalidationDuringAFill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var value atomic.Value
		value.Store("old")
		r := newRig(t, func(c *originConn) bool {
			if c.req.Method == "POST" {
				value.Store("new")
				return c.say("HTTP/1.1 204 No Content\nContent-Length: 0", "")
			}
			answer := value.Load().(string)
			time.Sleep(time.Second)
			return c.say("HTTP/1.1 200 OK\nCache-Control: max-age=60", answer)
		})
		defer r.close()
		done := make(chan answer)
		go func() { done <- r.get("/v") }()
		time.Sleep(500 * time.Millisecond)
		c := r.dial()
		c.send("POST /v HTTP/1.1\nContent-Length: 1", "x")
		c.read("POST")
		(<-done).expect(t, 200, "", "old") // it asked before
		r.get("/v").expect(t, 200, "", "new")
	})
}

func TestPrimaryKeyPartsAreDelimited(t *testing.T) {
	route := &Route{Key: KeyRules{Fields: [][]byte{[]byte("X-A"), []byte("X-B")}}}
	seen := map[[16]byte]string{}
	for _, x := range []struct{ authority, target, a, b string }{
		{"a", "/b", "", ""}, {"a/", "b", "", ""}, {"a", "/b", "x", ""}, {"a", "/b", "", "x"}, {"a", "/bx", "", ""}, {"", "a/b", "", ""},
	} {
		req := &message.Request{Method: "GET", Scheme: "http", Authority: []byte(x.authority), Target: []byte(x.target), PathLen: len(x.target)}
		req.Fields.AddString("X-A", x.a)
		req.Fields.AddString("X-B", x.b)
		k, _ := primaryKey(route, req, nil)
		if other, ok := seen[k]; ok {
			t.Errorf("%v and %s have one key", x, other)
		}
		seen[k] = fmt.Sprint(x)
	}
}

// Who asks after an invalidation does not join a fill begun before it, even
// where that fill goes on; but the newcomers are one fetch together.
func TestNobodyJoinsAnOutdatedFill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var posted atomic.Bool
		r := newRig(t, func(c *originConn) bool {
			if c.req.Method == "POST" {
				posted.Store(true)
				return c.say("HTTP/1.1 204 No Content\nContent-Length: 0", "")
			}
			value := "old"
			if posted.Load() {
				value = "new"
			}
			io.WriteString(c, "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 4\r\n\r\n")
			time.Sleep(2 * time.Second)
			_, err := io.WriteString(c, value+"!")
			return err == nil
		})
		defer r.close()
		before := make(chan answer)
		go func() { before <- r.get("/v") }()
		time.Sleep(time.Second) // the old fill has begun
		c := r.dial()
		c.send("POST /v HTTP/1.1\nContent-Length: 1", "x")
		c.read("POST")
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() { r.get("/v").expect(t, 200, "", "new!") })
		}
		(<-before).expect(t, 200, "", "old!")
		wg.Wait()
		r.get("/v").expect(t, 200, "edge; hit", "new!")
		if n := r.origin.count(); n != 3 {
			t.Errorf("%d requests at the origin, want 3: old, POST, new", n)
		}
	})
}
