package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"
)

// roleVariable makes this test binary play a process: see TestMain.
const roleVariable = "EDGE_CONFORMANCE_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(roleVariable) {
	case "":
		os.Exit(m.Run())
	case "serve": // says its address in two pieces, ends upon SIGTERM
		_, _ = os.Stdout.WriteString("hello\nListening on http://127.")
		time.Sleep(10 * time.Millisecond)
		_, _ = os.Stdout.WriteString("0.0.1:7/\nmore\n")
		time.Sleep(time.Minute)
	case "deaf": // the same, but SIGTERM does not end it
		signal.Ignore(syscall.SIGTERM)
		_, _ = os.Stdout.WriteString("Listening on http://127.0.0.1:7/\n")
		time.Sleep(time.Minute)
	case "fail":
		_, _ = os.Stderr.WriteString("cannot\n")
		os.Exit(3)
	case "crash": // serves, and then ends
		_, _ = os.Stdout.WriteString("Listening on http://127.0.0.1:7/\n")
		time.Sleep(100 * time.Millisecond)
		os.Exit(4)
	case "hang":
		time.Sleep(time.Minute)
	case "talk":
		_, _ = os.Stdout.WriteString("said\n")
	}
	os.Exit(0)
}

// role is this test binary as a process.
func role(name string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), roleVariable+"="+name)
	return cmd
}

func TestServer(t *testing.T) {
	for _, name := range []string{"serve", "deaf"} {
		s, err := start(name, role(name), originAddress)
		if err != nil {
			t.Fatal(err)
		}
		if s.address != "127.0.0.1:7" {
			t.Errorf("%s: address %q", name, s.address)
		}
		if err := s.stop(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := s.cmd.Process.Signal(syscall.Signal(0)); !errors.Is(err, os.ErrProcessDone) {
			t.Errorf("%s: still there: %v", name, err)
		}
	}
}

func TestServerThatFails(t *testing.T) {
	if _, err := start("fail", role("fail"), originAddress); err == nil || !strings.Contains(err.Error(), "cannot") {
		t.Errorf("a server that does not start: %v", err)
	}
	if _, err := start("absent", exec.Command("/nonexistent"), originAddress); err == nil {
		t.Error("a server that is not there starts")
	}
	s, err := start("crash", role("crash"), originAddress)
	if err != nil {
		t.Fatal(err)
	}
	<-s.exited
	if err := s.stop(); err == nil {
		t.Error("that a server ended by itself is not said")
	}
}

func TestOutput(t *testing.T) {
	ctx := context.Background()
	if out, err := output(ctx, time.Minute, role("talk")); err != nil || string(out) != "said\n" {
		t.Errorf("%q, %v", out, err)
	}
	if _, err := output(ctx, time.Minute, role("fail")); err == nil || !strings.Contains(err.Error(), "cannot") {
		t.Errorf("failed: %v", err)
	}
	if _, err := output(ctx, 50*time.Millisecond, role("hang")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("hung: %v", err)
	}
	if _, err := output(ctx, time.Minute, exec.Command("no-such-program")); !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("absent: %v", err)
	}
}

func TestAddresses(t *testing.T) {
	for line, want := range map[string]string{
		`{"level":"INFO","msg":"listening","address":"127.0.0.1:33589"}`:       "127.0.0.1:33589",
		`{"level":"INFO","msg":"admin listening","address":"127.0.0.1:33589"}`: "",
		`msg=listening address=127.0.0.1:1`:                                    "",
	} {
		if got := edgeAddress(line); got != want {
			t.Errorf("%s: %q", line, got)
		}
	}
	if got := originAddress("SERVER WARNING: no"); got != "" {
		t.Errorf("%q", got)
	}
}
