package h1

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"edge/message"
)

// fixture is one case of the corpus: raw bytes and whether llhttp, in strict
// mode, reports an error for them.
type fixture struct {
	name, kind, raw string
	errors          string // llhttp's reason, "" where it accepts
}

// llhttpExceptions are the fixtures that llhttp refuses and we accept, each
// with the reason.
var llhttpExceptions = map[string]string{
	"request/connection.md: No restart when keep-alive is off (1.0)":            dataAfterClose,
	"response/connection.md: HTTP/1.1 with keep-alive disabled and 204 status":  dataAfterClose,
	"response/connection.md: HTTP/1.1 with keep-alive disabled, content-length": dataAfterClose,
	"request/invalid.md: HTTP protocol and ANNOUNCE method":                     anyMethod,
	"request/invalid.md: Invalid method":                                        anyMethod,
}

const (
	dataAfterClose = "what follows a message that ends the connection is never read as a message: the message stands and the connection is closed (RFC 9112 sections 6.3 and 9.6)"
	anyMethod      = "any token is a method (RFC 9110 section 9.1); which of them to serve is not the codec's to decide"
)

const skipWithoutFixtures = "no shared/corpora/llhttp beside the project: the llhttp fixtures were not run"

// TestWhereLlhttpRefusesSoDoWe holds us to the fixtures of nodejs/llhttp, which
// lie beside the project and not in it.
func TestWhereLlhttpRefusesSoDoWe(t *testing.T) {
	dir := findCorpus()
	if dir == "" {
		t.Skip(skipWithoutFixtures)
	}
	var refused, accepted, stricter int
	used := map[string]bool{}
	for _, x := range loadFixtures(t, dir) {
		f, why := judgeFixture(x)
		switch {
		case x.errors != "" && f:
			refused++
		case x.errors != "":
			accepted++
			used[x.name] = true
			if llhttpExceptions[x.name] == "" {
				t.Errorf("%s: llhttp says %q, we accept\n%q", x.name, x.errors, x.raw)
			}
		case f:
			stricter++
			t.Logf("stricter: %s: %s", x.name, why)
		}
	}
	for name := range llhttpExceptions {
		if !used[name] {
			t.Errorf("%s is listed as an exception and is none", name)
		}
	}
	t.Logf("refused by both: %d; by llhttp alone: %d; by us alone: %d", refused, accepted, stricter)
	if refused < 40 {
		t.Errorf("only %d fixtures refused by both: was the corpus read right?", refused)
	}
}

func findCorpus() string {
	dir, err := os.Getwd()
	for err == nil && dir != "/" {
		if c := filepath.Join(dir, "shared", "corpora", "llhttp"); isDir(c) {
			return c
		}
		dir = filepath.Dir(dir)
	}
	return ""
}

func isDir(path string) bool {
	fi, err := os.Stat(path)
	return err == nil && fi.IsDir()
}

var (
	fixtureTitle = regexp.MustCompile(`(?m)^#+ (.*)$`)
	fixtureMeta  = regexp.MustCompile(`<!-- meta=\{ ?"type": ?"(request|response)"( ?|, *"(noScan|skipBody)": true ?)\} -->`)
	fixtureBlock = regexp.MustCompile("(?s)```http\n(.*?)```\n+```log\n(.*?)```")
	fixtureError = regexp.MustCompile(`error code=(\d+) reason="([^"]*)"`)
	fixtureOctet = regexp.MustCompile(`\\(r|n|t|f|x[0-9a-fA-F]{2}|[0-7]{1,3})`)
)

// loadFixtures reads the corpus: in an http block every line ends in CRLF
// unless escaped, and escapes stand for octets. Fixtures of lenient modes and
// of pausing are left out; so are llhttp's notes that parsing paused.
func loadFixtures(t *testing.T, dir string) []fixture {
	var all []fixture
	files, err := filepath.Glob(filepath.Join(dir, "re*", "*.md"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no fixtures in %s: %v", dir, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		check(t, err)
		s := string(text)
		metas := fixtureMeta.FindAllStringSubmatchIndex(s, -1)
		for _, m := range metas {
			titles := fixtureTitle.FindAllStringSubmatch(s[:m[0]], -1)
			title := titles[len(titles)-1][1]
			b := fixtureBlock.FindStringSubmatch(s[m[1]:])
			if b == nil {
				continue
			}
			x := fixture{kind: s[m[2]:m[3]], raw: fixtureBytes(b[1])}
			if !strings.Contains(x.raw, "\r\n\r\n") && strings.HasSuffix(x.raw, "\r\n") {
				x.raw += "\r\n" // a head cut short: its end makes the verdict
			}
			x.name = fmt.Sprintf("%s/%s: %s", x.kind, filepath.Base(file), title)
			if e := fixtureError.FindStringSubmatch(b[2]); e != nil && e[1] != "22" && e[1] != "23" {
				x.errors = e[2]
			}
			all = append(all, x)
		}
	}
	return all
}

func fixtureBytes(s string) string {
	s = strings.TrimSuffix(s, "\n")
	s = strings.ReplaceAll(s, "\\\n", "")
	s = strings.ReplaceAll(s, "\n", "\r\n")
	return fixtureOctet.ReplaceAllStringFunc(s, func(esc string) string {
		switch c := esc[1]; c {
		case 'r':
			return "\r"
		case 'n':
			return "\n"
		case 't':
			return "\t"
		case 'f':
			return "\f"
		case 'x':
			n, _ := strconv.ParseUint(esc[2:], 16, 8)
			return string([]byte{byte(n)})
		}
		n, _ := strconv.ParseUint(esc[1:], 8, 16)
		return string([]byte{byte(n)})
	})
}

// judgeFixture reports whether we refuse anything in the fixture. A request
// without Host gets one, since llhttp does not ask for it and a refusal for
// that would hide the one in question.
func judgeFixture(x fixture) (refused bool, why string) {
	if x.kind == "response" {
		for _, step := range []int{1, len(x.raw) + 1} {
			v, _ := judgeResponse("GET", true, x.raw, step, &ClientOptions{})
			if v.status > 0 {
				return true, v.String()
			}
		}
		return false, ""
	}
	raw := x.raw
	if i := strings.Index(raw, "\r\n"); i > 0 && !strings.Contains(strings.ToLower(raw), "\r\nhost:") {
		raw = raw[:i+2] + "Host: x\r\n" + raw[i+2:]
	}
	c := NewServerConn(&pieceConn{data: []byte(raw), step: len(raw) + 1}, &ServerOptions{DefaultHost: "x"})
	var req message.Request
	for {
		err := c.ReadRequest(&req)
		if err == nil {
			_, err = readAll(c.ReadBody)
		}
		if e, ok := err.(*Error); ok {
			return true, e.Error()
		}
		if err != nil {
			return false, ""
		}
		c.SendHead(&message.Outgoing{Status: 200})
		if c.Finish(nil) != nil || !c.Persist() {
			return false, ""
		}
	}
}
