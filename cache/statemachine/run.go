package statemachine

import (
	"bytes"

	"edge/message"
)

// Chunks and runs. What is missing of a large representation is fetched in
// runs of whole chunks, so that the next request for a range nearby finds its
// chunk held. Runs of one representation that do not touch the same chunk are
// fetched side by side: the lock is on a run's chunks.
//
// A request may need several runs. The first one is this machine's own; for
// each later one, which is come upon while the answer is on its way, the driver
// starts a machine without a client (StartRun).

// MaxRun is how many chunks one request asks the origin for at most. It bounds
// what is fetched behind the back of a client that asks for a long range and
// leaves after its first bytes, and how long a fill keeps others from a chunk at
// its end.
const MaxRun = 16

// NearRun is how many chunks ahead of a fill a byte may lie for a request to
// wait for it there. What lies farther is fetched by a run of its own.
const NearRun = 4

// empty reports whether there is no byte in r.
func (r Range) empty() bool { return r.Start >= r.End }

// holds reports whether all of x lies in r.
func (r Range) holds(x Range) bool { return r.Start <= x.Start && x.End <= r.End }

// gap is what is to be fetched next.
type gap struct {
	base int   // index of the response held in parts, -1 without
	want Range // what the request needs of it
	ask  Range // what the origin is asked for: want in whole chunks, but for what is held
}

// empty reports whether nothing has to be fetched.
func (g gap) empty() bool { return g.want.empty() }

// fits reports whether a part, of a representation of total bytes, is enough:
// it brings what the request needs, as far as there is anything.
func (g gap) fits(part Range, total int64) bool {
	want := Range{g.want.Start, min(g.want.End, total)}
	return want.empty() || part.holds(want)
}

// clip leaves of the gap what a permit for led speaks for.
func (g *gap) clip(led Range) {
	g.ask.End = min(g.ask.End, led.End)
	g.want.End = min(g.want.End, g.ask.End)
}

// firstGap finds the first byte wanted that is not held, in the order of
// wanted, and what to ask for to get it: whole chunks up to the end of what is
// wanted in one go, at most MaxRun, and nothing that is held already. held is
// ascending and disjoint. A chunk of 0 bytes: exactly what is wanted.
func firstGap(wanted, held []Range, size, chunk int64) gap {
	for _, w := range wanted {
		before, first, next := int64(0), w.Start, size
		for _, h := range held {
			switch {
			case h.End <= first:
				before = h.End
			case h.Start <= first:
				before, first = h.End, h.End
			default:
				next = min(next, h.Start)
			}
		}
		if first >= w.End {
			continue
		}
		want := Range{first, min(w.End, next)}
		ask := widen(want, chunk)
		ask = Range{max(ask.Start, before), min(ask.End, next, size)}
		want.End = min(want.End, ask.End)
		return gap{base: -1, want: want, ask: ask}
	}
	return gap{base: -1}
}

// widen returns the chunks that r touches, MaxRun at most.
func widen(r Range, chunk int64) Range {
	if chunk <= 0 {
		return r
	}
	const most = 1<<63 - 1
	start := r.Start - r.Start%chunk
	end := int64(most)
	if r.End <= most-chunk {
		end = (r.End + chunk - 1) / chunk * chunk
	}
	if start <= most-MaxRun*chunk {
		end = min(end, start+MaxRun*chunk)
	}
	return Range{start, end}
}

