package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// patience bounds every wait of these tests: it tells what hangs from what is slow.
// How soon something has to happen is tested in the rooms, on a virtual clock.
const patience = time.Minute

// long says whether attacks that take long are wanted.
var long = os.Getenv("EDGE_LONG") != ""

// fewer is how many of something there are, fewer where the race detector makes
// each costly, unless attacks may take long.
func fewer(usually, withRace int) int {
	if raceBuild && !long {
		return withRace
	}
	return usually
}

const skipWithoutLong = "takes long: set EDGE_LONG, or run make test-long"

var binary string // the edge under attack

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "edge-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "edge")
	args := []string{"build", "-o", binary}
	if raceBuild {
		args = append(args, "-race")
	}
	if out, err := exec.Command("go", append(args, "edge/cmd/edge")...).CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// text is a stream that can be read while it is written.
type text struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *text) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *text) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// edge is a process under attack.
type edge struct {
	t              *testing.T
	cmd            *exec.Cmd
	stdout, stderr text
	addr, admin    string
	exited         chan struct{}
	killed         atomic.Bool // by the test, which expects no clean exit
	goroutines     float64     // when it was idle at first
	fds            float64
}

// config is a configuration with one listener and one origin; settings go
// before the routes, cache into the route.
func config(origin, settings string) string {
	return "version: 1\nlisteners:\n  - address: 127.0.0.1:0\nadmin: {address: \"127.0.0.1:0\"}\n" +
		"origins:\n  app:\n    endpoints: [{url: \"http://" + origin + "\"}]\n" + settings +
		"routes:\n  - match: {path: /*}\n    origin: app\n"
}

var address = regexp.MustCompile(`msg=(listening|"admin listening") address=(\S+)`)

// start runs edge with a configuration until it listens. It is stopped with the
// test, and judged: it must have survived, and said nothing of panics or races.
func start(t *testing.T, text string) *edge {
	t.Helper()
	name := filepath.Join(t.TempDir(), "edge.yaml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	e := &edge{t: t, exited: make(chan struct{})}
	e.cmd = exec.Command(binary, "run", "-c", name)
	e.cmd.Stdout, e.cmd.Stderr = &e.stdout, &e.stderr
	e.cmd.Env = append(os.Environ(), "GORACE=halt_on_error=0 exitcode=66")
	if err := e.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = e.cmd.Wait()
		close(e.exited)
	}()
	t.Cleanup(e.stop)
	eventually(t, "listening", func() bool {
		for _, m := range address.FindAllStringSubmatch(e.stderr.String(), -1) {
			if m[1] == "listening" {
				e.addr = m[2]
			} else {
				e.admin = m[2]
			}
		}
		if !e.alive() {
			t.Fatalf("did not start:\n%s", e.stderr.String())
		}
		return e.addr != "" && e.admin != ""
	})
	eventually(t, "ready", func() bool {
		resp, err := http.Get("http://" + e.admin + "/readyz")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == 200
	})
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	time.Sleep(50 * time.Millisecond)
	e.goroutines, e.fds = e.metric("go_goroutines"), e.metric("process_open_fds")
	return e
}

func (e *edge) alive() bool {
	select {
	case <-e.exited:
		return false
	default:
		return true
	}
}

// stop ends the process and judges its last words.
func (e *edge) stop() {
	if e.alive() {
		_ = e.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-e.exited:
		case <-time.After(patience):
			_ = e.cmd.Process.Signal(syscall.SIGQUIT)
			<-e.exited
			e.t.Errorf("does not end:\n%s", tail(e.stderr.String()))
			return
		}
	}
	said := e.stderr.String()
	if code := e.cmd.ProcessState.ExitCode(); code != 0 && !e.killed.Load() {
		e.t.Errorf("exit %d:\n%s", code, tail(said))
	}
	for _, bad := range []string{"DATA RACE", "panicked", "panic:", "fatal error"} {
		if i := strings.Index(said, bad); i >= 0 {
			e.t.Errorf("it said:\n%s", tail(said[i:min(len(said), i+8000)]))
		}
	}
}

func tail(s string) string { return s[max(0, len(s)-12000):] }

