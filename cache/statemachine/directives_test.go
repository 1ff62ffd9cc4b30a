package statemachine

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"edge/message"
)

// sec is a second, for tables.
const sec = message.Second

var compareDirectives = cmp.AllowUnexported(requestDirectives{}, responseDirectives{})

func TestRequestDirectives(t *testing.T) {
	absent := requestDirectives{present: true, maxAge: -1, minFresh: -1, maxStale: -1}
	with := func(f func(*requestDirectives)) requestDirectives {
		d := absent
		f(&d)
		return d
	}
	for _, tc := range []struct {
		name  string
		lines []string
		want  requestDirectives
	}{
		{"nothing said", []string{"Accept: */*"}, requestDirectives{}},
		{"Pragma", []string{"Pragma: x, No-Cache"}, with(func(d *requestDirectives) { d.noCache = true })},
		{"Pragma says something else", []string{"Pragma: x"}, requestDirectives{}},
		{"Pragma beside Cache-Control", []string{"Pragma: no-cache", "Cache-Control: x"}, absent},
		{"all", []string{"Cache-Control: MAX-AGE=1, min-fresh=2,max-stale=3, no-cache, no-store", "cache-control: only-if-cached"},
			requestDirectives{present: true, noCache: true, noStore: true, onlyIfCached: true, maxAge: sec, minFresh: 2 * sec, maxStale: 3 * sec}},
		{"max-stale of any age", []string{"Cache-Control: max-stale"}, with(func(d *requestDirectives) { d.maxStaleAny = true })},
		{"quoted", []string{`Cache-Control: max-age="5"`}, with(func(d *requestDirectives) { d.maxAge = 5 * sec })},
		{"invalid is no wish", []string{"Cache-Control: max-age=x, max-stale=, min-fresh=-1"}, absent},
		{"first valid wins", []string{"Cache-Control: max-age=x, max-age=1, max-age=2"}, with(func(d *requestDirectives) { d.maxAge = sec })},
	} {
		f := fieldsOf(tc.lines...)
		if d := cmp.Diff(tc.want, parseRequestDirectives(&f), compareDirectives); d != "" {
			t.Errorf("%s: %s", tc.name, d)
		}
		noAllocs(t, tc.name, func() { parseRequestDirectives(&f) })
	}
}

// noDirectives is what a response says that says nothing.
func noDirectives() responseDirectives {
	return responseDirectives{maxAge: -1, sMaxAge: -1, staleWhileRevalidate: -1, staleIfError: -1}
}