// widens finds what to ask for where nothing is known of the representation
// and the request wants a range of it. Only one range with a first position can
// be widened: where a suffix begins nobody knows, and several ranges may lie
// anywhere. What will not be stored is asked for as it is.
func (m *HTTPCache) widens(c choice) bool {
	f := &m.req.Fields
	value, ok := single(f, message.FieldRange)
	switch {
	case !ok, m.policy.Chunk <= 0, !retrieves(m.req.Method), f.Has(message.FieldAuthorization):
		return false
	case c.marker || c.asIs || m.seldom || m.policy.ObeyRequest && m.directives.noStore:
		return false
	}
	want, ok := firstAndLast(value)
	if !ok {
		return false
	}
	m.gap = gap{base: -1, want: want, ask: widen(want, m.policy.Chunk)}
	if m.gap.ask.Start >= m.gap.ask.End || m.gap.ask.End == 1<<63-1 {
		m.gap = gap{base: -1}
		return false // beyond anything there can be: the origin's 416
	}
	m.gap.want.End = min(want.End, m.gap.ask.End)
	return true
}

// firstAndLast parses a Range field of one range of bytes with a first position.
func firstAndLast(value []byte) (Range, bool) {
	const most = 1<<63 - 1
	if bytes.IndexByte(value, ',') >= 0 || bytes.IndexByte(value, '=') < 0 || bytes.Contains(value, []byte("=-")) {
		return Range{}, false
	}
	var asked rangeSet
	if asked.parse(value, most) != rangeSatisfiable || asked.n != 1 {
		return Range{}, false
	}
	return asked.ranges[0], true
}

// queueRun has the request compete for the run that it misses. After too many
// rounds it goes alone.
func (m *HTTPCache) queueRun(s *message.Stored) Outcome {
	if m.req.Fields.Has(message.FieldAuthorization) {
		return mayGoAlone
	}
	return m.queue(s)
}

// StartRun begins to get what an answer under way misses: the first bytes of
// want, of the representation whose head is base. There is no client: the driver
// takes what ActServe, ActServeFill or ActRelay bring to the exchange that the
// answer is of. Its look-ups must find base, held by that exchange, among the
// candidates, and Held for all of them.
func (m *HTTPCache) StartRun(policy *Policy, req *message.Request, base *message.Stored, want Range, now Instant) Action {
	m.reset(policy, req)
	m.running, m.base = true, base
	m.missed = want
	m.directives = parseRequestDirectives(&req.Fields)
	m.wentForward(ReasonPartialMiss)
	return m.move(toLookup, ReasonPartialMiss, nil, now)
}

// StartDirectRun is StartRun for an answer that the store has failed too often: what
// is held is not looked at, nobody is followed, and nothing is stored. Where base has no
// strong validator, the origin is asked for the whole, and ActRelay brings it only if
// MayRepeat's conditions hold.
func (m *HTTPCache) StartDirectRun(policy *Policy, req *message.Request, base *message.Stored, want Range, now Instant) Action {
	m.reset(policy, req)
	m.running, m.direct, m.base = true, true, base
	m.missed = want
	m.directives = parseRequestDirectives(&req.Fields)
	m.wentForward(ReasonUnreadable)
	return m.move(toLookup, ReasonUnreadable, nil, now)
}

// MayContinue reports whether an answer to req, with the head s, that the store cannot go
// on with can be finished by runs. What comes then is combined with what was sent, for
// which RFC 9110 section 15.3.7.3 wants "the same strong validator".
func MayContinue(req *message.Request, s *message.Stored) bool {
	if req.Method != message.MethodGet || s.Status != 200 || s.Length < 0 || !s.Terms.HasStrongValidator() {
		return false
	}
	// RFC 9111 section 5.2.1.7: the client "only wishes to obtain a stored response".
	return !parseRequestDirectives(&req.Fields).onlyIfCached
}

// MayRepeat reports whether an answer to req, with the head s, that cannot be continued
// for want of a strong validator may be finished by what the origin sends now: whole, of
// the same length, under the same weak validators or likewise none, and beginning with the
// very bytes that were sent, which the caller compares. Nothing is combined then: all
// that the client gets are bytes of the one response that comes now.
func MayRepeat(req *message.Request, s *message.Stored) bool {
	return req.Method == message.MethodGet && s.Status == 200 && s.Length >= 0 && !s.Terms.HasStrongValidator() &&
		!parseRequestDirectives(&req.Fields).onlyIfCached
}

