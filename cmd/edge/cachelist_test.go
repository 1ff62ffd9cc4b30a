package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"edge/admin"
)

// TestListsThatBreakOff: a list without its end, and a body that is cut, are never
// passed off as whole.
func TestListsThatBreakOff(t *testing.T) {
	const line = `{"url":"http://a/","size":1,"held":1,"state":"fresh","status":200}`
	for _, c := range []struct {
		name, path string
		answer     func(w http.ResponseWriter)
		args       []string
		code       int
		out, errs  string
	}{
		{"an end", "/cache/entries", func(w http.ResponseWriter) {
			fmt.Fprintf(w, "\n%s\n\n{\"end\":true,\"listed\":1,\"more\":false}\n", line)
		},
			[]string{"ls", "--json"}, 0, line + "\n", ""},
		{"no end", "/cache/entries", func(w http.ResponseWriter) { fmt.Fprintln(w, line) }, []string{"ls", "--json"}, 1, line + "\n", "the list broke off"},
		{"cut", "/cache/entries", func(w http.ResponseWriter) { cut(w, line+"\n") }, []string{"ls", "--json"}, 1, line + "\n", "the list broke off"},
		{"nonsense", "/cache/entries", func(w http.ResponseWriter) { fmt.Fprintln(w, "nonsense") }, []string{"ls", "--json"}, 1, "", "not understood"},
		{"no end of one", "/cache/entry", func(w http.ResponseWriter) { fmt.Fprintln(w, line) }, []string{"get", "http://a/", "--json"}, 1, line + "\n", "broke off"},
		{"a whole body", "/cache/body", func(w http.ResponseWriter) { fmt.Fprint(w, "body") }, []string{"get", "http://a/", "--body"}, 0, "body", ""},
		{"a cut body", "/cache/body", func(w http.ResponseWriter) { cut(w, "bo") }, []string{"get", "http://a/", "--body"}, 1, "bo", "not the whole body: after 2 bytes"},
		{"no node's list", "/cache/entries", func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprintln(w, line)
		}, []string{"ls"}, 1, "", "not a node's admin listener (--admin says where that is): it answers with \"text/html\""},
		{"no node's body", "/cache/body", func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprint(w, "welcome")
		}, []string{"get", "http://a/", "--body"}, 1, "", "http://a/: what answers there is not a node's"},
		{"a busy node", "/cache/body", func(w http.ResponseWriter) { http.Error(w, `{"error":"busy"}`, 503) }, []string{"get", "http://a/", "--body"}, 1, "", "503 Service Unavailable: busy"},
	} {
		node := originOf(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != c.path {
				t.Errorf("%s: asks for %s", c.name, r.URL)
			}
			w.Header().Set("Content-Type", admin.ListType)
			if c.path == "/cache/body" {
				w.Header().Set("Content-Type", admin.BodyType)
			}
			c.answer(w)
		})
		var out, errs bytes.Buffer
		a := &app{stdout: &out, stderr: &errs}
		code := a.run(append(append([]string{"cache"}, c.args...), "--admin", strings.TrimPrefix(node.URL, "http://")))
		if code != c.code || out.String() != c.out || !strings.Contains(errs.String(), c.errs) || c.errs == "" && errs.Len() > 0 {
			t.Errorf("%s: exit %d, %q, %q; want %d, %q, %q", c.name, code, out.String(), errs.String(), c.code, c.out, c.errs)
		}
	}
}

// cut sends the beginning of something longer.
func cut(w http.ResponseWriter, beginning string) {
	w.Header().Set("Content-Length", "1000")
	_, _ = w.Write([]byte(beginning)) // it ends here anyway
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

// TestStoredInWords: what a person reads.
func TestStoredInWords(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1 << 10: "1.0 KiB", 1536: "1.5 KiB", 4 << 30: "4.0 GiB", 1 << 62: "4.0 EiB"} {
		if got := bytesText(n); got != want {
			t.Errorf("%d bytes: %s, want %s", n, got, want)
		}
	}
	for s, want := range map[float64]string{0: "0s", 59.9: "59s", -61: "-1m01s", 3600: "1h00m", 90000: "1d01h", 366 * 86400: "1y01d"} {
		if got := span(s); got != want {
			t.Errorf("%v s: %s, want %s", s, got, want)
		}
	}
	for want, s := range map[string]admin.Stored{"1 B": {Size: 1, Held: 1}, "1 B of 2.0 KiB": {Size: 2048, Held: 1}, "1 B so far": {Size: -1, Held: 1}, "-": {State: "uncacheable"}} {
		if got := bodySize(&s); got != want {
			t.Errorf("%+v: %s, want %s", s, got, want)
		}
	}
	if got := statusText(&admin.Stored{State: "uncacheable"}) + statusText(&admin.Stored{State: "stale", Status: 404}); got != "-404" {
		t.Errorf("statuses: %s", got)
	}
	if got := printable("a\x1b[31m\u009b\xffb\u00e9"); got != "a\ufffd[31m\ufffd\ufffdb\u00e9" {
		t.Errorf("a terminal would be told %q", got)
	}
	if got := rangesText([][2]int64{{0, 10}, {20, 21}}); got != "0-9, 20-20" {
		t.Error(got)
	}
}

