package proxy

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"edge/cache/statemachine"
	"edge/cache/storage"
	"edge/internal/memconn"
	"edge/pool"
	"edge/wire/h1"
)

// rig is a proxy with a scripted origin, all in memory: in a synctest bubble
// its time is virtual.
type rig struct {
	t      testing.TB
	proxy  *Proxy
	store  storage.Store
	pool   *pool.Pool
	front  *memconn.Listener
	back   *memconn.Listener
	route  *Route
	origin *scriptedOrigin
	seen   *recorder

	mu      sync.Mutex
	conns   []net.Conn
	closed  bool
	serving sync.WaitGroup // what accepts, and what serves
	server  h1.ServerOptions
	peer    netip.AddrPort // whom the proxy takes new clients for
}

// rigOption changes the rig before it starts.
type rigOption func(*rig, *Options)

// newRig starts a proxy whose origin answers as handler says.
func newRig(t testing.TB, handler originHandler, opts ...rigOption) *rig {
	t.Helper()
	r := &rig{t: t, front: memconn.Listen(), back: memconn.Listen(), seen: &recorder{}, server: h1.ServerOptions{Scheme: "http"},
		peer: netip.MustParseAddrPort("192.0.2.1:1234")}
	r.origin = &scriptedOrigin{handler: handler, listener: r.back}
	r.origin.running.Go(r.origin.serve)
	r.pool = pool.New(pool.Options{Dial: r.back.DialContext})
	store, err := storage.NewMemory(storage.MemoryOptions{Size: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	r.store = store
	r.route = &Route{
		Policy:  statemachine.DefaultPolicy(),
		Upgrade: true,
		Origin: &Origin{Name: "app", Pool: r.pool, Balancer: oneEndpoint{}, Attempts: 2,
			Endpoints: []*pool.Target{{Network: "tcp", Address: "origin:80", Scheme: "http"}}},
	}
	o := Options{Store: store, Routes: []*Route{r.route}, Observer: r.seen}
	for _, opt := range opts {
		opt(r, &o)
	}
	r.proxy = New(o)
	r.serving.Go(r.accept)
	return r
}

// oneEndpoint balances over a single endpoint.
type oneEndpoint struct{}

func (oneEndpoint) Pick(tried func(int) bool) (int, bool) { return 0, !tried(0) }
func (oneEndpoint) Report(int, bool)                      {}

func (r *rig) accept() {
	for {
		nc, err := r.front.Accept()
		if err != nil {
			return
		}
		r.mu.Lock()
		r.conns = append(r.conns, nc)
		if r.closed {
			nc.Close()
		}
		r.mu.Unlock()
		r.serving.Go(func() {
			r.proxy.ServeConn(h1.NewServerConn(nc, &r.server), r.peer)
		})
	}
}

// close ends everything and waits for it, as a bubble demands.
func (r *rig) close() {
	r.front.Close()
	r.mu.Lock()
	r.closed = true
	for _, nc := range r.conns {
		nc.Close()
	}
	r.mu.Unlock()
	r.proxy.Close()
	r.origin.close()
	r.serving.Wait()
	r.pool.Close()
	r.store.Close()
}

// originHandler answers one request on a connection. It returns false to have
// the connection closed.
type originHandler func(c *originConn) bool

// originConn is one request at the origin.
type originConn struct {
	net.Conn
	req  *http.Request
	body []byte
	n    int // the number of the request at this origin, from 1
}

// say writes a response, with CRLF for "\n" in the head and a Content-Length
// unless the head frames the content itself.
func (c *originConn) say(head, body string) bool {
	head = strings.TrimSuffix(head, "\n")
	lower := strings.ToLower(head)
	if !strings.Contains(lower, "content-length") && !strings.Contains(lower, "transfer-encoding") && !strings.Contains(lower, "connection: close") {
		head += fmt.Sprintf("\nContent-Length: %d", len(body))
	}
	_, err := io.WriteString(c, strings.ReplaceAll(head, "\n", "\r\n")+"\r\n\r\n"+body)
	return err == nil && !strings.Contains(lower, "connection: close")
}

// scriptedOrigin serves a handler.
type scriptedOrigin struct {
	handler  originHandler
	listener net.Listener
	mu       sync.Mutex
	requests []string
	conns    map[net.Conn]bool
	closed   bool
	running  sync.WaitGroup
}

func (o *scriptedOrigin) serve() {
	for {
		nc, err := o.listener.Accept()
		if err != nil {
			return
		}
		o.mu.Lock()
		if o.conns == nil {
			o.conns = map[net.Conn]bool{}
		}
		o.conns[nc] = true
		if o.closed {
			nc.Close()
		}
		o.mu.Unlock()
		o.running.Go(func() { o.converse(nc) })
	}
}

func (o *scriptedOrigin) converse(nc net.Conn) {
	defer nc.Close()
	br := bufio.NewReader(nc)
	for {
		req, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		if req.Header.Get("Expect") != "" || req.URL.Path == "/early" { // the handler reads, or does not
			if !o.answer(&originConn{Conn: nc, req: req}) {
				return
			}
			continue
		}
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return
		}
		if !o.answer(&originConn{Conn: nc, req: req, body: body}) {
			return
		}
	}
}

func (o *scriptedOrigin) answer(c *originConn) bool {
	var head bytes.Buffer
	fmt.Fprintf(&head, "%s %s %s\n", c.req.Method, c.req.RequestURI, c.req.Proto)
	_ = c.req.Header.Write(&head)
	o.mu.Lock()
	o.requests = append(o.requests, head.String())
	c.n = len(o.requests)
	o.mu.Unlock()
	return o.handler(c)
}

func (o *scriptedOrigin) count() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.requests)
}

