package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

func TestHitAfterMiss(t *testing.T) {
	origin := originOf(t, fresh(numbered()))
	p := launch(t, "run", "-c", file(t, simple(origin.URL, "")))
	get(t, p.url(0)+"/a").want(t, 200, "edge; fwd=uri-miss; stored", "answer 1")
	a := get(t, p.url(0)+"/a")
	a.want(t, 200, "edge; hit; ttl=", "answer 1")
	if a.Header.Get("Age") == "" || a.Header.Get("Via") != "1.1 edge" {
		t.Errorf("fields %v", a.Header)
	}
	get(t, p.url(0)+"/b").want(t, 200, "edge; fwd=uri-miss; stored", "answer 2")
	if code := p.stop(); code != exitOK {
		t.Errorf("exit %d", code)
	}
}

func TestRunWithoutAFile(t *testing.T) {
	var host atomic.Value
	origin := originOf(t, fresh(func(w http.ResponseWriter, r *http.Request) { host.Store(r.Host) }))
	taken, err := net.Listen("tcp", "127.0.0.1:9901") // may be taken already, which serves as well
	if err == nil {
		defer taken.Close()
	}
	p := launch(t, "run", "--origin", origin.URL, "--listen", "127.0.0.1:0")
	get(t, p.url(0)+"/", "Host", "public.example").want(t, 200, "edge; fwd=uri-miss; stored", "")
	if got := "http://" + host.Load().(string); got != origin.URL {
		t.Errorf("the origin was asked for %s, not for itself, %s", got, origin.URL)
	}
	get(t, p.adminURL()+"/readyz").want(t, 200, "", "ready\n")
	for _, want := range []string{p.url(0) + " -> " + origin.URL, "admin " + p.adminURL()} {
		if !strings.Contains(p.stdout.String(), want) {
			t.Errorf("printed %q, without %q", p.stdout.String(), want)
		}
	}
}

func TestStopDrains(t *testing.T) {
	release, asked := make(chan struct{}), make(chan struct{})
	origin := originOf(t, func(w http.ResponseWriter, _ *http.Request) {
		close(asked)
		<-release
		fmt.Fprint(w, "whole")
	})
	p := launch(t, "run", "-c", file(t, simple(origin.URL, "")))
	idle, err := net.Dial("tcp", p.node.server.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	answers := make(chan *answer, 1)
	go func() { answers <- get(t, p.url(0)+"/slow") }()
	<-asked
	p.signals <- syscall.SIGTERM
	_ = idle.SetReadDeadline(time.Now().Add(patience))
	if _, err := idle.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the idle connection: %v, want its end at once", err)
	}
	eventually(t, "not ready while draining", func() bool { return get(t, p.adminURL()+"/readyz").StatusCode == 503 })
	eventually(t, "nothing listens any more", func() bool {
		nc, err := net.Dial("tcp", p.node.server.Addrs()[0].String())
		if err == nil {
			_ = nc.Close() // the idle ones are told a moment before
		}
		return err != nil
	})
	close(release)
	a := <-answers
	if a.body != "whole" || !a.Close {
		t.Errorf("%q, close %v", a.body, a.Close)
	}
	if code := p.wait(); code != exitOK {
		t.Errorf("exit %d", code)
	}
}

func TestStopIsAtOnceWhenIdle(t *testing.T) {
	origin := originOf(t, fresh(numbered()))
	p := launch(t, "run", "-c", file(t, simple(origin.URL, "shutdown: {grace: 1h}\n")))
	keep := new(http.Transport)
	defer keep.CloseIdleConnections()
	getBy(t, keep, p.url(0)+"/") // its connection stays, idle
	p.stop()                     // which does not wait for the grace
}

