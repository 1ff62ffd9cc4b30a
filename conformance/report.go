package main

import (
	"bytes"
	"fmt"
	"io"
	"regexp"
	"strings"
	"text/tabwriter"
)

// report is what came of a run.
type report struct {
	suite   string
	groups  []judgedGroup
	reasons map[string]string // why tests are not passed, by test
}

type judgedGroup struct {
	id, name string
	tests    []judged
}

// tally counts tests of one kind that passed, or were answered yes.
type tally struct{ good, of int }

func (t *tally) add(v verdict) {
	t.of++
	if v.good() {
		t.good++
	}
}

func (t tally) String() string {
	if t.of == 0 {
		return "-"
	}
	return fmt.Sprintf("%d/%d", t.good, t.of)
}

// percent is for optimal tests, where not everything can be passed.
func (t tally) percent() string {
	if t.of == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f %%", 100*float64(t.good)/float64(t.of))
}

// tallies counts a group's tests.
func (g *judgedGroup) tallies() map[kind]*tally {
	m := map[kind]*tally{required: {}, optimal: {}, check: {}}
	for _, t := range g.tests {
		m[t.Kind].add(t.verdict)
	}
	return m
}

// totals counts all tests.
func (r *report) totals() map[kind]*tally {
	m := map[kind]*tally{required: {}, optimal: {}, check: {}}
	for i := range r.groups {
		for k, t := range r.groups[i].tallies() {
			m[k].good += t.good
			m[k].of += t.of
		}
	}
	return m
}

// open returns the tests of a kind that are not passed, in the suite's order.
func (r *report) open(k kind) []judged {
	var list []judged
	for _, g := range r.groups {
		for _, t := range g.tests {
			if t.Kind == k && t.verdict != passed {
				list = append(list, t)
			}
		}
	}
	return list
}

// reason returns why a test is not passed, or why a question has its answer;
// empty without. Between versions of the suite tests become questions: what is
// written for the one is nothing to the other.
func (r *report) reason(t judged) string {
	why := r.reasons[t.ID]
	if isAnswer(why) != (t.Kind == check) {
		return ""
	}
	return why
}

// isAnswer reports whether a reason is that of a question.
func isAnswer(why string) bool {
	for _, v := range []verdict{yes, no, untested} {
		if strings.HasPrefix(why, v.answer()) {
			return true
		}
	}
	return false
}

// unexplained returns the ids among tests that have no reason.
func (r *report) unexplained(tests []judged) []string {
	var ids []string
	for _, t := range tests {
		if r.reason(t) == "" {
			ids = append(ids, t.ID)
		}
	}
	return ids
}

// needless returns the ids of tests that have a reason and pass, and of
// questions whose reason gives another answer than was found.
func (r *report) needless() (passes, otherwise []string) {
	for _, g := range r.groups {
		for _, t := range g.tests {
			why := r.reason(t)
			switch {
			case why == "":
			case t.Kind != check && t.verdict == passed:
				passes = append(passes, t.ID)
			case t.Kind == check && !strings.HasPrefix(why, t.verdict.answer()):
				otherwise = append(otherwise, t.ID)
			}
		}
	}
	return passes, otherwise
}

// noReason stands where a reason should.
const noReason = "**No reason is listed.**"

func (r *report) why(t judged) string {
	if why := r.reason(t); why != "" {
		return why
	}
	return noReason
}

// verdict says what is wrong with the results, and reports whether nothing is.
func (r *report) verdict(w io.Writer) bool {
	ok := true
	for _, id := range r.unexplained(r.open(required)) {
		ok = false
		say(w, "WRONG: required test %s is not passed, and conformance/reasons.txt gives no reason\n", id)
	}
	passes, otherwise := r.needless()
	for _, id := range passes {
		ok = false
		say(w, "WRONG: %s is passed: its reason in conformance/reasons.txt is not needed any more\n", id)
	}
	for _, id := range otherwise {
		ok = false
		say(w, "WRONG: the answer to %s is not the one in conformance/reasons.txt\n", id)
	}
	for _, id := range r.unexplained(r.open(optimal)) {
		say(w, "open: optimal test %s is not passed, and conformance/reasons.txt gives no reason\n", id)
	}
	return ok
}

