package houserules

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// module is the module's path.
const module = "edge"

// importRule forbids imports to rooms, with the reason. Test files are exempt
// unless the rule says otherwise: a test may know more than what it tests.
type importRule struct {
	rooms  []string
	except []string // rooms within rooms that the rule leaves out
	// only lists everything the rooms may import; nil means anything but
	// what forbid names. A pattern ending in "/..." means it and all below.
	only   []string
	forbid []string
	reason string
}

// siblings know nothing of each other.
var siblings = []string{"cache/storage", "cache/lock", "pool", "lb", "purge", "wire/*"}

var importRules = []importRule{
	{
		rooms: []string{"cache/statemachine"},
		only: []string{"edge/message", "edge/message/...",
			"bytes", "cmp", "encoding/binary", "errors", "fmt", "iter", "maps", "math", "math/bits",
			"slices", "sort", "strconv", "strings", "time", "unicode/utf8"},
		reason: "the machine is pure: no I/O, no goroutine, no lock, no logger; now is an argument (time is there to write and read dates; TestClock watches it)",
	},
	{
		rooms:  []string{"message"},
		forbid: []string{"edge/...", "net", "net/...", "os", "os/...", "sync", "sync/...", "log", "log/..."},
		except: []string{"message/sf"},
		reason: "the nouns know nobody and do nothing",
	},
	{
		rooms:  []string{"."},
		except: []string{"admin", "bench", "cmd/edge", "internal"},
		forbid: []string{"net/http", "net/http/...", "net/http/httputil"},
		reason: "the data path is our own: net/http is for the admin side, the demo's origin, bench and tests",
	},
	{
		rooms:  []string{"."},
		except: []string{"cmd/edge"},
		forbid: []string{"edge/cmd/...", "edge/bench/...", "github.com/spf13/..."},
		reason: "only the command knows everybody, and nobody knows the command",
	},
	{
		rooms:  siblings,
		forbid: []string{"edge/proxy/...", "edge/server/...", "edge/admin/...", "edge/config/..."},
		reason: "a room below the proxy knows neither who uses it nor the file it was configured by: it takes its options as values",
	},
	{
		rooms:  []string{"."},
		except: []string{"internal"},
		forbid: []string{"edge/internal/memconn/...", "edge/internal/transcript/...", "testing", "testing/...", "pgregory.net/...",
			"github.com/google/go-cmp/...", "github.com/rogpeppe/..."},
		reason: "test helpers do not belong in the binary",
	},
	{
		rooms:  []string{"conformance"},
		forbid: []string{"edge/..."},
		reason: "it judges the binary from outside, between a client and an origin that are not ours",
	},
	{
		rooms:  []string{"."},
		forbid: []string{"unsafe"},
		except: []string{"bench", "cache/storage", "message", "wire"},
		reason: "unsafe is for system calls and slabs, where a comment beside it says why it holds",
	},
}

// homes says which rooms may import a dependency: one room a dependency
// keeps it replaceable.
var homes = map[string][]string{
	"github.com/dgraph-io/ristretto/v2":   {"cache/storage"},
	"go.etcd.io/bbolt":                    {"cache/storage"},
	"golang.org/x/net/http2":              {"wire/h2"},
	"golang.org/x/net/http2/hpack":        {"wire/h2"},
	"github.com/prometheus/client_golang": {"admin", "server", "proxy", "cmd/edge"},
	"github.com/prometheus/client_model":  {"admin"},
	"gopkg.in/yaml.v3":                    {"config"},
	"github.com/dunglas/httpsfv":          {"message/sf"},
	"github.com/cespare/xxhash/v2":        {"cache/storage", "lb", "purge"},
	"github.com/spf13/cobra":              {"cmd/edge"},
	"github.com/coreos/go-systemd/v22":    {"server", "cmd/edge"},
	"github.com/pires/go-proxyproto":      {"server"},
	"github.com/KimMachineGun/automemlimit": {
		"server", "cmd/edge"},
	"github.com/klauspost/compress": {"proxy", "wire"},
	"github.com/andybalholm/brotli": {"proxy", "wire"},
	"golang.org/x/time":             {"proxy", "server", "lb"},
	"golang.org/x/sys":              {"bench", "cache/storage", "cmd/edge", "internal", "pool", "proxy", "purge", "server", "wire"},
}

// testOnly are dependencies of tests; any test may import them.
var testOnly = []string{"github.com/google/go-cmp", "github.com/rogpeppe/go-internal", "pgregory.net/rapid",
	"github.com/chromedp/chromedp", "github.com/chromedp/cdproto"}

// suites are directories of conformance suites and helpers that only tests
// import, though their files are not named _test.go.
func isSuite(dir string) bool {
	return strings.HasSuffix(dir, "test") || under(dir, "internal", "testdata")
}

func TestImports(t *testing.T) {
	var findings []string
	for _, s := range goFiles(t) {
		findings = append(findings, checkImports(s)...)
	}
	report(t, findings)
}

