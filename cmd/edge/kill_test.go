package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// The kill loop: the real binary, in a process of its own, is killed under load and
// started again on the same disk.
const (
	killObjects = 200
	killFlush   = 20 * time.Millisecond // cache.flush_interval
)

// killBody is the body of object n.
func killBody(n int) []byte {
	rnd := rand.New(rand.NewPCG(uint64(n), 3))
	b := make([]byte, rnd.IntN(1<<(4+n%15)))
	for i := range b {
		b[i] = byte(rnd.Uint32())
	}
	return b
}

// TestKill: what was flushed, wholes and parts, survives kill -9 at any instant, and
// nothing is ever served that is not what the origin sent.
func TestKill(t *testing.T) {
	for _, x := range []struct {
		name  string
		sizes []string // of the disks
	}{{"one disk", []string{"64MiB"}}, {"several disks", []string{"32MiB", "16MiB", "16MiB"}}} {
		t.Run(x.name, func(t *testing.T) { testKill(t, x.sizes) })
	}
}

func testKill(t *testing.T, sizes []string) {
	rounds := 3
	if os.Getenv("EDGE_LONG") != "" {
		rounds = 50
	}
	sums := make([][32]byte, killObjects)
	for i := range sums {
		sums[i] = sha256.Sum256(killBody(i))
	}
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, err := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/"))
		if err != nil || n >= killObjects {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Cache-Control", "max-age=86400")
		w.Header().Set("ETag", fmt.Sprintf(`"%d"`, n))
		body := killBody(n)
		if n%3 > 0 { // else its length is not announced, and there are no ranges of it
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
			return
		}
		_, _ = w.Write(body) // a client that was killed
	}))
	defer origin.Close()
	dir := t.TempDir()
	k := &killed{t: t, dir: dir, sums: sums, config: filepath.Join(dir, "edge.yaml")}
	var disks []string
	for i, size := range sizes {
		disks = append(disks, fmt.Sprintf("{path: %s, size: %s}", filepath.Join(dir, fmt.Sprint("disk", i)), size))
	}
	text := fmt.Sprintf("version: 1\nlisteners: [{address: \"unix:%s\"}]\nadmin: {address: \"unix:%s\"}\n"+
		"origins: {app: {endpoints: [{url: %q}]}}\nroutes: [{match: {path: /*}, origin: app}]\n"+
		"cache: {memory: {size: 1MiB}, disk: [%s], flush_interval: %v}\n",
		k.socket(), filepath.Join(dir, "admin"), origin.URL, strings.Join(disks, ", "), killFlush)
	if err := os.WriteFile(k.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for range rounds {
		k.round()
	}
	for i := range sizes {
		a := &app{stdout: io.Discard, stderr: io.Discard}
		if code := a.run([]string{"cache", "verify", filepath.Join(dir, fmt.Sprint("disk", i))}); code != 0 {
			t.Errorf("edge cache verify exits with %d", code)
		}
	}
	if k.found == 0 || k.foundParts == 0 {
		t.Errorf("%d wholes and %d parts survived", k.found, k.foundParts)
	}
	t.Logf("%d rounds, %d responses verified, %d wholes and %d parts found again", rounds, k.verified, k.found, k.foundParts)
}

// killed is the loop's state.
type killed struct {
	t               *testing.T
	dir, config     string
	sums            [][32]byte
	verified, found int
	foundParts      int
}

// part is a range of a body.
type part struct{ from, to int }

func (k *killed) socket() string { return filepath.Join(k.dir, "edge.sock") }

// metric asks the process for the sum of a metric.
func (k *killed) metric(name string) (sum float64) {
	k.t.Helper()
	for line := range strings.Lines(getBy(k.t, byUnix(filepath.Join(k.dir, "admin")), "http://admin/metrics").body) {
		if rest, ok := strings.CutPrefix(line, name); ok && strings.ContainsAny(rest[:1], " {") {
			v, err := strconv.ParseFloat(strings.TrimSpace(rest[strings.LastIndexByte(rest, ' '):]), 64)
			if err != nil {
				k.t.Fatalf("%q: %v", line, err)
			}
			sum += v
		}
	}
	return sum
}

// start starts the binary and waits until it answers.
func (k *killed) start() (*exec.Cmd, *http.Client) {
	k.t.Helper()
	exe, err := os.Executable()
	if err != nil {
		k.t.Fatal(err)
	}
	_ = os.Remove(k.socket())                          // left by the one that was killed, or not there
	_ = os.Remove(filepath.Join(k.dir, "admin"))       // likewise
	log, err := os.Create(filepath.Join(k.dir, "log")) // the last run's
	if err != nil {
		k.t.Fatal(err)
	}
	cmd := &exec.Cmd{Path: exe, Args: []string{"edge", "run", "-c", k.config}, Stdout: log, Stderr: log, Env: os.Environ()}
	if err := cmd.Start(); err != nil {
		k.t.Fatal(err)
	}
	_ = log.Close() // the child has it
	client := &http.Client{Timeout: patience, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", k.socket())
		}}}
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		if c, err := net.Dial("unix", k.socket()); err == nil {
			_ = c.Close() // it was only to see
			return cmd, client
		}
		if time.Now().After(end) {
			text, _ := os.ReadFile(filepath.Join(k.dir, "log"))
			k.t.Fatalf("does not serve:\n%s", text)
		}
	}
}

