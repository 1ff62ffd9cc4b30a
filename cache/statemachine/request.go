package statemachine

import "edge/message"

// classifyRequest decides whether a request is the cache's business at all.
// Reached from Received, by Start.
func (m *HTTPCache) classifyRequest() (Outcome, Reason) {
	req := m.req
	switch {
	case m.policy.Disabled:
		return toForward, ReasonBypass
	// RFC 9111 section 4: "A cache MUST write through requests with methods
	// that are unsafe ... to the origin server". Methods that are safe but
	// not answered from the cache (OPTIONS, TRACE) go the same way.
	case req.Method != message.MethodGet && req.Method != message.MethodHead && req.Method != message.MethodQuery:
		return toForward, ReasonMethod
	case req.Upgrade != nil:
		return toForward, ReasonUpgrade
	// RFC 9110 section 9.3.1: content in a GET request has no defined
	// semantics, but an origin may look at it, so the key would be too small.
	case !contentInKey(req):
		return toForward, ReasonBody
	}
	if req.Fields.Has(message.FieldCacheControl) || req.Fields.Has(message.FieldPragma) {
		m.directives = parseRequestDirectives(&req.Fields)
	}
	return toLookup, ReasonNone
}

// ordinary reports whether a miss for this request may wait in the queue of
// its key: its answer is likely to do for the others.
func (m *HTTPCache) ordinary() bool {
	f := &m.req.Fields
	return retrieves(m.req.Method) && !f.Has(message.FieldRange) && !f.Has(message.FieldAuthorization)
}

// retrieves reports whether responses to the method are stored and answer the
// next request of that method. RFC 10008: "The response to a QUERY method is
// cacheable; a cache MAY use it to satisfy subsequent QUERY requests". The key
// keeps them from those to GET.
func retrieves(method string) bool {
	return method == message.MethodGet || method == message.MethodQuery
}

// contentInKey reports whether the key names all of the request. RFC 10008:
// "The cache key for a QUERY request MUST incorporate the request content and
// related metadata"; content that the driver did not hold is in no key.
func contentInKey(req *message.Request) bool {
	return !req.HasBody() || req.Method == message.MethodQuery && req.Content != nil
}

// conditional reports whether the answer to the request as the client sent it
// depends on more than its target: RFC 9110 section 13.1 and 14.2.
func conditional(f *message.Fields) bool {
	return f.Has(message.FieldIfNoneMatch) || f.Has(message.FieldIfModifiedSince) || f.Has(message.FieldIfMatch) ||
		f.Has(message.FieldIfUnmodifiedSince) || f.Has(message.FieldIfRange) || f.Has(message.FieldRange)
}
