package statemachine

import "edge/message"

// fillIn completes an action with its nouns: which response, in which form,
// under which status. The decisions are taken; only values are put in place.
func (m *HTTPCache) fillIn(a *Action, o Outcome, now Instant) {
	m.decision.Reason = a.Reason
	switch a.Kind {
	case ActAcquire:
		a.NoWait = m.background
		a.Variant = m.variant
		a.Run, a.Chunk, a.Apart = m.gap.ask, m.policy.Chunk, m.apart
	case ActFetch:
		m.fillInFetch(a, now)
	case ActRelay:
		if a.Cut = m.cut; m.running {
			a.Cut = m.part
		}
	case ActFill, ActFreshen:
		// Their nouns come from the response: fillInResponse has put them in.
	case ActServe:
		a.Stored = m.headGiven
		if a.Stored == nil {
			a.Stored = m.candidates[m.chosen]
		}
		m.decision.Response = a.Stored
		a.Refresh = o == isStaleUsable
	case ActFail:
		a.Status = m.failStatus()
		m.decision.Status = a.Status
		if a.Drop = m.drop; a.Drop {
			a.Chosen = m.gap.base
		}
	case ActLookup, ActServeFill, ActInvalidate, ActDone:
	}
	if a.Permit == PermitStored && a.Stored != nil && !isFresh(a.Stored, now) {
		// Waiters would look up, find it stale and queue one by one.
		a.Permit = PermitGaveUp
	}
}

// fillInFetch decides the form of the request. Section 4.3.1: "When
// generating a conditional request for validation, a cache ... starts with a
// request it is attempting to satisfy".
func (m *HTTPCache) fillInFetch(a *Action, now Instant) {
	m.sent = now
	previous := m.form
	switch {
	case m.state == Passing:
		m.wentForward(a.Reason)
		m.form = FormAsIs
	case m.running && m.repeats():
		m.form = FormPlain
	case m.running, m.gap.base >= 0 && !m.gap.empty() && previous != FormCompleting:
		m.form = FormCompleting
		a.Chosen, a.Missing = m.gap.base, m.gap.ask
	case m.req.Fields.Has(message.FieldRange) && m.chosen < 0 && !m.background:
		m.fillInRanged(a, previous)
	case m.chosen >= 0 && previous != FormValidating && hasValidator(m.candidates[m.chosen]):
		m.form = FormValidating
	case m.chosen >= 0 || m.permit || m.background:
		m.form = FormPlain
	default: // alone: whatever comes is most likely for this client only
		m.form = FormAsIs
	}
	a.Form = m.form
}

// fillInRanged decides how the first of a range is asked for, or the range anew
// where that brought something else.
func (m *HTTPCache) fillInRanged(a *Action, previous Form) {
	led := m.gap.ask
	if previous == FormCompleting {
		// The parts at hand are no longer what the origin has: the client's range
		// of what it has now, if the permit speaks for where that begins.
		if !m.widens(choice{}) || !led.holds(Range{m.gap.ask.Start, m.gap.ask.Start + 1}) {
			m.gap = gap{base: -1}
		}
		m.gap.clip(led)
	}
	if m.permit && previous != FormRanged && !m.unaligned && !m.gap.empty() {
		m.form, a.Missing = FormRanged, m.gap.ask
		return
	}
	m.form, m.gap = FormAsIs, gap{base: -1}
	if m.permit { // its answer is most likely for this client only
		a.Permit, m.permit = PermitGaveUp, false
	}
}

// failStatus is the status of an answer of our own.
func (m *HTTPCache) failStatus() int {
	switch m.decision.Reason {
	case ReasonOnlyIfCached, ReasonLockTimeout:
		return 504
	case ReasonBadNotModified, ReasonMalformed:
		return 502
	default: // the failure itself said it
	}
	if m.decision.Status != 0 {
		return m.decision.Status
	}
	return 502
}

// fillInResponse completes the actions that carry a response's head. It runs
// where the response is at hand, before fillIn.
func (m *HTTPCache) fillInResponse(a *Action, o Outcome, resp *message.Response, now Instant) {
	switch o {
	case isStorable:
		if m.part.Start < m.part.End {
			m.fillInPart(a, resp, now)
			return
		}
		a.Stored = newStored(m.req, resp, &m.said, m.policy, m.sent, now)
		m.share(a, now)
		m.decision.Response = a.Stored
	case isNotModified:
		a.Stored = freshenedHead(m.stale(), m.req, resp, m.policy, m.sent, now)
		m.headGiven = a.Stored
	case isHeadUpdate:
		a.Stored = invalidatedHead(m.stale())
		if matchesHead(m.stale(), resp) {
			a.Stored = freshenedHead(m.stale(), m.req, resp, m.policy, m.sent, now)
		}
	case isUnstorable:
		switch {
		case m.remembers():
			a.Remember = true
			a.Stored = hitForMiss(now, m.policy)
		case m.unaligned && m.policy.HitForMiss > 0 && len(m.candidates) == 0:
			a.Remember = true
			a.Stored = rangesAsIs(now, m.policy)
		}
	default: // no action of the others carries a head
	}
}

// share lets others have the fill, unless they could not use it: what no other
// request may use must not be waited for.
func (m *HTTPCache) share(a *Action, now Instant) {
	usable := m.running || isFresh(a.Stored, now) && a.Stored.Terms.Flags&message.TermNoCache == 0
	a.Share = m.permit && usable
	if m.permit && !usable {
		a.Permit, m.permit = PermitGaveUp, false
	}
}

// remembers reports whether an unstorable answer says something about the
// next ones: then waiters need not queue for a while.
func (m *HTTPCache) remembers() bool {
	if !retrieves(m.req.Method) || m.policy.HitForMiss <= 0 || m.form == FormAsIs {
		return false
	}
	if m.decision.ForwardStatus == 416 {
		return false // of the range
	}
	switch m.decision.NotStored {
	case ReasonNoStore, ReasonPrivate, ReasonSetCookie, ReasonVaryAny, ReasonNotCacheable, ReasonNoCache:
		return true
	case ReasonNoFreshness:
		return !m.req.Fields.Has(message.FieldCookie)
	default: // of this request or this moment, not of the resource
	}
	return false
}
