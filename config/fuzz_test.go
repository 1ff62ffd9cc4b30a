package config

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// FuzzParse holds Parse to its laws for any input: it never panics, every error
// has a place within the file, and a configuration that is accepted is the same
// when written out and read again.
func FuzzParse(f *testing.F) {
	table, err := os.ReadFile("testdata/errors.txt")
	if err != nil {
		f.Fatal(err)
	}
	for section := range strings.SplitSeq(string(table), "\n=== ") {
		_, rest, _ := strings.Cut(section, "\n")
		text, _, _ := strings.Cut(rest, "---")
		f.Add([]byte(completed(unescape(text))))
	}
	for _, file := range []string{"testdata/design.yaml", "../docs/edge.example.yaml"} {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse("edge.yaml", data)
		if err != nil {
			checkErrors(t, data, err)
			return
		}
		text, err := c.YAML()
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse("edge.yaml", text)
		if err != nil {
			t.Fatalf("its own writing is refused: %v\n%s", err, text)
		}
		if lines := Diff(c, again); lines != nil {
			t.Fatalf("read again it differs:\n%s", strings.Join(lines, "\n"))
		}
		if diff := cmp.Diff(c, again, cmp.Comparer(func(a, b Prefix) bool { return a == b })); diff != "" {
			t.Fatalf("read again it differs (-first +second):\n%s", diff)
		}
	})
}

func checkErrors(t *testing.T, data []byte, err error) {
	t.Helper()
	var all Errors
	if !errors.As(err, &all) || len(all) == 0 {
		t.Fatalf("not Errors: %v", err)
	}
	lines := countLines(data)
	for i, e := range all {
		if e.Line < 1 || e.Line > lines || e.Column < 1 || e.Message == "" {
			t.Errorf("an error without a place in a file of %d lines: %+v", lines, e)
		}
		if strings.ContainsAny(e.Error(), "\n\r") {
			t.Errorf("an error of more than one line: %q", e.Error())
		}
		if i > 0 && all[i-1].Line > e.Line {
			t.Errorf("out of order: %v before %v", all[i-1], e)
		}
	}
}
