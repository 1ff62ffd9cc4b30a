package statemachine

import (
	"bytes"

	"edge/message"
)

// maxPreferences is how many members of Accept-Encoding or Accept-Language are
// put in order; longer ones are compared as they stand.
const maxPreferences = 24

// preferences are the members of Accept-Encoding (RFC 9110 section 12.5.3) or
// Accept-Language (12.5.4). Their order says nothing ("this behavior cannot be
// relied upon"), their names are case-insensitive, and a missing weight is 1,
// so the normal form is lower case, sorted, without white space, and with the
// shortest weights.
type preferences struct {
	members [maxPreferences]preference
	n       int
}

// preference is one member: a content coding or language range, and its
// weight in thousandths.
type preference struct {
	name   []byte
	weight int
}

// read parses the lines of a field, the first at i. It reports false for what
// does not follow the grammar, or is too long.
func (p *preferences) read(f *message.Fields, name []byte, i int) bool {
	for ; i >= 0; i = f.NextName(name, i+1) {
		l := list{rest: f.All()[i].Value, bare: true}
		for element, ok := l.next(); ok; element, ok = l.next() {
			member, valid := parsePreference(element)
			if !valid || p.n == maxPreferences {
				return false
			}
			p.insert(member)
		}
	}
	return true
}

// insert keeps the members sorted, a repeated one once.
func (p *preferences) insert(x preference) {
	at := p.n
	for at > 0 && x.before(p.members[at-1]) {
		at--
	}
	if at > 0 && !p.members[at-1].before(x) {
		return
	}
	copy(p.members[at+1:p.n+1], p.members[at:p.n])
	p.members[at] = x
	p.n++
}

// before orders by name without case, then by weight.
func (x preference) before(y preference) bool {
	for i := 0; i < len(x.name) && i < len(y.name); i++ {
		if a, b := lowerByte(x.name[i]), lowerByte(y.name[i]); a != b {
			return a < b
		}
	}
	if len(x.name) != len(y.name) {
		return len(x.name) < len(y.name)
	}
	return x.weight < y.weight
}

func (p *preferences) append(dst []byte) []byte {
	for i, x := range p.members[:p.n] {
		if i > 0 {
			dst = append(dst, ", "...)
		}
		dst = appendLower(dst, x.name)
		if x.weight != 1000 {
			dst = append(dst, ";q=0"...)
			if x.weight > 0 {
				dst = append(dst, '.')
				dst = append(dst, bytes.TrimRight(appendDigits(make([]byte, 0, 3), x.weight, 100), "0")...)
			}
		}
	}
	return dst
}

// parsePreference parses a member with its weight, RFC 9110 section 12.4.2:
//
//	weight = OWS ";" OWS "q=" qvalue
func parsePreference(element []byte) (preference, bool) {
	name, rest, weighted := bytes.Cut(element, []byte{';'})
	x := preference{name: trimOWS(name), weight: 1000}
	if !isToken(x.name) {
		return x, false
	}
	if !weighted {
		return x, true
	}
	rest = trimOWS(rest)
	if len(rest) < 3 || rest[0]|0x20 != 'q' || rest[1] != '=' {
		return x, false
	}
	var ok bool
	x.weight, ok = parseWeight(rest[2:])
	return x, ok
}

// parseWeight parses a qvalue into thousandths:
//
//	qvalue = ( "0" [ "." 0*3DIGIT ] ) / ( "1" [ "." 0*3("0") ] )
func parseWeight(b []byte) (int, bool) {
	if len(b) > 5 || (b[0] != '0' && b[0] != '1') || (len(b) > 1 && b[1] != '.') {
		return 0, false
	}
	n := int(b[0]-'0') * 1000
	for i, unit := 2, 100; i < len(b); i, unit = i+1, unit/10 {
		if !isDigit(b[i]) {
			return 0, false
		}
		n += int(b[i]-'0') * unit
	}
	return n, n <= 1000
}
