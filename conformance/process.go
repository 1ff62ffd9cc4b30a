package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// output runs a command to its end, within timeout, and returns what it wrote.
// What it wrote to standard error is in the error.
func output(ctx context.Context, timeout time.Duration, cmd *exec.Cmd) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	bound := exec.CommandContext(ctx, cmd.Args[0], cmd.Args[1:]...)
	bound.Dir, bound.Env = cmd.Dir, cmd.Env
	bound.Cancel = func() error { return bound.Process.Signal(syscall.SIGTERM) }
	bound.WaitDelay = stopGrace
	stdout, stderr := &tail{max: maxResults}, &tail{max: maxOutput}
	bound.Stdout, bound.Stderr = stdout, stderr
	err := bound.Run()
	name := strings.Join(cmd.Args[:min(2, len(cmd.Args))], " ")
	switch {
	case ctx.Err() != nil && err != nil:
		return nil, fmt.Errorf("%s: %w (at most %v)\n%s", name, context.Cause(ctx), timeout, stderr)
	case err != nil:
		return nil, fmt.Errorf("%s: %w\n%s%s", name, err, stderr, lastLines(stdout))
	case stdout.cut():
		return nil, fmt.Errorf("%s: wrote more than %d bytes", name, maxResults)
	}
	return stdout.Bytes(), nil
}

// lastLines is the end of what a failed command wrote to standard output.
func lastLines(t *tail) []byte {
	b := t.Bytes()
	return b[max(0, len(b)-2048):]
}

// server is a process that listens until it is stopped. Owner: the goroutine
// that started it.
type server struct {
	name    string
	address string // host:port
	cmd     *exec.Cmd
	output  tail
	exited  chan struct{} // closed once the process has been waited for
	err     error         // of the wait; valid once exited is closed
}

// start starts a server and waits, within readyTimeout, until a line of its
// output says its address.
func start(name string, cmd *exec.Cmd, addressIn func(line string) string) (*server, error) {
	s := &server{name: name, cmd: cmd, output: tail{max: maxOutput}, exited: make(chan struct{})}
	found := make(chan string, 1)
	w := &watcher{to: &s.output, addressIn: addressIn, found: found}
	cmd.Stdout, cmd.Stderr = w, w
	cmd.WaitDelay = stopGrace
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	go func() { // ends with the process
		defer close(s.exited)
		s.err = cmd.Wait()
	}()
	timeout := time.NewTimer(readyTimeout)
	defer timeout.Stop()
	select {
	case s.address = <-found:
		return s, nil
	case <-s.exited:
		return nil, fmt.Errorf("%s ended before it listened: %w\n%s", name, s.err, s.output.String())
	case <-timeout.C:
		return nil, errors.Join(fmt.Errorf("%s did not listen within %v:\n%s", name, readyTimeout, s.output.String()), s.stop())
	}
}

// stop ends the process: SIGTERM, and SIGKILL after stopGrace. It returns an
// error where the process had ended by itself.
func (s *server) stop() error {
	select {
	case <-s.exited:
		return fmt.Errorf("%s ended by itself: %w\n%s", s.name, s.err, s.output.String())
	default:
	}
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	timeout := time.NewTimer(stopGrace)
	defer timeout.Stop()
	select {
	case <-s.exited:
	case <-timeout.C:
		_ = s.cmd.Process.Kill()
		<-s.exited // after a SIGKILL, and with WaitDelay, it comes
	}
	return nil
}

// watcher passes on a process's output and finds its address in it. The os/exec
// package writes to it from one goroutine, since it is both stdout and stderr.
type watcher struct {
	to        io.Writer
	addressIn func(line string) string
	found     chan<- string // nil once found
	line      []byte        // the line begun
}

func (w *watcher) Write(p []byte) (int, error) {
	_, _ = w.to.Write(p)
	if w.found == nil {
		return len(p), nil
	}
	w.line = append(w.line, p...)
	for {
		line, rest, complete := bytes.Cut(w.line, []byte("\n"))
		if !complete {
			return len(p), nil
		}
		w.line = rest
		if address := w.addressIn(string(line)); address != "" {
			w.found <- address
			w.found, w.line = nil, nil
			return len(p), nil
		}
	}
}

// originAddress finds the address in what the suite's origin says.
func originAddress(line string) string {
	url, ok := strings.CutPrefix(line, "Listening on http://")
	if !ok {
		return ""
	}
	return strings.TrimSuffix(url, "/")
}

// edgeAddress finds the address in edge's log.
func edgeAddress(line string) string {
	var entry struct{ Msg, Address string }
	if json.Unmarshal([]byte(line), &entry) != nil || entry.Msg != "listening" {
		return ""
	}
	return entry.Address
}

// tail keeps the first max bytes written to it and counts the rest.
type tail struct {
	mu   sync.Mutex
	buf  bytes.Buffer
	max  int
	over bool
}

// Write keeps what fits and claims everything.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	room := max(0, t.max-t.buf.Len())
	t.buf.Write(p[:min(room, len(p))])
	t.over = t.over || len(p) > room
	return len(p), nil
}

// Bytes returns what was kept.
func (t *tail) Bytes() []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	return bytes.Clone(t.buf.Bytes())
}

// String returns what was kept.
func (t *tail) String() string { return string(t.Bytes()) }

// cut reports whether something was not kept.
func (t *tail) cut() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.over
}
