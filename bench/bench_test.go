//go:build linux

package main

import (
	"context"
	"fmt"
	"math"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"edge/cache/storage"
	"edge/cache/storage/disk"
	"edge/cache/storage/tiered"
	"edge/config"
	"edge/message"
)

func TestMedianAndPercentile(t *testing.T) {
	if got := median([]float64{3, 1, 2}); got != 2 {
		t.Errorf("median of three = %v, want 2", got)
	}
	if got := median([]float64{4, 1, 2, 3}); got != 2.5 {
		t.Errorf("median of four = %v, want 2.5", got)
	}
	if got := median(nil); !math.IsNaN(got) {
		t.Errorf("median of none = %v, want NaN", got)
	}
	sorted := make([]int, 100)
	for i := range sorted {
		sorted[i] = i + 1
	}
	for p, want := range map[float64]int{0: 1, 50: 50, 99: 99, 100: 100} {
		if got := percentile(sorted, p); got != want {
			t.Errorf("percentile %v of 1..100 = %d, want %d", p, got, want)
		}
	}
}

func TestParseWrk(t *testing.T) {
	const good = "Running 3s test @ http://x/\n  1 threads and 32 connections\n  95234 requests in 3.01s, 107.02MB read\nRequests/sec:  31639.20\n"
	got, err := parseWrk(good)
	if err != nil || got.requests != 95234 || got.elapsed != 3010*time.Millisecond {
		t.Errorf("parseWrk = %+v, %v; want 95234 requests in 3.01s", got, err)
	}
	for _, bad := range []string{
		"unable to connect to x:80 Connection refused\n",
		good + "  Non-2xx or 3xx responses: 1\n",
		good + "  Socket errors: connect 0, read 1, write 0, timeout 0\n",
	} {
		if got, err := parseWrk(bad); err == nil {
			t.Errorf("parseWrk accepts %q as %+v", bad, got)
		}
	}
}

func TestParseAnswer(t *testing.T) {
	const head = "HTTP/1.1 200 OK\r\ncontent-LENGTH:  5\r\nConnection: close\r\n\r\n"
	const whole = head + "12345"
	for n := range len(whole) {
		if a, err := parseAnswer([]byte(whole[:n])); err != nil || a.whole {
			t.Fatalf("the first %d bytes: whole=%v, %v; want neither", n, a.whole, err)
		}
	}
	a, err := parseAnswer([]byte(whole))
	if want := (answer{true, 200, len(head), len(whole), true}); err != nil || a != want {
		t.Errorf("parseAnswer = %+v, %v; want %+v", a, err, want)
	}
	for _, bad := range []string{
		"HTTP/1.1 200 OK\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
		"HTTP/1.1 2xx OK\r\nContent-Length: 1\r\n\r\n",
		"SSH-2.0-x\r\n\r\n",
		strings.Repeat("x", maxAnswerHead+1),
	} {
		if a, err := parseAnswer([]byte(bad)); err == nil {
			t.Errorf("parseAnswer accepts %.40q as %+v", bad, a)
		}
	}
}

// The generator must see what a server does wrong, or its figures say nothing.
func TestGeneratorChecksEveryAnswer(t *testing.T) {
	right := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(smallBody), smallBody)
	for name, c := range map[string]struct{ answer, wrong string }{
		"right":       {right, ""},
		"status":      {strings.Replace(right, "200 OK", "503 No", 1), "status 503"},
		"one byte":    {right[:len(right)-1] + "x", "wrong answer"},
		"a byte more": {right + "x", "wrong answer"},
		"cut short":   {right[:len(right)-1], "connection ended with an answer due"},
	} {
		t.Run(name, func(t *testing.T) {
			addr := cannedServer(t, c.answer)
			const asked = 100
			w := oneAnswer(getRequest(addr, "/"), smallBody)
			one, left := w.next, asked
			w.next = func(dst []byte) ([]byte, int) {
				if left--; left < 0 {
					return dst, -1
				}
				return one(dst)
			}
			got, err := epollLoad(t.Context(), addr, 2, time.Minute, w)
			if c.wrong == "" {
				if err != nil || got.requests != asked {
					t.Errorf("%d requests, %v; want %d and no error", got.requests, err, asked)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.wrong) {
				t.Errorf("err = %v, want one about %q", err, c.wrong)
			}
		})
	}
}

// cannedServer answers every read with the same bytes and closes connections
// after a cut answer.
func cannedServer(t *testing.T, answer string) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	a, err := parseAnswer([]byte(answer))
	short := err == nil && !a.whole
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				buf := make([]byte, 4096)
				for {
					if _, err := c.Read(buf); err != nil {
						return
					}
					if _, err := c.Write([]byte(answer)); err != nil || short {
						return
					}
				}
			}()
		}
	}()
	return ln.Addr().String()
}

