package statemachine

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"edge/message"
)

// RFC 9110 section 13.2.2 and RFC 9111 section 4.3.2, for a representation of
// 1000 bytes.
func TestSelect(t *testing.T) {
	etag, weak := `ETag: "x"`, `ETag: W/"x"`
	date, lm := "Date: "+dateAt(0), "Last-Modified: "+dateAt(-1000)
	for _, tc := range []struct {
		name   string
		stored []string
		req    []string
		want   string
	}{
		{"no conditions", []string{etag}, nil, "200"},

		{"If-None-Match", []string{etag}, []string{`If-None-Match: "x"`}, "304"},
		{"weak comparison", []string{weak}, []string{`If-None-Match: "x"`}, "304"},
		{"weak comparison the other way", []string{etag}, []string{`If-None-Match: W/"x"`}, "304"},
		{"a list", []string{etag}, []string{`If-None-Match: "a", ,"b,c","x" , "y"`}, "304"},
		{"lines", []string{etag}, []string{`If-None-Match: "a"`, `If-None-Match: "x"`}, "304"},
		{"none listed", []string{etag}, []string{`If-None-Match: "a", "b"`}, "200"},
		{"within another tag", []string{etag}, []string{`If-None-Match: "a,"x",b"`}, "200"},
		{"unquoted", []string{etag}, []string{`If-None-Match: x`}, "200"},
		{"junk before", []string{etag}, []string{`If-None-Match: x, "x"`}, "304"},
		{"junk behind", []string{etag}, []string{`If-None-Match: "x"y`}, "200"},
		{"any", nil, []string{"If-None-Match: *"}, "304"},
		{"any among others is not", []string{etag}, []string{`If-None-Match: *, "a"`}, "200"},
		{"nothing to match", []string{lm}, []string{`If-None-Match: "x"`}, "200"},
		// "A recipient MUST ignore If-Modified-Since if the request contains an
		// If-None-Match header field"
		{"If-None-Match outranks", []string{etag, lm}, []string{`If-None-Match: "y"`, "If-Modified-Since: " + dateAt(0)}, "200"},

		{"modified at", []string{lm}, []string{"If-Modified-Since: " + dateAt(-1000)}, "304"},
		{"modified before", []string{lm}, []string{"If-Modified-Since: " + dateAt(-999)}, "304"},
		{"modified after", []string{lm}, []string{"If-Modified-Since: " + dateAt(-1001)}, "200"},
		{"obsolete format", []string{"Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT"}, []string{"If-Modified-Since: Sunday, 06-Nov-94 08:49:37 GMT"}, "304"},
		{"not a date", []string{lm}, []string{"If-Modified-Since: now"}, "200"},
		{"two dates", []string{lm}, []string{"If-Modified-Since: " + dateAt(0), "If-Modified-Since: " + dateAt(0)}, "200"},
		// "a cache SHOULD use the stored response's Date field value (or, if no
		// Date field is present, the time that the stored response was
		// received)"
		{"by Date", []string{"Date: " + dateAt(-10)}, []string{"If-Modified-Since: " + dateAt(-10)}, "304"},
		{"before Date", []string{"Date: " + dateAt(-10)}, []string{"If-Modified-Since: " + dateAt(-11)}, "200"},
		{"by receipt", nil, []string{"If-Modified-Since: " + dateAt(0)}, "304"},
		{"before receipt", nil, []string{"If-Modified-Since: " + dateAt(-1)}, "200"},

		// "the If-Match and If-Unmodified-Since conditional header fields are
		// not applicable to a cache"
		{"If-Match", []string{etag}, []string{`If-Match: "y"`}, "200"},
		{"If-Unmodified-Since", []string{lm}, []string{"If-Unmodified-Since: " + dateAt(-2000)}, "200"},

		{"range", nil, []string{"Range: bytes=0-99"}, "206 0-100"},
		{"304 before range", []string{etag}, []string{`If-None-Match: "x"`, "Range: bytes=0-99"}, "304"},
		{"range after a failed match", []string{etag}, []string{`If-None-Match: "y"`, "Range: bytes=0-99"}, "206 0-100"},
		{"unsatisfiable", nil, []string{"Range: bytes=1000-"}, "416"},
		{"two Range lines", nil, []string{"Range: bytes=0-1", "Range: bytes=0-2"}, "200"},

		{"If-Range", []string{etag}, []string{`If-Range: "x"`, "Range: bytes=0-99"}, "206 0-100"},
		{"If-Range of another", []string{etag}, []string{`If-Range: "y"`, "Range: bytes=0-99"}, "200"},
		{"If-Range, weak", []string{weak}, []string{`If-Range: W/"x"`, "Range: bytes=0-99"}, "200"},
		{"If-Range, no match for an unsatisfiable", []string{etag}, []string{`If-Range: "y"`, "Range: bytes=5000-"}, "200"},
		{"If-Range without Range", []string{etag}, []string{`If-Range: "y"`}, "200"},
		{"If-Range by date", []string{date, lm}, []string{"If-Range: " + dateAt(-1000), "Range: bytes=0-99"}, "206 0-100"},
		{"If-Range by another date", []string{date, lm}, []string{"If-Range: " + dateAt(-999), "Range: bytes=0-99"}, "200"},
		{"If-Range by a weak date", []string{lm}, []string{"If-Range: " + dateAt(-1000), "Range: bytes=0-99"}, "200"},
		{"If-Range on two lines", []string{etag}, []string{`If-Range: "x"`, `If-Range: "x"`, "Range: bytes=0-99"}, "200"},
		{"If-Range, junk", []string{etag}, []string{"If-Range: x", "Range: bytes=0-99"}, "200"},
	} {
		got := Select(getRequest(tc.req...), stored(tc.stored...), 1000)
		if text := describe(&got); text != tc.want {
			t.Errorf("%s: %s, want %s", tc.name, text, tc.want)
		}
	}
}

