package statemachine

import "edge/message"

// lifetimeSource says what the freshness lifetime of a response rests on.
type lifetimeSource uint8

const (
	lifetimeNone      lifetimeSource = iota // nothing says, and no guess is possible
	lifetimeExplicit                        // the origin's directives or Expires
	lifetimePolicy                          // the route's word
	lifetimeHeuristic                       // section 4.2.2
)

// heuristicFraction: "A typical setting of this fraction might be 10%."
// (RFC 9111 section 4.2.2)
const heuristicFraction = 10

// overrides reports whether the route's word replaces the origin's for this
// status, and for how long.
func (p *Policy) overrides(status int) (Duration, bool) {
	if !p.Override {
		return 0, false
	}
	return p.ttl(status, false)
}

// ttl is the route's lifetime for a status: StatusTTL, else, for a status
// that may be cached without being asked for, DefaultTTL.
func (p *Policy) ttl(status int, public bool) (Duration, bool) {
	if ttl, ok := p.StatusTTL[status]; ok {
		return ttl, true
	}
	if p.DefaultTTL >= 0 && (public || heuristicallyCacheable(status)) {
		return p.DefaultTTL, true
	}
	return 0, false
}

// capped limits what the origin says; a negative limit is none.
func capped(d, limit Duration) Duration {
	if limit >= 0 {
		return min(d, limit)
	}
	return d
}

// freshnessLifetime follows RFC 9111 section 4.2.1, "using the first match";
// date is the Date field, or the time of receipt where there is none, in
// seconds since the epoch.
func freshnessLifetime(status int, f *message.Fields, d *responseDirectives, p *Policy, date int64) (Duration, lifetimeSource) {
	if ttl, ok := p.overrides(status); ok {
		return ttl, lifetimePolicy
	}
	if lifetime, ok := explicitLifetime(f, d, date); ok {
		return capped(lifetime, p.MaxTTL), lifetimeExplicit
	}
	if ttl, ok := p.ttl(status, d.public); ok {
		return ttl, lifetimePolicy
	}
	// Section 4.2.2: "heuristics can only be used on responses without
	// explicit freshness whose status codes are defined as heuristically
	// cacheable ... and on responses without explicit freshness that have been
	// marked as explicitly cacheable (e.g., with a public response directive)."
	if !d.public && !heuristicallyCacheable(status) {
		return 0, lifetimeNone
	}
	modified, ok := lastModified(f)
	if !ok {
		return 0, lifetimeNone
	}
	lifetime := min(seconds(date-modified)/heuristicFraction, max(p.HeuristicMax, 0))
	return capped(lifetime, p.MaxTTL), lifetimeHeuristic
}

// explicitLifetime is what the origin says, and whether it says anything.
func explicitLifetime(f *message.Fields, d *responseDirectives, date int64) (Duration, bool) {
	switch {
	case d.sMaxAge >= 0:
		// "If the cache is shared and the s-maxage response directive is
		// present, use its value"
		return d.sMaxAge, true
	case d.maxAge >= 0:
		return d.maxAge, true
	case d.targeted:
		// RFC 9213 section 2.2: "it MUST ignore the Cache-Control and Expires
		// header fields in that response".
		return 0, false
	}
	value, ok := f.Get(message.FieldExpires)
	if !ok {
		return 0, false
	}
	expires, ok := ParseDate(value)
	if !ok {
		// RFC 9111 section 5.3: "A cache recipient MUST interpret invalid date
		// formats, especially the value "0", as representing a time in the
		// past (i.e., "already expired")."
		return 0, true
	}
	// "use its value minus the value of the Date response header field (using
	// the time the message was received if it is not present ...)"
	return seconds(expires - date), true
}

// single returns the value of a field that is a singleton, if there is exactly
// one line of it.
func single(f *message.Fields, id message.FieldID) ([]byte, bool) {
	if f.Count(id) != 1 {
		return nil, false
	}
	return f.Get(id)
}

// lastModified returns Last-Modified in seconds since the epoch.
func lastModified(f *message.Fields) (int64, bool) {
	value, ok := single(f, message.FieldLastModified)
	if !ok {
		return 0, false
	}
	return ParseDate(value)
}

// dateValue returns Date in seconds since the epoch.
func dateValue(f *message.Fields) (int64, bool) {
	value, ok := f.Get(message.FieldDate)
	if !ok {
		return 0, false
	}
	return ParseDate(value)
}

// clockTolerance is how far a reading of the clock may lie before the
// response_time it is compared with: "now" is read before an action runs, and
// another exchange may store meanwhile.
const clockTolerance = message.Second

// isFresh reports whether s is fresh at now, RFC 9111 section 4.2:
//
//	response_is_fresh = (freshness_lifetime > current_age)
//
// A response from the future, stored by a clock that was ahead of ours, has an
// age that nobody knows: it is stale. So is what an operator soft-purged, also
// for the exchange whose clock was read a moment before the purge.
func isFresh(s *message.Stored, now Instant) bool {
	if now.Sub(s.ResponseTime) < -clockTolerance || s.Terms.Flags.Has(message.TermSoftPurged) {
		return false
	}
	return s.Terms.FreshnessLifetime > s.CurrentAge(now)
}

// staleFor returns for how long s has been stale at now; 0 or less while it is
// fresh. A response from the future has been stale for ever.
func staleFor(s *message.Stored, now Instant) Duration {
	if now.Sub(s.ResponseTime) < -clockTolerance {
		return seconds(maxDelta)
	}
	past := s.CurrentAge(now) - s.Terms.FreshnessLifetime
	if s.Terms.Flags.Has(message.TermSoftPurged) {
		return max(past, 0)
	}
	return past
}
