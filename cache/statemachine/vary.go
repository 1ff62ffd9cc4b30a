package statemachine

import (
	"bytes"

	"edge/message"
)

// The nominated block. What Vary nominates is kept as one line for each name,
// in Vary's order, names in lower case and each once:
//
//	"accept-encoding: br, gzip\r\n"  the request had it; the value is normalised
//	"accept-language\r\n"            the request had none
//
// RFC 9111 section 4.1: "If (after any normalization that might take place) a
// header field is absent from a request, it can only match another request if
// it is also absent there." Two requests match under a Vary when they make the
// same block.

// maxVaryNames bounds how many fields a Vary may nominate; what nominates more
// counts as "*", since every look-up pays for every name.
const maxVaryNames = 64

// nominatedRoom is the room that a nominated block begins with: enough for the
// usual Vary.
const nominatedRoom = 128

// varyAny reports whether Vary has a "*": "A stored response with a Vary header
// field value containing a member "*" always fails to match." (section 4.1)
func varyAny(f *message.Fields) bool {
	n := 0
	for i := f.Next(message.FieldVary, 0); i >= 0; i = f.Next(message.FieldVary, i+1) {
		l := list{rest: f.All()[i].Value}
		for name, ok := l.next(); ok; name, ok = l.next() {
			// What is no field name nominates something that we cannot see.
			if n++; name[0] == '*' || n > maxVaryNames || !isToken(name) || isOurs(name) {
				return true
			}
		}
	}
	return false
}

// isOurs reports whether the node itself writes the field's value, from the
// client's address: what the client sent is not what the origin saw.
func isOurs(name []byte) bool {
	id := message.LookupFieldID(name)
	return id == message.FieldXForwardedFor || id == message.FieldForwarded
}

// nominate returns the nominated block of req under the Vary of the response
// fields f: nil where there is none, and any where Vary matches nothing.
func nominate(req *message.Request, f *message.Fields) (block []byte, any bool) {
	if !f.Has(message.FieldVary) {
		return nil, false
	}
	if varyAny(f) {
		return nil, true
	}
	for i := f.Next(message.FieldVary, 0); i >= 0; i = f.Next(message.FieldVary, i+1) {
		l := list{rest: f.All()[i].Value}
		for name, ok := l.next(); ok; name, ok = l.next() {
			if block == nil {
				block = make([]byte, 0, nominatedRoom)
			}
			if !isNominated(block, name) {
				block = appendNominated(block, req, name)
			}
		}
	}
	return block, false
}

// isNominated reports whether a block has a line for name.
func isNominated(block, name []byte) bool {
	for len(block) > 0 {
		var line []byte
		line, block = message.CutLine(block)
		if n, _, _ := cutNominated(line); message.EqualFold(n, name) {
			return true
		}
	}
	return false
}

// cutNominated cuts a line of a nominated block.
func cutNominated(line []byte) (name, value []byte, present bool) {
	i := bytes.IndexByte(line, ':')
	if i < 0 {
		return line, nil, false
	}
	name, value = message.SplitLine(line)
	return name, value, true
}

// appendNominated appends the line for one name.
func appendNominated(dst []byte, req *message.Request, name []byte) []byte {
	dst = appendLower(dst, name)
	if i := req.Fields.NextName(name, 0); i >= 0 {
		dst = append(dst, ": "...)
		dst = appendNormalised(dst, &req.Fields, name, i)
	}
	return append(dst, "\r\n"...)
}

// sameNominated reports whether a block has a line for every name that the Vary
// of f nominates. "*" nominates what no block has.
func sameNominated(block []byte, f *message.Fields) bool {
	if varyAny(f) {
		return false
	}
	for i := f.Next(message.FieldVary, 0); i >= 0; i = f.Next(message.FieldVary, i+1) {
		l := list{rest: f.All()[i].Value}
		for name, ok := l.next(); ok; name, ok = l.next() {
			if !isNominated(block, name) {
				return false
			}
		}
	}
	return true
}

// variantOf returns the block that req has under the names s was stored under.
func variantOf(req *message.Request, s *message.Stored) []byte {
	block := make([]byte, 0, len(s.Nominated)+nominatedRoom)
	for rest := s.Nominated; len(rest) > 0; {
		var line []byte
		line, rest = message.CutLine(rest)
		name, _, _ := cutNominated(line)
		block = appendNominated(block, req, name)
	}
	return block
}

// matchesVary reports whether req's nominated fields match those that s was
// stored for. RFC 9111 section 4.1: "the cache MUST NOT use that stored
// response without revalidation unless all the presented request header fields
// nominated by that Vary field value match those fields in the original
// request". It does not allocate for values of ordinary length.
func matchesVary(req *message.Request, s *message.Stored) bool {
	if s.Terms.Flags.Has(message.TermVaryAny) {
		return false
	}
	for rest := s.Nominated; len(rest) > 0; {
		var line []byte
		line, rest = message.CutLine(rest)
		name, want, present := cutNominated(line)
		if !matchesNominated(&req.Fields, name, want, present) {
			return false
		}
	}
	return true
}

// normalisedRoom is the length up to which a value is normalised on the stack.
const normalisedRoom = 512

func matchesNominated(f *message.Fields, name, want []byte, present bool) bool {
	i := f.NextName(name, 0)
	if i < 0 || !present {
		return i < 0 && !present
	}
	// Normalising is idempotent, so bytes that equal a normal form are one.
	if bytes.Equal(f.All()[i].Value, want) && f.NextName(name, i+1) < 0 {
		return true
	}
	var room [normalisedRoom]byte
	return bytes.Equal(appendNormalised(room[:0], f, name, i), want)
}

// appendNormalised appends the value of a field, whose first line is at i, in
// normal form. RFC 9111 section 4.1: fields match "if and only if those in the
// first request can be transformed to those in the second request by applying
// any of the following: adding or removing whitespace, where allowed in the
// header field's syntax; combining multiple header field lines with the same
// field name; normalizing both header field values in a way that is known to
// have identical semantics, according to the header field's specification
// (e.g., reordering field values when order is not significant;
// case-normalization, where values are defined to be case-insensitive)".
func appendNormalised(dst []byte, f *message.Fields, name []byte, i int) []byte {
	switch f.All()[i].ID {
	case message.FieldAcceptEncoding, message.FieldAcceptLanguage:
		var p preferences
		if p.read(f, name, i) {
			return p.append(dst)
		}
	case message.FieldCookie:
		// RFC 9113 section 8.2.3: crumbs are joined by "; ".
		return appendJoined(dst, f, name, i, "; ")
	case message.FieldAuthorization, message.FieldHost, message.FieldOrigin, message.FieldReferer, message.FieldUserAgent:
		// No lists: a space after a comma is part of the value.
		return appendJoined(dst, f, name, i, ", ")
	}
	return appendList(dst, f, name, i)
}

func appendJoined(dst []byte, f *message.Fields, name []byte, i int, separator string) []byte {
	for first := true; i >= 0; i, first = f.NextName(name, i+1), false {
		if !first {
			dst = append(dst, separator...)
		}
		dst = append(dst, f.All()[i].Value...)
	}
	return dst
}

// appendList joins the lines of a field with exactly one space after each comma
// outside quoted-strings and none before it. Empty elements go.
func appendList(dst []byte, f *message.Fields, name []byte, i int) []byte {
	for first := true; i >= 0; i = f.NextName(name, i+1) {
		l := list{rest: f.All()[i].Value}
		for element, ok := l.next(); ok; element, ok = l.next() {
			if !first {
				dst = append(dst, ", "...)
			}
			first = false
			dst = append(dst, element...)
		}
	}
	return dst
}
