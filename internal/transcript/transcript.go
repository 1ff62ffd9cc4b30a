// Package transcript reads conversations between a client, this cache and an
// origin server, written down as text, so that a requirement and its proof are
// read side by side and the same proof runs against the caching decisions
// alone and against the whole proxy.
//
// # The format
//
// A transcript opens with the passages it tests, word for word, and where they
// stand. A paragraph of ">" lines is one passage; the first is the
// requirement, further ones narrow it down (an item of the requirement's
// list). The keyword is left out where the passage has none.
//
//	> A cache MUST NOT generate a stale response unless it is disconnected or
//	> doing so is explicitly permitted by the client or origin server
//	RFC 9111 section 4.2.4  MUST NOT
//
// For what our own configuration promises the reference is
//
//	edge configuration
//
// What follows is a list of steps. Lines that begin with "#" are comments.
// Indented lines belong to the line above that is not.
//
//	policy FIELD=VALUE
//
// sets a field of the route's caching policy, by its Go name
// (statemachine.Policy): durations with units, lists with commas, a status
// code after a dot (StatusTTL.404=10s). Only before the first request.
//
//	request METHOD TARGET
//	  name: value               a request field; Host is example.com unless given
//	  | content                 a line of content; lines are joined by \n
//
// begins an exchange. Up to its expect line stand the origin's answers, one
// for each time that it is asked. Where there is none, the origin must not be
// asked.
//
//	origin STATUS [after DURATION] [cut]
//	  name: value               a response field; none is added but framing
//	  | content                 announced by Content-Length unless cut or trailed
//	  trailer name: value       a trailer field; the content is then chunked
//	  interim STATUS            an interim response that precedes the answer
//	  sees name: value          the request forwarded had this field
//	  sees-not name             the request forwarded had no such field
//
// With "after", the answer's head comes that much later than the request. With
// "cut", the connection ends ten bytes before the announced length.
//
//	origin disconnect           the connection ends without an answer
//	origin timeout              no answer comes at all
//	origin malformed            what comes is no HTTP response
//
//	expect STATUS REASON [REASON] [cut]
//	  name: value               the client got this field
//	  name: absent              the client got no such field
//	  | content                 the client got exactly this content
//	  empty                     the client got no content
//	  trailer name: value       the client got this trailer field
//
// ends the exchange. The first REASON tells why a request went forward, or
// where it did not, why it could be answered without. The second tells why
// the response was not stored, or what made up for the want of one; it is
// checked where it is written. With "cut", the content breaks off visibly.
// Reasons are spelt as statemachine.Reason spells them; * is any.
//
//	background STATUS ...       an origin answer like the above, after expect
//
// is the exchange of a refresh that goes on after the client was answered.
//
//	advance DURATION
//
// lets time pass between exchanges.
//
// In every field value, {now}, {now-100s} and {now+1h} stand for a time as an
// HTTP-date, "now" being when the value is sent or compared.
//
// Two more kinds of line script what a conversation with one client at a time
// cannot bring about; transcripts with them run through the machine alone.
//
//	lock RESULT [STATUS]        what waiting for the lock comes to, one line for
//	                            each time that it is asked for: leader, stored,
//	                            streaming, gave-up, failed, too-old, alone,
//	                            timed-out, busy, canceled; below expect, for the
//	                            refresh. With STATUS, another request's response
//	                            is there by then (streaming: on its way):
//	  name: value               its fields,
//	  for name: value           a field of that request,
//	  | content                 and its content
//	fault fill                  the store refuses to begin
//	fault read                  the store cannot read the chosen response
//	expect none REASON          nobody waits for an answer any more
package transcript

import (
	"net/http"
	"regexp"
	"strings"
	"time"
)

// Script is one transcript.
type Script struct {
	// Name is the file's base name.
	Name string
	// Passages are what the transcript quotes; the first is the requirement.
	Passages []string
	// RFC and Section say where the passages stand; RFC is "edge" for our own.
	RFC, Section string
	// Keyword is MUST, MUST NOT, SHOULD, SHOULD NOT or MAY, or empty.
	Keyword string
	// Policy holds the settings of the route.
	Policy []Setting
	Steps  []Step
}

