package main

import (
	"os"
	"strings"
	"testing"
)

func reported(t *testing.T, results string, reasons map[string]string) *report {
	t.Helper()
	r := judgeJSON(t, results)
	r.suite, r.reasons = "suite 1", reasons
	return r
}

func TestVerdictOnTheRun(t *testing.T) {
	const good = `{"base": true, "on-base": true, "on-that": true, "asks": true, "lost": true}`
	lost := map[string]string{"lost": "Policy: lost."}
	with := func(id, why string) map[string]string { return map[string]string{"lost": lost["lost"], id: why} }
	bad := strings.Replace(good, `"base": true`, `"base": ["Assertion", "no"]`, 1)
	worse := strings.Replace(good, `"on-base": true`, `"on-base": ["Assertion", "no"]`, 1)
	for _, c := range []struct {
		name, results string
		reasons       map[string]string
		ok            bool
		says          string
	}{
		{"all is explained", good, lost, true, ""},
		{"a required test is not passed", bad, lost, false, "required test base is not passed"},
		{"a required test depends on nothing that ran", good, nil, false, "required test lost is not passed"},
		{"it is not passed, for a reason", bad, with("base", "Policy."), true, "open: optimal test on-base"},
		{"it is passed, and has a reason", good, with("base", "Policy."), false, "base is passed"},
		{"an optimal test is not passed", worse, lost, true, "open: optimal test on-base"},
		{"it is not passed, for a reason", worse, with("on-base", "Policy."), true, ""},
		{"an answer is as written down", good, with("asks", "Yes. So."), true, ""},
		{"an answer is not as written down", good, with("asks", "No. So."), false, "the answer to asks"},
		{"an answer to what is no question", bad, with("base", "No. So."), false, "required test base is not passed"},
		{"a reason for a question", good, with("asks", "Policy."), true, ""},
		{"a reason for what this suite has not", good, with("unheard-of", "Policy."), true, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var said strings.Builder
			ok := reported(t, c.results, c.reasons).verdict(&said)
			if ok != c.ok || !strings.Contains(said.String(), c.says) || c.says == "" && said.Len() > 0 {
				t.Errorf("ok %v, says %q", ok, said.String())
			}
		})
	}
}

// TestDocument reads what is written about one run of everything.
func TestDocument(t *testing.T) {
	results := `{"base": true, "on-base": ["Assertion", "body is 01234567-0123-4123-8123456-0123456789ab at Mon, 23 Nov 2026 02:16:45 GMT from 127.0.0.1:34127"],
		"on-that": true, "asks": true, "lost": true}`
	r := reported(t, results, map[string]string{"lost": "Policy: lost.", "asks": "Yes. So."})
	doc := string(r.document())
	for _, want := range []string{
		"| Group | 1/1 | 0/1 | 0/1 |\n| Other | 0/1 | - | 1/1 |\n| **All** | **1/2** | **0/1** (0.0 %) | **1/2** |\n",
		"## Not passed: required\n\nPolicy: lost.\n\n- `lost`: dependency failed: browser\n",
		"## Not passed: optimal\n\n" + noReason + "\n\n- `on-base`: fail: body is UUID at DATE from 127.0.0.1\n",
		"| `on-that` | on that | Not asked. It depends on `on-base`. |\n| `asks` | asks\\|? | Yes. So. |\n",
	} {
		if !strings.Contains(doc, want) {
			t.Errorf("the document lacks\n%s\n\nit is\n%s", want, doc)
		}
	}
	var printed strings.Builder
	if err := r.print(&printed); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"all    1/2       0/1 (0.0 %)  1/2", "required, not passed:\n  lost (dependency failed)", "why: Policy: lost."} {
		if !strings.Contains(printed.String(), want) {
			t.Errorf("printed lacks %q:\n%s", want, printed.String())
		}
	}
}

// TestCommittedDocument: the reasons that are committed with the results are
// those of the list.
func TestCommittedDocument(t *testing.T) {
	b, err := os.ReadFile("../" + documentPath)
	if err != nil {
		t.Fatal(err)
	}
	r, err := parseReasons(reasonsText)
	if err != nil {
		t.Fatal(err)
	}
	doc, found := string(b), 0
	for id, why := range r.of(true) {
		switch {
		case strings.Contains(doc, "- `"+id+"`:"):
			found++
			if !strings.Contains(doc, "\n\n"+why+"\n\n") {
				t.Errorf("%s gives another reason for %s: run make conformance", documentPath, id)
			}
		case strings.Contains(doc, "\n| `"+id+"` |"):
			found++
			if !strings.Contains(doc, "| "+cell(why)+" |\n") {
				t.Errorf("%s gives another answer for %s: run make conformance", documentPath, id)
			}
		}
	}
	if found == 0 {
		t.Errorf("%s names nothing that reasons.txt does", documentPath)
	}
}