func TestSecondSignalEndsNow(t *testing.T) {
	asked := make(chan struct{})
	origin := originOf(t, func(w http.ResponseWriter, r *http.Request) {
		close(asked)
		<-r.Context().Done() // until edge hangs up
	})
	p := launch(t, "run", "-c", file(t, simple(origin.URL, "")))
	nc, err := net.Dial("tcp", p.node.server.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	fmt.Fprint(nc, "GET /stuck HTTP/1.1\r\nHost: a\r\n\r\n")
	<-asked
	p.signals <- syscall.SIGTERM
	eventually(t, "draining", func() bool { return !strings.Contains(get(t, p.adminURL()+"/readyz").body, "ready\n") })
	p.signals <- syscall.SIGTERM
	p.wait()
}

func TestReload(t *testing.T) {
	one, two := originOf(t, fresh(numbered())), originOf(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "two") })
	name := file(t, simple(one.URL, ""))
	p := launch(t, "run", "-c", name)
	get(t, p.url(0)+"/a").want(t, 200, "edge; fwd=uri-miss; stored", "answer 1")
	kept := p.node.origins["app"].proxied.Pool

	rewrite(t, name, "version: 1\nrouts: []\nlisteners: 7\n")
	p.reload()
	for _, want := range []string{"edge.yaml:2:1", "edge.yaml:3:", "the old configuration goes on"} {
		if !strings.Contains(p.stderr.String(), want) {
			t.Errorf("the log does not say %q", want)
		}
	}
	get(t, p.url(0)+"/a").want(t, 200, "edge; hit", "answer 1")
	if get(t, p.adminURL()+"/readyz").StatusCode != 200 {
		t.Error("not ready after a refused reload")
	}

	rewrite(t, name, simple(one.URL, "trusted_proxies: [127.0.0.1]\nshutdown: {grace: 7s}\n"))
	p.reload()
	if !strings.Contains(p.stderr.String(), "restart") || !strings.Contains(p.stderr.String(), "shutdown.grace") {
		t.Error("the log does not name the key that waits for a restart")
	}
	if p.node.origins["app"].proxied.Pool != kept {
		t.Error("an origin that did not change lost its connections")
	}

	rewrite(t, name, simple(two.URL, ""))
	p.reload()
	get(t, p.url(0)+"/b").want(t, 200, "edge; fwd=", "two")
	get(t, p.url(0)+"/a").want(t, 200, "edge; hit", "answer 1") // what is stored stays
	text := get(t, p.adminURL()+"/metrics").body
	for _, want := range []string{`edge_config_reloads_total{result="refused"} 1`, `edge_config_reloads_total{result="taken"} 2`} {
		if !strings.Contains(text, want) {
			t.Errorf("metrics without %s", want)
		}
	}
}

