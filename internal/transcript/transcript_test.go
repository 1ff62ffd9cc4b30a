package transcript

import (
	"strings"
	"testing"
	"time"
)

const head = "> A cache MUST be tested\n> well.\n>\n> in part\nRFC 9111 section 4  MUST\n\n"

func TestParse(t *testing.T) {
	s, err := Parse("x.txt", head+`
policy StatusTTL.404=10s
request GET /a
  x: {now-1s}
origin 200 after 2s
  cache-control: max-age=60
  | hello
  |
  | world
  trailer t: 1
  interim 103
  sees x: Thu, 01 Jan 1970 00:00:00 GMT
  sees-not y
lock streaming 200
  for accept: a
  vary: accept
expect 200 uri-miss no-store cut
  age: absent
  empty
background timeout
advance 1s
request HEAD /a
fault fill
expect none hit
lock busy
`)
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Passages) != 2 || s.Passages[0] != "A cache MUST be tested well." || s.Section != "4" || s.Keyword != "MUST" {
		t.Errorf("passages %q of section %s, %s", s.Passages, s.Section, s.Keyword)
	}
	if len(s.Steps) != 3 || !s.NeedsClock() || !s.MachineOnly() || s.Steps[1].Advance != time.Second {
		t.Fatalf("steps %+v", s.Steps)
	}
	x := s.Steps[0].Exchange
	a := x.Origin[0]
	if a.After != 2*time.Second || a.Content != "hello\n\nworld" || len(a.Trailers) != 1 || len(a.Sees) != 2 || a.Sees[1].Value != nil {
		t.Errorf("answer %+v", a)
	}
	if e := x.Expect; e.Reason != "uri-miss" || e.Further != "no-store" || !e.Cut || *e.Content != "" || e.Fields[0].Value != nil {
		t.Errorf("expect %+v", e)
	}
	if f := x.Locks[0].Other; f.Host() != "example.com" || len(f.Fields) != 2 || !f.Origin[0].Has("Vary") {
		t.Errorf("flight %+v", f)
	}
	if x := s.Steps[2].Exchange; x.Expect.Status != 0 || len(x.BackgroundLocks) != 1 {
		t.Errorf("expect %+v, locks %+v", x.Expect, x.BackgroundLocks)
	}
	if x.Background[0].Failure != "timeout" {
		t.Errorf("background %+v", x.Background)
	}
}

func TestParseRefuses(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"request GET /a\nexpect 200 hit\n", "quoted passage"},
		{head, "no request"},
		{head + "request GET /a\n", "no expect"},
		{head + "request GET /a\nadvance 1s\n", "no expect"},
		{head + "request GET\n", "METHOD TARGET"},
		{head + "origin 200\n", "without a request"},
		{head + "request GET /a\nbackground 200\nexpect 200 hit\n", "wrong side"},
		{head + "request GET /a\nexpect 200 hit\norigin 200\n", "wrong side"},
		{head + "request GET /a\norigin 20\nexpect 200 hit\n", "no status code"},
		{head + "request GET /a\norigin disconnect\n  a: b\nexpect 200 hit\n", "sends nothing"},
		{head + "request GET /a\norigin 200\n  a b\nexpect 200 hit\n", "name: value"},
		{head + "request GET /a\n  a: {now-1}\nexpect 200 hit\n", "malformed time"},
		{head + "request GET /a\nlock some\nexpect 200 hit\n", "lock RESULT"},
		{head + "request GET /a\nfault x\nexpect 200 hit\n", "fault fill"},
		{head + "request GET /a\nwait 1s\nexpect 200 hit\n", "unknown step"},
		{head + "request GET /a\nexpect 200 hit\npolicy A=1\n", "before the first"},
		{head + "request GET /a\nexpect 200\n", "STATUS REASON"},
		{head + "advance -1s\n", "positive duration"},
		{head + "  indented\n", "belongs to no step"},
	} {
		if _, err := Parse("x.txt", c.text); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: error %v, want %q", strings.TrimPrefix(c.text, head), err, c.want)
		}
	}
}

