package e2e

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// flood sends n requests over several connections that are kept.
func (e *edge) flood(clients, n int, request func(i int) string, check func(i int, a answer)) {
	e.t.Helper()
	var next atomic.Int64
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			var c *conn
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					break
				}
				if c == nil {
					nc, err := net.DialTimeout("tcp", e.addr, patience)
					if err != nil {
						e.t.Errorf("dial: %v", err)
						return
					}
					c = newConn(nc)
				}
				_ = c.SetDeadline(time.Now().Add(patience))
				raw := request(i)
				method, _, _ := strings.Cut(raw, " ")
				_, _ = io.WriteString(c, raw)
				a := c.read(method)
				check(i, a)
				if a.Response == nil || a.err != nil || a.Close {
					c.Close()
					c = nil
				}
			}
			if c != nil {
				c.Close()
			}
		})
	}
	all.Wait()
}

// resident wants the process's memory below a bound, in MiB, once what it has
// freed was given back.
func (e *edge) resident(mib float64) {
	e.t.Helper()
	if rss := e.metric("process_resident_memory_bytes") / (1 << 20); rss > budgetMiB(mib) {
		e.t.Errorf("%.0f MiB resident, more than %.0f", rss, budgetMiB(mib))
	} else {
		e.t.Logf("%.0f MiB resident", rss)
	}
}

// budgetMiB allows for the race detector's shadow memory.
func budgetMiB(mib float64) float64 {
	if raceBuild {
		return mib * 10
	}
	return mib
}

const tiny = "cache: {memory: {size: 1MiB}}\n"

// TestTinyMemory: a store of a mebibyte under a flood of objects small and
// large. Every answer is right, what fits is still hit, memory is bounded.
func TestTinyMemory(t *testing.T) {
	content := func(path string) string {
		n, _ := strconv.Atoi(strings.TrimLeft(path, "/slhm"))
		switch path[1] {
		case 's':
			return strings.Repeat(path, 10)
		case 'm':
			return strings.Repeat(path+",", 1<<12)
		case 'l':
			return strings.Repeat(path+",", 1<<16+n%7)
		}
		return "hot " + path
	}
	o := serve(t, func(r *request) bool {
		return r.say("HTTP/1.1 200 OK\nCache-Control: max-age=600", content(r.URL.Path))
	})
	e := start(t, config(o.addr(), tiny))
	e.get("/h0")
	var hits atomic.Int64
	path := func(i int) string {
		switch {
		case i%4 == 0:
			return "/h0"
		case i%50 == 1:
			return fmt.Sprintf("/l%d", i%200)
		case i%10 == 2:
			return fmt.Sprintf("/m%d", i%500)
		}
		return fmt.Sprintf("/s%d", i)
	}
	n := 8000
	if raceBuild {
		n = 2000
	}
	e.flood(32, n, func(i int) string { return "GET " + path(i) + " HTTP/1.1\r\n" + host + "\r\n" }, func(i int, a answer) {
		if !a.is(200, content(path(i))) {
			t.Errorf("%s: %v", path(i), a)
		}
		if i%4 == 0 && strings.Contains(a.Header.Get("Cache-Status"), "hit") {
			hits.Add(1)
		}
	})
	if h := int(hits.Load()); h < n/4*9/10 {
		t.Errorf("%d of %d requests for what is asked for most were hits", h, n/4)
	}
	e.resident(120)
	e.calm()
}

