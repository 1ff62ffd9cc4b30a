package statemachine

import (
	"fmt"
	"strings"
	"testing"
)

func TestStripHopByHop(t *testing.T) {
	for _, tc := range []struct {
		name     string
		lines    []string
		trailers bool
		want     []string
	}{
		{name: "nothing", lines: []string{"A: 1"}, want: []string{"A: 1"}},
		{name: "named", lines: []string{"Connection: close, a", "A: 1", "connection: B , c", "b: 2", "D: 3"}, want: []string{"D: 3"}},
		{name: "named on adjacent lines", lines: []string{"Connection: a", "Connection: b", "Connection: c", "A: 1", "B: 1", "C: 1"}},
		{name: "known to concern one connection", lines: []string{"Keep-Alive: 1", "Proxy-Connection: 1", "TE: gzip", "Transfer-Encoding: chunked", "Upgrade: h2c", "HTTP2-Settings: x", "A: 1"}, want: []string{"A: 1"}},
		{name: "not by a client's wish", lines: []string{"Connection: Host, content-length, cache-control", "Host: h", "Content-Length: 3", "Cache-Control: no-store"},
			want: []string{"Host: h", "Content-Length: 3", "Cache-Control: no-store"}},
		{name: "the way a request came", lines: []string{"Connection: cdn-loop", "CDN-Loop: a"}, want: []string{"CDN-Loop: a"}},
		{name: "named, though known", lines: []string{"Connection: cookie, authorization", "Cookie: a", "Authorization: b"}},
		{name: "trailers", lines: []string{"TE: gzip, Trailers", "Trailer: a", "Connection: te"}, trailers: true, want: []string{"Trailer: a", "TE: trailers"}},
		{name: "no trailers", lines: []string{"TE: trailers", "Trailer: a"}},
		{name: "TE without trailers", lines: []string{"TE: gzip"}, trailers: true},
	} {
		f := fieldsOf(tc.lines...)
		StripHopByHop(&f, tc.trailers)
		if got, want := string(f.AppendLines(nil)), strings.Join(append(tc.want, ""), "\r\n"); got != want {
			t.Errorf("%s: %q, want %q", tc.name, got, want)
		}
	}
}

// Many connection options must not cost many times many fields.
func TestStripHopByHopIsLinear(t *testing.T) {
	wantLinear(t, func(n int) func() {
		var options []string
		for i := range 10 * n { // few enough for a processor's cache, whose end looks like a square's beginning
			options = append(options, fmt.Sprint("x", i))
		}
		all := fieldsOf("Connection: " + strings.Join(options, ","))
		for i := range n {
			all.AddString(fmt.Sprint("X", i*10), "1")
			all.AddString(fmt.Sprint("Y", i), "1")
		}
		return func() {
			f := all.Clone()
			StripHopByHop(&f, false)
			if f.Len() != n {
				t.Errorf("%d fields are left", f.Len())
			}
		}
	})
}
