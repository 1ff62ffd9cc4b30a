package statemachine

import (
	"strings"
	"testing"

	"edge/message"
)

func TestNominate(t *testing.T) {
	for _, tc := range []struct {
		name string
		req  []string
		vary []string
		want string
		any  bool
	}{
		{name: "no Vary", req: []string{"Accept: a"}},
		{name: "empty Vary", vary: []string{""}},
		{name: "one", req: []string{"Accept: a"}, vary: []string{"Accept"}, want: "accept: a\r\n"},
		{name: "absent", vary: []string{"Accept"}, want: "accept\r\n"},
		{name: "present but empty", req: []string{"Accept:"}, vary: []string{"Accept"}, want: "accept: \r\n"},
		{name: "several, each once", req: []string{"A: 1", "B: 2"}, vary: []string{"b, A", "a,, C"}, want: "b: 2\r\na: 1\r\nc\r\n"},
		{name: "lines combined", req: []string{"Foo: 1", "foo: 2"}, vary: []string{"Foo"}, want: "foo: 1, 2\r\n"},
		{name: "white space", req: []string{"Foo: 1 ,2,  3"}, vary: []string{"Foo"}, want: "foo: 1, 2, 3\r\n"},
		{name: "white space in a quoted-string", req: []string{`Foo: "1 ,2",3`}, vary: []string{"Foo"}, want: "foo: \"1 ,2\", 3\r\n"},
		{name: "no list", req: []string{"User-Agent: a (b,c)"}, vary: []string{"User-Agent"}, want: "user-agent: a (b,c)\r\n"},
		{name: "cookie crumbs", req: []string{"Cookie: a=1", "Cookie: b=2,3"}, vary: []string{"Cookie"}, want: "cookie: a=1; b=2,3\r\n"},
		{name: "encodings", req: []string{"Accept-Encoding: gzip;q=1.0, BR ;q=0.50,identity; q=0, *;q=0.125"}, vary: []string{"Accept-Encoding"},
			want: "accept-encoding: *;q=0.125, br;q=0.5, gzip, identity;q=0\r\n"},
		{name: "languages", req: []string{"Accept-Language: en-US", "accept-language: DE, en-us"}, vary: []string{"Accept-Language"},
			want: "accept-language: de, en-us\r\n"},
		{name: "not the grammar", req: []string{"Accept-Encoding: gzip;level=1,br"}, vary: []string{"Accept-Encoding"},
			want: "accept-encoding: gzip;level=1, br\r\n"},
		{name: "weights", req: []string{"Accept-Encoding: a;q=0, b;q=0., c;Q=0.100, d;q=1., e;q=1.000"}, vary: []string{"Accept-Encoding"},
			want: "accept-encoding: a;q=0, b;q=0, c;q=0.1, d, e\r\n"},
		{name: "no weight at all", req: []string{"Accept-Encoding: B;q=,a"}, vary: []string{"Accept-Encoding"}, want: "accept-encoding: B;q=, a\r\n"},
		{name: "no parameter", req: []string{"Accept-Encoding: B;,a"}, vary: []string{"Accept-Encoding"}, want: "accept-encoding: B;, a\r\n"},
		{name: "another parameter", req: []string{"Accept-Encoding: B;x=1,a"}, vary: []string{"Accept-Encoding"}, want: "accept-encoding: B;x=1, a\r\n"},
		{name: "a weight of 2", req: []string{"Accept-Encoding: B;q=2,a"}, vary: []string{"Accept-Encoding"}, want: "accept-encoding: B;q=2, a\r\n"},
		{name: "a weight too fine", req: []string{"Accept-Encoding: B;q=0.1234,a"}, vary: []string{"Accept-Encoding"}, want: "accept-encoding: B;q=0.1234, a\r\n"},
		{name: "a weight of letters", req: []string{"Accept-Encoding: B;q=0.x,a"}, vary: []string{"Accept-Encoding"}, want: "accept-encoding: B;q=0.x, a\r\n"},
		{name: "same name, two weights", req: []string{"Accept-Encoding: a;q=0.5, A, a;q=0.5"}, vary: []string{"Accept-Encoding"}, want: "accept-encoding: a;q=0.5, a\r\n"},
		{name: "more than a weight of 1", req: []string{"Accept-Encoding: gzip;q=1.001"}, vary: []string{"Accept-Encoding"}, want: "accept-encoding: gzip;q=1.001\r\n"},
		{name: "too many to sort", req: []string{"Accept-Encoding: b, a" + longList}, vary: []string{"Accept-Encoding"},
			want: "accept-encoding: b, a" + longList + "\r\n"},
		{name: "*", vary: []string{"*"}, any: true},
		{name: "* among others", vary: []string{"Accept", ", *"}, any: true},
		{name: "no field name", vary: []string{"a b"}, any: true},
		{name: "too many", vary: []string{strings.Repeat("a,", maxVaryNames+1)}, any: true},
	} {
		var lines []string
		for _, v := range tc.vary {
			lines = append(lines, "Vary: "+v)
		}
		f := fieldsOf(lines...)
		got, any := nominate(getRequest(tc.req...), &f)
		if string(got) != tc.want || any != tc.any {
			t.Errorf("%s: %q, %v, want %q", tc.name, got, any, tc.want)
		}
	}
}

// longList has more members than are put in order.
var longList = func() (s string) {
	for i := range maxPreferences {
		s += ", x" + string(rune('a'+i))
	}
	return s
}()

