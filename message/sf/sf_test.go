package sf

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func lines(all ...string) [][]byte {
	var b [][]byte
	for _, s := range all {
		b = append(b, []byte(s))
	}
	return b
}

func TestParseDictionary(t *testing.T) {
	for _, tc := range []struct {
		name  string
		lines []string
		want  []Member // nil: an error
	}{
		{"boolean by presence", []string{"no-store"}, []Member{{"no-store", Item{Kind: Boolean, Boolean: true}}}},
		{"integer and parameters", []string{"max-age=60;x=1"}, []Member{{"max-age", Item{Kind: Integer, Integer: 60}}}},
		{"string unescaped", []string{`no-cache="a\"b"`}, []Member{{"no-cache", Item{Kind: String, Text: `a"b`}}}},
		{"token", []string{"x=abc"}, []Member{{"x", Item{Kind: Token, Text: "abc"}}}},
		{"decimal is other", []string{"max-age=1.5"}, []Member{{"max-age", Item{}}}},
		{"inner list", []string{`x=(1 "a";p)`}, []Member{{"x", Item{Kind: InnerList,
			List: []Item{{Kind: Integer, Integer: 1}, {Kind: String, Text: "a"}}}}}},
		{"empty inner list", []string{"x=()"}, []Member{{"x", Item{Kind: InnerList}}}},
		{"lines are joined", []string{"max-age=1", "no-store=?0"}, []Member{
			{"max-age", Item{Kind: Integer, Integer: 1}}, {"no-store", Item{Kind: Boolean}}}},
		{"last of a key counts", []string{"max-age=1, max-age=2"}, []Member{{"max-age", Item{Kind: Integer, Integer: 2}}}},
		{"empty", []string{""}, nil},
		{"upper case key", []string{"Max-Age=1"}, nil},
		{"junk fails the whole", []string{"max-age=1, &&&"}, nil},
		{"space before equals", []string{"max-age =1"}, nil},
		{"more than 15 digits", []string{"max-age=9999999999999999"}, nil},
		{"trailing comma", []string{"max-age=1,"}, nil},
	} {
		got, err := ParseDictionary(lines(tc.lines...))
		if (err != nil) != (tc.want == nil) {
			t.Errorf("%s: error %v", tc.name, err)
		}
		if d := cmp.Diff(tc.want, got); d != "" {
			t.Errorf("%s: %s", tc.name, d)
		}
	}
	if _, err := ParseDictionary(lines("")); !errors.Is(err, ErrEmpty) {
		t.Errorf("empty field: %v", err)
	}
}

func TestParseStrings(t *testing.T) {
	got, err := ParseStrings(lines(`"a", "B c"`, `"d";x`))
	if d := cmp.Diff([]string{"a", "B c", "d"}, got); d != "" || err != nil {
		t.Error(d, err)
	}
	if got, err := ParseStrings(nil); len(got) != 0 || err != nil {
		t.Error(got, err)
	}
	if _, err := ParseStrings(lines(`"a", b`)); !errors.Is(err, ErrType) {
		t.Errorf("a token among strings: %v", err)
	}
	if _, err := ParseStrings(lines(`"a`)); err == nil {
		t.Error("an open string was accepted")
	}
}

// FuzzParse: no input panics, and what parses has keys that are unique.
func FuzzParse(f *testing.F) {
	f.Add(`max-age=60, no-cache="a, b";p=1, x=(1 "2");q, y=?0, z=:YQ==:, d=@1, s=%"a"`)
	f.Fuzz(func(t *testing.T, s string) {
		members, err := ParseDictionary(lines(s))
		if (err == nil) == (len(members) == 0) {
			t.Fatalf("%d members with error %v", len(members), err)
		}
		seen := map[string]bool{}
		for _, m := range members {
			if seen[m.Key] {
				t.Fatalf("key %q twice", m.Key)
			}
			seen[m.Key] = true
		}
		ParseStrings(lines(s))
	})
}
