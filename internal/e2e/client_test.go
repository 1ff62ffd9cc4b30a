package e2e

import (
	"fmt"
	"hash/crc64"
	"io"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// echo is an origin that answers with what it saw, fresh for a minute.
func echo(t *testing.T) *origin {
	return serve(t, func(r *request) bool {
		return r.say("HTTP/1.1 200 OK\nCache-Control: max-age=60", fmt.Sprintf("%d %s %s%s %q", r.n, r.Method, r.Host, r.RequestURI, r.body))
	})
}

const host = "Host: a.example\r\n"

// smuggled is what an attacker hides behind a request.
const smuggled = "GET /smuggled HTTP/1.1\r\nHost: a.example\r\nX-Ignore: "

// TestSmuggling: what two parsers could read differently is refused and the
// connection closed; nothing of it reaches the origin.
func TestSmuggling(t *testing.T) {
	o := echo(t)
	e := start(t, config(o.addr(), ""))
	post := "POST /p HTTP/1.1\r\n" + host
	chunks := "0\r\n\r\n" + smuggled
	te := post + "Transfer-Encoding: chunked\r\n\r\n"
	for name, raw := range map[string]string{
		"CL.TE":                      post + fmt.Sprintf("Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n%s", len(chunks), chunks),
		"TE.CL":                      post + "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n5c\r\n" + smuggled,
		"TE.0":                       post + "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n" + chunks,
		"TE.TE, two lines":           post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n" + chunks,
		"TE.TE, a list":              post + "Transfer-Encoding: chunked, identity\r\n\r\n" + chunks,
		"TE with a tab":              post + "Transfer-Encoding\t: chunked\r\n\r\n" + chunks,
		"TE folded":                  post + "Transfer-Encoding:\r\n chunked\r\n\r\n" + chunks,
		"TE after a folded line":     post + "X: y\r\n Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n" + chunks,
		"TE behind a bare LF":        post + "X: y\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n" + chunks,
		"TE behind a bare CR":        post + "X: y\rTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n" + chunks,
		"TE behind NUL":              post + "X: y\x00\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks,
		"TE with VT":                 post + "Transfer-Encoding: \x0bchunked\r\n\r\n" + chunks,
		"TE in HTTP/1.0":             "POST /p HTTP/1.0\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n" + chunks,
		"CL.CL":                      post + "Content-Length: 0\r\nContent-Length: 44\r\n\r\n" + smuggled,
		"CL list":                    post + "Content-Length: 0, 44\r\n\r\n" + smuggled,
		"CL with a plus":             post + "Content-Length: +44\r\n\r\n" + smuggled,
		"CL behind a space":          post + "Content-Length : 44\r\n\r\n" + smuggled,
		"CL without a number":        post + "Content-Length:\r\n\r\n" + smuggled,
		"the head ends in LF LF":     "GET /p HTTP/1.1\r\n" + host + "\n" + smuggled,
		"extension with LF":          te + "2;x\nab\r\n0\r\n\r\n" + smuggled,
		"extension with CR":          te + "2;x\rab\r\n0\r\n\r\n" + smuggled,
		"open quote in an extension": te + "2;x=\"\r\nab\r\n0\r\n\r\n" + smuggled,
		"chunk too long":             te + "2\r\nabc\r\n0\r\n\r\n" + smuggled,
		"chunk ended by two octets":  te + "2\r\nabXX0\r\n\r\n" + smuggled,
		"size 0x0":                   te + "0x0\r\n\r\n" + smuggled,
		"size wraps to 0":            te + "10000000000000000\r\n\r\n" + smuggled,
		"last chunk ended by LF":     te + "0\n\r\n" + smuggled,
		"trailers ended by LF":       te + "0\r\n\n" + smuggled,
		"absolute and a bad Host":    "GET http://a.example/p HTTP/1.1\r\nHost: b c\r\n\r\n" + smuggled,
		"space in the target":        "GET /p HTTP/1.1\r\nHost: a.example\r\n\r\nGET /p q HTTP/1.1\r\n" + host + "\r\n" + smuggled,
	} {
		t.Run(name, func(t *testing.T) {
			c := e.dial()
			defer c.Close()
			_, _ = io.WriteString(c, raw+"\r\n\r\n"+"GET /after HTTP/1.1\r\n"+host+"\r\n")
			for range 3 {
				a := c.read("GET")
				if a.Response == nil {
					return // ended: what followed was not looked at
				}
				if strings.Contains(a.body, "/smuggled") || strings.Contains(a.body, "/after") {
					t.Fatalf("smuggled: %v", a)
				}
				if a.StatusCode >= 400 && !a.Close {
					t.Errorf("%v, and the connection stays", a)
				}
			}
			t.Error("the connection does not end")
		})
	}
	e.calm()
}

// TestOrdinaryTrafficPasses: refusing everything would be easy.
func TestOrdinaryTrafficPasses(t *testing.T) {
	o := echo(t)
	e := start(t, config(o.addr(), ""))
	for raw, want := range map[string]string{
		"GET /a HTTP/1.1\r\n" + host + "\r\n":                                                                        `GET a.example/a ""`,
		"GET /b?x=1 HTTP/1.0\r\n" + host + "\r\n":                                                                    `GET a.example/b?x=1 ""`,
		"\r\nGET /c HTTP/1.1\r\n" + host + "\r\n":                                                                    `GET a.example/c ""`,
		"GET http://b.example/d HTTP/1.1\r\n" + host + "\r\n":                                                        `GET b.example/d ""`,
		"GET /e HTTP/1.1\r\nhOST: A.example:80\r\n\r\n":                                                              `GET a.example/e ""`,
		"GET /f HTTP/1.1\r\nHost: a.example.\r\n\r\n":                                                                `GET a.example./f ""`,
		"GET /g HTTP/1.1\r\nHost: a.example:8080\r\n\r\n":                                                            `GET a.example:8080/g ""`,
		"GET /%2e%2E/%00%0d%0a?%23 HTTP/1.1\r\n" + host + "\r\n":                                                     `GET a.example/%2e%2E/%00%0d%0a?%23 ""`,
		"OPTIONS * HTTP/1.1\r\n" + host + "\r\n":                                                                     `OPTIONS a.example* ""`,
		"OPTIONS /h HTTP/1.1\r\n" + host + "\r\n":                                                                    `OPTIONS a.example/h ""`,
		"POST /i HTTP/1.1\r\n" + host + "Content-Length: 2\r\n\r\nhi":                                                `POST a.example/i "hi"`,
		"POST /j HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n1;a=\"b\"\r\nh\r\n1\r\ni\r\n0\r\n\r\n":    `POST a.example/j "hi"`,
		"PUT /k HTTP/1.1\r\n" + host + "Content-Length: 2\r\nContent-Length: 2\r\n\r\nhi":                            `PUT a.example/k "hi"`,
		"PROPFIND /l HTTP/1.1\r\n" + host + "Depth: 1\r\n\r\n":                                                       `PROPFIND a.example/l ""`,
		"POST /m HTTP/1.1\r\n" + host + "Expect: 100-continue\r\nContent-Length: 2\r\n\r\nhi":                        `POST a.example/m "hi"`,
		"POST /n HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nServer-Timing: x\r\n\r\n": `POST a.example/n "hi"`,
	} {
		if a := e.raw(raw); a.Response == nil || a.StatusCode != 200 || !strings.HasSuffix(a.body, want) {
			t.Errorf("%q: %v, want %s", raw, a, want)
		}
	}
	e.calm()
}

// TestOddMethodsAndForms: what is no business of a cache is refused or passed,
// and never stored.
func TestOddMethodsAndForms(t *testing.T) {
	o := echo(t)
	e := start(t, config(o.addr(), ""))
	for raw, want := range map[string]int{
		"CONNECT a.example:443 HTTP/1.1\r\n" + host + "\r\n":                                                              501,
		"CONNECT / HTTP/1.1\r\n" + host + "\r\n":                                                                          501,
		"GET * HTTP/1.1\r\n" + host + "\r\n":                                                                              400,
		"TRACE / HTTP/1.1\r\n" + host + "\r\n":                                                                            200, // the origin's business
		"GET / HTTP/1.1\r\n\r\n":                                                                                          400,
		"GET / HTTP/1.1\r\n" + host + host + "\r\n":                                                                       400,
		"GET / HTTP/1.0\r\n\r\n":                                                                                          400,
		"GET / HTTP/2.0\r\n" + host + "\r\n":                                                                              505,
		"GET https://a.example/ HTTP/1.1\r\n" + host + "\r\n":                                                             421,
		"GET /" + strings.Repeat("a", 20<<10) + " HTTP/1.1\r\n" + host + "\r\n":                                           414,
		"GET / HTTP/1.1\r\n" + host + "X: " + strings.Repeat("a", 70<<10) + "\r\n\r\n":                                    431,
		"GET / HTTP/1.1\r\n" + host + strings.Repeat("X: 1\r\n", 10_000) + "\r\n":                                         431,
		"GET / HTTP/1.1\r\n" + host + strings.Repeat("Cookie: a=b\r\n", 150) + "\r\n":                                     200,
		"POST / HTTP/1.1\r\n" + host + "Expect: nonsense\r\nContent-Length: 1\r\n\r\nx":                                   417,
		"GET / HTTP/1.1\r\n" + host + "Upgrade: h2c\r\nConnection: upgrade, http2-settings\r\nHTTP2-Settings: AA\r\n\r\n": 200,
	} {
		if a := e.raw(raw); a.Response == nil || a.StatusCode != want || a.err != nil {
			t.Errorf("%.60q: %v, want %d", raw, a, want)
		}
	}
	e.calm()
}

// TestConnectionNamesSensitiveFields: fields named in Connection are the hop's
// own, but nobody takes the origin's Host or framing away, and what a client
// strips of its own request makes no other key.
func TestConnectionNamesSensitiveFields(t *testing.T) {
	var got sync.Map
	o := serve(t, func(r *request) bool {
		got.Store(r.URL.Path, r.Header.Clone())
		return r.say("HTTP/1.1 200 OK\nCache-Control: max-age=60", fmt.Sprintf("%s %s %q", r.Host, r.Header.Get("Authorization"), r.body))
	})
	e := start(t, config(o.addr(), ""))
	for i, name := range []string{"Host", "Content-Length", "X-Forwarded-For", "Via", "CDN-Loop", "Transfer-Encoding", "X-Forwarded-Proto", "Cookie", "Authorization", "Cache-Control", "Age", "Range"} {
		target := fmt.Sprintf("/c%d", i)
		a := e.raw("POST " + target + " HTTP/1.1\r\n" + host + "Authorization: secret\r\nCookie: c=d\r\nConnection: close, " + name +
			"\r\nContent-Length: 2\r\nRange: bytes=0-0\r\n\r\nhi")
		if a.Response == nil || a.StatusCode != 200 || !strings.HasPrefix(a.body, "a.example ") || !strings.HasSuffix(a.body, `"hi"`) {
			t.Errorf("Connection: %s: %v", name, a)
			continue
		}
		h, _ := got.Load(target)
		for _, must := range []string{"X-Forwarded-For", "Via", "Cdn-Loop", "X-Forwarded-Proto"} {
			if len(h.(http.Header)[must]) == 0 {
				t.Errorf("Connection: %s took %s away from the origin", name, must)
			}
		}
	}
	// RFC 9111 section 3.5 protects the answer to a request with Authorization,
	// also where the client has it removed on the way.
	e.raw("GET /auth HTTP/1.1\r\n" + host + "Authorization: secret\r\nConnection: close, authorization\r\n\r\n")
	before := o.asked.Load()
	if e.get("/auth"); o.asked.Load() == before {
		t.Log("stored: the origin saw no Authorization, and gave what anybody gets")
	}
	e.calm()
}

// TestLargeHeads: the edge's work is linear in what it is sent, and what it is
// sent is bounded: the worst head of each kind is answered at once.
func TestLargeHeads(t *testing.T) {
	o := serve(t, func(r *request) bool {
		return r.say("HTTP/1.1 200 OK\nCache-Control: max-age=60\nETag: \"v\"\nVary: Accept-Language, Accept, X", strings.Repeat("x", 1<<20))
	})
	e := start(t, config(o.addr(), ""))
	e.get("/big")
	const room = 60 << 10
	fill := func(s string) string { return strings.Repeat(s, room/len(s)) }
	for name, field := range map[string]string{
		"If-None-Match":       "If-None-Match: " + fill(`"a", `) + `"z"`,
		"If-None-Match, open": "If-None-Match: " + fill(`"`),
		"If-None-Match, W/":   "If-None-Match: " + fill(`W/"",`),
		"If-Match":            "If-Match: " + fill(`"a", `) + `"v"`,
		"Range":               "Range: bytes=" + fill("0-0,"),
		"Range, overlapping":  "Range: bytes=0-" + fill(",0-"),
		"Range, suffixes":     "Range: bytes=-1" + fill(",-1"),
		"Range, digits":       "Range: bytes=" + fill("9") + "-",
		"Cache-Control":       "Cache-Control: " + fill("max-age=0, "),
		"Cache-Control, open": "Cache-Control: a=\"" + fill(`\"`),
		"Connection":          "Connection: " + fill("a,"),
		"Connection, names":   "Connection: " + fill("x-0,"),
		"Accept-Language":     "Accept-Language: " + fill("en;q=0.1,"),
		"Accept":              "Accept: " + fill("*/*;q=0.1,"),
		"Accept-Encoding":     "Accept-Encoding: " + fill("gzip;q=0.1,"),
		"X":                   "X: " + fill(","),
		"Cookie":              "Cookie: " + fill("a=b;"),
		"Forwarded":           "Forwarded: " + fill("for=a,"),
		"CDN-Loop":            "CDN-Loop: " + fill("a,"),
		"Via":                 "Via: " + fill("1.1 a,"),
		"Expect":              "Expect: " + fill("100-continue,"),
		"Upgrade":             "Connection: upgrade\r\nUpgrade: " + fill("websocket,"),
		"TE":                  "Connection: TE\r\nTE: " + fill("trailers,"),
		"Transfer-Encoding":   "Transfer-Encoding: " + fill("chunked,"),
		"If-Modified-Since":   "If-Modified-Since: " + fill("M"),
		"200 Connection":      strings.TrimSuffix(strings.Repeat("Connection: "+strings.Repeat("a,", 140)+"\r\n", 190), "\r\n"),
		"200 If-None-Match":   strings.TrimSuffix(strings.Repeat("If-None-Match: "+strings.Repeat(`"a",`, 60)+"\r\n", 190), "\r\n"),
		"200 names":           strings.TrimSuffix("Connection: "+strings.Repeat("x-0123456789,", 2000)+"\r\n"+strings.Repeat("X-0123456780: 1\r\n", 190), "\r\n"),
	} {
		t.Run(name, func(t *testing.T) {
			before := e.metric("process_cpu_seconds_total")
			const times = 20
			for range times {
				if a := e.get("/big", field); a.Response == nil {
					t.Fatalf("%v", a)
				}
			}
			// A megabyte is sent for most of them, which takes a millisecond.
			if took := (e.metric("process_cpu_seconds_total") - before) / times; took > budget(0.05) {
				t.Errorf("%.1f ms CPU each", took*1000)
			}
		})
	}
	e.calm()
}

// budget is a bound on processor time, wider where the race detector or the machine
// slows everything.
func budget(seconds float64) float64 {
	if raceBuild {
		seconds *= 20
	}
	return seconds * slowness()
}

// slowness is how much longer this machine takes for a piece of work, at least 1, than
// those take for which bounds on processor time are meant.
var slowness = sync.OnceValue(func() float64 {
	const (
		work  = 64 << 20 // bytes hashed
		usual = 100 * time.Millisecond
	)
	var before, after syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &before) // cannot fail
	h := crc64.New(crc64.MakeTable(crc64.ECMA))
	for b, n := make([]byte, 1<<20), 0; n < work; n += len(b) {
		_, _ = h.Write(b) // cannot fail
	}
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &after)
	took := time.Duration(after.Utime.Nano() - before.Utime.Nano())
	return max(1, float64(took)/float64(usual))
})

