package h1

import (
	"bytes"
	"net/netip"

	"edge/message"
)

// checkTarget classifies a request target whose octets are known to be allowed
// and fills in Form, Target and PathLen. The authority it returns, unparsed, is
// that of the absolute form; nil for the other forms.
func checkTarget(req *message.Request, target []byte, scratch *[]byte) (authority []byte, f fault) {
	switch {
	case len(target) == 0:
		return nil, faultTargetForm
	case target[0] == '/':
		req.Form = message.OriginForm
		setPath(req, target)
		return nil, faultNone
	case len(target) == 1 && target[0] == '*':
		// "The asterisk-form of request-target is only used for a server-wide
		// OPTIONS request" (RFC 9112 section 3.2.4).
		if req.Method != message.MethodOptions {
			return nil, faultTargetForm
		}
		setAsterisk(req)
		return nil, faultNone
	}
	return checkAbsolute(req, target, scratch)
}

// checkAbsolute handles the absolute form: "A server MUST accept the
// absolute-form in requests even though most HTTP/1.1 clients will only send
// the absolute-form to a proxy" (RFC 9112 section 3.2.2).
func checkAbsolute(req *message.Request, target []byte, scratch *[]byte) ([]byte, fault) {
	i := bytes.Index(target, []byte("://"))
	if i < 0 {
		return nil, faultTargetForm
	}
	scheme, rest := target[:i], target[i+3:]
	switch {
	case !equalFold(scheme, "http") && !equalFold(scheme, "https"):
		return nil, faultTargetForm
	case !equalFold(scheme, req.Scheme):
		// "a request for an "https" resource MUST be rejected unless it has
		// been received over a connection that has been secured" (RFC 9110
		// section 7.4); the other way round the cache key would lie.
		return nil, faultScheme
	}
	end := bytes.IndexAny(rest, "/?")
	if end < 0 {
		end = len(rest)
	}
	authority, rest := rest[:end], rest[end:]
	if bytes.IndexByte(authority, '@') >= 0 {
		// "a recipient SHOULD parse for userinfo and treat its presence as an
		// error; it is likely being used to obscure the authority for the sake
		// of phishing attacks" (RFC 9110 section 4.2.4).
		return nil, faultUserinfo
	}
	if len(authority) == 0 {
		// "A recipient that processes such a URI reference MUST reject it as
		// invalid" (RFC 9110 section 4.2.1, of an empty host).
		return nil, faultHost
	}
	req.Form = message.AbsoluteForm
	switch {
	case len(rest) == 0 && req.Method == message.MethodOptions:
		// "If a proxy receives an OPTIONS request with an absolute-form of
		// request-target in which the URI has an empty path and no query
		// component, then the last proxy on the request chain MUST send a
		// request-target of "*"" (RFC 9112 section 3.2.4).
		setAsterisk(req)
	case len(rest) == 0:
		setPath(req, slash)
	case rest[0] == '?':
		// "If the target URI's path component is empty, the client MUST send
		// "/" as the path within the origin-form" (RFC 9112 section 3.2.1).
		*scratch = append(append((*scratch)[:0], '/'), rest...)
		setPath(req, *scratch)
	default:
		setPath(req, rest)
	}
	return authority, faultNone
}

var (
	slash    = []byte("/")
	asterisk = []byte("*")
)

func setAsterisk(req *message.Request) {
	req.Form, req.Target, req.PathLen = message.AsteriskForm, asterisk, 1
}

func setPath(req *message.Request, target []byte) {
	req.Target = target
	if req.PathLen = bytes.IndexByte(target, '?'); req.PathLen < 0 {
		req.PathLen = len(target)
	}
}

// checkAuthority parses uri-host [":" port] and returns it lower-cased and
// without the scheme's default port. What needs no change is returned as it
// is; else the result lives in scratch.
func checkAuthority(b []byte, scheme string, scratch *[]byte) ([]byte, bool) {
	i, upper := 0, false
	if len(b) > 0 && b[0] == '[' {
		if i = bytes.IndexByte(b, ']') + 1; i == 0 || !isIPv6(b[1:i-1]) {
			return nil, false
		}
		upper = true // hexadecimal digits may be; rare enough not to look
	} else {
		for i < len(b) && isHost[b[i]] {
			upper = upper || 'A' <= b[i] && b[i] <= 'Z'
			i++
		}
	}
	if i == 0 || i < len(b) && b[i] != ':' {
		return nil, false
	}
	host := b[:i:i]
	if i < len(b) {
		port := b[i+1:]
		if !isPort(port) {
			return nil, false
		}
		if len(port) > 0 && !isDefaultPort(port, scheme) {
			host = b
		}
	}
	if !upper {
		return host, true
	}
	low := append((*scratch)[:0], host...)
	for i, c := range low {
		if 'A' <= c && c <= 'Z' {
			low[i] = c + ('a' - 'A')
		}
	}
	*scratch = low
	return low, true
}

func isIPv6(b []byte) bool {
	if bytes.IndexByte(b, '%') >= 0 { // a zone means nothing to anybody else
		return false
	}
	a, err := netip.ParseAddr(string(b))
	return err == nil && a.Is6()
}

// isPort accepts an empty port, which RFC 3986 allows and which means the
// default, and otherwise a number up to 65535 without leading zeros.
func isPort(b []byte) bool {
	if len(b) > 5 || len(b) > 1 && b[0] == '0' {
		return false
	}
	n := 0
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
		n = n*10 + int(c-'0')
	}
	return n <= 65535
}

func isDefaultPort(port []byte, scheme string) bool {
	if scheme == "https" {
		return string(port) == "443"
	}
	return string(port) == "80"
}
