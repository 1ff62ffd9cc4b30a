package proxy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edge/cache/statemachine"
	"edge/cache/storage"
	"edge/internal/memconn"
	"edge/internal/transcript"
	"edge/pool"
	"edge/wire/h1"
)

// playable returns the transcripts that can be played against a whole proxy:
// those that script a lock or a store are the machine's own.
func playable(t *testing.T) []*transcript.Script {
	t.Helper()
	var all []*transcript.Script
	for _, dir := range []string{"../testdata/rfc9111", "../cache/statemachine/testdata"} {
		scripts, err := transcript.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range scripts {
			if !s.MachineOnly() {
				all = append(all, s)
			}
		}
	}
	if len(all) < 100 {
		t.Errorf("only %d transcripts to play", len(all))
	}
	return all
}

// Every transcript holds for the proxy whole: sockets in memory, the real
// codec, pool, lock and store, and a virtual clock.
func TestTranscripts(t *testing.T) {
	for _, s := range playable(t) {
		t.Run(strings.TrimSuffix(s.Name, ".txt"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				front, back := memconn.Listen(), memconn.Listen()
				g := newStage(t, s, front, back, back.DialContext)
				defer g.close()
				g.dial = func() (net.Conn, error) { return front.Dial() }
				g.timeout, g.advance, g.settle = virtualTimeout, time.Sleep, g.quiet
				if err := transcript.Play(s, &g.script, g); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// quiet returns when no fill and no refresh is left. Looking whether a pooled
// connection still lives takes a nanosecond of virtual time, so waiting for
// everything to block is not enough.
func (g *stage) quiet() {
	synctest.Wait()
	for d := time.Nanosecond; g.proxy.Stats().Fills+g.proxy.Stats().Refreshes > 0; d *= 2 {
		time.Sleep(d)
		synctest.Wait()
	}
}

// What needs no clock holds over TCP too, where answers leave by writev and
// sendfile.
func TestTranscriptsOverTCP(t *testing.T) {
	for _, s := range playable(t) {
		if s.NeedsClock() || cuts(s) {
			continue
		}
		t.Run(strings.TrimSuffix(s.Name, ".txt"), func(t *testing.T) {
			// The real clock may tick between two lines that mean one second.
			var err error
			for range 3 {
				if err = playOverTCP(t, s); err == nil {
					return
				}
			}
			t.Error(err)
		})
	}
}

// cuts reports whether a delivery breaks off: over TCP the reset may overtake
// what was sent before it, the head included.
func cuts(s *transcript.Script) bool {
	return slices.ContainsFunc(s.Exchanges(), func(x *transcript.Exchange) bool { return x.Expect.Cut })
}

func playOverTCP(t *testing.T, s *transcript.Script) error {
	var listeners [2]net.Listener
	for i := range listeners {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		listeners[i] = l
	}
	var dialer net.Dialer
	back := listeners[1].Addr().String()
	g := newStage(t, s, listeners[0], listeners[1], func(ctx context.Context, _, _ string) (net.Conn, error) {
		return dialer.DialContext(ctx, "tcp", back)
	})
	defer g.close()
	g.dial = func() (net.Conn, error) { return net.Dial("tcp", listeners[0].Addr().String()) }
	g.timeout = realTimeout
	g.settle = func() {
		// The content's end at the client is not yet the entry in the store.
		for deadline := time.Now().Add(realTimeout); g.proxy.Stats().Fills > 0 && time.Now().Before(deadline); {
			time.Sleep(time.Millisecond)
		}
	}
	return transcript.Play(s, &g.script, g)
}

// stage is a proxy with the script for an origin. It implements
// transcript.Edge.
type stage struct {
	t       *testing.T
	script  transcript.Origin
	proxy   *Proxy
	store   storage.Store
	pool    *pool.Pool
	front   net.Listener
	origin  *scriptedOrigin
	records chan decided

	timeout time.Duration // of an exchange
	dial    func() (net.Conn, error)
	advance func(time.Duration)
	settle  func()
}

// decided is what the proxy said of one exchange.
type decided struct {
	forward, reason, notStored statemachine.Reason
	ours                       bool // an answer of our own
}

func newStage(t *testing.T, s *transcript.Script, front, back net.Listener, dial func(context.Context, string, string) (net.Conn, error)) *stage {
	t.Helper()
	g := &stage{t: t, front: front, records: make(chan decided, 16)}
	g.origin = &scriptedOrigin{handler: g.answer, listener: back}
	g.origin.running.Go(g.origin.serve)
	g.pool = pool.New(pool.Options{Dial: dial})
	store, err := storage.NewMemory(storage.MemoryOptions{Size: 8 << 20})
	if err != nil {
		t.Fatal(err)
	}
	g.store = store
	policy := statemachine.DefaultPolicy()
	if err := s.ApplyPolicy(policy); err != nil {
		t.Fatal(err)
	}
	g.proxy = New(Options{Store: store, Observer: &witness{g: g}, Routes: []*Route{{Policy: policy, Upgrade: true,
		Origin: &Origin{Name: "app", Pool: g.pool, Balancer: oneEndpoint{}, Attempts: 2,
			Endpoints: []*pool.Target{{Network: "tcp", Address: "origin:80", Scheme: "http"}}}}}})
	go g.accept()
	return g
}

func (g *stage) accept() {
	for {
		nc, err := g.front.Accept()
		if err != nil {
			return
		}
		go g.proxy.ServeConn(h1.NewServerConn(nc, &h1.ServerOptions{Scheme: "http"}), netip.MustParseAddrPort("192.0.2.1:1234"))
	}
}

func (g *stage) close() {
	g.front.Close()
	g.proxy.Close()
	g.origin.close()
	g.pool.Close()
	g.store.Close()
}

// witness passes what was decided of each exchange on to the stage.
type witness struct {
	noObserver
	g *stage
}

func (w *witness) Exchange(r *Record) {
	d := r.Decision
	w.g.records <- decided{d.Forward, d.Reason, d.NotStored, d.Status != 0 && r.Status == d.Status && d.Response == nil}
}

func (w *witness) Panic(where string, v any, stack []byte) {
	w.g.t.Errorf("panic in %s: %v\n%s", where, v, stack)
}

// Now is the time for {now}.
func (g *stage) Now() time.Time { return time.Now() }

// Advance lets time pass.
func (g *stage) Advance(d time.Duration) { g.advance(d) }

// Settle waits for fills and refreshes.
func (g *stage) Settle() { g.settle() }

// An exchange of a transcript takes no longer: on the virtual clock than any
// timeout of the proxy, on the real one than anybody would wait.
const (
	virtualTimeout = 10 * time.Minute
	realTimeout    = time.Minute
)

// Exchange sends a request on a connection of its own.
func (g *stage) Exchange(x *transcript.Exchange) (*transcript.Got, error) {
	nc, err := g.dial()
	if err != nil {
		return nil, err
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(g.timeout))
	if _, err := io.WriteString(nc, requestText(x, g.Now())); err != nil {
		return nil, fmt.Errorf("send: %w", err)
	}
	got, err := readGot(bufio.NewReader(nc), x.Method)
	if err != nil {
		return nil, err
	}
	var d decided
	select {
	case d = <-g.records:
	case <-time.After(g.timeout):
		return nil, errors.New("the proxy answered and did not say why")
	}
	got.SetReasons(d.forward.String(), d.reason.String(), d.notStored.String(), statemachine.ReasonNone.String())
	return got, checkCacheStatus(got, d)
}

// checkCacheStatus: a member of ours says hit or fwd as was decided, and an
// answer that we made up carries none.
func checkCacheStatus(got *transcript.Got, d decided) error {
	var member string
	for _, f := range got.Fields {
		if strings.EqualFold(f.Name, "Cache-Status") {
			member = f.Value
		}
	}
	switch {
	case d.ours && member == "":
		return nil
	case !d.ours && d.forward == statemachine.ReasonNone && strings.HasPrefix(member, "edge; hit"):
		return nil
	case !d.ours && d.forward != statemachine.ReasonNone && strings.HasPrefix(member, "edge; fwd="):
		return nil
	}
	return fmt.Errorf("Cache-Status %q, with forward reason %v and an answer of our own: %v", member, d.forward, d.ours)
}

func requestText(x *transcript.Exchange, now time.Time) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\n", x.Method, x.Target)
	writeFields(&b, x.Fields, now)
	if !strings.Contains(strings.ToLower(b.String()), "\r\nhost:") {
		b.WriteString("Host: example.com\r\n")
	}
	if x.Content != "" {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(x.Content))
	}
	return b.String() + "\r\n" + x.Content
}

func writeFields(b *strings.Builder, fields []transcript.Field, now time.Time) {
	for _, f := range fields {
		fmt.Fprintf(b, "%s: %s\r\n", f.Name, transcript.Expand(f.Value, now))
	}
}

// readGot reads the final response.
func readGot(br *bufio.Reader, method string) (*transcript.Got, error) {
	for {
		resp, err := http.ReadResponse(br, &http.Request{Method: method})
		if err != nil {
			return nil, fmt.Errorf("read the response: %w", err)
		}
		if resp.StatusCode < 200 {
			continue
		}
		body, err := io.ReadAll(resp.Body)
		got := &transcript.Got{Status: resp.StatusCode, Fields: fieldsOf(resp.Header), Content: string(body),
			Trailers: fieldsOf(resp.Trailer), Cut: err != nil}
		return got, nil
	}
}

func fieldsOf(h http.Header) []transcript.Field {
	var all []transcript.Field
	for name, values := range h {
		for _, v := range values {
			all = append(all, transcript.Field{Name: name, Value: v})
		}
	}
	return all
}

// answer plays the origin's part on one connection.
func (g *stage) answer(c *originConn) bool {
	asked := &transcript.Forwarded{Method: c.req.Method, Target: c.req.RequestURI, Content: string(c.body)}
	asked.Fields = append(fieldsOf(c.req.Header), transcript.Field{Name: "Host", Value: c.req.Host})
	a := g.script.Ask(asked, g.Now())
	if a == nil {
		return false // the play fails
	}
	time.Sleep(a.After)
	switch a.Failure {
	case "disconnect":
		// Within the status line: an origin that says nothing at all on a
		// connection used before is rightly asked again on another.
		_, _ = io.WriteString(c, "HTTP/1.1 2")
		return false
	case "timeout":
		time.Sleep(virtualTimeout)
		return false
	case "malformed":
		_, _ = io.WriteString(c, "220 mail.example ESMTP\r\n")
		return false
	}
	_, err := io.WriteString(c, answerText(a, c.req.Method, g.Now()))
	return err == nil && !a.Cut
}

func answerText(a *transcript.Answer, method string, now time.Time) string {
	var b strings.Builder
	for _, status := range a.Interim {
		fmt.Fprintf(&b, "HTTP/1.1 %d Interim\r\n\r\n", status)
	}
	fmt.Fprintf(&b, "HTTP/1.1 %d Scripted\r\n", a.Status)
	writeFields(&b, a.Fields, now)
	length, chunked := a.Announced()
	switch {
	case a.NoContent(method) || a.Status < 200:
		return b.String() + "\r\n"
	case chunked:
		fmt.Fprintf(&b, "Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n", len(a.Content), a.Content)
		writeFields(&b, a.Trailers, now)
		return b.String() + "\r\n"
	}
	fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", length, a.Content)
	return b.String()
}
