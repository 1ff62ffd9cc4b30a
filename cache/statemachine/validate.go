package statemachine

import (
	"bytes"

	"edge/message"
)

// Validators returns the values to validate s with: its entity tag for
// If-None-Match and its Last-Modified, as received, for If-Modified-Since; nil
// where it has none. RFC 9111 section 4.3.1: a cache "MUST send the relevant
// entity tags ... if the entity tags were provided in the stored response(s)
// being validated" and "SHOULD send the Last-Modified value". Both are slices
// of s.Head.
func Validators(s *message.Stored) (etag, lastModified []byte) {
	if s.Terms.LastModified != 0 {
		lastModified = headValue(s.Head, message.FieldLastModified)
	}
	return s.Terms.ETag, lastModified
}

func hasValidator(s *message.Stored) bool {
	return len(s.Terms.ETag) > 0 || s.Terms.LastModified != 0
}

// matchesNotModified reports whether a 304 is about s, the one response whose
// validators were sent. RFC 9111 section 4.3.4 filters "by the first match of"
// three rules.
func matchesNotModified(s *message.Stored, resp *message.Response) bool {
	f := &resp.Fields
	etag := fieldETag(f)
	modified, hasModified := lastModified(f)
	date, hasDate := dateValue(f)
	// "If the new response contains one or more strong validators, then each
	// of those strong validators identifies a selected representation for
	// update. ... If none of the initial set contains at least one of the same
	// strong validators, then the cache MUST NOT use the new response to
	// update any stored responses." An entity tag outranks a date.
	if isStrongETag(etag) {
		return bytes.Equal(etag, s.Terms.ETag)
	}
	if etag == nil && hasModified && hasDate && isStrongDate(modified, date) {
		return s.Terms.LastModified == modified
	}
	// "If the new response contains no strong validators but does contain one
	// or more weak validators, and those validators correspond to one of the
	// initial set's stored responses, then the most recent of those matching
	// stored responses is identified for update."
	if etag != nil || hasModified {
		return etag != nil && weakMatch(etag, s.Terms.ETag) ||
			hasModified && s.Terms.LastModified == modified && (etag == nil || len(s.Terms.ETag) == 0)
	}
	// "If the new response does not include any form of validator ..., and
	// there is only one stored response in the initial set, and that stored
	// response also lacks a validator, then that stored response is identified
	// for update." The last condition is not asked for, though RFC 9110 section
	// 15.4.5 lets a 304 leave out Last-Modified but not an entity tag: the
	// validators of s were the request's only condition, and a 304 says that
	// "the condition evaluated to false". Many origins answer so, and to ask
	// again without conditions would fetch what they just said is unchanged.
	return true
}

// matchesHead reports whether an answer to HEAD says that s is current. RFC
// 9111 section 4.3.5: "if the stored response and HEAD response have matching
// values for any received validator fields (ETag and Last-Modified) and, if
// the HEAD response has a Content-Length header field, the value of
// Content-Length matches that of the stored response, the cache SHOULD update
// the stored response ...; otherwise, the cache SHOULD consider the stored
// response to be stale."
func matchesHead(s *message.Stored, resp *message.Response) bool {
	f := &resp.Fields
	if f.Has(message.FieldETag) && (len(s.Terms.ETag) == 0 || !bytes.Equal(fieldETag(f), s.Terms.ETag)) {
		return false
	}
	if f.Has(message.FieldLastModified) {
		modified, ok := lastModified(f)
		if !ok || s.Terms.LastModified != modified {
			return false
		}
	}
	// Content-Length is the codec's: Length, without which there was none.
	return resp.Length == message.LengthUnknown || resp.Length == s.Length
}

// fieldETag returns ETag where there is exactly one and it is valid, else nil.
func fieldETag(f *message.Fields) []byte {
	value, ok := single(f, message.FieldETag)
	if !ok || etagLen(value) != len(value) {
		return nil
	}
	return value
}

// storedETag is fieldETag of a stored head: a slice of it.
func storedETag(head []byte) []byte {
	var etag []byte
	for rest := head; len(rest) > 0; {
		var line []byte
		line, rest = message.CutLine(rest)
		name, value := message.SplitLine(line)
		if !message.EqualFoldString(name, "ETag") {
			continue
		}
		if etag != nil || etagLen(value) != len(value) {
			return nil
		}
		etag = value
	}
	return etag
}

// headValue returns the value of the first line of a known name in a head.
func headValue(head []byte, id message.FieldID) []byte {
	for len(head) > 0 {
		var line []byte
		line, head = message.CutLine(head)
		if name, value := message.SplitLine(line); message.LookupFieldID(name) == id {
			return value
		}
	}
	return nil
}

// etagLen returns the length of the entity-tag that b begins with, -1 without
// one. RFC 9110 section 8.8.3:
//
//	entity-tag = [ weak ] opaque-tag
//	weak       = %s"W/"
//	opaque-tag = DQUOTE *etagc DQUOTE
//	etagc      = %x21 / %x23-7E / obs-text
func etagLen(b []byte) int {
	i := 0
	if len(b) >= 2 && b[0] == 'W' && b[1] == '/' {
		i = 2
	}
	if i >= len(b) || b[i] != '"' {
		return -1
	}
	for i++; i < len(b); i++ {
		switch c := b[i]; {
		case c == '"':
			return i + 1
		case c <= ' ' || c == 0x7f:
			return -1
		}
	}
	return -1
}

func isStrongETag(etag []byte) bool { return len(etag) > 0 && etag[0] == '"' }

// opaque returns an entity tag without its weakness.
func opaque(etag []byte) []byte {
	if len(etag) > 0 && etag[0] == 'W' {
		return etag[2:]
	}
	return etag
}

// weakMatch is weak comparison, RFC 9110 section 8.8.3.2: "two entity tags are
// equivalent if their opaque-tags match character-by-character, regardless of
// either or both being tagged as "weak"." Nothing matches an absent one.
func weakMatch(a, b []byte) bool {
	return len(a) > 0 && len(b) > 0 && bytes.Equal(opaque(a), opaque(b))
}

// strongMatch is strong comparison: "both are not weak and their opaque-tags
// match character-by-character".
func strongMatch(a, b []byte) bool {
	return isStrongETag(a) && bytes.Equal(a, b)
}
