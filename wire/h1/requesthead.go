package h1

import "edge/message"

// requestParser turns the bytes of a request head into a message.Request. It
// is pure but for its two scratch buffers, which hold an authority or a target
// that had to be changed; they are reused with the next head.
type requestParser struct {
	scheme      string
	defaultHost []byte
	limits      *Limits

	authority, target []byte
}

// parse reads one head from the beginning of b and returns its length. With
// faultIncomplete more bytes may decide otherwise; every other fault is final
// and does not depend on how much follows.
func (p *requestParser) parse(b []byte, req *message.Request) (int, fault) {
	req.Reset()
	req.Scheme = p.scheme
	window := b
	if len(window) > p.limits.HeadBytes {
		window = window[:p.limits.HeadBytes]
	}
	n, f := p.parseWithin(window, req)
	if f == faultIncomplete && len(b) >= p.limits.HeadBytes {
		f = faultHeadLong
	}
	return n, f
}

func (p *requestParser) parseWithin(b []byte, req *message.Request) (int, fault) {
	i, f := skipEmptyLine(b)
	if f != faultNone {
		return 0, f
	}
	line := b[i:]
	if len(line) > p.limits.RequestLine+2 {
		line = line[:p.limits.RequestLine+2]
	}
	n, authority, f := p.parseRequestLine(line, req)
	if f == faultIncomplete && len(b)-i >= p.limits.RequestLine+2 {
		// "A server that receives a request-target longer than any URI it
		// wishes to parse MUST respond with a 414 (URI Too Long) status code"
		// (RFC 9112 section 3).
		f = faultRequestLineLong
	}
	if f != faultNone {
		return 0, f
	}
	i, f = parseFields(b, i+n, &req.Fields, p.limits.FieldCount)
	if f != faultNone {
		return 0, f
	}
	if f = p.finish(req, authority); f != faultNone {
		return 0, f
	}
	return i, faultNone
}

// skipEmptyLine: "a server that is expecting to receive and parse a
// request-line SHOULD ignore at least one empty line (CRLF) received prior to
// the request-line" (RFC 9112 section 2.2). One is what we ignore.
func skipEmptyLine(b []byte) (int, fault) {
	switch {
	case len(b) == 0:
		return 0, faultIncomplete
	case b[0] == '\n':
		return 0, faultBareLF
	case b[0] != '\r':
		return 0, faultNone
	case len(b) == 1:
		return 0, faultIncomplete
	case b[1] != '\n':
		return 0, faultBareCR
	case len(b) > 2 && (b[2] == '\r' || b[2] == '\n'):
		return 0, faultEmptyLines
	}
	return 2, faultNone
}

// parseRequestLine reads method SP request-target SP HTTP-version CRLF, with
// exactly one SP: that "recipients MAY instead parse on whitespace-delimited
// word boundaries" (RFC 9112 section 3) is a liberty we do not take.
func (p *requestParser) parseRequestLine(b []byte, req *message.Request) (n int, authority []byte, f fault) {
	i := 0
	for i < len(b) && isToken[b[i]] {
		i++
	}
	if i == len(b) {
		return 0, nil, faultIncomplete
	}
	if b[i] != ' ' || i == 0 {
		return 0, nil, lineFault(b[i:], faultMethod)
	}
	req.Method = message.InternMethod(b[:i])
	i++
	start := i
	for i < len(b) && isTarget[b[i]] {
		i++
	}
	if i == len(b) {
		return 0, nil, faultIncomplete
	}
	if b[i] != ' ' || i == start {
		return 0, nil, lineFault(b[i:], faultTarget)
	}
	target := b[start:i:i]
	i++
	if req.Version, f = parseVersion(b[i:]); f != faultNone {
		return 0, nil, f
	}
	i += versionLen
	if f = lineEnd(b[i:]); f != faultNone {
		return 0, nil, f
	}
	i += 2
	if req.Method == message.MethodConnect {
		return 0, nil, faultConnect
	}
	authority, f = checkTarget(req, target, &p.target)
	return i, authority, f
}

// lineFault tells what the octet is that a start line may not hold here.
func lineFault(b []byte, otherwise fault) fault {
	switch {
	case b[0] == '\n':
		return faultBareLF
	case b[0] != '\r':
		return otherwise
	case len(b) == 1:
		return faultIncomplete
	case b[1] != '\n':
		return faultBareCR
	}
	if otherwise == faultTarget {
		return faultVersionSyntax // HTTP/0.9: a line without a version
	}
	return otherwise
}

// lineEnd expects CRLF.
func lineEnd(b []byte) fault {
	switch {
	case len(b) == 0:
		return faultIncomplete
	case b[0] == '\n':
		return faultBareLF
	case b[0] != '\r':
		return faultVersionSyntax
	case len(b) == 1:
		return faultIncomplete
	case b[1] != '\n':
		return faultBareCR
	}
	return faultNone
}

const versionLen = len("HTTP/1.1")

