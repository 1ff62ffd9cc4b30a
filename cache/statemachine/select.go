package statemachine

import "edge/message"

// Selection is what of a stored response answers a request.
type Selection struct {
	// Status is the status to send: the stored one (the whole), 206 (Ranges),
	// 304 or 416 (no content).
	Status int
	set    rangeSet
}

// Ranges are the ranges to send with Status 206: one for a single part, more
// for multipart/byteranges; within the size, none overlapping another. The
// slice is s's own.
func (s *Selection) Ranges() []Range { return s.set.ranges[:s.set.n] }

// Select evaluates the preconditions and the range of a GET, HEAD or QUERY request
// against the chosen response, whose content is size bytes long or
// message.LengthUnknown, in the order of RFC 9110 section 13.2.2. It is called
// once s may be used as it is (RFC 9111 section 4), and does not allocate.
//
// Only a stored 200 has them evaluated: RFC 9111 section 4.3.2 speaks of "a
// request that can be satisfied by reusing a stored 200 (OK) or 206 (Partial
// Content) response", and RFC 9110 section 13.2.1: "A server MUST ignore all
// received preconditions if its response to the same request without those
// conditions ... would have been a status code other than a 2xx (Successful)
// or 412 (Precondition Failed)."
func Select(req *message.Request, s *message.Stored, size int64) Selection {
	whole := Selection{Status: s.Status}
	if s.Status != 200 {
		return whole
	}
	if notModified(req, s) {
		return Selection{Status: 304}
	}
	// "For this specification, GET is the only method for which range handling
	// is defined." (section 14.2) And RFC 10008: "The semantics of Range Requests
	// for QUERY are identical to those for GET".
	if !retrieves(req.Method) || !req.Fields.Has(message.FieldRange) {
		return whole
	}
	value, ok := single(&req.Fields, message.FieldRange)
	if !ok {
		return whole
	}
	// Step 5: "When the method is GET and both Range and If-Range are present,
	// evaluate the If-Range precondition: ... otherwise, ignore the Range
	// header field and respond 200 (OK)".
	if req.Fields.Has(message.FieldIfRange) && !ifRange(&req.Fields, s) {
		return whole
	}
	part := Selection{Status: 206}
	switch part.set.parse(value, size) {
	case rangeSatisfiable:
		return part
	case rangeUnsatisfiable:
		return Selection{Status: 416}
	case rangeIgnored:
	}
	return whole
}
