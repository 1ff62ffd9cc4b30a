package proxy

import (
	"bytes"
	"slices"
	"unicode/utf8"

	"edge/message"
	"edge/message/sf"
)

// No-Vary-Search, draft-ietf-httpbis-no-vary-search: a response says which
// parameters of the query, and whether their order, made no difference to it,
// so that it answers requests for other URIs of the same path too. This file is
// the field and what it makes of a query; searchkey.go is its part in the key.

// searchRule is what a No-Vary-Search field says: the draft's "URL variation
// config", other than the default. Immutable.
type searchRule struct {
	// names are the parameters that make no difference, or with except the only
	// ones that do. Decoded, sorted, each once.
	names  []string
	except bool
	// anyOrder: the order of parameters of different names makes none either.
	anyOrder bool
	// text is the field's value as it came, for comparing in passing.
	text string
}

// The bounds of a rule. What exceeds them is treated as what cannot be parsed:
// as if the field were absent.
const (
	maxRuleText  = 4096 // octets of the field's value
	maxRuleNames = 128
)

// equal reports whether two rules mean the same.
func (r *searchRule) equal(s *searchRule) bool {
	return r.except == s.except && r.anyOrder == s.anyOrder && slices.Equal(r.names, s.names)
}

// ruleOf returns the rule of a response, nil where there is none: no field, one
// that cannot be parsed, or one that says what is so anyway.
func ruleOf(f *message.Fields) *searchRule {
	var room [1][]byte
	lines, size := room[:0], 0
	for i := f.Next(message.FieldNoVarySearch, 0); i >= 0; i = f.Next(message.FieldNoVarySearch, i+1) {
		lines = append(lines, f.All()[i].Value)
		size += len(f.All()[i].Value)
	}
	if len(lines) == 0 || size > maxRuleText {
		return nil
	}
	return parseSearchRule(lines)
}

// parseSearchRule is section 4.1 of the draft. "this algorithm is strict and
// tends to return the default URL variation config whenever it sees something
// it doesn't recognize"; but unknown members are ignored.
//
// By its steps a field without params and except would be the default, key-order
// or not; by its introduction and its examples, "No-Vary-Search: key-order"
// stands alone. The examples are followed.
func parseSearchRule(lines [][]byte) *searchRule {
	members, err := sf.ParseDictionary(lines)
	if err != nil {
		return nil
	}
	r := &searchRule{text: string(bytes.Join(lines, []byte(", ")))}
	params, except := false, false
	for i := range members {
		item := &members[i].Item
		switch members[i].Key {
		case "key-order":
			if item.Kind != sf.Boolean {
				return nil
			}
			r.anyOrder = item.Boolean
		case "params":
			params = true
			if !r.takeNames(item) {
				return nil
			}
		case "except":
			except = true
			if !r.takeNames(item) {
				return nil
			}
		}
	}
	// "If both value["params"] and value["except"] exist ... return the default".
	if params && except {
		return nil
	}
	r.except = except
	if !r.except && len(r.names) == 0 && !r.anyOrder {
		return nil // "params=()": "(omit the header field)"
	}
	return r
}

// takeNames decodes an inner list of strings.
func (r *searchRule) takeNames(item *sf.Item) bool {
	if item.Kind != sf.InnerList || len(item.List) > maxRuleNames {
		return false
	}
	for _, x := range item.List {
		if x.Kind != sf.String {
			return false
		}
		r.names = append(r.names, string(appendDecoded(nil, []byte(x.Text))))
	}
	slices.Sort(r.names)
	r.names = slices.Compact(r.names)
	return true
}

// counts reports whether a parameter of a decoded name makes a difference.
func (r *searchRule) counts(name []byte) bool {
	_, listed := slices.BinarySearchFunc(r.names, name, func(s string, b []byte) int {
		switch {
		case s < string(b):
			return -1
		case s > string(b):
			return 1
		}
		return 0
	})
	return listed == r.except
}

