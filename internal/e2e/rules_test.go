package e2e

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// wire is an origin that keeps the bytes it is sent, and answers each request, once all
// of it has come, and whatever comes with it, and closes.
func wire(t *testing.T, answer string) (addr string, seen func() string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var got text
	var all sync.WaitGroup
	all.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer nc.Close()
				_ = nc.SetReadDeadline(time.Now().Add(patience))
				kept := io.TeeReader(nc, &got)
				if r, err := http.ReadRequest(bufio.NewReader(kept)); err != nil {
					t.Errorf("the origin was sent %q: %v", got.String(), err)
				} else if _, err := io.Copy(io.Discard, r.Body); err != nil {
					t.Errorf("the origin was sent %q: %v", got.String(), err)
				}
				_ = nc.SetReadDeadline(time.Now().Add(100 * time.Millisecond)) // what comes too much comes soon
				_, _ = io.Copy(io.Discard, kept)
				_, _ = io.WriteString(nc, answer)
			})
		}
	})
	t.Cleanup(func() { l.Close(); all.Wait() })
	return l.Addr().String(), got.String
}

// TestForwardedIsRebuilt: what goes to the origin is written from what was
// understood, not copied: no extension, no white space, no unnamed trailer, no
// spelling of the client's that matters.
func TestForwardedIsRebuilt(t *testing.T) {
	addr, seen := wire(t, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	e := start(t, config(addr, ""))
	e.raw("\r\nPOST http://A.example:80/x?y HTTP/1.1\r\nhost:\t other.example \t\r\ntransfer-ENCODING:\tChunked \r\nX-Odd:   v  \r\n" +
		"Connection: close, X-Hop\r\nX-Hop: hop\r\nKeep-Alive: 5\r\nProxy-Connection: x\r\nTE: trailers\r\n\r\n" +
		"0003;secret=\"ext\"\r\nabc\r\n0;last=ext\r\nAuthorization: trailer\r\nServer-Timing: kept\r\n\r\n")
	got := seen()
	for _, want := range []string{"POST /x?y HTTP/1.1\r\n", "\r\nHost: a.example\r\n", "\r\nX-Odd: v\r\n", "abc"} {
		if !strings.Contains(got, want) {
			t.Errorf("without %q:\n%s", want, got)
		}
	}
	for _, bad := range []string{"ext", "secret", "hop", "other.example", "Keep-Alive", "Proxy-Connection", "trailer\r", "Chunked ", "\t"} {
		if strings.Contains(got, bad) {
			t.Errorf("with %q:\n%s", bad, got)
		}
	}
	if n := strings.Count(strings.ToLower(got), "\r\ntransfer-encoding: chunked\r\n"); n != 1 {
		t.Errorf("%d transfer codings:\n%s", n, got)
	}
	e.calm()
}

// TestRoutingSeesTheKey: a route is chosen by the very octets that make the
// key, so that no spelling of one route's path is stored for another's.
func TestRoutingSeesTheKey(t *testing.T) {
	named := func(name string) *origin {
		return serve(t, func(r *request) bool {
			return r.say("HTTP/1.1 200 OK\nCache-Control: max-age=60", name+" "+r.RequestURI)
		})
	}
	secret, public := named("secret"), named("public")
	e := start(t, "version: 1\nlisteners:\n  - address: 127.0.0.1:0\nadmin: {address: \"127.0.0.1:0\"}\norigins:\n"+
		"  app:\n    endpoints: [{url: \"http://"+public.addr()+"\"}]\n  secret:\n    endpoints: [{url: \"http://"+secret.addr()+"\"}]\n"+
		"routes:\n  - match: {path: /admin/*}\n    origin: secret\n  - match: {path: /*}\n    origin: app\n")
	for target, want := range map[string]string{
		"/admin/x": "secret", "/admin/": "secret", "/admin/%2e%2e/x": "secret", "/admin/../x": "secret", "/admin/?": "secret",
		"/%61dmin/x": "public", "/admin%2fx": "public", "/ADMIN/x": "public", "//admin/x": "public", "/x/../admin/x": "public",
		"/admin;/x": "public", "/admin?/x": "public", "/admin%00/x": "public", "/./admin/x": "public",
	} {
		for range 2 {
			if a := e.get(target); !a.is(200, want+" "+target) {
				t.Errorf("%s: %v, want %s", target, a, want)
			}
		}
	}
	e.calm()
}

// TestKeptForwardsAreInTheKey: a route that passes on what origins trust keeps
// one client's word from another.
func TestKeptForwardsAreInTheKey(t *testing.T) {
	o := serve(t, func(r *request) bool {
		return r.say("HTTP/1.1 200 OK\nCache-Control: max-age=60", r.Header.Get("X-Forwarded-Host")+" "+r.Header.Get("X-Original-Url"))
	})
	e := start(t, config(o.addr(), "")+"    keep_forwarded: true\n")
	for range 2 {
		for _, x := range []string{"one.example", "two.example"} {
			if a := e.get("/k", "X-Forwarded-Host: "+x); !a.is(200, x+" ") {
				t.Errorf("%v", a)
			}
			if a := e.get("/k", "X-Original-URL: /"+x, "X-Forwarded-Host: z"); !a.is(200, "z /"+x) {
				t.Errorf("%v", a)
			}
		}
	}
	if n := o.asked.Load(); n != 4 {
		t.Errorf("the origin was asked %d times for 4 keys", n)
	}
	e.calm()
}

// TestUpgradeDeclinedIsNoTunnel: what a client sends behind an upgrade that the
// origin declined is its next request to us, not bytes for the origin.
func TestUpgradeDeclinedIsNoTunnel(t *testing.T) {
	var mu sync.Mutex
	var seen []string
	o := serve(t, func(r *request) bool {
		mu.Lock()
		seen = append(seen, r.RequestURI)
		mu.Unlock()
		if r.Header.Get("Upgrade") != "" {
			return r.say("HTTP/1.1 426 Upgrade Required\nSec-WebSocket-Version: 13", "")
		}
		return r.say("HTTP/1.1 200 OK", r.RequestURI)
	})
	e := start(t, config(o.addr(), ""))
	c := e.dial()
	defer c.Close()
	fmt.Fprintf(c, "GET /ws HTTP/1.1\r\n%sConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 1\r\n\r\nGET /behind HTTP/1.1\r\nHost: other.example\r\nX-Forwarded-Host: evil\r\n\r\n", host)
	if a := c.read("GET"); a.Response == nil || a.StatusCode != 426 {
		t.Fatalf("%v", a)
	}
	if a := c.read("GET"); a.Response != nil && (!strings.HasPrefix(a.Header.Get("Via"), "1.1 ") || !a.is(200, "/behind")) {
		t.Errorf("%v: not an exchange of its own", a)
	}
	c.Close()
	e.calm()
}

// TestErrorsToOddRequests: what only an odd request is told is not what the
// next one gets: the answer is not stored on a heuristic.
func TestErrorsToOddRequests(t *testing.T) {
	odd := map[string]string{
		"a large field":   "X-Large: " + strings.Repeat("a", 9000),
		"many fields":     strings.TrimSuffix(strings.Repeat("X-Many: 1\r\n", 100), "\r\n"),
		"override":        "X-HTTP-Method-Override: DELETE\r\nX-Odd: 1",
		"authorization":   "Authorization: Basic YQ==",
		"a cookie":        "Cookie: odd=1",
		"an unmet range":  "Range: bytes=99999-",
		"a condition":     "If-Match: \"none\"",
		"content":         "Content-Length: 1\r\n\r\nx",
		"an empty value":  "X-Large: " + strings.Repeat("a", 8500) + "\r\nAccept:",
		"control by tabs": "X-Tab: " + strings.Repeat("\t", 50) + strings.Repeat("b\t", 5000),
	}
	o := serve(t, func(r *request) bool {
		var status int
		_, _ = fmt.Sscanf(r.URL.Path, "/%d", &status)
		h := r.Header
		if h.Get("X-Large")+h.Get("X-Many")+h.Get("X-Odd")+h.Get("Authorization")+h.Get("Cookie")+h.Get("Range")+h.Get("If-Match")+h.Get("X-Tab") != "" ||
			len(r.body) > 0 {
			return r.say(fmt.Sprintf("HTTP/1.1 %d Odd\nLast-Modified: Mon, 01 Jan 1990 00:00:00 GMT", status), "odd")
		}
		return r.say("HTTP/1.1 200 OK\nCache-Control: max-age=60", "good")
	})
	e := start(t, config(o.addr(), ""))
	for name, lines := range odd {
		for _, status := range []int{400, 404, 405, 413, 414, 416, 417, 431, 501} {
			target := fmt.Sprintf("/%d/%x", status, name)
			e.raw("GET " + target + " HTTP/1.1\r\n" + host + lines + "\r\n\r\n")
			if a := e.get(target); a.Response != nil && a.StatusCode != 200 {
				t.Errorf("%d to %s, then to everybody: %v", status, name, a)
			}
		}
	}
	e.calm()
}

// TestPartsThatDoNotMatch: a 206 that is not the part asked for is no answer,
// and is kept by nobody.
func TestPartsThatDoNotMatch(t *testing.T) {
	const part = "HTTP/1.1 206 Partial Content\r\nCache-Control: max-age=60\r\nETag: \"v\"\r\n"
	answers := map[string]string{
		"another range":        part + "Content-Range: bytes 5-9/10\r\nContent-Length: 5\r\n\r\n56789",
		"a range of no length": part + "Content-Range: bytes 0-4/3\r\nContent-Length: 5\r\n\r\n01234",
		"longer than it says":  part + "Content-Range: bytes 0-4/10\r\nContent-Length: 7\r\n\r\n0123456",
		"shorter than it says": part + "Content-Range: bytes 0-4/10\r\nContent-Length: 3\r\n\r\n012",
		"backwards":            part + "Content-Range: bytes 4-0/10\r\nContent-Length: 5\r\n\r\n01234",
		"no Content-Range":     part + "Content-Length: 5\r\n\r\n01234",
		"two Content-Ranges":   part + "Content-Range: bytes 0-4/10\r\nContent-Range: bytes 5-9/10\r\nContent-Length: 5\r\n\r\n01234",
		"an overflow":          part + "Content-Range: bytes 0-99999999999999999999/10\r\nContent-Length: 5\r\n\r\n01234",
		"chunked and short":    part + "Content-Range: bytes 0-4/10\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n012\r\n0\r\n\r\n",
		"chunked and long":     part + "Content-Range: bytes 0-4/10\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n0123456\r\n0\r\n\r\n",
	}
	o := serve(t, func(r *request) bool {
		if r.Header.Get("Range") == "" {
			return r.say("HTTP/1.1 200 OK\nCache-Control: max-age=60\nETag: \"v\"", "0123456789")
		}
		for name, raw := range answers {
			if r.URL.Path == fmt.Sprintf("/%x", name) {
				_, err := io.WriteString(r, raw)
				return err == nil
			}
		}
		return false
	})
	e := start(t, config(o.addr(), ""))
	for name := range answers {
		target := fmt.Sprintf("/%x", name)
		for range 2 {
			a := e.get(target, "Range: bytes=0-4")
			if a.Response != nil && a.err == nil && a.StatusCode < 300 && !(a.StatusCode == 206 && a.Header.Get("Content-Range") == "bytes 0-4/10" && a.body == "01234") {
				t.Errorf("%s: %v, Content-Range %q", name, a, a.Header.Values("Content-Range"))
			}
		}
		if a := e.get(target); !a.is(200, "0123456789") {
			t.Errorf("%s, then the whole: %v", name, a)
		}
		if a := e.get(target, "Range: bytes=3-6"); !a.is(206, "3456") {
			t.Errorf("%s, then a part of what is stored: %v", name, a)
		}
	}
	e.calm()
}

// TestContentIsNeverDecoded: a decompression bomb is bytes like any others.
func TestContentIsNeverDecoded(t *testing.T) {
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	_, _ = io.CopyN(z, zeros{}, 64<<20)
	z.Close()
	o := serve(t, func(r *request) bool {
		return r.say("HTTP/1.1 200 OK\nCache-Control: max-age=60\nContent-Encoding: gzip", bomb.String())
	})
	e := start(t, config(o.addr(), "cache: {memory: {size: 4MiB}}\n"))
	for range 3 {
		if a := e.get("/bomb"); !a.is(200, bomb.String()) || a.Header.Get("Content-Encoding") != "gzip" {
			t.Errorf("%v", a)
		}
	}
	e.resident(64)
	e.calm()
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// TestOriginComesBack: an origin that was gone is asked again as soon as it is
// there, and hits went on meanwhile.
func TestOriginComesBack(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		fmt.Fprint(w, r.URL.Path)
	})
	first := &http.Server{Handler: handler}
	go func() { _ = first.Serve(l) }()
	e := start(t, config(l.Addr().String(), ""))
	if a := e.get("/hit"); !a.is(200, "/hit") {
		t.Fatalf("%v", a)
	}
	first.Close()
	for i := range 50 {
		if a := e.get(fmt.Sprintf("/gone%d", i)); a.Response == nil || a.StatusCode != 502 && a.StatusCode != 503 {
			t.Errorf("without an origin: %v", a)
		}
		if a := e.get("/hit"); !a.is(200, "/hit") {
			t.Errorf("a hit without an origin: %v", a)
		}
	}
	again, err := net.Listen("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	second := &http.Server{Handler: handler}
	go func() { _ = second.Serve(again) }()
	defer second.Close()
	eventually(t, "the origin is asked again", func() bool { return e.get("/gone0").is(200, "/gone0") })
	e.calm()
}

// TestConnectionFlood: beyond the limit clients are told 503 and when to come
// again, those within it are served, and when the flood is over so is everybody.
func TestConnectionFlood(t *testing.T) {
	e := start(t, strings.Replace(config(echo(t).addr(), ""), "127.0.0.1:0\nadmin", "127.0.0.1:0\n    max_connections: 50\nadmin", 1))
	within := make([]*conn, 50)
	for i := range within {
		within[i] = e.dial()
		defer within[i].Close()
		fmt.Fprintf(within[i], "GET /hit HTTP/1.1\r\n%s\r\n", host)
		if a := within[i].read("GET"); a.Response == nil || a.StatusCode != 200 {
			t.Fatalf("%d: %v", i, a)
		}
	}
	told := 0
	for range 500 {
		c := e.dial()
		fmt.Fprintf(c, "GET /hit HTTP/1.1\r\n%s\r\n", host)
		if a := c.read("GET"); a.Response != nil {
			told++
			if a.StatusCode != 503 || a.Header.Get("Retry-After") == "" || !a.Close {
				t.Fatalf("beyond the limit: %v", a)
			}
		}
		c.Close()
	}
	if told < 450 {
		t.Errorf("%d of 500 were told why", told)
	}
	for i, c := range within {
		fmt.Fprintf(c, "GET /hit HTTP/1.1\r\n%s\r\n", host)
		if a := c.read("GET"); a.Response == nil || a.StatusCode != 200 {
			t.Fatalf("%d, within the limit: %v", i, a)
		}
		c.Close()
	}
	eventually(t, "served again", func() bool { a := e.get("/hit"); return a.Response != nil && a.StatusCode == 200 })
	e.calm()
}

// TestAdminIsElsewhere: nothing of the operator's is served to clients, and no
// page of another site reaches the operator's listener through a browser.
func TestAdminIsElsewhere(t *testing.T) {
	e := start(t, config(echo(t).addr(), ""))
	for _, path := range []string{"/metrics", "/healthz", "/readyz", "/debug/pprof/", "/api/purge"} {
		if a := e.get(path); a.Response == nil || !strings.Contains(a.body, "GET a.example"+path) {
			t.Errorf("%s is not the origin's: %v", path, a)
		}
	}
	r, err := http.NewRequest("POST", "http://"+e.admin+"/metrics", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Origin", "http://evil.example")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	if resp.StatusCode < 400 {
		t.Errorf("a foreign page got %d from the admin listener", resp.StatusCode)
	}
	e.calm()
}
