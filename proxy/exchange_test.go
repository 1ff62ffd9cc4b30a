package proxy

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestMissThenHitThenStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *originConn) bool {
			if c.req.Header.Get("If-None-Match") == `"v1"` {
				return c.say("HTTP/1.1 304 Not Modified\nETag: \"v1\"\nCache-Control: max-age=60", "")
			}
			return c.say("HTTP/1.1 200 OK\nCache-Control: max-age=60\nETag: \"v1\"", "hello")
		})
		defer r.close()
		r.get("/a").expect(t, 200, "edge; fwd=uri-miss", "hello")
		time.Sleep(10 * time.Second)
		a := r.get("/a")
		a.expect(t, 200, "edge; hit", "hello")
		if got := a.Header.Get("Age"); got != "10" {
			t.Errorf("Age %q, want 10", got)
		}
		time.Sleep(51 * time.Second)
		r.get("/a").expect(t, 200, "fwd=stale; fwd-status=304", "hello")
		r.get("/a").expect(t, 200, "edge; hit", "hello")
		if n := r.origin.count(); n != 2 {
			t.Errorf("%d requests at the origin, want 2", n)
		}
	})
}

func TestThousandClientsOneFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body := strings.Repeat("0123456789abcdef", 8192) // 128 KiB
		r := newRig(t, func(c *originConn) bool {
			time.Sleep(100 * time.Millisecond)
			head := "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 131072\r\n\r\n"
			if _, err := c.Write([]byte(head + body[:1000])); err != nil {
				return false
			}
			time.Sleep(time.Second)
			_, err := c.Write([]byte(body[1000:]))
			return err == nil
		})
		defer r.close()
		var wg sync.WaitGroup
		for range 1000 {
			wg.Go(func() { r.get("/herd").expect(t, 200, "", body) })
		}
		wg.Wait()
		if n := r.origin.count(); n != 1 {
			t.Errorf("%d requests at the origin, want 1", n)
		}
	})
}

func TestHerdOnDeadOriginAsksAFewTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *originConn) bool { time.Sleep(10 * time.Millisecond); return false })
		defer r.close()
		var wg sync.WaitGroup
		for range 200 {
			wg.Go(func() {
				a := r.get("/dead")
				if a.StatusCode != 502 || a.Header.Get("Cache-Status") != "" || a.Header.Get("Cache-Control") != "no-store" {
					t.Errorf("got %d %v", a.StatusCode, a.Header)
				}
			})
		}
		wg.Wait()
		if n := r.origin.count(); n > 6 {
			t.Errorf("%d requests at a dead origin, want a few", n)
		}
	})
}

func TestStaleWhileRevalidate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *originConn) bool {
			time.Sleep(50 * time.Millisecond)
			return c.say("HTTP/1.1 200 OK\nCache-Control: max-age=10, stale-while-revalidate=20", string(rune('a'+c.n-1)))
		})
		defer r.close()
		r.get("/").expect(t, 200, "fwd=uri-miss", "a")
		time.Sleep(15 * time.Second)
		r.get("/").expect(t, 200, "edge; hit; ttl=-", "a")
		r.get("/").expect(t, 200, "edge; hit; ttl=-", "a")
		time.Sleep(time.Second)
		r.get("/").expect(t, 200, "edge; hit; ttl=", "b")
		if n := r.origin.count(); n != 2 {
			t.Errorf("%d requests, want 2: one refresh for two stale hits", n)
		}
	})
}

func TestTruncatedOriginIsNeverStoredNorComplete(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *originConn) bool {
			c.Write([]byte("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 100\r\n\r\nshort"))
			return false
		})
		defer r.close()
		for range 2 {
			if a := r.get("/cut"); a.err == nil {
				t.Errorf("a truncated answer looked complete: %q", a.body)
			}
		}
		if n := r.origin.count(); n != 2 {
			t.Errorf("%d requests, want 2: nothing stored", n)
		}
	})
}

func TestUnsafeMethodInvalidates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *originConn) bool {
			return c.say("HTTP/1.1 200 OK\nCache-Control: max-age=60", string(rune('a'+c.n-1)))
		})
		defer r.close()
		r.get("/x").expect(t, 200, "fwd=uri-miss", "a")
		synctest.Wait() // the fill ends
		c := r.dial()
		c.send("POST /x HTTP/1.1\nContent-Length: 4", "body")
		c.read("POST").expect(t, 200, "fwd=method", "b")
		c.nc.Close()
		r.get("/x").expect(t, 200, "fwd=stale", "c")
	})
}

// A follower's first byte comes when the leader's does: not with the next
// piece, nor at the end.
func TestFollowersStreamWithTheLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *originConn) bool {
			time.Sleep(100 * time.Millisecond)
			if _, err := c.Write([]byte("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 8\r\n\r\nhead")); err != nil {
				return false
			}
			time.Sleep(time.Second)
			_, err := c.Write([]byte("tail"))
			return err == nil
		})
		defer r.close()
		began := time.Now()
		var wg sync.WaitGroup
		for range 300 {
			wg.Go(func() {
				c := r.dial()
				defer c.nc.Close()
				c.send("GET /stream HTTP/1.1", "")
				resp, err := http.ReadResponse(c.br, nil)
				if err != nil {
					t.Error(err)
					return
				}
				four := make([]byte, 4)
				if _, err := io.ReadFull(resp.Body, four); err != nil || string(four) != "head" {
					t.Errorf("%q, %v", four, err)
				}
				if lag := time.Since(began); lag > 110*time.Millisecond {
					t.Errorf("the first bytes came after %v, want 100ms", lag)
				}
				if rest, err := io.ReadAll(resp.Body); err != nil || string(rest) != "tail" {
					t.Errorf("%q, %v", rest, err)
				}
			})
		}
		wg.Wait()
	})
}

// Whoever has the whole of an answer finds it stored, at once.
func TestWholeAnswerMeansStored(t *testing.T) {
	r := newRig(t, func(c *originConn) bool {
		// Head and content in two packets, as many origins write them.
		io.WriteString(c, "HTTP/1.1 200 OK\r\nCache-Control: no-cache\r\nETag: \"v\"\r\nContent-Length: 5\r\n\r\n")
		_, err := io.WriteString(c, "hello")
		return err == nil
	})
	defer r.close()
	for i := range 300 {
		path := fmt.Sprintf("/%d", i)
		r.get(path).expect(t, 200, "fwd=uri-miss", "hello")
		if a := r.get(path); !strings.Contains(a.Header.Get("Cache-Status"), "fwd=stale") {
			t.Fatalf("%s: %s: not stored when the answer was whole", path, a.Header.Get("Cache-Status"))
		}
	}
}
