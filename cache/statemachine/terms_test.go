package statemachine

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"edge/message"
)

func TestStaleness(t *testing.T) {
	const hour = 3600 * sec
	type windows struct{ swr, sie, disconnected Duration }
	for _, tc := range []struct {
		name   string
		value  string
		policy func(*Policy)
		want   windows
	}{
		{"nothing said", "max-age=1", nil, windows{0, 0, hour}},
		{"RFC 5861", "max-age=1, stale-while-revalidate=2, stale-if-error=3", nil, windows{2 * sec, 3 * sec, hour}},
		{"the route's where the origin is silent", "max-age=1, stale-if-error=3",
			func(p *Policy) { p.StaleWhileRevalidate, p.StaleIfError = 5*sec, 5*sec }, windows{5 * sec, 3 * sec, hour}},
		{"the route's limits", "max-age=1, stale-while-revalidate=20, stale-if-error=30",
			func(p *Policy) { p.MaxStaleWhileRevalidate, p.MaxStaleIfError = 5*sec, 6*sec }, windows{5 * sec, 6 * sec, hour}},
		{"invalid is none", "max-age=1, stale-while-revalidate=x", func(p *Policy) { p.StaleWhileRevalidate = 5 * sec }, windows{0, 0, hour}},
		{"override", "max-age=1, stale-while-revalidate=20, must-revalidate",
			func(p *Policy) { p.Override, p.DefaultTTL, p.StaleWhileRevalidate = true, sec, 5*sec }, windows{5 * sec, 0, hour}},
		// "A cache MUST NOT generate a stale response if it is prohibited by an
		// explicit in-protocol directive" (RFC 9111 section 4.2.4)
		{"must-revalidate", "max-age=1, stale-if-error=3, must-revalidate", nil, windows{}},
		{"proxy-revalidate", "max-age=1, stale-if-error=3, proxy-revalidate", nil, windows{}},
		{"s-maxage", "s-maxage=1", func(p *Policy) { p.StaleWhileRevalidate = sec }, windows{}},
		// but an extension in the same response may override (section 4)
		{"s-maxage beside an extension", "s-maxage=1, stale-while-revalidate=3",
			func(p *Policy) { p.StaleIfError = sec }, windows{3 * sec, 0, 0}},
		{"no-cache", "max-age=1, stale-if-error=3, no-cache", nil, windows{}},
	} {
		p := DefaultPolicy()
		if tc.policy != nil {
			tc.policy(p)
		}
		m := storedOf(getRequest(), responseOf(200, "Cache-Control: "+tc.value), p).Terms
		if got := (windows{m.StaleWhileRevalidate, m.StaleIfError, m.StaleDisconnected}); got != tc.want {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
}

func TestFlags(t *testing.T) {
	const date = message.TermHasDate
	for _, tc := range []struct {
		name  string
		lines []string
		want  message.TermFlags
	}{
		{"nothing", nil, 0},
		{"Date", []string{"Date: " + dateAt(0)}, date},
		{"invalid Date", []string{"Date: now"}, 0},
		{"public", []string{"Cache-Control: public"}, message.TermShared},
		{"must-revalidate", []string{"Cache-Control: must-revalidate"}, message.TermShared | message.TermMustRevalidate},
		{"s-maxage", []string{"Cache-Control: s-maxage=1"}, message.TermShared | message.TermMustRevalidate},
		{"s-maxage=0", []string{"Cache-Control: s-maxage=0"}, message.TermShared | message.TermMustRevalidate},
		{"proxy-revalidate", []string{"Cache-Control: proxy-revalidate"}, message.TermMustRevalidate},
		{"no-cache", []string{"Cache-Control: no-cache"}, message.TermNoCache},
		{"qualified no-cache", []string{`Cache-Control: no-cache="a"`}, 0},
		{"immutable", []string{"Cache-Control: immutable=x"}, message.TermImmutable},
		{"Vary", []string{"Vary: a"}, message.TermHasVary},
		{"Vary: *", []string{"Vary: a, *"}, message.TermVaryAny},
		{"no-store that must-understand lifts", []string{"Cache-Control: no-store, must-understand"}, 0},
		{"no-store", []string{"Cache-Control: no-store"}, message.TermNoCache | message.TermMustRevalidate},
		// RFC 9110 section 8.8.2.2
		{"strong Last-Modified", []string{"Date: " + dateAt(0), "Last-Modified: " + dateAt(-60)}, date | message.TermLastModifiedStrong | message.TermHeuristic},
		{"weak Last-Modified", []string{"Date: " + dateAt(0), "Last-Modified: " + dateAt(-59)}, date | message.TermHeuristic},
		{"Last-Modified without Date", []string{"Last-Modified: " + dateAt(-600)}, message.TermHeuristic},
	} {
		if got := stored(tc.lines...).Terms.Flags; got != tc.want {
			t.Errorf("%s: flags %b, want %b", tc.name, got, tc.want)
		}
	}
	if got := storedOf(getRequest("Authorization: x"), responseOf(200), DefaultPolicy()).Terms.Flags; !got.Has(message.TermRequestAuthorized) {
		t.Error("Authorization was forgotten")
	}
}

// A head read back from a disk has the terms it was stored with.
func TestDerive(t *testing.T) {
	for _, lines := range [][]string{
		{"Cache-Control: max-age=60", "Age: 7", "ETag: \"x\"", "Date: " + dateAt(-3)},
		{"CDN-Cache-Control: max-age=60, no-cache=\"x-a\"", "X-A: 1", "Expires: 0", "Vary: Accept", "Date: " + dateAt(0)},
		{"Last-Modified: " + dateAt(-6000), "Date: " + dateAt(0), "Connection: x-b", "X-B: 1"},
		{"Cache-Control: s-maxage=5, public, immutable, stale-if-error=4", "Date: " + dateAt(-100), "ETag: W/\"x\""},
	} {
		resp := responseOf(200, lines...)
		was := storedOf(getRequest("Authorization: x"), resp, DefaultPolicy())
		read := *was
		read.Terms = message.Terms{Flags: was.Terms.Flags & stickyFlags}
		Derive(&read, resp.Fields.Value(message.FieldAge), DefaultPolicy())
		if d := cmp.Diff(was.Terms, read.Terms); d != "" {
			t.Errorf("%v: %s", lines, d)
		}
	}
}