func describe(sel *Selection) string {
	text := fmt.Sprint(sel.Status)
	for _, r := range sel.Ranges() {
		text += fmt.Sprintf(" %d-%d", r.Start, r.End)
	}
	return text
}

// Preconditions and ranges are for 200 only, ranges for GET only, and only
// where the size is known.
func TestSelectElsewhere(t *testing.T) {
	req := getRequest(`If-None-Match: "x"`, "Range: bytes=0-1")
	if got := Select(req, storedOf(getRequest(), responseOf(404, `ETag: "x"`), DefaultPolicy()), 10); got.Status != 404 {
		t.Errorf("stored 404: %d", got.Status)
	}
	req = getRequest("Range: bytes=0-1")
	if got := Select(req, stored(), message.LengthUnknown); got.Status != 200 {
		t.Errorf("unknown size: %d", got.Status)
	}
	req.Method = message.MethodHead
	if got := Select(req, stored(), 10); got.Status != 200 {
		t.Errorf("HEAD with a range: %d", got.Status)
	}
}

func TestRanges(t *testing.T) {
	for _, tc := range []struct {
		value string
		size  int64
		want  string // "" is ignored, "416" unsatisfiable
	}{
		// RFC 9110 section 14.1.2's own examples.
		{"bytes=0-499", 10000, "0-500"},
		{"bytes=500-999", 10000, "500-1000"},
		{"bytes=-500", 10000, "9500-10000"},
		{"bytes=9500-", 10000, "9500-10000"},
		{"bytes=0-0,-1", 10000, "0-1 9999-10000"},
		{"bytes= 0-999, 4500-5499, -1000", 10000, "0-1000 4500-5500 9000-10000"},
		{"bytes=500-600,601-999", 10000, "500-1000"},
		{"bytes=500-700,601-999", 10000, "500-1000"},

		{"Bytes=0-0", 10, "0-1"},
		{"bytes=0-99999999999999999999999", 10, "0-10"},
		{"bytes=99999999999999999999999-", 10, "416"},
		{"bytes=-99999999999999999999999", 10, "0-10"},
		{"bytes=5-5", 10, "5-6"},
		{"bytes=9-9", 10, "9-10"},
		{"bytes=10-10", 10, "416"},
		{"bytes=-0", 10, "416"},
		{"bytes=-0,20-30", 10, "416"},
		{"bytes=-0,3-4", 10, "3-5"},
		{"bytes=3-2", 10, ""},
		{"bytes=0-1,3-2", 10, ""},
		{"bytes=", 10, ""},
		{"bytes=,", 10, ""},
		{"bytes", 10, ""},
		{"bytes=-", 10, ""},
		{"bytes=1", 10, ""},
		{"bytes=a-b", 10, ""},
		{"bytes=1-2-3", 10, ""},
		{"bytes=+1-2", 10, ""},
		{"bytes =0-1", 10, ""},
		{"seconds=0-1", 10, ""},
		{"bytes=0-", 0, ""},
		{"bytes=-5", 0, ""},

		// Order is kept; what overlaps or touches is one part.
		{"bytes=900-909,0-9", 1000, "900-910 0-10"},
		{"bytes=900-909,0-9,500-509", 1000, "900-910 0-10 500-510"},
		{"bytes=900-909,0-9,905-920", 1000, "900-921 0-10"},
		{"bytes=0-9,300-309,5-305", 1000, "0-310"},
		{"bytes=10-19,0-9", 1000, "0-20"},
		{"bytes=0-9,11-19", 1000, "0-10 11-20"},
		{"bytes=" + strings.Repeat("0-,", MaxRanges), 10, "0-10"},
		{"bytes=" + strings.Repeat("0-,", MaxRanges+1), 10, ""},
		{"bytes=" + manyRanges(MaxRanges), 1 << 20, strings.TrimSpace(manyParts(MaxRanges))},
	} {
		var set rangeSet
		got := ""
		switch set.parse([]byte(tc.value), tc.size) {
		case rangeUnsatisfiable:
			got = "416"
		case rangeSatisfiable:
			for _, r := range set.ranges[:set.n] {
				got += fmt.Sprintf(" %d-%d", r.Start, r.End)
			}
		}
		if got = strings.TrimSpace(got); got != tc.want {
			t.Errorf("%s of %d: %q, want %q", tc.value, tc.size, got, tc.want)
		}
	}
}

