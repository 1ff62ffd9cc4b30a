package houserules

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/constant"
	"go/importer"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A house enum is a named integer or string type of this module with at
// least two constants in its own package. A switch over one names every
// constant; or has a default that panics, or whose comment says why the rest
// may share it. So a value that is added is a finding in every switch that
// has not heard of it. A switch with one case and no default is not an
// enumeration but a question: is it one of these?

// counted is a constant that counts the others and is no value itself.
func counted(name string) bool {
	return strings.HasPrefix(name, "num") || strings.HasPrefix(name, "max") || strings.HasSuffix(name, "Count") || name == "_"
}

// openSets are types whose constants are a list of what is known, not of all
// there is, each with its reason.
var openSets = map[string]string{
	"edge/message.FieldID": "an index of known field names: a switch picks the few it is about",
}

// checkSwitches type-checks one package and judges its switches. Type errors
// are for the compiler to report; what could be typed is checked.
func checkSwitches(pkg string, files []*source, imp types.Importer) []string {
	info := &types.Info{Types: map[ast.Expr]types.TypeAndValue{}}
	conf := types.Config{Importer: imp, Error: func(error) {}, FakeImportC: true}
	fset := token.NewFileSet()
	var findings []string
	var parsed []*ast.File
	at := map[*ast.File]*source{}
	for _, s := range files {
		s = &source{path: s.path, text: s.text, fset: fset} // one file set a package
		s.parse()
		parsed = append(parsed, s.ast)
		at[s.ast] = s
	}
	_, _ = conf.Check(pkg, fset, parsed, info)
	for _, f := range parsed {
		ast.Inspect(f, func(n ast.Node) bool {
			if sw, ok := n.(*ast.SwitchStmt); ok && sw.Tag != nil {
				if missing := missingCases(sw, info); len(missing) > 0 && !excused(sw, f) {
					findings = append(findings, fmt.Sprintf("%s: switch over %v misses %s (name them, or give default a panic or a comment that says why)",
						at[f].at(sw.Pos()), info.TypeOf(sw.Tag), strings.Join(missing, ", ")))
				}
			}
			return true
		})
	}
	return findings
}

// missingCases returns the constants of the tag's type that no case names;
// none if the type is no house enum.
func missingCases(sw *ast.SwitchStmt, info *types.Info) []string {
	if len(sw.Body.List) == 1 && sw.Body.List[0].(*ast.CaseClause).List != nil {
		return nil
	}
	named, ok := types.Unalias(info.TypeOf(sw.Tag)).(*types.Named)
	if !ok || named.Obj().Pkg() == nil || !matches(named.Obj().Pkg().Path(), []string{module + "/..."}) || openSets[named.String()] != "" {
		return nil
	}
	basic, ok := named.Underlying().(*types.Basic)
	if !ok || basic.Info()&(types.IsInteger|types.IsString) == 0 {
		return nil
	}
	have := map[string]bool{}
	for _, c := range sw.Body.List {
		for _, e := range c.(*ast.CaseClause).List {
			v := info.Types[e].Value
			if v == nil {
				return nil // a case that is computed: no enumeration
			}
			have[v.ExactString()] = true
		}
	}
	scope := named.Obj().Pkg().Scope()
	var missing []string
	values := 0
	for _, name := range scope.Names() {
		c, ok := scope.Lookup(name).(*types.Const)
		if !ok || !types.Identical(c.Type(), named) || counted(name) || c.Val().Kind() == constant.Unknown {
			continue
		}
		values++
		if !have[c.Val().ExactString()] {
			missing = append(missing, name)
		}
	}
	if values < 2 {
		return nil
	}
	return missing
}

// excused says whether the switch has a default that panics or is commented.
func excused(sw *ast.SwitchStmt, f *ast.File) bool {
	for i, stmt := range sw.Body.List {
		clause := stmt.(*ast.CaseClause)
		if clause.List != nil {
			continue
		}
		end := sw.Body.Rbrace
		if i+1 < len(sw.Body.List) {
			end = sw.Body.List[i+1].Pos()
		}
		for _, group := range f.Comments {
			if group.Pos() >= clause.Pos() && group.End() <= end {
				return true
			}
		}
		return slices.ContainsFunc(clause.Body, isPanic)
	}
	return false
}

func isPanic(s ast.Stmt) bool {
	e, ok := s.(*ast.ExprStmt)
	if !ok {
		return false
	}
	call, ok := e.X.(*ast.CallExpr)
	return ok && isIdent(call.Fun, "panic")
}

// listed is what `go list` says of a package.
type listed struct {
	ImportPath, Dir, Export string
	GoFiles                 []string
	Module                  *struct{ Path string }
}

// listPackages asks the go command for the packages of the module and the
// compiled export data of all they import. Packages that do not compile have
// none; what imports them is then checked as far as it can be typed.
func listPackages(t *testing.T) []listed {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-export", "-deps", "-json=ImportPath,Dir,Export,GoFiles,Module", "./...")
	cmd.Dir = "../.."
	cmd.Env = os.Environ()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, &stderr)
	}
	var list []listed
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return list
		} else if err != nil {
			t.Fatalf("go list: %v", err)
		}
		list = append(list, p)
	}
}

func TestSwitchesAreExhaustive(t *testing.T) {
	list := listPackages(t)
	exports := map[string]string{}
	for _, p := range list {
		exports[p.ImportPath] = p.Export
	}
	imp := importer.ForCompiler(token.NewFileSet(), "gc", func(name string) (io.ReadCloser, error) {
		if exports[name] == "" {
			return nil, fmt.Errorf("no export data for %s", name)
		}
		return os.Open(exports[name])
	})
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	var findings []string
	for _, p := range list {
		if p.Module == nil || p.Module.Path != module {
			continue
		}
		var files []*source
		for _, name := range p.GoFiles {
			rel, _ := filepath.Rel(root, filepath.Join(p.Dir, name))
			text, err := os.ReadFile(filepath.Join(p.Dir, name))
			if err != nil {
				t.Fatal(err)
			}
			if s := newSource(filepath.ToSlash(rel), text); s.ast != nil {
				files = append(files, s)
			}
		}
		findings = append(findings, checkSwitches(p.ImportPath, files, imp)...)
	}
	report(t, findings)
}

func TestSwitchesSeesViolations(t *testing.T) {
	const enum = `package p
type E uint8
const (
	A E = iota
	B
	C
	numE
)
`
	for body, want := range map[string]int{
		"case A, B:\ncase C:":                               0,
		"case A, B:":                                        0,
		"case A:\ncase B:":                                  1,
		"case A:\ndefault:":                                 1,
		"case A:\ndefault:\n\tx = 2":                        1,
		"case A:\ndefault:\n\tpanic(x)":                     0,
		"case A:\ndefault:\n\t// B and C end here as well.": 0,
		"case A:\n// A comment on a case excuses nothing.\ncase B:": 1,
		"default: // all of them, since this counts them\n\tx++":    0,
	} {
		src := enum + "func f(x E) {\n\tswitch x {\n" + body + "\n\t}\n}\n"
		s := newSource("p/a.go", []byte(src))
		if s.ast == nil {
			t.Fatalf("%q: %v", body, s.err)
		}
		wantFindings(t, body, checkSwitches("edge/p", []*source{s}, nil), want)
	}
}