// Setting is one policy line.
type Setting struct {
	Line       int
	Key, Value string
}

// Step is either an exchange or, with Exchange nil, a passing of time.
type Step struct {
	Advance  time.Duration
	Exchange *Exchange
}

// Exchange is one request with everything that comes of it.
type Exchange struct {
	Line       int
	Method     string
	Target     string
	Fields     []Field
	Content    string
	Locks      []Lock
	Faults     []string
	Origin     []Answer
	Expect     Expect
	Background []Answer
	// BackgroundLocks are the lock lines below expect.
	BackgroundLocks []Lock
}

// Field is one field line, not yet expanded.
type Field struct{ Name, Value string }

// Answer is what the origin does when it is asked.
type Answer struct {
	Line int
	// Failure is "disconnect", "timeout", "malformed", or empty.
	Failure  string
	Status   int
	After    time.Duration
	Cut      bool
	Fields   []Field
	Content  string
	Trailers []Field
	Interim  []int
	Sees     []Assertion
}

// Assertion is about one field. Value is nil where the field must be absent.
type Assertion struct {
	Line  int
	Name  string
	Value *string
}

// Expect is what the client must get.
type Expect struct {
	Line    int
	Status  int // 0 for none
	Reason  string
	Further string // the second reason, or empty
	Cut     bool
	Fields  []Assertion
	// Content is nil where nothing is said of it.
	Content  *string
	Trailers []Assertion
}

// Lock scripts one answer of the lock. Other is the exchange of another
// request, with its one origin answer, that came of it; nil without.
type Lock struct {
	Line   int
	Result string
	Other  *Exchange
}

// CutShort is how many bytes of the announced length a cut answer lacks.
const CutShort = 10

// MachineOnly reports whether the transcript scripts what only the machine
// alone can be made to see.
func (s *Script) MachineOnly() bool {
	for _, x := range s.Exchanges() {
		if len(x.Locks)+len(x.BackgroundLocks) > 0 || len(x.Faults) > 0 {
			return true
		}
	}
	return false
}

// NeedsClock reports whether the transcript needs time to pass, or work in the
// background to be waited for: it cannot run against a real clock.
func (s *Script) NeedsClock() bool {
	for _, step := range s.Steps {
		if step.Exchange == nil {
			return true
		}
		if len(step.Exchange.Background) > 0 {
			return true
		}
		for _, a := range step.Exchange.Origin {
			if a.After > 0 || a.Failure == "timeout" {
				return true
			}
		}
	}
	return false
}

// Exchanges returns the exchanges in order.
func (s *Script) Exchanges() []*Exchange {
	var all []*Exchange
	for _, step := range s.Steps {
		if step.Exchange != nil {
			all = append(all, step.Exchange)
		}
	}
	return all
}

// Host returns the value of the request's Host field.
func (x *Exchange) Host() string {
	for _, f := range x.Fields {
		if strings.EqualFold(f.Name, "Host") {
			return f.Value
		}
	}
	return "example.com"
}

// Has reports whether the answer's fields name one.
func (a *Answer) Has(name string) bool {
	for _, f := range a.Fields {
		if strings.EqualFold(f.Name, name) {
			return true
		}
	}
	return false
}

var nowPattern = regexp.MustCompile(`\{now(?:([+-])([0-9a-z.]+))?\}`)

// Expand replaces {now}, {now-100s} and {now+1h} by HTTP-dates.
func Expand(value string, now time.Time) string {
	return nowPattern.ReplaceAllStringFunc(value, func(m string) string {
		part := nowPattern.FindStringSubmatch(m)
		t := now
		if part[2] != "" {
			d, err := time.ParseDuration(part[2])
			if err != nil {
				return m // the parser refuses it
			}
			if part[1] == "-" {
				d = -d
			}
			t = t.Add(d)
		}
		return t.UTC().Format(http.TimeFormat)
	})
}