// getPart asks for [from, to) of object n, and reports whether that came. Wrong bytes fail
// the test.
func (k *killed) getPart(client *http.Client, n, from, to int, only bool) (came bool) {
	resp, body := k.ask(client, n, only, fmt.Sprintf("bytes=%d-%d", from, to-1))
	if resp == nil || resp.StatusCode != 206 {
		return false
	}
	if !bytes.Equal(body, killBody(n)[from:to]) {
		k.t.Errorf("object %d: %d bytes that are not the origin's from %d to %d", n, len(body), from, to)
	}
	return true
}

// get asks for object n, and reports whether the whole of it came. Wrong bytes fail the
// test.
func (k *killed) get(client *http.Client, n int, only bool) (whole bool) {
	resp, body := k.ask(client, n, only, "")
	if resp == nil || resp.StatusCode != 200 {
		return false
	}
	if sha256.Sum256(body) != k.sums[n] {
		k.t.Errorf("object %d: %d bytes that are not the origin's", n, len(body))
	}
	return true
}

// ask asks for object n, or ranges of it; nil where no whole answer came.
func (k *killed) ask(client *http.Client, n int, only bool, ranges string) (*http.Response, []byte) {
	req, err := http.NewRequest("GET", fmt.Sprintf("http://app.example/%d", n), nil)
	if err != nil {
		k.t.Error(err)
		return nil, nil
	}
	if only {
		req.Header.Set("Cache-Control", "only-if-cached")
	}
	if ranges != "" {
		req.Header.Set("Range", ranges)
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, nil // it was killed
	}
	defer func() { _ = resp.Body.Close() }() // it was read
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, nil
	}
	return resp, body
}

// round starts the binary, looks what is there, loads it, kills it, and sees what the
// next one has.
func (k *killed) round() {
	cmd, client := k.start()
	var mu sync.Mutex
	answered, parts := map[int]bool{}, map[int]part{}
	var asking sync.RWMutex // written to: nobody asks
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var load sync.WaitGroup
	for range 4 {
		load.Go(func() {
			one := func() {
				asking.RLock()
				defer asking.RUnlock()
				n := rand.IntN(killObjects)
				if size := len(killBody(n)); n%4 == 1 && size > 0 { // of these, parts only
					from := rand.IntN(size)
					to := from + 1 + rand.IntN(size-from)
					if k.getPart(client, n, from, to, false) {
						mu.Lock()
						parts[n] = part{from, to}
						mu.Unlock()
					}
					return
				}
				if k.get(client, n, false) {
					mu.Lock()
					k.verified++
					answered[n] = true
					mu.Unlock()
				}
			}
			for ctx.Err() == nil {
				one()
			}
		})
	}
	eventually(k.t, "enough is stored", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(answered) > killObjects/2 && len(parts) > killObjects/10
	})
	// What was answered by now and is flushed has to be found again; of what comes
	// then, nobody knows.
	asking.Lock()
	eventually(k.t, "nothing is being stored", func() bool { return k.metric("edge_fills") == 0 })
	eventually(k.t, "a flush", func() bool { return k.metric("edge_disk_unwritten_bytes") == 0 })
	sure, sureParts := maps.Clone(answered), maps.Clone(parts)
	asking.Unlock()
	time.Sleep(time.Duration(rand.IntN(400)) * time.Millisecond)
	if err := cmd.Process.Kill(); err != nil {
		k.t.Fatal(err)
	}
	cancel()
	load.Wait()
	_ = cmd.Wait() // says that it was killed
	client.CloseIdleConnections()
	k.foundAgain(sure, sureParts)
}

// foundAgain wants all of it to be found by a process that starts on what another
// left, and kills that.
func (k *killed) foundAgain(sure map[int]bool, sureParts map[int]part) {
	cmd, client := k.start()
	for n, p := range sureParts {
		if k.getPart(client, n, p.from, p.to, true) {
			k.foundParts++
		} else if n%3 > 0 {
			k.t.Errorf("object %d from %d to %d was flushed before the kill, and is not found after it", n, p.from, p.to)
		}
	}
	for n := range killObjects {
		if k.get(client, n, true) {
			k.found++
		} else if sure[n] {
			k.t.Errorf("object %d was flushed before the kill, and is not found after it", n)
		}
	}
	client.CloseIdleConnections()
	if err := cmd.Process.Kill(); err != nil {
		k.t.Fatal(err)
	}
	_ = cmd.Wait() // says that it was killed
}