// TestVariants: a thousand variants of one URL, and a Vary of a thousand names.
func TestVariants(t *testing.T) {
	names := make([]string, 1000)
	for i := range names {
		names[i] = fmt.Sprintf("X-Name-%d", i)
	}
	o := serve(t, func(r *request) bool {
		if r.URL.Path == "/names" {
			return r.say("HTTP/1.1 200 OK\nCache-Control: max-age=60\nVary: "+strings.Join(names, ", "), "names"+r.Header.Get("X-Name-7"))
		}
		return r.say("HTTP/1.1 200 OK\nCache-Control: max-age=60\nVary: X-Number", "number "+r.Header.Get("X-Number"))
	})
	e := start(t, config(o.addr(), ""))
	const n = 1000
	for range 2 {
		began := e.metric("process_cpu_seconds_total")
		e.flood(8, n, func(i int) string {
			return fmt.Sprintf("GET /v HTTP/1.1\r\n%sX-Number: %d\r\n\r\n", host, i)
		}, func(i int, a answer) {
			if !a.is(200, fmt.Sprint("number ", i)) {
				t.Errorf("%d: %v", i, a)
			}
		})
		each := (e.metric("process_cpu_seconds_total") - began) / n * 1000
		t.Logf("%.2f ms CPU each", each)
		if each > budget(5) {
			t.Errorf("%.2f ms CPU for one of a thousand variants", each)
		}
	}
	for _, x := range []string{"", "1", "2", "", "1"} {
		if a := e.get("/names", "X-Name-7: "+x); !a.is(200, "names"+x) {
			t.Errorf("%q: %v", x, a)
		}
	}
	e.resident(200)
	e.calm()
}

// TestOriginFields: answers whose fields are as large, as many and as odd as
// the limits allow are passed on and reused, or refused, in time that is linear.
func TestOriginFields(t *testing.T) {
	const room = 60 << 10
	fill := func(s string) string { return strings.Repeat(s, room/len(s)) }
	heads := map[string]string{
		"cache-control":      "Cache-Control: " + fill("max-age=60, "),
		"cache-control-open": "Cache-Control: max-age=60, x=\"" + fill("\\\""),
		"private-fields":     "Cache-Control: max-age=60, private=\"" + fill("a,") + "\"",
		"no-cache-fields":    "Cache-Control: max-age=60, no-cache=\"" + fill("a,") + "\"",
		"cdn-cache-control":  "CDN-Cache-Control: max-age=60, " + fill("a=(1 2),"),
		"set-cookie":         strings.TrimSuffix("Cache-Control: max-age=60\n"+strings.Repeat("Set-Cookie: a=b; Path=/\n", 150), "\n"),
		"connection":         "Cache-Control: max-age=60\nConnection: " + fill("a,"),
		"vary":               "Cache-Control: max-age=60\nVary: " + fill("a,"),
		"vary-stars":         "Cache-Control: max-age=60\nVary: " + fill("a,") + "*",
		"etag":               "Cache-Control: max-age=60\nETag: \"" + fill("a") + "\"",
		"etag-open":          "Cache-Control: max-age=60\nETag: " + fill("\""),
		"no-vary-search":     "Cache-Control: max-age=60\nNo-Vary-Search: params=(" + fill("\"a\" ") + ")",
		"cache-groups":       "Cache-Control: max-age=60\nCache-Groups: " + fill("\"a\","),
		"age":                "Cache-Control: max-age=60\nAge: " + fill("1"),
		"expires":            "Expires: " + fill("M"),
		"date":               "Cache-Control: max-age=60\nDate: " + fill("M"),
		"content-type":       "Cache-Control: max-age=60\nContent-Type: " + fill("a"),
		"link":               "Cache-Control: max-age=60\nLink: " + fill("</a>,"),
		"fields":             strings.TrimSuffix("Cache-Control: max-age=60\n"+strings.Repeat("X: y\n", 190), "\n"),
		"warning":            "Cache-Control: max-age=60\nCache-Status: " + fill("a,"),
	}
	o := serve(t, func(r *request) bool {
		name, _, _ := strings.Cut(r.URL.Path[1:], "/")
		return r.say("HTTP/1.1 200 OK\n"+heads[name], "content")
	})
	e := start(t, config(o.addr(), ""))
	for name := range heads {
		before := e.metric("process_cpu_seconds_total")
		const times = 10
		for i := range times {
			if a := e.get(fmt.Sprintf("/%s/%d?a=%d", name, i/2, i)); !a.is(200, "content") {
				t.Errorf("%s: %v", name, a)
				break
			}
		}
		if took := (e.metric("process_cpu_seconds_total") - before) / times; took > budget(0.03) {
			t.Errorf("%s: %.1f ms CPU each", name, took*1000)
		}
	}
	e.calm()
}