func manyRanges(n int) (value string) {
	for i := range n {
		value += fmt.Sprintf("%d-%d,", i*1000, i*1000)
	}
	return value
}

func manyParts(n int) (parts string) {
	for i := range n {
		parts += fmt.Sprintf("%d-%d ", i*1000, i*1000+1)
	}
	return parts
}

func TestContentRange(t *testing.T) {
	for want, got := range map[string][]byte{
		"bytes 0-99/1234": AppendContentRange(nil, Range{0, 100}, 1234),
		"bytes 5-5/*":     AppendContentRange(nil, Range{5, 6}, message.LengthUnknown),
		"bytes */1234":    AppendUnsatisfiedRange(nil, 1234),
	} {
		if string(got) != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func TestSelectDoesNotAllocate(t *testing.T) {
	x := stored(`ETag: "x"`, "Last-Modified: "+dateAt(-1000))
	for name, req := range map[string]*message.Request{
		"plain":             getRequest(),
		"If-None-Match":     getRequest(`If-None-Match: "a", W/"x"`),
		"If-Modified-Since": getRequest("If-Modified-Since: " + dateAt(0)),
		"one range":         getRequest("Range: bytes=0-99"),
		"ranges":            getRequest("Range: bytes=0-9,500-509,-1", `If-Range: "x"`),
	} {
		var n int
		noAllocs(t, name, func() {
			sel := Select(req, x, 1000)
			n += len(sel.Ranges()) + sel.Status
		})
	}
}

// FuzzRange: what is selected lies within the representation, is not empty,
// does not overlap, holds every byte asked for, and keeps the order asked for.
func FuzzRange(f *testing.F) {
	f.Add("bytes=0-0,-1,500-700,601-999", int64(10000))
	f.Add("bytes=900-909,0-9,905-920", int64(1000))
	f.Add("bytes=99999999999999999999-,5-", int64(1)<<62)
	f.Fuzz(func(t *testing.T, value string, size int64) {
		var set rangeSet
		result := set.parse([]byte(value), size)
		got := set.ranges[:set.n]
		if (result == rangeSatisfiable) != (len(got) > 0) && result != rangeIgnored {
			t.Fatalf("result %d with %d ranges", result, len(got))
		}
		if result != rangeSatisfiable {
			return
		}
		for i, r := range got {
			if r.Start < 0 || r.Start >= r.End || r.End > size {
				t.Fatalf("%v of %d bytes", r, size)
			}
			for _, o := range got[:i] {
				if r.Start < o.End && o.Start < r.End {
					t.Fatalf("%v overlaps %v", r, o)
				}
			}
		}
		last := 0
		l := list{rest: []byte(value)[len("bytes="):], bare: true}
		for spec, ok := l.next(); ok; spec, ok = l.next() {
			asked, _ := parseRange(spec, size)
			if asked.Start >= asked.End {
				continue
			}
			at := slices.IndexFunc(got, func(r Range) bool { return r.Start <= asked.Start && asked.End <= r.End })
			if at < 0 {
				t.Fatalf("%v was asked for and is not in %v", asked, got)
			}
			if at > last+1 {
				t.Fatalf("%v comes too late in %v", asked, got)
			}
			last = max(last, at)
		}
		if last != len(got)-1 {
			t.Fatalf("%v has more than was asked for", got)
		}
	})
}
