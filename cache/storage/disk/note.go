package disk

import (
	"encoding/binary"
	"math"

	"edge/cache/storage"
)

// note is what the index needs to know of a record. The checkpoint keeps the notes
// of sealed segments, so that these need not be read at start; where it has none,
// reading the segment makes the same ones. Either way the index is what the
// records say when they are taken in the order they were written in.
type note struct {
	kind      kind
	flags     uint8
	variant   uint32
	off, read uint32
	oldest    uint32
	size      uint32 // in sizeUnits
	key       storage.Key
	checked   uint64
	order     uint64
}

// noteOf makes a record's note. front is of a record that was verified, or that
// we made.
func noteOf(r *record, front []byte) note {
	n := note{kind: r.kind, flags: r.flags & flagHeadsOnly, variant: r.variant, off: r.off, oldest: r.seg, key: r.key, order: r.order}
	if r.kind == kindJudged {
		n.checked = uint64(r.writtenAt)
	}
	if r.kind != kindHead || len(front) < frontFixed {
		return n
	}
	le := binary.LittleEndian
	n.checked = le.Uint64(front[8:])
	n.read = headerSize + r.front
	if size := r.size(); size <= smallRead {
		n.read = uint32(size)
	}
	size := r.size()
	list := front[frontFixed:]
	var last uint64 // a record that is cut into several extents counts once
	for range min(int(le.Uint32(front[112:])), len(list)/extentSize) {
		if at := le.Uint64(list[16:]); uint32(at) != 0 && at != last {
			last = at
			n.oldest = min(n.oldest, uint32(at))
			size += pad(headerSize + int64(le.Uint32(list[8:])))
		}
		list = list[extentSize:]
	}
	n.size = uint32(min((size+sizeUnit-1)/sizeUnit, math.MaxUint32)) // 32 GiB
	return n
}

// row makes a head's row.
func (n *note) row(seg uint32) row {
	r := row{key: n.key, seg: seg, off: n.off, read: n.read, oldest: n.oldest, variant: n.variant, size: n.size, flags: n.flags}
	r.setChecked(n.checked)
	return r
}

// noteSize is what a note takes when packed, in bytes.
const noteSize = 4 + 5*4 + 16 + 2*8

// appendNote packs a note: kind, flags, two bytes of zero, variant, off, read,
// oldest, size, key, checked, order.
func appendNote(dst []byte, n *note) []byte {
	le := binary.LittleEndian
	dst = append(dst, byte(n.kind), n.flags, 0, 0)
	for _, v := range [...]uint32{n.variant, n.off, n.read, n.oldest, n.size} {
		dst = le.AppendUint32(dst, v)
	}
	dst = append(dst, n.key[:]...)
	dst = le.AppendUint64(dst, n.checked)
	return le.AppendUint64(dst, n.order)
}

// parseNote opens the noteSize bytes of a packed note.
func parseNote(b []byte) (n note) {
	le := binary.LittleEndian
	n.kind, n.flags = kind(b[0]), b[1]
	for i, p := range [...]*uint32{&n.variant, &n.off, &n.read, &n.oldest, &n.size} {
		*p = le.Uint32(b[4+4*i:])
	}
	copy(n.key[:], b[24:])
	n.checked, n.order = le.Uint64(b[40:]), le.Uint64(b[48:])
	return n
}