// TestUncacheableFlood: what is remembered of answers that cannot be shared is
// bounded by the store, as what is stored is.
func TestUncacheableFlood(t *testing.T) {
	o := serve(t, func(r *request) bool {
		return r.say("HTTP/1.1 200 OK\nCache-Control: private\nSet-Cookie: id="+r.URL.Path[1:], "for "+r.URL.Path)
	})
	e := start(t, config(o.addr(), tiny))
	n := 20_000
	if !long || raceBuild {
		n = 3000
	}
	e.flood(32, n, func(i int) string { return fmt.Sprintf("GET /%d HTTP/1.1\r\n%s\r\n", i, host) }, func(i int, a answer) {
		if !a.is(200, fmt.Sprint("for /", i)) || a.Header.Get("Set-Cookie") != fmt.Sprint("id=", i) {
			t.Errorf("%d: %v", i, a)
		}
	})
	e.resident(120)
	if used, budget := e.metric("edge_store_used_bytes"), e.metric("edge_store_budget_bytes"); used > 8*budget {
		t.Errorf("the store uses %v of %v bytes", used, budget)
	}
	e.calm()
}

// TestInvalidationFlood: clients that invalidate all the time, with Location
// and Content-Location of their choosing, slow nobody and harm no other host.
func TestInvalidationFlood(t *testing.T) {
	o := serve(t, func(r *request) bool {
		if r.Method == "POST" {
			return r.say("HTTP/1.1 200 OK\nLocation: http://other.example/kept\nContent-Location: "+r.URL.Query().Get("at"), "")
		}
		return r.say("HTTP/1.1 200 OK\nCache-Control: max-age=60", fmt.Sprint(r.n))
	})
	e := start(t, config(o.addr(), ""))
	kept := e.get("/kept", "Host: other.example")
	near := e.get("/near")
	n := 5000
	if raceBuild {
		n = 1000
	}
	e.flood(16, n, func(i int) string {
		return fmt.Sprintf("POST /p%d?at=/x%d HTTP/1.1\r\n%sContent-Length: 1\r\n\r\nx", i, i, host)
	}, func(i int, a answer) {
		if a.Response == nil || a.StatusCode != 200 {
			t.Errorf("%d: %v", i, a)
		}
	})
	if a := e.get("/kept", "Host: other.example"); !a.is(200, kept.body) {
		t.Errorf("another host's was invalidated: %v", a)
	}
	if a := e.get("/near"); !a.is(200, near.body) {
		t.Errorf("what was not named was invalidated: %v", a)
	}
	e.raw("POST /q?at=/near HTTP/1.1\r\n" + host + "Content-Length: 1\r\nConnection: close\r\n\r\nx")
	if a := e.get("/near"); a.Response == nil || a.body == near.body {
		t.Errorf("what was named was not invalidated: %v", a)
	}
	e.resident(150)
	e.calm()
}

// TestAborts: clients that leave at any moment, in any way, leave nothing.
func TestAborts(t *testing.T) {
	o := serve(t, func(r *request) bool {
		return r.say("HTTP/1.1 200 OK\nCache-Control: max-age=60", strings.Repeat(r.URL.Path, 40_000))
	})
	e := start(t, config(o.addr(), "cache: {memory: {size: 8MiB}}\n"))
	var all sync.WaitGroup
	for w := range 16 {
		all.Go(func() {
			for i := range 100 {
				nc, err := net.DialTimeout("tcp", e.addr, patience)
				if err != nil {
					t.Errorf("%v", err)
					return
				}
				fmt.Fprintf(nc, "GET /%d HTTP/1.1\r\n%s\r\n", (w*100+i)%300, host)
				switch i % 4 {
				case 1:
					_, _ = io.ReadFull(nc, make([]byte, 100))
				case 2:
					_ = nc.(*net.TCPConn).SetLinger(0)
				case 3:
					_ = nc.(*net.TCPConn).CloseWrite()
					_, _ = io.CopyN(io.Discard, nc, 100_000)
				}
				nc.Close()
			}
		})
	}
	all.Wait()
	e.calm()
	e.resident(150)
}

