package h1

import (
	"encoding/binary"
	"math/bits"
)

// The classes of octets that the grammar is made of, as tables.
var (
	// isToken: tchar, RFC 9110 section 5.6.2.
	isToken [256]bool
	// isTarget: what a request target may hold: visible ASCII but "#". That is
	// wider than RFC 3986, whose excluded characters (such as "|") are seen in
	// ordinary traffic and delimit nothing.
	isTarget [256]bool
	// isHost: what we accept in a host name: RFC 3986's reg-name without
	// pct-encoded, which some decode and some do not, and without ",", which
	// makes a list of it to some.
	isHost [256]bool
	// hexValue: the value of a hexadecimal digit, 0xff for any other octet.
	hexValue [256]uint8
)

func init() {
	for i := range hexValue {
		hexValue[i] = 0xff
	}
	for c := '0'; c <= '9'; c++ {
		isToken[c], isHost[c], hexValue[c] = true, true, uint8(c-'0')
	}
	for c := 'a'; c <= 'z'; c++ {
		isToken[c], isToken[c-0x20] = true, true
		isHost[c], isHost[c-0x20] = true, true
	}
	for c := 'a'; c <= 'f'; c++ {
		hexValue[c], hexValue[c-0x20] = uint8(c-'a'+10), uint8(c-'a'+10)
	}
	for _, c := range "!#$%&'*+-.^_`|~" {
		isToken[c] = true
	}
	for _, c := range "-._~!$&'()*+;=" {
		isHost[c] = true
	}
	for c := 0x21; c <= 0x7e; c++ {
		isTarget[c] = c != '#'
	}
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// valueEnd returns the index of the first octet at or after i that no field
// value may hold: a control other than HTAB. It looks at eight octets at a time
// (the lowest flagged octet of each test is exact; borrows disturb only those
// above it).
func valueEnd(b []byte, i int) int {
	for i+8 <= len(b) {
		x := binary.LittleEndian.Uint64(b[i:])
		del := x ^ ones*0x7f
		m := ((x - ones*0x20) &^ x) | ((del - ones) &^ del)
		if m &= highs; m == 0 {
			i += 8
			continue
		}
		i += bits.TrailingZeros64(m) >> 3
		if b[i] != '\t' {
			return i
		}
		i++
	}
	for i < len(b) && (b[i] >= 0x20 && b[i] != 0x7f || b[i] == '\t') {
		i++
	}
	return i
}

// allToken reports whether b is a token: one tchar or more.
func allToken(b []byte) bool {
	for _, c := range b {
		if !isToken[c] {
			return false
		}
	}
	return len(b) > 0
}

// equalFold compares b to a lower-case constant of letters, digits and "-".
func equalFold(b []byte, lower string) bool {
	if len(b) != len(lower) {
		return false
	}
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// eachMember calls f with every non-empty member of a comma-separated list
// (RFC 9110 section 5.6.1) until f returns false. It is for lists of tokens: a
// quoted comma is not looked for.
func eachMember(v []byte, f func(member []byte) bool) {
	for len(v) > 0 {
		i := 0
		for i < len(v) && v[i] != ',' {
			i++
		}
		m := trimSpace(v[:i])
		if len(m) > 0 && !f(m) {
			return
		}
		if i == len(v) {
			return
		}
		v = v[i+1:]
	}
}

func trimSpace(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}
