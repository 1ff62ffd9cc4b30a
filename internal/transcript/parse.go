package transcript

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"time"
)

// ReadDir reads every transcript (*.txt) of a directory, by name.
func ReadDir(dir string) ([]*Script, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	if err != nil {
		return nil, fmt.Errorf("transcript: list %s: %w", dir, err)
	}
	sort.Strings(names)
	var all []*Script
	for _, name := range names {
		s, err := ReadFile(name)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

// ReadFile reads one transcript.
func ReadFile(name string) (*Script, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("transcript: %w", err)
	}
	return Parse(filepath.Base(name), string(text))
}

// Parse reads a transcript from its text. An error names file and line.
func Parse(name, text string) (*Script, error) {
	p := parser{script: &Script{Name: name}}
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		p.line = i + 1
		if err := p.take(strings.TrimRight(line, " \t\r")); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, p.line, err)
		}
	}
	if err := p.finish(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return p.script, nil
}

// parser reads line by line. exchange is the one that is open; detail takes an
// indented line of the step at hand.
type parser struct {
	script   *Script
	line     int
	quoting  bool // the last line was part of a passage
	exchange *Exchange
	expected bool // the open exchange has its expect line
	detail   func(line string) error
}

var reference = regexp.MustCompile(`^RFC (\d+) section (\d+(?:\.\d+)*)(?:\s+(MUST NOT|SHOULD NOT|MUST|SHOULD|MAY))?$`)

func (p *parser) take(line string) error {
	if text, ok := strings.CutPrefix(line, ">"); ok && p.script.RFC == "" {
		p.passage(strings.TrimSpace(text))
		return nil
	}
	p.quoting = false
	switch trimmed := strings.TrimSpace(line); {
	case trimmed == "" || strings.HasPrefix(trimmed, "#"):
		return nil
	case p.script.RFC == "":
		m := reference.FindStringSubmatch(line)
		if line == "edge configuration" {
			m = []string{line, "edge", "", ""}
		}
		if m == nil || len(p.script.Passages) == 0 {
			return fmt.Errorf("want a quoted passage, then \"RFC n section x.y  KEYWORD\", not %q", line)
		}
		p.script.RFC, p.script.Section, p.script.Keyword = m[1], m[2], m[3]
		return nil
	case line != strings.TrimLeft(line, " \t"):
		if p.detail == nil {
			return fmt.Errorf("indented line belongs to no step: %q", line)
		}
		return p.detail(strings.TrimLeft(line, " \t"))
	}
	p.detail = nil
	word, rest, _ := strings.Cut(line, " ")
	return p.step(word, strings.Fields(rest))
}

func (p *parser) passage(text string) {
	switch {
	case text == "":
		p.quoting = false
	case p.quoting:
		last := &p.script.Passages[len(p.script.Passages)-1]
		*last += " " + text
	default:
		p.script.Passages = append(p.script.Passages, text)
		p.quoting = true
	}
}

func (p *parser) step(word string, args []string) error {
	switch word {
	case "policy":
		return p.policy(args)
	case "request":
		return p.request(args)
	case "advance":
		return p.advance(args)
	}
	x := p.exchange
	if x == nil {
		return fmt.Errorf("%s without a request", word)
	}
	if word != "lock" && p.expected != (word == "background") {
		return fmt.Errorf("%s on the wrong side of expect", word)
	}
	switch word {
	case "origin":
		return p.answer(&x.Origin, args)
	case "background":
		return p.answer(&x.Background, args)
	case "expect":
		return p.expect(args)
	case "lock":
		return p.lock(args)
	case "fault":
		if len(args) != 1 || (args[0] != "fill" && args[0] != "read") {
			return fmt.Errorf("want fault fill or fault read")
		}
		x.Faults = append(x.Faults, args[0])
		return nil
	}
	return fmt.Errorf("unknown step %q", word)
}