// TestKilledAndStarted: after kill -9 a new process serves at the same address
// at once.
func TestKilledAndStarted(t *testing.T) {
	o := echo(t)
	e := start(t, config(o.addr(), ""))
	c := e.dial()
	defer c.Close()
	fmt.Fprintf(c, "GET /a HTTP/1.1\r\n%s\r\n", host)
	if a := c.read("GET"); a.Response == nil || a.StatusCode != 200 {
		t.Fatalf("%v", a)
	}
	e.killed.Store(true)
	_ = e.cmd.Process.Kill()
	<-e.exited
	again := start(t, strings.Replace(config(o.addr(), ""), "127.0.0.1:0", e.addr, 1))
	if again.addr != e.addr {
		t.Fatalf("listens on %s, not %s", again.addr, e.addr)
	}
	if a := again.get("/a"); a.Response == nil || a.StatusCode != 200 {
		t.Errorf("%v", a)
	}
	again.calm()
}

// TestStopUnderLoad: SIGTERM while requests come. Every answer that begins is
// whole, and the process exits at once when the last is out.
func TestStopUnderLoad(t *testing.T) {
	body := strings.Repeat("0123456789", 10_000)
	o := serve(t, func(r *request) bool {
		if r.n%10 == 0 {
			time.Sleep(300 * time.Millisecond)
		}
		return r.say("HTTP/1.1 200 OK\nCache-Control: max-age=60", body)
	})
	e := start(t, config(o.addr(), "shutdown: {grace: 1h}\n")) // which nothing may take
	var all sync.WaitGroup
	var answered, refused, broken atomic.Int64
	for w := range 16 {
		all.Go(func() {
			var c *conn
			for i := 0; ; i++ {
				if c == nil {
					nc, err := net.DialTimeout("tcp", e.addr, patience)
					if err != nil {
						return // nobody listens any more
					}
					c = newConn(nc)
				}
				_ = c.SetDeadline(time.Now().Add(patience))
				fmt.Fprintf(c, "GET /%d/%d HTTP/1.1\r\n%s\r\n", w, i/3, host)
				a := c.read("GET")
				switch {
				case a.is(200, body):
					answered.Add(1)
				case a.Response == nil:
					refused.Add(1) // the connection was idle to the edge; a client tries again
				default:
					broken.Add(1)
					t.Errorf("%v", a)
				}
				if a.Response == nil || a.Close {
					c.Close()
					c = nil
				}
			}
		})
	}
	time.Sleep(500 * time.Millisecond)
	eventually(t, "there is load", func() bool { return answered.Load() > 0 })
	began := time.Now()
	_ = e.cmd.Process.Signal(syscall.SIGTERM)
	eventually(t, "it ends", func() bool { return !e.alive() })
	all.Wait()
	t.Logf("%d answered, %d connections ended between requests; exit after %v", answered.Load(), refused.Load(), time.Since(began))
}

// TestPoisonedForwards: what an origin trusts and the key lacks comes from
// nobody but us, whatever its spelling.
func TestPoisonedForwards(t *testing.T) {
	o := serve(t, func(r *request) bool {
		var seen bytes.Buffer
		_ = r.Header.Write(&seen)
		return r.say("HTTP/1.1 200 OK\nCache-Control: max-age=60", r.Host+"\n"+seen.String())
	})
	e := start(t, config(o.addr(), ""))
	for i, name := range []string{"X-Forwarded-Host", "x-forwarded-proto", "X-FORWARDED-SCHEME", "X-Forwarded-Port", "X-Forwarded-Prefix",
		"X-Forwarded-Server", "X-Host", "X-Original-URL", "X-Rewrite-URL", "X-HTTP-Method-Override", "Forwarded", "X-Forwarded-For", "X-Real-IP"} {
		target := fmt.Sprintf("/p%d", i)
		e.get(target, name+": evil.example", name+": evil.example")
		a := e.get(target)
		if a.Response == nil || a.StatusCode != 200 || strings.Contains(a.body, "evil") {
			t.Errorf("%s: %v\n%s", name, a, a.body)
		}
	}
	e.calm()
}

