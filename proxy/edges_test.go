package proxy

import (
	"fmt"
	"io"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// parts serves a 10 byte representation by range.
func parts(c *originConn, extra string) bool {
	const all = "0123456789"
	var a, b int
	if n, _ := fmt.Sscanf(c.req.Header.Get("Range"), "bytes=%d-%d", &a, &b); n == 2 {
		b = min(b, len(all)-1)
		return c.say(fmt.Sprintf("HTTP/1.1 206 Partial Content\nCache-Control: max-age=60\nETag: \"v\"\n%sContent-Range: bytes %d-%d/10", extra, a, b), all[a:b+1])
	}
	return c.say("HTTP/1.1 200 OK\nCache-Control: max-age=60\nETag: \"v\"\nContent-Type: text/plain\nContent-Encoding: x-foo", all)
}

// inTwo serves a representation of two pieces, the second a second after the first.
func inTwo(c *originConn, first, second string) bool {
	fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nETag: \"b\"\r\nContent-Length: %d\r\n\r\n%s", len(first)+len(second), first)
	time.Sleep(time.Second)
	_, err := io.WriteString(c, second)
	return err == nil
}

// inChunks makes ranges of a few bytes long ones.
func inChunks(n int64) rigOption { return func(r *rig, _ *Options) { r.route.Policy.Chunk = n } }

// A gap that was fetched but cannot be stored does not go out alone.
func TestCompletingNotStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r *rig
		r = newRig(t, func(c *originConn) bool {
			if strings.HasPrefix(c.req.Header.Get("Range"), "bytes=4-") {
				time.Sleep(time.Second)
			}
			if c.req.Method == "POST" {
				return c.say("HTTP/1.1 200 OK", "")
			}
			return parts(c, "")
		}, inChunks(4))
		defer r.close()
		r.get("/p\nRange: bytes=0-3").expect(t, 206, "", "0123")
		go func() {
			time.Sleep(500 * time.Millisecond)
			r.get("POST /p HTTP/1.1\nContent-Length: 0")
		}()
		r.get("/p").expect(t, 200, "", "0123456789")
	})
}

// Who has parts completed gets the fields of the whole, not those of the gap.
func TestCompletingHead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *originConn) bool {
			if c.req.Header.Get("If-Range") != "" {
				return parts(c, "")
			}
			return parts(c, "Content-Encoding: gzip\nContent-Type: text/css\n")
		}, inChunks(4))
		defer r.close()
		r.get("/p\nRange: bytes=0-3").expect(t, 206, "", "0123")
		a := r.get("/p")
		a.expect(t, 200, "", "0123456789")
		if a.Header.Get("Content-Encoding") != "gzip" || a.Header.Get("Content-Type") != "text/css" {
			t.Errorf("lead: %v", a.Header)
		}
		a = r.get("/p")
		if a.Header.Get("Content-Encoding") != "gzip" || a.Header.Get("Content-Type") != "text/css" {
			t.Errorf("hit: %v", a.Header)
		}
	})
}

// What one exchange completed says nothing of the next one on the connection.
func TestCompletingSurvives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *originConn) bool {
			switch c.req.URL.Path {
			case "/p":
				return parts(c, "")
			case "/s":
				if c.n < 4 {
					return c.say("HTTP/1.1 200 OK\nCache-Control: max-age=1\nETag: \"a\"", "OLDOLDOLD!")
				}
				return inTwo(c, "newne", "wnew!")
			}
			return inTwo(c, "abcde", "fghij")
		}, inChunks(4))
		defer r.close()
		c := r.dial()
		c.send("GET /s HTTP/1.1", "")
		c.read("GET").expect(t, 200, "", "OLDOLDOLD!")
		c.send("GET /p HTTP/1.1\nRange: bytes=0-3", "")
		c.read("GET").expect(t, 206, "", "0123")
		c.send("GET /p HTTP/1.1", "")
		c.read("GET").expect(t, 200, "", "0123456789")
		time.Sleep(5 * time.Second)
		go r.get("/s")
		time.Sleep(500 * time.Millisecond)
		c.send("GET /s HTTP/1.1", "")
		c.read("GET").expect(t, 200, "", "newnewnew!")
	})
}

