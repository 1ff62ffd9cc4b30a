package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Each way to purge, on the real binary with a disk: what the answer says, what a
// client gets afterwards, and what is left of it when the process is killed the
// moment that it has answered.

// purgeRig is an edge that can be killed and started again where it was.
type purgeRig struct {
	*edge
	t      *testing.T
	dir    string
	config string
}

// startPurge starts an edge whose origin tags everything with the first segment s
// of its path: as s-s and, in another field, c-S, and puts it in the group G-s.
func startPurge(t *testing.T) *purgeRig {
	t.Helper()
	o := serve(t, func(r *request) bool {
		s, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		return r.say("HTTP/1.1 200 OK\nCache-Control: max-age=600\nETag: \"e\"\nSurrogate-Key: all s-"+s+"\nCache-Tag: c-"+strings.ToUpper(s)+", x\nCache-Groups: \"G-"+s+"\"",
			fmt.Sprint("answer ", r.n))
	})
	r := &purgeRig{t: t, dir: t.TempDir()}
	r.config = "version: 1\nlisteners: [{address: \"127.0.0.1:0\"}]\nadmin: {address: \"127.0.0.1:0\"}\n" +
		"origins: {app: {endpoints: [{url: \"http://" + o.addr() + "\"}]}}\n" +
		"cache: {memory: {size: 8MiB}, disk: [{path: \"" + filepath.Join(r.dir, "disk") + "\", size: 64MiB}], flush_interval: 20ms}\n" +
		"routes:\n  - {match: {path: /method/*}, origin: app, purge: {addresses: [127.0.0.0/8]}, cache: {key: {query: {drop: [utm_*]}}}}\n" +
		"  - {match: {path: /*}, origin: app}\n"
	r.edge = start(t, r.config)
	return r
}

// kill kills the process.
func (e *edge) kill() {
	e.t.Helper()
	e.killed.Store(true)
	if err := e.cmd.Process.Kill(); err != nil {
		e.t.Fatal(err)
	}
	<-e.exited
}

// again kills the process and starts another in its place.
func (r *purgeRig) again() {
	r.t.Helper()
	r.edge.kill()
	r.edge = start(r.t, r.config)
}

// fill makes the targets of a host stored, and wants them found.
func (r *purgeRig) fill(host string, targets ...string) {
	r.t.Helper()
	for _, target := range targets {
		r.get(target, "Host: "+host)
		r.want(host, target, "hit")
	}
}

// want wants a request answered in a way: "hit", "fwd=uri-miss" where it was
// purged, or "fwd=stale" where it was purged softly.
func (r *purgeRig) want(host, target, how string) {
	r.t.Helper()
	a := r.get(target, "Host: "+host)
	if a.Response == nil || a.StatusCode != 200 || !strings.HasPrefix(a.Header.Get("Cache-Status"), "edge; "+how) {
		r.t.Errorf("%s%s: %v; want %s", host, target, a, how)
	}
	if a.Response != nil && (a.Header.Get("Surrogate-Key") != "" || a.Header.Get("Cache-Tag") != "" || a.Header.Get("Cache-Groups") == "") {
		r.t.Errorf("%s%s: tags and groups to a client: %v", host, target, a.Header)
	}
}

// purged is the answer to a purge.
type purged struct {
	ID       string `json:"id"`
	Sequence uint64 `json:"sequence"`
	Matched  *int   `json:"matched"`
	Exact    bool   `json:"exact"`
	Soft     bool   `json:"soft"`
	Applied  *bool  `json:"applied"`
	Durable  *bool  `json:"durable"`
	Nodes    struct {
		Acked int `json:"acked"`
		Total int `json:"total"`
	} `json:"nodes"`
	Error string `json:"error"`
}

