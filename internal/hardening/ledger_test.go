package hardening

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

const repository = "../.."

// claim is what is promised, and what shows it.
type claim struct {
	line   int
	text   string
	proofs []proof
}

// proof names a test, or one row of its table, or a script.
type proof struct {
	line            int
	dir, test, name string // test is "script" for a script
}

var proofLine = regexp.MustCompile(`^  (\S+) (Test\w+|script)(?:: (.+))?$`)

// parse reads a ledger.
func parse(text string) ([]*claim, error) {
	var claims []*claim
	for i, line := range strings.Split(text, "\n") {
		m := proofLine.FindStringSubmatch(line)
		switch {
		case line == "" || line[0] == '#' || strings.HasPrefix(line, "== "):
		case m != nil && len(claims) > 0:
			c := claims[len(claims)-1]
			c.proofs = append(c.proofs, proof{i + 1, m[1], m[2], m[3]})
		case line[0] != ' ' && strings.HasSuffix(line, "."):
			claims = append(claims, &claim{line: i + 1, text: line})
		default:
			return nil, fmt.Errorf("line %d is neither a claim, which ends with a full stop, nor a proof: %q", i+1, line)
		}
	}
	return claims, nil
}

// source is the tests of a directory.
type source struct {
	tests   map[string]bool
	strings map[string]bool // every string literal
}

// load parses the test files of a directory.
func load(dir string) (*source, error) {
	s := &source{map[string]bool{}, map[string]bool{}}
	files, err := filepath.Glob(filepath.Join(repository, dir, "*_test.go"))
	if err != nil {
		return nil, err
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		if err := s.add(name, text); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *source) add(name string, text []byte) error {
	f, err := parser.ParseFile(token.NewFileSet(), name, text, parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			if n.Recv == nil && isTest(n) {
				s.tests[n.Name.Name] = true
			}
		case *ast.BasicLit:
			if v, err := strconv.Unquote(n.Value); n.Kind == token.STRING && err == nil {
				s.strings[v] = true
			}
		}
		return true
	})
	return nil
}

// isTest reports whether f is func TestX(t *testing.T).
func isTest(f *ast.FuncDecl) bool {
	return strings.HasPrefix(f.Name.Name, "Test") && len(f.Type.Params.List) == 1
}

// judge says what is wrong with a ledger; sources gives the tests of a
// directory, script whether there is one of a name.
func judge(claims []*claim, sources func(dir string) (*source, error), script func(dir, name string) bool) []string {
	var findings []string
	finding := func(line int, format string, args ...any) {
		findings = append(findings, fmt.Sprintf("LEDGER:%d: ", line)+fmt.Sprintf(format, args...))
	}
	seen := map[string]int{}
	for _, c := range claims {
		if len(c.proofs) == 0 {
			finding(c.line, "nothing shows it: %s", c.text)
		}
		if at := seen[c.text]; at > 0 {
			finding(c.line, "claimed already in line %d", at)
		}
		seen[c.text] = c.line
		for _, p := range c.proofs {
			if p.test == "script" {
				if !script(p.dir, p.name) {
					finding(p.line, "%s has no script %q", p.dir, p.name)
				}
				continue
			}
			s, err := sources(p.dir)
			switch {
			case err != nil:
				finding(p.line, "%v", err)
			case !s.tests[p.test]:
				finding(p.line, "%s has no test %s", p.dir, p.test)
			case p.name != "" && !s.strings[p.name]:
				finding(p.line, "the tests of %s have no row %q", p.dir, p.name)
			}
		}
	}
	return findings
}

func TestLedger(t *testing.T) {
	text, err := os.ReadFile(repository + "/testdata/hardening/LEDGER")
	if err != nil {
		t.Fatal(err)
	}
	claims, err := parse(string(text))
	if err != nil {
		t.Fatal(err)
	}
	if len(claims) < 75 {
		t.Errorf("%d claims, there were more", len(claims))
	}
	loaded := map[string]*source{}
	sources := func(dir string) (*source, error) {
		if loaded[dir] == nil {
			s, err := load(dir)
			if err != nil {
				return nil, err
			}
			loaded[dir] = s
		}
		return loaded[dir], nil
	}
	script := func(dir, name string) bool {
		_, err := os.Stat(filepath.Join(repository, dir, "testdata/script", name+".txtar"))
		return err == nil
	}
	for _, f := range judge(claims, sources, script) {
		t.Error(f)
	}
}

func TestLedgerSeesViolations(t *testing.T) {
	s := &source{map[string]bool{}, map[string]bool{}}
	if err := s.add("a_test.go", []byte("package p\nfunc TestA(t *testing.T) { _ = \"row\" }\nfunc TestHelper() {}\nfunc (x) TestB(t *testing.T) {}\n")); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]int{
		"A.\n  p TestA\n":              0,
		"A.\n  p TestA: row\n":         0,
		"A.\n  p script: s\n":          0,
		"A.\n":                         1,
		"A.\nB.\n  p TestA\n":          1,
		"A.\n  p TestA\nA.\n  p TestA": 1,
		"A.\n  p TestB\n":              1,
		"A.\n  p TestHelper\n":         1,
		"A.\n  p TestA: other row\n":   1,
		"A.\n  p script: other\n":      1,
	} {
		claims, err := parse(text)
		if err != nil {
			t.Fatal(err)
		}
		got := judge(claims, func(string) (*source, error) { return s, nil }, func(_, name string) bool { return name == "s" })
		if len(got) != want {
			t.Errorf("%q: %v, want %d findings", text, got, want)
		}
	}
	for _, text := range []string{"no full stop\n", "  p TestA\n", "A.\n  p Helper\n", "A.\n p TestA\n"} {
		if _, err := parse(text); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}
