package h1

import "math"

// chunkDecoder takes the chunked transfer coding apart (RFC 9112 section 7.1):
//
//	chunked-body = *chunk last-chunk trailer-section CRLF
//	chunk        = chunk-size [ chunk-ext ] CRLF chunk-data CRLF
//
// It keeps its place between any two octets, so that it needs no buffer of its
// own and gives the same verdict however the octets arrive. It stops after the
// last chunk's line; the trailer section is the caller's.
type chunkDecoder struct {
	state    chunkState
	escaped  bool  // in a quoted string, after "\"
	digits   int   // of the chunk size, read so far
	line     int   // octets of the current chunk line
	overhead int   // chunk-line octets not yet paid for by data
	left     int64 // chunk size being read, then data left
}

type chunkState uint8

const (
	chunkSize    chunkState = iota // reading the size; leaves at ";" or CR
	chunkExtName                   // after ";", reading a token; leaves at "=", ";" or CR
	chunkExtVal                    // after "=": a token or a quoted string; leaves at ";" or CR
	chunkQuoted                    // inside a quoted string; leaves at its closing quote
	chunkExtEnd                    // after a quoted string; leaves at ";" or CR
	chunkLineLF                    // after CR; leaves at LF, to data or to the end
	chunkData                      // copying data; leaves when none is left
	chunkDataCR                    // after data, expecting CR
	chunkDataLF                    // after that, expecting LF
	chunkEnd                       // after the last chunk's line
)

// maxChunkDigits bounds the digits of a chunk size, leading zeros counted.
const maxChunkDigits = 16

// maxChunkOverhead bounds how far chunk lines may run ahead of data. Each chunk
// pays for an ordinary line of chunkAllowance and twice its data.
const (
	maxChunkOverhead = 16 << 10
	chunkAllowance   = 16
)

// decode moves data from src to dst until either is used up or the last chunk's
// line has been read (state chunkEnd). It returns how many octets of each it
// used.
func (d *chunkDecoder) decode(dst, src []byte, maxLine int) (nd, ns int, f fault) {
	for ns < len(src) && d.state != chunkEnd {
		if d.state == chunkData {
			n := len(src) - ns
			if int64(n) > d.left {
				n = int(d.left)
			}
			n = copy(dst[nd:], src[ns:ns+n])
			nd, ns = nd+n, ns+n
			if d.left -= int64(n); d.left > 0 {
				return nd, ns, faultNone
			}
			d.state = chunkDataCR
			continue
		}
		if f = d.step(src[ns], maxLine); f != faultNone {
			return nd, ns, f
		}
		ns++
	}
	return nd, ns, faultNone
}

// direct reports how much data may be read straight to the caller, past the
// buffer, and took records that it was.
func (d *chunkDecoder) direct() int64 {
	if d.state != chunkData {
		return 0
	}
	return d.left
}

func (d *chunkDecoder) took(n int) {
	if d.left -= int64(n); d.left == 0 {
		d.state = chunkDataCR
	}
}

// step takes one octet that is not data.
func (d *chunkDecoder) step(c byte, maxLine int) fault {
	if d.state < chunkData {
		if d.line++; d.line > maxLine+2 {
			return faultChunkLineLong
		}
	}
	switch d.state {
	case chunkSize:
		return d.stepSize(c)
	case chunkExtName, chunkExtVal, chunkExtEnd, chunkQuoted:
		return d.stepExtension(c)
	case chunkLineLF:
		if c != '\n' {
			return faultBareCR
		}
		return d.endLine()
	case chunkDataCR:
		if c != '\r' {
			return faultChunkEnd
		}
		d.state = chunkDataLF
	case chunkDataLF:
		if c != '\n' {
			return faultChunkEnd
		}
		d.state, d.left, d.digits, d.line = chunkSize, 0, 0, 0
	case chunkData, chunkEnd: // no octet of theirs comes here
	}
	return faultNone
}

// stepSize: "recipients MUST anticipate potentially large hexadecimal numerals
// and prevent parsing errors due to integer conversion overflows" (section 7.1).
func (d *chunkDecoder) stepSize(c byte) fault {
	if v := hexValue[c]; v != 0xff {
		if d.digits++; d.digits > maxChunkDigits || d.left > math.MaxInt64>>4 {
			return faultChunkSize
		}
		d.left = d.left<<4 | int64(v)
		return faultNone
	}
	switch {
	case d.digits == 0:
		return faultChunkSize
	case c == '\r':
		d.state = chunkLineLF
	case c == ';':
		d.state, d.digits = chunkExtName, 0
	case c == '\n':
		return faultBareLF
	default:
		return faultChunkSize
	}
	return faultNone
}

// stepExtension checks what it throws away: "A recipient MUST ignore
// unrecognized chunk extensions" (section 7.1.1). The bad whitespace of the
// grammar is refused: a parser that stops at it sees another line. digits
// counts the octets of the token being read.
func (d *chunkDecoder) stepExtension(c byte) fault {
	switch {
	case d.state == chunkQuoted:
		return d.stepQuoted(c)
	case c == '\n':
		return faultBareLF
	case isToken[c] && d.state != chunkExtEnd:
		d.digits++
	case c == '"' && d.state == chunkExtVal && d.digits == 0:
		d.state, d.escaped = chunkQuoted, false
	case d.digits == 0 && d.state != chunkExtEnd:
		return faultChunkExtension // an empty name or value
	case c == ';':
		d.state, d.digits = chunkExtName, 0
	case c == '=' && d.state == chunkExtName:
		d.state, d.digits = chunkExtVal, 0
	case c == '\r':
		d.state = chunkLineLF
	default:
		return faultChunkExtension
	}
	return faultNone
}

func (d *chunkDecoder) stepQuoted(c byte) fault {
	switch {
	case c < 0x20 || c == 0x7f:
		return faultChunkExtension
	case d.escaped:
		d.escaped = false
	case c == '\\':
		d.escaped = true
	case c == '"':
		d.state = chunkExtEnd
	}
	return faultNone
}

// endLine charges the line: "A server ought to limit the total length of chunk
// extensions received in a request to an amount reasonable for the services
// provided" (section 7.1.1).
func (d *chunkDecoder) endLine() fault {
	d.overhead += d.line - chunkAllowance
	if d.left < maxChunkOverhead {
		d.overhead -= 2 * int(d.left)
	} else {
		d.overhead = 0
	}
	d.overhead = max(d.overhead, 0)
	if d.overhead > maxChunkOverhead {
		return faultChunkOverhead
	}
	d.state = chunkData
	if d.left == 0 {
		d.state = chunkEnd
	}
	return faultNone
}
