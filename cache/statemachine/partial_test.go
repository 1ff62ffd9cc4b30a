package statemachine

import (
	"testing"

	"edge/message"
)

func TestParseContentRange(t *testing.T) {
	for _, c := range []struct {
		value string
		want  Range
		total int64
		ok    bool
	}{
		{"bytes 0-4/11", Range{0, 5}, 11, true},
		{"Bytes 10-10/11", Range{10, 11}, 11, true},
		{"bytes 0-10/11", Range{0, 11}, 11, true},
		{"bytes 0-11/11", Range{}, 0, false},
		{"bytes 5-4/11", Range{}, 0, false},
		{"bytes 0-4/*", Range{}, 0, false},
		{"bytes */11", Range{}, 0, false},
		{"lines 0-4/11", Range{}, 0, false},
		{"bytes=0-4/11", Range{}, 0, false},
		{"bytes 0-4", Range{}, 0, false},
		{"bytes -4/11", Range{}, 0, false},
		{"bytes 0-/11", Range{}, 0, false},
		{"bytes 0-4/11 ", Range{}, 0, false},
		{"bytes +0-4/11", Range{}, 0, false},
		{"bytes 0-4/", Range{}, 0, false},
		{"bytes ", Range{}, 0, false},
		{"", Range{}, 0, false},
	} {
		got, total, ok := parseContentRange([]byte(c.value))
		if ok != c.ok || ok && (got != c.want || total != c.total) {
			t.Errorf("parseContentRange(%q) = %v, %d, %v; want %v, %d, %v", c.value, got, total, ok, c.want, c.total, c.ok)
		}
	}
}

// A part is only what it says it is: anything that does not add up is
// never stored; what cannot be an answer to the range asked for is none, and only
// what may be one is passed on.
func TestPartsThatDoNotAddUp(t *testing.T) {
	for _, c := range []struct {
		contentRange string
		length       int64
		contentType  string
		want         ActionKind
	}{
		{"bytes 0-4/11", 6, "", ActFail},                      // more bytes than announced
		{"bytes 0-4/11", 4, "", ActFail},                      // fewer
		{"bytes 0-4/11", message.LengthUnknown, "", ActRelay}, // nobody knows
		{"bytes 1-5/11", 5, "", ActRelay},                     // not from where it was asked
		{"bytes 0-3/11", 4, "", ActRelay},                     // not to where it was asked
		{"bytes 5-9/11", 5, "", ActFail},                      // nothing of what was asked
		{"bytes 0-4/3", 5, "", ActFail},                       // beyond the end
		{"bytes 4-0/11", 5, "", ActFail},                      // backwards
		{"bytes 0-4/*", 5, "", ActRelay},                      // of what?
		{"bytes 0-4/*", 6, "", ActFail},
		{"bytes 4-0/*", 5, "", ActFail},
		{"bytes */11", 5, "", ActFail}, // a 416's
		{"lines 0-4/11", 5, "", ActRelay},
		{"", 5, "", ActFail},
		{"", 5, "text/plain", ActFail},
		{"", 5, "multipart/byteranges; boundary=x", ActRelay},
	} {
		req := &message.Request{Method: "GET", Scheme: "http", Authority: []byte("example.com"), Target: []byte("/a"), PathLen: 2}
		req.Fields.AddString("Range", "bytes=0-4")
		resp := &message.Response{Status: 206, Length: c.length}
		resp.Fields.AddString("Cache-Control", "max-age=60")
		resp.Fields.AddString("ETag", `"x"`)
		if c.contentRange != "" {
			resp.Fields.AddString("Content-Range", c.contentRange)
		}
		resp.Fields.AddString("Content-Type", c.contentType)
		policy := DefaultPolicy()
		policy.Chunk = 0
		var m HTTPCache
		m.Start(policy, req, walkNow)
		if a := m.Step(Event{Kind: EventFound}, walkNow); a.Kind != ActFetch || a.Form != FormAsIs {
			t.Fatalf("%v in form %d for a range", a.Kind, a.Form)
		}
		if a := m.Step(Event{Kind: EventResponse, Response: resp}, walkNow); a.Kind != c.want {
			t.Errorf("Content-Range %q with %d bytes leads to %v, want %v", c.contentRange, c.length, a.Kind, c.want)
		}
	}
}
