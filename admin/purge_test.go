package admin

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"edge/cache/storage"
	"edge/message"
	"edge/purge"
)

// purgeRig is an admin server with a ledger and a store.
type purgeRig struct {
	t      *testing.T
	url    string
	ledger *purge.Ledger
	store  *storage.Memory
}

func newPurgeRig(t *testing.T, tokens *Tokens) *purgeRig {
	t.Helper()
	now := func() message.Instant { return message.Instant(time.Now().UnixNano()) }
	l, err := purge.Open(purge.Options{Path: filepath.Join(t.TempDir(), "journal"), Clock: now})
	if err != nil {
		t.Fatal(err)
	}
	st, err := storage.NewMemory(storage.MemoryOptions{Size: 8 << 20, Ledger: l, Clock: now})
	if err != nil {
		t.Fatal(err)
	}
	l.Reclaim(st)
	m := NewMetrics(Build{})
	m.SetSources(Sources{Purges: l.Stats})
	s := New(Options{Metrics: m, Ready: func() (bool, string) { return true, "" }, Tokens: tokens, Purges: &Purges{Ledger: l,
		Targets: func(_, _, target string) []string {
			if path, _, cut := strings.Cut(target, "?utm"); cut {
				return []string{target, path}
			}
			return []string{target}
		}}})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(listener) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_ = s.Close(ctx)
		<-done
		_ = l.Close()
		_ = st.Close()
	})
	return &purgeRig{t, "http://" + listener.Addr().String(), l, st}
}

// fill stores things of every kind of name: 3 under https://a/x, all tagged "t"
// and in the group "G".
func (r *purgeRig) fill() {
	r.t.Helper()
	for i, target := range []string{"/x", "/x/y", "/x/z?q"} {
		w, err := r.store.Begin(&storage.Proposal{Key: storage.Key{byte(i)}, Sequence: r.ledger.Sequence(), Scheme: "https", Authority: []byte("a"),
			Target: []byte(target), Tags: []string{"t", fmt.Sprint("t", i)}, Groups: []string{"G"},
			Stored: &message.Stored{Status: 200, Terms: message.Terms{FreshnessLifetime: message.Second}}, Total: 0})
		if err != nil {
			r.t.Fatal(err)
		}
		w.Entry().Release()
		if err := w.Commit(nil); err != nil {
			r.t.Fatal(err)
		}
	}
}

// answered is what the API says.
type answered struct {
	purge.Answer
	Error    string  `json:"error"`
	Behind   bool    `json:"behind"`
	Epoch    string  `json:"epoch"`
	Purges   []event `json:"purges"`
	Status   string  `json:"status"` // of Fastly's answers
	status   int
	response *http.Response
}

func (r *purgeRig) ask(method, path, body string, fields ...string) answered {
	r.t.Helper()
	if body != "" {
		fields = append(fields, "Content-Type", "application/json")
	}
	resp, text := ask(r.t, method, r.url+path, body, fields...)
	a := answered{status: resp.StatusCode, response: resp}
	if err := json.Unmarshal([]byte(text), &a); err != nil && resp.Header.Get("Content-Type") == "application/json" {
		r.t.Fatalf("%s %s: %q: %v", method, path, text, err)
	}
	return a
}

