package statemachine

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"edge/message"
)

var update = flag.Bool("update", false, "rewrite docs/statemachine.md")

// The drawing is output: docs/statemachine.md is rendered from the table.
func TestDiagram(t *testing.T) {
	const file = "../../docs/statemachine.md"
	want := document()
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	have, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(have) != want {
		t.Errorf("%s is stale: run go test ./cache/statemachine -run TestDiagram -update", file)
	}
}

// document is the whole of docs/statemachine.md.
func document() string {
	var b strings.Builder
	b.WriteString(`# The life of a request

What happens to one request in the cache is decided by a state machine,
` + "`cache/statemachine`" + `: the comment at the top of ` + "`machine.go`" + ` tells the story, and its
table of transitions is drawn here. This file is rendered from the table by
` + "`go test ./cache/statemachine -run TestDiagram -update`" + `; do not edit it.

An edge is labelled with the outcomes that lead along it and the action that
follows. Every edge back to Fetching or Locking is bounded: see
` + "`TestEveryPathEnds`" + `.

` + "```mermaid\n" + Diagram() + "```\n\n")
	b.WriteString("| state | outcome | next | action | permit | where it is written |\n|---|---|---|---|---|---|\n")
	for _, r := range transitions {
		fmt.Fprintf(&b, "| %v | %v | %v | %v | %s | %s |\n", r.from, r.outcome, r.to, r.action, permitNames[r.permit], r.ref)
	}
	return b.String()
}

// Every state but Done has a way out, and Done can be reached from it.
func TestEveryStateReachesDone(t *testing.T) {
	reaches := map[State]bool{Done: true}
	for range numStates {
		for _, r := range transitions {
			reaches[r.from] = reaches[r.from] || reaches[r.to]
		}
	}
	for s := range numStates {
		if !reaches[s] {
			t.Errorf("%v cannot reach Done", s)
		}
		if s.String() == "" {
			t.Errorf("state %d has no name", s)
		}
	}
	for _, r := range transitions {
		if (r.to == Done) != (r.action == ActDone) {
			t.Errorf("%v on %v goes to %v with action %v", r.from, r.outcome, r.to, r.action)
		}
		if r.from == Done {
			t.Errorf("Done is left on %v", r.outcome)
		}
	}
}

// unreachable lists the outcomes that a classifier shared by several states
// never returns in some of them, with the reason. The walk of TestEveryPathEnds
// would panic if it were not so.
var unreachable = map[State]map[Outcome]string{
	Relaying: {isUnreadable: "there is no store to read from"},
	Failing:  {isUnreadable: "there is no store to read from"},
}

// A state's rows are the outcomes that its classifier can return, no more and
// no less.
func TestOutcomesAreRows(t *testing.T) {
	src := parseSource(t)
	returned := src.outcomesByState(t)
	for s := range Done {
		rows := make(map[Outcome]bool)
		for _, r := range transitions {
			if r.from == s {
				rows[r.outcome] = true
			}
		}
		for o := range returned[s] {
			if unreachable[s][o] == "" && !rows[o] {
				t.Errorf("%v: the classifier can return %q, and there is no row", s, o)
			}
		}
		for o := range rows {
			if !returned[s][o] {
				t.Errorf("%v: there is a row for %q, which no classifier returns", s, o)
			}
		}
	}
}

// source is the package's own text.
type source struct {
	funcs    map[string]*ast.FuncDecl
	states   map[string]State
	outcomes map[string]Outcome
}

func parseSource(t *testing.T) *source {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	src := &source{funcs: make(map[string]*ast.FuncDecl), states: make(map[string]State), outcomes: make(map[string]Outcome)}
	fset := token.NewFileSet()
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(fset, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				src.funcs[d.Name.Name] = d
			case *ast.GenDecl:
				constants(d, "State", src.states)
				constants(d, "Outcome", src.outcomes)
			}
		}
	}
	if len(src.states) != int(numStates)+1 || len(src.outcomes) != int(numOutcomes)+1 {
		t.Fatalf("found %d states and %d outcomes in the source", len(src.states), len(src.outcomes))
	}
	return src
}

// constants collects the names of an iota block of the given type.
func constants[T ~uint8](d *ast.GenDecl, typeName string, into map[string]T) {
	if d.Tok != token.CONST || len(d.Specs) == 0 {
		return
	}
	first, ok := d.Specs[0].(*ast.ValueSpec).Type.(*ast.Ident)
	if !ok || first.Name != typeName {
		return
	}
	for i, spec := range d.Specs {
		into[spec.(*ast.ValueSpec).Names[0].Name] = T(i)
	}
}

