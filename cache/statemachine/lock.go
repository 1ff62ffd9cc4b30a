package statemachine

import "edge/message"

// classifyLock decides what to do with what became of the key's lock. Reached
// from Locking.
func (m *HTTPCache) classifyLock(ev *Event, now Instant) (Outcome, Reason) {
	why := m.decision.Forward
	switch ev.Lock {
	case LockLeader, LockTooOld: // too old: the lead was taken over, with a permit
		m.permit = true
		m.gap.clip(ev.Led)
		return isLeader, why
	case LockStreaming:
		return m.classifyFlight(ev, now)
	case LockStored:
		m.tries++
		m.decision.Collapsed = true
		return isStored, ReasonCollapsed
	case LockGaveUp:
		return mayGoAlone, ReasonHitForMiss
	case LockFailed:
		return m.classifyLeaderFailure(now)
	case LockAlone:
		return mayGoAlone, ReasonLockTimeout
	case LockTimedOut:
		if s := m.stale(); s != nil && m.staleAllowed(s, now, s.Terms.StaleDisconnected) {
			return isStaleAllowed, ReasonStaleLocked
		}
		return isRefused, ReasonLockTimeout
	case LockBusy:
		return isBusy, why
	case LockCanceled:
	}
	return isAbandoned, why
}

// classifyFlight decides whether a response that is being filled for another
// request is for this one too. RFC 9111 section 4: "if the cache cannot use
// the returned response for some or all of the collapsed requests, it will
// need to forward the requests in order to satisfy them".
func (m *HTTPCache) classifyFlight(ev *Event, now Instant) (Outcome, Reason) {
	s := ev.Flight
	if s.Terms.Flags.Has(message.TermHasVary) && !matchesVary(m.req, s) {
		m.tries++
		if m.tries > m.policy.LockTries {
			return mayGoAlone, ReasonVaryMiss
		}
		m.variant = variantOf(m.req, s)
		return mustCompete, ReasonVaryMiss
	}
	if usable, _ := m.classifyStored(s, now); !usable && !m.running {
		return mayGoAlone, m.decision.Forward
	}
	if !m.gap.empty() {
		return m.classifyRunFlight(ev)
	}
	if passedBy(ev, ev.Part.Start) {
		return mayGoAlone, m.decision.Forward
	}
	m.decision.Collapsed = true
	m.decision.Response = s
	return isFollower, ReasonCollapsed
}

// classifyLeaderFailure decides after a leader came back without a response:
// compete a bounded number of times, so that a herd asks a dead origin a few
// times and not once each.
func (m *HTTPCache) classifyLeaderFailure(now Instant) (Outcome, Reason) {
	m.tries++
	if s := m.stale(); s != nil && m.staleAllowed(s, now, s.Terms.StaleDisconnected) {
		return isStaleAllowed, ReasonStaleDisconnected
	}
	if m.tries > m.policy.LockTries {
		return isRefused, ReasonConnectionError
	}
	return mustCompete, m.decision.Forward
}

// stale returns the chosen response, nil without one.
func (m *HTTPCache) stale() *message.Stored {
	if m.chosen < 0 {
		return nil
	}
	return m.candidates[m.chosen]
}
