package proxy

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edge/cache/storage"
	"edge/message"
)

// echoQuery answers with the content it got, and the number of the request.
func echoQuery(c *originConn) bool {
	return c.say("HTTP/1.1 200 OK\nCache-Control: max-age=60", fmt.Sprintf("%d:%s", c.n, c.body))
}

// query is a whole exchange.
func (r *rig) query(head, body string) answer {
	r.t.Helper()
	c := r.dial()
	defer c.nc.Close()
	target, rest, _ := strings.Cut(head, "\n")
	if rest != "" {
		rest = "\n" + rest
	}
	if !strings.Contains(head, "Transfer-Encoding") {
		rest += fmt.Sprintf("\nContent-Length: %d", len(body))
	}
	c.send("QUERY "+target+" HTTP/1.1"+rest, body)
	return c.read("QUERY")
}

// However content is framed, what is sent is what came, and what is stored is
// found by what it says.
func TestQueryByContent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, echoQuery)
		defer r.close()
		r.query("/q\nContent-Type: a/b", "one").expect(t, 200, "uri-miss", "1:one")
		r.query("/q\nContent-Type: a/b\nTransfer-Encoding: chunked", "2\r\non\r\n1\r\ne\r\n0\r\n\r\n").expect(t, 200, "hit", "1:one")
		r.query("/q\nContent-Type: a/b\nContent-Encoding: gzip", "one").expect(t, 200, "uri-miss", "2:one")
		r.query("/q\nContent-Type: a/b\nContent-Language: fr", "one").expect(t, 200, "uri-miss", "3:one")
		r.query("/q\nContent-Type: a/b\nAccept: x/y", "one").expect(t, 200, "hit", "1:one")
		r.query("/q", "").expect(t, 200, "uri-miss", "4:")
		r.query("/q\nTransfer-Encoding: chunked", "0\r\n\r\n").expect(t, 200, "hit", "4:")
		r.get("/q").expect(t, 200, "uri-miss", "5:")
	})
}

// Content past the bound or followed by trailers is passed on whole, and its
// answer is not stored.
func TestQueryThatIsNotHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *originConn) bool {
			return c.say("HTTP/1.1 200 OK\nCache-Control: max-age=60", fmt.Sprintf("%d:%s:%s", c.n, c.body, c.req.Trailer.Get("X-End")))
		}, func(r *rig, _ *Options) { r.route.QueryContent = 5 })
		defer r.close()
		chunked := func(pieces ...string) string {
			var b strings.Builder
			for _, p := range pieces {
				fmt.Fprintf(&b, "%x\r\n%s\r\n", len(p), p)
			}
			return b.String() + "0\r\n"
		}
		long := strings.Repeat("x", 3000)
		for i, x := range []struct{ head, body, want string }{
			{"/q", "123456", "123456:"},
			{"/q", "123456", "123456:"},
			{"/q\nTransfer-Encoding: chunked", chunked("123", "45", "6") + "\r\n", "123456:"},
			{"/q\nTransfer-Encoding: chunked", chunked("123", "45", "6", long) + "\r\n", "123456" + long + ":"},
			{"/q\nTransfer-Encoding: chunked\nTrailer: X-End", chunked("123") + "X-End: yes\r\n\r\n", "123:yes"},
		} {
			r.query(x.head, x.body).expect(t, 200, "fwd=bypass", fmt.Sprintf("%d:%s", i+1, x.want))
		}
		n := r.origin.count()
		r.query("/q\nTransfer-Encoding: chunked", chunked("12", "345")+"\r\n").expect(t, 200, "uri-miss", fmt.Sprintf("%d:12345:", n+1))
		r.query("/q", "12345").expect(t, 200, "hit", fmt.Sprintf("%d:12345:", n+1))
	})
}

// RFC 9110 section 10.1.1: an expectation is the origin's to answer, and the
// content comes after that.
func TestQueryThatExpects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *originConn) bool {
			return c.say("HTTP/1.1 417 Expectation Failed\nCache-Control: max-age=60\nConnection: close\nContent-Length: 2", "no")
		})
		defer r.close()
		for range 2 {
			c := r.dial()
			c.send("QUERY /q HTTP/1.1\nExpect: 100-continue\nContent-Length: 3", "")
			c.read("QUERY").expect(t, 417, "fwd=bypass", "no")
			c.nc.Close()
		}
		if n := r.origin.count(); n != 2 {
			t.Errorf("the origin was asked %d times", n)
		}
	})
}

// The bound is of what is held, whether its length is announced or not, and the
// route's additions to the key count.
func TestQueryUpToTheBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, echoQuery, func(r *rig, _ *Options) { r.route.Key.Fields = [][]byte{[]byte("X-Lang")} })
		defer r.close()
		full := strings.Repeat("x", DefaultQueryContent)
		r.query("/q", full).expect(t, 200, "uri-miss", "1:"+full)
		r.query("/q\nTransfer-Encoding: chunked", fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(full), full)).expect(t, 200, "hit", "1:"+full)
		r.query("/q\nX-Lang: fr", full).expect(t, 200, "uri-miss", "2:"+full)
		r.query("/q", full+"x").expect(t, 200, "fwd=bypass", "3:"+full+"x")
	})
}

