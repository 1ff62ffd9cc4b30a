package h1

import "edge/message"

// parseFields reads field lines from b[i:] up to and including the empty line
// that ends them, in one pass. It returns the offset after that line, or a
// fault; the slices it adds to f point into b. maxCount bounds the lines.
func parseFields(b []byte, i int, f *message.Fields, maxCount int) (int, fault) {
	first := i
	for {
		if i >= len(b) {
			return 0, faultIncomplete
		}
		if b[i] == '\r' {
			if i+1 >= len(b) {
				return 0, faultIncomplete
			}
			if b[i+1] != '\n' {
				return 0, faultBareCR
			}
			return i + 2, faultNone
		}
		start := i
		for i < len(b) && isToken[b[i]] {
			i++
		}
		if i == len(b) {
			return 0, faultIncomplete
		}
		if b[i] != ':' || i == start {
			return 0, nameFault(b, start, i, start == first)
		}
		name := b[start:i:i]
		i++
		for i < len(b) && (b[i] == ' ' || b[i] == '\t') {
			i++
		}
		start = i
		if i = valueEnd(b, i); i == len(b) {
			return 0, faultIncomplete
		}
		if b[i] != '\r' {
			return 0, valueFault(b[i])
		}
		if i+1 == len(b) {
			return 0, faultIncomplete
		}
		if b[i+1] != '\n' {
			// "A recipient of such a bare CR MUST consider that element to be
			// invalid or replace each bare CR with SP" (RFC 9112 section 2.2).
			return 0, faultBareCR
		}
		end := i
		for end > start && (b[end-1] == ' ' || b[end-1] == '\t') {
			end--
		}
		i += 2
		if f.Len() == maxCount {
			return 0, faultTooManyFields
		}
		f.AddID(message.LookupFieldID(name), name, b[start:end:end])
	}
}

// nameFault tells why the line beginning at start has no name that ends in a
// colon: the scan stopped at b[i].
func nameFault(b []byte, start, i int, first bool) fault {
	c := b[i]
	switch {
	case c == '\n':
		// "a recipient MAY recognize a single LF as a line terminator" (RFC
		// 9112 section 2.2): we do not, because others do.
		return faultBareLF
	case (c == ' ' || c == '\t') && i == start && first:
		// "A recipient that receives whitespace between the start-line and the
		// first header field MUST either reject the message as invalid or
		// consume each whitespace-preceded line without further processing of
		// it" (RFC 9112 section 2.2).
		return faultLeadingSpace
	case (c == ' ' || c == '\t') && i == start:
		// "A server that receives an obs-fold in a request message [...] MUST
		// either reject the message by sending a 400 (Bad Request) [...] or
		// replace each received obs-fold" (RFC 9112 section 5.2); a gateway
		// that receives one in a response MUST send 502 or replace it.
		return faultFold
	case c == ' ' || c == '\t':
		// "A server MUST reject, with a response status code of 400 (Bad
		// Request), any received request message that contains whitespace
		// between a header field name and colon" (RFC 9112 section 5.1).
		return faultSpaceBeforeColon
	case c == '\r':
		if i+1 == len(b) {
			return faultIncomplete
		}
		if b[i+1] != '\n' {
			return faultBareCR
		}
		return faultNoColon
	}
	return faultFieldName
}

// valueFault tells what the octet is that a field value may not hold.
func valueFault(c byte) fault {
	if c == '\n' {
		return faultBareLF
	}
	// "Field values containing CR, LF, or NUL characters are invalid and
	// dangerous [...] a recipient of CR, LF, or NUL within a field value MUST
	// either reject the message or replace each of those characters with SP
	// [...] Field values containing other CTL characters are also invalid"
	// (RFC 9110 section 5.5).
	return faultControl
}
