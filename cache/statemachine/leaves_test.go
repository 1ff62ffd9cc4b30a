package statemachine

import (
	"strings"
	"testing"

	"edge/message"
)

// noon is the time at which the classifiers' tests happen: Mon, 23 Nov 2026
// 12:00:00 GMT.
const noon = Instant(1795435200) * Instant(message.Second)

// fieldsOf makes fields of lines "Name: value".
func fieldsOf(lines ...string) message.Fields {
	var f message.Fields
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ":")
		f.AddString(name, strings.Trim(value, " "))
	}
	return f
}

// getRequest makes a GET for http://example.com/a/b?c with header lines.
func getRequest(lines ...string) *message.Request {
	return &message.Request{Method: message.MethodGet, Scheme: "http", Authority: []byte("example.com"),
		Target: []byte("/a/b?c"), PathLen: 4, Version: message.HTTP11, Fields: fieldsOf(lines...)}
}

// responseOf makes a response with header lines and no announced length.
func responseOf(status int, lines ...string) *message.Response {
	return &message.Response{Status: status, Fields: fieldsOf(lines...), Length: message.LengthUnknown}
}

// dateAt spells noon plus so many seconds as an HTTP-date.
func dateAt(offset int64) string {
	return string(AppendDate(nil, int64(noon)/message.Second+offset))
}

// storedOf stores a response to req, received at noon without delay.
func storedOf(req *message.Request, resp *message.Response, p *Policy) *message.Stored {
	d := parseResponseDirectives(&resp.Fields, p.Targeted)
	return newStored(req, resp, &d, p, noon, noon)
}

// stored stores a 200 with header lines for a plain GET.
func stored(lines ...string) *message.Stored {
	return storedOf(getRequest(), responseOf(200, lines...), DefaultPolicy())
}

// noAllocs fails where f allocates.
func noAllocs(t *testing.T, what string, f func()) {
	t.Helper()
	if n := testing.AllocsPerRun(100, f); n != 0 {
		t.Errorf("%s: %v allocations", what, n)
	}
}

// fieldText makes fuzz input fit for a field value, as the codecs would.
func fieldText(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' || r == 0x7f {
			return -1
		}
		return r
	}, s)
	return strings.Trim(s, " \t")
}
