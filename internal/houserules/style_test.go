package houserules

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/format"
	"go/token"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// maxLines is the ratchet: a function, from func to its closing brace, fits a
// screen. In test files a table is data, and its lines do not count; and a
// subtest (the function given to Run, Fuzz or synctest.Test) is a function of
// its own.
const maxLines = 70

// longFunctions are the exceptions, each with its length now and its reason.
// A function in this list may get shorter; once under maxLines, its line goes.
var longFunctions = map[string]struct {
	lines  int
	reason string
}{}

func TestFunctionLength(t *testing.T) {
	var findings []string
	seen := map[string]bool{}
	for _, s := range goFiles(t) {
		for name, n := range functionLengths(s) {
			exception, listed := longFunctions[name]
			seen[name] = true
			switch {
			case listed && n <= maxLines:
				findings = append(findings, fmt.Sprintf("%s has %d lines now: take it off longFunctions", name, n))
			case listed && n > exception.lines:
				findings = append(findings, fmt.Sprintf("%s grew from %d to %d lines", name, exception.lines, n))
			case !listed && n > maxLines:
				findings = append(findings, fmt.Sprintf("%s has %d lines, more than %d: split it by concept", name, n, maxLines))
			}
		}
	}
	for name, e := range longFunctions {
		if !seen[name] || e.reason == "" {
			findings = append(findings, name+" in longFunctions: no such function, or no reason")
		}
	}
	report(t, findings)
}

// functionLengths returns lines by "path:Receiver.name".
func functionLengths(s *source) map[string]int {
	lengths := map[string]int{}
	line := func(p token.Pos) int { return s.fset.Position(p).Line }
	for _, d := range s.ast.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || f.Body == nil {
			continue
		}
		name := s.path + ":" + receiver(f) + f.Name.Name
		lengths[name] = line(f.End()) - line(f.Pos()) + 1
		if s.isTest() || isSuite(s.dir()) {
			measureTest(lengths, name, f, f.Body, line)
		}
	}
	return lengths
}

// measureTest sets the length of f, a function of a test, without its tables
// and subtests, and of each subtest.
func measureTest(lengths map[string]int, name string, f ast.Node, body *ast.BlockStmt, line func(token.Pos) int) {
	n := line(f.End()) - line(f.Pos()) + 1 - tableLines(body, line)
	for _, sub := range subtests(body) {
		n -= line(sub.End()) - line(sub.Pos()) - tableLines(sub.Body, line)
		measureTest(lengths, fmt.Sprintf("%s/subtest at line %d", name, line(sub.Pos())), sub, sub.Body, line)
	}
	lengths[name] = n
}

// subtests returns the outermost functions given to Run, Fuzz or Test that
// are not part of a table.
func subtests(body ast.Node) []*ast.FuncLit {
	var list []*ast.FuncLit
	ast.Inspect(body, func(n ast.Node) bool {
		if _, table := n.(*ast.CompositeLit); table {
			return false
		}
		call, ok := n.(*ast.CallExpr)
		if !ok || len(call.Args) == 0 {
			return true
		}
		sel, ok := call.Fun.(*ast.SelectorExpr)
		if !ok || !slices.Contains([]string{"Run", "Fuzz", "Test"}, sel.Sel.Name) {
			return true
		}
		lit, ok := call.Args[len(call.Args)-1].(*ast.FuncLit)
		if ok {
			list = append(list, lit)
		}
		return !ok
	})
	return list
}

// tableLines counts lines inside the outermost composite literals.
func tableLines(body ast.Node, line func(token.Pos) int) int {
	n := 0
	ast.Inspect(body, func(node ast.Node) bool {
		lit, ok := node.(*ast.CompositeLit)
		if ok {
			n += line(lit.End()) - line(lit.Pos())
		}
		return !ok
	})
	return n
}

// receiver returns "Type." for a method.
func receiver(f *ast.FuncDecl) string {
	if f.Recv == nil || len(f.Recv.List) == 0 {
		return ""
	}
	e := f.Recv.List[0].Type
	for {
		switch x := e.(type) {
		case *ast.StarExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.IndexListExpr:
			e = x.X
		case *ast.Ident:
			return x.Name + "."
		default:
			return ""
		}
	}
}

