package main

import "testing"

// definitions has a chain of dependencies, every kind, and a test for browsers.
const definitions = `[
  {"id": "g", "name": "Group", "tests": [
    {"id": "base", "name": "base"},
    {"id": "on-base", "name": "on base", "kind": "optimal", "depends_on": ["base"]},
    {"id": "on-that", "name": "on that", "kind": "check", "depends_on": ["on-base"]},
    {"id": "browser", "name": "browser", "browser_only": true}
  ]},
  {"id": "h", "name": "Other", "tests": [
    {"id": "asks", "name": "asks|?", "kind": "check"},
    {"id": "lost", "name": "lost", "depends_on": ["browser"]}
  ]}
]`

// judgeJSON judges results in the client's form.
func judgeJSON(t *testing.T, results string) *report {
	t.Helper()
	groups, err := parseTests([]byte(definitions))
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := parseResults([]byte(results))
	if err != nil {
		t.Fatal(err)
	}
	return judge(groups, parsed)
}

// verdictOf finds a test's verdict.
func verdictOf(r *report, id string) verdict {
	for _, g := range r.groups {
		for _, t := range g.tests {
			if t.ID == id {
				return t.verdict
			}
		}
	}
	return "not there"
}

func TestVerdicts(t *testing.T) {
	for _, c := range []struct {
		results, id string
		want        verdict
	}{
		{`{"base": true}`, "base", passed},
		{`{"base": ["Assertion", "no"]}`, "base", failed},
		{`{"base": ["TypeError", "fetch failed"]}`, "base", failed},
		{`{"base": ["Setup", "no"]}`, "base", setupFailed},
		{`{"base": ["Setup", "retry"]}`, "base", retried},
		{`{"base": ["AbortError", "late"]}`, "base", harnessFailed},
		{`{"asks": true}`, "asks", yes},
		{`{"asks": ["Assertion", "no"]}`, "asks", no},
		{`{"asks": ["Setup", "no"]}`, "asks", setupFailed},
		{`{"asks": true}`, "base", untested},
		{`{"base": true, "on-base": true}`, "on-base", passed},
		{`{"base": ["Assertion", "no"], "on-base": true}`, "on-base", dependencyFailed},
		{`{"on-base": true}`, "on-base", dependencyFailed}, // on what has no result
		{`{"base": true, "on-base": true, "on-that": true}`, "on-that", yes},
		{`{"base": ["Assertion", "no"], "on-base": true, "on-that": true}`, "on-that", dependencyFailed},
		{`{"lost": true}`, "lost", dependencyFailed}, // on a test that does not apply
		{`{"browser": true}`, "browser", "not there"},
	} {
		if got := verdictOf(judgeJSON(t, c.results), c.id); got != c.want {
			t.Errorf("%s of %s: %s, want %s", c.id, c.results, got, c.want)
		}
	}
}

func TestDependenciesThatGoInCircles(t *testing.T) {
	groups, err := parseTests([]byte(`[{"tests": [{"id": "a", "depends_on": ["b"]}, {"id": "b", "depends_on": ["a"]}]}]`))
	if err != nil {
		t.Fatal(err)
	}
	r := judge(groups, map[string]result{"a": {ok: true}, "b": {ok: true}})
	if got := verdictOf(r, "a"); got != dependencyFailed {
		t.Errorf("%s", got)
	}
}

func TestWhatIsNoSuite(t *testing.T) {
	for _, definitions := range []string{``, `{}`, `[]`, `[{"tests": [{"name": "no id"}]}]`,
		`[{"tests": [{"id": "x"}]}, {"tests": [{"id": "x"}]}]`, `[{"tests": [{"id": "x", "kind": "new"}]}]`} {
		if _, err := parseTests([]byte(definitions)); err == nil {
			t.Errorf("tests %q: no error", definitions)
		}
	}
	for _, results := range []string{``, `[]`, `{}`, `{"x": false}`, `{"x": []}`, `{"x": [1]}`} {
		if _, err := parseResults([]byte(results)); err == nil {
			t.Errorf("results %q: no error", results)
		}
	}
}
