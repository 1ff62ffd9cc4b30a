package statemachine

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"edge/message"
)

func isStorableReason(req *message.Request, resp *message.Response, p *Policy) (bool, Reason) {
	rd := parseRequestDirectives(&req.Fields)
	d := parseResponseDirectives(&resp.Fields, p.Targeted)
	return storable(req, &rd, resp, &d, p)
}

var (
	lastModifiedLine = "Last-Modified: " + dateAt(-10000)
	obeying          = func(p *Policy) { p.ObeyRequest = true }
	overriding       = func(p *Policy) { p.Override, p.DefaultTTL = true, 60*sec }
	withTTL          = func(p *Policy) { p.DefaultTTL = 60 * sec }
)

// storableCases is RFC 9111 section 3, item by item.
var storableCases = []struct {
	name   string
	method string
	target int // length
	req    []string
	status int
	resp   []string
	policy func(*Policy)
	want   Reason
}{
	{name: "max-age", resp: []string{"Cache-Control: max-age=1"}},
	{name: "s-maxage", resp: []string{"Cache-Control: s-maxage=1"}},
	{name: "Expires", resp: []string{"Expires: " + dateAt(9)}},
	{name: "targeted", resp: []string{"Cache-Control: no-store", "CDN-Cache-Control: max-age=1"}},

	// "the request method is understood by the cache"
	{name: "HEAD", method: "HEAD", resp: []string{"Cache-Control: max-age=1"}, want: ReasonHeadRequest},
	{name: "POST", method: "POST", resp: []string{"Cache-Control: max-age=1"}, want: ReasonMethod},
	{name: "unknown method", method: "FETCH", resp: []string{"Cache-Control: max-age=1"}, want: ReasonMethod},

	// "if the response status code is 206 or 304, or the must-understand
	// cache directive is present: the cache understands the response
	// status code"
	{name: "206", status: 206, resp: []string{"Cache-Control: max-age=1"}, want: ReasonPart},
	{name: "304", status: 304, resp: []string{"Cache-Control: max-age=1"}, want: ReasonNotUnderstood},
	{name: "interim", status: 103, resp: []string{"Cache-Control: max-age=1"}, want: ReasonNotUnderstood},
	{name: "beyond 599", status: 600, resp: []string{"Cache-Control: max-age=1"}, want: ReasonNotUnderstood},
	{name: "must-understand", status: 299, resp: []string{"Cache-Control: max-age=1, must-understand"}, want: ReasonNotUnderstood},
	{name: "must-understand lifts no-store", resp: []string{"Cache-Control: max-age=1, must-understand, no-store"}},
	{name: "must-understand not understood", status: 599, resp: []string{"Cache-Control: max-age=1, must-understand, no-store"}, want: ReasonNotUnderstood},
	{name: "unknown status with max-age", status: 299, resp: []string{"Cache-Control: max-age=1"}},

	// "the no-store cache directive is not present in the response"
	{name: "no-store", resp: []string{"Cache-Control: max-age=1, no-store"}, want: ReasonNoStore},
	{name: "targeted no-store", resp: []string{"Cache-Control: max-age=1", "CDN-Cache-Control: no-store"}, want: ReasonNoStore},
	{name: "request no-store ignored", req: []string{"Cache-Control: no-store"}, resp: []string{"Cache-Control: max-age=1"}},
	{name: "request no-store obeyed", req: []string{"Cache-Control: no-store"}, resp: []string{"Cache-Control: max-age=1"}, policy: obeying, want: ReasonRequestNoStore},

	// "the private response directive is either not present or allows a
	// shared cache to store a modified response"
	{name: "private", resp: []string{"Cache-Control: max-age=1, private"}, want: ReasonPrivate},
	{name: "qualified private", resp: []string{`Cache-Control: max-age=1, private="a"`}},

	// "the Authorization header field is not present in the request or a
	// response directive is present that explicitly allows shared caching"
	{name: "Authorization", req: []string{"Authorization: x"}, resp: []string{"Cache-Control: max-age=1"}, want: ReasonAuthorization},
	{name: "Authorization, public", req: []string{"Authorization: x"}, resp: []string{"Cache-Control: max-age=1, public"}},
	{name: "Authorization, must-revalidate", req: []string{"Authorization: x"}, resp: []string{"Cache-Control: max-age=1, must-revalidate"}},
	{name: "Authorization, s-maxage", req: []string{"Authorization: x"}, resp: []string{"Cache-Control: s-maxage=1"}},
	{name: "Authorization, proxy-revalidate", req: []string{"Authorization: x"}, resp: []string{"Cache-Control: max-age=1, proxy-revalidate"}, want: ReasonAuthorization},
	{name: "Authorization, override", req: []string{"Authorization: x"}, policy: overriding, want: ReasonAuthorization},

	// "the response contains at least one of the following"
	{name: "nothing", want: ReasonNoFreshness},
	{name: "entity tag alone", resp: []string{`ETag: "x"`}, want: ReasonNoFreshness},
	{name: "Last-Modified", resp: []string{lastModifiedLine}},
	{name: "invalid Last-Modified", resp: []string{"Last-Modified: x"}, want: ReasonNoFreshness},
	{name: "302", status: 302, resp: []string{lastModifiedLine}, want: ReasonNotCacheable},
	{name: "302 with max-age", status: 302, resp: []string{"Cache-Control: max-age=1"}},
	{name: "302 public", status: 302, resp: []string{lastModifiedLine, "Cache-Control: public"}},
	{name: "500", status: 500, resp: []string{lastModifiedLine}, want: ReasonServerError},
	{name: "503 with max-age", status: 503, resp: []string{"Cache-Control: max-age=1"}},
	{name: "501", status: 501, resp: []string{lastModifiedLine}},
	{name: "404", status: 404, resp: []string{lastModifiedLine}},
	{name: "404 bare", status: 404, want: ReasonNoFreshness},

	// What could never answer anything is not kept.
	{name: "no-cache without validator", resp: []string{"Cache-Control: max-age=1, no-cache"}, want: ReasonNoCache},
	{name: "no-cache with validator", resp: []string{"Cache-Control: no-cache", `ETag: "x"`}},
	{name: "max-age=0, must-revalidate", resp: []string{"Cache-Control: max-age=0, must-revalidate"}, want: ReasonNoFreshness},
	{name: "max-age=0, must-revalidate, validator", resp: []string{"Cache-Control: max-age=0, must-revalidate", `ETag: "x"`}},
	{name: "max-age=0, but stale when disconnected", resp: []string{"Cache-Control: max-age=0"}},

	// Poisoning: a guess is made only about ordinary requests.
	{name: "guess with Cookie", req: []string{"Cookie: a=b"}, resp: []string{lastModifiedLine}, want: ReasonNoFreshness},
	{name: "explicit with Cookie", req: []string{"Cookie: a=b"}, resp: []string{"Cache-Control: max-age=1"}},
	{name: "guess with Authorization", req: []string{"Authorization: x"}, resp: []string{lastModifiedLine, "Cache-Control: public"}, want: ReasonNoFreshness},
	{name: "404 to an odd method", req: []string{"X-HTTP-Method-Override: DELETE"}, status: 404, resp: []string{lastModifiedLine}, want: ReasonNoFreshness},
	{name: "404 to a long target", target: ordinaryTarget + 1, status: 404, resp: []string{lastModifiedLine}, want: ReasonNoFreshness},
	{name: "404 to a target that is not too long", target: ordinaryTarget, status: 404, resp: []string{lastModifiedLine}},
	{name: "404 to many fields", req: slices.Repeat([]string{"X: 1"}, ordinaryFields+1), status: 404, resp: []string{lastModifiedLine}, want: ReasonNoFreshness},
	{name: "404 to fields not too many", req: slices.Repeat([]string{"X: 1"}, ordinaryFields), status: 404, resp: []string{lastModifiedLine}},
	{name: "404 to a request not too long", req: []string{"X: " + strings.Repeat("a", ordinaryFieldBytes-len("X"))}, status: 404, resp: []string{lastModifiedLine}},
	{name: "404 to a long request", req: []string{"X: " + strings.Repeat("a", ordinaryFieldBytes)}, status: 404, resp: []string{lastModifiedLine}, want: ReasonNoFreshness},
	{name: "200 to a long request", req: []string{"X: " + strings.Repeat("a", ordinaryFieldBytes)}, resp: []string{lastModifiedLine}},
	{name: "public 400 to a long request", req: []string{"X: " + strings.Repeat("a", ordinaryFieldBytes)}, status: 400, resp: []string{lastModifiedLine, "Cache-Control: public"}, want: ReasonNoFreshness},
	{name: "416 to a range", req: []string{"Range: bytes=9-"}, status: 416, resp: []string{"Cache-Control: max-age=1"}, want: ReasonNotCacheable},
	{name: "412 to a condition", req: []string{"If-Match: x"}, status: 412, resp: []string{"Cache-Control: max-age=1"}, want: ReasonNotCacheable},
	{name: "407", status: 407, resp: []string{"Cache-Control: max-age=1"}, want: ReasonNotCacheable},

	// "A stored response with a Vary header field value containing a member
	// "*" always fails to match." (section 4.1)
	{name: "Vary: *", resp: []string{"Cache-Control: max-age=1", "Vary: a", "Vary: *"}, want: ReasonVaryAny},
	{name: "Vary", resp: []string{"Cache-Control: max-age=1", "Vary: a"}},

	{name: "Set-Cookie", resp: []string{"Cache-Control: max-age=1", "Set-Cookie: a=b"}, want: ReasonSetCookie},
	{name: "Set-Cookie, public", resp: []string{"Cache-Control: max-age=1, public", "Set-Cookie: a=b"}},
	{name: "Set-Cookie, s-maxage", resp: []string{"Cache-Control: s-maxage=1", "Set-Cookie: a=b"}},
	{name: "Set-Cookie, targeted", resp: []string{"CDN-Cache-Control: max-age=1", "Set-Cookie: a=b"}},
	{name: "Set-Cookie, left out", resp: []string{`Cache-Control: max-age=1, no-cache="set-cookie"`, "Set-Cookie: a=b"}},
	{name: "Set-Cookie, store", resp: []string{"Cache-Control: max-age=1", "Set-Cookie: a=b"}, policy: func(p *Policy) { p.SetCookie = SetCookieStore }},
	{name: "Set-Cookie, strip", resp: []string{"Cache-Control: max-age=1", "Set-Cookie: a=b"}, policy: func(p *Policy) { p.SetCookie = SetCookieStrip }},
	{name: "Set-Cookie, override", resp: []string{"Set-Cookie: a=b"}, policy: overriding, want: ReasonSetCookie},

	{name: "default ttl", policy: withTTL},
	{name: "default ttl of 0", policy: func(p *Policy) { p.DefaultTTL = 0 }, want: ReasonNoFreshness},
	{name: "default ttl, no-store", resp: []string{"Cache-Control: no-store"}, policy: withTTL, want: ReasonNoStore},
	{name: "default ttl, 302", status: 302, policy: withTTL, want: ReasonNotCacheable},
	{name: "ttl by status", status: 302, policy: func(p *Policy) { p.StatusTTL = map[int]Duration{302: sec} }},
	{name: "override no-store and private", resp: []string{"Cache-Control: no-store, private, no-cache"}, policy: overriding},
	{name: "override without a word for it", status: 302, resp: []string{"Cache-Control: no-store"}, policy: overriding, want: ReasonNoStore},
	{name: "override with 0", resp: []string{"Cache-Control: max-age=60"}, policy: func(p *Policy) { p.Override, p.DefaultTTL = true, 0 }, want: ReasonNoFreshness},
}