func TestExpand(t *testing.T) {
	now := time.Unix(1000, 0)
	for value, want := range map[string]string{
		"{now}":            "Thu, 01 Jan 1970 00:16:40 GMT",
		"a {now-100s} b":   "a Thu, 01 Jan 1970 00:15:00 GMT b",
		"{now+1h}, {now}":  "Thu, 01 Jan 1970 01:16:40 GMT, Thu, 01 Jan 1970 00:16:40 GMT",
		"no {time} in {x}": "no {time} in {x}",
	} {
		if got := Expand(value, now); got != want {
			t.Errorf("Expand(%q) = %q, want %q", value, got, want)
		}
	}
}

// fakeEdge answers every exchange with got after asking the origin once.
type fakeEdge struct {
	origin *Origin
	asks   int
	got    Got
	at     time.Time
}

func (e *fakeEdge) Now() time.Time          { return e.at }
func (e *fakeEdge) Advance(d time.Duration) { e.at = e.at.Add(d) }
func (e *fakeEdge) Settle()                 {}
func (e *fakeEdge) Exchange(x *Exchange) (*Got, error) {
	for range e.asks {
		e.origin.Ask(&Forwarded{Method: "GET", Target: "/a", Fields: []Field{{"X", "1"}}}, e.at)
	}
	return &e.got, nil
}

// A play fails for each kind of difference, and only then.
func TestPlayTellsDifferences(t *testing.T) {
	good := fakeEdge{asks: 1, got: Got{Status: 200, Reason: "uri-miss", Fields: []Field{{"A", "1"}, {"a", "2"}}, Content: "hi"}}
	text := head + "request GET /a\norigin 200\n  sees x: 1\n  sees-not y\nexpect 200 uri-miss\n  a: 1, 2\n  b: absent\n  | hi\n"
	for _, c := range []struct {
		want   string // in the error; empty: no error
		text   string
		change func(*fakeEdge)
	}{
		{"", text, func(e *fakeEdge) {}},
		{"", strings.Replace(text, "uri-miss", "*", 1), func(e *fakeEdge) {}},
		{"status 404", text, func(e *fakeEdge) { e.got.Status = 404 }},
		{"reason hit", text, func(e *fakeEdge) { e.got.Reason = "hit" }},
		{"cut true", text, func(e *fakeEdge) { e.got.Cut = true }},
		{"content \"ho\"", text, func(e *fakeEdge) { e.got.Content = "ho" }},
		{"a absent", text, func(e *fakeEdge) { e.got.Fields = nil }},
		{`a: "1"`, text, func(e *fakeEdge) { e.got.Fields = e.got.Fields[:1] }},
		{"want none", text, func(e *fakeEdge) { e.got.Fields = append(e.got.Fields, Field{"B", ""}) }},
		{"asked 0 times", text, func(e *fakeEdge) { e.asks = 0 }},
		{"without a line", text, func(e *fakeEdge) { e.asks = 2 }},
		{"forwarded", strings.Replace(text, "x: 1", "x: 2", 1), func(e *fakeEdge) {}},
		{"forwarded", strings.Replace(text, "sees-not y", "sees-not x", 1), func(e *fakeEdge) {}},
		{"asked for GET /a", strings.Replace(text, "GET /a", "GET /b", 1), func(e *fakeEdge) {}},
		{"got content", strings.Replace(text, "/a\n", "/a\n  | body\n", 1), func(e *fakeEdge) {}},
	} {
		s, err := Parse("x.txt", c.text)
		if err != nil {
			t.Fatal(err)
		}
		e := good
		e.origin = new(Origin)
		c.change(&e)
		err = Play(s, e.origin, &e)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("want %q, got %v", c.want, err)
		}
	}
}
