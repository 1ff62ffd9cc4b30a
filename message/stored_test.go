package message

import "testing"

// TestSharesStrongValidator: what may be combined into one representation.
func TestSharesStrongValidator(t *testing.T) {
	terms := func(etag string, modified int64, strong bool) *Terms {
		m := &Terms{LastModified: modified}
		if etag != "" {
			m.ETag = []byte(etag)
		}
		if strong {
			m.Flags = TermLastModifiedStrong
		}
		return m
	}
	for _, c := range []struct {
		what string
		a, b *Terms
		want bool
	}{
		{"the same strong tag", terms(`"a"`, 0, false), terms(`"a"`, 0, false), true},
		{"other strong tags", terms(`"a"`, 1, true), terms(`"b"`, 1, true), false},
		{"a strong tag and a weak one", terms(`"a"`, 1, true), terms(`W/"a"`, 1, true), false},
		{"a strong tag and none", terms(`"a"`, 1, true), terms("", 1, true), false},
		{"the same strong date", terms("", 1, true), terms("", 1, true), true},
		{"other dates", terms("", 1, true), terms("", 2, true), false},
		{"a date that is weak once", terms("", 1, true), terms("", 1, false), false},
		{"the same weak tag and date", terms(`W/"a"`, 1, true), terms(`W/"a"`, 1, true), true},
		{"other weak tags within one second", terms(`W/"a"`, 1, true), terms(`W/"b"`, 1, true), false},
		{"the same weak tag alone", terms(`W/"a"`, 0, false), terms(`W/"a"`, 0, false), false},
		{"nothing", terms("", 0, false), terms("", 0, false), false},
	} {
		if got := c.a.SharesStrongValidator(c.b); got != c.want {
			t.Errorf("%s: %v", c.what, got)
		}
		if got := c.b.SharesStrongValidator(c.a); got != c.want {
			t.Errorf("%s, the other way: %v", c.what, got)
		}
	}
}