func TestGeneratorEndsWithItsContext(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0") // accepts into its backlog, never answers
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	addr := ln.Addr().String()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = epollLoad(ctx, addr, 1, time.Minute, oneAnswer(getRequest(addr, "/"), smallBody))
	if err == nil {
		t.Error("a server that never answers was measured")
	}
}

func TestLagIsCountedFromTheLeader(t *testing.T) {
	const followed = "HTTP/1.1 200 OK\r\nCache-Status: edge; fwd=uri-miss; collapsed\r\n\r\n"
	const led = "HTTP/1.1 200 OK\r\nCache-Status: edge; fwd=uri-miss; stored\r\n\r\n"
	clients := []*herdClient{{first: 90, in: []byte(followed)}, {first: 100, in: []byte(led)}, {first: 130, in: []byte(followed)}}
	got := lag(clients)
	if len(got) != 2 || got[0] != -10 || got[1] != 30 {
		t.Errorf("lag = %v, want [-10ns 30ns]", got)
	}
	clients[1].in = clients[0].in // nobody says who led: the earliest did
	if got := lag(clients); len(got) != 2 || got[0] != 10 || got[1] != 40 {
		t.Errorf("lag without a leader = %v, want [10ns 40ns]", got)
	}
}

func TestEdgeConfigIsValid(t *testing.T) {
	c, err := config.Parse("edge.yaml", edgeConfig("127.0.0.1:8080", "127.0.0.1:9901", "127.0.0.1:9000", inMemory))
	if err != nil {
		t.Fatal(err)
	}
	if c.Logging.Access != nil {
		t.Error("edge is to be measured without an access log")
	}
	k := keeping{memory: 16 << 20, disk: "some/a b", size: 448<<20 + 1}
	c, err = config.Parse("edge.yaml", edgeConfig("127.0.0.1:8080", "127.0.0.1:9901", "127.0.0.1:9000", k))
	if err != nil {
		t.Fatal(err)
	}
	if d := c.Cache.Disk; c.Cache.Memory.Size != 16<<20 || len(d) != 1 || d[0].Path != k.disk || int64(d[0].Size) != k.size {
		t.Errorf("memory %d, disks %+v; want %+v", c.Cache.Memory.Size, d, k)
	}
}

func TestObjectsAreToldApart(t *testing.T) {
	o := objects{1 << 10, "127.0.0.1:1"}
	n, size, ok := parseObject(o.path(77))
	if !ok || n != 77 || size != o.size {
		t.Fatalf("parseObject(%q) = %d, %d, %v", o.path(77), n, size, ok)
	}
	mark, rest := objectBody(n, size)
	body := append(mark[:], rest...)
	right := o.unique(new(int)).right
	if !right(77, body) || right(78, body) || right(77, body[:len(body)-1]) || right(77, nil) {
		t.Error("an object's body is not told from others")
	}
	body[500] ^= 1
	if right(77, body) {
		t.Error("a flipped bit is not seen")
	}
	for _, bad := range []string{"/1k", "/object/", "/object/1024", "/object/1024/-1", "/object/15/1", "/object/99999999/1", "/object/1024/1/2"} {
		if n, size, ok := parseObject(bad); ok {
			t.Errorf("parseObject(%q) = %d, %d", bad, n, size)
		}
	}
}

// Fetched through sockets, from the origin itself: the work ends when it is done, and
// the light client sees a wrong body as the other one does.
func TestWorkOnObjects(t *testing.T) {
	o, err := startOrigin()
	if err != nil {
		t.Fatal(err)
	}
	defer o.stop()
	w := objects{300 << 10, o.addr}.once(upTo(7))
	d, err := epollLoad(t.Context(), o.addr, 3, time.Minute, w)
	if err != nil || d.requests != 7 || o.total.Load() != 7 {
		t.Errorf("%d requests, the origin was asked %d times, %v; want 7 of each", d.requests, o.total.Load(), err)
	}
	at := 0
	took, err := paced(t.Context(), o.addr, 500, 100*time.Millisecond, objects{1 << 10, o.addr}.around(upTo(3), &at))
	if err != nil || len(took) == 0 || len(took) > 50 { // those not sent in time are left out
		t.Errorf("%d answers, %v; want up to 50", len(took), err)
	}
	wrong := objects{1 << 10, o.addr}.unique(&at)
	wrong.right = func(int, []byte) bool { return false }
	if _, err := paced(t.Context(), o.addr, 500, time.Minute, wrong); err == nil || !strings.Contains(err.Error(), "wrong answer") {
		t.Errorf("err = %v, want one about a wrong answer", err)
	}
}

