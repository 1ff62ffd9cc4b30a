package statemachine

import "testing"

func TestETagSyntax(t *testing.T) {
	for value, want := range map[string]string{
		`"x"`: `"x"`, `W/"x"`: `W/"x"`, `""`: `""`, `"a,b\c"`: `"a,b\c"`, "\"\xe9\"": "\"\xe9\"",
		`x`: "", `w/"x"`: "", `W"x"`: "", `"x`: "", `"x"y`: "", `"a b"`: "", ``: "", `W/`: "",
	} {
		if got := string(stored("ETag: " + value).Terms.ETag); got != want {
			t.Errorf("%q: %q, want %q", value, got, want)
		}
	}
	if got := stored(`ETag: "x"`, `ETag: "y"`).Terms.ETag; got != nil {
		t.Errorf("two entity tags: %q", got)
	}
}

func TestValidators(t *testing.T) {
	lm := dateAt(-100)
	for _, tc := range []struct {
		lines              []string
		etag, lastModified string
	}{
		{nil, "", ""},
		{[]string{`ETag: W/"x"`}, `W/"x"`, ""},
		{[]string{"Last-Modified: " + lm, "ETag: junk"}, "", lm},
		{[]string{"Last-Modified: junk"}, "", ""},
	} {
		x := stored(tc.lines...)
		etag, lastModified := Validators(x)
		if string(etag) != tc.etag || string(lastModified) != tc.lastModified || hasValidator(x) != (tc.etag+tc.lastModified != "") {
			t.Errorf("%v: %q, %q", tc.lines, etag, lastModified)
		}
	}
}

// RFC 9111 section 4.3.4.
func TestMatchesNotModified(t *testing.T) {
	date, lm, other := "Date: "+dateAt(0), "Last-Modified: "+dateAt(-1000), "Last-Modified: "+dateAt(-999)
	for _, tc := range []struct {
		name    string
		was, is []string
		want    bool
	}{
		{"same strong tag", []string{`ETag: "x"`}, []string{`ETag: "x"`}, true},
		{"other strong tag", []string{`ETag: "x"`}, []string{`ETag: "y"`}, false},
		{"strong tag for a weak one", []string{`ETag: W/"x"`}, []string{`ETag: "x"`}, false},
		{"strong tag for none", []string{date, lm}, []string{date, lm, `ETag: "x"`}, false},
		{"strong tag outranks the date", []string{`ETag: "x"`, date, lm}, []string{`ETag: "x"`, date, other}, true},
		{"strong date", []string{date, lm}, []string{date, lm}, true},
		{"other strong date", []string{date, lm}, []string{date, other}, false},
		{"weak tag", []string{`ETag: W/"x"`}, []string{`ETag: W/"x"`}, true},
		{"weak tag for a strong one", []string{`ETag: "x"`}, []string{`ETag: W/"x"`}, true},
		{"other weak tag", []string{`ETag: W/"x"`, lm}, []string{`ETag: W/"y"`, lm}, false},
		{"weak date", []string{lm}, []string{lm}, true},
		{"other weak date", []string{lm}, []string{other}, false},
		{"no validators", nil, nil, true},
		{"none for a date", []string{lm}, nil, true}, // RFC 9110 section 15.4.5 lets it be left out
		{"none for a tag", []string{`ETag: "x"`}, nil, true},
		{"none for a weak tag", []string{`ETag: W/"x"`, lm}, []string{date}, true},
		{"an invalid tag is none", []string{`ETag: "x"`}, []string{"ETag: x"}, true},
		{"a date that was not asked with", []string{`ETag: "x"`}, []string{date, lm}, false},
	} {
		if got := matchesNotModified(stored(tc.was...), responseOf(304, tc.is...)); got != tc.want {
			t.Errorf("%s: %v", tc.name, got)
		}
	}
}

// RFC 9111 section 4.3.5.
func TestMatchesHead(t *testing.T) {
	lm := "Last-Modified: " + dateAt(-1000)
	for _, tc := range []struct {
		name    string
		was, is []string
		length  int64 // in the answer to HEAD; -1: not announced
		want    bool
	}{
		{"nothing received", []string{`ETag: "x"`, lm}, nil, -1, true},
		{"same", []string{`ETag: "x"`, lm}, []string{`ETag: "x"`, lm}, 5, true},
		{"other tag", []string{`ETag: "x"`, lm}, []string{`ETag: "y"`, lm}, 5, false},
		{"new tag", []string{lm}, []string{`ETag: "y"`, lm}, 5, false},
		{"other date", []string{lm}, []string{"Last-Modified: " + dateAt(0)}, 5, false},
		{"other length", []string{lm}, []string{lm}, 6, false},
	} {
		x := stored(tc.was...)
		x.Length = 5
		resp := responseOf(200, tc.is...)
		if tc.length >= 0 {
			resp.Length = tc.length
			resp.Fields.AddString("Content-Length", "announced")
		}
		if got := matchesHead(x, resp); got != tc.want {
			t.Errorf("%s: %v", tc.name, got)
		}
	}
}