// repeats reports whether the origin is asked for the whole of an answer once more.
func (m *HTTPCache) repeats() bool { return m.direct && !m.base.Terms.HasStrongValidator() }

// mayRepeat reports whether resp, a 200, may be what base was, as far as its head says. Its
// length, where it has none, is known once it has ended, which the driver waits for
// where the end is wanted.
func (m *HTTPCache) mayRepeat(resp *message.Response) bool {
	if resp.Length != m.base.Length && (resp.Length >= 0 || m.missed.End != m.base.Length) {
		return false
	}
	f := &resp.Fields
	for _, id := range [...]message.FieldID{message.FieldETag, message.FieldLastModified, message.FieldContentEncoding, message.FieldContentType} {
		if !bytes.Equal(f.Value(id), headValue(m.base.Head, id)) {
			return false
		}
	}
	return true
}

// classifyRun looks for the first byte missed. Whether what is stored is fresh
// was decided when the answer began. Reached from Looking.
func (m *HTTPCache) classifyRun(ev *Event) (Outcome, Reason) {
	usable := m.planRun(ev)
	switch {
	case usable:
		return isUsable, ReasonHit
	case m.direct:
		return mayGoAlone, ReasonUnreadable
	}
	return m.queue(m.base), ReasonPartialMiss
}

// planRun chooses the candidate that holds what is missed, or else the gap to
// fetch. RFC 9110 section 15.3.7.3: only what has "the same strong validator"
// may be combined.
func (m *HTTPCache) planRun(ev *Event) bool {
	m.gap = gap{base: -1}
	for i, s := range m.candidates {
		if i >= len(ev.Held) || !SameRepresentation(m.base, s) {
			continue
		}
		if m.direct {
			want := Range{m.missed.Start, min(m.missed.End, widen(m.missed, m.policy.Chunk).End)}
			m.gap = gap{base: i, want: want, ask: want}
			return false
		}
		g := firstGap([]Range{m.missed}, ev.Held[i], s.Length, m.policy.Chunk)
		g.base = i
		if g.empty() || g.want.Start > m.missed.Start {
			m.chosen = i
			return true
		}
		if m.gap.base < 0 || m.gap.ask.holds(g.ask) && m.gap.ask != g.ask {
			m.gap = g // the one that holds most around it
		}
	}
	return false
}

// recheckRun looks once more where the permit is for a run: the first gap may
// be another by now, or known better. Reached from Rechecking.
func (m *HTTPCache) recheckRun(ev *Event, now Instant) (Outcome, Reason) {
	led := m.gap
	if usable := m.replan(ev, now); usable {
		m.decision.Collapsed = !m.running
		return isUsable, ReasonHit
	}
	first := m.gap.want.Start
	switch {
	case m.gap.empty():
	case m.gap.base < 0, led.ask.Start <= first && first < led.ask.End:
		m.gap.ask.Start = max(m.gap.ask.Start, led.ask.Start)
		m.gap.clip(led.ask)
	case m.tries <= m.policy.LockTries:
		m.tries++
		return mustCompete, m.decision.Forward
	}
	return mayGoAlone, m.decision.Forward
}

// replan finds what is usable by now, or else the gap.
func (m *HTTPCache) replan(ev *Event, now Instant) (usable bool) {
	if m.running {
		return m.planRun(ev)
	}
	led := m.gap
	led.base = -1
	c := choose(m.req, ev.Candidates, now)
	switch {
	case c.chosen >= 0:
		m.chosen = c.chosen
		usable, _ = m.classifyStored(m.candidates[c.chosen], now)
	case c.partial >= 0 && c.partial < len(ev.Held) && m.planParts(c.partial, ev.Held[c.partial], now):
		if usable = m.gap.empty(); usable {
			m.chosen = c.partial
		}
		return usable
	case c.marker || c.asIs:
		m.gap = gap{base: -1}
		return false
	}
	if !usable {
		// What was led is fetched all the same, and takes the place of what is
		// of no use.
		m.chosen, m.gap = -1, led
	}
	return usable
}

