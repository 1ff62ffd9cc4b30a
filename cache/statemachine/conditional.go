package statemachine

import "edge/message"

// notModified evaluates the request's preconditions against the chosen
// response, and reports whether 304 answers it. RFC 9111 section 4.3.2: "the
// If-Match and If-Unmodified-Since conditional header fields are not applicable
// to a cache, and If-None-Match takes precedence over If-Modified-Since"; "A
// cache MUST NOT evaluate conditional header fields that only apply to an
// origin server".
func notModified(req *message.Request, s *message.Stored) bool {
	f := &req.Fields
	if f.Has(message.FieldIfNoneMatch) {
		// RFC 9110 section 13.2.2: "When If-None-Match is present, evaluate
		// the If-None-Match precondition: ... if false for GET/HEAD, respond
		// 304 (Not Modified)".
		return !ifNoneMatch(f, s)
	}
	if !f.Has(message.FieldIfModifiedSince) {
		return false
	}
	// Section 13.1.3: "A recipient MUST ignore the If-Modified-Since header
	// field if the received field value is not a valid HTTP-date, the field
	// value has more than one member, or if the request method is neither GET
	// nor HEAD."
	value, ok := single(f, message.FieldIfModifiedSince)
	if !ok {
		return false
	}
	since, ok := ParseDate(value)
	return ok && !ifModifiedSince(since, s)
}

// ifNoneMatch evaluates If-None-Match, RFC 9110 section 13.1.2: "If the field
// value is "*", the condition is false if the origin server has a current
// representation for the target resource"; "If the field value is a list of
// entity tags, the condition is false if one of the listed tags matches the
// entity tag of the selected representation"; "Otherwise, the condition is
// true." "A recipient MUST use the weak comparison function".
func ifNoneMatch(f *message.Fields, s *message.Stored) bool {
	if value, ok := single(f, message.FieldIfNoneMatch); ok && len(value) == 1 && value[0] == '*' {
		return false
	}
	if len(s.Terms.ETag) == 0 {
		return true
	}
	for i := f.Next(message.FieldIfNoneMatch, 0); i >= 0; i = f.Next(message.FieldIfNoneMatch, i+1) {
		if listsETag(f.All()[i].Value, s.Terms.ETag) {
			return false
		}
	}
	return true
}

// listsETag looks for an entity tag in a list of them. A comma may stand
// within an entity tag, and a backslash means nothing there.
func listsETag(value, etag []byte) bool {
	for i := 0; i < len(value); {
		if c := value[i]; c == ',' || isOWS(c) {
			i++
			continue
		}
		if n := etagLen(value[i:]); n > 0 {
			end := skipOWS(value, i+n)
			if (end == len(value) || value[end] == ',') && weakMatch(value[i:i+n], etag) {
				return true
			}
			i = end
		}
		// What is no entity tag ends at the next comma.
		for i < len(value) && value[i] != ',' {
			i++
		}
	}
	return false
}

func skipOWS(b []byte, i int) int {
	for i < len(b) && isOWS(b[i]) {
		i++
	}
	return i
}

// ifModifiedSince evaluates If-Modified-Since, RFC 9110 section 13.1.3: "If the
// selected representation's last modification date is earlier or equal to the
// date provided in the field value, the condition is false." RFC 9111 section
// 4.3.2: where Last-Modified "is not present in a stored response, a cache
// SHOULD use the stored response's Date field value (or, if no Date field is
// present, the time that the stored response was received) to evaluate the
// conditional".
func ifModifiedSince(since int64, s *message.Stored) bool {
	if s.Terms.LastModified != 0 {
		return s.Terms.LastModified > since
	}
	return s.Terms.Date > instantOf(since)
}

// ifRange evaluates If-Range, RFC 9110 section 13.1.5. "A valid entity-tag can
// be distinguished from a valid HTTP-date by examining the first three
// characters for a DQUOTE."
func ifRange(f *message.Fields, s *message.Stored) bool {
	value, ok := single(f, message.FieldIfRange)
	if !ok {
		return false
	}
	for _, c := range value[:min(3, len(value))] {
		if c == '"' {
			// "If the entity-tag validator provided exactly matches the ETag
			// field value for the selected representation using the strong
			// comparison function, the condition is true."
			return strongMatch(value, s.Terms.ETag)
		}
	}
	// "If the HTTP-date validator provided is not a strong validator in the
	// sense defined by Section 8.8.2.2, the condition is false. If the
	// HTTP-date validator provided exactly matches the Last-Modified field
	// value for the selected representation, the condition is true."
	date, ok := ParseDate(value)
	return ok && s.Terms.Flags.Has(message.TermLastModifiedStrong) && date == s.Terms.LastModified
}