func TestFunctionLengthSeesViolations(t *testing.T) {
	body := strings.Repeat("_ = 1\n", 69)
	s := newSource("pool/a.go", []byte("package p\nfunc (x *T[K]) f() {\n"+body+"}\n"))
	if n := functionLengths(s)["pool/a.go:T.f"]; n != 71 {
		t.Errorf("length = %d, want 71", n)
	}
	table := "var _ = []int{\n" + strings.Repeat("1,\n", 100) + "}\n"
	s = newSource("pool/a_test.go", []byte("package p\nfunc f() {\n"+table+"}\n"))
	if n := functionLengths(s)["pool/a_test.go:f"]; n != 3 {
		t.Errorf("length of a test with a table = %d, want 3", n)
	}
	sub := "t.Run(x, func() {\n" + table + body + "})\n"
	s = newSource("pool/a_test.go", []byte("package p\nfunc f() {\n"+sub+sub+"}\n"))
	got := functionLengths(s)
	if len(got) != 3 || got["pool/a_test.go:f"] != 4 || got["pool/a_test.go:f/subtest at line 3"] != 72 {
		t.Errorf("lengths of a test with two subtests = %v, want 4, 72, 72", got)
	}
}

func TestDocumented(t *testing.T) {
	var findings []string
	for dir, files := range packages(goFiles(t)) {
		findings = append(findings, checkPackageComment(dir, files)...)
		for _, s := range files {
			findings = append(findings, checkDocumented(s)...)
		}
	}
	report(t, findings)
}

func checkPackageComment(dir string, files []*source) []string {
	for _, s := range files {
		if s.ast.Doc != nil || strings.HasSuffix(s.ast.Name.Name, "_test") && len(files) == 1 {
			return nil
		}
	}
	return []string{dir + ": no package comment: say what the room is for"}
}

// checkDocumented wants a comment on every exported name outside tests. A
// constant or variable may share its group's.
func checkDocumented(s *source) []string {
	if s.isTest() {
		return nil
	}
	var findings []string
	missing := func(pos token.Pos, name string) {
		findings = append(findings, fmt.Sprintf("%s: %s is exported and has no doc comment", s.at(pos), name))
	}
	for _, d := range s.ast.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			recv := receiver(d)
			if d.Name.IsExported() && d.Doc == nil && (recv == "" || ast.IsExported(strings.TrimSuffix(recv, "."))) {
				missing(d.Pos(), recv+d.Name.Name)
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				for _, id := range undocumented(d, spec) {
					missing(id.Pos(), id.Name)
				}
			}
		}
	}
	return findings
}

// undocumented returns the exported names of spec that nothing describes.
func undocumented(d *ast.GenDecl, spec ast.Spec) []*ast.Ident {
	var names []*ast.Ident
	switch spec := spec.(type) {
	case *ast.TypeSpec:
		if spec.Doc == nil && (d.Doc == nil || d.Lparen.IsValid()) {
			names = append(names, spec.Name)
		}
	case *ast.ValueSpec:
		if spec.Doc == nil && spec.Comment == nil && d.Doc == nil {
			names = spec.Names
		}
	}
	return slices.DeleteFunc(slices.Clone(names), func(id *ast.Ident) bool { return !id.IsExported() })
}

func TestDocumentedSeesViolations(t *testing.T) {
	src := `package p
func A() {}
// B is documented.
func B() {}
type C int
func (C) D() {}
type e int
func (e) F() {}
const G = 1
const H = 1 // as a trailing comment
// The group.
const (
	I = 1
	J = 2
)
// A group of types does not speak for each.
type (
	K int
)
`
	s := newSource("pool/a.go", []byte(src))
	wantFindings(t, "A, C, C.D, G, K", checkDocumented(s), 5)
	wantFindings(t, "package comment", checkPackageComment("pool", []*source{s}), 1)
}

func TestGofmt(t *testing.T) {
	var findings []string
	for _, s := range goFiles(t) {
		findings = append(findings, checkGofmt(s)...)
	}
	report(t, findings)
	wantFindings(t, "unformatted", checkGofmt(newSource("a.go", []byte("package p\nvar  x int\n"))), 1)
}

func checkGofmt(s *source) []string {
	want, err := format.Source(s.text)
	if err == nil && bytes.Equal(want, s.text) {
		return nil
	}
	return []string{s.path + ": not formatted: gofmt -w " + s.path}
}

// clockRule says which functions of package time a room may not call.
type clockRule struct {
	rooms  []string
	forbid []string
	reason string
}