// print writes the results for a terminal.
func (r *report) print(w io.Writer) error {
	say(w, "\n%s\n\n", r.suite)
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	say(tab, "group\trequired\toptimal\tcheck: yes\t\n")
	for i := range r.groups {
		g := &r.groups[i]
		t := g.tallies()
		say(tab, "%s\t%v\t%v\t%v\t\n", g.name, t[required], t[optimal], t[check])
	}
	t := r.totals()
	say(tab, "all\t%v\t%v (%s)\t%v\t\n", t[required], t[optimal], t[optimal].percent(), t[check])
	if err := tab.Flush(); err != nil {
		return err
	}
	for _, k := range []kind{required, optimal} {
		open := r.open(k)
		if len(open) == 0 {
			continue
		}
		say(w, "\n%s, not passed:\n", k)
		for _, t := range open {
			say(w, "  %s (%s)\n    the suite: %s\n    why: %s\n", t.ID, t.verdict, orDash(t.detail), r.why(t))
		}
	}
	say(w, "\n")
	return nil
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// document renders the results as Markdown. The same results give the same
// bytes: what differs from run to run is taken out of the suite's messages.
func (r *report) document() []byte {
	var b bytes.Buffer
	say(&b, `# Conformance

<!-- Written by make conformance; do not edit. Reasons are in conformance/reasons.txt. -->

What `+"`edge`"+`, with nothing configured but addresses, makes of the public test
suite for HTTP caches, %s.

Tests for browsers only are left out. As the suite has it, a *required* test is about a requirement of the standard, an *optimal*
one about what a good cache does where the standard leaves the choice, and a
*check* is a question to which neither answer is a fault. The RFCs are the
measure, not the suite: what the suite does not ask is in the transcripts of
`+"`testdata/rfc9111`"+`, and a test is left failing where passing would break a
requirement or be unsafe.

| Group | Required | Optimal | Check: yes |
|---|---|---|---|
`, r.suite)
	for i := range r.groups {
		g := &r.groups[i]
		t := g.tallies()
		say(&b, "| %s | %v | %v | %v |\n", cell(g.name), t[required], t[optimal], t[check])
	}
	t := r.totals()
	say(&b, "| **All** | **%v** | **%v** (%s) | **%v** |\n", t[required], t[optimal], t[optimal].percent(), t[check])
	for _, k := range []kind{required, optimal} {
		r.documentOpen(&b, k)
	}
	r.documentChecks(&b)
	return b.Bytes()
}

// documentOpen writes the tests of a kind that are not passed, those with one
// reason together.
func (r *report) documentOpen(b *bytes.Buffer, k kind) {
	open := r.open(k)
	say(b, "\n## Not passed: %s\n", k)
	if len(open) == 0 {
		say(b, "\nNone.\n")
	}
	for len(open) > 0 {
		why := r.why(open[0])
		say(b, "\n%s\n\n", why)
		var rest []judged
		for _, t := range open {
			if r.why(t) != why {
				rest = append(rest, t)
				continue
			}
			say(b, "- `%s`: %s", t.ID, t.verdict)
			if t.detail != "" {
				say(b, ": %s", steady(t.detail))
			}
			say(b, "\n")
		}
		open = rest
	}
}

// documentChecks writes what was answered to the questions, and why where that
// was chosen.
func (r *report) documentChecks(b *bytes.Buffer) {
	say(b, "\n## Check\n\n| Test | Question | Answer |\n|---|---|---|\n")
	for _, g := range r.groups {
		for _, t := range g.tests {
			if t.Kind != check {
				continue
			}
			answer := r.reason(t)
			if !strings.HasPrefix(answer, t.verdict.answer()) {
				answer = t.verdict.answer()
			}
			if t.verdict == dependencyFailed {
				answer += " It depends on `" + t.detail + "`."
			}
			say(b, "| `%s` | %s | %s |\n", t.ID, cell(t.Name), cell(answer))
		}
	}
}

// cell escapes text for a cell of a table.
func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

// What differs from run to run in the suite's messages.
var (
	anyUUID = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4,8}-[0-9a-f]{4,8}-[0-9a-f]{12}`)
	anyDate = regexp.MustCompile(`(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*, \d\d[ -][A-Z][a-z]{2}[ -]\d{2,4} \d\d:\d\d:\d\d GMT`)
	anyPort = regexp.MustCompile(`127\.0\.0\.1:\d+`)
)

// steady takes what differs from run to run out of a message.
func steady(s string) string {
	s = anyUUID.ReplaceAllString(s, "UUID")
	s = anyDate.ReplaceAllString(s, "DATE")
	return anyPort.ReplaceAllString(s, "127.0.0.1")
}
