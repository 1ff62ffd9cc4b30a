package statemachine

import (
	"bytes"

	"edge/message"
)

// InvalidationTargets calls visit with every URI that a non-error response (2xx
// or 3xx) to an unsafe request makes stale, RFC 9111 section 4.4: the target URI
// ("A cache MUST invalidate the target URI"), and the URIs in Location and
// Content-Location ("candidates for invalidation"), resolved against it.
// "However, a cache MUST NOT trigger an invalidation under these conditions if
// the origin of the URI to be invalidated differs from that of the target URI."
//
// Scheme, authority and target are in the form of message.Request's: the key
// of a GET for the URI is made from them as from a request's. The slices are
// valid during the call only.
func InvalidationTargets(req *message.Request, resp *message.Response, visit func(scheme string, authority, target []byte)) {
	visit(req.Scheme, req.Authority, req.Target)
	for _, id := range [...]message.FieldID{message.FieldLocation, message.FieldContentLocation} {
		reference, ok := single(&resp.Fields, id)
		if !ok {
			continue
		}
		target, ok := resolve(req, reference)
		if ok && !bytes.Equal(target, req.Target) {
			visit(req.Scheme, req.Authority, target)
		}
	}
}

// resolve resolves a URI reference against the target URI, RFC 3986 section
// 5.2, and returns path and query if the result has the same origin. Nothing is
// decoded and nothing encoded.
func resolve(req *message.Request, reference []byte) ([]byte, bool) {
	for _, c := range reference {
		if c <= ' ' || c >= 0x7f || c == '\\' {
			return nil, false // no URI; browsers and origins disagree about what it means
		}
	}
	reference, _, _ = bytes.Cut(reference, []byte{'#'})
	if scheme, rest, ok := cutScheme(reference); ok {
		if !message.EqualFoldString(scheme, req.Scheme) || !bytes.HasPrefix(rest, []byte("//")) {
			return nil, false
		}
		reference = rest
	}
	if bytes.HasPrefix(reference, []byte("//")) {
		authority, target := cutAuthority(reference[2:])
		if !sameAuthority(authority, req) {
			return nil, false
		}
		if len(target) == 0 || target[0] == '?' {
			target = append([]byte{'/'}, target...)
		}
		reference = target
	}
	if req.Form == message.AsteriskForm || len(reference) == 0 {
		return nil, false
	}
	path, query := cutQuery(reference)
	switch {
	case len(path) == 0:
		path = req.Path()
	case path[0] != '/':
		base := req.Path()
		path = append(bytes.Clone(base[:bytes.LastIndexByte(base, '/')+1]), path...)
	}
	return append(removeDotSegments(path), query...), true
}

// cutScheme cuts "scheme:" off a reference that has one: scheme = ALPHA *( ALPHA
// / DIGIT / "+" / "-" / "." ).
func cutScheme(reference []byte) (scheme, rest []byte, ok bool) {
	for i, c := range reference {
		switch {
		case c == ':' && i > 0:
			return reference[:i], reference[i+1:], true
		case isAlpha(c), i > 0 && (isDigit(c) || c == '+' || c == '-' || c == '.'):
		default:
			return nil, reference, false
		}
	}
	return nil, reference, false
}

func cutAuthority(b []byte) (authority, target []byte) {
	i := bytes.IndexAny(b, "/?")
	if i < 0 {
		return b, nil
	}
	return b[:i], b[i:]
}

func cutQuery(b []byte) (path, query []byte) {
	i := bytes.IndexByte(b, '?')
	if i < 0 {
		return b, nil
	}
	return b[:i], b[i:]
}

// sameAuthority compares an authority as written with the request's, which is
// in lower case and without the default port. Userinfo never compares equal: it
// is no part of an http origin, and a URI that has some wants to look like
// another.
func sameAuthority(authority []byte, req *message.Request) bool {
	port := ":80"
	if req.Scheme == "https" {
		port = ":443"
	}
	for _, end := range [...]string{port, ":"} {
		if rest, ok := bytes.CutSuffix(authority, []byte(end)); ok {
			authority = rest
			break
		}
	}
	return message.EqualFold(authority, req.Authority)
}

// removeDotSegments is RFC 3986 section 5.2.4 for a path that begins with "/".
func removeDotSegments(path []byte) []byte {
	out := make([]byte, 0, len(path))
	for len(path) > 0 {
		n := bytes.IndexByte(path[1:], '/') + 1 // a segment with its leading slash
		last := n == 0
		if last {
			n = len(path)
		}
		segment := path[1:n]
		path = path[n:]
		switch {
		case len(segment) == 1 && segment[0] == '.':
		case len(segment) == 2 && segment[0] == '.' && segment[1] == '.':
			out = out[:max(bytes.LastIndexByte(out, '/'), 0)]
		default:
			out = append(append(out, '/'), segment...)
			continue
		}
		if last {
			out = append(out, '/')
		}
	}
	if len(out) == 0 {
		return append(out, '/')
	}
	return out
}
