package statemachine

import "edge/message"

// choice is what looking through the candidates came to.
type choice struct {
	chosen  int  // index, -1 for none
	other   int  // the newest variant that does not match, -1 for none
	marker  bool // a live hit-for-miss
	asIs    bool // a live memory that parts cannot be kept
	partial int  // the newest match that holds parts only, -1 for none
}

// choose picks the chosen response among those whose nominated fields match.
func choose(req *message.Request, candidates []*message.Stored, now Instant) choice {
	c := choice{chosen: -1, other: -1, partial: -1}
	for i, s := range candidates {
		flags := s.Terms.Flags
		switch {
		case flags&termsSpecial == 0: // the common case: no Vary, a whole response
			c.take(i, candidates, now)
		case flags.Has(message.TermHitForMiss | message.TermRangesAsIs):
			c.asIs = c.asIs || isFresh(s, now)
		case flags.Has(message.TermHitForMiss):
			c.marker = c.marker || isFresh(s, now)
		case flags.Has(message.TermVaryAny) || flags.Has(message.TermHasVary) && !matchesVary(req, s):
			if c.other < 0 {
				c.other = i
			}
		case flags.Has(message.TermPartial):
			if c.partial < 0 {
				c.partial = i
			}
		default:
			c.take(i, candidates, now)
		}
	}
	return c
}

// take chooses candidate i unless the one chosen so far is better.
func (c *choice) take(i int, candidates []*message.Stored, now Instant) {
	if c.chosen < 0 || better(candidates[i], candidates[c.chosen], now) {
		c.chosen = i
	}
}

// better reports whether s is to be chosen rather than t, where both match.
func better(s, t *message.Stored, now Instant) bool {
	// What may be used at once is suitable before what may not: else a variant
	// from before the origin dropped its Vary would stand in the way for ever.
	if a, b := usableAtOnce(s, now), usableAtOnce(t, now); a != b {
		return a
	}
	// RFC 9111 section 4.1: "When a cache has multiple stored responses for a
	// target URI and one or more omits the Vary header field, the cache SHOULD
	// choose the most recent stored response with a valid Vary field value."
	if a, b := s.Terms.Flags.Has(message.TermHasVary), t.Terms.Flags.Has(message.TermHasVary); a != b {
		return a
	}
	// Section 4: "a cache MUST use the most recent one (as determined by the
	// Date header field)". Of the same Date, the one stored last stands first.
	return s.Terms.Date > t.Terms.Date
}

func usableAtOnce(s *message.Stored, now Instant) bool {
	return s.Terms.Flags&(message.TermNoCache|message.TermInvalidated) == 0 && isFresh(s, now)
}

// termsSpecial are the flags that make choosing more than taking.
const termsSpecial = message.TermHitForMiss | message.TermVaryAny | message.TermHasVary | message.TermPartial

// classifyFound decides what the stored responses are good for. Reached from
// Looking.
func (m *HTTPCache) classifyFound(ev *Event, now Instant) (Outcome, Reason) {
	m.candidates = ev.Candidates
	m.gap = gap{base: -1}
	if m.running {
		return m.classifyRun(ev)
	}
	c := choose(m.req, ev.Candidates, now)
	m.chosen, m.variant = c.chosen, nil
	m.seldom = len(ev.Candidates) == 0 && m.policy.MinUses > 1 && ev.Uses < m.policy.MinUses
	if c.chosen < 0 {
		if c.partial >= 0 && c.partial < len(ev.Held) {
			if o, why, ok := m.classifyParts(c.partial, ev.Held[c.partial], now); ok {
				return o, why
			}
		}
		return m.classifyMiss(c)
	}
	s := m.candidates[c.chosen]
	usable, why := m.classifyStored(s, now)
	switch {
	case usable:
		return isUsable, why
	// RFC 5861 section 3: "caches MAY serve the response in which it appears
	// after it becomes stale, up to the indicated number of seconds".
	case why == ReasonStale && m.staleAllowed(s, now, s.Terms.StaleWhileRevalidate):
		return isStaleUsable, ReasonStaleWhileRevalidate
	// RFC 9111 section 5.2.1.7: "respond with either a stored response
	// consistent with the other constraints of the request or a 504".
	case m.directives.onlyIfCached:
		return isRefused, ReasonOnlyIfCached
	}
	m.wentForward(why)
	if m.req.Method == message.MethodHead {
		return mayGoAlone, why
	}
	return m.queue(s), why
}

// classifyMiss decides how to go forward when nothing can be chosen.
func (m *HTTPCache) classifyMiss(c choice) (Outcome, Reason) {
	why := ReasonURIMiss
	switch {
	case c.marker:
		why = ReasonHitForMiss
	case c.partial >= 0:
		why = ReasonPartialMiss
	case c.other >= 0:
		why = ReasonVaryMiss
	}
	if m.directives.onlyIfCached {
		return isRefused, ReasonOnlyIfCached
	}
	m.wentForward(why)
	// What is not going to be stored is not worth waiting for.
	if c.marker || m.seldom || !m.ordinary() && !m.widens(c) {
		return mayGoAlone, why
	}
	if c.other >= 0 {
		return m.queue(m.candidates[c.other]), why
	}
	return m.queue(nil), why
}

