package disk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"edge/cache/storage"
	"edge/cache/storage/nameindex"
	"edge/message"
)

// The format on disk, version 1. Everything is little-endian.
//
// A disk is a directory with a file LOCK, a file FORMAT that says "edge disk 1", what
// it knows of purges, of its share and of its newest segment (position.go, share.go,
// newest.go), the checkpoint (checkpoint.go), and segments, "%08x.seg" by their number.
// Numbers ascend and are never used twice: their order is the order of writing.
// A segment is a row of records, each at a multiple of 8 bytes and zero-padded
// to one.
//
//	 0               4       5       6       8              12              16
//	 +---------------+-------+-------+-------+---------------+---------------+
//	 | checksum      | kind  | flags |version| front length  | body length   |
//	 +---------------+-------+-------+-------+---------------+---------------+
//	16 | body checksum | segment       | offset        | variant       |
//	   +---------------+---------------+---------------+---------------+
//	32 | key, 16 bytes                                                 |
//	   +-------------------------------+-------------------------------+
//	48 | order                         | written at                    |
//	   +-------------------------------+-------------------------------+
//	64 | front ... | body ... | zeroes to a multiple of 8              |
//	   +---------------------------------------------------------------+
//
// checksum is the CRC-32C of everything from kind to the end of the front, and
// is checked whenever a record is read. body checksum is the CRC-32C of the
// body, checked at the body's first read. segment and offset say where the
// record lies, so that what a misdirected write left is not taken for what
// should be there. variant is a hash of the head's nominated fields. order
// counts publications (kept by freshening and carrying). written at is wall
// time in nanoseconds: when the response was stored.
//
// Kinds: a head is a stored response, and supersedes what was written before
// under its key and variant. A chunk is a body's bytes, which heads point at;
// its order is where they begin in the representation. A tombstone takes what
// was written before under its key and variant away. An invalidation makes what was
// written before under its key, whatever the variant, invalid until it is
// validated. A wipe takes everything away that was written before it. A judgement
// says that all that was written before it, and not taken away, has been judged by
// the purges up to its order, but for what needs a segment older than its variant, which
// was being reclaimed; its written at is the newest purge's sequence. An
// epoch says that purges are counted anew, from its order: the journal that counted
// before is lost, so everything written before is invalid until it is validated. A
// doubt says that of everything written before it too, and nothing besides.
//
// The front of a head:
//
//	 0 sequence | 8 checked | 16 total | 24 status | 28 flags | 32 request time
//	40 response time | 48 length | 56 corrected initial age | 64 freshness
//	lifetime | 72 stale-while-revalidate | 80 stale-if-error | 88 stale
//	disconnected | 96 date | 104 last modified | 112 count of extents
//	116 the extents, 32 bytes each:
//	    0 at | 8 length | 12 checksum | 16 segment | 20 offset | 24 skip | 28 take
//	then head, nominated, reason, ETag, trailers and names, each a uvarint of
//	its length plus one (0: none) and its bytes
//
// An extent is where some of the body lies: a checksummed run of length bytes
// at offset in segment that begins at byte at of the representation, and of
// which the response has take bytes from skip on. Segment 0 is the record's own
// body, and offset 0 its start. checked is the purge sequence up to which the
// response has been judged.
const (
	formatVersion = 1
	formatPrefix  = "edge disk "
	formatName    = formatPrefix + "1\n"

	headerSize  = 64
	frontFixed  = 116
	extentSize  = 32
	recordAlign = 8
)

// kind tells records apart.
type kind uint8

// The kinds of record.
const (
	kindHead kind = iota + 1
	kindChunk
	kindTombstone
	kindWipe
	kindInvalidation
	kindJudged
	kindEpoch
	// kindDoubt is in checkpoints also where there is no such record: before the next
	// one, something was damaged.
	kindDoubt
)

// The bounds of a record's parts, in bytes: more is not read.
const (
	maxFront = 4 << 20
	maxBody  = 1 << 20
	maxTotal = 1 << 56
	// maxExtents bounds how many pieces a body may be in, so that its head
	// fits in a front.
	maxExtents = (maxFront - 1<<20) / extentSize
)

