package message

import (
	"strings"
	"testing"
)

func TestEveryKnownFieldIsFoundInAnyCase(t *testing.T) {
	for id := FieldOther + 1; id < numFieldIDs; id++ {
		name := id.String()
		for _, spelt := range []string{name, strings.ToLower(name), strings.ToUpper(name)} {
			if got := LookupFieldID([]byte(spelt)); got != id {
				t.Errorf("LookupFieldID(%q) = %v, want %v", spelt, got, id)
			}
		}
		if got := LookupFieldID([]byte(name + "x")); got != FieldOther {
			t.Errorf("LookupFieldID(%q) = %v, want other", name+"x", got)
		}
	}
	for _, name := range []string{"", "a", "X-Unknown", "Hosu", "\x00\x00", "content-lengt\xc8"} {
		if got := LookupFieldID([]byte(name)); got != FieldOther {
			t.Errorf("LookupFieldID(%q) = %v, want other", name, got)
		}
	}
}

func TestFieldsLinesRoundTrip(t *testing.T) {
	var f, g Fields
	f.AddString("Cache-Control", "max-age=60")
	f.AddString("X-Empty", "")
	f.AddString("cache-control", "public")
	f.AddString("ETag", `"x"`)
	block := f.AppendLines(nil)
	if want := "Cache-Control: max-age=60\r\nX-Empty: \r\ncache-control: public\r\nETag: \"x\"\r\n"; string(block) != want {
		t.Fatalf("lines %q, want %q", block, want)
	}
	g.ParseLines(block)
	if string(g.AppendLines(nil)) != string(block) {
		t.Fatalf("round trip: %q", g.AppendLines(nil))
	}
	if g.Count(FieldCacheControl) != 2 || g.Next(FieldCacheControl, 1) != 2 || g.NextName([]byte("x-empty"), 0) != 1 {
		t.Fatal("lookup after round trip is wrong")
	}
	g.Delete(FieldCacheControl)
	if g.Has(FieldCacheControl) || g.Len() != 2 || !g.Has(FieldETag) {
		t.Fatalf("after delete: %q", g.AppendLines(nil))
	}
}

func TestCloneSharesNothing(t *testing.T) {
	raw := []byte("example.com/abcName: v")
	r := Request{Method: MethodGet, Authority: raw[:11], Target: raw[11:15], PathLen: 4}
	r.Fields.Add(raw[15:19], raw[21:])
	c := r.Clone()
	for i := range raw {
		raw[i] = 0xDB
	}
	if string(c.Authority) != "example.com" || string(c.Target) != "/abc" || string(c.Fields.All()[0].Value) != "v" {
		t.Fatalf("clone changed with its source: %q %q", c.Authority, c.Target)
	}
}