func TestStorable(t *testing.T) {
	for _, tc := range storableCases {
		p := DefaultPolicy()
		if tc.policy != nil {
			tc.policy(p)
		}
		req := getRequest(tc.req...)
		if tc.target > 0 {
			req.Target = bytes.Repeat([]byte("/"), tc.target)
		}
		if tc.method != "" {
			req.Method = tc.method
		}
		status := tc.status
		if status == 0 {
			status = 200
		}
		ok, why := isStorableReason(req, responseOf(status, tc.resp...), p)
		if why != tc.want || ok != (tc.want == ReasonNone) {
			t.Errorf("%s: %v, %v, want %v", tc.name, ok, why, tc.want)
		}
	}
}

func TestStorableBySize(t *testing.T) {
	p := DefaultPolicy()
	p.MaxObject = 10
	resp := responseOf(200, "Cache-Control: max-age=1")
	for length, want := range map[int64]Reason{10: ReasonNone, 11: ReasonTooLarge, message.LengthUnknown: ReasonNone} {
		resp.Length = length
		if _, why := isStorableReason(getRequest(), resp, p); why != want {
			t.Errorf("%d bytes: %v", length, why)
		}
	}
	req := getRequest()
	req.Length = 1
	resp.Length = 1
	if _, why := isStorableReason(req, resp, p); why != ReasonBody {
		t.Errorf("a GET with content: %v", why)
	}
}

