package h1

import (
	"math"

	"edge/message"
)

// frameRequest decides how the body is delimited, RFC 9112 section 6.3.
func frameRequest(req *message.Request) fault {
	coded := req.Fields.Has(message.FieldTransferEncoding)
	sized := req.Fields.Has(message.FieldContentLength)
	switch {
	case coded:
		if f := checkCoding(&req.Fields, req.Version, sized); f != faultNone {
			return f
		}
		req.Chunked, req.Length = true, message.LengthUnknown
	case sized:
		n, f := contentLength(&req.Fields)
		if f != faultNone {
			return f
		}
		req.Length = n
	}
	// "If this is a request message and none of the above are true, then the
	// message body length is zero (no message body is present)."
	return faultNone
}

// frameResponse does the same for a response to a request of the given method.
func frameResponse(resp *message.Response, method string) fault {
	coded := resp.Fields.Has(message.FieldTransferEncoding)
	sized := resp.Fields.Has(message.FieldContentLength)
	resp.Length = message.LengthUnknown
	// "Any response to a HEAD request and any response with a 1xx
	// (Informational), 204 (No Content), or 304 (Not Modified) status code is
	// always terminated by the first empty line after the header fields".
	resp.NoBody = method == message.MethodHead || resp.Status < 200 || resp.Status == 204 || resp.Status == 304
	switch {
	case coded:
		if f := checkCoding(&resp.Fields, resp.Version, sized); f != faultNone {
			return f
		}
		resp.Chunked = !resp.NoBody
	case sized:
		n, f := contentLength(&resp.Fields)
		if f != faultNone {
			return f
		}
		resp.Length = n
	}
	// "A server MUST NOT send a Transfer-Encoding header field in any response
	// with a status code of 1xx (Informational) or 204 (No Content)" (section
	// 6.1), nor a Content-Length there (RFC 9110 section 8.6): a peer that does
	// may mean a body, so nothing more is read from it.
	if (resp.Status < 200 || resp.Status == 204) && (coded || resp.Length > 0) {
		resp.KeepAlive = false
	}
	return faultNone
}

// checkCoding accepts one Transfer-Encoding line that says "chunked", and
// nothing beside it.
func checkCoding(f *message.Fields, v message.Version, sized bool) fault {
	i := f.Next(message.FieldTransferEncoding, 0)
	switch {
	case v < message.HTTP11:
		// "A server or client that receives an HTTP/1.0 message containing a
		// Transfer-Encoding header field MUST treat the message as if the
		// framing is faulty, even if a Content-Length is present" (section 6.1).
		return faultCodingOld
	case sized:
		// "A server MAY reject a request that contains both Content-Length and
		// Transfer-Encoding" (section 6.1); "Such a message might indicate an
		// attempt to perform request smuggling [...] or response splitting
		// [...] and ought to be handled as an error" (section 6.3).
		return faultCodingAndLength
	case f.Next(message.FieldTransferEncoding, i+1) >= 0:
		return faultCodingTwice
	}
	v1 := f.All()[i].Value
	if equalFold(v1, "chunked") {
		return faultNone
	}
	known, chunkedLast, chunks := true, false, 0
	eachMember(v1, func(m []byte) bool {
		known = known && allToken(m)
		if chunkedLast = equalFold(m, "chunked"); chunkedLast {
			chunks++
		}
		return true
	})
	if known && chunkedLast && chunks == 1 && v1[0] != ',' && v1[len(v1)-1] != ',' && len(v1) > len("chunked,") {
		// "A server that receives a request message with a transfer coding it
		// does not understand SHOULD respond with 501 (Not Implemented)"
		// (section 6.1).
		return faultCodingUnknown
	}
	// "If a Transfer-Encoding header field is present in a request and the
	// chunked transfer coding is not the final encoding, the message body
	// length cannot be determined reliably; the server MUST respond with the
	// 400 (Bad Request) status code and then close the connection" (section
	// 6.3). The same goes for every disguise of the word.
	return faultCodingNotFinal
}

// contentLength reads every Content-Length line: 1*DIGIT each, all the same.
// "If a message is received without Transfer-Encoding and with an invalid
// Content-Length header field, then the message framing is invalid and the
// recipient MUST treat it as an unrecoverable error" (RFC 9112 section 6.3).
// The list of equal values that the section lets a recipient accept is refused;
// equal lines are collapsed.
func contentLength(f *message.Fields) (int64, fault) {
	length := int64(-1)
	for i := f.Next(message.FieldContentLength, 0); i >= 0; i = f.Next(message.FieldContentLength, i+1) {
		n, ok := parseDecimal(f.All()[i].Value)
		if !ok {
			return 0, faultLengthSyntax
		}
		if length >= 0 && n != length {
			return 0, faultLengthsDiffer
		}
		length = n
	}
	return length, faultNone
}

// parseDecimal reads 1*DIGIT up to 2^63-1: "a recipient MUST anticipate
// potentially large decimal numerals and prevent parsing errors due to integer
// conversion overflows" (RFC 9110 section 8.6).
func parseDecimal(b []byte) (int64, bool) {
	if len(b) == 0 {
		return 0, false
	}
	var n int64
	for _, c := range b {
		d := int64(c) - '0'
		if d < 0 || d > 9 || n > (math.MaxInt64-d)/10 {
			return 0, false
		}
		n = n*10 + d
	}
	return n, true
}

// options are the connection options that matter to the codec.
type options struct{ close, keepAlive, upgrade bool }

func connectionOptions(f *message.Fields) options {
	var o options
	for i := f.Next(message.FieldConnection, 0); i >= 0; i = f.Next(message.FieldConnection, i+1) {
		eachMember(f.All()[i].Value, func(m []byte) bool {
			switch {
			case equalFold(m, "close"):
				o.close = true
			case equalFold(m, "keep-alive"):
				o.keepAlive = true
			case equalFold(m, "upgrade"):
				o.upgrade = true
			}
			return true
		})
	}
	return o
}

// persists is RFC 9112 section 9.3: "If the "close" connection option is
// present, the connection will not persist after the current response; else,
// if the received protocol is HTTP/1.1 (or later), the connection will persist
// after the current response; else, if the received protocol is HTTP/1.0, the
// "keep-alive" connection option is present [...] the connection will persist".
func (o options) persists(v message.Version) bool {
	return !o.close && (v >= message.HTTP11 || o.keepAlive)
}
