package statemachine

import (
	"bytes"

	"edge/message"
)

// classifyResponse decides what to do with the origin's final response to a
// fetch. Reached from Fetching.
func (m *HTTPCache) classifyResponse(resp *message.Response, now Instant) (Outcome, Reason) {
	m.decision.ForwardStatus = resp.Status
	m.part, m.cut = Range{}, Range{}
	switch {
	case m.running:
		return m.classifyRunResponse(resp)
	case resp.Status == 304:
		return m.classifyNotModified(resp)
	case resp.Status == 206:
		return m.classifyPart(resp)
	// The parts at hand are no longer what the origin has; or the client's
	// If-Range, which is not part of what was asked, may be what decides:
	// "otherwise, ignore the Range header field" (RFC 9110 section 13.2.2).
	case resp.Status == 416 && (m.form == FormCompleting || m.form == FormRanged && m.req.Fields.Has(message.FieldIfRange)):
		return isMismatch, ReasonPart
	// RFC 9110 section 15.2.2: we ask for no upgrade here.
	case resp.Status < 200:
		return isBroken, ReasonMalformed
	// RFC 5861 section 4: "when an error is encountered, a cached stale
	// response MAY be used to satisfy the request".
	case isServerError(resp.Status) && m.errorStale(now):
		return isStaleAllowed, ReasonStaleIfError
	case m.req.Method == message.MethodHead:
		return m.classifyHead(resp)
	}
	return m.classifyWhole(resp)
}

// classifyWhole decides whether a response is stored.
func (m *HTTPCache) classifyWhole(resp *message.Response) (Outcome, Reason) {
	m.said = parseResponseDirectives(&resp.Fields, m.policy.Targeted)
	why := ReasonNone
	ok := false
	switch {
	// What answers a condition of the client's answers that client only.
	case m.form == FormAsIs && resp.Status != 200 && conditional(&m.req.Fields):
		why = ReasonNotCacheable
	// 5.2.1.5: "a cache MUST NOT store any part of either this request or any
	// response to it".
	case m.policy.ObeyRequest && m.directives.noStore:
		why = ReasonRequestNoStore
	case m.policy.MaxObject > 0 && resp.Length > m.policy.MaxObject:
		why = ReasonTooLarge
	case m.form == FormAsIs && m.tries > m.policy.LockTries:
		why = ReasonUnreadable // the store failed us more than once: leave it alone
	case m.seldom:
		why = ReasonMinUses
	default:
		ok, why = storable(m.req, &m.directives, resp, &m.said, m.policy)
	}
	if !ok {
		m.decision.NotStored = why
		// The queue must not be let loose on an origin in trouble.
		if isServerError(resp.Status) {
			return isServerFault, why
		}
		return isUnstorable, why
	}
	return isStorable, m.decision.Forward
}

// classifyNotModified decides what a 304 is about.
func (m *HTTPCache) classifyNotModified(resp *message.Response) (Outcome, Reason) {
	switch {
	case m.form == FormValidating && m.stale() != nil:
		// Section 4.3.4: "If none of the initial set contains at least one of
		// the same strong validators, then the cache MUST NOT use the new
		// response to update any stored responses."
		if matchesNotModified(m.stale(), resp) {
			return isNotModified, m.decision.Forward
		}
		return isMismatch, ReasonBadNotModified
	case m.form == FormAsIs && conditional(&m.req.Fields):
		m.decision.NotStored = ReasonNotCacheable
		return isUnstorable, ReasonNotCacheable // the client's own condition
	}
	return isBroken, ReasonBadNotModified
}

// classifyHead decides what an answer to HEAD says about what is stored.
// Section 4.3.5: "When a cache makes an inbound HEAD request for a target URI
// and receives a 200 (OK) response, the cache SHOULD update or invalidate
// each of its stored GET responses that could have been chosen".
func (m *HTTPCache) classifyHead(resp *message.Response) (Outcome, Reason) {
	m.decision.NotStored = ReasonHeadRequest
	if s := m.stale(); s != nil && resp.Status == 200 && s.Status == 200 {
		return isHeadUpdate, m.decision.Forward
	}
	return isUnstorable, ReasonHeadRequest
}

// isServerError lists the statuses of RFC 5861 section 4: "an error is any
// situation that would result in a 500, 502, 503, or 504 HTTP response status
// code being returned".
func isServerError(status int) bool {
	return status == 500 || status == 502 || status == 503 || status == 504
}

// errorStale reports whether a stale response may stand in for an error.
func (m *HTTPCache) errorStale(now Instant) bool {
	s := m.stale()
	return s != nil && m.staleAllowed(s, now, s.Terms.StaleIfError)
}

// classifyFailure decides what to do when no response came. Section 4.2.4: "A
// cache MUST NOT generate a stale response unless it is disconnected or doing
// so is explicitly permitted". Reached from Fetching.
func (m *HTTPCache) classifyFailure(f Failure, now Instant) (Outcome, Reason) {
	why := failureReason(f)
	s := m.stale()
	if s != nil && (m.staleAllowed(s, now, s.Terms.StaleDisconnected) || m.errorStale(now)) {
		return isStaleAllowed, ReasonStaleDisconnected
	}
	m.decision.Status = failureStatus(f)
	// Section 5.2.2.2: "if a cache is disconnected, the cache MUST generate an
	// error response rather than reuse the stale response. The generated
	// status code SHOULD be 504 (Gateway Timeout)".
	if s != nil {
		m.decision.Status = 504
	}
	return isUnreachable, why
}

