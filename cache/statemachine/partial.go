package statemachine

import (
	"strconv"

	"edge/message"
)

// Parts. RFC 9111 section 3.3: "a 206 (Partial Content) response MAY be stored
// as if it were an incomplete 200 (OK) response", and: "A cache MUST NOT use an
// incomplete response to answer requests unless the response has been made
// complete, or the request is partial and specifies a range wholly within the
// incomplete response."

// classifyParts decides what a response held in parts is good for: enough for
// the request, or the base for fetching what is missing of it. Anything else is
// a miss.
func (m *HTTPCache) classifyParts(i int, held []Range, now Instant) (Outcome, Reason, bool) {
	if !m.planParts(i, held, now) {
		return 0, ReasonNone, false
	}
	if m.gap.empty() {
		m.chosen = i
		return isUsable, ReasonHit, true
	}
	if m.directives.onlyIfCached {
		return isRefused, ReasonOnlyIfCached, true
	}
	m.wentForward(ReasonPartialMiss)
	return m.queueRun(m.candidates[i]), ReasonPartialMiss, true
}

// planParts finds the first gap in what the request wants of candidate i, of
// which held is held. It reports false where the parts are of no use: section
// 3.4 wants a strong validator to combine them under.
func (m *HTTPCache) planParts(i int, held []Range, now Instant) bool {
	s := m.candidates[i]
	if usable, _ := m.classifyStored(s, now); !usable || !s.Terms.HasStrongValidator() || s.Length < 0 {
		return false
	}
	m.gap = gap{base: -1}
	sel := Select(m.req, s, s.Length)
	switch {
	case !retrieves(m.req.Method):
	case sel.Status == 206:
		m.gap = firstGap(sel.Ranges(), held, s.Length, m.policy.Chunk)
	case sel.Status == s.Status:
		m.gap = firstGap([]Range{{0, s.Length}}, held, s.Length, m.policy.Chunk)
	}
	m.gap.base = i
	if m.gap.want.Start > m.progress {
		m.progress, m.tries = m.gap.want.Start, 0 // others have brought us further
	}
	return true
}

// classifyPart decides what to do with a 206. RFC 9110 section 15.3.7: it
// answers a range request only, and says in Content-Range what it holds.
func (m *HTTPCache) classifyPart(resp *message.Response) (Outcome, Reason) {
	asked := m.form == FormCompleting || m.form == FormRanged || m.form == FormAsIs && m.req.Fields.Has(message.FieldRange)
	if !asked {
		return isBroken, ReasonMalformed
	}
	part, total, ok := parseContentRange(resp.Fields.Value(message.FieldContentRange))
	ok = ok && resp.Fields.Count(message.FieldContentRange) == 1 && resp.Length == part.End-part.Start
	switch m.form {
	case FormCompleting:
		return m.classifyGap(part, total, ok, resp)
	case FormRanged:
		return m.classifyRanged(part, total, ok, resp)
	case FormAsIs, FormPlain, FormValidating:
	}
	// A store that failed us more than once is left alone, or this would go on
	// for ever.
	if ok && !m.seldom && m.tries <= m.policy.LockTries && m.storesPart(part, total, resp) {
		m.part = part
		return isStorable, m.decision.Forward
	}
	if m.misfits(resp) {
		return isBroken, ReasonMalformed
	}
	m.decision.NotStored = ReasonPart
	return isUnstorable, ReasonPart
}

// classifyGap decides whether a 206 is what the parts at hand miss. RFC 9111
// section 3.4: "A cache MAY combine these ranges into a single stored response
// ... if they all share the same strong validator".
func (m *HTTPCache) classifyGap(part Range, total int64, ok bool, resp *message.Response) (Outcome, Reason) {
	base := m.candidates[m.gap.base]
	same := ok && total == base.Length && sharesStrongValidator(base, resp)
	switch fits := ok && m.gap.ask.holds(part) && m.gap.fits(part, total); {
	case same && fits && !m.direct && m.mayKeepPart(resp):
		m.part = part
		return isStorable, m.decision.Forward
	case same && fits && m.running:
		m.part = part
		m.decision.NotStored = ReasonPart
		return isUnstorable, ReasonPart // it is what is missing, for this answer only
	case m.running:
		m.drop = ok && !same
		return isBroken, ReasonPart // some was sent: nothing else may follow
	case same:
		m.unaligned = true
	}
	return isMismatch, ReasonPart
}

