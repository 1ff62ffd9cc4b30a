package statemachine

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"edge/message"
)

// maxWalk bounds how many steps one exchange may take, whatever happens to it.
const maxWalk = 24

// From every way to start, through every event at every step: the machine
// ends, never twice in the same place, and gives each permit up exactly once.
func TestEveryPathEnds(t *testing.T) {
	w := &walk{t: t, done: make(map[string]int)}
	for _, policy := range walkPolicies() {
		w.policy = policy
		for _, req := range walkRequests() {
			w.req = req
			w.step(place{}.started(policy, req), nil)
		}
		w.req = walkRequests()[0]
		w.step(place{}.refreshing(policy, w.req), nil)
		for _, want := range []Range{{2, 5}, {0, 1}} {
			w.step(place{}.running(policy, w.req, want), nil)
			w.step(place{}.direct(policy, w.req, walkPart(policy), want), nil)
			w.step(place{}.direct(policy, w.req, walkStored("Cache-Control: max-age=60\r\nETag: W/\"x\"\r\n", policy), want), nil)
		}
	}
	if w.places < 1000 {
		t.Errorf("the walk saw %d places: does it walk?", w.places)
	}
	t.Logf("%d places, the longest path has %d steps", w.places, w.longest)
}

const walkNow = Instant(946684800 * message.Second)

// place is a machine between two events, with the action it asked for.
type place struct {
	m       HTTPCache
	a       Action
	held    bool // the driver holds a permit
	flights int  // which candidates, for telling places apart
}

func (p place) started(policy *Policy, req *message.Request) place {
	p.a = p.m.Start(policy, req, walkNow)
	return p
}

func (p place) refreshing(policy *Policy, req *message.Request) place {
	p.a = p.m.StartRefresh(policy, req, walkNow)
	return p
}

// running is a later run of an answer from parts.
func (p place) running(policy *Policy, req *message.Request, want Range) place {
	p.a = p.m.StartRun(policy, req, walkPart(policy), want, walkNow)
	return p
}

// direct is a later run of an answer that the store failed.
func (p place) direct(policy *Policy, req *message.Request, base *message.Stored, want Range) place {
	p.a = p.m.StartDirectRun(policy, req, base, want, walkNow)
	return p
}

// key tells places apart by all that later steps can depend on. (Of the
// decision most is only ever written.)
func (p *place) key() string {
	m, d := &p.m, &p.m.decision
	flights := p.flights
	if m.chosen < 0 && m.state != Filling {
		flights = -1
	}
	return fmt.Sprint(m.state, p.a.Kind, p.a.Form, m.chosen, m.permit, m.background, m.tries, m.form, string(m.variant), m.variant == nil,
		m.headGiven != nil, m.seldom, m.gap, m.part, m.cut, m.progress, m.apart, m.unaligned, m.running, m.direct, m.direct && m.repeats(), m.missed, m.drop, p.held, flights, d.Reason, d.ForwardStatus, d.Status, d.Response != nil, fmt.Sprintf("%p %p", m.policy, m.req))
}

// walk goes depth first. done holds, for each place, 1 while its paths are
// being walked and 2 once they have been: meeting a 1 is a circle.
type walk struct {
	t       *testing.T
	policy  *Policy
	req     *message.Request
	done    map[string]int
	places  int
	longest int
}

func (w *walk) step(p place, path []string) {
	if w.t.Failed() {
		return
	}
	path = append(path, fmt.Sprintf("%v/%v", p.m.state, p.a.Kind))
	w.longest = max(w.longest, len(path))
	if p.a.Permit != PermitKeep {
		if !p.held {
			w.t.Errorf("a permit is given up that is not held: %s", strings.Join(path, " "))
		}
		p.held = false
	}
	if p.held != p.m.permit {
		w.t.Errorf("the machine and its driver disagree about the permit: %s", strings.Join(path, " "))
	}
	if s := p.a.Stored; p.a.Kind == ActFill && p.a.Share {
		// RFC 9111 section 4: collapsing is for those who may reuse it.
		if !usableAtOnce(s, walkNow) || !p.held {
			w.t.Errorf("a fill is shared that others cannot use: %s", strings.Join(path, " "))
		}
	} else if p.a.Kind == ActFill && p.held && usableAtOnce(s, walkNow) && !p.a.Part {
		w.t.Errorf("a fill is not shared though others could use it: %s", strings.Join(path, " "))
	}
	if p.m.direct && (p.a.Kind == ActAcquire || p.a.Kind == ActFill || p.a.Kind == ActServe) {
		w.t.Errorf("a run without the store uses it: %s", strings.Join(path, " "))
	}
	if p.a.Kind == ActDone {
		if p.held {
			w.t.Errorf("the exchange ended with a permit: %s", strings.Join(path, " "))
		}
		return
	}
	if len(path) > maxWalk {
		w.t.Errorf("more than %d steps: %s", maxWalk, strings.Join(path, " "))
		return
	}
	key := p.key()
	switch w.done[key] {
	case 1:
		w.t.Errorf("a circle: %s", strings.Join(path, " "))
		return
	case 2:
		return
	}
	w.done[key] = 1
	w.places++
	for i, ev := range w.events(&p) {
		next := p
		if ev.Kind == EventLock && (ev.Lock == LockLeader || ev.Lock == LockTooOld) {
			next.held = true
		}
		if ev.Kind == EventFound {
			next.flights = i
		}
		next.a = next.m.Step(ev, walkNow)
		w.step(next, path)
	}
	w.done[key] = 2
}