// SameRepresentation reports whether a and b are responses with bytes of the
// same representation, so that those of the one may follow those of the other.
// RFC 9110 section 15.3.7.3: "A client that has received multiple partial
// responses to GET requests on a target resource MAY combine those responses
// into a larger continuous range if they share the same strong validator."
func SameRepresentation(a, b *message.Stored) bool {
	if a.Length != b.Length || a.Length < 0 || a.Status != b.Status || !bytes.Equal(a.Nominated, b.Nominated) {
		return false
	}
	return a.Terms.SharesStrongValidator(&b.Terms)
}

// classifyRunResponse decides what the answer to a later run is good for. What
// was sent cannot be taken back: another representation's bytes must not follow
// it, so that whatever is no part of the same one ends the answer.
func (m *HTTPCache) classifyRunResponse(resp *message.Response) (Outcome, Reason) {
	if m.repeats() {
		if m.part = (Range{0, m.base.Length}); resp.Status != 200 || !m.mayRepeat(resp) {
			return isBroken, ReasonPart
		}
		m.decision.NotStored = ReasonPart
		return isUnstorable, ReasonPart
	}
	switch resp.Status {
	case 206:
		return m.classifyPart(resp)
	// RFC 9110 section 13.1.5: the condition was false, so that the
	// representation is another; or it is shorter by now.
	case 200:
		if sharesStrongValidator(m.base, resp) && resp.Length == m.base.Length {
			// Section 14.2: "A server MAY ignore the Range header field." What was sent
			// already is passed over.
			m.part = Range{0, resp.Length}
			m.decision.NotStored = ReasonPart
			return isUnstorable, ReasonPart
		}
		m.drop = !sharesStrongValidator(m.base, resp)
	case 416:
		m.drop = true
	}
	return isBroken, ReasonPart
}

// classifyRunFlight decides whether a fill under way brings the run that is
// missed.
func (m *HTTPCache) classifyRunFlight(ev *Event) (Outcome, Reason) {
	first := m.gap.want.Start
	switch s := ev.Flight; {
	case m.running && !SameRepresentation(m.base, s):
		return m.apartFrom()
	case s.Length >= 0 && first >= s.Length:
		// What lies beyond the end is answered by the head alone.
	case !ev.Part.empty():
		if first < ev.Part.Start || first >= ev.Part.End {
			return m.compete()
		}
		if passedBy(ev, first) {
			return mayGoAlone, m.decision.Forward
		}
	// The origin was asked for a range and sends the whole: it would again.
	case ev.Ignored && first >= ev.Reached.Start:
	case first < ev.Reached.Start || first > ev.Reached.End+NearRun*m.policy.Chunk:
		return m.apartFrom()
	}
	m.decision.Collapsed = true
	if !m.running {
		m.decision.Response = ev.Flight
	}
	return isFollower, ReasonCollapsed
}

// passedBy reports whether a fill under way has no more of what begins at first: it is not
// kept, and has gone on at the pace of its fastest reader.
func passedBy(ev *Event, first int64) bool { return !ev.Reached.empty() && first < ev.Reached.Start }

// apartFrom has the request compete for its run, whatever is filled for others.
func (m *HTTPCache) apartFrom() (Outcome, Reason) {
	if m.apart {
		return mayGoAlone, m.decision.Forward
	}
	m.apart = true
	return m.compete()
}

// compete has the request try once more, a bounded number of times.
func (m *HTTPCache) compete() (Outcome, Reason) {
	if m.tries++; m.tries > m.policy.LockTries {
		return mayGoAlone, m.decision.Forward
	}
	return mustCompete, m.decision.Forward
}
