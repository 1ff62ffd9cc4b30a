package proxy

import (
	"bytes"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edge/wire/h1"
)

// Ordinary traffic that refusing too much would break.

func TestPipelinedRequestsAreAnsweredInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *originConn) bool {
			return c.say("HTTP/1.1 200 OK\nCache-Control: max-age=60", c.req.URL.Path)
		})
		defer r.close()
		c := r.dial()
		defer c.nc.Close()
		var all strings.Builder
		for i := range 20 {
			fmt.Fprintf(&all, "GET /%d HTTP/1.1\r\nHost: example.com\r\n\r\n", i%5)
		}
		io.WriteString(c.nc, all.String())
		for i := range 20 {
			c.read("GET").expect(t, 200, "", fmt.Sprintf("/%d", i%5))
		}
	})
}

func TestHTTP10Client(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *originConn) bool {
			return c.say("HTTP/1.1 200 OK\nTransfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\n")
		})
		defer r.close()
		c := r.dial()
		c.send("GET /a HTTP/1.0", "")
		a := c.read("GET")
		a.expect(t, 200, "", "hello")
		if len(a.TransferEncoding) != 0 {
			t.Error("a chunked answer to an HTTP/1.0 client")
		}
	})
}

func TestUploadsAreStreamed(t *testing.T) {
	for _, chunked := range []bool{false, true} {
		t.Run(fmt.Sprintf("chunked=%v", chunked), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, func(c *originConn) bool {
					return c.say("HTTP/1.1 201 Created", fmt.Sprintf("%s %d", c.req.Method, len(c.body)))
				})
				defer r.close()
				c := r.dial()
				defer c.nc.Close()
				body := bytes.Repeat([]byte("x"), 3<<20)
				go func() {
					if chunked {
						io.WriteString(c.nc, "PUT /up HTTP/1.1\r\nHost: example.com\r\nTransfer-Encoding: chunked\r\n\r\n")
						for p := body; len(p) > 0; p = p[1<<18:] {
							fmt.Fprintf(c.nc, "%x\r\n%s\r\n", 1<<18, p[:1<<18])
						}
						io.WriteString(c.nc, "0\r\n\r\n")
						return
					}
					fmt.Fprintf(c.nc, "PUT /up HTTP/1.1\r\nHost: example.com\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
				}()
				c.read("PUT").expect(t, 201, "fwd=method", fmt.Sprintf("PUT %d", len(body)))
				c.send("GET /next HTTP/1.1", "") // the connection goes on
				if a := c.read("GET"); a.StatusCode != 201 {
					t.Errorf("after the upload: %d", a.StatusCode)
				}
			})
		})
	}
}

func TestExpectContinue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *originConn) bool {
			if c.req.URL.Path == "/no" {
				return c.say("HTTP/1.1 403 Forbidden\nConnection: close", "no")
			}
			io.WriteString(c, "HTTP/1.1 100 Continue\r\n\r\n")
			body, _ := io.ReadAll(c.req.Body)
			return c.say("HTTP/1.1 200 OK", "got "+string(body))
		})
		defer r.close()
		c := r.dial()
		c.send("POST /yes HTTP/1.1\nContent-Length: 5\nExpect: 100-continue", "")
		if a := c.read("POST"); a.StatusCode != 100 {
			t.Fatalf("got %d, want 100", a.StatusCode)
		}
		io.WriteString(c.nc, "hello")
		c.read("POST").expect(t, 200, "", "got hello")

		// The final answer comes without the content: it is passed on.
		c.send("POST /no HTTP/1.1\nContent-Length: 5\nExpect: 100-continue", "")
		c.read("POST").expect(t, 403, "", "no")
	})
}

func TestEarlyHintsArePassedOnAndNotReplayed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *originConn) bool {
			io.WriteString(c, "HTTP/1.1 103 Early Hints\r\nLink: </s.css>; rel=preload\r\n\r\n")
			return c.say("HTTP/1.1 200 OK\nCache-Control: max-age=60", "page")
		})
		defer r.close()
		c := r.dial()
		defer c.nc.Close()
		c.send("GET /h HTTP/1.1", "")
		if a := c.read("GET"); a.StatusCode != 103 || a.Header.Get("Link") == "" {
			t.Errorf("got %d %v, want 103 with Link", a.StatusCode, a.Header)
		}
		c.read("GET").expect(t, 200, "uri-miss", "page")
		c.send("GET /h HTTP/1.1", "")
		c.read("GET").expect(t, 200, "edge; hit", "page")
	})
}

