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
	case ActFetch:
		m.fillInFetch(a, now)
	case ActFill, ActFreshen, ActRelay:
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
	case m.completing.base >= 0 && previous == FormAsIs && m.tries == 0:
		m.form = FormCompleting
		a.Chosen, a.Missing = m.completing.base, m.completing.missing
	case m.chosen >= 0 && previous != FormValidating && hasValidator(m.candidates[m.chosen]):
		m.form = FormValidating
	case m.chosen >= 0 || m.permit || m.background:
		m.form = FormPlain
	default: // alone: whatever comes is most likely for this client only
		m.form = FormAsIs
	}
	a.Form = m.form
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
		d := parseResponseDirectives(&resp.Fields, m.policy.Targeted)
		a.Stored = newStored(m.req, resp, &d, m.policy, m.sent, now)
		// What no other request may use must not be waited for.
		usable := isFresh(a.Stored, now) && a.Stored.Terms.Flags&message.TermNoCache == 0
		a.Share = m.permit && usable
		if m.permit && !usable {
			a.Permit, m.permit = PermitGaveUp, false
		}
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
		if m.remembers() {
			a.Remember = true
			a.Stored = hitForMiss(now, m.policy)
		}
	default: // no action of the others carries a head
	}
}

// remembers reports whether an unstorable answer says something about the
// next ones: then waiters need not queue for a while.
func (m *HTTPCache) remembers() bool {
	if !retrieves(m.req.Method) || m.policy.HitForMiss <= 0 || m.form == FormAsIs {
		return false
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