// classifyRanged decides what to do with the answer to a client's range that
// was widened to chunks.
func (m *HTTPCache) classifyRanged(part Range, total int64, ok bool, resp *message.Response) (Outcome, Reason) {
	switch {
	// "A server that generates a 206 ... describing what range of the selected
	// representation is enclosed" (section 15.3.7.1): what was not asked for
	// answers something else.
	case !ok && m.misfits(resp), ok && !m.gap.ask.holds(part):
		return isBroken, ReasonMalformed
	case !ok || !m.gap.fits(part, total):
		// "a server might want to send only a subset of the data requested for
		// reasons of its own" (section 15.3.7): what it makes of the client's
		// own range is for it to say.
		m.unaligned = true
		return isMismatch, ReasonPart
	}
	m.cut = m.cutOf(part, total, resp)
	why := m.partForbidden(resp, total)
	if why == ReasonNone && !m.stored(resp, total).Terms.HasStrongValidator() {
		why = ReasonPart // nothing could ever be combined with it for sure
	}
	if why == ReasonNone {
		m.part = part
		return isStorable, m.decision.Forward
	}
	m.unaligned = true
	if m.cut.empty() {
		return isMismatch, why
	}
	m.decision.NotStored = why
	return isUnstorable, why
}

// cutOf returns what the client asked for where the part at hand holds all of
// that, else nothing. m.cut is answered as if the client's own Range had been
// sent; conditions that lead elsewhere are the origin's to evaluate.
func (m *HTTPCache) cutOf(part Range, total int64, resp *message.Response) Range {
	sel := Select(m.req, m.stored(resp, total), total)
	if r := sel.Ranges(); sel.Status == 206 && len(r) == 1 && part.holds(r[0]) {
		return r[0]
	}
	return Range{}
}

// stored is the head of the 200 that resp is a part of.
func (m *HTTPCache) stored(resp *message.Response, total int64) *message.Stored {
	d := parseResponseDirectives(&resp.Fields, m.policy.Targeted)
	return m.newPart(resp, &d, total, m.sent)
}

// partForbidden says why a part must not be stored by the rules of section 3,
// which hold for it as for the 200, of total bytes, that it is a part of.
func (m *HTTPCache) partForbidden(resp *message.Response, total int64) Reason {
	whole := *resp
	whole.Status, whole.Length = 200, total
	d := parseResponseDirectives(&resp.Fields, m.policy.Targeted)
	_, why := storable(m.req, &m.directives, &whole, &d, m.policy)
	return why
}

// misfits reports whether a 206 is none that the client's Range can have
// brought. RFC 9110 section 15.3.7.1: "If a single part is being transferred,
// the server generating the 206 response MUST generate a Content-Range header
// field, describing what range of the selected representation is enclosed", and
// section 15.3.7.2 leaves it out of the head of several parts. Units other than
// bytes are passed on unseen, and a part of what was asked for is one too: "a
// server MAY send only a subset of the ranges requested".
func (m *HTTPCache) misfits(resp *message.Response) bool {
	v, ok := single(&resp.Fields, message.FieldContentRange)
	switch {
	case !ok:
		return resp.Fields.Has(message.FieldContentRange) || !hasPrefixFold(resp.Fields.Value(message.FieldContentType), "multipart/byteranges")
	case !hasPrefixFold(v, "bytes "):
		return false
	}
	part, ok := EnclosedRange(v)
	if !ok || resp.Length >= 0 && !resp.NoBody && resp.Length != part.End-part.Start {
		return true
	}
	_, total, ok := parseContentRange(v)
	var asked rangeSet
	if !ok || !m.req.Fields.Has(message.FieldRange) {
		return false // of unknown length: what "-5" asked for cannot be told
	}
	switch asked.parse(m.req.Fields.Value(message.FieldRange), total) {
	case rangeUnsatisfiable:
		return true
	case rangeIgnored:
		return false
	case rangeSatisfiable:
	}
	for _, r := range asked.ranges[:asked.n] {
		if part.Start < r.End && r.Start < part.End {
			return false
		}
	}
	return true
}

func hasPrefixFold(v []byte, prefix string) bool {
	return len(v) >= len(prefix) && message.EqualFoldString(v[:len(prefix)], prefix)
}

// mayKeepPart reports whether what completes a stored response may be stored:
// the rules of section 3 hold for each response that is combined.
func (m *HTTPCache) mayKeepPart(resp *message.Response) bool {
	whole := *resp
	whole.Status = 200
	d := parseResponseDirectives(&resp.Fields, m.policy.Targeted)
	return forbiddenByRequest(m.req, &m.directives, &whole, m.policy) == ReasonNone &&
		forbiddenByDirectives(m.req, &whole, &d, m.policy) == ReasonNone
}

