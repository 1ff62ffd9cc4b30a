//go:build linux

package main

import (
	"context"
	"fmt"
	"math"
	"net"
	"strings"
	"testing"
	"time"

	"edge/config"
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
			got, err := epollLoad(t.Context(), addr, 2, 100*time.Millisecond, oneAnswer(getRequest(addr, "/"), smallBody))
			if c.wrong == "" {
				if err != nil || got.requests == 0 {
					t.Errorf("%d requests, %v; want some and no error", got.requests, err)
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
}

func TestFlagsAreChecked(t *testing.T) {
	if _, err := parseFlags([]string{"-only", "hit,herd", "-rounds", "2"}); err != nil {
		t.Errorf("good flags refused: %v", err)
	}
	for _, bad := range []string{"-only=cold", "-servers=apache", "-rounds=0", "-duration=1h",
		"-connections=0", "-clients=1", "-generator=ab", "-server-cpu=1"} {
		if _, err := parseFlags([]string{bad}); err == nil {
			t.Errorf("%s is accepted", bad)
		}
	}
}