// The flags of a record.
const (
	flagPartial    = 1 << iota // holds parts only
	flagMarker                 // a hit-for-miss marker for the whole key
	flagForeign                // has extents in other segments
	flagDoubt                  // in the index only: invalid until validated
	flagSoft                   // soft-purged; in the index, where the head may not say so yet, too
	flagNone                   // no response, but a hit-for-miss marker
	flagTaken                  // in the index only: a purge that removes it has counted it
	flagMarked                 // in the index only: marked by Take, and not judged since
	flagHeadsOnly  = flagPartial | flagMarker | flagForeign | flagSoft | flagNone
	flagTakings    = flagSoft | flagTaken | flagMarked
	variantOfWhole = 0 // the variant of a response without nominated fields
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// Errors of reading records. Wrapped with where.
var (
	errDamaged = errors.New("disk: damaged record")
	errVersion = errors.New("disk: a record of another version")
)

// record is a record's header.
type record struct {
	kind      kind
	flags     uint8
	front     uint32 // bytes
	body      uint32 // bytes
	bodySum   uint32
	seg, off  uint32
	variant   uint32
	key       storage.Key
	order     uint64
	writtenAt int64
	naming    *nameindex.Naming // of a head that is being written; not part of the header
}

// size is what the record takes in its segment, in bytes.
func (r *record) size() int64 { return pad(headerSize + int64(r.front) + int64(r.body)) }

func pad(n int64) int64 { return (n + recordAlign - 1) &^ (recordAlign - 1) }

// put writes the header for a front that follows it in mem, which it covers
// with its checksum.
func (r *record) put(mem []byte) {
	le := binary.LittleEndian
	mem[4], mem[5] = byte(r.kind), r.flags
	le.PutUint16(mem[6:], formatVersion)
	le.PutUint32(mem[8:], r.front)
	le.PutUint32(mem[12:], r.body)
	le.PutUint32(mem[16:], r.bodySum)
	le.PutUint32(mem[20:], r.seg)
	le.PutUint32(mem[24:], r.off)
	le.PutUint32(mem[28:], r.variant)
	copy(mem[32:48], r.key[:])
	le.PutUint64(mem[48:], r.order)
	le.PutUint64(mem[56:], uint64(r.writtenAt))
	le.PutUint32(mem, checksum(mem[4:headerSize+r.front]))
}

// parseHeader reads a header without its checksum, which covers the front too:
// what it says is to be believed only once verify has.
func parseHeader(b []byte, seg, off uint32) (r record, err error) {
	le := binary.LittleEndian
	r.kind, r.flags = kind(b[4]), b[5]
	r.front, r.body, r.bodySum = le.Uint32(b[8:]), le.Uint32(b[12:]), le.Uint32(b[16:])
	r.seg, r.off, r.variant = le.Uint32(b[20:]), le.Uint32(b[24:]), le.Uint32(b[28:])
	copy(r.key[:], b[32:48])
	r.order, r.writtenAt = le.Uint64(b[48:]), int64(le.Uint64(b[56:]))
	switch {
	case r.kind < kindHead || r.kind > kindDoubt || r.seg != seg || r.off != off || r.front > maxFront || r.body > maxBody:
		return r, errDamaged
	case le.Uint16(b[6:]) != formatVersion:
		return r, fmt.Errorf("%w: %d, this is version %d", errVersion, le.Uint16(b[6:]), formatVersion)
	}
	return r, nil
}

// verify checks the header's and front's bytes against their checksum.
func verify(b []byte, r *record) bool {
	return checksum(b[4:headerSize+r.front]) == binary.LittleEndian.Uint32(b)
}

// extent is where a run of a body lies; see the format above.
type extent struct {
	at         int64
	length     uint32
	sum        uint32
	seg, off   uint32
	skip, take uint32
}

// start and end are the bytes of the representation that the extent gives.
func (x *extent) start() int64 { return x.at + int64(x.skip) }
func (x *extent) end() int64   { return x.at + int64(x.skip) + int64(x.take) }

// front is what a head's front holds.
type front struct {
	sequence, checked uint64
	total             int64
	stored            message.Stored
	extents           []extent
	trailers, names   []byte
}

// appendFront appends f as it is written.
func appendFront(dst []byte, f *front) []byte {
	le, s, t := binary.LittleEndian, &f.stored, &f.stored.Terms
	dst = le.AppendUint64(dst, f.sequence)
	dst = le.AppendUint64(dst, f.checked)
	dst = le.AppendUint64(dst, uint64(f.total))
	dst = le.AppendUint32(dst, uint32(s.Status))
	dst = le.AppendUint32(dst, uint32(t.Flags))
	for _, v := range [...]int64{int64(s.RequestTime), int64(s.ResponseTime), s.Length, t.CorrectedInitialAge, t.FreshnessLifetime,
		t.StaleWhileRevalidate, t.StaleIfError, t.StaleDisconnected, int64(t.Date), t.LastModified} {
		dst = le.AppendUint64(dst, uint64(v))
	}
	dst = le.AppendUint32(dst, uint32(len(f.extents)))
	for i := range f.extents {
		x := &f.extents[i]
		dst = le.AppendUint64(dst, uint64(x.at))
		for _, v := range [...]uint32{x.length, x.sum, x.seg, x.off, x.skip, x.take} {
			dst = le.AppendUint32(dst, v)
		}
	}
	for _, b := range [...][]byte{s.Head, s.Nominated, s.Reason, t.ETag, f.trailers, f.names} {
		dst = appendBytes(dst, b)
	}
	return dst
}

func appendBytes(dst, b []byte) []byte {
	if b == nil {
		return append(dst, 0)
	}
	dst = binary.AppendUvarint(dst, uint64(len(b))+1)
	return append(dst, b...)
}

// parseFront opens a verified front; what it returns points into b. base is
// where the record's own body lies.
func parseFront(b []byte, r *record) (*front, error) {
	if len(b) < frontFixed {
		return nil, errDamaged
	}
	f := &front{}
	le, s, t := binary.LittleEndian, &f.stored, &f.stored.Terms
	i64 := func(at int) int64 { return int64(le.Uint64(b[at:])) }
	f.sequence, f.checked, f.total = le.Uint64(b), le.Uint64(b[8:]), i64(16)
	s.Status, t.Flags = int(le.Uint32(b[24:])), message.TermFlags(le.Uint32(b[28:]))
	s.RequestTime, s.ResponseTime, s.Length = message.Instant(i64(32)), message.Instant(i64(40)), i64(48)
	t.CorrectedInitialAge, t.FreshnessLifetime = i64(56), i64(64)
	t.StaleWhileRevalidate, t.StaleIfError, t.StaleDisconnected = i64(72), i64(80), i64(88)
	t.Date, t.LastModified = message.Instant(i64(96)), i64(104)
	n := int(le.Uint32(b[112:]))
	if b = b[frontFixed:]; n > len(b)/extentSize || f.total < 0 || f.total > maxTotal {
		return nil, errDamaged
	}
	f.extents = make([]extent, n)
	pos := int64(0)
	for i := range f.extents {
		x := &f.extents[i]
		x.at = int64(le.Uint64(b))
		for j, p := range [...]*uint32{&x.length, &x.sum, &x.seg, &x.off, &x.skip, &x.take} {
			*p = le.Uint32(b[8+4*j:])
		}
		if b = b[extentSize:]; x.at < 0 || x.at > f.total || x.length > maxBody || x.take == 0 || uint64(x.skip)+uint64(x.take) > uint64(x.length) || x.start() < pos || x.end() > f.total {
			return nil, errDamaged
		}
		pos = x.end()
		if x.seg == 0 {
			x.seg, x.off = r.seg, r.off+headerSize+r.front
		}
	}
	for _, p := range [...]*[]byte{&s.Head, &s.Nominated, &s.Reason, &t.ETag, &f.trailers, &f.names} {
		var ok bool
		if *p, b, ok = cutBytes(b); !ok {
			return nil, errDamaged
		}
	}
	return f, nil
}

func cutBytes(b []byte) (cut, rest []byte, ok bool) {
	n, w := binary.Uvarint(b)
	if w <= 0 || n > uint64(len(b)-w)+1 {
		return nil, nil, false
	}
	b = b[w:]
	if n == 0 {
		return nil, b, true
	}
	n--
	return b[:n:n], b[n:], true
}
