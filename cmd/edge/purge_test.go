package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// purging runs edge purge against an admin listener, with names on standard input.
func purging(admin, names string, args ...string) (code int, out, errs string) {
	var stdout, stderr bytes.Buffer
	a := &app{stdin: strings.NewReader(names), stdout: &stdout, stderr: &stderr}
	code = a.run(append([]string{"purge", "--admin", admin}, args...))
	return code, stdout.String(), stderr.String()
}

// addressOf is a test server's, as --admin takes it.
func addressOf(url string) string { return strings.TrimPrefix(url, "http://") }

// TestPurgeOfNoNode: only a node's word is taken for a purge. Somebody else's 200, of
// a data listener whose origin has an answer for everything, is not; nor is a redirect
// followed.
func TestPurgeOfNoNode(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"a page":         func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>\nwelcome") },
		"empty JSON":     func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "{}") },
		"JSON":           func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"applied":false,"exact":true}`) },
		"nothing":        func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) },
		"somewhere else": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/x", http.StatusTemporaryRedirect) },
	} {
		var asked atomic.Int64
		node := originOf(t, func(w http.ResponseWriter, r *http.Request) { asked.Add(1); answer(w, r) })
		for _, args := range [][]string{{"all"}, {"all", "--wait"}, {"url", "https://a.example/"}} {
			code, out, errs := purging(addressOf(node.URL), "", args...)
			if code != 1 || out != "" || !strings.Contains(errs, "not a node's admin listener (--admin") {
				t.Errorf("%s, %q: exit %d, %q, %q", name, args, code, out, errs)
			}
		}
		if n := asked.Load(); n != 3 {
			t.Errorf("%s: asked %d times for three purges", name, n)
		}
	}
	page := originOf(t, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, strings.Repeat("<p>\n", 1000), 404) })
	if _, _, errs := purging(addressOf(page.URL), "", "all"); !strings.Contains(errs, "404 Not Found: <p>...\n") || len(errs) > 2*maxSaid {
		t.Errorf("a long page: %q", errs)
	}
}

// TestPurgeThatIsFutile: what the first request shows to be in vain is not tried for
// each of many names.
func TestPurgeThatIsFutile(t *testing.T) {
	names := strings.Repeat("tag\n", 3*purgeBatch)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close() // nobody answers there now
	code, out, errs := purging(closed.Addr().String(), names, "tag")
	want := "tag and 499 more: no node answers at " + closed.Addr().String() + " (--admin says where its admin listener is): dial "
	if code != 1 || out != "" || !strings.HasPrefix(errs, want) || !strings.HasSuffix(errs, "\n1000 more were not sent\n1500 of 1500 failed\n") {
		t.Errorf("no node: exit %d, %q, %q", code, out, errs)
	}
	for _, status := range []int{401, 403} {
		var asked atomic.Int64
		node := originOf(t, func(w http.ResponseWriter, _ *http.Request) {
			asked.Add(1)
			w.WriteHeader(status)
			fmt.Fprint(w, `{"error":"no"}`)
		})
		if code, out, errs := purging(addressOf(node.URL), names, "tag"); code != 1 || out != "" || asked.Load() != 1 || !strings.Contains(errs, "1500 of 1500 failed") {
			t.Errorf("%d: exit %d, asked %d times, %q, %q", status, code, asked.Load(), out, errs)
		}
	}
	// A node that is away for a while in between costs what was sent then only.
	var asked atomic.Int64
	node := originOf(t, func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) == 2 {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		fmt.Fprint(w, `{"applied":true,"exact":true,"matched":1}`)
	})
	if code, out, errs := purging(addressOf(node.URL), names, "tag"); code != 1 || out != "tag: 1000 purged, 2 stored responses matched\n" || !strings.Contains(errs, "500 of 1500 failed") {
		t.Errorf("away for a while: exit %d, %q, %q", code, out, errs)
	}
}

// TestPurgeInterrupted: a process that is interrupted says how far it had come.
func TestPurgeInterrupted(t *testing.T) {
	second := make(chan struct{})
	var asked atomic.Int64
	node := originOf(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // so that the server learns when its client goes
		if asked.Add(1) == 2 {
			close(second)
			<-r.Context().Done()
			return
		}
		fmt.Fprint(w, `{"applied":true,"exact":true,"matched":1}`)
	})
	cmd := command(t, strings.NewReader(strings.Repeat("tag\n", 4*purgeBatch)), "purge", "tag", "--admin", addressOf(node.URL))
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-second:
	case <-time.After(patience):
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	err := cmd.Wait()
	const want = "interrupted: 500 of 2000 were purged, and of what was being sent it is not known\n"
	if cmd.ProcessState.ExitCode() != 1 || errs.String() != want || out.String() != "tag: 500 purged, 1 stored responses matched\n" {
		t.Errorf("%v, %q, %q", err, out.String(), errs.String())
	}
}

// command is edge in a process of its own, with signals that are real, which does not
// outlive the test.
func command(t *testing.T, stdin io.Reader, args ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := &exec.Cmd{Path: exe, Args: append([]string{"edge"}, args...), Stdin: stdin, Env: os.Environ()}
	t.Cleanup(func() {
		if cmd.Process != nil && cmd.ProcessState == nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
	return cmd
}

// TestInterruptedByDefault: commands that do nothing that must be ended with care are
// ended by the signals of the terminal as any program is: while names are read, and
// while a disk is verified.
func TestInterruptedByDefault(t *testing.T) {
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer write.Close()
	// A segment of nothing, in which there is more to read than anybody waits for.
	dir := t.TempDir()
	err = errors.Join(os.WriteFile(filepath.Join(dir, "FORMAT"), []byte("edge disk 1\n"), 0o600),
		os.WriteFile(filepath.Join(dir, "00000001.seg"), nil, 0o600), os.Truncate(filepath.Join(dir, "00000001.seg"), 1<<40))
	if err != nil {
		t.Fatal(err)
	}
	reads := command(t, read, "purge", "tag")
	verifies := command(t, nil, "cache", "verify", dir)
	for _, cmd := range []*exec.Cmd{reads, verifies} {
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
	}
	// More than a pipe holds: whoever has taken that reads names. And whoever has the
	// lock reads the segment.
	if _, err := io.WriteString(write, strings.Repeat("tag\n", 1<<18)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a lock", func() bool {
		_, err := os.Stat(filepath.Join(dir, "LOCK"))
		return err == nil
	})
	for _, cmd := range []*exec.Cmd{reads, verifies} {
		if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		select {
		case err := <-ended:
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGINT {
				t.Errorf("%q: %v", cmd.Args, err)
			}
		case <-time.After(patience):
			_ = cmd.Process.Kill()
			t.Errorf("%q does not end: %v", cmd.Args, <-ended)
		}
	}
	_ = read.Close()
}

// TestTokenFiles: a token that cannot be one is found here, not at the node.
func TestTokenFiles(t *testing.T) {
	for text, want := range map[string]string{
		"":                               " is empty\n",
		" \n":                            " is empty\n",
		"deploy purge sha256:00\n":       ": a token is one word of ASCII, and this is not\n",
		"one\ntwo\n":                     ": a token is one word of ASCII, and this is not\n",
		"sch\u00fcssel":                  ": a token is one word of ASCII, and this is not\n",
		strings.Repeat("a", 64) + "\r\n": "",
	} {
		_, err := (&adminFlags{tokenFile: file(t, text)}).token()
		if got := fmt.Sprintln(err); want == "" && err != nil || !strings.HasSuffix(got, want) {
			t.Errorf("%q: %v", text, err)
		}
	}
	t.Setenv(tokenVariable, "a b")
	if _, err := new(adminFlags).token(); err == nil || !strings.HasPrefix(err.Error(), tokenVariable+": ") {
		t.Errorf("in the environment: %v", err)
	}
	if token, err := (&adminFlags{tokenFile: file(t, "secret\n")}).token(); token != "secret" || err != nil {
		t.Errorf("the file rules: %q, %v", token, err)
	}
	t.Setenv(tokenVariable, "")
	if token, err := new(adminFlags).token(); token != "" || err != nil {
		t.Errorf("none: %q, %v", token, err)
	}
}

// TestListInterrupted: a list that nobody answers can be ended, and says so.
func TestListInterrupted(t *testing.T) {
	asked := make(chan struct{})
	node := originOf(t, func(_ http.ResponseWriter, r *http.Request) {
		close(asked)
		<-r.Context().Done()
	})
	var errs bytes.Buffer
	cmd := command(t, nil, "cache", "ls", "--admin", addressOf(node.URL))
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-asked:
	case <-time.After(patience):
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 1 || errs.String() != "interrupted\n" {
		t.Errorf("%v, %q", err, errs.String())
	}
}