func TestMatchesVary(t *testing.T) {
	for _, tc := range []struct {
		name      string
		vary      string
		was, is   []string
		different bool
	}{
		{name: "no Vary", was: []string{"A: 1"}, is: []string{"A: 2"}},
		{name: "same", vary: "a", was: []string{"A: 1"}, is: []string{"a: 1"}},
		{name: "other", vary: "a", was: []string{"A: 1"}, is: []string{"A: 2"}, different: true},
		{name: "case of the value", vary: "a", was: []string{"A: x"}, is: []string{"A: X"}, different: true},
		// "If (after any normalization that might take place) a header field is
		// absent from a request, it can only match another request if it is
		// also absent there."
		{name: "both absent", vary: "a"},
		{name: "absent then", vary: "a", is: []string{"A: 1"}, different: true},
		{name: "absent now", vary: "a", was: []string{"A: 1"}, different: true},
		{name: "absent is not empty", vary: "a", was: []string{"A:"}, different: true},
		{name: "all of them", vary: "a, b", was: []string{"A: 1", "B: 2"}, is: []string{"B: 2", "A: 1"}},
		{name: "one of them", vary: "a, b", was: []string{"A: 1", "B: 2"}, is: []string{"A: 1"}, different: true},
		{name: "combined", vary: "a", was: []string{"A: 1, 2"}, is: []string{"A: 1", "A: 2"}},
		{name: "more lines", vary: "a", was: []string{"A: 1"}, is: []string{"A: 1", "A: 2"}, different: true},
		{name: "order of encodings", vary: "accept-encoding", was: []string{"Accept-Encoding: gzip, br"}, is: []string{"Accept-Encoding: br,gzip;q=1"}},
		{name: "weights of encodings", vary: "accept-encoding", was: []string{"Accept-Encoding: gzip, br"}, is: []string{"Accept-Encoding: br,gzip;q=0.9"}, different: true},
		{name: "longer than the room", vary: "a", was: []string{"A: 1," + strings.Repeat("x", 2*normalisedRoom)}, is: []string{"A: 1, " + strings.Repeat("x", 2*normalisedRoom)}},
		{name: "*", vary: "*", different: true},
	} {
		x := storedOf(getRequest(tc.was...), responseOf(200, "Vary: "+tc.vary), DefaultPolicy())
		req := getRequest(tc.is...)
		if got := matchesVary(req, x); got == tc.different {
			t.Errorf("%s: matches %v", tc.name, got)
		}
		if same := string(variantOf(req, x)) == string(x.Nominated); same == tc.different && tc.vary != "*" {
			t.Errorf("%s: variant %q, nominated %q", tc.name, variantOf(req, x), x.Nominated)
		}
	}
}

func TestMatchesVaryDoesNotAllocate(t *testing.T) {
	lines := []string{"Accept-Encoding: gzip, deflate, br, zstd", "Accept-Language: en-US,en;q=0.9,de;q=0.8", "X-Kind: 1,2"}
	x := storedOf(getRequest(lines...), responseOf(200, "Vary: Accept-Encoding, Accept-Language, X-Kind, X-None"), DefaultPolicy())
	req := getRequest(lines...)
	noAllocs(t, "matchesVary", func() {
		if !matchesVary(req, x) {
			t.Fatal("no match")
		}
	})
}

// A Vary that changes under a stored response can be matched only while it
// nominates nothing new.
func TestVaryThatChanges(t *testing.T) {
	old := storedOf(getRequest("A: 1"), responseOf(200, "Vary: a, b", `ETag: "x"`), DefaultPolicy())
	for vary, any := range map[string]bool{"a, b": false, "B, A": false, "a": false, "a, c": true, "*": true} {
		x := freshenedHead(old, getRequest(), responseOf(304, "Vary: "+vary, `ETag: "x"`), DefaultPolicy(), noon, noon)
		if x.Terms.Flags.Has(message.TermVaryAny) != any {
			t.Errorf("Vary: %s: flags %b", vary, x.Terms.Flags)
		}
	}
}

// FuzzVary: the request that caused storing matches; normalising is
// idempotent; and two requests match exactly when they make the same block.
func FuzzVary(f *testing.F) {
	f.Add("accept-encoding, x", "gzip;q=0.5, BR", `"a , b",c`, "br,gzip;q=0.500", `"`)
	f.Add("x", "", `"a`, "", `b"`)
	f.Fuzz(func(t *testing.T, vary, encoding, a, otherEncoding, b string) {
		req := getRequest("Accept-Encoding: "+fieldText(encoding), "X: "+fieldText(a), "X: "+fieldText(b), "Cookie: "+fieldText(a))
		resp := responseOf(200, "Vary: "+fieldText(vary), "Vary: x, accept-encoding, cookie")
		x := storedOf(req, resp, DefaultPolicy())
		if x.Terms.Flags.Has(message.TermVaryAny) {
			if matchesVary(req, x) {
				t.Fatal("* matched")
			}
			return
		}
		if !matchesVary(req, x) {
			t.Fatalf("the request that stored does not match %q", x.Nominated)
		}
		if block := variantOf(req, x); string(block) != string(x.Nominated) {
			t.Fatalf("variant %q, nominated %q", block, x.Nominated)
		}
		var normal message.Request
		for rest := x.Nominated; len(rest) > 0; {
			var line []byte
			line, rest = message.CutLine(rest)
			if name, value, present := cutNominated(line); present {
				normal.Fields.Add(name, value)
			}
		}
		if again := variantOf(&normal, x); string(again) != string(x.Nominated) {
			t.Fatalf("normalised twice: %q, once: %q", again, x.Nominated)
		}
		other := getRequest("Accept-Encoding: "+fieldText(otherEncoding), "X: "+fieldText(b), "X: "+fieldText(a), "Cookie: "+fieldText(a))
		if matchesVary(other, x) != (string(variantOf(other, x)) == string(x.Nominated)) {
			t.Fatalf("matching and variant disagree about %q", x.Nominated)
		}
	})
}
