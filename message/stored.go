package message

import (
	"bytes"
	"cmp"
)

// Stored is the head of one stored response: what the machine decides by and
// what is written to a client. The body lives in the store.
//
// A Stored is immutable once its entry is visible: freshening makes a new one
// and swaps it in. It holds no Fields but a block of field lines in the form
// they are written in, because a block costs the garbage collector nothing
// and leaves in one copy; ParseLines opens it where a decision needs it.
type Stored struct {
	Status int
	// RequestTime and ResponseTime are RFC 9111 section 4.2.3's request_time
	// and response_time.
	RequestTime, ResponseTime Instant
	// Length is the content's complete length in bytes where the origin
	// announced it, else LengthUnknown. (What the store holds is the entry's.)
	Length int64
	// Head holds the response's field lines, "Name: value\r\n" each, in the
	// origin's order. Left out: hop-by-hop fields, Age (computed on reuse),
	// Content-Length and Transfer-Encoding (framing is the codec's), and what
	// RFC 9111 section 3.1 exempts from storage.
	Head []byte
	// Nominated holds the request fields that Vary nominates, normalised, a
	// line each in Vary's order: "name: value\r\n", or "name\r\n" where the
	// request had none. nil where the response has no Vary.
	Nominated []byte
	// Reason is the status line's reason phrase.
	Reason []byte
	// Terms are derived from the rest by the machine when the response is
	// stored, freshened, or read back from a disk.
	Terms Terms
}

// Terms are the terms of reuse of a stored response: everything the hit path
// needs to know, in plain numbers, so that it parses nothing.
type Terms struct {
	// CorrectedInitialAge is the age at ResponseTime (RFC 9111 section 4.2.3).
	CorrectedInitialAge Duration
	// FreshnessLifetime as by RFC 9111 section 4.2.1.
	FreshnessLifetime Duration
	// StaleWhileRevalidate, StaleIfError and StaleDisconnected are how long
	// past FreshnessLifetime the response may be served in each case.
	StaleWhileRevalidate, StaleIfError, StaleDisconnected Duration
	// Date is the Date field's value, or ResponseTime where there is none.
	Date Instant
	// LastModified is the Last-Modified field's value in seconds since the
	// epoch, 0 where absent or invalid.
	LastModified int64
	// ETag is the entity tag with its quotes and W/, nil where absent or
	// invalid. A slice of Head.
	ETag  []byte
	Flags TermFlags
}

// TermFlags are the yes-or-no terms of reuse.
type TermFlags uint32

// The flags.
const (
	// TermNoCache: validate before every reuse (unqualified no-cache).
	TermNoCache TermFlags = 1 << iota
	// TermMustRevalidate: never served stale (must-revalidate,
	// proxy-revalidate, s-maxage).
	TermMustRevalidate
	// TermHeuristic: FreshnessLifetime is a guess (section 4.2.2).
	TermHeuristic
	// TermShared: may answer requests with Authorization (section 3.5).
	TermShared
	// TermHasVary: Nominated holds something.
	TermHasVary
	// TermVaryAny: Vary has a "*": never reused without validation.
	TermVaryAny
	// TermImmutable: RFC 8246.
	TermImmutable
	// TermHitForMiss: not a response but the memory that this key's
	// responses cannot be shared. It has no body.
	TermHitForMiss
	// TermPartial: the entry holds parts of a representation only.
	TermPartial
	// TermInvalidated: made invalid by an unsafe method (RFC 9111 section 4.4):
	// validate before reuse.
	TermInvalidated
	// TermHasDate: the response had a valid Date.
	TermHasDate
	// TermLastModifiedStrong: Last-Modified is a strong validator (RFC 9110
	// section 8.8.2.2).
	TermLastModifiedStrong
	// TermRequestAuthorized: the request that caused storing had
	// Authorization.
	TermRequestAuthorized
	// TermSoftPurged: an operator's soft purge has made it stale, whatever its
	// age: FreshnessLifetime ends no later than when the purge was applied to
	// it, and the windows for serving it stale count from there. Validators,
	// stale-while-revalidate and stale-if-error go on working.
	TermSoftPurged
	// TermRangesAsIs, beside TermHitForMiss: the memory that parts of this key's
	// response cannot be kept, so that ranges are asked for as they are.
	TermRangesAsIs
)

// Has reports whether all of x are set.
func (f TermFlags) Has(x TermFlags) bool { return f&x == x }

// HasStrongValidator reports whether the response can be combined with parts
// of itself: it has a strong ETag or a strong Last-Modified.
func (t *Terms) HasStrongValidator() bool {
	return (len(t.ETag) > 0 && t.ETag[0] == '"') || t.Flags.Has(TermLastModifiedStrong)
}

// SharesStrongValidator reports whether t and o are terms of the same
// representation, byte for byte. RFC 9110 section 15.3.7.3: parts may be combined
// "if they all have the same strong validator". A strong Last-Modified says so only
// where no entity tags, weak ones included, say otherwise.
func (t *Terms) SharesStrongValidator(o *Terms) bool {
	strong := func(etag []byte) bool { return len(etag) > 0 && etag[0] == '"' }
	switch {
	case strong(t.ETag) || strong(o.ETag), t.ETag != nil && o.ETag != nil && !bytes.Equal(t.ETag, o.ETag):
		return bytes.Equal(t.ETag, o.ETag)
	}
	return t.Flags.Has(TermLastModifiedStrong) && o.Flags.Has(TermLastModifiedStrong) && t.LastModified == o.LastModified
}

// CurrentAge returns the age at now, RFC 9111 section 4.2.3: resident_time is
// now - response_time.
func (s *Stored) CurrentAge(now Instant) Duration {
	return s.Terms.CorrectedInitialAge + now.Sub(s.ResponseTime)
}

// Recency orders s and o by which is the more recent response: below 0 where s is.
// RFC 9111 section 4: "When more than one suitable response is stored, a cache MUST
// use the most recent one (as determined by the Date header field)." Of two with one
// date it is the one received last.
func (s *Stored) Recency(o *Stored) int {
	if n := cmp.Compare(o.Terms.Date, s.Terms.Date); n != 0 {
		return n
	}
	return cmp.Compare(o.ResponseTime, s.ResponseTime)
}

// Fields opens the head into dst, whose slices then point into s.Head.
func (s *Stored) Fields(dst *Fields) {
	dst.Reset()
	dst.ParseLines(s.Head)
}
