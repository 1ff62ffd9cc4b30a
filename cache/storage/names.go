package storage

import "encoding/binary"

// Names are what purges know a stored response by: its URI, its tags and its
// groups. The zero value has none of them. Made by MakeNames or by a store; the
// slices it returns are its own and must not be changed.
type Names struct{ packed []byte }

// MakeNames returns the Names that p's entry would have.
func MakeNames(p *Proposal) Names {
	return Names{appendMeta(make([]byte, 0, metaSize(p)), p)}
}

// URI returns the effective request URI, raw, in three parts.
func (n Names) URI() (scheme, authority, target []byte) {
	b := n.packed
	if len(b) == 0 {
		return nil, nil, nil
	}
	scheme, b = nextName(b)
	authority, b = nextName(b)
	target, _ = nextName(b)
	return scheme, authority, target
}

// Lists returns the tags and the groups.
func (n Names) Lists() (tags, groups NameList) {
	b := n.packed
	if len(b) == 0 {
		return NameList{}, NameList{}
	}
	for range 3 {
		_, b = nextName(b)
	}
	count, w := binary.Uvarint(b)
	b = b[w:]
	tags.rest = b
	for range count {
		_, b = nextName(b)
	}
	tags.rest = tags.rest[:len(tags.rest)-len(b)]
	groups.rest = b
	return tags, groups
}

// NameList is a list to be walked with Next.
type NameList struct{ rest []byte }

// Next returns the first name and takes it off the list; false at the end.
func (l *NameList) Next() ([]byte, bool) {
	if len(l.rest) == 0 {
		return nil, false
	}
	var name []byte
	name, l.rest = nextName(l.rest)
	return name, true
}

// nextName cuts a length-prefixed string off b, which appendMeta packed.
func nextName(b []byte) (name, rest []byte) {
	n, w := binary.Uvarint(b)
	end := w + int(n)
	return b[w:end:end], b[end:]
}
