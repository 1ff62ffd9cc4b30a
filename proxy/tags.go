package proxy

import (
	"bytes"
	"slices"

	"edge/cache/storage"
	"edge/message"
	"edge/message/sf"
)

// What purges know a response by, beside its URI: the tags that its origin gives
// it in Surrogate-Key, Cache-Tag and the fields its route names, and its cache
// groups (RFC 9875).

const (
	// maxTag is the longest tag or group, in bytes; a longer one cannot be
	// purged by, and is left out.
	maxTag = 1024
	// maxTags is how many tags or groups a response may have. One with more is
	// not stored: a purge might miss it.
	maxTags = storage.MaxNames
)

// takeTags reads tags and groups off the origin's response, and takes the tags
// from what the client gets unless the route keeps them.
func (x *exchange) takeTags() {
	f := &x.resp.Fields
	x.tags, x.groups, x.tagged = x.tags[:0], nil, false
	x.grouped = f.Has(message.FieldCacheGroups)
	if f.Has(message.FieldSurrogateKey) {
		x.addTags(message.FieldSurrogateKey, nil, " \t")
	}
	if f.Has(message.FieldCacheTag) {
		x.addTags(message.FieldCacheTag, nil, ",")
	}
	for _, name := range x.route.TagFields {
		x.addTags(message.LookupFieldID(name), name, ", \t")
	}
	if x.grouped {
		x.groups = groupsOf(f, message.FieldCacheGroups)
	}
}

// addTags adds the tags in the lines of a field, and deletes those lines.
func (x *exchange) addTags(id message.FieldID, name []byte, separators string) {
	f := &x.resp.Fields
	next := func(from int) int {
		if id == message.FieldOther {
			return f.NextName(name, from)
		}
		return f.Next(id, from)
	}
	found := false
	for i := next(0); i >= 0; i = next(i + 1) {
		found = true
		for _, tag := range bytes.FieldsFunc(f.All()[i].Value, func(r rune) bool { return r < 0x80 && bytes.IndexByte([]byte(separators), byte(r)) >= 0 }) {
			tag = bytes.Trim(tag, " \t")
			if len(tag) == 0 || len(tag) > maxTag || len(x.tags) > maxTags {
				continue
			}
			if text := lowerASCII(tag); !slices.Contains(x.tags, text) {
				x.tags = append(x.tags, text)
			}
		}
	}
	x.tagged = x.tagged || found
	switch {
	case !found || x.route.KeepTags:
	case id == message.FieldOther:
		f.DeleteName(name)
	default:
		f.Delete(id)
	}
}

// lowerASCII returns b with its ASCII letters in lower case.
func lowerASCII(b []byte) string {
	low := make([]byte, len(b))
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		low[i] = c
	}
	return string(low)
}

// groupsOf returns the groups that a field lists. RFC 9875 section 2: "a List of
// Strings"; a field that is none lists no group.
func groupsOf(f *message.Fields, id message.FieldID) []string {
	var lines [][]byte
	for i := f.Next(id, 0); i >= 0; i = f.Next(id, i+1) {
		lines = append(lines, f.All()[i].Value)
	}
	list, err := sf.ParseStrings(lines)
	if err != nil {
		return nil
	}
	return slices.DeleteFunc(list, func(g string) bool { return len(g) == 0 || len(g) > maxTag })
}

// freshenAs gives a stored response its new head, and the tags and groups that the
// response at hand gives it. RFC 9111 section 3.2: "the cache MUST add each header
// field in the provided response to the stored response, replacing field values
// that are already present". A response that has any of the fields that tags come
// from says all of its tags; one that has none leaves them as they are.
func (x *exchange) freshenAs(e storage.Entry, head *message.Stored) error {
	renamer, can := x.p.store.(storage.Renamer)
	if !can || !x.tagged && !x.grouped {
		return x.p.store.Freshen(e, head, x.sequence)
	}
	if x.tooManyTags() {
		x.p.store.Remove(e) // a purge might miss it
		return nil
	}
	var tags, groups []string
	if x.tagged {
		tags = append([]string{}, x.tags...)
	}
	if x.grouped {
		groups = append([]string{}, x.groups...)
		if x.p.purger != nil {
			x.p.purger.NoteGroups(x.req.Scheme, string(x.req.Authority), groups)
		}
	}
	return renamer.FreshenAs(e, head, x.sequence, e.Names().With(tags, groups))
}

// tooManyTags reports whether the response has more names than purges look at.
func (x *exchange) tooManyTags() bool { return len(x.tags) > maxTags || len(x.groups) > maxTags }