func TestImportsSeesViolations(t *testing.T) {
	for _, c := range []struct {
		file, imports string
		want          int
	}{
		{"cache/statemachine/a.go", `"sync"`, 1},
		{"cache/statemachine/a.go", `"edge/proxy"`, 1},
		{"cache/statemachine/a.go", `"edge/message/sf"; "strings"`, 0},
		{"cache/statemachine/a_test.go", `"sync"`, 0},
		{"message/a.go", `"edge/config"`, 1},
		{"proxy/a.go", `"net/http"`, 1},
		{"proxy/a_test.go", `"net/http"`, 0},
		{"admin/a.go", `"net/http"`, 0},
		{"cache/lock/a.go", `"edge/cache/storage"`, 1},
		{"purge/a.go", `"edge/cache/storage"`, 0},
		{"purge/a.go", `"edge/cache/lock"`, 1},
		{"cache/storage/storagetest/a.go", `"edge/cache/storage"; "testing"`, 0},
		{"cache/storage/a.go", `"edge/cache/storage/disk"`, 0},
		{"wire/h1/a.go", `"edge/wire/h2"`, 1},
		{"pool/a.go", `"edge/proxy"`, 1},
		{"proxy/a.go", `"edge/internal/memconn"`, 1},
		{"lb/a.go", `"edge/config"`, 1},
		{"proxy/a.go", `"gopkg.in/yaml.v3"`, 1},
		{"config/a.go", `"gopkg.in/yaml.v3"`, 0},
		{"config/a.go", `"github.com/unheard/of"`, 1},
		{"config/a_test.go", `"pgregory.net/rapid"`, 0},
		{"conformance/a.go", `"edge/config"`, 1},
		{"lb/a.go", `"unsafe"`, 1},
	} {
		s := newSource(c.file, []byte("package p\nimport ("+c.imports+")\n"))
		wantFindings(t, c.file+" imports "+c.imports, checkImports(s), c.want)
	}
}

func checkImports(s *source) []string {
	var findings []string
	for _, spec := range s.ast.Imports {
		name, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue // the parser has said so
		}
		for _, why := range forbidden(s, name) {
			findings = append(findings, fmt.Sprintf("%s: %s may not import %s: %s", s.at(spec.Pos()), s.dir(), name, why))
		}
	}
	return findings
}

// forbidden returns the reasons why s may not import name.
func forbidden(s *source, name string) []string {
	var reasons []string
	if strings.Contains(strings.Split(name, "/")[0], ".") {
		if why := foreign(s, name); why != "" {
			reasons = append(reasons, why)
		}
	}
	if s.isTest() || isSuite(s.dir()) {
		return reasons
	}
	for _, r := range importRules {
		switch {
		case !slices.Contains(r.rooms, ".") && !under(s.dir(), r.rooms...) || under(s.dir(), r.except...):
		case r.only != nil && !matches(name, r.only), matches(name, r.forbid):
			reasons = append(reasons, r.reason)
		}
	}
	if why := sibling(s, name); why != "" {
		reasons = append(reasons, why)
	}
	return reasons
}

// sibling refuses an import from one sibling room by another.
func sibling(s *source, name string) string {
	to, ours := strings.CutPrefix(name, module+"/")
	if room(s.dir()) == "purge" && to == "cache/storage" {
		return "" // storage.Store and Ledger, the one interface that its provider declares
	}
	if !ours || !under(s.dir(), siblings...) || !under(to, siblings...) || room(s.dir()) == room(to) {
		return ""
	}
	return "sibling rooms do not import each other: declare the interface you need where you use it"
}

// room returns the sibling room that dir lies in: wire/h1 and wire/h2 are two.
func room(dir string) string {
	parts := strings.Split(dir, "/")
	if parts[0] == "wire" || parts[0] == "cache" {
		return strings.Join(parts[:min(2, len(parts))], "/")
	}
	return parts[0]
}

// foreign judges an import from outside the module and the standard library.
func foreign(s *source, name string) string {
	in := func(root string) bool { return name == root || strings.HasPrefix(name, root+"/") }
	if slices.ContainsFunc(testOnly, in) {
		return "" // importRules keep it out of the binary
	}
	known := false
	for root, rooms := range homes {
		if !in(root) {
			continue
		}
		known = true
		if under(s.dir(), rooms...) || s.isTest() || isSuite(s.dir()) {
			return ""
		}
	}
	if known {
		return "this dependency lives in another room (see homes), which is what keeps it replaceable"
	}
	return "a dependency that is not in the list (see homes) needs a reason in docs/decisions"
}

// matches says whether name is one of the patterns.
func matches(name string, patterns []string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		root, below := strings.CutSuffix(p, "/...")
		return name == root || below && strings.HasPrefix(name, root+"/")
	})
}

// TestRulesNameRoomsAsSpelt keeps the lists from rotting: a misspelt room would
// make a rule about nothing.
func TestRulesNameRoomsAsSpelt(t *testing.T) {
	planned := []string{"accesslog", "admin", "bench", "cache/lock", "cache/statemachine", "cache/storage", "cmd/edge", "config", "conformance",
		"internal", "lb", "message", "message/sf", "pool", "proxy", "purge", "server", "testdata", "wire", "wire/*", "wire/h2", "."}
	check := func(where string, rooms []string) {
		for _, r := range rooms {
			if !slices.Contains(planned, r) {
				t.Errorf("%s names %q, which is no room of this house", where, r)
			}
		}
	}
	for _, r := range importRules {
		check(r.reason, append(slices.Clone(r.rooms), r.except...))
		if r.reason == "" || r.only != nil && r.forbid != nil {
			t.Errorf("rule for %v: needs a reason, and either only or forbid", r.rooms)
		}
	}
	for dep, rooms := range homes {
		check(dep, rooms)
	}
	var findings []string
	for dir, files := range packages(goFiles(t)) {
		if !slices.ContainsFunc(planned, func(r string) bool { return r != "." && under(dir, r) }) {
			findings = append(findings, fmt.Sprintf("%s: a new room: say in TestRulesNameRoomsAsSpelt that it exists and in importRules what it may import", files[0].path))
		}
	}
	report(t, findings)
}
