package statemachine

// list walks the elements of one comma-separated field value, RFC 9110
// section 5.6.1. Commas within a quoted-string do not separate. A recipient
// "MUST parse and ignore a reasonable number of empty list elements": all of
// them are skipped.
//
// A quoted-string that never ends is none: from there on every comma
// separates. An open quote must not hide the no-store behind it.
type list struct {
	rest []byte
	bare bool // quotes mean nothing any more
}

// next returns the next element without white space around it.
func (l *list) next() ([]byte, bool) {
	for len(l.rest) > 0 {
		n := l.elementLen()
		element := trimOWS(l.rest[:n])
		l.rest = l.rest[min(n+1, len(l.rest)):]
		if len(element) > 0 {
			return element, true
		}
	}
	return nil, false
}

func (l *list) elementLen() int {
	for i := 0; i < len(l.rest); i++ {
		switch l.rest[i] {
		case ',':
			return i
		case '"':
			if l.bare {
				continue
			}
			end := quotedEnd(l.rest[i:])
			if end < 0 {
				// Remembered, so that a value full of open quotes still
				// costs linear work.
				l.bare = true
				continue
			}
			i += end - 1
		}
	}
	return len(l.rest)
}

// quotedEnd returns the length of the quoted-string (RFC 9110 section 5.6.4)
// that b begins with, or -1 where it does not end.
func quotedEnd(b []byte) int {
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return -1
}

// unquote returns the content of a quoted-string, its quotes included in q. It
// allocates only where there is a quoted-pair to undo.
func unquote(q []byte) []byte {
	q = q[1 : len(q)-1]
	for i, c := range q {
		if c == '\\' {
			return unescape(q, i)
		}
	}
	return q
}

func unescape(q []byte, from int) []byte {
	plain := append(make([]byte, 0, len(q)), q[:from]...)
	for i := from; i < len(q); i++ {
		if q[i] == '\\' && i+1 < len(q) {
			i++
		}
		plain = append(plain, q[i])
	}
	return plain
}

func trimOWS(b []byte) []byte {
	for len(b) > 0 && isOWS(b[0]) {
		b = b[1:]
	}
	for len(b) > 0 && isOWS(b[len(b)-1]) {
		b = b[:len(b)-1]
	}
	return b
}

func isOWS(c byte) bool { return c == ' ' || c == '\t' }

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isAlpha(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

// isTokenByte is tchar of RFC 9110 section 5.6.2.
func isTokenByte(c byte) bool {
	switch c {
	case '!', '#', '$', '%', '&', '\'', '*', '+', '-', '.', '^', '_', '`', '|', '~':
		return true
	}
	return isDigit(c) || isAlpha(c)
}

func isToken(b []byte) bool {
	for _, c := range b {
		if !isTokenByte(c) {
			return false
		}
	}
	return len(b) > 0
}

func lowerByte(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + ('a' - 'A')
	}
	return c
}

// appendLower appends b in ASCII lower case.
func appendLower(dst, b []byte) []byte {
	for _, c := range b {
		dst = append(dst, lowerByte(c))
	}
	return dst
}
