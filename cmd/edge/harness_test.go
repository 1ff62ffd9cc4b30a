package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience bounds every wait of these tests: it tells what hangs from what is slow.
const patience = time.Minute

// output is a stream that can be read while it is written.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// process is a command running inside the test, as run would run it.
type process struct {
	t              *testing.T
	stdout, stderr output
	signals        chan os.Signal
	node           *node
	exited         chan struct{}
	code           int
}

// launch runs a command until it serves.
func launch(t *testing.T, args ...string) *process {
	t.Helper()
	// The first use of os/signal in a process starts a goroutine that stays.
	first := make(chan os.Signal, 1)
	signal.Notify(first, syscall.SIGWINCH)
	signal.Stop(first)
	before := runtime.NumGoroutine()
	p := &process{t: t, signals: make(chan os.Signal, 4), exited: make(chan struct{})}
	serving := make(chan *node, 1)
	a := &app{stdout: &p.stdout, stderr: &p.stderr, signals: p.signals, started: func(n *node) { serving <- n }}
	go func() {
		defer close(p.exited)
		p.code = a.run(args)
	}()
	select {
	case p.node = <-serving:
	case <-p.exited:
		t.Fatalf("exit %d:\n%s", p.code, p.stderr.String())
	case <-time.After(patience):
		t.Fatalf("does not serve:\n%s", p.stderr.String())
	}
	t.Cleanup(func() {
		p.stop()
		if t.Failed() {
			t.Logf("stderr:\n%s", p.stderr.String())
			return
		}
		wantGoroutines(t, before)
	})
	return p
}

// wantGoroutines wants everything ended that began after before was counted.
// What tests' own clients and origins still run they end themselves.
func wantGoroutines(t *testing.T, before int) {
	t.Helper()
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	for end := time.Now().Add(patience); runtime.NumGoroutine() > before; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			buf := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
		}
	}
}

// stop ends the process and returns its exit code.
func (p *process) stop() int {
	p.t.Helper()
	select {
	case <-p.exited:
		return p.code
	default:
	}
	p.signals <- syscall.SIGTERM
	return p.wait()
}

func (p *process) wait() int {
	p.t.Helper()
	select {
	case <-p.exited:
	case <-time.After(patience):
		buf := make([]byte, 1<<20)
		p.t.Fatalf("does not end:\n%s", buf[:runtime.Stack(buf, true)])
	}
	return p.code
}

// reload sends SIGHUP and waits until it was obeyed.
func (p *process) reload() {
	p.t.Helper()
	const done, refused = "msg=reloaded", "the old configuration goes on"
	n := strings.Count(p.stderr.String(), done) + strings.Count(p.stderr.String(), refused)
	p.signals <- syscall.SIGHUP
	eventually(p.t, "reload", func() bool {
		return strings.Count(p.stderr.String(), done)+strings.Count(p.stderr.String(), refused) > n
	})
}

func (p *process) url(i int) string { return clientURL(p.node.server.Addrs()[i]) }

func (p *process) adminURL() string { return clientURL(p.node.adminAddr()) }

// answer is a response, read whole.
type answer struct {
	*http.Response
	body string
}

// cacheStatus is what edge says of the answer.
func (a *answer) cacheStatus() string { return a.Header.Get("Cache-Status") }

// get asks with a client that keeps no connection.
func get(t *testing.T, url string, fields ...string) *answer {
	t.Helper()
	return getBy(t, &http.Transport{DisableKeepAlives: true}, url, fields...)
}

func getBy(t *testing.T, by http.RoundTripper, url string, fields ...string) *answer {
	t.Helper()
	r, err := http.NewRequest("GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(fields); i += 2 {
		if fields[i] == "Host" {
			r.Host = fields[i+1]
		}
		r.Header.Set(fields[i], fields[i+1])
	}
	client := http.Client{Transport: by, Timeout: patience}
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return &answer{resp, string(body)}
}

func (a *answer) want(t *testing.T, status int, cacheStatus, body string) {
	t.Helper()
	if a.StatusCode != status || !strings.HasPrefix(a.cacheStatus(), cacheStatus) || a.body != body {
		t.Fatalf("%d, Cache-Status: %s, %q; want %d, %s, %q", a.StatusCode, a.cacheStatus(), a.body, status, cacheStatus, body)
	}
}

// originOf starts an origin for the test's time.
func originOf(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

// numbered answers each request with another number.
func numbered() http.HandlerFunc {
	var mu sync.Mutex
	n := 0
	return func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		n++
		fmt.Fprintf(w, "answer %d", n)
		mu.Unlock()
	}
}

// fresh makes everything h answers fresh for a minute.
func fresh(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		h(w, r)
	}
}

// file writes a configuration and returns its name.
func file(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "edge.yaml")
	rewrite(t, name, text)
	return name
}

func rewrite(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// simple is a configuration with one listener and one origin, and more.
func simple(origin, more string) string {
	return fmt.Sprintf(`version: 1
listeners:
  - address: 127.0.0.1:0
admin:
  address: 127.0.0.1:0
origins:
  app:
    endpoints:
      - url: %s
routes:
  - match: {path: /*}
    origin: app
%s`, origin, more)
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !is(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited %v in vain: %s", patience, what)
		}
	}
}

// byUnix is a client that reaches a Unix socket whatever the URL says.
func byUnix(path string) *http.Transport {
	return &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}
}