func (o *scriptedOrigin) last() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.requests) == 0 {
		return ""
	}
	return o.requests[len(o.requests)-1]
}

func (o *scriptedOrigin) close() {
	o.listener.Close()
	o.mu.Lock()
	o.closed = true
	for c := range o.conns {
		c.Close()
	}
	o.mu.Unlock()
	o.running.Wait()
}

// client is a connection to the proxy.
type client struct {
	t  testing.TB
	nc *memconn.Conn
	br *bufio.Reader
}

func (r *rig) dial() *client {
	r.t.Helper()
	nc, err := r.front.Dial()
	if err != nil {
		r.t.Fatal(err)
	}
	return &client{t: r.t, nc: nc, br: bufio.NewReader(nc)}
}

// send writes a request: "\n" becomes CRLF, Host is added where missing.
func (c *client) send(head, body string) {
	c.t.Helper()
	head = strings.TrimSuffix(head, "\n")
	if !strings.Contains(strings.ToLower(head), "\nhost:") {
		head += "\nHost: example.com"
	}
	if _, err := io.WriteString(c.nc, strings.ReplaceAll(head, "\n", "\r\n")+"\r\n\r\n"+body); err != nil {
		c.t.Fatal(err)
	}
}

// answer is a response as a client sees it.
type answer struct {
	*http.Response
	body string
	err  error // of reading the body
}

// read reads one response to a request of the given method.
func (c *client) read(method string) answer {
	c.t.Helper()
	resp, err := http.ReadResponse(c.br, &http.Request{Method: method})
	if err != nil {
		c.t.Fatalf("reading the response: %v", err)
	}
	b, err := io.ReadAll(resp.Body)
	return answer{resp, string(b), err}
}

// get is a whole exchange on a new connection.
func (r *rig) get(head string) answer {
	r.t.Helper()
	if !strings.Contains(head, "HTTP/1") {
		path, rest, _ := strings.Cut(head, "\n")
		head = "GET " + path + " HTTP/1.1\n" + rest
	}
	c := r.dial()
	defer c.nc.Close()
	c.send(head, "")
	return c.read(strings.Fields(head)[0])
}

// expect checks status, Cache-Status (a substring) and body.
func (a answer) expect(t testing.TB, status int, cacheStatus, body string) {
	t.Helper()
	if a.StatusCode != status || a.body != body || !strings.Contains(a.Header.Get("Cache-Status"), cacheStatus) {
		t.Errorf("got %d %q, Cache-Status %q; want %d %q, Cache-Status with %q (body error %v)",
			a.StatusCode, clip(a.body), a.Header.Get("Cache-Status"), status, clip(body), cacheStatus, a.err)
	}
}

func clip(s string) string {
	if len(s) > 80 {
		return fmt.Sprintf("%s... (%d bytes)", s[:80], len(s))
	}
	return s
}

// recorder keeps what an Observer is told.
type recorder struct {
	mu       sync.Mutex
	reasons  []string
	statuses []int
	panics   int
	refused  []int
	attempts int
	reused   int
}

func (r *recorder) Exchange(e *Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reasons = append(r.reasons, e.Decision.Reason.String())
	r.statuses = append(r.statuses, e.Status)
}

func (r *recorder) Refused(_ netip.AddrPort, status int, _ string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refused = append(r.refused, status)
}

func (r *recorder) Origin(_ string, _ time.Duration, reused bool, _ error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.attempts++
	if reused {
		r.reused++
	}
}

func (r *recorder) Panic(string, any, []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.panics++
}
