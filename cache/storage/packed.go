package storage

import (
	"encoding/binary"
	"errors"
)

// errNames: bytes that are no Names.
var errNames = errors.New("storage: damaged names")

// Packed returns n in the form that OpenNames takes, for a store that keeps it
// elsewhere than in memory. Not to be changed.
func (n Names) Packed() []byte { return n.packed }

// OpenNames opens what Packed returned; packed must not change afterwards. It
// checks every length, so that damaged bytes are an error and never a panic.
//
// The form, which a disk's records hold and a change to which is a new version
// of those: length-prefixed strings (uvarint): scheme, authority, target, then
// the count of tags (uvarint) and the tags, then groups to the end.
func OpenNames(packed []byte) (Names, error) {
	b := packed
	skip := func() bool {
		n, w := binary.Uvarint(b)
		if w <= 0 || n > uint64(len(b)-w) {
			return false
		}
		b = b[w+int(n):]
		return true
	}
	for range 3 {
		if !skip() {
			return Names{}, errNames
		}
	}
	tags, w := binary.Uvarint(b)
	if w <= 0 || tags > uint64(len(b)) {
		return Names{}, errNames
	}
	b = b[w:]
	for range tags {
		if !skip() {
			return Names{}, errNames
		}
	}
	for len(b) > 0 {
		if !skip() {
			return Names{}, errNames
		}
	}
	return Names{packed}, nil
}

// Meta returns what n says, as strings.
func (n Names) Meta() Meta {
	if len(n.packed) == 0 {
		return Meta{}
	}
	return parseMeta(n.packed)
}