// events are all that can become of p's action.
func (w *walk) events(p *place) []Event {
	var all []Event
	switch p.a.Kind {
	case ActLookup:
		for _, c := range walkCandidates() {
			ev := Event{Kind: EventFound, Candidates: c, Held: make([][]Range, len(c))}
			if len(c) > 0 && c[0].Terms.Flags.Has(message.TermPartial) {
				ev.Held[0] = []Range{{0, 2}}
			}
			if p.m.running { // the driver holds what it sends from
				ev.Candidates = append(slices.Clone(c), p.m.base)
				ev.Held = append(ev.Held, []Range{{1, 2}})
			}
			all = append(all, ev)
		}
	case ActAcquire:
		for l := LockLeader; l <= LockCanceled; l++ {
			if l == LockStreaming {
				for _, c := range walkCandidates() {
					switch {
					case len(c) == 0 || c[0].Terms.Flags.Has(message.TermHitForMiss):
					case c[0].Terms.Flags.Has(message.TermPartial):
						all = append(all, Event{Kind: EventLock, Lock: l, Flight: c[0], Part: Range{0, 2}},
							Event{Kind: EventLock, Lock: l, Flight: c[0], Part: Range{2, 5}, Reached: Range{4, 5}},
							Event{Kind: EventLock, Lock: l, Flight: c[0], Part: Range{2, 5}})
					default:
						all = append(all, Event{Kind: EventLock, Lock: l, Flight: c[0], Reached: Range{0, 1}},
							Event{Kind: EventLock, Lock: l, Flight: c[0], Reached: Range{3, 4}, Ignored: true})
					}
				}
				continue
			}
			all = append(all, Event{Kind: EventLock, Lock: l, Led: p.a.Run})
		}
	case ActFetch:
		for _, r := range walkResponses() {
			all = append(all, Event{Kind: EventResponse, Response: r})
		}
		for f := FailureConnection; f <= FailureLoop; f++ {
			all = append(all, Event{Kind: EventFailed, Failure: f})
		}
	case ActFill:
		all = append(all, Event{Kind: EventFill, OK: true}, Event{Kind: EventFill})
	case ActFreshen:
		all = append(all, Event{Kind: EventFreshened, OK: true}, Event{Kind: EventFreshened})
	case ActInvalidate:
		stays := walkResponses()[0].Clone()
		stays.Fields.AddString("Content-Location", "/a")
		all = append(all, Event{Kind: EventInvalidated, Response: walkResponses()[0]}, Event{Kind: EventInvalidated, Response: stays})
	case ActServe, ActServeFill, ActRelay, ActFail:
		if p.m.background || p.m.running { // nothing is sent, and nothing read
			return []Event{{Kind: EventDelivered}}
		}
		for d := Complete; d <= Unreadable; d++ {
			all = append(all, Event{Kind: EventDelivered, Delivery: d})
		}
	}
	return all
}

var walkCache struct {
	policies   []*Policy
	requests   []*message.Request
	candidates [][]*message.Stored
	responses  []*message.Response
}

func walkPolicies() []*Policy {
	if walkCache.policies == nil {
		obey, disabled := DefaultPolicy(), DefaultPolicy()
		obey.ObeyRequest = true
		disabled.Disabled = true
		seldom := DefaultPolicy()
		seldom.MinUses = 2
		walkCache.policies = []*Policy{DefaultPolicy(), obey, disabled, seldom}
	}
	return walkCache.policies
}