// Nor where that one is a plain miss.
func TestCompletingSurvivesMiss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *originConn) bool {
			if c.req.URL.Path == "/p" {
				return parts(c, "")
			}
			return inTwo(c, "abcde", "fghij")
		}, inChunks(4))
		defer r.close()
		c := r.dial()
		c.send("GET /p HTTP/1.1\nRange: bytes=0-3", "")
		c.read("GET").expect(t, 206, "", "0123")
		c.send("GET /p HTTP/1.1", "")
		c.read("GET").expect(t, 200, "", "0123456789")
		go r.get("/m")
		time.Sleep(500 * time.Millisecond)
		c.send("GET /m HTTP/1.1", "")
		c.read("GET").expect(t, 200, "", "abcdefghij")
	})
}

// What Connection takes from the origin is not in the key either.
func TestConnectionNominatedKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *originConn) bool {
			return c.say("HTTP/1.1 200 OK\nCache-Control: max-age=60\nVary: Accept-Language", "lang="+c.req.Header.Get("Accept-Language")+" tenant="+c.req.Header.Get("X-Tenant"))
		}, func(r *rig, o *Options) { r.route.Key.Fields = [][]byte{[]byte("X-Tenant")} })
		defer r.close()
		r.get("/v\nAccept-Language: fr\nConnection: Accept-Language")
		r.get("/v\nAccept-Language: fr").expect(t, 200, "", "lang=fr tenant=")
		r.get("/k\nX-Tenant: a\nConnection: X-Tenant")
		r.get("/k\nX-Tenant: a").expect(t, 200, "", "lang= tenant=a")
	})
}

// A trusted peer passes on what its clients say: none of it goes unkeyed.
func TestTrustedUnkeyed(t *testing.T) {
	for _, f := range []string{"X-Forwarded-Host", "X-Original-URL", "X-Http-Method-Override", "X-Forwarded-Proto"} {
		t.Run(f, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, func(c *originConn) bool {
					return c.say("HTTP/1.1 200 OK\nCache-Control: max-age=60", "saw "+c.req.Header.Get(f))
				}, func(r *rig, o *Options) { o.Trusted = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} })
				defer r.close()
				a := r.get("/v\n" + f + ": evil")
				b := r.get("/v")
				if strings.Contains(b.body, "evil") {
					t.Errorf("%s: first %q, second %q", f, a.body, b.body)
				}
			})
		})
	}
}

// A tunnel used in one direction is in use.
func TestTunnelOneSided(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *originConn) bool {
			io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
			for range 30 {
				time.Sleep(10 * time.Second)
				if _, err := io.WriteString(c, "tick"); err != nil {
					break
				}
			}
			return false
		}, func(r *rig, o *Options) { r.route.TunnelIdle = time.Minute })
		defer r.close()
		c := r.dial()
		defer c.nc.Close()
		c.send("GET /ws HTTP/1.1\nConnection: upgrade\nUpgrade: echo", "")
		a := c.read("GET")
		_ = a
		b, err := io.ReadAll(io.LimitReader(c.br, 120))
		if len(b) != 120 {
			t.Errorf("%d bytes, %v", len(b), err)
		}
	})
}

// A write invalidates the variant it was made under.
func TestInvalidateOwnKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		r := newRig(t, func(c *originConn) bool {
			n++
			return c.say("HTTP/1.1 200 OK\nCache-Control: max-age=60", fmt.Sprint(n))
		}, func(r *rig, o *Options) { r.route.Key.Fields = [][]byte{[]byte("X-Tenant")} })
		defer r.close()
		r.get("/k\nX-Tenant: a").expect(t, 200, "", "1")
		r.get("POST /k HTTP/1.1\nX-Tenant: a\nContent-Length: 0").expect(t, 200, "", "2")
		r.get("/k\nX-Tenant: a").expect(t, 200, "", "3")
	})
}

