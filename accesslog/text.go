package accesslog

import "unicode/utf8"

const hexDigits = "0123456789abcdef"

// appendText appends v as a JSON string of at most maxValue bytes of v. What a
// client sends is hostile: whatever it is, the result is one valid string on
// one line that a terminal shows as it is. Octets that are not UTF-8 become
// U+FFFD, since JSON has no other (RFC 8259 section 8.1); control characters,
// C1 and the line separators that JavaScript knows are escaped.
func appendText[T string | []byte](b []byte, v T) []byte {
	if len(v) > maxValue {
		v = v[:cutAt(v)]
	}
	b = append(b, '"')
	start := 0
	for i := 0; i < len(v); {
		c := v[i]
		if c < utf8.RuneSelf {
			if c >= 0x20 && c != '"' && c != '\\' && c != 0x7f {
				i++
				continue
			}
			b = append(b, v[start:i]...)
			b = appendEscaped(b, rune(c))
			i++
			start = i
			continue
		}
		r, n := decodeRune(v[i:])
		if r == utf8.RuneError && n == 1 || r < 0xa0 || r == '\u2028' || r == '\u2029' {
			b = append(b, v[start:i]...)
			b = appendEscaped(b, r)
			start = i + n
		}
		i += n
	}
	b = append(b, v[start:]...)
	return append(b, '"')
}

// cutAt is where a value that is too long is cut: not within a character.
func cutAt[T string | []byte](v T) int {
	n := maxValue
	for n > maxValue-utf8.UTFMax && !utf8.RuneStart(v[n]) {
		n--
	}
	return n
}

func decodeRune[T string | []byte](v T) (rune, int) {
	var room [utf8.UTFMax]byte
	return utf8.DecodeRune(room[:copy(room[:], v)])
}

func appendEscaped(b []byte, r rune) []byte {
	switch r {
	case '"', '\\':
		return append(b, '\\', byte(r))
	}
	return append(b, '\\', 'u', hexDigits[r>>12&15], hexDigits[r>>8&15], hexDigits[r>>4&15], hexDigits[r&15])
}