func walkRequests() []*message.Request {
	if walkCache.requests == nil {
		for _, r := range []struct{ method, name, value string }{
			{"GET", "X-Kind", "one"},
			{"GET", "Cache-Control", "only-if-cached"},
			{"GET", "Cache-Control", "no-cache, no-store"},
			{"GET", "Cache-Control", "max-stale"},
			{"GET", "If-None-Match", `"y"`},
			{"GET", "Range", "bytes=0-1"},
			{"GET", "Range", "bytes=1-3"},
			{"GET", "Range", "bytes=-2"},
			{"GET", "Authorization", "Basic Zm9vOmJhcg=="},
			{"HEAD", "X-Kind", "one"},
			{"OPTIONS", "X-Kind", "one"},
			{"POST", "X-Kind", "one"},
		} {
			req := &message.Request{Method: r.method, Scheme: "http", Authority: []byte("example.com"), Target: []byte("/a"), PathLen: 2}
			req.Fields.AddString(r.name, r.value)
			walkCache.requests = append(walkCache.requests, req)
		}
		upgrade := walkCache.requests[0].Clone()
		upgrade.Upgrade = []byte("websocket")
		walkCache.requests = append(walkCache.requests, upgrade)
	}
	return walkCache.requests
}

// walkCandidates are what a store may hold: nothing, and one response of each
// kind that the classifiers tell apart.
func walkCandidates() [][]*message.Stored {
	if walkCache.candidates == nil {
		policy := DefaultPolicy()
		walkCache.candidates = [][]*message.Stored{nil, {hitForMiss(walkNow, policy)}}
		for _, fields := range []string{
			"Cache-Control: max-age=60\r\n",
			"Cache-Control: max-age=60\r\nAge: 100\r\n",
			"Cache-Control: max-age=60, must-revalidate\r\nAge: 100\r\nETag: \"x\"\r\n",
			"Cache-Control: max-age=60, stale-while-revalidate=1000, stale-if-error=1000\r\nAge: 100\r\nETag: \"x\"\r\n",
			"Cache-Control: max-age=60, no-cache\r\nETag: \"x\"\r\n",
			"Cache-Control: max-age=60\r\nVary: X-Kind\r\n",
			"Cache-Control: max-age=60\r\nVary: X-Other\r\n",
		} {
			for _, invalid := range []bool{false, true} {
				s := walkStored(fields, policy)
				if invalid {
					s = invalidatedHead(s)
				}
				walkCache.candidates = append(walkCache.candidates, []*message.Stored{s})
			}
		}
		walkCache.candidates = append(walkCache.candidates, []*message.Stored{walkPart(policy)}, []*message.Stored{rangesAsIs(walkNow, policy)})
	}
	return walkCache.candidates
}

// walkPart is the head of parts of five bytes.
func walkPart(policy *Policy) *message.Stored {
	part := walkStored("Cache-Control: max-age=60\r\nETag: \"x\"\r\n", policy)
	part.Terms.Flags |= message.TermPartial
	return part
}

// walkStored stores a response to a request with X-Kind: two and X-Other: one.
func walkStored(fields string, policy *Policy) *message.Stored {
	req := &message.Request{Method: "GET", Scheme: "http", Authority: []byte("example.com"), Target: []byte("/a"), PathLen: 2}
	req.Fields.AddString("X-Kind", "two")
	resp := &message.Response{Status: 200, Length: 5}
	resp.Fields.ParseLines([]byte(fields))
	d := parseResponseDirectives(&resp.Fields, policy.Targeted)
	return newStored(req, resp, &d, policy, walkNow, walkNow)
}

func walkResponses() []*message.Response {
	if walkCache.responses == nil {
		for _, r := range []struct {
			status int
			fields string
		}{
			{101, ""}, {103, ""},
			{200, "Cache-Control: max-age=60\r\n"},
			{200, "Cache-Control: max-age=60, no-cache\r\nETag: \"z\"\r\n"},
			{200, "Cache-Control: no-store\r\n"},
			{200, "Cache-Control: private\r\nVary: *\r\n"},
			{200, "Cache-Control: max-age=60\r\nVary: X-Kind\r\n"},
			{200, "ETag: \"x\"\r\n"},
			{206, "Cache-Control: max-age=60\r\nContent-Range: bytes 0-1/5\r\n"},
			{206, "Cache-Control: max-age=60\r\nETag: \"x\"\r\nContent-Range: bytes 0-4/9\r\n"},
			{206, "Cache-Control: max-age=60\r\nETag: \"x\"\r\nContent-Range: bytes 2-4/5\r\n"},
			{301, "Cache-Control: max-age=60\r\nLocation: /b\r\n"},
			{304, "ETag: \"x\"\r\n"},
			{304, "ETag: \"z\"\r\n"},
			{304, "Cache-Control: max-age=60\r\n"},
			{404, ""}, {416, ""},
			{500, ""}, {503, "Cache-Control: max-age=60\r\n"},
		} {
			resp := &message.Response{Status: r.status, Length: 5, NoBody: r.status < 200 || r.status == 304}
			resp.Fields.ParseLines([]byte(r.fields))
			if part, _, ok := parseContentRange(resp.Fields.Value(message.FieldContentRange)); ok {
				resp.Length = part.End - part.Start
			}
			walkCache.responses = append(walkCache.responses, resp)
		}
	}
	return walkCache.responses
}
