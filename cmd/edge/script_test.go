package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain lets this test binary stand for the commands of the scripts: edge
// itself, in a process of its own, with signals that are real.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"edge":   main,
		"origin": func() { os.Exit(originMain(os.Args[1:])) },
		"get":    func() { os.Exit(askMain("GET", os.Args[1:])) },
		"ask":    func() { os.Exit(askMain(os.Args[1], os.Args[2:])) },
		"await":  func() { os.Exit(awaitMain(os.Args[1:])) },
		"crowd":  func() { os.Exit(crowdMain(os.Args[1:])) },
	})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata/script", RequireExplicitExec: true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"envsubst": envsubst}})
}

// envsubst is "envsubst FILE": it puts the script's variables into a file.
func envsubst(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: envsubst FILE")
	}
	name := ts.MkAbs(args[0])
	ts.Check(os.WriteFile(name, []byte(os.Expand(ts.ReadFile(name), ts.Getenv)), 0o600))
}

// originMain is "origin SOCKET": an origin on a Unix socket whose /slow takes
// half a second, whose /begun is there once /slow was asked for with the same query,
// and whose every other answer is fresh for a minute and tagged with its path.
func originMain(args []string) int {
	l, err := net.Listen("unix", args[0])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	var begun sync.Map
	err = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/begun" {
			if _, ok := begun.Load(r.URL.RawQuery); !ok {
				http.NotFound(w, r)
			}
			return
		}
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Surrogate-Key", "path-"+r.URL.Path)
		if r.URL.Path == "/slow" {
			begun.Store(r.URL.RawQuery, true)
			_, _ = io.WriteString(w, "slow begins, ")
			_ = http.NewResponseController(w).Flush()
			time.Sleep(500 * time.Millisecond)
			_, _ = io.WriteString(w, "slow ends\n")
			return
		}
		_, _ = fmt.Fprintf(w, "answer to %s\n", r.URL)
	}))
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// crowdMain is "crowd SOCKET N": it opens N connections that stay, asks once on
// each, then once more on those that are still there, and prints how often each
// status came.
func crowdMain(args []string) int {
	n, err := strconv.Atoi(args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	type client struct {
		net.Conn
		in *bufio.Reader
	}
	var clients []client
	for range n {
		nc, err := net.Dial("unix", args[0])
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		_ = nc.SetDeadline(time.Now().Add(patience))
		clients = append(clients, client{nc, bufio.NewReader(nc)})
	}
	for round := range 2 {
		seen := map[int]int{}
		for i, c := range clients {
			if c.Conn == nil {
				continue
			}
			_, _ = io.WriteString(c, "GET /a HTTP/1.1\r\nHost: edge.example\r\n\r\n") // a refused one may be closed
			resp, err := http.ReadResponse(c.in, nil)
			if err != nil {
				seen[0]++
				clients[i].Conn = nil
				continue
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			seen[resp.StatusCode]++
			if resp.Close {
				clients[i].Conn = nil
			}
		}
		fmt.Printf("round %d: %d times 200, %d times 503, %d times nothing\n", round+1, seen[200], seen[503], seen[0])
	}
	return 0
}

// awaitMain is "await SOCKET PATH": it asks until the answer is a 200.
func awaitMain(args []string) int {
	client := http.Client{Timeout: patience, Transport: byUnix(args[0])}
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		resp, err := client.Get("http://edge.example" + args[1])
		if err != nil {
			continue // nobody listens there yet
		}
		_ = resp.Body.Close() // its status is what was asked for
		if resp.StatusCode == http.StatusOK {
			return 0
		}
	}
	fmt.Fprintln(os.Stderr, "waited in vain for", args[1])
	return 1
}

// askMain is "get SOCKET PATH", or "ask METHOD SOCKET PATH", and then fields, a
// name and a value each: it waits until something listens there, asks, and prints
// the status, Cache-Status and body.
func askMain(method string, args []string) int {
	client := http.Client{Timeout: patience, Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		for {
			nc, err := new(net.Dialer).DialContext(ctx, "unix", args[0])
			if err == nil {
				return nc, nil
			}
			select {
			case <-ctx.Done():
				return nil, err
			case <-time.After(10 * time.Millisecond):
			}
		}
	}}}
	r, err := http.NewRequest(method, "http://edge.example"+args[1], nil)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for i := 2; i+1 < len(args); i += 2 {
		r.Header.Set(args[i], args[i+1])
	}
	resp, err := client.Do(r)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer resp.Body.Close()
	fmt.Println(resp.Status)
	if cs := resp.Header.Get("Cache-Status"); cs != "" {
		fmt.Println("Cache-Status:", strings.TrimSpace(cs))
	}
	if _, err := io.Copy(os.Stdout, resp.Body); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
