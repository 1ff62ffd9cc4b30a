package statemachine

import (
	"strconv"

	"edge/message"
)

// Range is a range of bytes [Start, End) of a representation.
type Range struct{ Start, End int64 }

// MaxRanges is how many ranges a request may ask for. RFC 9110 section 14.2: "A
// server that supports range requests MAY ignore or reject a Range header field
// that contains ... a set of many small ranges ..., since these are indications
// of either a broken client or a deliberate denial-of-service attack". What
// asks for more gets the whole.
const MaxRanges = 16

// rangeSet is a parsed and resolved set of ranges.
type rangeSet struct {
	ranges [MaxRanges]Range
	n      int
}

// rangeResult is what became of a Range field.
type rangeResult uint8

const (
	rangeIgnored       rangeResult = iota // absent, invalid, another unit, too many
	rangeSatisfiable                      // at least one range
	rangeUnsatisfiable                    // valid, but nothing there
)

// parse resolves the value of a Range field against a representation of size
// bytes.
//
//	ranges-specifier = range-unit "=" range-set
//	range-set        = 1#range-spec
//
// "A ranges-specifier is invalid if it contains any range-spec that is invalid"
// (RFC 9110 section 14.1.1), and "MAY" be ignored (14.2): it is.
func (r *rangeSet) parse(value []byte, size int64) rangeResult {
	r.n = 0
	const unit = "bytes="
	if len(value) < len(unit) || !message.EqualFoldString(value[:len(unit)], unit) || size <= 0 {
		// "A server that supports range requests MAY ignore a Range header
		// field when the selected representation has no content".
		return rangeIgnored
	}
	specs := 0
	l := list{rest: value[len(unit):], bare: true}
	for spec, ok := l.next(); ok; spec, ok = l.next() {
		x, valid := parseRange(spec, size)
		if specs++; !valid || specs > MaxRanges {
			return rangeIgnored
		}
		if x.Start < x.End {
			r.add(x)
		}
	}
	switch {
	case specs == 0:
		return rangeIgnored
	case r.n == 0:
		return rangeUnsatisfiable
	}
	return rangeSatisfiable
}

// parseRange resolves one range-spec. What is valid but not satisfiable is
// empty.
//
//	int-range    = first-pos "-" [ last-pos ]
//	suffix-range = "-" suffix-length
func parseRange(spec []byte, size int64) (Range, bool) {
	i := 0
	for i < len(spec) && spec[i] != '-' {
		i++
	}
	if i == len(spec) {
		return Range{}, false
	}
	first, last := spec[:i], spec[i+1:]
	if len(first) == 0 {
		// "If the selected representation is shorter than the specified
		// suffix-length, the entire representation is used."
		n, ok := parsePosition(last)
		return Range{size - min(n, size), size}, ok
	}
	start, ok := parsePosition(first)
	if !ok {
		return Range{}, false
	}
	// "If the last-pos value is absent, or if the value is greater than or
	// equal to the current length of the representation data, the byte range
	// is interpreted as the remainder of the representation".
	end := size
	if len(last) > 0 {
		position, ok := parsePosition(last)
		// "An int-range is invalid if the last-pos value is present and less
		// than the first-pos."
		if !ok || position < start {
			return Range{}, false
		}
		if position < size {
			end = position + 1
		}
	}
	return Range{start, max(start, end)}, true
}

// parsePosition parses 1*DIGIT. "recipients MUST anticipate potentially large
// decimal numerals and prevent parsing errors due to integer conversion
// overflows" (RFC 9110 section 14.1.2): it saturates.
func parsePosition(b []byte) (int64, bool) {
	const most = 1<<63 - 1
	n := int64(0)
	for _, c := range b {
		if !isDigit(c) {
			return 0, false
		}
		digit := int64(c - '0')
		if n > (most-digit)/10 {
			n = most
			continue
		}
		n = n*10 + digit
	}
	return n, len(b) > 0
}

// add puts a range in the set. RFC 9110 section 15.3.7.2: "a server MAY coalesce
// any of the ranges that overlap": those that overlap or touch become one, so
// that no byte is sent twice. The others stay "in the same order that the
// corresponding range-spec appeared in the received Range header field".
func (r *rangeSet) add(x Range) {
	// A range that joins two others makes them one, so start over after each
	// union. There are at most MaxRanges of them.
	at := r.n
	for i := 0; i < r.n; {
		y := r.ranges[i]
		if x.Start > y.End || y.Start > x.End {
			i++
			continue
		}
		x = Range{min(x.Start, y.Start), max(x.End, y.End)}
		copy(r.ranges[i:], r.ranges[i+1:r.n])
		r.n--
		at, i = min(at, i), 0
	}
	at = min(at, r.n)
	copy(r.ranges[at+1:r.n+1], r.ranges[at:r.n])
	r.ranges[at] = x
	r.n++
}

// AppendContentRange appends the value of Content-Range for a part: "bytes
// 0-99/1234", RFC 9110 section 14.4. size is the complete length, or
// message.LengthUnknown.
func AppendContentRange(dst []byte, r Range, size int64) []byte {
	dst = append(dst, "bytes "...)
	dst = strconv.AppendInt(dst, r.Start, 10)
	dst = append(dst, '-')
	dst = strconv.AppendInt(dst, r.End-1, 10)
	dst = append(dst, '/')
	if size < 0 {
		return append(dst, '*')
	}
	return strconv.AppendInt(dst, size, 10)
}

// AppendUnsatisfiedRange appends the value of Content-Range for a 416: "bytes
// */1234". RFC 9110 section 15.5.17: "A server that generates a 416 response to
// a byte-range request SHOULD generate a Content-Range header field specifying
// the current length of the selected representation".
func AppendUnsatisfiedRange(dst []byte, size int64) []byte {
	dst = append(dst, "bytes */"...)
	return strconv.AppendInt(dst, size, 10)
}
