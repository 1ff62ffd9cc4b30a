package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"edge/accesslog"
	"edge/cache/statemachine"
	"edge/cache/storage"
	"edge/message"
	"edge/pool"
	"edge/proxy"
	"edge/server"
	"edge/wire/h1"
)

// patience bounds how long a server may take to end: it tells what hangs from what
// is slow.
const patience = time.Minute

func serve(t *testing.T, m *Metrics, ready func() (bool, string)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := New(Options{Metrics: m, Ready: ready})
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return "http://" + l.Addr().String()
}

// ask sends a request and returns the answer, read whole.
func ask(t *testing.T, method, url, body string, fields ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(fields); i += 2 {
		if fields[i] == "Host" {
			r.Host = fields[i+1]
			continue
		}
		r.Header.Set(fields[i], fields[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(text)
}

func TestPages(t *testing.T) {
	var ready atomic.Bool
	url := serve(t, NewMetrics(Build{Version: "1"}), func() (bool, string) { return ready.Load(), "bootstrap" })
	for path, want := range map[string]int{"/": 200, "/healthz": 200, "/readyz": 503, "/metrics": 200, "/none": 404} {
		if resp, _ := ask(t, "GET", url+path, ""); resp.StatusCode != want {
			t.Errorf("%s: %d, want %d", path, resp.StatusCode, want)
		}
	}
	_, text := ask(t, "GET", url+"/readyz", "")
	if text != "bootstrap\n" {
		t.Errorf("readyz says %q", text)
	}
	ready.Store(true)
	if resp, _ := ask(t, "GET", url+"/readyz", ""); resp.StatusCode != 200 {
		t.Errorf("readyz: %d", resp.StatusCode)
	}
	if resp, _ := ask(t, "POST", url+"/healthz", ""); resp.StatusCode != 405 {
		t.Errorf("POST: %d", resp.StatusCode)
	}
}

func TestGuard(t *testing.T) {
	url := serve(t, NewMetrics(Build{}), func() (bool, string) { return true, "" })
	port := url[strings.LastIndexByte(url, ':'):]
	for _, c := range []struct {
		name, method, body string
		fields             []string
		want               int
	}{
		{"plain", "GET", "", nil, 200},
		{"another site's page", "GET", "", []string{"Origin", "https://evil.example"}, 403},
		{"even our own page", "GET", "", []string{"Origin", url}, 403},
		{"a sandboxed page", "GET", "", []string{"Origin", "null"}, 403},
		{"a name pointed at loopback", "GET", "", []string{"Host", "evil.example" + port}, 421},
		{"localhost", "GET", "", []string{"Host", "localhost" + port}, 200},
		{"IPv6", "GET", "", []string{"Host", "[::1]" + port}, 200},
		{"a form", "POST", "a=b", []string{"Content-Type", "application/x-www-form-urlencoded"}, 415},
		{"plain text", "POST", "{}", []string{"Content-Type", "text/plain"}, 415},
		{"no type", "POST", "{}", nil, 415},
		{"JSON", "POST", "{}", []string{"Content-Type", "application/json; charset=utf-8"}, 405},
	} {
		resp, _ := ask(t, c.method, url+"/healthz", c.body, c.fields...)
		if resp.StatusCode != c.want || resp.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d, %v; want %d, not to be stored", c.name, resp.StatusCode, resp.Header, c.want)
		}
	}
}

// record is one exchange.
func record(d statemachine.Decision, status int) *proxy.Record {
	return &proxy.Record{Peer: netip.MustParseAddrPort("192.0.2.1:4711"), Req: &message.Request{}, Status: status,
		Bytes: 100, Duration: 3 * time.Millisecond, Decision: &d}
}

func TestCounting(t *testing.T) {
	m := NewMetrics(Build{Version: "v", Revision: "r", GoVersion: "g"})
	for port := range uint16(100) {
		r := record(statemachine.Decision{Reason: statemachine.ReasonHit}, 200)
		r.Peer = netip.AddrPortFrom(r.Peer.Addr(), port)
		m.Exchange(r)
	}
	m.Exchange(record(statemachine.Decision{Reason: statemachine.ReasonNoStore, Forward: statemachine.ReasonURIMiss,
		NotStored: statemachine.ReasonNoStore, ForwardStatus: 200}, 200))
	m.Exchange(record(statemachine.Decision{Reason: statemachine.ReasonCollapsed, Forward: statemachine.ReasonURIMiss, Collapsed: true}, 200))
	m.Exchange(record(statemachine.Decision{Reason: statemachine.ReasonStaleIfError}, 200))
	m.Exchange(record(statemachine.Decision{}, 404))
	cut := record(statemachine.Decision{Reason: statemachine.ReasonURIMiss, Forward: statemachine.ReasonURIMiss}, 200)
	cut.Delivery = statemachine.Truncated
	m.Exchange(cut)
	tunnel := record(statemachine.Decision{Reason: statemachine.ReasonUpgrade, Forward: statemachine.ReasonUpgrade}, 101)
	tunnel.Tunnel = true
	m.Exchange(tunnel)
	m.Refused(netip.AddrPort{}, 400, "bare CR")
	m.Panic("exchange", "x", nil)
	m.Reloaded(true)
	m.Reloaded(false)
	m.Origin("app", 2*time.Millisecond, true, nil)
	m.Origin("app", time.Millisecond, false, &pool.Error{Kind: pool.KindRefused})
	m.Origin("other", time.Millisecond, false, fmt.Errorf("reading: %w", &h1.Error{Status: 502}))
	text := exposition(t, m)
	for _, want := range []string{
		`edge_exchanges_total{reason="hit"} 100`,
		`edge_exchanges_total{reason="no-store"} 1`,
		`edge_exchanges_total{reason="vary-miss"} 0`,
		`edge_exchanges_forwarded_total{reason="uri-miss"} 3`,
		`edge_responses_not_stored_total{reason="no-store"} 1`,
		`edge_exchanges_collapsed_total 1`,
		`edge_responses_total{code="200"} 104`,
		`edge_responses_total{code="404"} 1`,
		`edge_responses_total{code="101"} 1`,
		`edge_responses_sent_bytes_total 10600`,
		`edge_deliveries_cut_total{side="origin"} 1`,
		`edge_tunnels_total 1`,
		`edge_exchange_duration_seconds_count{kind="hit"} 100`,
		`edge_exchange_duration_seconds_bucket{kind="hit",le="0.0025"} 0`,
		`edge_exchange_duration_seconds_bucket{kind="hit",le="0.005"} 100`,
		`edge_exchange_duration_seconds_sum{kind="own"} 0.003`,
		`edge_exchange_duration_seconds_count{kind="stale"} 1`,
		`edge_exchange_duration_seconds_count{kind="collapsed"} 1`,
		`edge_exchange_duration_seconds_count{kind="forward"} 2`,
		`edge_requests_refused_total{status="400"} 1`,
		`edge_panics_total 1`,
		`edge_config_reloads_total{result="taken"} 1`,
		`edge_origin_attempts_total{connection="reused",origin="app",result="ok"} 1`,
		`edge_origin_attempts_total{connection="fresh",origin="app",result="refused"} 1`,
		`edge_origin_attempts_total{connection="fresh",origin="other",result="malformed"} 1`,
		`edge_origin_wait_seconds_count{origin="app"} 1`,
		`edge_build_info{goversion="g",revision="r",version="v"} 1`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("not there: %s", want)
		}
	}
}

// exposition scrapes m over HTTP.
func exposition(t *testing.T, m *Metrics) string {
	t.Helper()
	resp, text := ask(t, "GET", serve(t, m, func() (bool, string) { return true, "" })+"/metrics", "")
	if resp.StatusCode != 200 {
		t.Fatalf("%d: %s", resp.StatusCode, text)
	}
	return text
}

// allSources gives every source something to say.
func allSources() Sources {
	return Sources{
		Store: func() storage.Stats {
			return storage.Stats{Entries: 3, Evicted: 2, Memory: storage.TierStats{Entries: 1}}
		},
		Proxy:     func() proxy.Stats { return proxy.Stats{Waiting: 7} },
		Server:    func() server.Stats { return server.Stats{Open: 5, RefusedAddr: 1} },
		AccessLog: func() accesslog.Stats { return accesslog.Stats{Dropped: 9} },
		Pools:     func() map[string]pool.Stats { return map[string]pool.Stats{"app": {Idle: 4, Reused: 8}} },
	}
}

func TestSources(t *testing.T) {
	m := NewMetrics(Build{})
	m.SetSources(allSources())
	text := exposition(t, m)
	for _, want := range []string{
		`edge_store_entries 3`, `edge_memory_entries 1`, `edge_store_events_total{event="evicted"} 2`, `edge_lock_waiting 7`, `edge_connections 5`,
		`edge_connections_refused_total{limit="address"} 1`, `edge_access_log_dropped_total 9`,
		`edge_pool_connections{origin="app",state="idle"} 4`, `edge_pool_gets_total{how="reused",origin="app"} 8`,
		`go_goroutines `, `process_open_fds `,
	} {
		if !strings.Contains(text, "\n"+want) {
			t.Errorf("not there: %s", want)
		}
	}
}

// TestNames keeps the names to what dashboards expect: counters end in _total,
// sizes in _bytes, times in _seconds, and nothing is labelled by path.
func TestNames(t *testing.T) {
	m := NewMetrics(Build{})
	m.SetSources(allSources())
	m.Origin("app", 0, false, nil)
	problems, err := testutil.CollectAndLint(m)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	line := regexp.MustCompile(`(?m)^# TYPE (\S+) (\S+)$`)
	for _, match := range line.FindAllStringSubmatch(exposition(t, m), -1) {
		name, kind := match[1], match[2]
		if strings.HasPrefix(name, "edge_") && kind == "counter" != strings.HasSuffix(name, "_total") {
			t.Errorf("%s is a %s", name, kind)
		}
	}
	if text := exposition(t, m); regexp.MustCompile(`(path|target|url|host)="`).MatchString(text) {
		t.Error("a metric is labelled by what clients choose")
	}
}

func TestEverythingHasRoom(t *testing.T) {
	if n := len(statemachine.Reasons()); n > maxReasons {
		t.Errorf("%d reasons", n)
	}
	if n := len(results); n > maxResults {
		t.Errorf("%d results", n)
	}
	if statemachine.Unreadable >= numDeliveries {
		t.Error("more deliveries than counters")
	}
	for _, name := range kindNames {
		if name == "" {
			t.Error("a kind has no name")
		}
	}
}

func TestResults(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{nil, "ok"},
		{&pool.Error{Kind: pool.KindTLSCertificate}, pool.KindTLSCertificate.String()},
		{&h1.Error{Status: 502}, "malformed"},
		{os.ErrDeadlineExceeded, "timeout"},
		{syscall.ECONNRESET, "broken"},
		{io.ErrUnexpectedEOF, "broken"},
		{errors.New("other"), "broken"},
	} {
		if got := results[resultOf(c.err)]; got != c.want {
			t.Errorf("%v: %s, want %s", c.err, got, c.want)
		}
	}
	if i := resultOf(&pool.Error{Kind: pool.Kind(200)}); i >= len(results) {
		t.Error("a kind that does not exist is out of range")
	}
}

