package statemachine

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"edge/internal/transcript"
	"edge/message"

	"pgregory.net/rapid"
)

// Whatever an origin says and whoever asks: what is answered from the store was
// allowed to be. The judge below knows the RFC only from its sentences about
// reuse, and nothing of the machine: it keeps every response the origin sent,
// tells by the content which one a client got, and asks whether that one may
// have been used for this request, now.
func TestReuseIsAllowed(t *testing.T) {
	reused, stale := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		j := &judge{rt: rt, versions: make(map[string]*version)}
		b := newBench(j.answer)
		j.bench = b
		for range rapid.IntRange(2, 30).Draw(rt, "exchanges") {
			b.Advance(time.Duration(rapid.SampledFrom([]int{0, 0, 1, 4, 5, 30, 61, 4000}).Draw(rt, "advance")) * time.Second)
			x := drawRequest(rt)
			j.begin(x)
			got, err := b.Exchange(x)
			if err != nil {
				rt.Fatal(err)
			}
			j.judge(x, got)
			j.x = nil // what follows is a refresh's
			b.Settle()
		}
		reused += j.reused
		stale += j.stale
	})
	t.Logf("%d reuses, %d of them stale", reused, stale)
	if reused == 0 || stale == 0 {
		t.Errorf("only %d reuses, %d of them stale: the test says little", reused, stale)
	}
}

func drawRequest(rt *rapid.T) *transcript.Exchange {
	x := &transcript.Exchange{
		Method: rapid.SampledFrom([]string{"GET", "GET", "GET", "GET", "GET", "HEAD", "POST"}).Draw(rt, "method"),
		Target: rapid.SampledFrom([]string{"/a", "/b"}).Draw(rt, "target"),
	}
	if kind := rapid.SampledFrom([]string{"", "", "one", "two"}).Draw(rt, "kind"); kind != "" {
		x.Fields = append(x.Fields, transcript.Field{Name: "X-Kind", Value: kind})
	}
	if rapid.IntRange(0, 4).Draw(rt, "authorized") == 0 {
		x.Fields = append(x.Fields, transcript.Field{Name: "Authorization", Value: "Basic Zm9vOmJhcg=="})
	}
	return x
}

// version is one response of the origin's, known by its content.
type version struct {
	target, kind, etag string
	authorized         bool // the request had Authorization
	status             int
	// said is what the newest head about it said: its own, or a 304's.
	said directives
	vary string
	age  Duration // the Age that came with it
	at   Instant
	// dead: a 200 said something that forbids any reuse, or an unsafe request
	// succeeded since.
	dead string
}

// directives is Cache-Control, parsed as simply as can be: the generator sends
// nothing that needs more.
type directives map[string]int

func (d directives) has(name string) bool { _, ok := d[name]; return ok }

// judge is the origin, and remembers what it sent.
type judge struct {
	rt       *rapid.T
	bench    *bench
	x        *transcript.Exchange // nil during a refresh
	versions map[string]*version

	asked, failed bool
	sent          string // what the origin sent or confirmed in this exchange
	count         int
	reused, stale int
}

func (j *judge) begin(x *transcript.Exchange) { j.x, j.asked, j.failed, j.sent = x, false, false, "" }

// answer is the origin's side.
func (j *judge) answer(f *transcript.Forwarded, _ time.Time) *transcript.Answer {
	j.asked = j.asked || j.x != nil
	switch rapid.IntRange(0, 9).Draw(j.rt, "fate") {
	case 0:
		j.failed = j.failed || j.x != nil
		return &transcript.Answer{Failure: "disconnect"}
	case 1:
		j.failed = j.failed || j.x != nil
		return &transcript.Answer{Status: 503, Content: "busy"}
	}
	if f.Method == "POST" {
		for _, v := range j.versions {
			if v.target == f.Target {
				v.dead = "an unsafe request succeeded since"
			}
		}
		return &transcript.Answer{Status: 200, Content: "posted"}
	}
	a := &transcript.Answer{Status: 200}
	v := &version{target: f.Target, kind: field(f.Fields, "X-Kind"), authorized: field(f.Fields, "Authorization") != "", at: j.bench.now}
	v.said = j.drawDirectives(a)
	if rapid.IntRange(0, 3).Draw(j.rt, "aged") == 0 {
		v.age = 3 * message.Second
		a.Fields = append(a.Fields, transcript.Field{Name: "Age", Value: "3"})
	}
	v.vary = rapid.SampledFrom([]string{"", "", "X-Kind", "*"}).Draw(j.rt, "vary")
	if v.vary != "" {
		a.Fields = append(a.Fields, transcript.Field{Name: "Vary", Value: v.vary})
	}
	for content, old := range j.versions { // validates one that it knows
		if old.etag != "" && old.etag == field(f.Fields, "If-None-Match") && old.target == f.Target && rapid.Bool().Draw(j.rt, "same") {
			return j.confirm(a, content, v)
		}
	}
	if f.Method == "HEAD" {
		// Of another length than anything stored: it confirms nothing.
		a.Fields = append(a.Fields, transcript.Field{Name: "Content-Length", Value: "999"})
		return a
	}
	j.count++
	a.Content = "version " + strconv.Itoa(j.count)
	if rapid.Bool().Draw(j.rt, "tagged") {
		v.etag = strconv.Quote("v" + strconv.Itoa(j.count))
		a.Fields = append(a.Fields, transcript.Field{Name: "ETag", Value: v.etag})
	}
	v.status = a.Status
	switch {
	case v.said.has("no-store") && !v.said.has("must-understand"):
		v.dead = "it said no-store"
	case v.said.has("private"):
		v.dead = "it said private"
	case v.authorized && !v.said.has("public") && !v.said.has("s-maxage") && !v.said.has("must-revalidate"):
		v.dead = "its request had Authorization"
	}
	if j.x != nil {
		j.sent = a.Content
	}
	j.versions[a.Content] = v
	return a
}