// outcomesByState reads classify's cases, each for one state or a span of
// them, and what starts a machine.
func (src *source) outcomesByState(t *testing.T) map[State]map[Outcome]bool {
	t.Helper()
	by := make(map[State]map[Outcome]bool)
	add := func(s State, o map[Outcome]bool) {
		if by[s] == nil {
			by[s] = make(map[Outcome]bool)
		}
		for x := range o {
			by[s][x] = true
		}
	}
	add(Received, src.returns("classifyRequest"))
	add(Received, src.mentioned(src.funcs["StartRefresh"].Body, nil))
	ast.Inspect(src.funcs["classify"].Body, func(n ast.Node) bool {
		c, ok := n.(*ast.CaseClause)
		if !ok {
			return true
		}
		from, to := src.span(c)
		for s := from; s <= to; s++ {
			for _, stmt := range c.Body {
				add(s, src.mentioned(stmt, nil))
			}
		}
		return false
	})
	return by
}

// span reads "m.state == X" or "m.state >= X && m.state <= Y".
func (src *source) span(c *ast.CaseClause) (from, to State) {
	for _, cond := range c.List {
		ast.Inspect(cond, func(n ast.Node) bool {
			b, ok := n.(*ast.BinaryExpr)
			if !ok {
				return true
			}
			name, ok := b.Y.(*ast.Ident)
			if !ok {
				return true
			}
			s, ok := src.states[name.Name]
			if !ok {
				return true
			}
			switch b.Op {
			case token.EQL:
				from, to = s, s
			case token.GEQ:
				from = s
			case token.LEQ:
				to = s
			}
			return true
		})
	}
	return from, to
}

func (src *source) returns(fn string) map[Outcome]bool {
	return src.mentioned(src.funcs[fn].Body, map[string]bool{fn: true})
}

// mentioned collects the outcomes named in n, and in whatever functions it
// calls that return an Outcome.
func (src *source) mentioned(n ast.Node, seen map[string]bool) map[Outcome]bool {
	if seen == nil {
		seen = make(map[string]bool)
	}
	all := make(map[Outcome]bool)
	ast.Inspect(n, func(n ast.Node) bool {
		id, ok := n.(*ast.Ident)
		if !ok {
			return true
		}
		if o, ok := src.outcomes[id.Name]; ok {
			all[o] = true
		}
		if f := src.funcs[id.Name]; f != nil && !seen[id.Name] && returnsOutcome(f) {
			seen[id.Name] = true
			for o := range src.mentioned(f.Body, seen) {
				all[o] = true
			}
		}
		return true
	})
	return all
}

func returnsOutcome(f *ast.FuncDecl) bool {
	return f.Type.Results != nil && slices.ContainsFunc(f.Type.Results.List, func(r *ast.Field) bool {
		id, ok := r.Type.(*ast.Ident)
		return ok && id.Name == "Outcome"
	})
}

// A hit costs the machine no allocation: nor do the stored response's
// conditions and ranges, nor Cache-Status.
func TestHitDoesNotAllocate(t *testing.T) {
	policy := DefaultPolicy()
	now := Instant(1e18)
	for _, vary := range []bool{false, true} {
		s := storedFor(vary, now)
		req := &message.Request{Method: message.MethodGet, Scheme: "http", Authority: []byte("example.com"),
			Target: []byte("/a"), PathLen: 2, Version: message.HTTP11}
		req.Fields.AddString("Host", "example.com")
		req.Fields.AddString("Accept-Encoding", "gzip, br")
		req.Fields.AddString("Cache-Control", "max-age=0")
		candidates := []*message.Stored{s}
		var m HTTPCache
		buf := make([]byte, 0, 256)
		n := testing.AllocsPerRun(100, func() {
			a := m.Start(policy, req, now)
			a = m.Step(Event{Kind: EventFound, Candidates: candidates}, now)
			if a.Kind != ActServe || a.Reason != ReasonHit {
				t.Fatalf("%v for %v, not a hit", a.Kind, a.Reason)
			}
			_ = Select(req, a.Stored, 5)
			buf = m.Decision().AppendCacheStatus(buf[:0], []byte("edge"), now)
			a = m.Step(Event{Kind: EventDelivered}, now)
			if a.Kind != ActDone {
				t.Fatalf("%v after the delivery", a.Kind)
			}
		})
		if n != 0 {
			t.Errorf("a hit allocates %v times (with Vary: %v)", n, vary)
		}
	}
}

// storedFor makes a fresh stored response by way of the machine's own.
func storedFor(vary bool, now Instant) *message.Stored {
	req := &message.Request{Method: message.MethodGet, Scheme: "http", Authority: []byte("example.com"), Target: []byte("/a"), PathLen: 2}
	req.Fields.AddString("Accept-Encoding", "br, gzip")
	resp := &message.Response{Status: 200, Length: 5}
	resp.Fields.AddString("Cache-Control", "max-age=60")
	resp.Fields.AddString("ETag", `"x"`)
	if vary {
		resp.Fields.AddString("Vary", "Accept-Encoding")
	}
	policy := DefaultPolicy()
	d := parseResponseDirectives(&resp.Fields, policy.Targeted)
	return newStored(req, resp, &d, policy, now, now)
}
