package houserules

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"
)

// source is one file of the tree.
type source struct {
	path string // slash-separated, from the root of the module
	text []byte
	fset *token.FileSet
	ast  *ast.File // nil unless it is a Go file that parses
	err  error     // why not
}

// dir returns the directory the file is in, which is its room.
func (s *source) dir() string { return path.Dir(s.path) }

// isTest says whether the file is compiled into tests only.
func (s *source) isTest() bool { return strings.HasSuffix(s.path, "_test.go") }

// at names a place for a finding.
func (s *source) at(pos token.Pos) string {
	return fmt.Sprintf("%s:%d", s.path, s.fset.Position(pos).Line)
}

// skippedDirs are directories that are not part of the tree.
var skippedDirs = []string{".git", "bin", "node_modules"}

// maxFile bounds what is read of the tree: what is larger is data.
const maxFile = 2 << 20

var loadTree = sync.OnceValues(func() ([]*source, error) {
	root, err := filepath.Abs("../..")
	if err != nil {
		return nil, err
	}
	var list []*source
	err = filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		switch {
		case os.IsNotExist(err): // it went while we walked
			return nil
		case err != nil:
			return err
		case d.IsDir() && slices.Contains(skippedDirs, d.Name()):
			return filepath.SkipDir
		case !d.Type().IsRegular():
			return nil
		}
		if info, err := d.Info(); err != nil || info.Size() > maxFile {
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil || !utf8.Valid(text) {
			return nil
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		list = append(list, newSource(filepath.ToSlash(rel), text))
		return nil
	})
	return list, err
})

func newSource(name string, text []byte) *source {
	s := &source{path: name, text: text, fset: token.NewFileSet()}
	if strings.HasSuffix(name, ".go") {
		s.parse()
	}
	return s
}

// parse fills ast, or err.
func (s *source) parse() {
	s.ast, s.err = parser.ParseFile(s.fset, s.path, s.text, parser.ParseComments|parser.SkipObjectResolution)
	if s.err != nil {
		s.ast = nil
	}
}

// tree returns every text file of the module.
func tree(t *testing.T) []*source {
	t.Helper()
	list, err := loadTree()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(list, func(s *source) bool { return s.path == "go.mod" }) {
		t.Fatal("the root of the module is not where this test looks for it")
	}
	return list
}

// goFiles returns the Go files of the tree. One that does not parse is a
// finding, but of one test only.
func goFiles(t *testing.T) []*source {
	t.Helper()
	var list []*source
	for _, s := range tree(t) {
		if s.ast != nil {
			list = append(list, s)
		}
	}
	return list
}

// packages groups Go files by directory.
func packages(list []*source) map[string][]*source {
	m := map[string][]*source{}
	for _, s := range list {
		m[s.dir()] = append(m[s.dir()], s)
	}
	return m
}

// report fails the test with the findings, sorted.
func report(t *testing.T, findings []string) {
	t.Helper()
	slices.Sort(findings)
	for _, f := range slices.Compact(findings) {
		t.Error(f)
	}
}

// under says whether dir is one of the rooms or within one. "wire/*" means
// every room below wire.
func under(dir string, rooms ...string) bool {
	for _, room := range rooms {
		room, below := strings.CutSuffix(room, "/*")
		if strings.HasPrefix(dir, room+"/") || !below && dir == room {
			return true
		}
	}
	return false
}

// wantFindings shows a rule source and compares how many findings it has.
func wantFindings(t *testing.T, what string, got []string, want int) {
	t.Helper()
	if len(got) != want {
		t.Errorf("%s: %d findings, want %d: %q", what, len(got), want, got)
	}
}

func TestEveryGoFileParses(t *testing.T) {
	for _, s := range tree(t) {
		if s.err != nil {
			t.Errorf("%v", s.err)
		}
	}
	if newSource("bad.go", []byte("package x; func {")).err == nil {
		t.Error("a file that does not parse goes unseen")
	}
}
