package proxy

import (
	"io"
	"testing"
	"testing/synctest"
	"time"
)

// A refresh asks for the whole, whatever the request that found it stale asked for.
func TestRefreshRange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *originConn) bool {
			return c.say("HTTP/1.1 200 OK\nCache-Control: max-age=1, stale-while-revalidate=60\nVary: Accept-Language", c.req.Header.Get("Range")+c.req.Method+c.req.Header.Get("Accept-Language"))
		})
		defer r.close()
		r.get("/p").expect(t, 200, "", "GET")
		time.Sleep(5 * time.Second)
		r.get("HEAD /p HTTP/1.1\nRange: bytes=0-0\nIf-None-Match: \"q\"").expect(t, 200, "", "")
		time.Sleep(100 * time.Millisecond)
		r.get("/p").expect(t, 200, "hit", "GET")
	})
}

// Those who wait when the node stops are let go.
func TestShutdownWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *originConn) bool {
			if c.req.URL.Path == "/slow" {
				time.Sleep(3 * time.Second)
			}
			return c.say("HTTP/1.1 200 OK\nCache-Control: max-age=60", c.req.URL.Path)
		})
		defer r.close()
		r.get("/b").expect(t, 200, "", "/b")
		go func() { c := r.dial(); c.send("GET /slow HTTP/1.1", "") }()
		time.Sleep(time.Millisecond)
		c := r.dial()
		c.send("GET /slow HTTP/1.1", "")
		c.send("GET /b HTTP/1.1", "")
		time.Sleep(time.Millisecond)
		r.proxy.Close()
		b, _ := io.ReadAll(c.br)
		if len(b) > 0 {
			t.Errorf("%s", b)
		}
	})
}

// Trailers with names that mean something in a head are not passed on.
func TestTrailers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *originConn) bool {
			return c.say("HTTP/1.1 200 OK\nCache-Control: max-age=60\nTransfer-Encoding: chunked", "5\r\nhello\r\n0\r\nContent-Length: 3\r\nSet-Cookie: a=b\r\nConnection: close\r\nX-Ok: 1\r\n\r\n")
		})
		defer r.close()
		for range 2 {
			a := r.get("/p")
			a.expect(t, 200, "", "hello")
			for k := range a.Trailer {
				if k != "X-Ok" {
					t.Errorf("trailer %s %v", k, a.Trailer[k])
				}
			}
		}
	})
}

// Several ranges are completed around what is held.
func TestCompleteMulti(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *originConn) bool { return parts(c, "") }, inChunks(4))
		defer r.close()
		r.get("/p\nRange: bytes=4-5").expect(t, 206, "", "45")
		r.get("/p\nRange: bytes=0-1").expect(t, 206, "", "01")
		r.get("/p\nRange: bytes=-2").expect(t, 206, "", "89")
		r.get("/p\nRange: bytes=2-8").expect(t, 206, "", "2345678")
		r.get("/p").expect(t, 200, "", "0123456789")
		r.get("HEAD /p HTTP/1.1").expect(t, 200, "hit", "")
	})
}

// Followers' own conditions and ranges are answered from the fill.
func TestFollowerConditional(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *originConn) bool {
			return inTwo(c, "abcde", "fghij")
		})
		defer r.close()
		go r.get("/m")
		time.Sleep(100 * time.Millisecond)
		r.get("/m\nIf-None-Match: \"b\"").expect(t, 304, "", "")
		c := r.dial()
		c.send("GET /m HTTP/1.1", "")
		c.send("GET /m HTTP/1.1\nRange: bytes=3-6", "")
		c.read("GET").expect(t, 200, "", "abcdefghij")
		c.read("GET").expect(t, 206, "", "defg")
	})
}
