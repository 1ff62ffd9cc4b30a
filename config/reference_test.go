package config

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestReferenceIsCurrent renders the reference from the struct tree, tags and
// comments, and fails where docs/config-reference.md is not that. With -update
// it writes the page.
func TestReferenceIsCurrent(t *testing.T) {
	const file = "../docs/config-reference.md"
	r := &reference{t: t, comments: readComments(t), done: make(map[reflect.Type]bool)}
	r.out.WriteString(preamble)
	r.block(reflect.TypeFor[Config]())
	got := r.out.String()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("docs/config-reference.md is stale; run go generate ./config (-page +struct):\n%s", diff)
	}
}

const preamble = `# Configuration reference

<!-- Rendered from config/config.go by go generate ./config; do not edit. -->

The configuration is one YAML file, read by ` + "`edge run -c`" + ` and checked by
` + "`edge check -c`" + `. Every error in it is reported at once, as
` + "`file:line:column: key: what is wrong`" + `; a file with errors is not used at all.
There is an example in [edge.example.yaml](edge.example.yaml).

- Unknown keys, keys given twice and keys without a value are errors. So are
  anchors, aliases, merge keys, tags and a second document: every value stands
  where it counts.
- A **duration** is numbers with units: ` + "`500ms`, `30s`, `1h30m`, `7d`" + `. A **size** is
  a whole number of bytes with a unit: ` + "`512B`, `64KiB`, `1GiB`, `10MB`" + `. Only ` + "`0`" + `
  needs no unit.
- ` + "`none`" + `, where a key takes it, means what its row says.
- Relative paths of files are relative to the configuration file.
- A key that is planned but not built yet is refused with its line.

In headings, ` + "`[]`" + ` stands for each element of a list and ` + "`NAME`" + ` for each name.
`

// readComments returns the doc comments of config.go: of structs by their name,
// of fields by Struct.Field.
func readComments(t *testing.T) map[string]string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "config.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	comments := make(map[string]string)
	text := func(group *ast.CommentGroup) string { return strings.Join(strings.Fields(group.Text()), " ") }
	for _, decl := range file.Decls {
		gen, ok := decl.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, spec := range gen.Specs {
			named, ok := spec.(*ast.TypeSpec)
			if !ok {
				continue
			}
			comments[named.Name.Name] = text(gen.Doc)
			if block, ok := named.Type.(*ast.StructType); ok {
				for _, field := range block.Fields.List {
					comments[named.Name.Name+"."+field.Names[0].Name] = text(field.Doc)
				}
			}
		}
	}
	return comments
}

// reference is the page being rendered.
type reference struct {
	t        *testing.T
	out      strings.Builder
	comments map[string]string
	done     map[reflect.Type]bool
}

// block renders a section for t and for every block below it, once each.
func (r *reference) block(t reflect.Type) {
	if r.done[t] {
		return
	}
	r.done[t] = true
	headings := blockPaths(t)
	if len(headings) == 0 {
		fmt.Fprintf(&r.out, "\n## The file\n\n")
	} else {
		fmt.Fprintf(&r.out, "\n## `%s`\n\n%s\n\n", strings.Join(headings, "`, `"), r.sentence(t.Name(), t.Name(), "This block"))
	}
	r.out.WriteString("| Key | Value | Default | Meaning |\n|---|---|---|---|\n")
	for _, k := range schemas[t] {
		field := t.Field(k.index)
		name := k.name
		if k.statuses {
			name = "200 to 599"
		}
		meaning := r.sentence(t.Name()+"."+field.Name, field.Name, "`"+name+"`")
		if k.none != "" {
			meaning += " `none`: " + k.none + "."
		}
		fmt.Fprintf(&r.out, "| `%s` | %s | %s | %s |\n", name, describe(k), describeDefault(k), meaning)
	}
	for _, k := range schemas[t] {
		if below := element0(k.typ); isBlock(below) && k.phase == "" {
			r.block(below)
		}
	}
}

// sentence returns a comment with its subject, a Go name, replaced by subject.
func (r *reference) sentence(comment, goName, subject string) string {
	text := r.comments[comment]
	after, found := strings.CutPrefix(text, goName+" ")
	if !found || !strings.HasSuffix(text, ".") {
		r.t.Errorf("config.go: the comment of %s must begin with its name and be a sentence: %q", comment, text)
	}
	if subject == "This block" && strings.HasPrefix(after, "are ") {
		subject = "These"
	}
	return strings.NewReplacer("|", `\|`, "*", `\*`).Replace(subject + " " + after)
}

// element0 is what lists, maps and pointers of t hold in the end.
func element0(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
		t = t.Elem()
	}
	return t
}

// blockPaths returns the paths at which blocks of type t stand.
func blockPaths(t reflect.Type) []string {
	var paths []string
	var walk func(at reflect.Type, path string)
	walk = func(at reflect.Type, path string) {
		for _, k := range schemas[at] {
			below := element0(k.typ)
			if !isBlock(below) || k.phase != "" {
				continue
			}
			next := child(path, k.name)
			switch k.typ.Kind() {
			case reflect.Slice:
				next += "[]"
			case reflect.Map:
				next += ".NAME"
			}
			if below == t {
				paths = append(paths, next)
			}
			walk(below, next)
		}
	}
	walk(reflect.TypeFor[Config](), "")
	return paths
}

// describe says what a key's value looks like.
func describe(k *key) string {
	if k.phase != "" {
		return "not built yet: " + k.phase
	}
	t := element0(k.typ)
	what := map[reflect.Type]string{
		reflect.TypeFor[time.Duration](): "duration", reflect.TypeFor[Size](): "size",
		reflect.TypeFor[int](): "number", reflect.TypeFor[bool](): "`true` or `false`",
		reflect.TypeFor[string](): "text", reflect.TypeFor[Address](): "address",
		reflect.TypeFor[URL](): "URL", reflect.TypeFor[Prefix](): "IP address or prefix",
		reflect.TypeFor[HostPattern](): "host", reflect.TypeFor[PathPattern](): "path",
		reflect.TypeFor[NamePattern](): "name", reflect.TypeFor[FieldName](): "field name",
	}[t]
	if what == "" {
		what = "block"
	}
	if shape, ok := map[string]string{
		"authority": "host or host:port", "hostname": "host", "file": "file", "node": "name", "token": "cookie name",
	}[k.shape]; ok {
		what = shape
	}
	if k.enum != nil {
		what = "`" + strings.Join(k.enum, "`, `") + "`"
		if k.later != nil {
			what += " (not built yet: `" + strings.Join(k.later, "`, `") + "`)"
		}
	}
	switch {
	case k.minText != "" && k.minText == k.maxText:
		what = "`" + k.minText + "`"
	case k.minText != "" && k.maxText != "":
		what += ", " + k.minText + " to " + k.maxText
	case k.minText != "" && k.minText != "0":
		what += ", at least " + k.minText
	}
	switch k.typ.Kind() {
	case reflect.Slice:
		if t.Kind() == reflect.Struct && isBlock(t) {
			return "list of blocks"
		}
		return "list of " + what
	case reflect.Map:
		if isBlock(t) {
			return "blocks by name"
		}
	}
	return what
}

func describeDefault(k *key) string {
	switch {
	case k.required:
		return "required"
	case k.inherit != "":
		return "as `" + k.inherit + "`"
	case k.preset != "":
		return "`" + k.preset + "`"
	}
	return ""
}