// TestListingMany: as many as there are, all of them, over several batches of the
// node's pace.
func TestListingMany(t *testing.T) {
	const n = 2500
	origin := originOf(t, fresh(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Surrogate-Key", "n"+r.URL.Path[len(r.URL.Path)-1:])
	}))
	p := launch(t, "run", "-c", file(t, simple(origin.URL, "")))
	by := &http.Transport{}
	for i := range n {
		getBy(t, by, fmt.Sprintf("%s/%d", p.url(0), i))
	}
	by.CloseIdleConnections()
	for query, want := range map[string]int{"": n, "--tag=n7": n / 10, "--limit=100": 100} {
		var out, errs bytes.Buffer
		a := &app{stdout: &out, stderr: &errs}
		args := []string{"cache", "ls", "--json", "--admin", strings.TrimPrefix(p.adminURL(), "http://")}
		if query != "" {
			args = append(args, query)
		}
		if code := a.run(args); code != 0 {
			t.Fatalf("exit %d: %s", code, errs.String())
		}
		seen := map[string]bool{}
		for line := range strings.Lines(out.String()) {
			var s admin.Stored
			if err := json.Unmarshal([]byte(line), &s); err != nil {
				t.Fatal(err)
			}
			seen[s.URL] = true
		}
		if len(seen) != want {
			t.Errorf("%q lists %d, want %d", query, len(seen), want)
		}
	}
}

// terminal opens a pseudo-terminal: what is written to tty is read from screen.
func terminal(t *testing.T) (screen, tty *os.File) {
	t.Helper()
	screen, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(screen.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(screen.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = errors.Join(screen.Close(), tty.Close()) }) // one of them may be closed
	return screen, tty
}

// TestPurgeProgress: where there are many names, a terminal is shown how far it is,
// and nothing of that stays on it; the exit status tells of any that failed.
func TestPurgeProgress(t *testing.T) {
	origin := originOf(t, fresh(numbered()))
	p := launch(t, "run", "-c", file(t, simple(origin.URL, "")))
	screen, tty := terminal(t)
	var names strings.Builder
	for i := range 3 * purgeBatch {
		fmt.Fprintf(&names, "tag-%d\n", i)
	}
	var out bytes.Buffer
	a := &app{stdin: strings.NewReader(names.String() + strings.Repeat("x", 2000)), stdout: &out, stderr: tty}
	code := a.run([]string{"purge", "tag", "--admin", strings.TrimPrefix(p.adminURL(), "http://")})
	if want := fmt.Sprintf("tag: %d purged, 0 stored responses matched\n", 3*purgeBatch); code != 1 || out.String() != want {
		t.Errorf("exit %d, %q; want 1, %q", code, out.String(), want)
	}
	if err := screen.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Logf("the screen has no deadline: %v", err) // what was written is there already
	}
	var shown []byte
	for buf := make([]byte, 4096); !bytes.Contains(shown, []byte("1 of 1501 failed")); {
		n, err := screen.Read(buf)
		if shown = append(shown, buf[:n]...); err != nil {
			t.Fatalf("%q: %v", shown, err)
		}
	}
	for _, part := range []string{"\r[#########.....................] 500 of 1501", "1500 of 1501", "\r[##############################] 1501 of 1501", "at most 1024"} {
		if !bytes.Contains(shown, []byte(part)) {
			t.Errorf("%q is not on the screen:\n%q", part, shown)
		}
	}
}