// confirm makes a 304 of a: what it says is the newest said of the version.
func (j *judge) confirm(a *transcript.Answer, content string, head *version) *transcript.Answer {
	a.Status = 304
	old := j.versions[content]
	a.Fields = append(a.Fields, transcript.Field{Name: "ETag", Value: old.etag})
	if len(head.said) > 0 { // what a 304 leaves out stays
		old.said = head.said
	}
	switch {
	case head.vary == "X-Kind" && old.vary == "":
		old.vary = "*" // nobody kept the X-Kind that it now nominates
	case head.vary != "":
		old.vary = head.vary
	}
	if old.dead == "an unsafe request succeeded since" {
		old.dead = ""
	}
	old.age, old.at = head.age, head.at
	if j.x != nil {
		j.sent = content
	}
	return a
}

func (j *judge) drawDirectives(a *transcript.Answer) directives {
	d := make(directives)
	var line []string
	for _, name := range []string{"no-store", "private", "no-cache", "must-revalidate", "proxy-revalidate", "public", "must-understand"} {
		if rapid.IntRange(0, 19).Draw(j.rt, name) == 0 {
			d[name] = 0
			line = append(line, name)
		}
	}
	for _, name := range []string{"max-age", "max-age", "s-maxage", "stale-while-revalidate", "stale-if-error"} {
		if !d.has(name) && rapid.IntRange(0, 2).Draw(j.rt, name) == 0 {
			d[name] = rapid.SampledFrom([]int{0, 5, 60}).Draw(j.rt, "seconds")
			line = append(line, fmt.Sprintf("%s=%d", name, d[name]))
		}
	}
	if len(line) > 0 {
		a.Fields = append(a.Fields, transcript.Field{Name: "Cache-Control", Value: strings.Join(line, ", ")})
	}
	return d
}

// judge asks whether what the client got may have been.
func (j *judge) judge(x *transcript.Exchange, got *transcript.Got) {
	v := j.versions[got.Content]
	switch {
	case x.Method == "POST" && !j.asked:
		j.rt.Fatalf("POST %s was answered without asking", x.Target)
	case x.Method != "GET" || v == nil: // no content, an error, or an answer of our own
		return
	case v.target != x.Target:
		j.rt.Fatalf("GET %s got %q, which is of %s", x.Target, got.Content, v.target)
	case j.asked && !j.failed || j.sent == got.Content:
		if got.Content != j.sent {
			j.rt.Fatalf("GET %s got %q where the origin had just sent %q", x.Target, got.Content, j.sent)
		}
		return // "the cache MUST use the full response to satisfy the request"
	}
	j.reused++
	if why := j.forbids(v, x); why != "" {
		j.rt.Fatalf("GET %s got %q without validation, though %s (%s %s)", x.Target, got.Content, why, got.Reason, got.Further)
	}
	age := v.age + j.bench.now.Sub(v.at)
	if want := strconv.FormatInt(age/message.Second, 10); field(got.Fields, "Age") != want {
		j.rt.Fatalf("Age %q, want %s", field(got.Fields, "Age"), want)
	}
}

// forbids says why v must not be used for x now, empty where it may.
func (j *judge) forbids(v *version, x *transcript.Exchange) string {
	d := v.said
	switch {
	case v.dead != "":
		return v.dead
	case d.has("no-cache"), d.has("no-store") && !d.has("must-understand"), d.has("private"):
		return "it must be validated before each use"
	case v.vary == "*":
		return "Vary: * never matches"
	case v.vary == "X-Kind" && v.kind != field(x.Fields, "X-Kind"):
		return "X-Kind does not match"
	}
	lifetime := 0
	if d.has("s-maxage") {
		lifetime = d["s-maxage"]
	} else if d.has("max-age") {
		lifetime = d["max-age"]
	}
	staleFor := v.age + j.bench.now.Sub(v.at) - Duration(lifetime)*message.Second
	if staleFor < 0 {
		return ""
	}
	j.stale++
	allowed := d["stale-while-revalidate"]
	if j.failed {
		allowed = d["stale-if-error"]
		if !d.has("s-maxage") {
			allowed = max(allowed, 3600) // disconnected, for an hour by default
		}
	}
	switch {
	case d.has("must-revalidate"), d.has("proxy-revalidate"):
		return "it is stale and must be validated"
	// s-maxage yields to what the same response says of its staleness.
	case d.has("s-maxage") && d["stale-while-revalidate"] == 0 && d["stale-if-error"] == 0:
		return "it is stale and s-maxage must be validated"
	case staleFor >= Duration(allowed)*message.Second:
		return fmt.Sprintf("it has been stale for %ds and %ds are allowed", staleFor/message.Second, allowed)
	}
	return ""
}

func field(fields []transcript.Field, name string) string {
	for _, f := range fields {
		if strings.EqualFold(f.Name, name) {
			return f.Value
		}
	}
	return ""
}