// TestMixedLoad is everything at once for a while; with the race detector where
// this test has it.
func TestMixedLoad(t *testing.T) {
	lasts := 3 * time.Second
	if long {
		lasts = 60 * time.Second
	}
	o := serve(t, mixedOrigin)
	e := start(t, config(o.addr(), "cache: {memory: {size: 4MiB}}\nlogging: {access: {path: "+t.TempDir()+"/log}}\n"))
	end := time.Now().Add(lasts)
	var all sync.WaitGroup
	var done atomic.Int64
	for w := range 24 {
		all.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(w), 7))
			for time.Now().Before(end) {
				nc, err := net.DialTimeout("tcp", e.addr, patience)
				if err != nil {
					t.Errorf("%v", err)
					return
				}
				c := newConn(nc)
				_ = c.SetDeadline(time.Now().Add(patience))
				for range 1 + rnd.IntN(20) {
					if !mixedRequest(t, c, rnd) {
						break
					}
					done.Add(1)
				}
				c.Close()
			}
		})
	}
	all.Go(func() { // reloads and metrics meanwhile
		for time.Now().Before(end) {
			_ = e.cmd.Process.Signal(syscall.SIGHUP)
			_ = e.cmd.Process.Signal(syscall.SIGUSR1)
			e.metric("edge_connections")
			time.Sleep(200 * time.Millisecond)
		}
	})
	all.Wait()
	t.Logf("%d exchanges", done.Load())
	e.calm()
	e.resident(200)
}

// mixedOrigin answers by the first letter of the path; the rest is content.
func mixedOrigin(r *request) bool {
	body := strings.Repeat(r.URL.Path+"|"+r.Header.Get("X-V"), 1+len(r.URL.Path)*37%500)
	head := "HTTP/1.1 200 OK\nCache-Control: max-age=1, stale-while-revalidate=2"
	switch r.URL.Path[1] {
	case 'v':
		return r.say(head+"\nVary: X-V", body)
	case 'e':
		if r.Header.Get("If-None-Match") != "" {
			return r.say("HTTP/1.1 304 Not Modified\nETag: \"e\"\nCache-Control: max-age=0", "")
		}
		return r.say("HTTP/1.1 200 OK\nETag: \"e\"\nCache-Control: max-age=0", body)
	case 'p':
		return r.say("HTTP/1.1 200 OK\nCache-Control: private", body)
	case 'x':
		fmt.Fprintf(r, "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: %d\r\n\r\n%s", len(body), body[:len(body)/2])
		return false
	case 'c':
		fmt.Fprintf(r, "HTTP/1.1 200 OK\r\nCache-Control: max-age=1\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\nX-T: 1\r\n\r\n", len(body), body)
		return true
	case '5':
		return r.say("HTTP/1.1 500 Oops", body)
	case 'l':
		return r.say(head+"\nETag: \"l\"", strings.Repeat(body, 500))
	}
	return r.say(head+"\nETag: \"s\"", body)
}

// mixedRequest is one exchange of any kind; false ends the connection.
func mixedRequest(t *testing.T, c *conn, rnd *rand.Rand) bool {
	kind := string("vepxc5ls"[rnd.IntN(8)])
	path := fmt.Sprintf("/%s%d", kind, rnd.IntN(30))
	v := strconv.Itoa(rnd.IntN(3))
	fields := ""
	method := []string{"GET", "GET", "GET", "GET", "HEAD", "POST"}[rnd.IntN(6)]
	switch {
	case method == "POST":
		fields = "Content-Length: 5\r\n\r\nhello"
	case rnd.IntN(5) == 0:
		fields = "Range: bytes=1-" + strconv.Itoa(rnd.IntN(3000)) + "\r\n\r\n"
	case rnd.IntN(6) == 0:
		fields = "If-None-Match: \"s\"\r\n\r\n"
	default:
		fields = "\r\n"
	}
	fmt.Fprintf(c, "%s %s HTTP/1.1\r\n%sX-V: %s\r\n%s", method, path, host, v, fields)
	if rnd.IntN(40) == 0 {
		return false // leaves
	}
	a := c.read(method)
	if a.Response == nil {
		return false
	}
	want := path + "|" + v
	if kind != "v" { // stored for all
		want = path + "|"
	}
	if a.err == nil && a.StatusCode == 200 && method != "HEAD" && !strings.HasPrefix(a.body, want) {
		t.Errorf("%s %s: %v", method, path, a)
	}
	if kind == "x" && method == "GET" && a.StatusCode == http.StatusOK && a.err == nil {
		t.Errorf("%s %s: what was cut looks complete: %v", method, path, a)
	}
	return a.err == nil && !a.Close
}
