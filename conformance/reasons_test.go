package main

import (
	"maps"
	"strings"
	"testing"
)

func TestReasons(t *testing.T) {
	r, err := parseReasons("# comment\n\na\nb\n  why\n  so\n\n" + packageSection + "\n\na\n  other\n")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := r.of(false), map[string]string{"a": "why so", "b": "why so"}; !maps.Equal(got, want) {
		t.Errorf("newer suites: %v", got)
	}
	if got, want := r.of(true), map[string]string{"a": "other", "b": "why so"}; !maps.Equal(got, want) {
		t.Errorf("the package: %v", got)
	}
	for _, text := range []string{"a\n", "a\n\n  why\n", "  why\n", "a\n  why\nb\n  why\n", "a\n  why\n\na\n  why\n",
		"a b\n  why\n", "[other 1.0]\n"} {
		if _, err := parseReasons(text); err == nil {
			t.Errorf("%q: no error", text)
		}
	}
}

// TestReasonsSayMore holds the list itself to its form: a reason quotes a
// standard, states a policy, or explains an answer.
func TestReasonsSayMore(t *testing.T) {
	r, err := parseReasons(reasonsText)
	if err != nil {
		t.Fatal(err)
	}
	for _, list := range []map[string]string{r.everywhere, r.inPackage} {
		for id, why := range list {
			grounded := strings.Contains(why, "RFC 9") || strings.Contains(why, "Policy: ") || strings.Contains(why, "Content-Range") ||
				strings.HasPrefix(why, yes.answer()) || strings.HasPrefix(why, no.answer())
			if !grounded || !strings.HasSuffix(strings.Trim(why, `")`), ".") {
				t.Errorf("%s: neither a standard nor a policy, or no sentence: %s", id, why)
			}
		}
	}
}