// metric is the sum of a metric over its labels.
func (e *edge) metric(name string) float64 {
	e.t.Helper()
	return e.sum(name, "")
}

// sum is the sum of a metric over its labels, where they contain label.
func (e *edge) sum(name, label string) float64 {
	e.t.Helper()
	client := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + e.admin + "/metrics")
	if err != nil {
		e.t.Fatalf("metrics: %v\n%s", err, tail(e.stderr.String()))
	}
	defer resp.Body.Close()
	sum, found := 0.0, false
	for s := bufio.NewScanner(resp.Body); s.Scan(); {
		rest, ok := strings.CutPrefix(s.Text(), name)
		if !ok || rest == "" || rest[0] != ' ' && rest[0] != '{' || !strings.Contains(rest, label) {
			continue
		}
		if v, err := strconv.ParseFloat(rest[strings.LastIndexByte(rest, ' ')+1:], 64); err == nil {
			sum, found = sum+v, true
		}
	}
	if !found {
		e.t.Fatalf("no metric %s", name)
	}
	return sum
}

// slack is how many goroutines and descriptors a process may hold more than
// when it began: the runtime's own.
const slack = 12

// calm wants the attack over without a trace: the process lives, and holds what
// it held before it, but for idle connections to the origin.
func (e *edge) calm() {
	e.t.Helper()
	if !e.alive() {
		e.t.Fatalf("it died:\n%s", tail(e.stderr.String()))
	}
	var held string
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		held = e.held()
		if held == "" {
			return
		}
		if time.Now().After(end) {
			e.t.Errorf("after the attack: %s", held)
			return
		}
	}
}

// held is what the process holds that it should have given back.
func (e *edge) held() string {
	said := ""
	idle := e.metric(`edge_pool_connections{origin="app",state="idle"}`)
	if f := e.metric("process_open_fds"); f > e.fds+slack+idle {
		said += fmt.Sprintf("%v descriptors, %v before, %v idle; ", f, e.fds, idle)
	}
	if g := e.metric("go_goroutines"); g > e.goroutines+slack {
		said += fmt.Sprintf("%v goroutines, %v before; ", g, e.goroutines)
	}
	for _, name := range []string{`edge_pool_connections{origin="app",state="busy"}`, "edge_pool_waiting", "edge_fills", "edge_refreshes",
		"edge_lock_keys", "edge_lock_waiting", "edge_tunnels", "edge_connections"} {
		if v := e.metric(name); v != 0 {
			said += fmt.Sprintf("%s %v; ", name, v)
		}
	}
	return said
}

// origin is a scripted server; each connection is one goroutine.
type origin struct {
	net.Listener
	asked atomic.Int64
	mu    sync.Mutex
	conns map[net.Conn]bool
	all   sync.WaitGroup
}

// request is what the origin got.
type request struct {
	*http.Request
	conn net.Conn
	body []byte
	n    int64
}

func (r *request) Write(p []byte) (int, error) { return r.conn.Write(p) }

// say writes an answer with a Content-Length, "\n" in the head meaning CRLF.
func (r *request) say(head, body string) bool {
	_, err := io.WriteString(r, strings.ReplaceAll(head, "\n", "\r\n")+fmt.Sprintf("\r\nContent-Length: %d\r\n\r\n", len(body)))
	if err == nil && r.Method != "HEAD" {
		_, err = io.WriteString(r, body)
	}
	return err == nil
}

// serve starts an origin for the test's time. The handler returns false to end
// the connection.
func serve(t *testing.T, handler func(r *request) bool) *origin {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := &origin{Listener: l, conns: map[net.Conn]bool{}}
	o.all.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			o.mu.Lock()
			o.conns[nc] = true
			o.mu.Unlock()
			o.all.Go(func() { o.converse(nc, handler) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		o.hangUp()
		o.all.Wait()
	})
	return o
}

func (o *origin) converse(nc net.Conn, handler func(r *request) bool) {
	defer func() {
		o.mu.Lock()
		delete(o.conns, nc)
		o.mu.Unlock()
		nc.Close()
	}()
	br := bufio.NewReader(nc)
	for {
		req, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return
		}
		if !handler(&request{Request: req, conn: nc, body: body, n: o.asked.Add(1)}) {
			return
		}
	}
}