func TestUpgradeLosesNoByte(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *originConn) bool {
			if c.req.Header.Get("Upgrade") != "echo" || !strings.EqualFold(c.req.Header.Get("Connection"), "upgrade") {
				t.Errorf("the origin got Upgrade %q, Connection %q", c.req.Header.Get("Upgrade"), c.req.Header.Get("Connection"))
			}
			// The first bytes of the new protocol ride in the same packet.
			io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nearly")
			io.Copy(c, c.Conn)
			return false
		})
		defer r.close()
		c := r.dial()
		defer c.nc.Close()
		c.send("GET /ws HTTP/1.1\nConnection: upgrade\nUpgrade: echo", "")
		resp, err := http.ReadResponse(c.br, nil)
		if err != nil || resp.StatusCode != 101 || resp.Header.Get("Upgrade") != "echo" {
			t.Fatalf("got %v %v", resp, err)
		}
		io.WriteString(c.nc, "hello")
		buf := make([]byte, len("earlyhello"))
		if _, err := io.ReadFull(c.br, buf); err != nil || string(buf) != "earlyhello" {
			t.Errorf("tunnel brought %q, %v", buf, err)
		}
		c.nc.CloseWrite()
		if rest, err := io.ReadAll(c.br); err != nil || len(rest) != 0 {
			t.Errorf("after the half-close: %q, %v", rest, err)
		}
	})
}

func TestH2CIsNeverForwarded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *originConn) bool { return c.say("HTTP/1.1 200 OK\nCache-Control: no-store", "plain") })
		defer r.close()
		c := r.dial()
		defer c.nc.Close()
		c.send("GET /h2c HTTP/1.1\nConnection: Upgrade, HTTP2-Settings\nUpgrade: h2c\nHTTP2-Settings: AAMAAABkAAQAAP__", "")
		c.read("GET").expect(t, 200, "", "plain")
		if got := strings.ToLower(r.origin.last()); strings.Contains(got, "upgrade") || strings.Contains(got, "http2-settings") {
			t.Errorf("the origin got %q", got)
		}
	})
}

func TestRangesFromTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *originConn) bool {
			return c.say("HTTP/1.1 200 OK\nCache-Control: max-age=60\nETag: \"v1\"\nContent-Type: text/plain", "0123456789")
		})
		defer r.close()
		r.get("/r").expect(t, 200, "uri-miss", "0123456789")
		for _, x := range []struct {
			fields string
			status int
			body   string
			rng    string
		}{
			{"Range: bytes=2-4", 206, "234", "bytes 2-4/10"},
			{"Range: bytes=-3", 206, "789", "bytes 7-9/10"},
			{"Range: bytes=8-", 206, "89", "bytes 8-9/10"},
			{"Range: bytes=5-100", 206, "56789", "bytes 5-9/10"},
			{"Range: bytes=10-", 416, "", "bytes */10"},
			{"Range: lines=1-2", 200, "0123456789", ""},
			{"Range: bytes=2-4\nIf-Range: \"v1\"", 206, "234", "bytes 2-4/10"},
			{"Range: bytes=2-4\nIf-Range: \"v2\"", 200, "0123456789", ""},
			{"Range: bytes=2-4\nIf-None-Match: \"v1\"", 304, "", ""},
		} {
			a := r.get("/r\n" + x.fields)
			a.expect(t, x.status, "edge; hit", x.body)
			if got := a.Header.Get("Content-Range"); got != x.rng {
				t.Errorf("%s: Content-Range %q, want %q", x.fields, got, x.rng)
			}
		}
		if n := r.origin.count(); n != 1 {
			t.Errorf("%d requests at the origin, want 1", n)
		}
	})
}

func TestSeveralRanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body := strings.Repeat("0123456789", 1000)
		r := newRig(t, func(c *originConn) bool {
			return c.say("HTTP/1.1 200 OK\nCache-Control: max-age=60\nETag: \"v1\"\nContent-Type: text/plain", body)
		})
		defer r.close()
		r.get("/r").expect(t, 200, "uri-miss", body)
		a := r.get("/r\nRange: bytes=0-1,5000-5001,-2")
		_, params, err := mime.ParseMediaType(a.Header.Get("Content-Type"))
		if a.StatusCode != 206 || err != nil {
			t.Fatalf("got %d %v %v", a.StatusCode, a.Header, err)
		}
		parts := multipart.NewReader(strings.NewReader(a.body), params["boundary"])
		for _, want := range []struct{ rng, body string }{{"bytes 0-1/10000", "01"}, {"bytes 5000-5001/10000", "01"}, {"bytes 9998-9999/10000", "89"}} {
			p, err := parts.NextPart()
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(p)
			if err != nil || string(got) != want.body || p.Header.Get("Content-Range") != want.rng || p.Header.Get("Content-Type") != "text/plain" {
				t.Errorf("part %q %v %v, want %q of %q", got, p.Header, err, want.body, want.rng)
			}
		}
		// A multi-range bomb costs no more than the whole.
		bomb := r.get("/r\nRange: bytes=" + strings.TrimSuffix(strings.Repeat("0-,", 2000), ","))
		if len(bomb.body) > 2*len(body) {
			t.Errorf("2000 overlapping ranges brought %d bytes of %d", len(bomb.body), len(body))
		}
	})
}

func TestConditionsFromTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		modified := time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat)
		r := newRig(t, func(c *originConn) bool {
			return c.say("HTTP/1.1 200 OK\nCache-Control: max-age=60\nETag: W/\"v1\"\nLast-Modified: "+modified, "body")
		})
		defer r.close()
		// A miss strips the condition, stores the whole, and answers it here.
		r.get("/c\nIf-None-Match: \"v1\"").expect(t, 304, "uri-miss", "")
		synctest.Wait() // the fill ends
		if strings.Contains(r.origin.last(), "If-None-Match") {
			t.Error("the condition went to the origin on a fill")
		}
		r.get("/c\nIf-None-Match: \"v1\"").expect(t, 304, "edge; hit", "")
		r.get("/c\nIf-None-Match: \"v2\", W/\"v1\"").expect(t, 304, "edge; hit", "")
		r.get("/c\nIf-None-Match: *").expect(t, 304, "edge; hit", "")
		r.get("/c\nIf-None-Match: \"v2\"").expect(t, 200, "edge; hit", "body")
		r.get("/c\nIf-Modified-Since: "+modified).expect(t, 304, "edge; hit", "")
		r.get("HEAD /c HTTP/1.1").expect(t, 200, "edge; hit", "")
	})
}

func TestNoRouteAndLoops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *originConn) bool { return c.say("HTTP/1.1 200 OK", c.req.Header.Get("Cdn-Loop")) },
			func(r *rig, o *Options) { r.route.Host = "example.com"; o.LoopID = "node-1" })
		defer r.close()
		r.get("/\nHost: other.example").expect(t, 404, "", "404 Not Found: no route takes this host and path\n")
		r.get("/\nCDN-Loop: other; v=1").expect(t, 200, "", "other; v=1")
		r.get("/\nCDN-Loop: other, node-1").expect(t, 508, "", "508 Loop Detected: the request came through this node before\n")
		if !strings.Contains(r.origin.last(), "Cdn-Loop: node-1") {
			t.Errorf("the origin got %q", r.origin.last())
		}
	})
}

func TestRetryOnADeadReusedConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *originConn) bool {
			if c.n == 2 { // the second request on the first connection dies
				return false
			}
			return c.say("HTTP/1.1 200 OK\nCache-Control: no-store", "ok")
		})
		defer r.close()
		r.get("/1").expect(t, 200, "", "ok")
		r.get("/2").expect(t, 200, "", "ok")
		if n := r.origin.count(); n != 3 {
			t.Errorf("%d requests, want 3: one was tried again", n)
		}
	})
}

func TestPostIsNotRetriedBlindly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *originConn) bool {
			if c.req.Method == "POST" {
				return false
			}
			return c.say("HTTP/1.1 200 OK\nCache-Control: no-store", "ok")
		})
		defer r.close()
		r.get("/1").expect(t, 200, "", "ok")
		c := r.dial()
		c.send("POST /2 HTTP/1.1\nContent-Length: 2", "hi")
		if a := c.read("POST"); a.StatusCode != 502 {
			t.Errorf("got %d, want 502", a.StatusCode)
		}
		if n := r.origin.count(); n != 2 {
			t.Errorf("%d requests, want 2", n)
		}
	})
}