func (p *parser) policy(args []string) error {
	key, value, ok := strings.Cut(strings.Join(args, " "), "=")
	if !ok || len(p.script.Steps) > 0 {
		return fmt.Errorf("want policy FIELD=VALUE before the first request")
	}
	p.script.Policy = append(p.script.Policy, Setting{p.line, key, value})
	return nil
}

func (p *parser) closeExchange() error {
	if p.exchange != nil && !p.expected {
		return fmt.Errorf("the request at line %d has no expect", p.exchange.Line)
	}
	p.exchange, p.expected = nil, false
	return nil
}

func (p *parser) request(args []string) error {
	if err := p.closeExchange(); err != nil {
		return err
	}
	if len(args) != 2 {
		return fmt.Errorf("want request METHOD TARGET")
	}
	x := &Exchange{Line: p.line, Method: args[0], Target: args[1]}
	p.exchange = x
	p.script.Steps = append(p.script.Steps, Step{Exchange: x})
	p.detail = func(line string) error {
		return fieldOrContent(line, &x.Fields, &x.Content)
	}
	return nil
}

func (p *parser) advance(args []string) error {
	if err := p.closeExchange(); err != nil {
		return err
	}
	if len(args) != 1 {
		return fmt.Errorf("want advance DURATION")
	}
	d, err := time.ParseDuration(args[0])
	if err != nil || d <= 0 {
		return fmt.Errorf("advance %s: want a positive duration", args[0])
	}
	p.script.Steps = append(p.script.Steps, Step{Advance: d})
	return nil
}

func (p *parser) answer(list *[]Answer, args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("want a status or disconnect, timeout, malformed")
	}
	a := Answer{Line: p.line}
	switch args[0] {
	case "disconnect", "timeout", "malformed":
		a.Failure = args[0]
	default:
		status, err := parseStatus(args[0])
		if err != nil {
			return err
		}
		a.Status = status
	}
	for rest := args[1:]; len(rest) > 0; {
		switch {
		case rest[0] == "cut" && a.Failure == "":
			a.Cut, rest = true, rest[1:]
		case rest[0] == "after" && len(rest) > 1:
			d, err := time.ParseDuration(rest[1])
			if err != nil {
				return err
			}
			a.After, rest = d, rest[2:]
		default:
			return fmt.Errorf("unknown word %q", rest[0])
		}
	}
	*list = append(*list, a)
	i := len(*list) - 1
	p.detail = func(line string) error { return p.answerDetail(&(*list)[i], line) }
	return nil
}

func (p *parser) answerDetail(a *Answer, line string) error {
	word, rest, _ := strings.Cut(line, " ")
	switch word {
	case "sees":
		as, err := p.assertion(rest)
		if err != nil || as.Value == nil {
			return fmt.Errorf("want sees name: value, not %q", line)
		}
		a.Sees = append(a.Sees, as)
		return nil
	case "sees-not":
		a.Sees = append(a.Sees, Assertion{Line: p.line, Name: rest})
		return nil
	}
	if a.Failure != "" {
		return fmt.Errorf("an origin that fails sends nothing: %q", line)
	}
	switch word {
	case "interim":
		status, err := parseStatus(rest)
		if err != nil {
			return err
		}
		a.Interim = append(a.Interim, status)
		return nil
	case "trailer":
		f, err := parseField(rest)
		a.Trailers = append(a.Trailers, f)
		return err
	}
	return fieldOrContent(line, &a.Fields, &a.Content)
}

func (p *parser) expect(args []string) error {
	e := &p.exchange.Expect
	e.Line = p.line
	if n := len(args); n > 0 && args[n-1] == "cut" {
		e.Cut, args = true, args[:n-1]
	}
	if len(args) < 2 || len(args) > 3 {
		return fmt.Errorf("want expect STATUS REASON [REASON] [cut]")
	}
	var err error
	if args[0] != "none" {
		e.Status, err = parseStatus(args[0])
	}
	if err != nil {
		return err
	}
	e.Reason = args[1]
	if len(args) == 3 {
		e.Further = args[2]
	}
	p.expected = true
	p.detail = func(line string) error { return p.expectDetail(e, line) }
	return nil
}