// api asks an HTTP API in JSON: of the admin listener, unless the path is a URL.
func (e *edge) api(method, path, body string, fields ...string) (status int, text string) {
	e.t.Helper()
	if strings.HasPrefix(path, "/") {
		path = "http://" + e.admin + path
	}
	req, err := http.NewRequest(method, path, strings.NewReader(body))
	if err != nil {
		e.t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(fields); i += 2 {
		req.Header.Set(fields[i], fields[i+1])
		if fields[i] == "Host" {
			req.Host = fields[i+1]
		}
	}
	client := http.Client{Timeout: 2 * patience, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		e.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		e.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// purge asks for a purge, and waits for its count.
func (e *edge) purge(method, path, body string, fields ...string) (int, purged) {
	e.t.Helper()
	status, text := e.api(method, path, body, fields...)
	var p purged
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		e.t.Fatalf("%s %s %s: %d %q: %v", method, path, body, status, text, err)
	}
	if status == http.StatusOK && !p.Exact && p.ID != "" { // a busy machine counts for longer than an answer waits
		eventually(e.t, "all is counted", func() bool {
			_, text := e.api("GET", "/purges/"+p.ID, "")
			return json.Unmarshal([]byte(text), &p) == nil && p.Exact
		})
	}
	return status, p
}

// command runs the binary's command against the node's admin listener.
func (e *edge) command(stdin string, args ...string) (code int, stdout, stderr string) {
	e.t.Helper()
	if args[0] != "cache" || args[1] != "verify" { // which asks no node
		args = append(args, "--admin", e.admin)
	}
	cmd := exec.Command(binary, args...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
	if err := cmd.Run(); cmd.ProcessState == nil {
		e.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// purging is one way to purge: by the API at path, or by the command where args
// are given.
type purging struct {
	name         string // and the first segment of what it purges
	method, path string // POST /purge
	body         string // where "$" stands for the name
	fields       []string
	args         []string
	stdin        string
	gone, left   string // targets below the name
	soft         bool
}

// native, fastly, method and cli are the interfaces, each way of them once. What
// a purge takes is under its own name or on a host of its own.
var (
	native = []purging{
		{name: "url", body: `{"urls":["http://a.example/$/a"]}`, gone: "/a", left: "/a/b /a?q"},
		{name: "url-soft", body: `{"urls":["HTTP://A.example:80/$/a"],"soft":true}`, gone: "/a", left: "/a/b", soft: true},
		{name: "files", body: `{"files":["http://a.example/$/a","http://a.example/$/a?q"],"soft":false}`, gone: "/a /a?q", left: "/b"},
		{name: "prefix", body: `{"prefixes":["http://a.example/$/a/"]}`, gone: "/a/b /a/b/c?q", left: "/a /ab"},
		{name: "prefix-both", body: `{"prefixes":["a.example/$/a"]}`, gone: "/a /a/b /a?q", left: "/ab"},
		{name: "prefix-soft", body: `{"prefixes":["a.example/$/"],"soft":true}`, gone: "/a /a/b", soft: true},
		{name: "tag", body: `{"tags":["S-$"]}`, gone: "/a /b"},
		{name: "tag-soft", body: `{"tags":["c-$"],"soft":true}`, gone: "/a", soft: true},
		{name: "group", body: `{"groups":[{"origin":"http://a.example","group":"G-$"}]}`, gone: "/a"},
		{name: "group-soft", body: `{"groups":[{"origin":"http://a.example","group":"G-$"}],"soft":true}`, gone: "/a", soft: true},
		{name: "group-case", body: `{"groups":[{"origin":"http://a.example","group":"g-$"},{"origin":"https://a.example","group":"G-$"}]}`, left: "/a"},
		{name: "several", body: `{"urls":["http://a.example/$/a"],"prefixes":["a.example/$/b/"],"tags":["none"],"hosts":["none.example"]}`, gone: "/a /b/c", left: "/c"},
	}
	fastly = []purging{
		{name: "key", path: "/service/any/purge/S-$", gone: "/a"},
		{name: "key-soft", path: "/service/any/purge/s-$", fields: []string{"Fastly-Soft-Purge", "1"}, gone: "/a", soft: true},
		{name: "keys-field", path: "/service/any/purge", fields: []string{"Surrogate-Key", "none s-$"}, gone: "/a"},
		{name: "keys-body", path: "/service/any/purge", body: `{"surrogate_keys":["s-$","none"]}`, fields: []string{"Fastly-Soft-Purge", "1"}, gone: "/a", soft: true},
	}
	method = []purging{
		{name: "method", method: "PURGE", path: "/hard", gone: "/hard", left: "/hard/b"},
		{name: "method", method: "PURGE", path: "/soft?utm_x=1", fields: []string{"Fastly-Soft-Purge", "1"}, gone: "/soft", left: "/other", soft: true},
	}
	cli = []purging{
		{name: "cli-url", args: []string{"url", "http://a.example/$/a", "http://a.example/$/b", "--wait"}, gone: "/a /b", left: "/c"},
		{name: "cli-prefix", args: []string{"prefix", "--soft", "a.example/$/a/", "--wait"}, gone: "/a/b", left: "/a", soft: true},
		{name: "cli-tag", args: []string{"tag", "--wait"}, stdin: "none\n\ns-$\n", gone: "/a"},
		{name: "cli-tag-soft", args: []string{"--soft", "tag", "-", "--wait"}, stdin: "s-$", gone: "/a", soft: true},
	}
	everything = []purging{
		{name: "everything", body: `{"everything":true}`, gone: "/a"},
		{name: "everything-soft", body: `{"purge_everything":true,"soft":true}`, gone: "/a", soft: true},
		{name: "purge-all", path: "/service/any/purge_all", gone: "/a"},
		{name: "purge-all-soft", path: "/service/any/purge_all", fields: []string{"Fastly-Soft-Purge", "1"}, gone: "/a", soft: true},
		{name: "cli-all", args: []string{"all", "--wait"}, gone: "/a"},
		{name: "host", body: `{"hosts":["A.example"]}`, gone: "/a"},
		{name: "cli-host", args: []string{"host", "a.example", "--soft", "--wait"}, gone: "/a", soft: true},
	}
)

// targets are the targets of a list.
func (p *purging) targets(list string) []string {
	all := strings.Fields(list)
	for i := range all {
		all[i] = "/" + p.name + all[i]
	}
	return all
}

// send purges, and wants the answer that there has to be.
func (p *purging) send(r *purgeRig) {
	r.t.Helper()
	name := func(s string) string { return strings.ReplaceAll(s, "$", p.name) }
	n := len(p.targets(p.gone))
	if p.args != nil {
		args := []string{"purge"}
		for _, arg := range p.args {
			args = append(args, name(arg))
		}
		code, out, errs := r.command(name(p.stdin), args...)
		if code != 0 || errs != "" || !strings.HasSuffix(out, fmt.Sprintf(" purged, %d stored responses matched\n", n)) {
			r.t.Errorf("%s: exit %d, %q, %q; want %d matched", p.name, code, out, errs, n)
		}
		return
	}
	verb, path, fields := "POST", "/purge", []string{}
	if p.path != "" {
		path = name(p.path)
	}
	for _, f := range p.fields {
		fields = append(fields, name(f))
	}
	if p.method != "" {
		verb, path, fields = p.method, "http://"+r.addr+"/"+p.name+p.path, append(fields, "Host", "a.example")
	}
	status, a := r.purge(verb, path, name(p.body), fields...)
	if status != 200 || a.Matched == nil || *a.Matched != n || !a.Exact || a.Soft != p.soft || a.Nodes.Acked != 1 || a.Nodes.Total != 1 ||
		a.ID == "" || a.Sequence == 0 || a.Durable == nil || !*a.Durable {
		r.t.Errorf("%s: %d %+v; want %d matched", p.name, status, a, n)
	}
	if _, text := r.api("GET", "/purges/"+a.ID, ""); !strings.Contains(text, fmt.Sprintf(`"sequence":%d,"matched":%d,"exact":true`, a.Sequence, n)) {
		r.t.Errorf("%s: the receipt of %s is %s", p.name, a.ID, text)
	}
}

// judge wants what is gone gone, and what is left there.
func (p *purging) judge(r *purgeRig) {
	r.t.Helper()
	how := "fwd=uri-miss"
	if p.soft {
		how = "fwd=stale"
	}
	for _, target := range p.targets(p.gone) {
		r.want("a.example", target, how)
	}
	for _, target := range p.targets(p.left) {
		r.want("a.example", target, "hit")
	}
}

// TestPurgeInterfaces: each interface purges what it names and nothing else, says
// how much, and what it acknowledged outlives kill -9 the instant after.
func TestPurgeInterfaces(t *testing.T) {
	r := startPurge(t)
	rounds := [][]purging{native, fastly, method, cli}
	for i := range everything { // each of which takes everything
		rounds = append(rounds, everything[i:i+1])
	}
	for _, round := range rounds {
		r.purge("POST", "/purge", `{"everything":true}`)
		for i := range round {
			r.fill("a.example", append(round[i].targets(round[i].gone), round[i].targets(round[i].left)...)...)
		}
		r.flushed()
		for i := range round {
			round[i].send(r)
		}
		r.again()
		for i := range round {
			round[i].judge(r)
		}
	}
	// Without a kill, too.
	r.fill("a.example", "/x/a", "/x/b")
	r.fill("b.example:8080", "/x/a")
	for _, c := range []struct {
		body    string
		matched int
	}{{`{"hosts":["b.example"]}`, 0}, {`{"hosts":["b.example:8080"]}`, 1}, {`{"urls":["http://a.example/x/a"]}`, 1}} {
		if status, a := r.purge("POST", "/purge", c.body); status != 200 || *a.Matched != c.matched {
			t.Errorf("%s: %d, %d matched", c.body, status, *a.Matched)
		}
	}
	r.want("b.example:8080", "/x/a", "fwd=uri-miss")
	r.want("a.example", "/x/a", "fwd=uri-miss")
	r.want("a.example", "/x/b", "hit")
}

// TestPurgeMethodIsOff: the method PURGE is refused where nobody said who may use
// it, whatever it brings along, and no origin hears of it.
func TestPurgeMethodIsOff(t *testing.T) {
	r := startPurge(t)
	r.fill("a.example", "/x")
	for _, line := range []string{"", "Authorization: Bearer x\r\n", "X-Forwarded-For: 127.0.0.1\r\n"} {
		a := r.raw("PURGE /x HTTP/1.1\r\nHost: a.example\r\n" + line + "\r\n")
		if a.Response == nil || a.StatusCode != 405 {
			t.Errorf("%q: %v", line, a)
		}
	}
	r.want("a.example", "/x", "hit")
}

// TestPurgeRefusals: each line of bad input gets a clear 4xx, and nothing of it is
// done, not even what was right.
func TestPurgeRefusals(t *testing.T) {
	r := startPurge(t)
	r.fill("a.example", "/x")
	const right = `"tags":["s-x"]`
	for _, c := range []struct {
		body   string
		status int
		part   string
	}{
		{`{` + right + `,"urls":["` + strings.Repeat("x", 1<<20) + `"]}`, 413, "more than"},
		{`{"tags":["s-x"` + strings.Repeat(`,"t"`, 5000) + `]}`, 400, "at most 1000"},
		{`{` + right, 400, "not JSON"},
		{`{` + right + `}}`, 400, "behind"},
		{`[` + `"s-x"]`, 400, "object"},
		{`nonsense`, 400, "not JSON"},
		{`{` + right + `,"tagz":[]}`, 400, "unknown"},
		{`{` + right + `,"Tags":["x"]}`, 400, "unknown"},
		{`{` + right + `,` + right + `}`, 400, "twice"},
		{`{"tags":"s-x"}`, 400, "tags"},
		{`{` + right + `,"soft":"yes"}`, 400, "soft"},
		{`{` + right + `,"urls":["/x"]}`, 400, "not an absolute URL"},
		{`{` + right + `,"urls":["a.example/x"]}`, 400, "not an absolute URL"},
		{`{` + right + `,"urls":["ftp://a.example/x"]}`, 400, "neither http nor https"},
		{`{` + right + `,"urls":["http://a.example/x#y"]}`, 400, "fragment"},
		{`{` + right + `,"urls":["http://u@a.example/x"]}`, 400, "user"},
		{`{` + right + `,"urls":["http://a.example:x/"]}`, 400, "port"},
		{`{` + right + `,"urls":[""]}`, 400, "empty"},
		{`{` + right + `,"prefixes":[""]}`, 400, "empty"},
		{`{` + right + `,"prefixes":["/"]}`, 400, "host is missing"},
		{`{` + right + `,"prefixes":["a.example"]}`, 400, "no path"},
		{`{` + right + `,"tags":["s-x","` + strings.Repeat("t", 1025) + `"]}`, 400, "twice"},
		{`{"tags":["s-x","` + strings.Repeat("t", 1025) + `"]}`, 400, "at most 1024"},
		{`{"tags":["s-x",""]}`, 400, "empty"},
		{`{` + right + `,"hosts":["http://a.example"]}`, 400, "host"},
		{`{` + right + `,"groups":[{"origin":"a.example","group":"g"}]}`, 400, "origin"},
		{`{` + right + `,"groups":[{"origin":"http://a.example","group":"g","x":1}]}`, 400, "unknown"},
		{`{}`, 400, "names nothing"},
		{`{"soft":true}`, 400, "names nothing"},
		{`{"everything":false}`, 400, "names nothing"},
	} {
		status, a := r.purge("POST", "/purge", c.body)
		if status != c.status || !strings.Contains(a.Error, c.part) || a.Applied == nil || *a.Applied || a.ID != "" {
			t.Errorf("%.80s: %d %+v; want %d, %q", c.body, status, a, c.status, c.part)
		}
	}
	if status, text := r.api("POST", "/purge", "", "Content-Type", "text/plain"); status != 400 {
		t.Errorf("nothing at all: %d %s", status, text)
	}
	r.want("a.example", "/x", "hit")
}

// TestPurgeFollowers: a follower is told of a purge while it waits, goes on where it
// was after a kill, and is told when it may have missed some.
func TestPurgeFollowers(t *testing.T) {
	r := startPurge(t)
	type page struct {
		Epoch    string           `json:"epoch"`
		Sequence uint64           `json:"sequence"`
		Behind   bool             `json:"behind"`
		Purges   []map[string]any `json:"purges"`
	}
	follow := func(query string) (status int, p page) {
		t.Helper()
		status, text := r.api("GET", "/purges?"+query, "")
		if err := json.Unmarshal([]byte(text), &p); err != nil {
			t.Fatalf("%s: %d %q: %v", query, status, text, err)
		}
		return status, p
	}
	status, at := follow("since=0")
	if status != 200 || at.Behind || at.Epoch == "" || len(at.Purges) != 0 {
		t.Errorf("a new journal from its beginning: %d %+v", status, at)
	}
	got := make(chan page)
	go func() {
		_, p := follow(fmt.Sprintf("since=%d&wait=30s&epoch=%s", at.Sequence, at.Epoch))
		got <- p
	}()
	time.Sleep(100 * time.Millisecond) // it waits, or else it will not have to
	_, first := r.purge("POST", "/purge", `{"tags":["One"],"soft":true}`)
	p := <-got
	if len(p.Purges) != 1 || p.Purges[0]["id"] != first.ID || p.Purges[0]["mode"] != "soft" || fmt.Sprint(p.Purges[0]["tags"]) != "[one]" || p.Sequence != first.Sequence {
		t.Errorf("%+v, when %+v was done", p, first)
	}
	_, second := r.purge("POST", "/purge", `{"hosts":["b.example"]}`)
	r.again()
	_, third := r.purge("POST", "/purge", `{"everything":true}`)
	if status, p := follow(fmt.Sprintf("since=%d&epoch=%s", first.Sequence, at.Epoch)); status != 200 || len(p.Purges) != 2 ||
		p.Purges[0]["id"] != second.ID || p.Purges[1]["id"] != third.ID || p.Purges[1]["everything"] != true {
		t.Errorf("after a kill: %d %+v; want %s and %s", status, p, second.ID, third.ID)
	}
	for _, query := range []string{fmt.Sprint("epoch=another&since=", third.Sequence), fmt.Sprint("since=", third.Sequence+1)} {
		if status, p := follow(query); status != 410 || !p.Behind || p.Sequence != third.Sequence {
			t.Errorf("%s: %d %+v", query, status, p)
		}
	}
}

// TestPurgeWithoutJournal: where the journal cannot be written a purge is in force
// all the same, and the answer says that it would not outlive the process; once it
// can be written, it does.
func TestPurgeWithoutJournal(t *testing.T) {
	r := startPurge(t)
	r.fill("a.example", "/x", "/y", "/z")
	r.flushed()
	limit := func(n uint64) {
		t.Helper()
		if err := unix.Prlimit(r.cmd.Process.Pid, unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: n, Max: unix.RLIM_INFINITY}, nil); err != nil {
			t.Fatal(err)
		}
	}
	limit(1)
	status, a := r.purge("POST", "/purge", `{"tags":["s-x"]}`)
	if status != 503 || a.Applied == nil || !*a.Applied || a.Durable == nil || *a.Durable {
		t.Errorf("%d %+v", status, a)
	}
	r.want("a.example", "/x", "fwd=uri-miss")
	if code, _, errs := r.command("", "purge", "tag", "s-y"); code != 1 || !strings.Contains(errs, "the journal cannot be written") {
		t.Errorf("the command exits with %d, %q", code, errs)
	}
	if r.metric("edge_purge_journal_broken") != 1 {
		t.Error("no metric says so")
	}
	limit(unix.RLIM_INFINITY)
	eventually(t, "a durable purge", func() bool {
		status, a := r.purge("POST", "/purge", `{"tags":["none"]}`)
		return status == 200 && *a.Durable
	})
	r.again()
	r.want("a.example", "/y", "fwd=uri-miss")
	r.want("a.example", "/z", "hit")
}

// TestLostJournal: a disk whose journal is lost may hold what was purged meanwhile,
// so nothing on it is used before it is validated; and where what was purged was
// reclaimed already, it does not come back.
func TestLostJournal(t *testing.T) {
	r := startPurge(t)
	r.fill("a.example", "/x", "/y")
	r.purge("POST", "/purge", `{"tags":["s-x"]}`)
	eventually(t, "what was purged is freed", func() bool { return r.metric("edge_purge_sweeps_total") > 0 && r.metric("edge_purge_marked") == 0 })
	r.flushed()
	r.edge.kill()
	if err := os.Remove(filepath.Join(r.dir, "disk", "purges.journal")); err != nil {
		t.Fatal(err)
	}
	r.edge = start(t, r.config)
	r.want("a.example", "/x", "fwd=uri-miss")
	r.want("a.example", "/y", "fwd=stale")
	r.want("a.example", "/y", "hit")
	r.flushed()
	if status, a := r.purge("POST", "/purge", `{"tags":["s-y"]}`); status != 200 || *a.Matched != 1 {
		t.Errorf("a purge after it: %d %+v", status, a)
	}
	r.again()
	r.want("a.example", "/y", "fwd=uri-miss")
	r.want("a.example", "/x", "hit")
}

// TestSecondNode: a node that is started on the journal or the disk of another is
// refused, and harms nothing, also while the other drains; afterwards it finds
// what the other stored.
func TestSecondNode(t *testing.T) {
	slow := make(chan struct{})
	o := serve(t, func(r *request) bool {
		if r.URL.Path == "/slow" {
			<-slow
		}
		return r.say("HTTP/1.1 200 OK\nCache-Control: max-age=600", "answer")
	})
	dir := t.TempDir()
	with := func(disk, journal string) string {
		return config(o.addr(), fmt.Sprintf("cache: {memory: {size: 8MiB}, disk: [{path: %q, size: 64MiB}], flush_interval: 20ms}\njournal: {path: %q}\nshutdown: {grace: 1h}\n",
			filepath.Join(dir, disk), filepath.Join(dir, journal)))
	}
	e := start(t, with("disk", "journal"))
	e.get("/x")
	if a := e.get("/x"); !strings.HasPrefix(a.Header.Get("Cache-Status"), "edge; hit") {
		t.Fatal(a)
	}
	refused := func(when, text, part string) {
		t.Helper()
		name := filepath.Join(t.TempDir(), "edge.yaml")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(binary, "run", "-c", name)
		out, err := cmd.CombinedOutput()
		if err == nil || cmd.ProcessState.ExitCode() != 1 || !strings.Contains(string(out), part) {
			t.Errorf("%s: %v: %s; want %q", when, err, out, part)
		}
	}
	both := func(when string) {
		t.Helper()
		refused(when+", its journal", with("another disk", "journal"), "journal.path: purge: the journal: "+filepath.Join(dir, "journal")+" is in use by another process")
		refused(when+", its disk", with("disk", "another journal"), "cache.disk: disk: "+filepath.Join(dir, "disk"))
	}
	both("while another runs")
	if code, _, errs := e.command("", "cache", "verify", filepath.Join(dir, "disk")); code != 1 || !strings.Contains(errs, "in use") {
		t.Errorf("edge cache verify of a disk in use: exit %d, %q", code, errs)
	}
	if status, a := e.purge("POST", "/purge", `{"tags":["none"]}`); status != 200 || !*a.Durable {
		t.Errorf("after that the first purges: %d %+v", status, a)
	}
	answers := make(chan answer)
	go func() { answers <- e.get("/slow") }()
	eventually(t, "the slow one", func() bool { return o.asked.Load() == 2 })
	if err := e.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	both("while another drains")
	close(slow)
	if a := <-answers; !a.is(200, "answer") {
		t.Errorf("the slow one: %v", a)
	}
	<-e.exited
	next := start(t, with("disk", "journal"))
	for _, target := range []string{"/x", "/slow"} {
		if a := next.get(target); a.Response == nil || !strings.HasPrefix(a.Header.Get("Cache-Status"), "edge; hit") {
			t.Errorf("%s, of the next: %v", target, a)
		}
	}
}