// A finished answer does not wait behind a slow one.
func TestPipelinedAnswerLeavesBeforeASlowMiss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *originConn) bool {
			if c.req.URL.Path == "/slow" {
				time.Sleep(3 * time.Second)
			}
			return c.say("HTTP/1.1 200 OK\nCache-Control: max-age=60", c.req.URL.Path)
		})
		defer r.close()
		r.get("/fast")
		synctest.Wait()
		c := r.dial()
		defer c.nc.Close()
		began := time.Now()
		io.WriteString(c.nc, "GET /fast HTTP/1.1\r\nHost: example.com\r\n\r\nGET /slow HTTP/1.1\r\nHost: example.com\r\n\r\n")
		c.read("GET").expect(t, 200, "edge; hit", "/fast")
		if waited := time.Since(began); waited > time.Second {
			t.Errorf("the hit took %v: it waited for the miss behind it", waited)
		}
		c.read("GET").expect(t, 200, "uri-miss", "/slow")
	})
}

// A body that turns out too large gets 413, and the origin's exchange is broken
// off: it must not take the part for the whole.
func TestChunkedUploadOverTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *originConn) bool { return c.say("HTTP/1.1 200 OK", "took it") })
		r.server = h1.ServerOptions{Scheme: "http", Limits: h1.Limits{BodyBytes: 10}}
		defer r.close()
		c := r.dial()
		defer c.nc.Close()
		c.send("POST /up HTTP/1.1\nTransfer-Encoding: chunked", "6\r\n012345\r\n6\r\n012345\r\n0\r\n\r\n")
		c.read("POST").expect(t, 413, "", "413 Content Too Large: content too large\n")
		if n := r.origin.count(); n != 0 {
			t.Errorf("the origin took %d whole requests", n)
		}
	})
}

// An origin that answers before it has read the content (many do) does not cost
// the client its connection: what is on its way is still taken in.
func TestEarlyAnswerKeepsTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *originConn) bool {
			if c.req.URL.Path != "/early" {
				return c.say("HTTP/1.1 200 OK\nCache-Control: no-store", "next")
			}
			c.say("HTTP/1.1 403 Forbidden", "no")
			time.Sleep(time.Minute) // reading nothing
			return false
		})
		defer r.close()
		c := r.dial()
		defer c.nc.Close()
		c.send("POST /early HTTP/1.1\nContent-Length: 10", "hello")
		time.Sleep(10 * time.Millisecond)
		io.WriteString(c.nc, "world")
		c.read("POST").expect(t, 403, "", "no")
		c.send("GET /next HTTP/1.1", "")
		c.read("GET").expect(t, 200, "", "next")
	})
}

// The head of an answer that is not stored reaches the client when it comes,
// however long its content takes: a stream of events is open before the first.
func TestHeadDoesNotWaitForContent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *originConn) bool {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
			time.Sleep(10 * time.Second)
			_, err := io.WriteString(c, "9\r\ndata: x\n\n\r\n0\r\n\r\n")
			return err == nil
		})
		defer r.close()
		c := r.dial()
		defer c.nc.Close()
		began := time.Now()
		c.send("GET /events HTTP/1.1", "")
		resp, err := http.ReadResponse(c.br, nil)
		if err != nil || resp.StatusCode != 200 {
			t.Fatalf("%v %v", resp, err)
		}
		if waited := time.Since(began); waited >= 10*time.Second {
			t.Errorf("the head came after %v", waited)
		}
		if b, err := io.ReadAll(resp.Body); err != nil || string(b) != "data: x\n\n" {
			t.Errorf("%q, %v", b, err)
		}
	})
}

func TestTargetedFieldsGoOnUnlessTheRouteSaysOtherwise(t *testing.T) {
	for _, drop := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, func(c *originConn) bool {
				if c.req.URL.Path == "/no" {
					return c.say("HTTP/1.1 200 OK\nCDN-Cache-Control: no-store", "no")
				}
				return c.say("HTTP/1.1 200 OK\nCDN-Cache-Control: max-age=60\nCache-Control: no-store\nX-Other: 1", "yes")
			}, func(r *rig, o *Options) { r.route.DropTargeted = drop })
			defer r.close()
			for _, x := range []struct{ path, status, body string }{{"/a", "uri-miss", "yes"}, {"/a", "edge; hit", "yes"}, {"/no", "no-store", "no"}} {
				a := r.get(x.path)
				a.expect(t, 200, x.status, x.body)
				if has := a.Header.Get("CDN-Cache-Control") != ""; has == drop {
					t.Errorf("%s: drop %v: CDN-Cache-Control %q", x.status, drop, a.Header.Get("CDN-Cache-Control"))
				}
				if x.path == "/a" && (a.Header.Get("X-Other") != "1" || a.Header.Get("Cache-Control") != "no-store") {
					t.Errorf("%s: %v", x.status, a.Header)
				}
			}
		})
	}
}
