package statemachine

import (
	"strings"
	"testing"

	"edge/message"
)

// headOf makes a head of lines.
func headOf(lines ...string) string { return strings.Join(append(lines, ""), "\r\n") }

// RFC 9111 section 3.1.
func TestNewStoredHead(t *testing.T) {
	date := "Date: " + dateAt(0)
	for _, tc := range []struct {
		name  string
		lines []string
		strip bool
		want  []string
	}{
		// "Caches MUST include all received response header fields — including
		// unrecognized ones"
		{name: "all", lines: []string{"X-Unknown: 1", date, "x-unknown: 2", "Empty:"}, want: []string{"X-Unknown: 1", date, "x-unknown: 2", "Empty: "}},
		{name: "named by Connection", lines: []string{"Connection: a, B", "a: 1", "b: 2", "c: 3", date}, want: []string{"c: 3", date}},
		{name: "hop by hop", lines: []string{"Keep-Alive: x", "Proxy-Connection: x", "TE: x", "Transfer-Encoding: chunked", "Upgrade: x", "Trailer: x", date}, want: []string{date}},
		{name: "the proxy's", lines: []string{"Proxy-Authenticate: x", "Proxy-Authentication-Info: x", "Proxy-Authorization: x", date}, want: []string{date}},
		{name: "framing and Age", lines: []string{"Content-Length: 3", "Age: 4", date}, want: []string{date}},
		{name: "qualified", lines: []string{`Cache-Control: no-cache="a, set-cookie", private=B`, "A: 1", "b: 2", "Set-Cookie: c", date},
			want: []string{`Cache-Control: no-cache="a, set-cookie", private=B`, date}},
		{name: "Set-Cookie", lines: []string{"Set-Cookie: a", date}, want: []string{"Set-Cookie: a", date}},
		{name: "Set-Cookie, strip", lines: []string{"Set-Cookie: a", date}, strip: true, want: []string{date}},
		// "append a corresponding Date header field" (RFC 9110 section 6.6.1)
		{name: "no Date", lines: []string{"A: 1"}, want: []string{"A: 1", date}},
		{name: "Connection cannot name these", lines: []string{"Connection: cache-control, content-type, vary", "Cache-Control: no-store", "Content-Type: a/b", date},
			want: []string{"Cache-Control: no-store", "Content-Type: a/b", date}},
	} {
		p := DefaultPolicy()
		if tc.strip {
			p.SetCookie = SetCookieStrip
		}
		x := storedOf(getRequest(), responseOf(200, tc.lines...), p)
		if string(x.Head) != headOf(tc.want...) {
			t.Errorf("%s: %q", tc.name, x.Head)
		}
	}
}

func TestNewStoredIsItsOwn(t *testing.T) {
	resp := responseOf(200, `ETag: "x"`, "Vary: a")
	resp.Reason, resp.Length = []byte("Fine"), 7
	req := getRequest("A: 1")
	x := storedOf(req, resp, DefaultPolicy())
	for _, f := range []*message.Fields{&resp.Fields, &req.Fields} {
		for _, line := range f.All() {
			for i := range line.Value {
				line.Value[i] = '?'
			}
		}
	}
	clear(resp.Reason)
	if x.Length != 7 || string(x.Reason) != "Fine" || string(x.Terms.ETag) != `"x"` || string(x.Nominated) != "a: 1\r\n" || !strings.HasPrefix(string(x.Head), "ETag: \"x\"\r\n") {
		t.Errorf("%+v", x)
	}
	resp.NoBody = true
	if got := storedOf(req, resp, DefaultPolicy()).Length; got != 0 {
		t.Errorf("no content follows, yet length %d", got)
	}
}

// A miss pays for the Stored, its head, and its nominated fields.
func TestNewStoredAllocations(t *testing.T) {
	req, p := getRequest("Accept-Encoding: gzip, br"), DefaultPolicy()
	resp := responseOf(200, "Cache-Control: max-age=60", `ETag: "x"`, "Vary: Accept-Encoding", "Connection: close, a", "Date: "+dateAt(0))
	n := testing.AllocsPerRun(100, func() {
		d := parseResponseDirectives(&resp.Fields, p.Targeted)
		newStored(req, resp, &d, p, noon, noon)
	})
	if n > 3 {
		t.Errorf("%v allocations", n)
	}
}