func (p *parser) expectDetail(e *Expect, line string) error {
	if text, ok := contentLine(line); ok {
		if e.Content != nil {
			text = *e.Content + "\n" + text
		}
		e.Content = &text
		return nil
	}
	if line == "empty" {
		e.Content = new(string)
		return nil
	}
	if rest, ok := strings.CutPrefix(line, "trailer "); ok {
		as, err := p.assertion(rest)
		e.Trailers = append(e.Trailers, as)
		return err
	}
	as, err := p.assertion(line)
	e.Fields = append(e.Fields, as)
	return err
}

// lockResults are the results that a lock line may script.
var lockResults = map[string]bool{"leader": true, "streaming": true, "stored": true, "gave-up": true, "failed": true,
	"too-old": true, "alone": true, "timed-out": true, "busy": true, "canceled": true}

func (p *parser) lock(args []string) error {
	if len(args) == 0 || len(args) > 2 || !lockResults[args[0]] || args[0] == "streaming" && len(args) == 1 {
		return fmt.Errorf("want lock RESULT [STATUS]")
	}
	x := p.exchange
	l := Lock{Line: p.line, Result: args[0]}
	if len(args) == 2 {
		status, err := parseStatus(args[1])
		if err != nil {
			return err
		}
		l.Other = &Exchange{Line: p.line, Method: "GET", Target: x.Target,
			Fields: []Field{{"Host", x.Host()}}, Origin: []Answer{{Line: p.line, Status: status}}}
		p.detail = func(line string) error { return otherDetail(l.Other, line) }
	}
	if p.expected {
		x.BackgroundLocks = append(x.BackgroundLocks, l)
	} else {
		x.Locks = append(x.Locks, l)
	}
	return nil
}

func otherDetail(x *Exchange, line string) error {
	if rest, ok := strings.CutPrefix(line, "for "); ok {
		f, err := parseField(rest)
		x.Fields = append(x.Fields, f)
		return err
	}
	return fieldOrContent(line, &x.Origin[0].Fields, &x.Origin[0].Content)
}

func (p *parser) finish() error {
	if err := p.closeExchange(); err != nil {
		return err
	}
	if len(p.script.Exchanges()) == 0 {
		return fmt.Errorf("no request in it")
	}
	return nil
}

func (p *parser) assertion(line string) (Assertion, error) {
	f, err := parseField(line)
	a := Assertion{Line: p.line, Name: f.Name}
	if f.Value != "absent" {
		a.Value = &f.Value
	}
	return a, err
}

func parseStatus(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 100 || n > 999 {
		return 0, fmt.Errorf("%q is no status code", s)
	}
	return n, nil
}

func parseField(line string) (Field, error) {
	name, value, ok := strings.Cut(line, ":")
	if !ok || name == "" || strings.ContainsAny(name, " \t") {
		return Field{}, fmt.Errorf("want name: value, not %q", line)
	}
	if rest := Expand(value, time.Time{}); strings.Contains(rest, "{now") {
		return Field{}, fmt.Errorf("malformed time in %q", line)
	}
	return Field{name, strings.TrimSpace(value)}, nil
}

// contentLine returns the text of a "| text" line.
func contentLine(line string) (string, bool) {
	text, ok := strings.CutPrefix(line, "|")
	return strings.TrimPrefix(text, " "), ok
}

func fieldOrContent(line string, fields *[]Field, content *string) error {
	if text, ok := contentLine(line); ok {
		if *content != "" {
			text = *content + "\n" + text
		}
		*content = text
		return nil
	}
	f, err := parseField(line)
	if err == nil {
		*fields = append(*fields, f)
	}
	return err
}
