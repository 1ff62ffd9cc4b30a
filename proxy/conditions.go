package proxy

import (
	"bytes"

	"edge/cache/statemachine"
	"edge/message"
)

// Bypass says which requests of a route are passed on as if nothing were
// stored, and their answers not stored: those with any of these. What a request
// has is judged as it came, before anything is dropped from it. The zero value:
// none.
type Bypass struct {
	// Cookies and Query are names of cookies and query parameters, compared
	// byte for byte as they come; a trailing "*" matches any ending.
	Cookies, Query []string
	Fields         []FieldCondition
}

// FieldCondition holds for a request that has a field of a name.
type FieldCondition struct {
	Name []byte
	// Value is a line's whole value, compared byte for byte; nil: any.
	Value []byte
}

// matches reports whether a request is for the origin only.
func (b *Bypass) matches(req *message.Request) bool {
	for i := range b.Fields {
		if b.Fields[i].holds(&req.Fields) {
			return true
		}
	}
	if len(b.Query) > 0 {
		query, _ := req.Query()
		for len(query) > 0 {
			var param []byte
			param, query, _ = bytes.Cut(query, []byte{'&'})
			name, _, _ := bytes.Cut(param, []byte{'='})
			if matchAny(b.Query, name) {
				return true
			}
		}
	}
	return len(b.Cookies) > 0 && hasCookie(&req.Fields, b.Cookies)
}

func (c *FieldCondition) holds(f *message.Fields) bool {
	for i := f.NextName(c.Name, 0); i >= 0; i = f.NextName(c.Name, i+1) {
		if c.Value == nil || bytes.Equal(c.Value, f.All()[i].Value) {
			return true
		}
	}
	return false
}

func hasCookie(f *message.Fields, patterns []string) bool {
	for i := f.Next(message.FieldCookie, 0); i >= 0; i = f.Next(message.FieldCookie, i+1) {
		for rest := f.All()[i].Value; len(rest) > 0; {
			var pair []byte
			pair, rest, _ = bytes.Cut(rest, []byte{';'})
			if matchAny(patterns, cookieName(pair)) {
				return true
			}
		}
	}
	return false
}

// cookieName is the name in a pair of a Cookie field, RFC 6265 section 4.2.1;
// a pair without "=" is all value to some and all name to others, and names
// something here.
func cookieName(pair []byte) []byte {
	name, _, _ := bytes.Cut(pair, []byte{'='})
	return bytes.Trim(name, " \t")
}

// Strip says what is taken from every request of a route before anything else
// looks at it: it is neither in the key nor nominated by Vary, and never
// reaches the origin.
type Strip struct {
	Fields [][]byte
	// Cookies are names; a trailing "*" matches any ending.
	Cookies []string
}

// apply takes away what is to be, using buf for Cookie fields that remain in
// part.
func (s *Strip) apply(req *message.Request, buf []byte) []byte {
	for _, name := range s.Fields {
		req.Fields.DeleteName(name)
	}
	if len(s.Cookies) == 0 || !hasCookie(&req.Fields, s.Cookies) {
		return buf
	}
	buf = buf[:0]
	all := req.Fields.All()
	for i := range all {
		if all[i].ID == message.FieldCookie {
			at := len(buf)
			buf = s.appendCookies(buf, all[i].Value)
			all[i].Value = buf[at:len(buf):len(buf)]
		}
	}
	req.Fields.DeleteFunc(func(f *message.Field) bool { return f.ID == message.FieldCookie && len(f.Value) == 0 })
	return buf
}

// appendCookies appends the pairs that stay.
func (s *Strip) appendCookies(dst, value []byte) []byte {
	start := len(dst)
	for len(value) > 0 {
		var pair []byte
		pair, value, _ = bytes.Cut(value, []byte{';'})
		if pair = bytes.Trim(pair, " \t"); len(pair) == 0 || matchAny(s.Cookies, cookieName(pair)) {
			continue
		}
		if len(dst) > start {
			dst = append(dst, "; "...)
		}
		dst = append(dst, pair...)
	}
	return dst
}

// policyFor is the policy that a request is taken through the machine with.
func (r *Route) policyFor(req *message.Request) *statemachine.Policy {
	if r.Bypass != nil && !r.Policy.Disabled && r.Bypass.matches(req) {
		return passing
	}
	return r.Policy
}

// passing is the policy of requests that are only passed on.
var passing = func() *statemachine.Policy {
	p := statemachine.DefaultPolicy()
	p.Disabled = true
	return p
}()
