package statemachine

import (
	"slices"
	"testing"
)

// RFC 9111 section 4.4, for http://example.com/a/b?c.
func TestInvalidationTargets(t *testing.T) {
	for _, tc := range []struct {
		location string
		want     string // beside the target URI; "" for none
	}{
		{"/x", "/x"},
		{"/x?y#z", "/x?y"},
		{"x", "/a/x"},
		{"./x", "/a/x"},
		{"../x", "/x"},
		{"../../../x", "/x"},
		{"?y", "/a/b?y"},
		{"/x/./y/../z", "/x/z"},
		{"/x/..", "/"},
		{"/.", "/"},
		{"/..", "/"},
		{"/.x/..x/...", "/.x/..x/..."},
		{"/x/.", "/x/"},
		{"..", "/"},
		{"x//y", "/a/x//y"},
		{"/%2e%2E/x", "/%2e%2E/x"}, // nothing is decoded
		{"http://example.com/x", "/x"},
		{"HTTP://Example.COM:80/x", "/x"},
		{"http://example.com:/x", "/x"},
		{"http://example.com", "/"},
		{"http://example.com?q", "/?q"},
		{"//example.com/x", "/x"},
		{"a:b", ""}, // an unknown scheme
		{"./a:b", "/a/a:b"},

		// "a cache MUST NOT trigger an invalidation under these conditions if
		// the origin ... of the URI to be invalidated differs"
		{"https://example.com/x", ""},
		{"http://example.com:8080/x", ""},
		{"http://example.org/x", ""},
		{"http://www.example.com/x", ""},
		{"//example.org/x", ""},
		{"http:/x", ""},
		{"http:x", ""},
		{"http:///x", ""},
		{"http://user@example.com/x", ""},
		{"http://example.com@example.org/x", ""},
		{"http://example.com\\@example.org/x", ""},
		{"/x y", ""},
		{"/x\x80", ""},

		{"", ""},
		{"#z", ""},
		{"/a/b?c", ""}, // the target URI itself
		{"b?c", ""},
	} {
		for _, field := range []string{"Location", "Content-Location"} {
			var got []string
			InvalidationTargets(getRequest(), responseOf(201, field+": "+tc.location), func(scheme string, authority, target []byte) {
				got = append(got, scheme+"://"+string(authority)+string(target))
			})
			want := []string{"http://example.com/a/b?c"}
			if tc.want != "" {
				want = append(want, "http://example.com"+tc.want)
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s: %q: %q, want %q", field, tc.location, got, want)
			}
		}
	}
}

func TestInvalidationTargetsOfHTTPS(t *testing.T) {
	req := getRequest()
	req.Scheme, req.Authority = "https", []byte("example.com:8443")
	for location, want := range map[string]int{"https://example.com:8443/x": 2, "https://example.com/x": 1, "http://example.com:8443/x": 1} {
		n := 0
		InvalidationTargets(req, responseOf(200, "Location: "+location), func(string, []byte, []byte) { n++ })
		if n != want {
			t.Errorf("%s: %d URIs, want %d", location, n, want)
		}
	}
}

// FuzzInvalidate: whatever an origin says, what is visited is a path of the
// same origin, without a dot segment left and fit to be a request target.
func FuzzInvalidate(f *testing.F) {
	f.Add("//example.com/../x/./y?z")
	f.Add("http://example.com@evil/..")
	f.Fuzz(func(t *testing.T, location string) {
		InvalidationTargets(getRequest(), responseOf(200, "Location: "+fieldText(location)), func(scheme string, authority, target []byte) {
			if scheme != "http" || string(authority) != "example.com" || len(target) == 0 || target[0] != '/' {
				t.Fatalf("%q: %s %s %q", location, scheme, authority, target)
			}
			path, _ := cutQuery(target)
			if again := removeDotSegments(path); string(again) != string(path) {
				t.Fatalf("%q: %q still has dot segments", location, path)
			}
			for _, c := range target {
				if c <= ' ' || c >= 0x7f || c == '#' {
					t.Fatalf("%q: %q", location, target)
				}
			}
		})
	})
}
