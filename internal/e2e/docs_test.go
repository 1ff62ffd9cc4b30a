package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const skipWithoutCurl = "needs bash and curl"

// shBlock is a block of commands in a page.
var shBlock = regexp.MustCompile("(?ms)^```sh\n(.*?)^```")

// named are what commands in the pages name, which a test has under other names.
var (
	shownID     = regexp.MustCompile(`\b5f0c2a9be1d4-1048577\b`)
	shownFollow = regexp.MustCompile(`since=\d+&wait=30s&epoch=[0-9a-f.]+`)
)

// TestCommandsInDocs: every command that the pages on purging and on what is stored
// show works as it stands there, with real curl, but for the node's addresses and
// names that it gave.
func TestCommandsInDocs(t *testing.T) {
	for _, tool := range []string{"bash", "curl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(skipWithoutCurl)
		}
	}
	o := serve(t, func(r *request) bool {
		return r.say("HTTP/1.1 200 OK\nCache-Control: max-age=600\nSurrogate-Key: product-7", "answer")
	})
	e := start(t, "version: 1\nlisteners: [{address: \"127.0.0.1:0\"}]\nadmin: {address: \"127.0.0.1:0\"}\n"+
		"trusted_proxies: [127.0.0.1]\norigins: {app: {endpoints: [{url: \"http://"+o.addr()+"\"}]}}\n"+
		"routes: [{match: {path: /*}, origin: app, purge: {addresses: [127.0.0.1, 10.0.0.0/8]}}]\n")
	dir := t.TempDir()
	for name, content := range map[string]string{"token": "x\n", "tags.txt": "product-7\nproduct-8\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(binary, filepath.Join(dir, "edge")); err != nil {
		t.Fatal(err)
	}
	for _, page := range []string{"cache.md", "purge.md"} {
		text, err := os.ReadFile(filepath.Join("..", "..", "docs", page))
		if err != nil {
			t.Fatal(err)
		}
		blocks := shBlock.FindAllSubmatch(text, -1)
		if len(blocks) < 3 {
			t.Errorf("%s: %d blocks of commands: does this test still see them?", page, len(blocks))
		}
		for _, b := range blocks {
			e.get("/index.html", "Host: www.example.com", "X-Forwarded-Proto: https")
			_, last := e.purge("POST", "/purge", `{"tags":["none"]}`)
			var at struct {
				Epoch string `json:"epoch"`
			}
			if _, text := e.api("GET", "/purges", ""); json.Unmarshal([]byte(text), &at) != nil {
				t.Fatal(text)
			}
			script := shownID.ReplaceAllString(string(b[1]), last.ID)
			script = shownFollow.ReplaceAllString(script, fmt.Sprintf("since=%d&wait=30s&epoch=%s", last.Sequence-1, at.Epoch))
			runShown(t, e, dir, page, script)
		}
	}
}

// runShown runs commands, and wants each to succeed.
func runShown(t *testing.T, e *edge, dir, page, script string) {
	t.Helper()
	script = strings.NewReplacer("127.0.0.1:9901", e.admin, "127.0.0.1:8080", e.addr, "edge purge ", "edge purge --admin "+e.admin+" ",
		"edge cache ", "edge cache_ ").Replace(script)
	script = regexp.MustCompile(`edge cache_ (\w+)`).ReplaceAllString(script, "edge cache $1 --admin "+e.admin)
	cmd := exec.Command("bash", "-euo", "pipefail", "-c", "curl() { command curl -sS --fail --max-time 20 \"$@\"; }\n"+script)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%s: %v\n%s\n%s", page, err, script, out)
	}
}