// RFC 9111 section 3.2.
func TestFreshenedHead(t *testing.T) {
	old := storedOf(getRequest("A: 1"), responseOf(200, "Cache-Control: max-age=1", `ETag: "x"`, "X: 1", "X: 2", "Y: 3", "Vary: a", "Content-Type: a/b", "Age: 9", "Date: "+dateAt(-5)), DefaultPolicy())
	old.Length = 42
	old.Terms.Flags |= message.TermInvalidated | message.TermPartial
	resp := responseOf(304, "cache-control: max-age=60", "x: 4", `ETag: "x"`, "Content-Length: 7", "Content-Range: bytes 0-1/2", "Content-Encoding: gzip",
		"Content-Type: c/d", "Connection: z", "Z: 1", "Keep-Alive: 1", "Proxy-Authenticate: x", "N: 1", "n: 2", "Age: 3", "Date: "+dateAt(10))
	x := freshenedHead(old, getRequest(), resp, DefaultPolicy(), noon.Add(9*sec), noon.Add(10*sec))
	want := headOf("cache-control: max-age=60", `ETag: "x"`, "x: 4", "Y: 3", "Vary: a", "Content-Type: c/d", "Content-Encoding: gzip", "N: 1", "n: 2", "Date: "+dateAt(10))
	if string(x.Head) != want {
		t.Errorf("head %q, want %q", x.Head, want)
	}
	if x.Status != 200 || x.Length != 42 || string(x.Nominated) != "a: 1\r\n" {
		t.Errorf("%+v", x)
	}
	m := x.Terms
	if m.FreshnessLifetime != 60*sec || m.CorrectedInitialAge != 4*sec || m.Flags.Has(message.TermInvalidated) || !m.Flags.Has(message.TermPartial) {
		t.Errorf("terms %+v", m)
	}
}

func TestFreshenedHeadWithoutDate(t *testing.T) {
	old := stored("Cache-Control: max-age=60", `ETag: "x"`, "Date: "+dateAt(-1000))
	x := freshenedHead(old, getRequest(), responseOf(304, `ETag: "x"`), DefaultPolicy(), noon, noon.Add(3*sec))
	if !isFresh(x, noon.Add(3*sec)) || string(headValue(x.Head, message.FieldDate)) != dateAt(3) {
		t.Errorf("%q, age %d", x.Head, x.Terms.CorrectedInitialAge)
	}
}

// A 304 can forbid what the 200 allowed; then what is held answers only who
// validates it. And it cannot smuggle a cookie in.
func TestFreshenedHeadThatForbids(t *testing.T) {
	old := stored("Cache-Control: max-age=60, stale-if-error=60", `ETag: "x"`)
	for _, directive := range []string{"no-store", "private", "no-cache"} {
		x := freshenedHead(old, getRequest(), responseOf(304, `ETag: "x"`, "Cache-Control: max-age=60, stale-if-error=60, "+directive), DefaultPolicy(), noon, noon)
		if !x.Terms.Flags.Has(message.TermNoCache) || x.Terms.StaleIfError != 0 {
			t.Errorf("%s: %+v", directive, x.Terms)
		}
	}
	x := freshenedHead(old, getRequest(), responseOf(304, `ETag: "x"`, "Set-Cookie: a=b"), DefaultPolicy(), noon, noon)
	if headValue(x.Head, message.FieldSetCookie) != nil {
		t.Error("a 304's cookie was stored")
	}
	x = freshenedHead(old, getRequest("Authorization: x"), responseOf(304, `ETag: "x"`), DefaultPolicy(), noon, noon)
	if !x.Terms.Flags.Has(message.TermRequestAuthorized) {
		t.Error("an authorized validation went unnoticed")
	}
}

func TestInvalidatedHeadAndHitForMiss(t *testing.T) {
	old := stored("Cache-Control: max-age=60")
	x := invalidatedHead(old)
	if !x.Terms.Flags.Has(message.TermInvalidated) || old.Terms.Flags.Has(message.TermInvalidated) || &x.Head[0] != &old.Head[0] {
		t.Errorf("%+v from %+v", x.Terms, old.Terms)
	}
	p := DefaultPolicy()
	m := hitForMiss(noon, p)
	if !m.Terms.Flags.Has(message.TermHitForMiss) || !isFresh(m, noon.Add(p.HitForMiss-1)) || isFresh(m, noon.Add(p.HitForMiss)) {
		t.Errorf("%+v", m.Terms)
	}
}
