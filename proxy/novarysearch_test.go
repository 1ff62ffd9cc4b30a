package proxy

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func parseRule(fields ...string) *searchRule {
	var lines [][]byte
	for _, f := range fields {
		lines = append(lines, []byte(f))
	}
	return parseSearchRule(lines)
}

// The tables of section 4 of the draft, and what the field may not be.
func TestSearchRules(t *testing.T) {
	many := "params=(" + strings.Repeat(`"a" `, maxRuleNames) + ")"
	for field, want := range map[string]string{
		`params=("a")`:                    `false [a] false`,
		`except=("x")`:                    `true [x] false`,
		`except=()`:                       `true [] false`,
		`key-order`:                       `false [] true`,
		`key-order=?1`:                    `false [] true`,
		`except=("x"), key-order`:         `true [x] true`,
		`key-order, params=("b" "a" "b")`: `false [a b] true`,
		`params=("%C3%A9+%E6%B0%97")`:     `false [é 気] false`,
		`params=("a"), new=1;x`:           `false [a] false`,
		`params=("a";x);y`:                `false [a] false`,
		`params=("x"), params=("a")`:      `false [a] false`,
		many:                              `false [a] false`,
		`params=()`:                       ``,
		`key-order=?0`:                    ``,
		`new`:                             ``,
		`key-order="not a boolean"`:       ``,
		`params="not an inner list"`:      ``,
		`params=(not-a-string)`:           ``,
		`params=?0`:                       ``,
		`params=?1`:                       ``,
		`params=?1, except=("x")`:         ``,
		`params=("a"), except=("x")`:      ``,
		`params=(), except=()`:            ``,
		`except="not an inner list"`:      ``,
		`except=(not-a-string)`:           ``,
		`except=?1`:                       ``,
		`params=("a"`:                     ``,
		`params=("a"),`:                   ``,
		`Params=("a")`:                    ``,
		``:                                ``,
		many[:len(many)-1] + ` "b")`:      ``,
	} {
		got := ""
		if r := parseRule(field); r != nil {
			got = fmt.Sprint(r.except, r.names, r.anyOrder)
		}
		if got != want {
			t.Errorf("%.60s: %s, want %s", field, got, want)
		}
	}
	if r := parseRule(`params=("a")`, `key-order`); r == nil || !r.anyOrder || r.text != `params=("a"), key-order` {
		t.Errorf("two lines are %+v", r)
	}
}

func normal(r *searchRule, query string) string {
	var q searchQuery
	return string(q.appendNormal(nil, []byte(query), r))
}

// The tables of section 5, and one for each kind of rule.
func TestSearchEquivalence(t *testing.T) {
	for _, x := range []struct {
		field, a, b string
		same        bool
	}{
		{"key-order", "a=x", "%61=%78", true},
		{"key-order", "a=é", "a=%C3%A9", true},
		{"key-order", "a=%f6", "a=%ef%bf%bd", true},
		{"key-order", "a=x&&&&", "a=x", true},
		{"key-order", "a=", "a", true},
		{"key-order", "a=%20", "a= &", true},
		{"key-order", "a=+", "a= &", true},
		{"key-order", "", "&", true},
		{"key-order", "", "=", false}, // an empty name with an empty value
		{"key-order", "b=1&a=2", "a=2&b=1", true},
		{"key-order", "a=1&a=2", "a=2&a=1", false},
		{"key-order", "a=2&b=1&a=1", "b=1&a=2&a=1", true},
		{"key-order", "a=1%26b=2", "a=1&b=2", false},
		{"key-order", "a=1%3D2", "a=1=2", true},
		{"key-order", "A=1", "a=1", false},
		{"key-order", "a=1;b=2", "a=1&b=2", false},
		{"key-order", "a=%zz%4", "a=%25zz%254", true},
		{"key-order", "a=%2B", "a=+", false},
		{`params=("u")`, "u=1&a=2&u=3", "a=2", true},
		{`params=("u")`, "%75=1", "", true},
		{`params=("u")`, "a=1&b=2", "b=2&a=1", false},
		{`params=("u")`, "a=1", "a=2", false},
		{`params=("u")`, "uu=1", "", false},
		{`params=("é 気")`, "", "", true}, // no ASCII: the field is broken
		{`params=("%C3%A9+%E6%B0%97")`, "%C3%A9%20%E6%B0%97=3", "", true},
		{`params=("%f6")`, "%f7=1", "", true}, // both are U+FFFD
		{`except=("id")`, "id=1&x=2", "y=3&id=1", true},
		{`except=("id")`, "id=1", "id=2", false},
		{`except=()`, "a=1", "b", true},
	} {
		r := parseRule(x.field)
		if r == nil {
			if x.a != x.b {
				t.Errorf("%s is no rule", x.field)
			}
			continue
		}
		if same := normal(r, x.a) == normal(r, x.b); same != x.same {
			t.Errorf("%s: %q and %q: the same is %v", x.field, x.a, x.b, same)
		}
	}
}

