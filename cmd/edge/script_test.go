package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
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
		"get":    func() { os.Exit(getMain(os.Args[1:])) },
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
// half a second and whose every other answer is fresh for a minute.
func originMain(args []string) int {
	l, err := net.Listen("unix", args[0])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	n := 0
	err = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n++
		w.Header().Set("Cache-Control", "max-age=60")
		if r.URL.Path == "/slow" {
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

// getMain is "get SOCKET PATH": it waits until something listens there, asks,
// and prints the status, Cache-Status and body.
func getMain(args []string) int {
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
	resp, err := client.Get("http://edge.example" + args[1])
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