// FuzzStorable: what no-store or private forbids is never stored, in whatever
// company; what is stored has no "*" in Vary, and its terms never let a
// stranger have what only Authorization opened.
func FuzzStorable(f *testing.F) {
	f.Add("max-age=60, public", "no-store", "Accept", uint16(200), uint8(0))
	f.Add("x=\"no-store", ", private", "*", uint16(404), uint8(3))
	f.Fuzz(func(t *testing.T, before, after, vary string, status uint16, bits uint8) {
		before, after = fieldText(before), fieldText(after)
		var req []string
		for i, line := range []string{"Authorization: x", "Cookie: a=b", "Range: bytes=0-1", "Cache-Control: no-store"} {
			if bits&(1<<i) != 0 {
				req = append(req, line)
			}
		}
		forbidden := "no-store"
		if bits&16 != 0 {
			forbidden = "private"
		}
		p := DefaultPolicy()
		p.SetCookie = SetCookiePolicy(bits >> 6 % 3)
		if bits&32 != 0 {
			p.DefaultTTL = sec
		}
		resp := responseOf(int(status%1000), "Cache-Control: "+before, "Cache-Control: "+forbidden, "Cache-Control: "+after, "Vary: "+fieldText(vary), "Last-Modified: "+dateAt(-9999))
		d := parseResponseDirectives(&resp.Fields, nil)
		ok, _ := isStorableReason(getRequest(req...), resp, p)
		if ok && (forbidden == "private" || !d.mustUnderstand) {
			t.Fatalf("%s was stored beside %q and %q", forbidden, before, after)
		}
		resp = responseOf(int(status%1000), "Cache-Control: "+before, "Vary: "+fieldText(vary))
		if ok, why := isStorableReason(getRequest(req...), resp, p); ok {
			x := storedOf(getRequest(req...), resp, p)
			if x.Terms.Flags.Has(message.TermVaryAny) {
				t.Fatal("Vary: * was stored")
			}
			if x.Terms.Flags.Has(message.TermRequestAuthorized) && !x.Terms.Flags.Has(message.TermShared) {
				t.Fatal("stored for one client only")
			}
		} else if why == ReasonNone {
			t.Fatal("refused without a reason")
		}
	})
}

// A status is guessed about only if RFC 9110 section 15.1 lists it.
func TestHeuristicallyCacheable(t *testing.T) {
	want := "[200 203 204 206 300 301 308 404 405 410 414 451 501]"
	var got []int
	for status := range 1000 {
		if heuristicallyCacheable(status) {
			got = append(got, status)
		}
	}
	if fmt.Sprint(got) != want {
		t.Error(got)
	}
}
