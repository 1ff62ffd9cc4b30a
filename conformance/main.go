// Command conformance runs the public test suite for HTTP caches,
// http-cache-tests, against a fresh edge and says how it went.
//
//	go run ./conformance             the npm package, pinned; writes docs/conformance.md
//	go run ./conformance -suite DIR  a checkout of the suite, dependencies installed
//	go run ./conformance -id ID      one test, with what both sides sent
//
// The suite is three programs in JavaScript: an origin that answers as each
// test says, a client that asks, and the tests themselves. This program puts
// edge, with nothing configured but addresses, between the first two; takes the
// client's results and the tests' definitions; judges the one by the other as
// the suite does (verdict.go); and holds what did not pass to the list of
// reasons beside this file (reasons.txt). It exits with 1 where a required test
// did not pass for no listed reason, or a reason is listed that nobody needs.
//
// Everything it starts listens on loopback and has ended when it returns.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Bounds of the waits.
const (
	toolTimeout   = 20 * time.Second // of node and npm saying their version, and of reading the tests
	buildTimeout  = 5 * time.Minute  // of go build
	installTime   = 5 * time.Minute  // of npm install
	suiteTimeout  = 6 * time.Minute  // of the client; a run takes one minute
	readyTimeout  = 20 * time.Second // from a server's start to its address
	stopGrace     = 5 * time.Second  // from SIGTERM to SIGKILL
	maxOutput     = 64 << 10         // bytes of a server's output kept for error messages
	maxResults    = 16 << 20         // bytes of JSON read from the suite
	documentPath  = "docs/conformance.md"
	suiteFlagHelp = "run the suite in this `directory` (a checkout, npm install done) instead of the pinned package"
)

// options are the flags.
type options struct {
	suite string // a checkout; empty for the package
	id    string // one test; empty for all
	out   string // where the document goes; empty for nowhere
}

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	var o options
	flags := flag.NewFlagSet("conformance", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.suite, "suite", "", suiteFlagHelp)
	flags.StringVar(&o.id, "id", "", "run one `test` and print what both sides sent; nothing is judged")
	flags.StringVar(&o.out, "o", "", "the `file` to write the results to (default "+documentPath+"; with -suite none)")
	if err := flags.Parse(args); err != nil || flags.NArg() > 0 {
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ok, err := conform(ctx, o, stdout)
	switch {
	case err != nil:
		_, _ = fmt.Fprintln(stderr, "conformance:", err)
		return 1
	case !ok:
		return 1
	}
	return 0
}

// conform does it all and reports whether the results are as they should be.
func conform(ctx context.Context, o options, stdout io.Writer) (ok bool, err error) {
	root, err := moduleRoot(ctx)
	if err != nil {
		return false, err
	}
	if o.out == "" && o.suite == "" {
		o.out = filepath.Join(root, documentPath)
	}
	reasons, err := parseReasons(reasonsText)
	if err != nil {
		return false, err
	}
	if err := checkNode(ctx); err != nil {
		return false, err
	}
	suite, err := findSuite(ctx, o.suite, stdout)
	if err != nil {
		return false, err
	}
	groups, err := suite.tests(ctx)
	if err != nil {
		return false, err
	}
	temp, err := os.MkdirTemp("", "edge-conformance-")
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temp)) }()
	results, err := runSuite(ctx, suite, root, temp, o.id, stdout)
	if err != nil || o.id != "" {
		return err == nil, err
	}
	r := judge(groups, results)
	r.suite, r.reasons = suite.name, reasons.of(suite.pinned)
	if err := r.print(stdout); err != nil {
		return false, err
	}
	if o.out != "" {
		if err := os.WriteFile(o.out, r.document(), 0o644); err != nil {
			return false, err
		}
	}
	return r.verdict(stdout), nil
}

// moduleRoot is the directory of this module.
func moduleRoot(ctx context.Context) (string, error) {
	out, err := output(ctx, toolTimeout, exec.Command("go", "list", "-m", "-f", "{{.Dir}}"))
	if err != nil {
		return "", fmt.Errorf("run this inside the edge module: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// runSuite starts the suite's origin and a fresh edge, and runs the client. It
// returns the client's results, or with id prints the one exchange.
func runSuite(ctx context.Context, s *suite, root, temp, id string, stdout io.Writer) (results map[string]result, err error) {
	binary := filepath.Join(temp, "edge")
	build := exec.Command("go", "build", "-o", binary, "./cmd/edge")
	build.Dir = root
	if _, err := output(ctx, buildTimeout, build); err != nil {
		return nil, err
	}
	origin, err := start("the suite's origin", s.originCommand(temp), originAddress)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, origin.stop()) }()
	config := filepath.Join(temp, "edge.yaml")
	if err := os.WriteFile(config, edgeConfig(origin.address), 0o600); err != nil {
		return nil, err
	}
	edge, err := start("edge", exec.Command(binary, "run", "-c", config, "--log-format", "json"), edgeAddress)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, edge.stop()) }()
	say(stdout, "running %s: about a minute\n", s.name)
	out, err := output(ctx, suiteTimeout, s.clientCommand("http://"+edge.address, id))
	if err != nil {
		return nil, fmt.Errorf("%w\nedge said:\n%s", err, edge.output.String())
	}
	if id != "" {
		say(stdout, "%s\nThe origin's side:\n\n%s", out, origin.output.String())
		return nil, nil
	}
	return parseResults(out)
}

// edgeConfig is the default configuration: nothing but addresses.
func edgeConfig(origin string) []byte {
	return fmt.Appendf(nil, `version: 1
admin: {address: "127.0.0.1:0"}
listeners:
  - address: 127.0.0.1:0
origins:
  suite: {endpoints: [{url: "http://%s"}]}
routes:
  - match: {path: /*}
    origin: suite
`, origin)
}

func say(w io.Writer, format string, args ...any) { _, _ = fmt.Fprintf(w, format, args...) }