// TestPipelining: a thousand requests in one write, answered in order.
func TestPipelining(t *testing.T) {
	o := echo(t)
	e := start(t, config(o.addr(), ""))
	c := e.dial()
	defer c.Close()
	const n = 1000
	var all strings.Builder
	for i := range n {
		switch i % 4 {
		case 0:
			fmt.Fprintf(&all, "GET /same HTTP/1.1\r\n%s\r\n", host)
		case 1:
			fmt.Fprintf(&all, "GET /%d HTTP/1.1\r\n%s\r\n", i, host)
		case 2:
			fmt.Fprintf(&all, "POST /%d HTTP/1.1\r\n%sContent-Length: 3\r\n\r\nabc", i, host)
		case 3:
			fmt.Fprintf(&all, "POST /%d HTTP/1.1\r\n%sTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", i, host)
		}
	}
	go func() { _, _ = io.WriteString(c, all.String()) }()
	for i := range n {
		a := c.read("GET")
		want := fmt.Sprintf("a.example/%d ", i)
		if i%4 == 0 {
			want = "a.example/same "
		}
		if a.Response == nil || a.StatusCode != 200 || !strings.Contains(a.body, want) {
			t.Fatalf("answer %d: %v", i, a)
		}
	}
	c.Close()
	e.calm()
}