func failureReason(f Failure) Reason {
	switch f {
	case FailureTimeout:
		return ReasonTimeout
	case FailureMalformed:
		return ReasonMalformed
	case FailureConnection, FailureUnavailable, FailureClient, FailureLoop:
	}
	return ReasonConnectionError
}

// failureStatus maps a failure to a status, RFC 9110 section 15.6.
func failureStatus(f Failure) int {
	switch f {
	case FailureTimeout:
		return 504
	case FailureUnavailable:
		return 503
	case FailureClient:
		return 400
	case FailureLoop:
		return 508
	case FailureConnection, FailureMalformed:
		return 502
	}
	return 502
}

// classifyPassed decides whether a passed request made anything stale.
// Section 4.4: "A cache MUST invalidate the target URI ... when it receives a
// non-error status code in response to an unsafe request method (including
// methods whose safety is unknown)". Reached from Passing.
func (m *HTTPCache) classifyPassed(resp *message.Response) (Outcome, Reason) {
	m.decision.ForwardStatus = resp.Status
	switch {
	case resp.Status == 101 && m.req.Upgrade == nil, resp.Status < 200 && resp.Status != 101:
		return isBroken, ReasonMalformed
	// A "non-error response" is one with a 2xx or 3xx status code.
	case !isSafe(m.req.Method) && resp.Status >= 200 && resp.Status < 400:
		return isSuccess, m.decision.Reason
	}
	return isAnswered, m.decision.Reason
}

// classifyInvalidated decides whether the response to an unsafe request,
// having made what was stored stale, is itself what a GET would bring. RFC 9110
// section 9.3.3: "Responses to POST requests are only cacheable when they
// include explicit freshness information and a Content-Location header field
// that has the same value as the POST's target URI. A cached POST response can
// be reused to satisfy a later GET or HEAD request." Reached from Invalidating.
func (m *HTTPCache) classifyInvalidated(resp *message.Response) (Outcome, Reason) {
	why := m.decision.Reason
	if resp == nil || m.req.Method != message.MethodPost || m.policy.Disabled || resp.Status != 200 || resp.NoBody {
		return isInvalidated, why
	}
	reference, ok := single(&resp.Fields, message.FieldContentLocation)
	if !ok {
		return isInvalidated, why
	}
	target, ok := resolve(m.req, reference)
	m.said = parseResponseDirectives(&resp.Fields, m.policy.Targeted)
	date, _ := dateValue(&resp.Fields)
	_, explicit := explicitLifetime(&resp.Fields, &m.said, date)
	if !ok || !bytes.Equal(target, m.req.Target) || !explicit {
		return isInvalidated, why
	}
	// Stored, it is the answer to a GET: the rules for that decide.
	get := *m.req
	get.Method, get.Length, get.Chunked = message.MethodGet, 0, false
	asked := parseRequestDirectives(&m.req.Fields) // not read for what is passed on
	if ok, _ := storable(&get, &asked, resp, &m.said, m.policy); !ok {
		return isInvalidated, why
	}
	return isStorable, why
}

// classifyPassFailure: nothing came, and nothing stored may stand in.
// Reached from Passing.
func (m *HTTPCache) classifyPassFailure(f Failure) (Outcome, Reason) {
	m.decision.Status = failureStatus(f)
	return isUnreachable, failureReason(f)
}

// isSafe lists the safe methods, RFC 9110 section 9.2.1 and RFC 10008.
func isSafe(method string) bool {
	switch method {
	case message.MethodGet, message.MethodHead, message.MethodOptions, message.MethodTrace, message.MethodQuery:
		return true
	}
	return false
}

// classifyFill: the store takes it, or the response goes on without. Reached
// from Filling.
func (m *HTTPCache) classifyFill(ok bool) (Outcome, Reason) {
	if ok {
		m.decision.Stored = true
		return isStarted, m.decision.Forward
	}
	m.decision.NotStored = ReasonStoreRefused
	m.decision.Response = nil
	switch {
	case m.running:
	case m.form == FormCompleting, m.form == FormRanged && !m.part.empty() && m.cut.empty():
		return isMismatch, ReasonStoreRefused // the bytes that were missing are not what the client asked for
	}
	return isUnstorable, ReasonStoreRefused
}

// classifyFreshened: whether or not the store still had the entry, we hold
// it, and it is what the origin says is current. Reached from Freshening.
func (m *HTTPCache) classifyFreshened() (Outcome, Reason) {
	if m.decision.ForwardStatus != 304 {
		return isUpdatedHead, m.decision.Reason
	}
	return isUpdated, m.decision.Reason
}

// classifyDelivery: the end, unless nothing left and it can be asked for.
// Reached from Serving, Delivering, Relaying and Failing.
func (m *HTTPCache) classifyDelivery(d Delivery) (Outcome, Reason) {
	if d != Unreadable || m.state == Relaying || m.state == Failing {
		return isDelivered, m.decision.Reason
	}
	m.tries++
	m.chosen = -1
	m.wentForward(ReasonUnreadable)
	m.decision.Response, m.decision.Stored, m.decision.Collapsed = nil, false, false
	return isUnreadable, ReasonUnreadable
}
