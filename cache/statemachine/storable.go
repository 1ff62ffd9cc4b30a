package statemachine

import "edge/message"

// The bounds of an ordinary request: beyond them an error is likelier to be
// about the request than about the resource, and must not be remembered for
// others by a mere guess.
const (
	ordinaryTarget     = 2048 // octets of path and query
	ordinaryFields     = 64   // field lines
	ordinaryFieldBytes = 8192 // octets of names and values
)

// storable decides whether the response may be stored, RFC 9111 section 3: "A
// cache MUST NOT store a response to a request unless: ...". The reason says
// why not; it is ReasonNone where it may.
func storable(req *message.Request, rd *requestDirectives, resp *message.Response, d *responseDirectives, p *Policy) (bool, Reason) {
	why := forbiddenByRequest(req, rd, resp, p)
	if why == ReasonNone {
		why = forbiddenByStatus(req, resp.Status, d)
	}
	if why == ReasonNone {
		why = forbiddenByDirectives(req, resp, d, p)
	}
	if why == ReasonNone {
		why = unlikelyToServe(req, resp, d, p)
	}
	return why == ReasonNone, why
}

// forbiddenByRequest: "the request method is understood by the cache".
func forbiddenByRequest(req *message.Request, rd *requestDirectives, resp *message.Response, p *Policy) Reason {
	switch {
	case req.Method == message.MethodHead:
		return ReasonHeadRequest
	case !retrieves(req.Method):
		return ReasonMethod
	case !contentInKey(req):
		// RFC 9110 section 9.3.1: content in a GET "has no generally defined
		// semantics"; an origin that looks at it answers something that the
		// key does not name.
		return ReasonBody
	case p.ObeyRequest && rd.noStore:
		// Section 5.2.1.5: "a cache MUST NOT store any part of either this
		// request or any response to it"; advisory, so only where the route
		// obeys.
		return ReasonRequestNoStore
	case p.MaxObject > 0 && resp.Length > p.MaxObject:
		return ReasonTooLarge
	}
	return ReasonNone
}

// forbiddenByStatus: "the response status code is final" and "if the response
// status code is 206 or 304, or the must-understand cache directive is
// present: the cache understands the response status code".
func forbiddenByStatus(req *message.Request, status int, d *responseDirectives) Reason {
	f := &req.Fields
	switch {
	case status < 200 || status > 599:
		return ReasonNotUnderstood
	case status == 206:
		return ReasonPart
	case status == 304:
		return ReasonNotUnderstood
	case d.mustUnderstand && !understood(status):
		return ReasonNotUnderstood
	// A 412 or 416 answers the request's conditions or range, neither of which
	// is in the key; a 407 speaks of the proxy, not of the resource.
	case status == 412 && (f.Has(message.FieldIfMatch) || f.Has(message.FieldIfNoneMatch) || f.Has(message.FieldIfUnmodifiedSince)),
		status == 416 && f.Has(message.FieldRange),
		status == 407:
		return ReasonNotCacheable
	}
	return ReasonNone
}

// forbiddenByDirectives applies what the origin says about storing, unless the
// route's word replaces it, and what must hold even then.
func forbiddenByDirectives(req *message.Request, resp *message.Response, d *responseDirectives, p *Policy) Reason {
	if _, override := p.overrides(resp.Status); !override {
		switch {
		// "the no-store cache directive is not present in the response". But
		// section 5.2.2.3: "When a cache that implements the must-understand
		// directive receives a response that includes it, the cache SHOULD
		// ignore the no-store directive if it understands and implements the
		// status code's caching requirements."
		case d.noStore && !d.mustUnderstand:
			return ReasonNoStore
		// "if the cache is shared: the private response directive is either
		// not present or allows a shared cache to store a modified response".
		case d.private:
			return ReasonPrivate
		}
	}
	switch {
	// "if the cache is shared: the Authorization header field is not present
	// in the request or a response directive is present that explicitly
	// allows shared caching (see Section 3.5)".
	case req.Fields.Has(message.FieldAuthorization) && !allowsSharing(d):
		return ReasonAuthorization
	// Section 4.1: "A stored response with a Vary header field value
	// containing a member "*" always fails to match."
	case varyAny(&resp.Fields):
		return ReasonVaryAny
	case setsCookie(resp, d, p):
		return ReasonSetCookie
	}
	return ReasonNone
}

// allowsSharing: RFC 9111 section 3.5: "In this specification, the following
// response directives have such an effect: must-revalidate, public, and
// s-maxage."
func allowsSharing(d *responseDirectives) bool {
	return d.mustRevalidate || d.public || d.sMaxAge >= 0
}

// setsCookie reports whether the response would hand one client's cookie to
// others without anybody having said that it may.
func setsCookie(resp *message.Response, d *responseDirectives, p *Policy) bool {
	if p.SetCookie != SetCookieExplicit || !resp.Fields.Has(message.FieldSetCookie) {
		return false
	}
	return !sharesCookies(d) && !qualified(d, message.FieldSetCookie, nil)
}