func TestSampleIsDrawnFromSpans(t *testing.T) {
	got := draw([]span{{10, 13}, {20, 22}}, 4)
	slices.Sort(got)
	if len(slices.Compact(got)) != 4 || got[0] < 10 || got[3] > 21 || slices.Contains(got, 13) {
		t.Errorf("drawn: %v", got)
	}
	if got := draw([]span{{10, 13}}, 9); len(got) != 3 {
		t.Errorf("drawn: %v, want all three", got)
	}
}

func TestExpositionSums(t *testing.T) {
	const x = exposition("# HELP a b\na{disk=\"x\",reason=\"busy\"} 2\na{disk=\"y\",reason=\"busy\"} 3e1\na{disk=\"y\",reason=\"full\"} 5\nab 7\na_total 9\n")
	for want, got := range map[float64]float64{37: x.sum("a"), 32: x.sum("a", `reason="busy"`), 7: x.sum("ab"), 0: x.sum("b")} {
		if got != want {
			t.Errorf("sum = %v, want %v", got, want)
		}
	}
}

func TestProcFiles(t *testing.T) {
	const stat = "44 (kworker/1:1H) b) I 2 0 0 0 -1 %d 0 0 0 0 3 10 0 0 0 -20 1 0 1 0 0"
	if got := kernelTime(fmt.Appendf(nil, stat, 69238880|kernelThread)); got != 130*time.Millisecond {
		t.Errorf("a kernel thread's time = %v, want 130ms", got)
	}
	for _, other := range []string{fmt.Sprintf(stat, 4194304), "", "44 (x)"} {
		if got := kernelTime([]byte(other)); got != 0 {
			t.Errorf("kernelTime(%q) = %v, want 0", other, got)
		}
	}
	if got := statusKiB([]byte("VmHWM:\t  20 kB\nVmRSS:\t   16044 kB\n"), "VmRSS:"); got != 16044 {
		t.Errorf("VmRSS = %d, want 16044", got)
	}
}

func TestLRU(t *testing.T) {
	c := newLRU(2)
	var hits []int
	for _, n := range []int{1, 2, 1, 3, 2, 3, 1} {
		if hit, _ := c.ask(n); hit {
			hits = append(hits, n)
		}
	}
	if !slices.Equal(hits, []int{1, 3}) {
		t.Errorf("hits: %v, want 1 and 3", hits)
	}
}

func TestZipfStream(t *testing.T) {
	plain, mixed := zipfStream(false), zipfStream(true)
	seen := map[int]int{}
	last := zipfObjects - 1
	for range 10_000 {
		n := plain()
		seen[n]++
		if once := mixed(); once != last+1 {
			t.Fatalf("a URL asked for once has number %d, want %d", once, last+1)
		}
		last++
		if got := mixed(); got != n || n >= zipfObjects {
			t.Fatalf("request for %d beside one for %d: the Zipf requests are to be the same", got, n)
		}
	}
	if share := float64(seen[0]) / float64(seen[1]); share < 1.5 || share > 2.4 {
		t.Errorf("the most popular is asked for %.2f times as often as the next, want about 2^%v", share, zipfExponent)
	}
}

// What is measured in process is a store that works: what was stored is found.
func TestAskerFindsWhatItStored(t *testing.T) {
	st, err := tiered.Open(tiered.Options{
		Memory: storage.MemoryOptions{Size: 1 << 20},
		Disk: disk.Options{Disks: []disk.Disk{{Path: t.TempDir(), Size: 1 << 20}},
			Clock: func() message.Instant { return message.Instant(time.Now().UnixNano()) }},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	a := &asker{st: st}
	for _, want := range []bool{false, true} {
		for n := range 3 {
			if hit, err := a.ask(n); hit != want || err != nil {
				t.Errorf("object %d: hit %v, %v; want %v", n, hit, err, want)
			}
		}
	}
}

func TestFlagsAreChecked(t *testing.T) {
	if _, err := parseFlags([]string{"-only", "hit,herd", "-rounds", "2"}); err != nil {
		t.Errorf("good flags refused: %v", err)
	}
	for _, bad := range []string{"-only=cold", "-servers=apache", "-rounds=0", "-duration=1h",
		"-connections=0", "-clients=1", "-generator=ab", "-server-cpu=1",
		"-size=64", "-size=1GiB", "-size=", "-set=1KiB", "-memory=x", "-objects=1", "-rate=0", "-disk=/nonesuch"} {
		if _, err := parseFlags([]string{bad}); err == nil {
			t.Errorf("%s is accepted", bad)
		}
	}
}