// TestPurgeInterfaces: each way to purge finds what it should, and says so.
func TestPurgeInterfaces(t *testing.T) {
	r := newPurgeRig(t, nil)
	soft := []string{"Fastly-Soft-Purge", "1"}
	for _, c := range []struct {
		path, body string
		fields     []string
		matched    int64
		soft       bool
	}{
		{"/purge", `{"urls":["https://A/x"]}`, nil, 1, false},
		{"/purge", `{"files":["https://a:443/x?utm=1"]}`, nil, 1, false},
		{"/purge", `{"urls":["https://a/none"]}`, nil, 0, false},
		{"/purge", `{"prefixes":["a/x/"]}`, nil, 2, false},
		{"/purge", `{"prefixes":["http://a/x/"]}`, nil, 0, false},
		{"/purge", `{"tags":["T"],"soft":true}`, nil, 3, true},
		{"/purge", `{"groups":[{"origin":"https://a","group":"G"}]}`, nil, 3, false},
		{"/purge", `{"hosts":["a"]}`, nil, 3, false},
		{"/purge", `{"everything":true}`, nil, 3, false},
		{"/purge", `{"purge_everything":true,"tags":["t","t1"]}`, nil, 3, false},
		{"/service/any/purge/t1", "", nil, 1, false},
		{"/service/any/purge/t1", "", soft, 1, true},
		{"/service/any/purge", "", []string{"Surrogate-Key", "t0 T2 none"}, 2, false},
		{"/service/any/purge", `{"surrogate_keys":["t0","t2"]}`, soft, 2, true},
		{"/service/any/purge_all", "", nil, 3, false},
		{"/service/any/purge_all", "", soft, 3, true},
	} {
		r.fill()
		a := r.ask("POST", c.path, c.body, c.fields...)
		// A busy machine counts for longer than an answer waits.
		for end := time.Now().Add(patience); !a.Exact && a.ID != "" && time.Now().Before(end); {
			a.Answer = r.ask("GET", "/purges/"+a.ID, "").Answer
		}
		if a.status != 200 || a.Matched != c.matched || !a.Exact || a.Soft != c.soft || !a.Durable || a.Nodes != (purge.Nodes{Acked: 1, Total: 1}) || a.Sequence != r.ledger.Sequence() {
			t.Errorf("%s %s: %d %+v; want %d matched", c.path, c.body, a.status, a, c.matched)
		}
		if fastly := strings.HasPrefix(c.path, "/service/"); fastly != (a.Status == "ok") {
			t.Errorf("%s %s: the status is %q", c.path, c.body, a.Status)
		}
		if again := r.ask("GET", "/purges/"+a.ID, ""); again.status != 200 || again.Answer != a.Answer {
			t.Errorf("%s: its receipt is %d %+v", a.ID, again.status, again.Answer)
		}
		_, _ = r.ledger.Purge(context.Background(), &purge.Purge{Selectors: []purge.Selector{purge.All()}, Mode: purge.Hard})
	}
	if n := testutil.CollectAndCount(metricsOf(r.ledger)); n == 0 {
		t.Error("no metrics")
	}
}

func metricsOf(l *purge.Ledger) *Metrics {
	m := NewMetrics(Build{})
	m.SetSources(Sources{Purges: l.Stats})
	return m
}