func TestAccessLog(t *testing.T) {
	origin := originOf(t, fresh(numbered()))
	path := filepath.Join(t.TempDir(), "access.log")
	p := launch(t, "run", "-c", file(t, simple(origin.URL, "logging: {access: {path: "+path+"}}\n")))
	get(t, p.url(0)+"/a?x=\"1\"", "User-Agent", "evil\"agent\\")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the first line", func() bool { b, _ := os.ReadFile(path + ".1"); return len(b) > 0 })
	p.signals <- syscall.SIGUSR1
	eventually(t, "reopened", func() bool { _, err := os.Stat(path); return err == nil })
	get(t, p.url(0)+"/a?x=\"1\"")
	eventually(t, "the second line", func() bool { b, _ := os.ReadFile(path); return len(b) > 0 })
	nc, err := net.Dial("tcp", p.node.server.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	fmt.Fprint(nc, "GET / HTTP/1.1\nHost: a\n\n")
	if status, err := bufio.NewReader(nc).ReadString('\n'); err != nil || !strings.Contains(status, " 400 ") {
		t.Errorf("%q, %v", status, err)
	}
	p.stop()
	type line struct {
		Reason, Target, Refused, Host string
		UserAgent                     string `json:"user_agent"`
		Status                        int
	}
	var got []line
	for _, name := range []string{path + ".1", path} {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for text := range strings.Lines(string(b)) {
			var l line
			if err := json.Unmarshal([]byte(text), &l); err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			got = append(got, l)
		}
	}
	if len(got) != 3 || got[0].Reason != "uri-miss" || got[0].UserAgent != "evil\"agent\\" || got[0].Status != 200 ||
		got[1].Reason != "hit" || got[1].Host == "" || got[1].Target == "" || got[2].Refused == "" || got[2].Status != 400 {
		t.Errorf("lines %+v", got)
	}
}

func TestUnixSocketsOnBothSides(t *testing.T) {
	dir := t.TempDir()
	back, front, adminPath := filepath.Join(dir, "o"), filepath.Join(dir, "e"), filepath.Join(dir, "a")
	l, err := net.Listen("unix", back)
	if err != nil {
		t.Fatal(err)
	}
	origin := &http.Server{Handler: fresh(numbered())}
	go func() { _ = origin.Serve(l) }()
	defer origin.Close()
	p := launch(t, "run", "--origin", "unix:"+back, "--listen", "unix:"+front, "--admin", "unix:"+adminPath)
	getBy(t, byUnix(front), "http://edge.example/").want(t, 200, "edge; fwd=uri-miss; stored", "answer 1")
	getBy(t, byUnix(front), "http://edge.example/").want(t, 200, "edge; hit", "answer 1")
	getBy(t, byUnix(adminPath), "http://admin/healthz").want(t, 200, "", "alive\n")
	if info, err := os.Stat(adminPath); err != nil || info.Mode().Perm() != adminSocketMode {
		t.Errorf("the admin's socket: %v, %v", info.Mode(), err)
	}
	p.stop()
	for _, path := range []string{front, adminPath} {
		if _, err := os.Lstat(path); !os.IsNotExist(err) {
			t.Errorf("%s was left behind: %v", path, err)
		}
	}
}

func TestConnectionLimit(t *testing.T) {
	origin := originOf(t, fresh(numbered()))
	p := launch(t, "run", "-c", file(t, strings.Replace(simple(origin.URL, ""),
		"address: 127.0.0.1:0\nadmin", "address: 127.0.0.1:0\n    max_connections: 1\nadmin", 1)))
	keep := new(http.Transport)
	defer keep.CloseIdleConnections()
	getBy(t, keep, p.url(0)+"/").want(t, 200, "edge; fwd=", "answer 1")
	a := get(t, p.url(0)+"/")
	if a.StatusCode != 503 || a.Header.Get("Retry-After") == "" || !a.Close {
		t.Errorf("%d %v", a.StatusCode, a.Header)
	}
	getBy(t, keep, p.url(0)+"/").want(t, 200, "edge; hit", "answer 1")
	if text := get(t, p.adminURL()+"/metrics").body; !strings.Contains(text, `edge_connections_refused_total{limit="listener"} 1`) {
		t.Error("not counted")
	}
}

// TestAThousandClientsAskForOneThing is the promise of the design: default
// limits, one address, one uncached URL, one request at the origin.
func TestAThousandClientsAskForOneThing(t *testing.T) {
	const clients = 1000
	body := strings.Repeat("0123456789", 2000)
	var asked atomic.Int64
	release := make(chan struct{})
	origin := originOf(t, fresh(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		io.WriteString(w, body[:len(body)/2])
		w.(http.Flusher).Flush()
		<-release
		io.WriteString(w, body[len(body)/2:])
	}))
	p := launch(t, "run", "-c", file(t, simple(origin.URL, "")))
	address := p.node.server.Addrs()[0].String()
	var all sync.WaitGroup
	var wrong atomic.Int64
	fail := func(format string, args ...any) {
		if wrong.Add(1) <= 3 {
			t.Errorf(format, args...)
		}
	}
	var begun atomic.Int64
	for range clients {
		all.Go(func() {
			nc, err := net.Dial("tcp", address)
			if err != nil {
				fail("%v", err)
				begun.Add(1)
				return
			}
			defer nc.Close()
			_ = nc.SetDeadline(time.Now().Add(patience))
			fmt.Fprint(nc, "GET /crowd HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
			begun.Add(1)
			resp, err := http.ReadResponse(bufio.NewReader(nc), nil)
			if err != nil {
				fail("%v", err)
				return
			}
			got, err := io.ReadAll(resp.Body)
			if err != nil || resp.StatusCode != 200 || string(got) != body {
				fail("%d, %d bytes, %v", resp.StatusCode, len(got), err)
			}
		})
	}
	eventually(t, "all have asked", func() bool { return begun.Load() == clients && p.node.server.Stats().Accepted == clients })
	close(release)
	all.Wait()
	if n := asked.Load(); n != 1 {
		t.Errorf("the origin was asked %d times", n)
	}
	if s := p.node.server.Stats(); s.RefusedAddr+s.RefusedTotal != 0 {
		t.Errorf("refused: %+v", s)
	}
}

func TestDemo(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:8080") // may be taken already, which serves as well
	if err == nil {
		defer taken.Close()
	}
	p := launch(t, "demo")
	url := p.url(0)
	if !strings.Contains(p.stdout.String(), "curl -si "+url+"/time") {
		t.Errorf("printed:\n%s", p.stdout.String())
	}
	for line := range strings.Lines(p.stdout.String()) {
		if command, ok := strings.CutPrefix(line, "  "); ok { // to be pasted as it stands
			if out, err := exec.Command("sh", "-n", "-c", command).CombinedOutput(); err != nil || strings.Contains(command, "   ") && !strings.Contains(command, " # ") {
				t.Errorf("no shell takes %q: %v, %s", command, err, out)
			}
		}
	}
	first := get(t, url+"/time")
	first.want(t, 200, "edge; fwd=uri-miss; stored", first.body)
	get(t, url+"/time").want(t, 200, "edge; hit", first.body)
	if !strings.Contains(get(t, url+"/").body, "edge demo") {
		t.Error("no front page")
	}
	if a, b := get(t, url+"/private"), get(t, url+"/private"); a.body == b.body {
		t.Errorf("stored: %q", a.body)
	}
	if a, b := get(t, url+"/vary", "Accept-Language", "de"), get(t, url+"/vary", "Accept-Language", "fr"); a.body == b.body {
		t.Errorf("one answer for two languages: %q", a.body)
	}
	validated := get(t, url+"/etag")
	get(t, url+"/etag").want(t, 200, "edge; fwd=stale; fwd-status=304", validated.body)
	if a := get(t, url+"/big"); len(a.body) != bigSize {
		t.Errorf("/big has %d bytes", len(a.body))
	}
	get(t, url+"/big", "Range", "bytes=0-3").want(t, 206, "edge; hit", "0123")
	if a := get(t, url+"/error"); a.StatusCode != 503 {
		t.Errorf("/error: %d", a.StatusCode)
	}
	slow := get(t, url+"/slow")
	get(t, url+"/slow").want(t, 200, "edge; hit", slow.body)
	p.signals <- syscall.SIGINT
	if code := p.wait(); code != exitOK {
		t.Errorf("exit %d", code)
	}
}