// TestSlowClients: heads that trickle, bodies that trickle, answers nobody
// reads, and connections that say nothing, while hits go on.
func TestSlowClients(t *testing.T) {
	o := serve(t, func(r *request) bool {
		if r.URL.Path == "/large" {
			return r.say("HTTP/1.1 200 OK\nCache-Control: max-age=60", strings.Repeat("x", 20<<20))
		}
		return r.say("HTTP/1.1 200 OK\nCache-Control: max-age=60", "hit")
	})
	e := start(t, config(o.addr(), "timeouts: {listener: {head: 2s, body: 2s, write: 2s, idle: 2s}}\nlimits: {listener: {body_rate: 1KiB}}\n"))
	e.get("/hit")
	e.get("/large")
	const each = 100
	release := make(chan struct{})
	var slow sync.WaitGroup
	trickle := func(head, drop string, want int) {
		slow.Go(func() {
			c := e.dial()
			defer c.Close()
			answered := make(chan answer, 1)
			go func() { answered <- c.read("POST") }()
			_, _ = io.WriteString(c, head)
			for {
				select {
				case a := <-answered:
					// Where the origin is slow too, it may be what is given up first.
					if a.Response != nil && a.StatusCode != want && a.StatusCode != 504 {
						t.Errorf("%.20q: %v, want %d or an end", head, a, want)
					}
					return
				case <-time.After(100 * time.Millisecond):
					_, _ = io.WriteString(c, drop)
				}
			}
		})
	}
	began := time.Now()
	for range each {
		trickle("GET / HTTP/1.1\r\nX: ", "a", 408)
		trickle("POST /p HTTP/1.1\r\n"+host+"Content-Length: 1000000\r\n\r\n", "a", 408)
		trickle("POST /q HTTP/1.1\r\n"+host+"Transfer-Encoding: chunked\r\n\r\n", "1\r\na\r\n", 408)
		trickle("", "", 408)
		slow.Go(func() { // reads a little of a large hit, and stops
			c := e.dial()
			defer c.Close()
			_ = c.SetReadBuffer(4096)
			fmt.Fprintf(c, "GET /large HTTP/1.1\r\n%s\r\n", host)
			_, _ = io.ReadFull(c.br, make([]byte, 1000))
			<-release
		})
	}
	hits := 0
	for ; time.Since(began) < 5*time.Second; time.Sleep(10 * time.Millisecond) {
		switch a := e.get("/hit"); {
		case a.is(200, "hit"):
			hits++
		case a.Response != nil: // else this client was a slow one too
			t.Fatalf("a hit meanwhile: %v", a)
		}
	}
	if hits == 0 {
		t.Error("no hit was answered meanwhile")
	}
	// The edge ends each of them: the readers never give up.
	eventually(t, "the edge ended them", func() bool { return e.metric("edge_connections") == 0 })
	close(release)
	slow.Wait()
	e.calm()
}