// queue names the lock by the variant of this request under s's Vary, so that
// variants do not wait for one another. After too many rounds it goes alone:
// what others store may be gone each time we look.
func (m *HTTPCache) queue(s *message.Stored) Outcome {
	if m.tries > m.policy.LockTries {
		return mayGoAlone
	}
	if s != nil && s.Terms.Flags.Has(message.TermHasVary) {
		m.variant = variantOf(m.req, s)
	}
	return mustQueue
}

// wentForward keeps the first reason to go forward.
func (m *HTTPCache) wentForward(why Reason) {
	if m.decision.Forward == ReasonNone {
		m.decision.Forward = why
	}
}

// classifyRecheck looks once more, holding the permit: what was missing may
// have been stored between our look-up and the permit. Reached from
// Rechecking.
func (m *HTTPCache) classifyRecheck(ev *Event, now Instant) (Outcome, Reason) {
	m.candidates = ev.Candidates
	if !m.gap.empty() {
		return m.recheckRun(ev, now)
	}
	c := choose(m.req, ev.Candidates, now)
	m.chosen = c.chosen
	if c.chosen >= 0 {
		if usable, why := m.classifyStored(m.candidates[c.chosen], now); usable {
			m.decision.Collapsed = !m.background
			return isUsable, why
		}
	}
	return mayGoAlone, m.decision.Forward
}

// classifyStored says whether the chosen response may be used without
// validation, and why or why not. RFC 9111 section 4: "a cache MUST NOT reuse
// a stored response unless ... the stored response does not contain the
// no-cache directive ... unless it is successfully validated, and the stored
// response is ... fresh [or] allowed to be served stale".
func (m *HTTPCache) classifyStored(s *message.Stored, now Instant) (bool, Reason) {
	switch flags := s.Terms.Flags; {
	case flags&(message.TermNoCache|message.TermInvalidated) == 0:
	case flags.Has(message.TermInvalidated):
		return false, ReasonInvalidated
	default:
		return false, ReasonNoCache
	}
	fresh := isFresh(s, now)
	if m.policy.ObeyRequest && m.directives.present {
		return m.classifyRequested(s, fresh, now)
	}
	if fresh {
		return true, ReasonHit
	}
	return false, ReasonStale
}

// classifyRequested applies the request directives of section 5.2.1 to a
// stored response that would do by itself.
func (m *HTTPCache) classifyRequested(s *message.Stored, fresh bool, now Instant) (bool, Reason) {
	d, age := &m.directives, s.CurrentAge(now)
	stale := -1 * (s.Terms.FreshnessLifetime - age)
	switch {
	// 5.2.1.4: "the client prefers a stored response not be used to satisfy
	// the request without successful validation on the origin server".
	case d.noCache:
		return false, ReasonRequest
	// 5.2.1.1: "the client prefers a response whose age is less than or equal
	// to the specified number of seconds".
	case d.maxAge >= 0 && age > d.maxAge && !reloads(d, s, fresh):
		return false, ReasonRequest
	// 5.2.1.3: "whose freshness lifetime is no less than its current age plus
	// the specified time in seconds".
	case d.minFresh >= 0 && s.Terms.FreshnessLifetime < age+d.minFresh:
		return false, ReasonRequest
	case fresh:
		return true, ReasonHit
	// 5.2.1.2: "exceeded its freshness lifetime by no more than the specified
	// number of seconds. If no value is assigned ... of any age".
	case d.maxStaleAny || d.maxStale >= 0 && stale <= d.maxStale:
		if !s.Terms.Flags.Has(message.TermMustRevalidate) {
			return true, ReasonStaleRequested
		}
	}
	return false, ReasonStale
}

// reloads reports whether max-age=0 is a reload of what will not have changed.
// RFC 8246 section 2.1: "proxies SHOULD skip conditionally revalidating fresh
// responses containing the immutable extension unless there is a signal from
// the client that a validation is necessary (e.g., a no-cache Cache-Control
// request directive". User agents reload by max-age=0, and force a reload by
// no-cache (section 3).
func reloads(d *requestDirectives, s *message.Stored, fresh bool) bool {
	return fresh && d.maxAge == 0 && s.Terms.Flags.Has(message.TermImmutable)
}

// staleAllowed reports whether s, stale, may be used within window for want
// of something better. RFC 9111 section 4.2.4: "A cache MUST NOT generate a
// stale response if it is prohibited by an explicit in-protocol directive
// (e.g., by a no-cache response directive, a must-revalidate response
// directive, or an applicable s-maxage or proxy-revalidate response
// directive)". The windows of a response that must be validated are zero, but
// for what it says of them itself.
func (m *HTTPCache) staleAllowed(s *message.Stored, now Instant, window Duration) bool {
	const never = message.TermNoCache | message.TermInvalidated
	if s.Terms.Flags&never != 0 {
		return false
	}
	if m.policy.ObeyRequest && (m.directives.noCache || m.directives.present && m.directives.maxAge >= 0 && s.CurrentAge(now) > m.directives.maxAge) {
		return false
	}
	return staleFor(s, now) < window
}
