package statemachine

import (
	"testing"

	"edge/message"
)

// RFC 9111 section 4.2.3.
func TestCorrectedInitialAge(t *testing.T) {
	for _, tc := range []struct {
		name  string
		lines []string
		delay Duration // response_time - request_time
		want  Duration
	}{
		{"nothing known", nil, 0, 0},
		{"response_delay counts", nil, 3 * sec, 3 * sec},
		{"Age plus delay", []string{"Age: 10"}, 3 * sec, 13 * sec},
		{"apparent_age", []string{"Date: " + dateAt(-100)}, 3 * sec, 100 * sec},
		{"the greater of both", []string{"Date: " + dateAt(-100), "Age: 200"}, 0, 200 * sec},
		{"a Date ahead of us is no age", []string{"Date: " + dateAt(100)}, 0, 0},
		{"an invalid Date is none", []string{"Date: yesterday"}, 0, 0},
		// "SHOULD use the first member of the field value, discarding
		// subsequent ones" (section 5.1)
		{"list", []string{"Age: 7, 9"}, 0, 7 * sec},
		{"lines", []string{"Age: 7", "Age: 9"}, 0, 7 * sec},
		// "a cache SHOULD ignore the field"
		{"word", []string{"Age: old"}, 0, 0},
		{"negative", []string{"Age: -7200"}, 0, 0},
		{"fraction", []string{"Age: 7200.0"}, 0, 0},
		{"parameter", []string{"Age: 7200;foo=bar"}, 0, 0},
		{"saturates", []string{"Age: 99999999999999999999"}, 0, maxDelta * sec},
		{"a Date of long ago saturates", []string{"Date: Sat, 01 Jan 0000 00:00:00 GMT"}, 0, maxDelta * sec},
	} {
		resp := responseOf(200, tc.lines...)
		d := parseResponseDirectives(&resp.Fields, nil)
		got := newStored(getRequest(), resp, &d, DefaultPolicy(), noon.Add(-tc.delay), noon)
		if got.Terms.CorrectedInitialAge != tc.want {
			t.Errorf("%s: %d, want %d", tc.name, got.Terms.CorrectedInitialAge, tc.want)
		}
	}
}

// RFC 9111 section 4.2.1 and 4.2.2.
func TestFreshnessLifetime(t *testing.T) {
	day := int64(86400)
	for _, tc := range []struct {
		name      string
		status    int
		lines     []string
		policy    func(*Policy)
		want      Duration
		heuristic bool
	}{
		{name: "max-age", lines: []string{"Cache-Control: max-age=60"}, want: 60 * sec},
		{name: "s-maxage before max-age", lines: []string{"Cache-Control: max-age=60, s-maxage=5"}, want: 5 * sec},
		{name: "max-age before Expires", lines: []string{"Cache-Control: max-age=60", "Expires: " + dateAt(-9)}, want: 60 * sec},
		{name: "s-maxage before Expires", lines: []string{"Cache-Control: s-maxage=60", "Expires: 0"}, want: 60 * sec},
		{name: "Expires minus Date", lines: []string{"Expires: " + dateAt(70), "Date: " + dateAt(10)}, want: 60 * sec},
		{name: "Expires without Date", lines: []string{"Expires: " + dateAt(60)}, want: 60 * sec},
		{name: "Expires in the past", lines: []string{"Expires: " + dateAt(-60), "Date: " + dateAt(0)}},
		// "A cache recipient MUST interpret invalid date formats, especially
		// the value "0", as representing a time in the past" (section 5.3)
		{name: "Expires of 0", lines: []string{"Expires: 0", "Last-Modified: " + dateAt(-10*day)}},
		{name: "Expires of -1", lines: []string{"Expires: -1", "Last-Modified: " + dateAt(-10*day)}},
		{name: "first Expires", lines: []string{"Expires: " + dateAt(60), "Expires: " + dateAt(600)}, want: 60 * sec},
		{name: "Expires far away", lines: []string{"Expires: Fri, 31 Dec 9999 23:59:59 GMT"}, want: maxDelta * sec},
		// "Caches are encouraged to consider responses that have invalid
		// freshness information ... to be stale." (section 4.2.1)
		{name: "invalid max-age", lines: []string{"Cache-Control: max-age=x", "Last-Modified: " + dateAt(-10*day)}},
		{name: "targeted, Expires ignored", lines: []string{"CDN-Cache-Control: public", "Expires: " + dateAt(60)}},
		{name: "heuristic: a tenth", lines: []string{"Last-Modified: " + dateAt(-1000), "Date: " + dateAt(0)}, want: 100 * sec, heuristic: true},
		{name: "heuristic: at most a day", lines: []string{"Last-Modified: " + dateAt(-1000*day)}, want: day * sec, heuristic: true},
		{name: "heuristic: modified after Date", lines: []string{"Last-Modified: " + dateAt(10)}, heuristic: true},
		{name: "no heuristic for 302", status: 302, lines: []string{"Last-Modified: " + dateAt(-1000)}},
		{name: "heuristic for public", status: 302, lines: []string{"Last-Modified: " + dateAt(-1000), "Cache-Control: public"}, want: 100 * sec, heuristic: true},
		{name: "two Last-Modified", lines: []string{"Last-Modified: " + dateAt(-1000), "Last-Modified: " + dateAt(-2000)}},
		{name: "default ttl", policy: func(p *Policy) { p.DefaultTTL = 7 * sec }, want: 7 * sec},
		{name: "default ttl only where nothing is said", lines: []string{"Cache-Control: max-age=60"}, policy: func(p *Policy) { p.DefaultTTL = 7 * sec }, want: 60 * sec},
		{name: "no default ttl for 503", status: 503, policy: func(p *Policy) { p.DefaultTTL = 7 * sec }},
		{name: "ttl by status", status: 503, policy: func(p *Policy) { p.StatusTTL = map[int]Duration{503: 2 * sec} }, want: 2 * sec},
		{name: "max ttl caps", lines: []string{"Cache-Control: max-age=60"}, policy: func(p *Policy) { p.MaxTTL = 5 * sec }, want: 5 * sec},
		{name: "max ttl caps guesses", lines: []string{"Last-Modified: " + dateAt(-1000)}, policy: func(p *Policy) { p.MaxTTL = 5 * sec }, want: 5 * sec, heuristic: true},
		{name: "override", lines: []string{"Cache-Control: max-age=60"}, policy: func(p *Policy) { p.Override, p.DefaultTTL = true, 7*sec }, want: 7 * sec},
		{name: "override without a word for it", status: 302, lines: []string{"Cache-Control: max-age=60"}, policy: func(p *Policy) { p.Override, p.DefaultTTL = true, 7*sec }, want: 60 * sec},
	} {
		p := DefaultPolicy()
		if tc.policy != nil {
			tc.policy(p)
		}
		got := storedOf(getRequest(), responseOf(max(tc.status, 200), tc.lines...), p)
		if got.Terms.FreshnessLifetime != tc.want || got.Terms.Flags.Has(message.TermHeuristic) != tc.heuristic {
			t.Errorf("%s: %d, want %d; heuristic %v", tc.name, got.Terms.FreshnessLifetime, tc.want, got.Terms.Flags.Has(message.TermHeuristic))
		}
	}
}