var timers = []string{"Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}

var clockRules = []clockRule{
	{[]string{"message", "cache/statemachine", "config"}, append([]string{"Now", "Since", "Until"}, timers...),
		"this room is pure: time is an argument"},
	{[]string{"cache/storage", "purge"}, []string{"Now", "Since", "Until"},
		"this room has a Clock: records keep the house's instants, which never go back"},
	{[]string{"wire"}, timers,
		"a codec waits for bytes only, under the deadline its connection has"},
	{[]string{"proxy", "lb", "pool", "server", "admin"}, []string{"Sleep", "Tick", "After"},
		"a wait that cannot be ended: use a timer in a select with the context"},
}

// clockExceptions are files that clockRules leave out, each with its reason.
var clockExceptions = map[string]string{
	"cache/storage/memory.go": "makes the Clock a store has where its options name none",
}

func TestClock(t *testing.T) {
	var findings []string
	for name, reason := range clockExceptions {
		if _, err := os.Stat("../../" + name); err != nil || reason == "" {
			findings = append(findings, name+" in clockExceptions: no such file, or no reason")
		}
	}
	for _, s := range goFiles(t) {
		findings = append(findings, checkClock(s)...)
	}
	report(t, findings)
	src := "package p\nimport \"time\"\nvar now = time.Now\nfunc f() { time.Sleep(1) }\n"
	wantFindings(t, "the machine reads a clock", checkClock(newSource("cache/statemachine/a.go", []byte(src))), 2)
	wantFindings(t, "the store reads a clock", checkClock(newSource("cache/storage/a.go", []byte(src))), 1)
	wantFindings(t, "a test may", checkClock(newSource("cache/storage/a_test.go", []byte(src))), 0)
	wantFindings(t, "pool sleeps", checkClock(newSource("pool/a.go", []byte(src))), 1)
}

func checkClock(s *source) []string {
	if s.isTest() || isSuite(s.dir()) || clockExceptions[s.path] != "" {
		return nil
	}
	var findings []string
	for _, r := range clockRules {
		if !under(s.dir(), r.rooms...) {
			continue
		}
		ast.Inspect(s.ast, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok && isIdent(sel.X, "time") && slices.Contains(r.forbid, sel.Sel.Name) {
				findings = append(findings, fmt.Sprintf("%s: time.%s: %s", s.at(sel.Pos()), sel.Sel.Name, r.reason))
			}
			return true
		})
	}
	return findings
}

func isIdent(e ast.Expr, name string) bool {
	id, ok := e.(*ast.Ident)
	return ok && id.Name == name
}

// TestSkips: a skipped test hides what it would have found. One may be
// skipped only for a reason that has a name: Skip(skipWithoutX), where
// skipWithoutX is a constant that says what is missing. A fuzz target may pass
// over an input that is not about what it tests.
func TestSkips(t *testing.T) {
	var findings []string
	for _, s := range goFiles(t) {
		findings = append(findings, checkSkips(s)...)
	}
	report(t, findings)
	src := "package p\nfunc f(t T) { t.Skip(); t.SkipNow(); t.Skip(\"flaky\"); t.Skipf(\"x\"); t.Skip(skipWithoutLoopback) }\n"
	wantFindings(t, "four of five", checkSkips(newSource("a_test.go", []byte(src))), 4)
}

func checkSkips(s *source) []string {
	var findings []string
	ast.Inspect(s.ast, func(n ast.Node) bool {
		if f, ok := n.(*ast.FuncDecl); ok && s.isTest() && strings.HasPrefix(f.Name.Name, "Fuzz") {
			return false
		}
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		sel, ok := call.Fun.(*ast.SelectorExpr)
		if !ok || !slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, sel.Sel.Name) || !isTestingValue(sel.X) {
			return true
		}
		if len(call.Args) == 1 && sel.Sel.Name == "Skip" {
			if id, ok := call.Args[0].(*ast.Ident); ok && strings.HasPrefix(id.Name, "skip") {
				return true
			}
		}
		findings = append(findings, s.at(call.Pos())+": a test that is skipped without a named reason: Skip(skipWithoutX), a constant")
		return true
	})
	return findings
}

// isTestingValue goes by the names everyone gives them.
func isTestingValue(e ast.Expr) bool {
	return isIdent(e, "t") || isIdent(e, "tb") || isIdent(e, "b") || isIdent(e, "f")
}

// unfinished are the words for what somebody left.
var unfinished = regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X|HA` + `CK)\b`)

func TestNothingIsLeftUnfinished(t *testing.T) {
	var findings []string
	for _, s := range goFiles(t) {
		findings = append(findings, checkUnfinished(s)...)
	}
	report(t, findings)
	wantFindings(t, "a comment", checkUnfinished(newSource("a.go", []byte("package p\n// TO"+"DO: more\n"))), 1)
}

func checkUnfinished(s *source) []string {
	var findings []string
	for _, group := range s.ast.Comments {
		for _, c := range group.List {
			if word := unfinished.FindString(c.Text); word != "" {
				findings = append(findings, fmt.Sprintf("%s: %s: do it, or write down in docs/decisions why not", s.at(c.Pos()), word))
			}
		}
	}
	return findings
}