// parseVersion reads HTTP-name "/" DIGIT "." DIGIT at the beginning of b.
func parseVersion(b []byte) (message.Version, fault) {
	const name = "HTTP/"
	for i := 0; i < versionLen; i++ {
		if i == len(b) {
			return 0, faultIncomplete
		}
		c := b[i]
		switch {
		case i < len(name):
			if c != name[i] { // "HTTP-version is case-sensitive" (RFC 9112 section 2.3)
				return 0, faultVersionSyntax
			}
		case i == len(name)+1:
			if c != '.' {
				return 0, faultVersionSyntax
			}
		case c < '0' || c > '9':
			return 0, faultVersionSyntax
		}
	}
	if b[5] != '1' {
		return 0, faultVersion
	}
	if b[7] == '0' {
		return message.HTTP10, faultNone
	}
	// "A recipient that receives a message with a major version number that it
	// implements and a minor version number higher than what it implements
	// SHOULD process the message as if it were in the highest minor version
	// within that major version to which the recipient is conformant" (RFC
	// 9110 section 2.5).
	return message.HTTP11, faultNone
}

// finish decides what takes the whole head: Host, framing, persistence,
// expectation, upgrade.
func (p *requestParser) finish(req *message.Request, authority []byte) fault {
	if f := p.settleAuthority(req, authority); f != faultNone {
		return f
	}
	if f := frameRequest(req); f != faultNone {
		return f
	}
	opts := connectionOptions(&req.Fields)
	req.KeepAlive = opts.persists(req.Version)
	if req.Fields.Has(message.FieldExpect) {
		if f := settleExpect(req); f != faultNone {
			return f
		}
	}
	if opts.upgrade && req.Fields.Has(message.FieldUpgrade) {
		settleUpgrade(req)
	}
	return faultNone
}

// settleAuthority: "A server MUST respond with a 400 (Bad Request) status code
// to any HTTP/1.1 request message that lacks a Host header field and to any
// request message that contains more than one Host header field line or a Host
// header field with an invalid field value" (RFC 9112 section 3.2).
func (p *requestParser) settleAuthority(req *message.Request, authority []byte) fault {
	i := req.Fields.Next(message.FieldHost, 0)
	if i < 0 && req.Version >= message.HTTP11 {
		return faultNoHost
	}
	if i >= 0 && req.Fields.Next(message.FieldHost, i+1) >= 0 {
		return faultManyHosts
	}
	ok := true
	if i >= 0 {
		host := req.Fields.All()[i].Value
		// An empty Host stands for a target without an authority, which no
		// http URI is; from HTTP/1.0 it is as good as none.
		if len(host) > 0 || req.Version >= message.HTTP11 {
			if req.Authority, ok = checkAuthority(host, req.Scheme, &p.authority); !ok {
				return faultHost
			}
		}
	}
	if authority != nil {
		// "When an origin server receives a request with an absolute-form of
		// request-target, the origin server MUST ignore the received Host
		// header field (if any) and instead use the host information of the
		// request-target" (RFC 9112 section 3.2.2).
		if req.Authority, ok = checkAuthority(authority, req.Scheme, &p.authority); !ok {
			return faultHost
		}
	}
	if len(req.Authority) == 0 {
		if len(p.defaultHost) == 0 {
			return faultNoDefaultHost
		}
		req.Authority = p.defaultHost
	}
	return faultNone
}

// settleExpect: "A server that receives an Expect field value containing a
// member other than 100-continue MAY respond with a 417 (Expectation Failed)
// status code" (RFC 9110 section 10.1.1).
func settleExpect(req *message.Request) fault {
	f := &req.Fields
	for i := f.Next(message.FieldExpect, 0); i >= 0; i = f.Next(message.FieldExpect, i+1) {
		if !equalFold(f.All()[i].Value, "100-continue") {
			return faultExpect
		}
	}
	// "A server that receives a 100-continue expectation in an HTTP/1.0 request
	// MUST ignore that expectation"; and "MAY omit sending a 100 (Continue)
	// response if [...] the framing indicates that there is no content".
	req.ExpectContinue = req.Version >= message.HTTP11 && req.HasBody()
	return faultNone
}

// settleUpgrade: "A server MAY ignore a received Upgrade header field if it
// wishes to continue using the current protocol on that connection" and "A
// server that receives an Upgrade header field in an HTTP/1.0 request MUST
// ignore that Upgrade field" (RFC 9110 section 7.8). We ignore it also where a body would have to be read
// first, where it comes in several lines, and where it offers h2c, which would
// turn the connection into one whose requests nobody checks.
func settleUpgrade(req *message.Request) {
	f := &req.Fields
	i := f.Next(message.FieldUpgrade, 0)
	if req.Version < message.HTTP11 || req.HasBody() || f.Next(message.FieldUpgrade, i+1) >= 0 {
		return
	}
	v := f.All()[i].Value
	offersH2C := false
	eachMember(v, func(m []byte) bool {
		offersH2C = equalFold(m, "h2c") || equalFold(m, "h2")
		return !offersH2C
	})
	if len(v) > 0 && !offersH2C {
		req.Upgrade = v
	}
}
