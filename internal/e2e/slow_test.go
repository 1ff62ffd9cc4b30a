package e2e

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestHalfClosedClient: a client that closes its side once it has asked, as
// simple tools do, gets its answer: a miss, a hit, one not stored, an upload's.
func TestHalfClosedClient(t *testing.T) {
	body := strings.Repeat("0123456789", 30_000)
	o := serve(t, func(r *request) bool {
		time.Sleep(20 * time.Millisecond)
		if r.URL.Path == "/stored" {
			return r.say("HTTP/1.1 200 OK\nCache-Control: max-age=60", body)
		}
		return r.say("HTTP/1.1 200 OK\nCache-Control: no-store", body)
	})
	e := start(t, config(o.addr(), ""))
	for i, raw := range []string{
		"GET /stored HTTP/1.1\r\n" + host + "\r\n",
		"GET /stored HTTP/1.1\r\n" + host + "\r\n",
		"GET /other HTTP/1.1\r\n" + host + "\r\n",
		"POST /upload HTTP/1.1\r\n" + host + "Content-Length: 5\r\n\r\nhello",
	} {
		c := e.dial()
		_, _ = io.WriteString(c, raw)
		_ = c.CloseWrite()
		if a := c.read("GET"); !a.is(200, body) {
			t.Errorf("%d: %v", i, a)
		}
		if !c.ended() {
			t.Errorf("%d: more after the answer", i)
		}
		c.Close()
	}
	e.calm()
}

// TestManySlowReadersOfLargeThings: clients that hardly read, each of another
// thing larger than the store keeps, hold a bounded window each and not the
// content; one that reads gets all of it meanwhile.
func TestManySlowReadersOfLargeThings(t *testing.T) {
	const size = 8 << 20
	piece := strings.Repeat("0123456789abcdef", 4096)
	o := serve(t, func(r *request) bool {
		control := "max-age=60"
		if strings.HasPrefix(r.URL.Path, "/private") {
			control = "private"
		}
		if _, err := fmt.Fprintf(r, "HTTP/1.1 200 OK\r\nCache-Control: %s\r\nContent-Length: %d\r\n\r\n", control, size); err != nil {
			return false
		}
		for range size / len(piece) {
			if _, err := io.WriteString(r, piece); err != nil {
				return false
			}
		}
		return true
	})
	e := start(t, config(o.addr(), "cache: {memory: {size: 4MiB}, window: 256KiB}\n"))
	const readers = 60
	release := make(chan struct{})
	var begun atomic.Int64
	var all sync.WaitGroup
	for i := range readers {
		all.Go(func() {
			c := e.dial()
			defer c.Close()
			_ = c.SetReadBuffer(4096)
			fmt.Fprintf(c, "GET /%s/%d HTTP/1.1\r\n%s\r\n", []string{"private", "public"}[i%2], i, host)
			_, _ = io.ReadFull(c.br, make([]byte, 1000))
			begun.Add(1)
			<-release
		})
	}
	eventually(t, "all read a little", func() bool { return begun.Load() == readers })
	time.Sleep(500 * time.Millisecond)
	e.resident(100)
	for _, target := range []string{"/private/x", "/public/x"} {
		if a := e.get(target); a.Response == nil || a.err != nil || len(a.body) != size {
			t.Errorf("%s meanwhile: %v", target, a)
		}
	}
	close(release)
	all.Wait()
	e.calm()
}

// TestLargeUploads: content of any size passes through, both framings, at the
// speed of the slower side and without being held.
func TestLargeUploads(t *testing.T) {
	const size = 24 << 20
	o := serve(t, func(r *request) bool {
		return r.say("HTTP/1.1 200 OK", fmt.Sprint(len(r.body)))
	})
	e := start(t, config(o.addr(), tiny))
	piece := strings.Repeat("x", 1<<20)
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			c := e.dial()
			defer c.Close()
			if i%2 == 0 {
				fmt.Fprintf(c, "PUT /%d HTTP/1.1\r\n%sContent-Length: %d\r\n\r\n", i, host, size)
			} else {
				fmt.Fprintf(c, "PUT /%d HTTP/1.1\r\n%sTransfer-Encoding: chunked\r\n\r\n", i, host)
			}
			for range size / len(piece) {
				if i%2 == 1 {
					fmt.Fprintf(c, "%x\r\n", len(piece))
				}
				_, _ = io.WriteString(c, piece)
				if i%2 == 1 {
					_, _ = io.WriteString(c, "\r\n")
				}
			}
			if i%2 == 1 {
				_, _ = io.WriteString(c, "0\r\n\r\n")
			}
			if a := c.read("PUT"); !a.is(200, fmt.Sprint(size)) {
				t.Errorf("%d: %v", i, a)
			}
		})
	}
	all.Wait()
	e.resident(60)
	e.calm()
}