// hangUp closes every connection.
func (o *origin) hangUp() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for nc := range o.conns {
		nc.Close()
	}
}

func (o *origin) addr() string { return o.Listener.Addr().String() }

// conn is a client's connection.
type conn struct {
	*net.TCPConn
	br *bufio.Reader
}

func (e *edge) dial() *conn {
	e.t.Helper()
	nc, err := net.DialTimeout("tcp", e.addr, patience)
	if err != nil {
		e.t.Fatal(err)
	}
	_ = nc.SetDeadline(time.Now().Add(patience))
	return newConn(nc)
}

func newConn(nc net.Conn) *conn { return &conn{nc.(*net.TCPConn), bufio.NewReader(nc)} }

// answer is a response as a client sees it.
type answer struct {
	*http.Response
	body string
	err  error // of the head, then Response is nil; or of the body
}

func (a answer) String() string {
	if a.Response == nil {
		return fmt.Sprintf("no answer (%v)", a.err)
	}
	return fmt.Sprintf("%d %.60q (%d bytes, error %v, Cache-Status %s)", a.StatusCode, a.body, len(a.body), a.err, a.Header.Get("Cache-Status"))
}

func (a answer) is(status int, body string) bool {
	return a.Response != nil && a.err == nil && a.StatusCode == status && a.body == body
}

// read reads one answer to a request of that method.
func (c *conn) read(method string) answer {
	for {
		resp, err := http.ReadResponse(c.br, &http.Request{Method: method})
		if err != nil {
			return answer{err: err}
		}
		if resp.StatusCode < 200 && resp.StatusCode != 101 {
			continue
		}
		b, err := io.ReadAll(resp.Body)
		return answer{resp, string(b), err}
	}
}

// ended reports whether the connection ends now, with nothing more sent.
func (c *conn) ended() bool {
	n, err := io.Copy(io.Discard, c.br)
	return n == 0 && (err == nil || errors.Is(err, syscall.ECONNRESET))
}

// raw sends bytes on a connection of their own and reads the first answer.
func (e *edge) raw(s string) answer {
	e.t.Helper()
	c := e.dial()
	defer c.Close()
	_, _ = io.WriteString(c, s) // it may be refused before it was written whole
	method, _, _ := strings.Cut(s, " ")
	return c.read(method)
}

// get is a GET on a connection of its own; fields are lines without their end.
func (e *edge) get(target string, fields ...string) answer {
	e.t.Helper()
	lines := ""
	for _, f := range fields {
		lines += f + "\r\n"
	}
	if !strings.HasPrefix(lines, "Host:") {
		lines = "Host: a.example\r\n" + lines
	}
	return e.raw("GET " + target + " HTTP/1.1\r\n" + lines + "Connection: close\r\n\r\n")
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited %v in vain: %s", patience, what)
		}
	}
}

// series is how many lines of metrics there are.
func (e *edge) series() int {
	e.t.Helper()
	resp, err := http.Get("http://" + e.admin + "/metrics")
	if err != nil {
		e.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		e.t.Fatal(err)
	}
	return bytes.Count(b, []byte("\n"))
}

// flushed waits until what was answered is in the disks' files, so that it survives a
// kill.
func (e *edge) flushed() {
	e.t.Helper()
	eventually(e.t, "nothing is being stored", func() bool { return e.metric("edge_fills") == 0 })
	eventually(e.t, "nothing waits for the disks", func() bool { return e.metric("edge_disk_unwritten_bytes") == 0 })
}

// wantJSONLines wants a file of that many lines, each an object.
func wantJSONLines(t *testing.T, path string, n int) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.Split(bytes.TrimSuffix(b, []byte("\n")), []byte("\n"))
	if len(lines) != n {
		t.Errorf("%d lines for %d requests", len(lines), n)
	}
	for _, line := range lines {
		var object map[string]any
		if err := json.Unmarshal(line, &object); err != nil {
			t.Errorf("%.200q: %v", line, err)
		}
	}
}
