package proxy

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// What an origin may send that is no good, and what a client must get: a 502,
// a 504, or a delivery that is visibly cut. Nothing is stored, and the
// connection is not used again.
var hostileAnswers = []struct {
	name  string
	raw   string
	then  string // "close", "reset", "stall" or "keep"
	want  int    // 0: cut after the head
	proxy string // error type in Proxy-Status
}{
	{"end before any byte", "", "close", 502, "connection_terminated"},
	{"end in the status line", "HTTP/1.1 20", "close", 502, ""},
	{"end in the head", "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n", "close", 502, ""},
	{"reset before any byte", "", "reset", 502, ""},
	{"stall before any byte", "", "stall", 504, "http_response_timeout"},
	{"stall in the head", "HTTP/1.1 200 OK\r\nCache-", "stall", 504, "http_response_timeout"},
	{"end before Content-Length", "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 10\r\n\r\nhello", "close", 0, ""},
	{"reset before Content-Length", "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 10\r\n\r\nhello", "reset", 0, ""},
	{"stall before Content-Length", "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 10\r\n\r\nhello", "stall", 0, ""},
	{"end before the last chunk", "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "close", 0, ""},
	{"end in a chunk", "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nhello", "close", 0, ""},
	{"end in the trailers", "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n", "close", 0, ""},
	{"reset of a close-delimited body", "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n\r\nhello", "reset", 0, ""},
	{"bad chunk size", "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\nhello\r\n0\r\n\r\n", "keep", 0, ""},
	{"negative chunk size", "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n", "keep", 0, ""},
	{"oversized chunk size", "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nhello\r\n0\r\n\r\n", "keep", 0, ""},
	{"two lengths", "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", "keep", 502, "http_protocol_error"},
	{"length with sign", "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: +5\r\n\r\nhello", "keep", 502, "http_protocol_error"},
	{"length beyond 2^63", "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 99999999999999999999\r\n\r\nhello", "keep", 502, "http_protocol_error"},
	{"length and coding", "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "keep", 502, "http_protocol_error"},
	{"unknown coding", "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: garbage\r\n\r\nhello", "close", 502, "http_protocol_error"},
	{"no HTTP at all", "SSH-2.0-OpenSSH_9.2\r\n", "keep", 502, "http_protocol_error"},
	{"version 2.0", "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n", "keep", 502, "http_protocol_error"},
	{"status of four digits", "HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n", "keep", 502, "http_protocol_error"},
	{"status 099", "HTTP/1.1 099 No\r\nContent-Length: 0\r\n\r\n", "keep", 502, "http_protocol_error"},
	{"field without colon", "HTTP/1.1 200 OK\r\nCache-Control max-age=60\r\nContent-Length: 0\r\n\r\n", "keep", 502, "http_protocol_error"},
	{"space before the colon", "HTTP/1.1 200 OK\r\nCache-Control : max-age=60\r\nContent-Length: 0\r\n\r\n", "keep", 502, "http_protocol_error"},
	{"NUL in a value", "HTTP/1.1 200 OK\r\nX: a\x00b\r\nContent-Length: 0\r\n\r\n", "keep", 502, "http_protocol_error"},
	{"101 unasked", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n", "keep", 502, ""},
	{"304 unasked", "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n", "keep", 502, ""},
	{"206 unasked", "HTTP/1.1 206 Partial Content\r\nCache-Control: max-age=60\r\nContent-Range: bytes 0-4/10\r\nContent-Length: 5\r\n\r\nhello", "keep", 502, ""},
	{"a flood of 103", strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 1000), "keep", 502, ""},
	{"a head of 1 MiB", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("a", 1<<20) + "\r\n\r\n", "keep", 502, "http_protocol_error"},
	{"ten thousand fields", "HTTP/1.1 200 OK\r\n" + strings.Repeat("X: y\r\n", 10000) + "\r\n", "keep", 502, "http_protocol_error"},
}

func TestHostileAnswers(t *testing.T) {
	for _, h := range hostileAnswers {
		t.Run(h.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, func(c *originConn) bool {
					if c.req.URL.Path == "/good" {
						return c.say("HTTP/1.1 200 OK\nCache-Control: max-age=6000", "good")
					}
					io.WriteString(c, h.raw)
					switch h.then {
					case "stall":
						time.Sleep(10 * time.Minute)
					case "reset":
						c.Conn.(interface{ SetLinger(int) error }).SetLinger(0)
					}
					return h.then == "keep"
				})
				defer r.close()
				r.get("/good").expect(t, 200, "fwd=uri-miss", "good")
				asked := r.origin.count()
				for range 2 { // the second finds nothing stored
					checkHostile(t, r, h.want, h.proxy)
				}
				if n := r.origin.count() - asked; n < 2 {
					t.Errorf("%d requests at the origin for two exchanges: something was stored", n)
				}
				r.get("/good").expect(t, 200, "edge; hit", "good")
				r.seen.mu.Lock()
				defer r.seen.mu.Unlock()
				if r.seen.panics != 0 {
					t.Error("an exchange panicked")
				}
			})
		})
	}
}

func checkHostile(t *testing.T, r *rig, want int, proxyStatus string) {
	t.Helper()
	checkHostileAt(t, r, "/bad", want, proxyStatus)
}

