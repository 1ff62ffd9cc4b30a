package statemachine

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func elements(value string) []string {
	var all []string
	l := list{rest: []byte(value)}
	for e, ok := l.next(); ok; e, ok = l.next() {
		all = append(all, string(e))
	}
	return all
}

func TestList(t *testing.T) {
	for _, tc := range []struct {
		value string
		want  []string
	}{
		{"", nil},
		{" , ,, ", nil},
		{"a", []string{"a"}},
		{"a,b , c\t,d", []string{"a", "b", "c", "d"}},
		{`a="x, y", b`, []string{`a="x, y"`, "b"}},
		{`a="x\", y", b`, []string{`a="x\", y"`, "b"}},
		{`a="x, b, c`, []string{`a="x`, "b", "c"}}, // an open quote hides nothing
		{`"a,b","c,d`, []string{`"a,b"`, `"c`, "d"}},
		{`a\", b`, []string{`a\"`, "b"}},
	} {
		if d := cmp.Diff(tc.want, elements(tc.value)); d != "" {
			t.Errorf("%q: %s", tc.value, d)
		}
	}
}

// A head full of quotes that never end must cost linear work.
func TestListIsLinear(t *testing.T) {
	value := strings.Repeat(`"\",`, 1<<18)
	begin := time.Now()
	elements(value)
	if took := time.Since(begin); took > 2*time.Second {
		t.Errorf("%d bytes took %v", len(value), took)
	}
}

func TestUnquote(t *testing.T) {
	for q, want := range map[string]string{`""`: "", `"a b"`: "a b", `"a\"b\\"`: `a"b\`} {
		if got := unquote([]byte(q)); string(got) != want {
			t.Errorf("%s: %q, want %q", q, got, want)
		}
	}
}