// searchQuery is room for normalising queries. Owner: one exchange.
type searchQuery struct {
	params  []searchParam
	decoded []byte
}

// searchParam is one parameter: decoded[name:value] is its name, and
// decoded[value:end] its value.
type searchParam struct{ name, value, end int }

// appendNormal appends to dst what of a query, without its "?", makes a
// difference under r: the same for two queries if and only if they are
// "equivalent modulo variation config" (section 5 of the draft), and for none
// and an empty one. It is a list of length-prefixed decoded names and values.
func (q *searchQuery) appendNormal(dst, query []byte, r *searchRule) []byte {
	q.params, q.decoded = q.params[:0], q.decoded[:0]
	for len(query) > 0 {
		var param []byte
		param, query, _ = bytes.Cut(query, []byte{'&'})
		if len(param) == 0 {
			continue // "Parsing splits on & and discards empty strings"
		}
		name, value, _ := bytes.Cut(param, []byte{'='})
		p := searchParam{name: len(q.decoded)}
		q.decoded = appendDecoded(q.decoded, name)
		p.value = len(q.decoded)
		if !r.counts(q.decoded[p.name:]) {
			q.decoded = q.decoded[:p.name]
			continue
		}
		q.decoded = appendDecoded(q.decoded, value)
		p.end = len(q.decoded)
		q.params = append(q.params, p)
	}
	if r.anyOrder {
		// Any order will do that is the same each time and keeps the order of
		// equal names; the draft's is by UTF-16 code units.
		slices.SortStableFunc(q.params, func(a, b searchParam) int {
			return bytes.Compare(q.decoded[a.name:a.value], q.decoded[b.name:b.value])
		})
	}
	for _, p := range q.params {
		dst = appendPart(dst, q.decoded[p.name:p.value])
		dst = appendPart(dst, q.decoded[p.value:p.end])
	}
	return dst
}

// appendDecoded decodes a name or value as the application/x-www-form-urlencoded
// parser does (URL Living Standard section 5.1): "+" is a space, then
// percent-decoding, then UTF-8 decoding without BOM.
func appendDecoded(dst, s []byte) []byte {
	start := len(dst)
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '+':
			dst = append(dst, ' ')
		case c == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]):
			dst = append(dst, unhex(s[i+1])<<4|unhex(s[i+2]))
			i += 2
		default:
			dst = append(dst, c)
		}
	}
	if utf8.Valid(dst[start:]) {
		return dst
	}
	raw := bytes.Clone(dst[start:])
	return appendUTF8(dst[:start], raw)
}

// appendUTF8 replaces what is not UTF-8 by U+FFFD: once for every longest
// beginning of a sequence, as the Encoding Standard's decoder does.
func appendUTF8(dst, b []byte) []byte {
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n == 1 {
			n = brokenLength(b)
		}
		dst = utf8.AppendRune(dst, r)
		b = b[n:]
	}
	return dst
}

// brokenLength is how many bytes of b, which does not begin with UTF-8, could
// be the beginning of some.
func brokenLength(b []byte) int {
	low, high, need := byte(0x80), byte(0xbf), 0
	switch c := b[0]; {
	case c >= 0xc2 && c <= 0xdf:
		need = 1
	case c >= 0xe0 && c <= 0xef:
		need = 2
		if c == 0xe0 {
			low = 0xa0
		} else if c == 0xed {
			high = 0x9f
		}
	case c >= 0xf0 && c <= 0xf4:
		need = 3
		if c == 0xf0 {
			low = 0x90
		} else if c == 0xf4 {
			high = 0x8f
		}
	}
	n := 1
	for n <= need && n < len(b) && low <= b[n] && b[n] <= high {
		n++
		low, high = 0x80, 0xbf
	}
	return n
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func unhex(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c <= 'F':
		return c - 'A' + 10
	}
	return c - 'a' + 10
}