// Content that breaks off is nobody's query.
func TestQueryThatBreaksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, echoQuery)
		defer r.close()
		r.query("/q\nTransfer-Encoding: chunked", "zz\r\n").expect(t, 400, "", "400 Bad Request: malformed chunk size\n")
		c := r.dial()
		c.send("QUERY /q HTTP/1.1\nContent-Length: 10", "12345")
		c.nc.Close()
		synctest.Wait()
		if n := r.origin.count(); n != 0 {
			t.Errorf("the origin was asked %d times", n)
		}
	})
}

// A QUERY is idempotent, and its content at hand: it is tried once more.
func TestQueryIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *originConn) bool { return c.n != 2 && echoQuery(c) })
		defer r.close()
		r.get("/warm").expect(t, 200, "uri-miss", "1:")
		r.query("/q", "one").expect(t, 200, "uri-miss", "3:one")
	})
}

// Those who ask the same at once wait for one answer.
func TestQueriesCollapse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *originConn) bool {
			time.Sleep(time.Second)
			return echoQuery(c)
		})
		defer r.close()
		got := make(chan string, 20)
		for i := range 20 {
			go func() { got <- r.query("/q", fmt.Sprint("query ", i%2)).body[2:] }()
		}
		seen := make(map[string]int)
		for range 20 {
			seen[<-got]++
		}
		if r.origin.count() != 2 || seen["query 0"] != 10 || seen["query 1"] != 10 {
			t.Errorf("the origin was asked %d times; answers %v", r.origin.count(), seen)
		}
	})
}

// What a connection reads next does not touch the content of the query before,
// while that is still being sent.
func TestQueryContentIsItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, echoQuery)
		defer r.close()
		c := r.dial()
		defer c.nc.Close()
		for i := range 3 {
			body := strings.Repeat(fmt.Sprint(i), 40000)
			c.send(fmt.Sprintf("QUERY /q HTTP/1.1\nContent-Length: %d", len(body)), body)
			c.read("QUERY").expect(t, 200, "uri-miss", fmt.Sprintf("%d:%s", i+1, body))
		}
	})
}

// A target too long to remember is no reason to answer one query with another.
func TestQueryOfALongTarget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, echoQuery)
		defer r.close()
		target := "/" + strings.Repeat("q", 2*maxURI)
		r.query(target, "one").expect(t, 200, "uri-miss", "1:one")
		r.query(target, "two").expect(t, 200, "uri-miss", "2:two")
	})
}

// A connection that carried a QUERY carries the next request too.
func TestQueryConnectionIsReused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, echoQuery)
		defer r.close()
		for i, size := range []int{1, inlineContent, inlineContent + 1, DefaultQueryContent, DefaultQueryContent + 1} {
			body := strings.Repeat("x", size)
			if a := r.query(fmt.Sprint("/", i), body); a.body != fmt.Sprintf("%d:%s", i+1, body) {
				t.Errorf("%d bytes: got %d bytes", size, len(a.body))
			}
			synctest.Wait()
		}
		if r.seen.attempts != 5 || r.seen.reused != 4 {
			t.Errorf("%d attempts, %d on a connection used before", r.seen.attempts, r.seen.reused)
		}
	})
}

// FuzzQueryKey: two requests have one key exactly if they say the same, wherever
// the one ends and the next begins.
func FuzzQueryKey(f *testing.F) {
	f.Add("/a", "text/plain", "b", "/a", "text/plain", "c")
	f.Add("/a", "text/plain", "b", "/at", "ext/plain", "b")
	f.Fuzz(func(t *testing.T, target1, kind1, content1, target2, kind2, content2 string) {
		route := &Route{}
		key := func(target, kind, content string) storage.Key {
			req := message.Request{Method: message.MethodQuery, Scheme: "http", Authority: []byte("example.com"),
				Target: []byte(target), Length: int64(len(content)), Content: []byte(content)}
			req.Fields.AddString("Content-Type", kind)
			req.Fields.AddString("Content-Length", fmt.Sprint(len(content)))
			req.Fields.AddString("Accept", "*/*")
			k, _ := queryKey(route, &req, 1, nil)
			get := req
			get.Method = message.MethodGet
			if g, _ := primaryKey(route, &get, nil); g == k {
				t.Fatal("a QUERY has the key of a GET")
			}
			return k
		}
		same := target1 == target2 && kind1 == kind2 && content1 == content2
		if (key(target1, kind1, content1) == key(target2, kind2, content2)) != same {
			t.Fatalf("the keys are the same: %v", !same)
		}
	})
}
