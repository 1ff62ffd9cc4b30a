package statemachine

import "edge/message"

// stickyFlags are the terms that are not derived from the head: deriveTerms
// leaves them as they are.
const stickyFlags = message.TermHitForMiss | message.TermPartial | message.TermInvalidated | message.TermSoftPurged |
	message.TermRequestAuthorized

// Derive derives s.Terms from the rest of s, for heads read back from a disk.
// age is the Age field as the origin sent it, which a head leaves out, or nil.
// Flags that say how the entry came to be (TermPartial, TermInvalidated,
// TermSoftPurged, TermRequestAuthorized, TermHitForMiss) must be set already and stay.
func Derive(s *message.Stored, age []byte, p *Policy) {
	var f message.Fields
	s.Fields(&f)
	if age != nil {
		f.AddKnown(message.FieldAge, age)
	}
	d := parseResponseDirectives(&f, p.Targeted)
	deriveTerms(s, &f, &d, p)
}

// deriveTerms fills s.Terms in from the header fields f of the response, which
// hold what s.Head leaves out (Age), and from s's times and status.
func deriveTerms(s *message.Stored, f *message.Fields, d *responseDirectives, p *Policy) {
	received := int64(s.ResponseTime) / message.Second
	date, hasDate := dateValue(f)
	t := message.Terms{
		CorrectedInitialAge: correctedInitialAge(f, date, hasDate, s.RequestTime, s.ResponseTime),
		Date:                s.ResponseTime,
		ETag:                storedETag(s.Head),
		Flags:               s.Terms.Flags & stickyFlags,
	}
	if hasDate {
		t.Date = instantOf(date)
		t.Flags |= message.TermHasDate
	} else {
		// RFC 9110 section 6.6.1: a recipient "MUST record the time it was
		// received".
		date = received
	}
	if modified, ok := lastModified(f); ok {
		t.LastModified = modified
		if hasDate && isStrongDate(modified, date) {
			t.Flags |= message.TermLastModifiedStrong
		}
	}
	lifetime, source := freshnessLifetime(s.Status, f, d, p, date)
	t.FreshnessLifetime = lifetime
	if source == lifetimeHeuristic {
		t.Flags |= message.TermHeuristic
	}
	if len(s.Nominated) > 0 {
		t.Flags |= message.TermHasVary
	}
	// Where an update brought a Vary that nominates what was not kept, nothing
	// can be matched any more.
	if !sameNominated(s.Nominated, f) {
		t.Flags |= message.TermVaryAny
	}
	t.Flags |= directiveFlags(s.Status, d, p)
	deriveStaleness(&t, s.Status, d, p)
	s.Terms = t
}

// directiveFlags are the terms that directives alone decide.
func directiveFlags(status int, d *responseDirectives, p *Policy) message.TermFlags {
	var flags message.TermFlags
	if d.immutable {
		flags |= message.TermImmutable
	}
	// RFC 9111 section 3.5: "the following response directives have such an
	// effect: must-revalidate, public, and s-maxage."
	if d.mustRevalidate || d.public || d.sMaxAge >= 0 {
		flags |= message.TermShared
	}
	if _, ok := p.overrides(status); ok {
		return flags
	}
	if d.noCache {
		flags |= message.TermNoCache
	}
	// must-revalidate, section 5.2.2.2: "once the response has become stale, a
	// cache MUST NOT reuse that response to satisfy another request until it
	// has been successfully validated". proxy-revalidate says the same to
	// shared caches (section 5.2.2.8), and "The s-maxage directive
	// incorporates the semantics of the proxy-revalidate response directive
	// for a shared cache" (section 5.2.2.10).
	if d.mustRevalidate || d.proxyRevalidate || d.sMaxAge >= 0 {
		flags |= message.TermMustRevalidate
	}
	// A 304 can bring no-store or private to a response that was stored
	// without. What we hold may then answer only who validates it.
	if d.private || (d.noStore && !(d.mustUnderstand && understood(status))) {
		flags |= message.TermNoCache | message.TermMustRevalidate
	}
	return flags
}

// deriveStaleness sets for how long past its lifetime the response may serve.
// RFC 9111 section 4.2.4: "A cache MUST NOT generate a stale response if it is
// prohibited by an explicit in-protocol directive (e.g., by a no-cache response
// directive, a must-revalidate response directive, or an applicable s-maxage
// or proxy-revalidate response directive". That outweighs RFC 5861's MAY where
// a response has both, but for staleByExtension.
func deriveStaleness(t *message.Terms, status int, d *responseDirectives, p *Policy) {
	_, override := p.overrides(status)
	revalidate := d.mustRevalidate || d.proxyRevalidate || d.sMaxAge >= 0 && !staleByExtension(d)
	if t.Flags.Has(message.TermNoCache) || revalidate && !override {
		return
	}
	t.StaleWhileRevalidate = staleWindow(d.staleWhileRevalidate, p.StaleWhileRevalidate, p.MaxStaleWhileRevalidate, override)
	t.StaleIfError = staleWindow(d.staleIfError, p.StaleIfError, p.MaxStaleIfError, override)
	t.StaleDisconnected = max(p.StaleDisconnected, 0)
	if d.sMaxAge >= 0 && !override {
		// What s-maxage forbids is allowed as far as the response says so
		// itself, and no further.
		t.StaleDisconnected = 0
		if d.staleWhileRevalidate < 0 {
			t.StaleWhileRevalidate = 0
		}
		if d.staleIfError < 0 {
			t.StaleIfError = 0
		}
	}
}

// staleByExtension reports whether the response itself says for how long it
// may be served stale. Section 4: "a cache extension can override any of the
// requirements listed". s-maxage forbids staleness only by what it
// incorporates; beside an explicit stale-while-revalidate or stale-if-error,
// which many origins send together with it, that is not what they mean.
// (must-revalidate and proxy-revalidate are said on purpose, and hold.)
func staleByExtension(d *responseDirectives) bool {
	return d.staleWhileRevalidate > 0 || d.staleIfError > 0
}

// staleWindow is the origin's word up to the route's limit, else the route's.
func staleWindow(said, otherwise, limit Duration, override bool) Duration {
	if said < 0 || override {
		return max(otherwise, 0)
	}
	return capped(said, limit)
}

// instantOf turns a date into an Instant, saturating far from our time (in the
// years 1677 and 2262), so that no difference of two of them overflows.
func instantOf(unix int64) Instant {
	const farthest = (1<<63 - 1) / 2 / message.Second
	return Instant(min(max(unix, -farthest), farthest) * message.Second)
}

// strongDateMargin is how much later than Last-Modified a Date must be for us
// to take Last-Modified as a strong validator. RFC 9110 section 8.8.2.2 asks
// for "at least one second" and "reason to believe that they were generated by
// the same clock or that there is enough difference between the Last-Modified
// and Date values to make clock synchronization issues unlikely". We know
// nothing of an origin's clocks; RFC 7232 named 60 seconds.
const strongDateMargin = 60

func isStrongDate(modified, date int64) bool { return date-modified >= strongDateMargin }