// A gap that must not be stored completes nothing.
func TestCompletingPrivate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *originConn) bool {
			if c.req.Header.Get("If-Range") != "" {
				return c.say("HTTP/1.1 206 Partial Content\nCache-Control: private, max-age=60\nETag: \"v\"\nSet-Cookie: sid=secret\nX-User: victim\nContent-Range: bytes 4-9/10", "456789")
			}
			return parts(c, "")
		}, inChunks(4))
		defer r.close()
		r.get("/p\nRange: bytes=0-3").expect(t, 206, "", "0123")
		r.get("/p\nCookie: victim").expect(t, 200, "", "0123456789")
		a := r.get("/p\nCookie: other")
		if a.Header.Get("Set-Cookie") != "" || a.Header.Get("X-User") != "" {
			t.Errorf("other got %v", a.Header)
		}
	})
}

// A POST answered early is not stored while its content is still being read.
func TestPostFillPump(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *originConn) bool {
			if c.req.Method == "POST" {
				io.WriteString(c, "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Location: /early\r\nContent-Length: 10\r\n\r\n01234")
				time.Sleep(time.Second)
				io.WriteString(c, "56789")
				io.ReadAll(c.req.Body)
				return true
			}
			return c.say("HTTP/1.1 200 OK\nCache-Control: max-age=60", "got "+c.req.URL.Path)
		})
		defer r.close()
		c := r.dial()
		defer c.nc.Close()
		c.send("POST /early HTTP/1.1\nContent-Length: 100000", strings.Repeat("x", 50000))
		c.read("POST").expect(t, 200, "", "0123456789")
		go func() {
			for range 50 {
				time.Sleep(time.Millisecond)
				io.WriteString(c.nc, strings.Repeat("x", 1000))
			}
			io.WriteString(c.nc, "GET /next HTTP/1.1\r\nHost: example.com\r\n\r\n")
		}()
		resp := c.read("GET")
		resp.expect(t, 200, "", "got /next")
	})
}

// What the origin varies by is what it saw, not what the client claimed.
func TestVaryForwardedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *originConn) bool {
			return c.say("HTTP/1.1 200 OK\nCache-Control: max-age=60\nVary: X-Forwarded-For", "for "+c.req.Header.Get("X-Forwarded-For"))
		})
		defer r.close()
		peer := func(ip string) string {
			nc, err := r.front.Dial()
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			io.WriteString(nc, "GET /x HTTP/1.1\r\nHost: example.com\r\nX-Forwarded-For: 6.6.6.6\r\nConnection: close\r\n\r\n")
			b, _ := io.ReadAll(nc)
			_, body, _ := strings.Cut(string(b), "\r\n\r\n")
			return body
		}
		a := peer("a")
		synctest.Wait() // the first client has been taken in
		r.peer = netip.MustParseAddrPort("203.0.113.9:1")
		b := peer("b")
		if a == b {
			t.Errorf("two clients got %q", a)
		}
	})
}

// A leader whose client does not read does not hold the others.
func TestInterimToSlowClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *originConn) bool {
			if c.n == 1 {
				for range 200000 / 1000 {
					io.WriteString(c, "HTTP/1.1 103 Early Hints\r\nLink: <"+strings.Repeat("x", 1000)+">\r\n\r\n")
				}
			}
			return c.say("HTTP/1.1 200 OK\nCache-Control: max-age=60", "hello")
		})
		defer r.close()
		c := r.dial()
		defer c.nc.Close()
		c.send("GET /x HTTP/1.1", "") // never reads
		time.Sleep(100 * time.Millisecond)
		start := time.Now()
		r.get("/x").expect(t, 200, "", "hello")
		if d := time.Since(start); d > time.Second {
			t.Errorf("waited %v", d)
		}
	})
}

// An origin that closes delimits the content.
func TestClosingOriginFill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *originConn) bool {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nConnection: close\r\n\r\nhel")
			time.Sleep(time.Second)
			return false
		})
		defer r.close()
		c := r.dial()
		defer c.nc.Close()
		c.send("GET /x HTTP/1.1", "")
		c.read("GET").expect(t, 200, "", "hel")
		c.send("GET /x HTTP/1.1\nRange: bytes=1-1", "")
		c.read("GET").expect(t, 206, "hit", "e")
	})
}