// sharesCookies: public, s-maxage, or a targeted field that gives a lifetime
// is written for a shared cache in particular.
func sharesCookies(d *responseDirectives) bool {
	return d.public || d.sMaxAge >= 0 || d.targeted && d.maxAge > 0
}

// unlikelyToServe applies the last item of section 3, "the response contains at
// least one of the following", and refuses what could never answer anything.
func unlikelyToServe(req *message.Request, resp *message.Response, d *responseDirectives, p *Policy) Reason {
	status, f := resp.Status, &resp.Fields
	if ttl, ok := p.overrides(status); ok {
		return mustBePositive(ttl)
	}
	validator := f.Has(message.FieldETag) || f.Has(message.FieldLastModified)
	if d.noCache && !validator {
		return ReasonNoCache // never to be reused without the validation that it has nothing for
	}
	// Without a Date the lifetime that Expires gives is not known here, only
	// that there is one.
	date, _ := dateValue(f)
	lifetime, explicit := explicitLifetime(f, d, date)
	if explicit {
		// "an Expires header field; a max-age response directive; if the cache
		// is shared: an s-maxage response directive".
		if lifetime == 0 && !validator && !servesStale(status, d, p) {
			return ReasonNoFreshness
		}
		return ReasonNone
	}
	if ttl, ok := p.StatusTTL[status]; ok {
		return mustBePositive(ttl)
	}
	// "a public response directive; ... or a status code that is defined as
	// heuristically cacheable".
	if !d.public && !heuristicallyCacheable(status) {
		if status >= 500 {
			return ReasonServerError
		}
		return ReasonNotCacheable
	}
	return unlikelyByGuess(req, resp, d, p)
}

// unlikelyByGuess decides about responses that may be stored but do not say
// for how long.
func unlikelyByGuess(req *message.Request, resp *message.Response, d *responseDirectives, p *Policy) Reason {
	f := &resp.Fields
	if resp.Status >= 400 && !ordinaryRequest(req) {
		return ReasonNoFreshness
	}
	if ttl, ok := p.ttl(resp.Status, d.public); ok {
		return mustBePositive(ttl)
	}
	// The heuristic of section 4.2.2 needs Last-Modified; no-cache needs only
	// something to validate with. Neither is trusted where the answer may be
	// one client's own.
	_, modified := lastModified(f)
	if !modified && !(d.noCache && f.Has(message.FieldETag)) {
		return ReasonNoFreshness
	}
	if req.Fields.Has(message.FieldCookie) || req.Fields.Has(message.FieldAuthorization) {
		return ReasonNoFreshness
	}
	return ReasonNone
}

func mustBePositive(ttl Duration) Reason {
	if ttl <= 0 {
		return ReasonNoFreshness
	}
	return ReasonNone
}

// servesStale reports whether a response may ever be served stale.
func servesStale(status int, d *responseDirectives, p *Policy) bool {
	t := message.Terms{Flags: directiveFlags(status, d, p)}
	deriveStaleness(&t, status, d, p)
	return t.StaleWhileRevalidate > 0 || t.StaleIfError > 0 || t.StaleDisconnected > 0
}

// ordinaryRequest reports whether there is nothing odd about a request: what
// an error then says, it says of the resource.
func ordinaryRequest(req *message.Request) bool {
	f := &req.Fields
	if len(req.Target) > ordinaryTarget || f.Len() > ordinaryFields {
		return false
	}
	for _, id := range [...]message.FieldID{message.FieldCookie, message.FieldAuthorization, message.FieldRange,
		message.FieldExpect, message.FieldUpgrade, message.FieldXHTTPMethodOverride, message.FieldXOriginalURL,
		message.FieldXRewriteURL, message.FieldIfMatch, message.FieldIfUnmodifiedSince} {
		if f.Has(id) {
			return false
		}
	}
	n := 0
	for _, x := range f.All() {
		n += len(x.Name) + len(x.Value)
	}
	return n <= ordinaryFieldBytes
}

// heuristicallyCacheable: RFC 9110 section 15.1: "Responses with status codes
// that are defined as heuristically cacheable (e.g., 200, 203, 204, 206, 300,
// 301, 308, 404, 405, 410, 414, and 501 in this specification) can be reused by
// a cache with heuristic expiration"; and 451 by RFC 7725 section 3.
func heuristicallyCacheable(status int) bool {
	switch status {
	case 200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 451, 501:
		return true
	}
	return false
}

// understood lists the status codes whose caching requirements we implement:
// RFC 9111 section 3: "a cache has "understood" a request method or a response
// status code if it recognizes it and implements all specified caching-related
// behavior." They are the final ones of RFC 9110 section 15 but 206 and 304,
// which are never stored as they are, and 451.
func understood(status int) bool {
	switch status {
	case 200, 201, 202, 203, 204, 205,
		300, 301, 302, 303, 305, 307, 308,
		400, 401, 402, 403, 404, 405, 406, 408, 409, 410, 411, 412, 413, 414, 415, 416, 417, 421, 422, 426, 451,
		500, 501, 502, 503, 504, 505:
		return true
	}
	return false
}