func TestResponseDirectives(t *testing.T) {
	names := func(all ...string) (b [][]byte) {
		for _, n := range all {
			b = append(b, []byte(n))
		}
		return b
	}
	for _, tc := range []struct {
		name   string
		value  string
		want   func(*responseDirectives)
		allocs bool
	}{
		{name: "nothing", value: ""},
		{name: "every one", value: "max-age=1, s-maxage=2, stale-while-revalidate=3, stale-if-error=4, public, private, no-store, no-cache, " +
			"must-revalidate, proxy-revalidate, must-understand, immutable", want: func(d *responseDirectives) {
			*d = responseDirectives{maxAge: sec, sMaxAge: 2 * sec, staleWhileRevalidate: 3 * sec, staleIfError: 4 * sec, public: true, private: true,
				noStore: true, noCache: true, mustRevalidate: true, proxyRevalidate: true, mustUnderstand: true, immutable: true}
		}},
		{name: "case", value: "No-StOrE, MaX-aGe=60", want: func(d *responseDirectives) { d.noStore, d.maxAge = true, 60*sec }},
		{name: "first value wins", value: "max-age=1, max-age=2", want: func(d *responseDirectives) { d.maxAge = sec }},
		{name: "first value wins, invalid", value: "max-age=x, max-age=2", want: func(d *responseDirectives) { d.maxAge = 0 }},
		{name: "leading zeros", value: "max-age=003600", want: func(d *responseDirectives) { d.maxAge = 3600 * sec }},
		{name: "quoted", value: `max-age="60"`, want: func(d *responseDirectives) { d.maxAge = 60 * sec }},
		{name: "2^31 - 1", value: "max-age=2147483647", want: func(d *responseDirectives) { d.maxAge = (1<<31 - 1) * sec }},
		{name: "saturates", value: "max-age=99999999999999999999999", want: func(d *responseDirectives) { d.maxAge = 1 << 31 * sec }},
		{name: "no argument", value: "max-age", want: func(d *responseDirectives) { d.maxAge = 0 }},
		{name: "empty argument", value: "max-age=", want: func(d *responseDirectives) { d.maxAge = 0 }},
		{name: "negative", value: "max-age=-1", want: func(d *responseDirectives) { d.maxAge = 0 }},
		{name: "fraction", value: "max-age=1.5", want: func(d *responseDirectives) { d.maxAge = 0 }},
		{name: "single quotes", value: "max-age='60'", want: func(d *responseDirectives) { d.maxAge = 0 }},
		{name: "trailing letter", value: "max-age=60a", want: func(d *responseDirectives) { d.maxAge = 0 }},
		{name: "space before equals", value: "max-age =60", want: func(d *responseDirectives) { d.maxAge = 0 }},
		{name: "space after equals", value: "max-age= 60", want: func(d *responseDirectives) { d.maxAge = 0 }},
		{name: "within a quoted string", value: `extension="max-age=3600, no-store", max-age=1`, want: func(d *responseDirectives) { d.maxAge = sec }},
		{name: "an open quote hides nothing", value: `extension="x, no-store`, want: func(d *responseDirectives) { d.noStore = true }},
		{name: "unknown", value: "foo, bar=1, max-age=2", want: func(d *responseDirectives) { d.maxAge = 2 * sec }},
		{name: "restricting with an argument", value: "no-store=x", want: func(d *responseDirectives) { d.noStore = true }},
		{name: "permitting with an argument", value: "public=x, must-understand=1"},
		{name: "qualified", value: `no-cache="a, b", private=C`, allocs: true, want: func(d *responseDirectives) {
			d.noCacheFields, d.privateFields = names("a", "b"), names("C")
		}},
		{name: "qualified twice", value: `private="a", private="b"`, allocs: true, want: func(d *responseDirectives) { d.privateFields = names("a", "b") }},
		{name: "qualified and not", value: `no-cache="a", no-cache`, allocs: true, want: func(d *responseDirectives) {
			d.noCache, d.noCacheFields = true, names("a")
		}},
		{name: "qualified by nothing", value: `no-cache="", private=`, want: func(d *responseDirectives) { d.noCache, d.private = true, true }},
		{name: "qualified by no name", value: `private="a b"`, want: func(d *responseDirectives) { d.private = true }},
	} {
		f := fieldsOf("Cache-Control: " + tc.value)
		want := noDirectives()
		if tc.want != nil {
			tc.want(&want)
		}
		if d := cmp.Diff(want, parseResponseDirectives(&f, DefaultPolicy().Targeted), compareDirectives, cmpopts.EquateEmpty()); d != "" {
			t.Errorf("%s: %s", tc.name, d)
		}
		if targeted := DefaultPolicy().Targeted; !tc.allocs {
			noAllocs(t, tc.name, func() { parseResponseDirectives(&f, targeted) })
		}
	}
}

func TestResponseDirectivesOnSeveralLines(t *testing.T) {
	f := fieldsOf("Cache-Control: max-age=1", "X: y", "cache-control: max-age=2, no-store")
	d := parseResponseDirectives(&f, nil)
	if d.maxAge != sec || !d.noStore {
		t.Errorf("%+v", d)
	}
}

