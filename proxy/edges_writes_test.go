package proxy

import (
	"io"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestCompletingAuthorization(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *originConn) bool {
			return parts(c, "")
		}, inChunks(4))
		defer r.close()
		r.get("/p\nRange: bytes=0-3").expect(t, 206, "", "0123")
		r.get("/p\nAuthorization: Basic YQ==").expect(t, 200, "", "0123456789")
		n := r.origin.count()
		a := r.get("/p\nRange: bytes=4-9")
		if r.origin.count() == n {
			t.Errorf("what an authorized request brought, without public, answers others: %q %q", a.body, a.Header.Get("Cache-Status"))
		}
	})
}

type countingBalancer struct{ bad atomic.Int64 }

func (b *countingBalancer) Pick(tried func(int) bool) (int, bool) { return 0, !tried(0) }
func (b *countingBalancer) Report(_ int, ok bool) {
	if !ok {
		b.bad.Add(1)
	}
}

// A client that breaks off does not count against the endpoint.
func TestClientFaultRace(t *testing.T) {
	b := &countingBalancer{}
	r := newRig(t, func(c *originConn) bool { io.Copy(io.Discard, c.req.Body); return false },
		func(r *rig, o *Options) { r.route.Origin.Balancer = b })
	defer r.close()
	statuses := map[int]int{}
	for range 3000 {
		c := r.dial()
		io.WriteString(c.nc, "POST /early HTTP/1.1\r\nHost: example.com\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
		io.WriteString(c.nc, "zz\r\n")
		statuses[c.read("POST").StatusCode]++
		c.nc.Close()
	}
	if n := b.bad.Load(); n > 0 || len(statuses) > 1 {
		t.Errorf("%d reports against the endpoint, statuses %v", n, statuses)
	}
}

func TestPostNoStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *originConn) bool {
			return c.say("HTTP/1.1 200 OK\nCache-Control: max-age=60\nContent-Location: /p", c.req.Method)
		})
		defer r.close()
		r.route.Policy.ObeyRequest = true
		r.get("POST /p HTTP/1.1\nCache-Control: no-store\nContent-Length: 0").expect(t, 200, "", "POST")
		r.get("/p").expect(t, 200, "", "GET")
	})
}

// Of two writes to one URI the one answered last may be the older.
func TestTwoPosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *originConn) bool {
			if c.req.Header.Get("X-N") == "1" {
				time.Sleep(time.Second)
				return c.say("HTTP/1.1 200 OK\nCache-Control: max-age=60\nContent-Location: /p", "old")
			}
			if c.req.Method == "POST" {
				return c.say("HTTP/1.1 200 OK", "")
			}
			return c.say("HTTP/1.1 200 OK\nCache-Control: max-age=60", "new")
		})
		defer r.close()
		go r.get("POST /p HTTP/1.1\nX-N: 1\nContent-Length: 0")
		time.Sleep(100 * time.Millisecond)
		r.get("POST /p HTTP/1.1\nX-N: 2\nContent-Length: 0")
		time.Sleep(2 * time.Second)
		r.get("/p").expect(t, 200, "", "new")
	})
}
