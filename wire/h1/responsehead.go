package h1

import "edge/message"

// responseParser turns the bytes of a response head into a message.Response.
type responseParser struct {
	limits *Limits
	// method is that of the request being answered; framing depends on it.
	method string
	// upgrade says that the request asked for an upgrade.
	upgrade bool
}

// parse reads one head, interim or final, from the beginning of b and returns
// its length. The faults are final as with requestParser.
func (p *responseParser) parse(b []byte, resp *message.Response) (int, fault) {
	resp.Reset()
	window := b
	if len(window) > p.limits.HeadBytes {
		window = window[:p.limits.HeadBytes]
	}
	n, f := p.parseWithin(window, resp)
	if f == faultIncomplete && len(b) >= p.limits.HeadBytes {
		f = faultHeadLong
	}
	return n, f
}

func (p *responseParser) parseWithin(b []byte, resp *message.Response) (int, fault) {
	i, f := parseStatusLine(b, resp)
	if f != faultNone {
		return 0, f
	}
	if i, f = parseFields(b, i, &resp.Fields, p.limits.FieldCount); f != faultNone {
		return 0, f
	}
	resp.KeepAlive = connectionOptions(&resp.Fields).persists(resp.Version)
	if resp.Status == 101 && (!p.upgrade || !resp.Fields.Has(message.FieldUpgrade)) {
		// "The server MUST generate an Upgrade header field in the response
		// that indicates which protocol(s) will be in effect" (RFC 9110 section
		// 15.2.2), chosen from those the client offered.
		return 0, faultSwitchUnasked
	}
	if resp.Status < 200 && resp.Version < message.HTTP11 {
		// "Since HTTP/1.0 did not define any 1xx status codes, a server MUST NOT
		// send a 1xx response to an HTTP/1.0 client" (RFC 9110 section 15.2),
		// and a server of that version knows none.
		return 0, faultStatusCode
	}
	if f = frameResponse(resp, p.method); f != faultNone {
		return 0, f
	}
	return i, faultNone
}

// parseStatusLine reads HTTP-version SP status-code SP [ reason-phrase ] CRLF.
// The second SP may be missing where the phrase is: many origins leave it out
// and nothing else can be read from it.
func parseStatusLine(b []byte, resp *message.Response) (int, fault) {
	v, f := parseVersion(b)
	if f == faultVersionSyntax {
		f = faultStatusLine
	}
	if f != faultNone {
		return 0, f
	}
	resp.Version = v
	i := versionLen
	for want := 0; want < 4; want++ {
		if i == len(b) {
			return 0, faultIncomplete
		}
		c := b[i]
		if want == 0 && c != ' ' || want > 0 && (c < '0' || c > '9') {
			return 0, faultStatusLine
		}
		if want > 0 {
			resp.Status = resp.Status*10 + int(c-'0')
		}
		i++
	}
	if resp.Status < 100 || resp.Status > 599 {
		// "Values outside the range 100..599 are invalid" (RFC 9110 section 15).
		return 0, faultStatusCode
	}
	if i == len(b) {
		return 0, faultIncomplete
	}
	start := i
	if b[i] == ' ' {
		i++
		start = i
		i = valueEnd(b, i)
	}
	resp.Reason = b[start:i:i]
	if f := lineEnd(b[i:]); f != faultNone {
		if f == faultVersionSyntax {
			f = faultStatusLine
		}
		return 0, f
	}
	return i + 2, faultNone
}
