package transcript

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Edge is what a script is played against: the machine alone, or a proxy. A
// runner implements it.
type Edge interface {
	// Now is the time by which fields with {now} are filled in.
	Now() time.Time
	// Advance lets time pass.
	Advance(d time.Duration)
	// Exchange sends x's request and returns what the client got. What the
	// origin is asked meanwhile goes to the Origin that Play was given.
	Exchange(x *Exchange) (*Got, error)
	// Settle returns when no work is left in the background.
	Settle()
}

// Got is what a client got.
type Got struct {
	Status int
	// Reason and Further are the reasons that the edge gave; empty where it
	// does not tell.
	Reason, Further string
	Fields          []Field
	Content         string
	Cut             bool
	Trailers        []Field
}

// SetReasons sets Reason and Further from the three reasons of a
// statemachine.Decision, whose absence is none.
func (g *Got) SetReasons(forward, reason, notStored, none string) {
	g.Reason = reason
	if forward == none {
		return
	}
	g.Reason = forward
	switch {
	case notStored != none:
		g.Further = notStored
	case reason != forward:
		g.Further = reason
	}
}

// Forwarded is a request as the origin got it.
type Forwarded struct {
	Method, Target string
	Fields         []Field
	Content        string
}

// Play runs a script's steps in order and returns the first exchange's
// differences from what is written, each with its line.
func Play(s *Script, origin *Origin, e Edge) error {
	for _, step := range s.Steps {
		if step.Exchange == nil {
			e.Advance(step.Advance)
			continue
		}
		x := step.Exchange
		origin.begin(x)
		got, err := e.Exchange(x)
		if err == nil {
			err = x.Expect.Check(got, e.Now())
			e.Settle()
		}
		if err = errors.Join(err, origin.end()); err != nil {
			return fmt.Errorf("%s:%d: %s %s:\n%w", s.Name, x.Line, x.Method, x.Target, err)
		}
	}
	return nil
}

// Check compares what the client got with what it must get.
func (e *Expect) Check(got *Got, now time.Time) error {
	var errs []error
	fail := func(line int, format string, args ...any) {
		errs = append(errs, fmt.Errorf("line %d: %s", line, fmt.Sprintf(format, args...)))
	}
	if got.Status != e.Status {
		fail(e.Line, "status %d, want %d", got.Status, e.Status)
	}
	if got.Reason != "" && e.Reason != "*" && got.Reason != e.Reason {
		fail(e.Line, "reason %s, want %s", got.Reason, e.Reason)
	}
	if e.Further != "" && e.Further != "*" && got.Further != e.Further {
		fail(e.Line, "further reason %s, want %s", got.Further, e.Further)
	}
	if got.Cut != e.Cut {
		fail(e.Line, "content cut %v, want %v", got.Cut, e.Cut)
	}
	if e.Content != nil && got.Content != *e.Content {
		fail(e.Line, "content %q, want %q", got.Content, *e.Content)
	}
	errs = append(errs, check(e.Fields, got.Fields, now)...)
	errs = append(errs, check(e.Trailers, got.Trailers, now)...)
	return errors.Join(errs...)
}

func check(want []Assertion, got []Field, now time.Time) []error {
	var errs []error
	for _, a := range want {
		value, ok := combined(got, a.Name)
		switch {
		case a.Value == nil && ok:
			errs = append(errs, fmt.Errorf("line %d: %s: %q, want none", a.Line, a.Name, value))
		case a.Value != nil && !ok:
			errs = append(errs, fmt.Errorf("line %d: %s absent, want %q", a.Line, a.Name, Expand(*a.Value, now)))
		case a.Value != nil && value != Expand(*a.Value, now):
			errs = append(errs, fmt.Errorf("line %d: %s: %q, want %q", a.Line, a.Name, value, Expand(*a.Value, now)))
		}
	}
	return errs
}

// combined joins the lines of a field as RFC 9110 section 5.2 does.
func combined(fields []Field, name string) (string, bool) {
	var values []string
	for _, f := range fields {
		if strings.EqualFold(f.Name, name) {
			values = append(values, f.Value)
		}
	}
	return strings.Join(values, ", "), len(values) > 0
}

// Origin plays the origin's part of a script. Safe for concurrent use.
type Origin struct {
	mu   sync.Mutex
	x    *Exchange
	next int
	errs []error
}

func (o *Origin) begin(x *Exchange) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.x, o.next, o.errs = x, 0, nil
}

// Ask returns the answer to a request that reached the origin, after checking
// the request. It returns nil where the script has no answer left: the origin
// must not have been asked, and the play will fail.
func (o *Origin) Ask(f *Forwarded, now time.Time) *Answer {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.x == nil || o.next >= len(o.x.Origin)+len(o.x.Background) {
		o.errs = append(o.errs, fmt.Errorf("the origin was asked for %s %s without a line for it", f.Method, f.Target))
		return nil
	}
	var a *Answer
	if o.next < len(o.x.Origin) {
		a = &o.x.Origin[o.next]
	} else {
		a = &o.x.Background[o.next-len(o.x.Origin)]
	}
	o.next++
	if f.Method != o.x.Method || f.Target != o.x.Target {
		o.errs = append(o.errs, fmt.Errorf("line %d: the origin was asked for %s %s", a.Line, f.Method, f.Target))
	}
	if f.Content != o.x.Content {
		o.errs = append(o.errs, fmt.Errorf("line %d: the origin got content %q, want %q", a.Line, f.Content, o.x.Content))
	}
	for _, err := range check(a.Sees, f.Fields, now) {
		o.errs = append(o.errs, fmt.Errorf("forwarded: %w", err))
	}
	return a
}

// end returns what was wrong with what the origin was asked.
func (o *Origin) end() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	errs := o.errs
	if want := len(o.x.Origin) + len(o.x.Background); o.next < want {
		errs = append(errs, fmt.Errorf("the origin was asked %d times, want %d", o.next, want))
	}
	return errors.Join(errs...)
}

// Announced returns the length that the answer announces to a request of the
// given method, and whether its content is chunked instead.
func (a *Answer) Announced() (length int64, chunked bool) {
	if len(a.Trailers) > 0 {
		return -1, true
	}
	n := int64(len(a.Content))
	if a.Cut {
		n += CutShort
	}
	return n, false
}

// NoContent reports whether the answer has no content by its nature, RFC 9112
// section 6.3: to HEAD, 204 and 304.
func (a *Answer) NoContent(method string) bool {
	return method == http.MethodHead || a.Status == http.StatusNoContent || a.Status == http.StatusNotModified
}