// TestPurgeRefusals: what is wrong is refused, clearly, and nothing of it done.
func TestPurgeRefusals(t *testing.T) {
	r := newPurgeRig(t, nil)
	before := r.ledger.Sequence()
	long := strings.Repeat("x", purge.MaxTag+1)
	for _, c := range []struct {
		method, path, body string
		want               int
		part               string
	}{
		{"POST", "/purge", `{}`, 400, "names nothing"},
		{"POST", "/purge", `{"tags":["a"],"x":1}`, 400, "unknown"},
		{"POST", "/purge", `{"tags":["a"]`, 400, "not JSON"},
		{"POST", "/purge", `{"urls":["/x"]}`, 400, "urls[0]"},
		{"POST", "/purge", `{"urls":["https://a/","ftp://a/"]}`, 400, "urls[1]"},
		{"POST", "/purge", `{"prefixes":[""]}`, 400, "prefixes[0]"},
		{"POST", "/purge", `{"tags":["` + long + `"]}`, 400, "at most"},
		{"POST", "/purge", `{"tags":["` + strings.Repeat(`a","`, purge.MaxSelectors) + `b"]}`, 400, "at most"},
		{"POST", "/purge", `{"tags":["` + strings.Repeat("a", maxBody) + `"]}`, 413, "bytes"},
		{"POST", "/purge", "", 400, "not JSON"},
		{"GET", "/purge", "", 405, ""},
		{"GET", "/purges/none", "", 404, "remembered"},
		{"GET", "/purges?since=-1", "", 400, "since"},
		{"GET", "/purges?wait=2h", "", 400, "wait"},
		{"GET", "/purges?wait=1", "", 400, "wait"},
		{"GET", "/purges?until=1", "", 400, "query"},
		{"GET", "/purges?since=%zz", "", 400, "malformed"},
		{"GET", "/purges?since=1;wait=1s", "", 400, "malformed"},
		{"GET", "/purges?since=1&since=2", "", 400, "query"},
		{"POST", "/service/s/purge", "", 400, "names nothing to purge: name tags in Surrogate-Key"},
		{"POST", "/service/s/purge", `{"surrogate_keys":[]}`, 400, "names nothing"},
		{"POST", "/service/s/purge", `{"keys":["a"]}`, 400, "unknown"},
		{"POST", "/service/s/purge/" + long, "", 400, "at most"},
		{"POST", "/service/s/purge/a", `{"soft":true}`, 400, "no content"},
		{"POST", "/service/s/purge_all", `{"soft":true}`, 400, "no content"},
		{"POST", "/service/s/purge_all?soft=1", "", 400, "no query"},
		// Paths that net/http's mux would redirect, which a script may take for success.
		{"POST", "/service//purge_all", "", 404, "empty segment"},
		{"POST", "//purge", `{"everything":true}`, 404, "empty segment"},
		{"POST", "/service/s/purge/a//b", "", 404, "%2F"},
		{"POST", "/service/s/purge/..", "", 404, ".."},
		{"GET", "//", "", 404, "empty segment"},
		{"POST", "/purge?soft=true", `{"everything":true}`, 400, "no query"},
	} {
		a := r.ask(c.method, c.path, c.body)
		if a.status != c.want || !strings.Contains(a.Error, c.part) || a.Applied {
			t.Errorf("%s %.40s %.60s: %d %.100q, applied %v; want %d with %q", c.method, c.path, c.body, a.status, a.Error, a.Applied, c.want, c.part)
		}
	}
	if a := r.ask("POST", "/service/s/purge_all", "", "Fastly-Soft-Purge", "true"); a.status != 400 {
		t.Errorf("neither soft nor hard: %d", a.status)
	}
	if resp, text := ask(t, "POST", r.url+"/purge", `{"everything":true}`, "Content-Type", "text/plain"); resp.StatusCode != 415 || !strings.Contains(text, `"applied":false`) {
		t.Errorf("a form's type: %d %s", resp.StatusCode, text)
	}
	if a := r.ask("POST", "/purge", `{"everything":true}`, "Origin", "https://evil.example"); a.status != 403 {
		t.Errorf("from another site's page: %d", a.status)
	}
	if n := r.ledger.Sequence(); n != before {
		t.Errorf("%d purges came of it", n-before)
	}
}

// TestFollowing: the list of purges waits, and tells who has fallen behind.
func TestFollowing(t *testing.T) {
	r := newPurgeRig(t, nil)
	at := r.ask("GET", "/purges?since="+fmt.Sprint(r.ledger.Sequence()), "")
	if at.status != 200 || len(at.Purges) != 0 || at.Epoch == "" {
		t.Fatalf("%d %+v", at.status, at)
	}
	from := fmt.Sprintf("/purges?epoch=%s&wait=30s&since=%d", at.Epoch, at.Sequence)
	got := make(chan answered, 1)
	go func() { got <- r.ask("GET", from, "") }()
	r.ask("POST", "/purge", `{"urls":["https://a/x"],"prefixes":["https://a/y/"],"tags":["T"],"hosts":["h"],"groups":[{"origin":"https://a","group":"G"}],"everything":true,"soft":true}`)
	a := <-got
	text, err := json.Marshal(a.Purges)
	want := `"mode":"soft","urls":["https://a/x"],"prefixes":["https://a/y/"],"tags":["t"],"groups":[{"origin":"https://a","group":"G"}],"hosts":["h"],"everything":true}]`
	if err != nil || a.status != 200 || !strings.HasSuffix(string(text), want) || a.Sequence != at.Sequence+1 {
		t.Errorf("%d %s, %v", a.status, text, err)
	}
	for _, q := range []string{"since=" + fmt.Sprint(a.Sequence+1), "epoch=x&since=" + fmt.Sprint(a.Sequence)} {
		if b := r.ask("GET", "/purges?"+q, ""); b.status != 410 || !b.Behind || b.Sequence != a.Sequence {
			t.Errorf("%s: %d %+v", q, b.status, b)
		}
	}
}