// "response_is_fresh = (freshness_lifetime > current_age)" (section 4.2)
func TestIsFresh(t *testing.T) {
	x := stored("Cache-Control: max-age=60", "Age: 10")
	for _, tc := range []struct {
		at    Duration
		fresh bool
		stale Duration
	}{
		{0, true, -50 * sec},
		{50*sec - 1, true, -1},
		{50 * sec, false, 0},
		{51 * sec, false, 1 * sec},
		{-clockTolerance, true, -51 * sec},
		// A clock that is behind the record's cannot tell its age.
		{-clockTolerance - 1, false, maxDelta * sec},
	} {
		at := noon.Add(tc.at)
		if isFresh(x, at) != tc.fresh || staleFor(x, at) != tc.stale {
			t.Errorf("after %d: fresh %v, stale for %d", tc.at, isFresh(x, at), staleFor(x, at))
		}
	}
	noAllocs(t, "isFresh", func() { isFresh(x, noon); staleFor(x, noon) })
}

// FuzzFreshness: whatever the fields, nothing overflows, and what is stale at
// one time is stale at every later one.
func FuzzFreshness(f *testing.F) {
	f.Add("max-age=60", "10", "Sun, 06 Nov 1994 08:49:37 GMT", "Fri, 31 Dec 9999 23:59:59 GMT", int64(1), int64(2))
	f.Add("s-maxage=99999999999", "99999999999", "Sat, 01 Jan 0000 00:00:00 GMT", "0", int64(1e18), int64(1e18))
	f.Fuzz(func(t *testing.T, directives, age, date, expires string, after, later int64) {
		x := stored("Cache-Control: "+fieldText(directives), "Age: "+fieldText(age), "Date: "+fieldText(date), "Expires: "+fieldText(expires))
		m := x.Terms
		for _, d := range []Duration{m.CorrectedInitialAge, m.FreshnessLifetime, m.StaleWhileRevalidate, m.StaleIfError, m.StaleDisconnected} {
			if d < 0 || d > maxDelta*sec {
				t.Fatalf("a term of %d", d)
			}
		}
		const century = 100 * 366 * 86400 * message.Second
		first := noon.Add(max(after, -after-1) % century)
		second := first.Add(max(later, -later-1) % century)
		if !isFresh(x, first) && isFresh(x, second) || staleFor(x, first) > staleFor(x, second) {
			t.Fatalf("stale at %d, fresh at %d", first, second)
		}
		if isFresh(x, first) == (staleFor(x, first) >= 0) {
			t.Fatal("fresh and stale at once")
		}
	})
}
