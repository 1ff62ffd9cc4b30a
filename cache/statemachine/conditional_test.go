package statemachine

import (
	"strings"
	"testing"
)

// Laws of validators, whatever a client sends in If-None-Match and If-Range:
// 304 means that the stored tag, or "*", stands in the field; that one tag more
// in the list matches no less; that another line says the same as a comma; and
// a range is answered under If-Range only for a strong tag that is ours.
func FuzzConditions(f *testing.F) {
	for _, value := range []string{`"v"`, `W/"v"`, `"a", "v"`, `*`, `"a,b"`, `v`, `"v`, `W/`, `,,"v",`, `"v" "w"`, `w/"v"`, "\"v\x80\"", `"a"`, dateAt(0)} {
		f.Add(value, `"other"`)
	}
	f.Fuzz(func(t *testing.T, value, more string) {
		if strings.ContainsAny(value+more, "\r\n\x00") || !isListed(more) {
			return
		}
		value = strings.Trim(value, " \t")
		s := stored(`ETag: "v"`, "Cache-Control: max-age=60")
		one := Select(getRequest("If-None-Match: "+value), s, 10).Status
		if one == 304 && !strings.Contains(value, `"v"`) && value != "*" {
			t.Errorf("If-None-Match %q: 304 without the tag", value)
		}
		listed := Select(getRequest("If-None-Match: "+more+", "+value), s, 10).Status
		lines := Select(getRequest("If-None-Match: "+more, "If-None-Match: "+value), s, 10).Status
		if value != "*" && listed != lines {
			t.Errorf("%q and %q: %d in one line, %d in two", more, value, listed, lines)
		}
		if value != "*" && one == 304 && lines != 304 {
			t.Errorf("%q beside %q no longer matches", value, more)
		}
		ranged := Select(getRequest("Range: bytes=2-4", "If-Range: "+value), s, 10).Status
		if ranged == 206 && value != `"v"` {
			t.Errorf("If-Range %q: 206", value)
		}
	})
}

// isListed reports whether s is one well-formed entity tag, so that what
// follows it in a list is still a list.
func isListed(s string) bool {
	s = strings.TrimPrefix(s, "W/")
	return len(s) >= 2 && s[0] == '"' && strings.IndexByte(s[1:], '"') == len(s)-2 && !strings.ContainsAny(s, " \t\x7f")
}