// The Encoding Standard replaces each longest beginning of a sequence once.
func TestBrokenUTF8(t *testing.T) {
	for in, want := range map[string]string{
		"\xff\xfe":         "\ufffd\ufffd",
		"\xe6\xb0":         "\ufffd",
		"\xe6\xb0a":        "\ufffda",
		"\xf0\x9f\x98":     "\ufffd",
		"\xf0\x9f\x98\xf0": "\ufffd\ufffd",
		"\xe0\x80\x80":     "\ufffd\ufffd\ufffd",
		"\xed\xa0\x80":     "\ufffd\ufffd\ufffd", // a surrogate
		"\xf4\x90\x80\x80": "\ufffd\ufffd\ufffd\ufffd",
		"\xc0\xaf":         "\ufffd\ufffd",
		"\xef\xbb\xbfa":    "\ufeffa", // a BOM stays
		"\xf0\x8f\xbf\xbf": "\ufffd\ufffd\ufffd\ufffd",
		"\xc3\xa9\xc3":     "é\ufffd",
	} {
		if got := string(appendDecoded(nil, []byte(in))); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
}

// decodedPairs is the draft's comparison written down naively: the parameters
// that count, in the order that counts.
func decodedPairs(r *searchRule, query string) [][2]string {
	decode := func(s string) string {
		s = strings.ReplaceAll(s, "+", " ")
		var b []byte
		for s != "" {
			var c byte
			if n, err := fmt.Sscanf(s, "%%%2x", &c); n == 1 && err == nil && len(s) >= 3 && isHex(s[1]) && isHex(s[2]) {
				b, s = append(b, c), s[3:]
			} else {
				b, s = append(b, s[0]), s[1:]
			}
		}
		return string(appendUTF8(nil, b))
	}
	var all [][2]string
	for _, p := range strings.Split(query, "&") {
		name, value, _ := strings.Cut(p, "=")
		if p != "" && slices.Contains(r.names, decode(name)) == r.except {
			all = append(all, [2]string{decode(name), decode(value)})
		}
	}
	if r.anyOrder {
		slices.SortStableFunc(all, func(a, b [2]string) int { return strings.Compare(a[0], b[0]) })
	}
	return all
}

// FuzzSearchRule: two queries have one key exactly if the draft calls them
// equivalent; what is normal is in normal form; and neither what a rule lets a
// client add nor the order it lets it choose makes another key.
func FuzzSearchRule(f *testing.F) {
	f.Add(`key-order, params=("u" "v")`, "a=1&u=2&b=%33", "b=3&a=1")
	f.Add(`except=("a")`, "a=%f6&&x", "a=%ef%bf%bd")
	f.Add(`params=("a"), except=("b")`, "", "=")
	f.Fuzz(func(t *testing.T, field, a, b string) {
		r := parseRule(field)
		if r == nil {
			return
		}
		if !slices.IsSorted(r.names) || len(r.names) > maxRuleNames {
			t.Fatalf("names %q", r.names)
		}
		if s := parseRule(r.text); s == nil || !s.equal(r) {
			t.Fatalf("%q is read otherwise the second time", field)
		}
		pairs := decodedPairs(r, a)
		if same := slices.Equal(pairs, decodedPairs(r, b)); same != (normal(r, a) == normal(r, b)) {
			t.Fatalf("%q: %q and %q: the same is %v by the draft only", field, a, b, same)
		}
		encode := func(s string) string {
			var b strings.Builder
			for i := range len(s) {
				fmt.Fprintf(&b, "%%%02X", s[i])
			}
			return b.String()
		}
		var again []string
		for _, p := range pairs {
			if !utf8.ValidString(p[0]) || !utf8.ValidString(p[1]) {
				t.Fatalf("%q is decoded to %q", a, p)
			}
			again = append(again, encode(p[0])+"="+encode(p[1]))
		}
		if r.anyOrder && len(pairs) > 1 && pairs[0][0] != pairs[1][0] {
			again[0], again[1] = again[1], again[0]
		}
		ignored := "&"
		if !r.except && len(r.names) > 0 {
			ignored += encode(r.names[0]) + "=" + encode(b)
		}
		if decorated := strings.Join(again, "&") + ignored; normal(r, decorated) != normal(r, a) {
			t.Fatalf("%q: %q is not %q", field, decorated, a)
		}
	})
}