// TestIdleCrowd: as many idle connections as the process's descriptors allow
// here, up to 10,000, while hits go on.
func TestIdleCrowd(t *testing.T) {
	if !long {
		t.Skip(skipWithoutLong)
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	n := min(10_000, int(limit.Cur)*2/3)
	e := start(t, config(echo(t).addr(), ""))
	e.get("/hit")
	rss := e.metric("process_resident_memory_bytes")
	for range n {
		c := e.dial()
		defer c.Close()
		if _, err := fmt.Fprintf(c, "GET /hit HTTP/1.1\r\n%s\r\n", host); err != nil {
			t.Fatal(err)
		}
		if a := c.read("GET"); a.Response == nil || a.StatusCode != 200 {
			t.Fatalf("%v", a)
		}
	}
	began := time.Now()
	for range 100 {
		if a := e.get("/hit"); a.Response == nil || a.StatusCode != 200 {
			t.Fatalf("%v", a)
		}
	}
	each := (e.metric("process_resident_memory_bytes") - rss) / float64(n)
	t.Logf("%d idle connections, %.0f bytes each; 100 hits took %v", n, each, time.Since(began))
	most := 16 << 10
	if raceBuild {
		most *= 20
	}
	if each > float64(most) {
		t.Errorf("%.0f bytes for an idle connection", each)
	}
}

// TestBodiesNobodyReads: a request body that a hit or a refusal has no use for.
func TestBodiesNobodyReads(t *testing.T) {
	o := serve(t, func(r *request) bool {
		return r.say("HTTP/1.1 200 OK\nCache-Control: max-age=60", r.Method+" "+r.RequestURI)
	})
	e := start(t, config(o.addr(), "limits: {listener: {body: 1MiB, drain: 64KiB}}\n"))
	e.get("/hit")
	// A small one leaves the connection as it was, and nothing of it is taken
	// for a request.
	c := e.dial()
	defer c.Close()
	inner := "GET /inner HTTP/1.1\r\n" + host + "\r\n"
	fmt.Fprintf(c, "HEAD /hit HTTP/1.1\r\n%sContent-Length: %d\r\n\r\n%sGET /hit HTTP/1.1\r\n%s\r\n", host, len(inner), inner, host)
	if a := c.read("HEAD"); a.Response == nil || a.StatusCode != 200 {
		t.Fatalf("%v", a)
	}
	if a := c.read("GET"); !a.is(200, "GET /hit") {
		t.Fatalf("the request after the body: %v", a)
	}
	c.Close()
	// Too large a one is refused, announced or not, and the client sees why.
	for _, framing := range []string{"Content-Length: 2000000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n1e8480\r\n"} {
		a := e.raw("POST /x HTTP/1.1\r\n" + host + framing + strings.Repeat("x", 2_000_000))
		if a.Response == nil || a.StatusCode != 413 || !a.Close {
			t.Errorf("%q: %v", framing, a)
		}
	}
	e.calm()
}

// TestLogInjection: whatever a client puts into what is logged, a line stays a
// line of JSON.
func TestLogInjection(t *testing.T) {
	path := t.TempDir() + "/access.log"
	e := start(t, config(echo(t).addr(), "logging: {access: {path: "+path+"}}\n"))
	evil := "\"}\\u000a{\"status\":200,\\x1b[31m\xff\xfe\u2028"
	n := 0
	for _, raw := range []string{
		"GET /a\"},{\"x\":\"%0a%0d HTTP/1.1\r\n" + host + "User-Agent: " + evil + "\r\nReferer: " + evil + "\r\n\r\n",
		"GET /\x1b[31m HTTP/1.1\r\n" + host + "\r\n",
		"GET / HTTP/1.1\r\nHost: a\"b\r\n\r\n",
		"G\nE\rT / HTTP/1.1\r\n\r\n",
		evil + " / HTTP/1.1\r\n\r\n",
		"GET / HTTP/1.1\r\n" + host + "User-Agent: " + strings.Repeat("\\\"", 20000) + "\r\n\r\n",
	} {
		e.raw(raw)
		n++
	}
	e.calm()
	e.stop()
	wantJSONLines(t, path, n)
}

// TestMetricsUnderAttack: what clients choose makes no series.
func TestMetricsUnderAttack(t *testing.T) {
	e := start(t, config(echo(t).addr(), ""))
	e.raw("GET /x HTTP/1.1\r\n" + host + "Connection: close\r\n\r\n")
	series := e.series()
	for i := range 200 {
		e.raw(fmt.Sprintf("M%d /%d HTTP/1.1\r\nHost: h%d.example\r\nConnection: close\r\nUser-Agent: u%d\r\n\r\n", i, i, i, i))
	}
	if n := e.series(); n > series+20 {
		t.Errorf("%d series, %d before", n, series)
	}
	e.calm()
}
