package disk

import (
	"encoding/binary"

	"edge/cache/storage"
	"edge/cache/storage/nameindex"
)

// The names of a segment's heads, as the checkpoint has them behind its notes, so
// that what a tag or a path selects is found again after a start without reading a
// head:
//
//	4 bytes each: number of scopes, bytes of the scopes; the scopes, each a uvarint
//	of its length and its bytes; then for each note of a head, in their order: uvarints
//	of its scope's number and how many hashes there are, and the hashes, 8 bytes
//	each, little-endian
const namingHeader = 8

// namings gathers them.
type namings struct {
	numbers map[string]uint64
	scopes  []byte
	heads   []byte
}

// add adds the next head's.
func (t *namings) add(x *nameindex.Naming) {
	n, ok := t.numbers[string(x.Scope)]
	if !ok {
		if t.numbers == nil {
			t.numbers = make(map[string]uint64)
		}
		n = uint64(len(t.numbers))
		t.numbers[string(x.Scope)] = n
		t.scopes = binary.AppendUvarint(t.scopes, uint64(len(x.Scope)))
		t.scopes = append(t.scopes, x.Scope...)
	}
	t.heads = binary.AppendUvarint(t.heads, n)
	t.heads = binary.AppendUvarint(t.heads, uint64(len(x.Hashes)))
	for _, h := range x.Hashes {
		t.heads = binary.LittleEndian.AppendUint64(t.heads, h)
	}
}

// appendTo appends them as they are written.
func (t *namings) appendTo(b []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(len(t.numbers)))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(t.scopes)))
	b = append(b, t.scopes...)
	return append(b, t.heads...)
}

// namingReader reads what appendTo wrote.
type namingReader struct {
	scopes [][]byte
	heads  []byte
}

// openNamings opens what appendTo wrote; false where it is damaged.
func openNamings(b []byte) (*namingReader, bool) {
	if len(b) < namingHeader {
		return nil, false
	}
	count, size := binary.LittleEndian.Uint32(b), uint64(binary.LittleEndian.Uint32(b[4:]))
	b = b[namingHeader:]
	if size > uint64(len(b)) || uint64(count) > size {
		return nil, false
	}
	r := &namingReader{scopes: make([][]byte, count), heads: b[size:]}
	for i := range r.scopes {
		n, w := binary.Uvarint(b[:size])
		if w <= 0 || n > size-uint64(w) {
			return nil, false
		}
		r.scopes[i] = b[w : w+int(n)]
		b, size = b[w+int(n):], size-uint64(w)-n
	}
	return r, true
}

// next reads the next head's names into x. Where there are none, which a checksum
// rules out, they are unknown: x has no scope.
func (r *namingReader) next(x *nameindex.Naming) {
	x.Scope, x.Hashes = nil, x.Hashes[:0]
	n, w := binary.Uvarint(r.heads)
	if w <= 0 || n >= uint64(len(r.scopes)) {
		r.heads = nil
		return
	}
	count, c := binary.Uvarint(r.heads[w:])
	if rest := r.heads[max(w+c, 0):]; c > 0 && count <= uint64(len(rest)/8) {
		for ; count > 0; count-- {
			x.Hashes = append(x.Hashes, binary.LittleEndian.Uint64(rest))
			rest = rest[8:]
		}
		x.Scope, r.heads = r.scopes[n], rest
		return
	}
	r.heads = nil
}

// namingOf makes what the index has of the names of a head's front, which was
// verified.
func namingOf(r *record, front []byte, x *nameindex.Naming) {
	x.Scope, x.Hashes = x.Scope[:0], x.Hashes[:0]
	if len(front) < frontFixed {
		return
	}
	b := front[frontFixed:]
	n := int(binary.LittleEndian.Uint32(front[112:]))
	if n > len(b)/extentSize {
		return
	}
	b = b[n*extentSize:]
	var cut []byte
	for range 6 { // the last are the names
		var ok bool
		if cut, b, ok = cutBytes(b); !ok {
			return
		}
	}
	if names, err := storage.OpenNames(cut); err == nil && len(cut) > 0 {
		names.Naming(r.key, x)
	}
}

// name gives a row its names, in the place of those it had. Under the shard's lock.
func (x *index) name(s *shard, n uint32, to *nameindex.Naming) {
	r := s.row(n)
	x.scopes.Leave(s.lists.Drop(r.names))
	w := x.scopes.Enter(to.Scope)
	for _, h := range to.Hashes {
		w = s.lists.Add(w, n, h)
	}
	r.names = w
}