func sharesStrongValidator(s *message.Stored, resp *message.Response) bool {
	etag, _ := Validators(s)
	if len(etag) > 0 && etag[0] == '"' {
		return string(resp.Fields.Value(message.FieldETag)) == string(etag)
	}
	_, modified := Validators(s)
	return s.Terms.Flags.Has(message.TermLastModifiedStrong) && !resp.Fields.Has(message.FieldETag) &&
		string(resp.Fields.Value(message.FieldLastModified)) == string(modified)
}

// storesPart reports whether a 206 to the client's own range may be kept: it
// must cover what was asked for, or we could not answer from it.
func (m *HTTPCache) storesPart(part Range, total int64, resp *message.Response) bool {
	if m.partForbidden(resp, total) != ReasonNone {
		return false
	}
	s := m.stored(resp, total)
	if !s.Terms.HasStrongValidator() {
		return false // nothing could ever be combined with it for sure
	}
	sel := Select(m.req, s, total)
	return sel.Status == 206 && firstGap(sel.Ranges(), []Range{part}, total, 0).empty()
}

// newPart makes the head of a response of which resp is a part: that of the
// 200 it would be.
func (m *HTTPCache) newPart(resp *message.Response, d *responseDirectives, total int64, now Instant) *message.Stored {
	whole := *resp
	whole.Status, whole.Reason, whole.Length = 200, nil, total
	whole.Fields = message.Fields{}
	whole.Fields.CopyFrom(&resp.Fields)
	whole.Fields.Delete(message.FieldContentRange)
	s := newStored(m.req, &whole, d, m.policy, m.sent, now)
	s.Terms.Flags |= message.TermPartial
	return s
}

// fillInPart completes an ActFill of a part.
func (m *HTTPCache) fillInPart(a *Action, resp *message.Response, now Instant) {
	a.Part, a.Missing = true, m.part
	if m.form == FormCompleting {
		// Section 3.4: "the cache MUST update the stored response header
		// fields using the header fields provided in the new response".
		base := m.candidates[m.gap.base]
		a.Chosen = m.gap.base
		a.Stored = freshenedHead(base, m.req, resp, m.policy, m.sent, now)
		a.Stored.Length = base.Length
		a.Stored.Terms.Flags |= message.TermPartial
	} else {
		d := parseResponseDirectives(&resp.Fields, m.policy.Targeted)
		_, total, _ := parseContentRange(resp.Fields.Value(message.FieldContentRange))
		a.Chosen = -1
		a.Stored = m.newPart(resp, &d, total, now)
	}
	m.share(a, now)
	m.decision.Response = a.Stored
}

// AppendRange appends the value of a Range field for one range.
func (r Range) AppendRange(dst []byte) []byte {
	dst = append(dst, "bytes="...)
	dst = strconv.AppendInt(dst, r.Start, 10)
	dst = append(dst, '-')
	return strconv.AppendInt(dst, r.End-1, 10)
}

// parseContentRange parses "bytes first-last/complete", RFC 9110 section 14.4.
// A complete length that is unknown ("*") is none we can store by.
func parseContentRange(v []byte) (r Range, total int64, ok bool) {
	const unit = "bytes "
	if len(v) < len(unit) || !message.EqualFoldString(v[:len(unit)], unit) {
		return r, 0, false
	}
	v = v[len(unit):]
	first, v, ok1 := cutNumber(v, '-')
	last, v, ok2 := cutNumber(v, '/')
	total, ok3 := parsePosition(v)
	// "A Content-Range field value is invalid if it contains a range-resp that
	// has a last-pos value less than its first-pos value, or a complete-length
	// value less than or equal to its last-pos value."
	if !ok1 || !ok2 || !ok3 || last < first || total <= last {
		return Range{}, 0, false
	}
	return Range{first, last + 1}, total, true
}

// EnclosedRange parses a Content-Range of bytes whose complete length may be
// unknown ("*").
func EnclosedRange(v []byte) (Range, bool) {
	const unknown = "/*"
	if n := len(v) - len(unknown); n > 0 && string(v[n:]) == unknown {
		const most = "/9223372036854775807"
		r, _, ok := parseContentRange(append(append([]byte(nil), v[:n]...), most...))
		return r, ok
	}
	r, _, ok := parseContentRange(v)
	return r, ok
}

// cutNumber parses the digits before sep and returns what follows sep.
func cutNumber(v []byte, sep byte) (int64, []byte, bool) {
	for i, c := range v {
		if c == sep {
			n, ok := parsePosition(v[:i])
			return n, v[i+1:], ok
		}
	}
	return 0, nil, false
}