// RFC 9213.
func TestTargetedDirectives(t *testing.T) {
	targets := [][]byte{[]byte("Example-Cache-Control"), []byte("CDN-Cache-Control")}
	for _, tc := range []struct {
		name  string
		lines []string
		want  func(*responseDirectives)
	}{
		{"replaces Cache-Control wholly", []string{"Cache-Control: no-store, public", "CDN-Cache-Control: max-age=60"},
			func(d *responseDirectives) { d.targeted, d.maxAge = true, 60*sec }},
		{"first listed rules", []string{"CDN-Cache-Control: max-age=60", "Example-Cache-Control: no-store"},
			func(d *responseDirectives) { d.targeted, d.noStore = true, true }},
		{"invalid is ignored whole", []string{"Cache-Control: no-store", "CDN-Cache-Control: max-age=60, &&&"},
			func(d *responseDirectives) { d.noStore = true }},
		{"invalid first, valid second", []string{"Cache-Control: no-store", "Example-Cache-Control: A", "CDN-Cache-Control: private"},
			func(d *responseDirectives) { d.targeted, d.private = true, true }},
		{"empty is ignored", []string{"Cache-Control: max-age=1", "CDN-Cache-Control:"}, func(d *responseDirectives) { d.maxAge = sec }},
		{"keys are lower case", []string{"Cache-Control: max-age=1", "CDN-Cache-Control: Max-Age=2"}, func(d *responseDirectives) { d.maxAge = sec }},
		{"space before equals", []string{"Cache-Control: max-age=1", "CDN-Cache-Control: max-age =2"}, func(d *responseDirectives) { d.maxAge = sec }},
		{"a String is no Integer", []string{"CDN-Cache-Control: max-age=\"60\""}, func(d *responseDirectives) { d.targeted, d.maxAge = true, 0 }},
		{"a Decimal is no Integer", []string{"CDN-Cache-Control: max-age=60.0"}, func(d *responseDirectives) { d.targeted, d.maxAge = true, 0 }},
		{"negative", []string{"CDN-Cache-Control: max-age=-1"}, func(d *responseDirectives) { d.targeted, d.maxAge = true, 0 }},
		{"saturates", []string{"CDN-Cache-Control: max-age=99999999999"}, func(d *responseDirectives) { d.targeted, d.maxAge = true, 1<<31*sec }},
		{"parameters are ignored", []string{"CDN-Cache-Control: max-age=60;x=1, no-store=?0"}, func(d *responseDirectives) { d.targeted, d.maxAge = true, 60*sec }},
		{"qualified no-cache", []string{`CDN-Cache-Control: no-cache="a, b"`}, func(d *responseDirectives) {
			d.targeted, d.noCacheFields = true, [][]byte{[]byte("a"), []byte("b")}
		}},
		{"an inner list has no meaning", []string{"CDN-Cache-Control: max-age=(1 2), no-cache=(a)"}, func(d *responseDirectives) { d.targeted, d.maxAge, d.noCache = true, 0, true }},
		{"a Token is no Integer", []string{"CDN-Cache-Control: max-age=soon, private=x-a"}, func(d *responseDirectives) {
			d.targeted, d.maxAge, d.privateFields = true, 0, [][]byte{[]byte("x-a")}
		}},
		{"lines are joined", []string{"CDN-Cache-Control: max-age=60", "CDN-Cache-Control: public"}, func(d *responseDirectives) { d.targeted, d.maxAge, d.public = true, 60*sec, true }},
		{"unlisted", []string{"Other-Cache-Control: no-store"}, func(*responseDirectives) {}},
	} {
		f := fieldsOf(tc.lines...)
		want := noDirectives()
		tc.want(&want)
		if d := cmp.Diff(want, parseResponseDirectives(&f, targets), compareDirectives, cmpopts.EquateEmpty()); d != "" {
			t.Errorf("%s: %s", tc.name, d)
		}
	}
}

// FuzzCacheControl: "A cache MUST ignore unrecognized cache directives" (RFC
// 9111 section 5.2.3), so adding one, before or after or on its own line,
// never changes what is read; and no duration is out of bounds.
func FuzzCacheControl(f *testing.F) {
	f.Add(`max-age=60, no-cache="a, b", private`, `x="no-store, max-age=1"`)
	f.Add(`s-maxage="1", "`, `y`)
	f.Fuzz(func(t *testing.T, value, argument string) {
		value = fieldText(value)
		unknown := "unheard-of"
		for _, c := range []byte(argument) {
			if isTokenByte(c) {
				unknown += string(c)
			}
		}
		plain := fieldsOf("Cache-Control: " + value)
		want := parseResponseDirectives(&plain, nil)
		for _, d := range []Duration{want.maxAge, want.sMaxAge, want.staleWhileRevalidate, want.staleIfError} {
			if d < -1 || d > maxDelta*sec {
				t.Fatalf("duration %d", d)
			}
		}
		before := fieldsOf("Cache-Control: " + unknown + "=\"no-store, " + unknown + "\"," + value)
		after := fieldsOf("Cache-Control: "+value, "Cache-Control: "+unknown)
		for _, g := range []*message.Fields{&before, &after} {
			if d := cmp.Diff(want, parseResponseDirectives(g, nil), compareDirectives); d != "" {
				t.Fatalf("%q changed by %q: %s", value, unknown, d)
			}
		}
		parseRequestDirectives(&plain)
	})
}
