package e2e

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestCacheGetIsWhole: edge cache get shows which ranges of a large thing are held,
// and writes no body of which some is missing or damaged as if it were whole.
func TestCacheGetIsWhole(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789abcdef"), 6<<20/16)
	o := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=600")
		w.Header().Set("ETag", `"v"`)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	}))
	t.Cleanup(o.Close)
	dir := filepath.Join(t.TempDir(), "disk")
	text := config(strings.TrimPrefix(o.URL, "http://"), "cache: {memory: {size: 8MiB}, disk: [{path: \""+dir+"\", size: 128MiB}], flush_interval: 20ms}\n")
	e := start(t, text)
	e.get("/part", "Range: bytes=3000000-3000999")
	if a := e.get("/whole"); !a.is(200, string(content)) {
		t.Fatal(a)
	}
	get := func(target string, args ...string) (code int, out, errs string) {
		t.Helper()
		return e.command("", append([]string{"cache", "get", "http://a.example" + target}, args...)...)
	}
	code, out, errs := get("/part")
	if code != 0 || !strings.Contains(out, "of 6.0 MiB") || !strings.Contains(out, "fresh, partial") || !strings.Contains(out, "  ranges held ") {
		t.Errorf("a part: exit %d, %s%s", code, out, errs)
	}
	if code, out, errs := get("/part", "--body"); code != 1 || out != "" || !strings.Contains(errs, "only parts") {
		t.Errorf("the body of a part: exit %d, %d bytes, %s", code, len(out), errs)
	}
	if code, out, errs := get("/whole", "--body"); code != 0 || out != string(content) {
		t.Errorf("a whole body: exit %d, %d bytes, %s", code, len(out), errs)
	}
	e.flushed()
	e.kill()
	damage(t, dir, content)
	e = start(t, text)
	if code, out, errs := get("/whole", "--body"); code != 1 || len(out) >= len(content) || !strings.HasPrefix(string(content), out) || !strings.Contains(errs, "a.example/whole: ") {
		t.Errorf("a damaged body: exit %d, %d bytes of %d, %s", code, len(out), len(content), errs)
	}
	if a := e.get("/whole"); a.err == nil && !a.is(200, string(content)) {
		t.Errorf("the damaged one, to a client: %v", a)
	}
}

// damage flips a bit of the content in each segment, in the last of it.
func damage(t *testing.T, dir string, content []byte) {
	t.Helper()
	flipped := 0
	for _, name := range segmentsOf(t, dir) {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		run := content[:4<<10] // which no head has
		if at := bytes.LastIndex(b, run); at >= 0 {
			b[at+len(run)/2] ^= 1
			flipped++
		}
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if flipped == 0 {
		t.Fatal("no content was found on the disk")
	}
}