func checkHostileAt(t *testing.T, r *rig, target string, want int, proxyStatus string) {
	t.Helper()
	c := r.dial()
	defer c.nc.Close()
	c.send("GET "+target+" HTTP/1.1", "")
	a := c.read("GET")
	for a.StatusCode < 200 {
		a = c.read("GET")
	}
	if want == 0 {
		if a.StatusCode != 200 || a.err == nil {
			t.Errorf("got %d, body error %v; want a 200 that is visibly cut", a.StatusCode, a.err)
		}
		return
	}
	if a.StatusCode != want || a.err != nil {
		t.Errorf("got %d (body error %v), want %d", a.StatusCode, a.err, want)
	}
	if got := a.Header.Get("Proxy-Status"); !strings.Contains(got, proxyStatus) {
		t.Errorf("Proxy-Status %q, want %q in it", got, proxyStatus)
	}
	if a.Header.Get("Cache-Control") != "no-store" || a.Header.Get("Cache-Status") != "" {
		t.Errorf("an answer of our own: Cache-Control %q, Cache-Status %q", a.Header.Get("Cache-Control"), a.Header.Get("Cache-Status"))
	}
}

// An origin that stalls, wherever it does, costs its own exchange the time that
// is configured, and nothing else.
func TestStallAtEveryByte(t *testing.T) {
	for _, raw := range []string{
		"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 4\r\n\r\nbody",
		"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nCache-Control: no-store\r\n\r\nbody",
	} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, func(c *originConn) bool {
				var n int
				if _, err := fmt.Sscanf(c.req.URL.Path, "/%d", &n); err != nil {
					return c.say("HTTP/1.1 200 OK\nCache-Control: max-age=600000", "good")
				}
				io.WriteString(c, raw[:n])
				io.Copy(io.Discard, c.Conn) // until the other side gives up
				return false
			})
			defer r.close()
			r.get("/good").expect(t, 200, "uri-miss", "good")
			head := strings.LastIndex(raw, "\r\n\r\n") + 4
			if i := strings.Index(raw, "chunked\r\n\r\n"); i >= 0 {
				head = i + len("chunked\r\n\r\n")
			}
			for n := range len(raw) {
				began, asked := time.Now(), r.origin.count()
				want, status := 0, ""
				if n < head {
					want, status = 504, "http_response_timeout"
				}
				for range 2 {
					checkHostileAt(t, r, fmt.Sprintf("/%d", n), want, status)
				}
				if r.origin.count() != asked+2 {
					t.Errorf("stall at %d: %d requests at the origin for two exchanges", n, r.origin.count()-asked)
				}
				if took := time.Since(began); took > 5*time.Minute {
					t.Errorf("stall at %d: two exchanges took %v", n, took)
				}
				r.get("/good").expect(t, 200, "edge; hit", "good")
			}
		})
	}
}

// RFC 9112 section 6.3: what follows a complete message is no part of it. The
// response stands, the bytes are dropped, the connection is closed.
func TestExtraBytesAreDropped(t *testing.T) {
	for _, x := range []struct{ name, method, raw string }{
		{"after Content-Length", "GET", "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"},
		{"after the last chunk", "GET", "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"},
		{"after a HEAD", "HEAD", "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 5\r\n\r\nhello"},
		{"after a 204", "DELETE", "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"},
	} {
		t.Run(x.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, func(c *originConn) bool {
					if c.req.URL.Path != "/extra" {
						return c.say("HTTP/1.1 200 OK\nCache-Control: no-store", "next")
					}
					_, err := io.WriteString(c, x.raw)
					return err == nil
				})
				defer r.close()
				a := r.get(x.method + " /extra HTTP/1.1")
				if a.StatusCode/100 != 2 || strings.Contains(a.body, "evil") || a.err != nil {
					t.Errorf("got %d %q %v", a.StatusCode, a.body, a.err)
				}
				r.get("/next").expect(t, 200, "", "next")
				r.seen.mu.Lock()
				defer r.seen.mu.Unlock()
				if r.seen.reused != 0 {
					t.Error("the connection was used again")
				}
			})
		})
	}
}

// A body delimited by close is complete with a clean end, and stored.
func TestCloseDelimitedBodyIsComplete(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *originConn) bool {
			io.WriteString(c, "HTTP/1.0 200 OK\r\nCache-Control: max-age=60\r\n\r\nhello")
			return false
		})
		defer r.close()
		r.get("/c").expect(t, 200, "fwd=uri-miss", "hello")
		r.get("/c").expect(t, 200, "edge; hit", "hello")
	})
}

// A body larger than the store keeps goes through whole, to the leader and to
// followers that keep up, and is not stored.
func TestTooLargeForTheStoreGoesThrough(t *testing.T) {
	for _, announced := range []bool{true, false} {
		t.Run(fmt.Sprintf("announced=%v", announced), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				piece := bytes.Repeat([]byte("0123456789abcdef"), 4096)
				const pieces = 20 << 20 >> 16
				r := newRig(t, func(c *originConn) bool {
					head := "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nConnection: close\r\n"
					if announced {
						head += fmt.Sprintf("Content-Length: %d\r\n", pieces*len(piece))
					}
					io.WriteString(c, head+"\r\n")
					for range pieces {
						if _, err := c.Write(piece); err != nil {
							return false
						}
					}
					return false
				})
				defer r.close()
				for range 2 {
					a := r.get("/large")
					if a.err != nil || len(a.body) != pieces*len(piece) {
						t.Errorf("got %d bytes, %v; want %d", len(a.body), a.err, pieces*len(piece))
					}
				}
				if n := r.origin.count(); n != 2 {
					t.Errorf("%d requests at the origin, want 2: too large to store", n)
				}
			})
		})
	}
}
