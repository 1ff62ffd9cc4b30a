package main

import (
	"encoding/json"
	"errors"
	"fmt"
)

// kind is what a test is about.
type kind string

const (
	required kind = "required" // a requirement of the standard
	optimal  kind = "optimal"  // what a good cache does, and the standard allows
	check    kind = "check"    // a question, answered yes or no: neither is a fault
)

// test is the definition of a test, as far as it matters here.
type test struct {
	ID          string   `json:"id"`
	Name        string   `json:"name"`
	Kind        kind     `json:"kind"`
	DependsOn   []string `json:"depends_on"`
	BrowserOnly bool     `json:"browser_only"`
}

// group is what the suite calls a suite: the tests of one file.
type group struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	Tests []test `json:"tests"`
}

// parseTests reads the definitions and leaves out those that are for browsers
// only: the rest applies to a shared cache.
func parseTests(b []byte) ([]group, error) {
	var groups []group
	if err := json.Unmarshal(b, &groups); err != nil {
		return nil, fmt.Errorf("the suite's tests: %w", err)
	}
	seen := map[string]bool{}
	for i := range groups {
		var tests []test
		for _, t := range groups[i].Tests {
			if t.Kind == "" {
				t.Kind = required
			}
			switch {
			case t.ID == "" || seen[t.ID]:
				return nil, fmt.Errorf("the suite's tests: %q has no id or another's", t.Name)
			case t.Kind != required && t.Kind != optimal && t.Kind != check:
				return nil, fmt.Errorf("the suite's tests: %s is of unknown kind %q", t.ID, t.Kind)
			}
			seen[t.ID] = true
			if !t.BrowserOnly {
				tests = append(tests, t)
			}
		}
		groups[i].Tests = tests
	}
	if len(seen) == 0 {
		return nil, errors.New("the suite has no tests")
	}
	return groups, nil
}

// result is what the client says of one test: JSON true, or the kind of error
// and its message.
type result struct {
	ok           bool
	kind, detail string
}

// Kinds of error that are not failed assertions.
const (
	setupError = "Setup" // a step before the one that is tested went wrong
	abortError = "AbortError"
	retryText  = "retry" // of a setupError: the origin saw one request twice
)

// UnmarshalJSON reads true or [kind, message].
func (r *result) UnmarshalJSON(b []byte) error {
	if string(b) == "true" {
		r.ok = true
		return nil
	}
	var pair []string
	if err := json.Unmarshal(b, &pair); err != nil || len(pair) == 0 {
		return fmt.Errorf("%s is neither true nor an error with its message", b)
	}
	r.kind = pair[0]
	if len(pair) > 1 {
		r.detail = pair[1]
	}
	return nil
}

// parseResults reads what the client printed.
func parseResults(b []byte) (map[string]result, error) {
	var results map[string]result
	if err := json.Unmarshal(b, &results); err != nil {
		return nil, fmt.Errorf("the suite's results: %w", err)
	}
	if len(results) == 0 {
		return nil, errors.New("the suite has no results")
	}
	return results, nil
}

// verdict is what came of a test, in the suite's own distinctions.
type verdict string

const (
	passed           verdict = "pass"
	failed           verdict = "fail"
	yes              verdict = "yes"
	no               verdict = "no"
	setupFailed      verdict = "setup failed"       // the test could not be carried out
	retried          verdict = "retried"            // the cache asked the origin again
	harnessFailed    verdict = "harness failed"     // the client gave up
	dependencyFailed verdict = "dependency failed"  // what it builds on did not pass
	untested         verdict = "without any result" // the client did not come to it
)

// good reports whether what depends on such a test can be judged.
func (v verdict) good() bool { return v == passed || v == yes }

// answer is the verdict as the answer to a question.
func (v verdict) answer() string {
	switch v {
	case yes:
		return "Yes."
	case no:
		return "No."
	case passed, failed, setupFailed, retried, harnessFailed, dependencyFailed, untested:
	}
	return "Not asked."
}

// judged is a test with what came of it.
type judged struct {
	test
	verdict verdict
	detail  string // the client's message, or the dependency; empty when passed
}

// judge gives each test its verdict, as the suite itself does: what a test
// depends on first, then the kind of error, then the kind of test. Results of
// tests that are not among groups are passed over: the package's client also
// runs some of Surrogate-Control, which is no standard, and does not list them.
func judge(groups []group, results map[string]result) *report {
	byID := map[string]test{}
	for _, g := range groups {
		for _, t := range g.Tests {
			byID[t.ID] = t
		}
	}
	r := &report{}
	for _, g := range groups {
		jg := judgedGroup{id: g.ID, name: g.Name}
		for _, t := range g.Tests {
			v, detail := judgeTest(t, byID, results, len(byID))
			jg.tests = append(jg.tests, judged{test: t, verdict: v, detail: detail})
		}
		r.groups = append(r.groups, jg)
	}
	return r
}

// judgeTest judges one test; depth bounds how far dependencies are followed.
func judgeTest(t test, byID map[string]test, results map[string]result, depth int) (verdict, string) {
	res, ran := results[t.ID]
	if !ran {
		return untested, ""
	}
	for _, id := range t.DependsOn {
		on, known := byID[id]
		if !known || depth == 0 {
			return dependencyFailed, id
		}
		if v, _ := judgeTest(on, byID, results, depth-1); !v.good() {
			return dependencyFailed, id
		}
	}
	switch {
	case res.kind == setupError && res.detail == retryText:
		return retried, "the origin saw one request twice"
	case res.kind == setupError:
		return setupFailed, res.detail
	case res.kind == abortError:
		return harnessFailed, res.detail
	case t.Kind == check && res.ok:
		return yes, ""
	case t.Kind == check:
		return no, res.detail
	case res.ok:
		return passed, ""
	}
	return failed, res.detail
}
