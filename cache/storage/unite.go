package storage

import (
	"bytes"
	"encoding/binary"
)

// The names of what is joined from parts. Its header fields are the newest part's.
// RFC 9110 section 15.3.7.3: "the stored response with the most recent header fields is
// used as the source of header fields for the combined response, except that the client
// MUST use other header fields provided in the new response, aside from Content-Range,
// to replace all instances of the corresponding header fields in the stored response."
// That is about what a recipient is told of the representation. Names are not: they
// are what somebody who knows what the bytes are made of will purge them by, and bytes
// that were brought under a name are not rid of it because others came without. So the
// head is the newest part's, and the names are those of all the parts.
//
// A response that is freshened has the names that its origin gives it then (Renamer): a
// 304 brings no bytes, and speaks of all those that are stored.

const (
	// MaxNames is how many tags a stored response may have, and how many groups.
	MaxNames = 1000
	// MaxNamesSize is how many bytes the names of what is joined from parts may take,
	// packed: they lie in one piece, in memory and in a disk's record. (Those of one
	// response are bounded by what is read of its head.)
	MaxNamesSize = 256 << 10
)

// Unite returns n, those of the newest part, with the tags and groups of another, o,
// besides. False: they would be more than MaxNames or MaxNamesSize, or o is of another
// place, so that no one response can have them; nothing is left out silently, the two must not
// be joined. Where n has all of o's already, what is returned is n and no longer.
//
// Of two URIs that differ in their queries the newest part's stays: under one key, both
// name what the other brought (Proxy.PurgeTargets).
func (n Names) Unite(o Names) (Names, bool) {
	if !n.samePlace(o) {
		return Names{}, false
	}
	tags, groups := n.Lists()
	others, otherGroups := o.Lists()
	if bytes.Equal(tags.rest, others.rest) && bytes.Equal(groups.rest, otherGroups.rest) {
		return n, true
	}
	moreTags, size := tags.missing(others)
	moreGroups, groupsSize := groups.missing(otherGroups)
	if len(moreTags)+len(moreGroups) == 0 {
		return n, true
	}
	count := tags.count() + len(moreTags)
	if size += len(n.packed) + groupsSize; count > MaxNames || groups.count()+len(moreGroups) > MaxNames || size > MaxNamesSize {
		return Names{}, false
	}
	scheme, authority, target := n.URI()
	b := make([]byte, 0, size+1) // the count of tags may take a byte more
	for _, part := range [...][]byte{scheme, authority, target} {
		b = appendName(b, part)
	}
	b = binary.AppendUvarint(b, uint64(count))
	b = append(b, tags.rest...)
	for _, name := range moreTags {
		b = appendName(b, name)
	}
	b = append(b, groups.rest...)
	for _, name := range moreGroups {
		b = appendName(b, name)
	}
	return Names{b}, true
}

// samePlace reports whether purges by host, prefix and group that select n select o.
func (n Names) samePlace(o Names) bool {
	scheme, authority, target := n.URI()
	oscheme, oauthority, otarget := o.URI()
	path, _, _ := bytes.Cut(target, []byte{'?'})
	opath, _, _ := bytes.Cut(otarget, []byte{'?'})
	return bytes.Equal(scheme, oscheme) && bytes.Equal(authority, oauthority) && bytes.Equal(path, opath)
}

// missing returns the names on o that are not on l, each once, and what they take packed.
func (l NameList) missing(o NameList) (list [][]byte, size int) {
	have := make(map[string]struct{})
	for name, ok := l.Next(); ok; name, ok = l.Next() {
		have[string(name)] = struct{}{}
	}
	for name, ok := o.Next(); ok; name, ok = o.Next() {
		if _, had := have[string(name)]; !had {
			have[string(name)] = struct{}{}
			list, size = append(list, name), size+stringSize(len(name))
		}
	}
	return list, size
}

// count returns how many names are on the list.
func (l NameList) count() (n int) {
	for _, ok := l.Next(); ok; _, ok = l.Next() {
		n++
	}
	return n
}