func TestCountingAtOnce(t *testing.T) {
	m := NewMetrics(Build{})
	var all sync.WaitGroup
	for i := range uint16(8) {
		all.Go(func() {
			r := record(statemachine.Decision{Reason: statemachine.ReasonHit}, 200)
			r.Peer = netip.AddrPortFrom(r.Peer.Addr(), i)
			for n := range 1000 {
				m.Exchange(r)
				m.Origin(fmt.Sprint("origin", n%5), 0, true, nil)
			}
		})
	}
	all.Wait()
	text := exposition(t, m)
	for _, want := range []string{`edge_exchanges_total{reason="hit"} 8000`, `edge_origin_wait_seconds_count{origin="origin3"} 1600`} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("not there: %s", want)
		}
	}
}

func TestExchangeDoesNotAllocate(t *testing.T) {
	m := NewMetrics(Build{})
	r := record(statemachine.Decision{Reason: statemachine.ReasonHit}, 200)
	if n := testing.AllocsPerRun(100, func() { m.Exchange(r) }); n != 0 {
		t.Errorf("%v allocations an exchange", n)
	}
}

// BenchmarkExchange is what the metrics cost each exchange.
func BenchmarkExchange(b *testing.B) {
	m := NewMetrics(Build{})
	r := record(statemachine.Decision{Reason: statemachine.ReasonHit}, 200)
	r.Duration = 20 * time.Microsecond
	for b.Loop() {
		m.Exchange(r)
	}
}