// hashed is a line of a tokens file.
func hashed(name, scopes, secret string) string {
	return fmt.Sprintf("%s %s sha256:%x\n", name, scopes, sha256.Sum256([]byte(secret)))
}

// TestTokens: who may do what.
func TestTokens(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("# comment\n\n" + hashed("a", "purge", "P") + hashed("b", "read", "R") + hashed("c", "admin", "A") + hashed("d", "read,purge", "RP"))
	tokens, err := LoadTokens(path)
	if err != nil {
		t.Fatal(err)
	}
	r := newPurgeRig(t, tokens)
	asked := func(method, path, body, secret string, fields ...string) int {
		if secret != "" {
			fields = append(fields, "Authorization", "Bearer "+secret)
		}
		a := r.ask(method, path, body, fields...)
		if a.status == 401 && a.response.Header.Get("WWW-Authenticate") == "" {
			t.Error("a 401 without a challenge")
		}
		return a.status
	}
	for _, c := range []struct {
		method, path, body string
		none, p, r, a, rp  int
	}{
		{"POST", "/purge", `{"tags":["x"]}`, 401, 200, 403, 200, 200},
		{"POST", "/service/x/purge_all", "", 401, 200, 403, 200, 200},
		{"GET", "/purges/x", "", 401, 404, 404, 404, 404},
		{"GET", "/purges?since=0", "", 401, 403, 200, 200, 200},
		{"GET", "/metrics", "", 401, 403, 200, 200, 200},
		{"GET", "/", "", 401, 200, 200, 200, 200},
		{"GET", "/healthz", "", 200, 200, 200, 200, 200},
	} {
		for secret, want := range map[string]int{"": c.none, "wrong": c.none, "P": c.p, "R": c.r, "A": c.a, "RP": c.rp} {
			if got := asked(c.method, c.path, c.body, secret); got != want {
				t.Errorf("%s %s with %q: %d, want %d", c.method, c.path, secret, got, want)
			}
		}
	}
	for secret, want := range map[string]string{"": "a token is needed", "wrong": "none of those in the tokens file", "R": "it takes one of purge, admin"} {
		if a := r.ask("POST", "/purge", `{"tags":["x"]}`, "Authorization", "Bearer "+secret); !strings.Contains(a.Error, want) {
			t.Errorf("with %q: %q, want %q", secret, a.Error, want)
		}
	}
	if got := asked("GET", "/purges?since=0", "", "R", "Host", "edge.example"); got != 200 {
		t.Errorf("by its public name: %d", got)
	}
	write(hashed("new", "admin", "N"))
	if err := tokens.Load(path); err != nil || !tokens.Allows([]byte("N"), ScopeRead) || tokens.Allows([]byte("A"), ScopeRead) {
		t.Errorf("loaded again: %v", err)
	}
	for name, text := range map[string]string{
		"empty": "", "comments only": "# x\n", "two words": "a admin\n", "no scope": hashed("a", "root", "x"), "in clear": "a admin secret\n",
		"short": "a admin sha256:00\n", "empty token": hashed("a", "admin", ""), "too many": strings.Repeat(hashed("a", "read", "x"), maxTokens+1), "too large": strings.Repeat("#\n", maxTokensFile),
	} {
		write(text)
		if err := tokens.Load(path); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if !tokens.Allows([]byte("N"), ScopePurge) {
		t.Error("a bad file took the tokens away")
	}
	if _, err := LoadTokens(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("no file is no error")
	}
}
