package purge

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestRequests: what is asked for is understood whole or refused whole.
func TestRequests(t *testing.T) {
	tags := func(n int) string {
		return `{"tags":["` + strings.Join(slices.Repeat([]string{"t"}, n), `","`) + `"]}`
	}
	for _, c := range []struct{ body, want string }{ // want: mode and selectors, or "! " and a part of the error
		{`{"urls":["https://a/b"]}`, "hard url https://a/b"},
		{`{"files":["https://a/b"],"soft":true}`, "soft url https://a/b"},
		{`{"prefixes":["a/b/"],"soft":false}`, "hard prefix http://a/b/ prefix https://a/b/"},
		{`{"tags":["A","b c"],"hosts":["H:81"]}`, "hard tag a tag b c host h:81"},
		{`{"groups":[{"origin":"https://a","group":"G"}]}`, "hard group https://a G"},
		{`{"everything":true}`, "hard everything everything"},
		{`{"purge_everything":true}`, "hard everything everything"},
		{`{}`, "! names nothing"},
		{`{"soft":true}`, "! names nothing"},
		{`{"everything":false,"tags":[]}`, "! names nothing"},
		{``, "! not JSON: there is no content"},
		{`null`, "! not a JSON object"},
		{`[]`, "! not a JSON object"},
		{`{"tags":["a"]`, "! not JSON"},
		{`{"tags":["a"]} x`, "! behind"},
		{`{"tags":["a"]}{}`, "! behind"},
		{`{"tag":["a"]}`, "! unknown"},
		{`{"Tags":["a"]}`, "! unknown"},
		{`{"tags":["a"],"tags":["b"]}`, "! twice"},
		{`{"tags":"a"}`, `! the field "tags": there is a JSON string where a list belongs`},
		{`{"tags":[1]}`, `! the field "tags": there is a JSON number where a string belongs`},
		{`{"soft":"yes","tags":["a"]}`, `! the field "soft": there is a JSON string where true or false belongs`},
		{`{"tags":["a",""]}`, "! tags[1]"},
		{`{"urls":["/b"]}`, "! urls[0]"},
		{`{"urls":["https://a/","ws://a/"]}`, "! urls[1]"},
		{`{"prefixes":[""]}`, "! prefixes[0]"},
		{`{"hosts":["a/b"]}`, "! hosts[0]"},
		{`{"groups":[{"origin":"https://a","group":"G","x":1}]}`, "! unknown"},
		{`{"groups":[{"origin":"https://a"}]}`, "! groups[0]"},
		{`{"groups":[{"group":"g"}]}`, "! groups[0]: the origin is missing"},
		{`{"hosts":["b\u00fccher.example"]}`, "! write a host in its xn-- form"},
		{`{"groups":["G"]}`, "! groups"},
		{`{"groups":"G"}`, `! the field "groups": there is a JSON string where a list belongs`},
		{tags(MaxSelectors), "hard" + strings.Repeat(" tag t", MaxSelectors)},
		{tags(MaxSelectors + 1), "! at most"},
		{`{"everything":true,` + tags(MaxSelectors)[1:], "! at most"},
		{"{\"tags\":[\"\xff\"]}", "! not UTF-8"},
		{`{"tags":["\ud800"]}`, "! U+FFFD"},
		{`{"prefixes":["a/b/*"]}`, "! takes no *"},
		{`{"prefixes":["a/*/b"]}`, "hard prefix http://a/*/b prefix https://a/*/b"},
		{`{"hosts":["*.a"]}`, "! takes no *"},
		{`{"hosts":["https://a"]}`, "! host alone"},
		{`{"hosts":["a:080"]}`, "! leading zeros"},
		{`{"urls":["http://user:pass@a/"]}`, "! a user is no part"},
		{`{"prefixes":["` + strings.Join(slices.Repeat([]string{"a/"}, MaxSelectors), `","`) + `"]}`,
			"hard" + strings.Repeat(" prefix http://a/ prefix https://a/", MaxSelectors)},
	} {
		p, err := ParseRequest([]byte(c.body))
		got := ""
		if err != nil {
			got = "! " + err.Error()
		} else {
			got = p.Mode.String()
			for _, s := range p.Selectors {
				got += fmt.Sprintf(" %v %v", s.Kind, s)
			}
		}
		part, refused := strings.CutPrefix(c.want, "! ")
		if refused && (err == nil || !strings.Contains(got, part)) || !refused && got != c.want {
			t.Errorf("%.80s: %.200s; want %.80s", c.body, got, c.want)
		}
	}
}

func TestDecodeKeys(t *testing.T) {
	keys, err := DecodeKeys([]byte(`{"surrogate_keys":["a","B"]}`), "surrogate_keys")
	if err != nil || !slices.Equal(keys, []string{"a", "B"}) {
		t.Errorf("%q, %v", keys, err)
	}
	if _, err := DecodeKeys([]byte(`{"keys":["a"]}`), "surrogate_keys"); err == nil {
		t.Error("another name was taken")
	}
}

// FuzzRequest: whatever comes, it is refused, or it is a purge that the ledger
// takes and that selects in the key's form.
func FuzzRequest(f *testing.F) {
	f.Add([]byte(`{"urls":["https://A:443/b?c"],"prefixes":["a/b/"],"tags":["X"],"groups":[{"origin":"https://a","group":"G"}],"hosts":["a:1"],"everything":true,"soft":true}`))
	f.Add([]byte(`{"files":["http://[::1]:80"],"purge_everything":false}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		p, err := ParseRequest(body)
		if err != nil {
			return
		}
		if err := p.check(); err != nil {
			t.Fatal(err)
		}
		l := open(t, Options{})
		mustPurge(t, l, p.Mode, p.Selectors...)
		for _, s := range p.Selectors {
			if s.Kind == URL {
				again, err := ByURL(s.String())
				if err != nil || again != s {
					t.Fatalf("%v reads as %v, %v", s, again, err)
				}
			}
			payload, ok := cutRecord(appendPurge(nil, &record{seq: 1, Purge: Purge{Selectors: []Selector{s}, Mode: p.Mode}}))
			if c := new(contents); !ok || !c.add(payload) || c.records[0].Selectors[0] != s {
				t.Fatalf("%v does not survive the journal", s)
			}
		}
	})
}
