package purge

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"edge/message"
)

// The journal file, version 1. All numbers are little-endian; checksums are
// CRC-32C (Castagnoli).
//
//	file    = header *record *zero
//
//	header  = offset  size
//	               0     8  "edgepurg"
//	               8     2  version, 1
//	              10     6  origin, in runSpans: numbers up to it are of the lines before
//	              16    16  epoch: random, of this line of journals
//	              32     8  floor: the newest purge that was left out
//	              40     4  checksum of the 40 bytes before
//
//	record  = offset  size
//	               0     4  n, the size of the payload: 1 to maxRecord
//	               4     4  checksum of n and the payload
//	               8     n  payload
//
//	payload = offset  size
//	               0     1  type: 1 purge, 2 start
//	               1     1  mode: 1 soft, 2 invalid, 3 hard; 0 in a start
//	               2     8  sequence, above that of the record before
//	              10     8  when, in nanoseconds since the Unix epoch
//	              18        for a purge, its selectors
//	             n-1     1  end mark, 0xa5
//
//	selector = kind (1 byte: 1 url, 2 prefix, 3 tag, 4 group, 5 host,
//	           6 everything), then scheme, authority and name, each preceded
//	           by its length as a uvarint
//
// A start is written whenever a process takes the journal over: numbers up to
// its sequence may have been given by the process before and lost with it, so
// they are never given again.
//
// The zeros are a reserve, reserveSize of them when they are written: a record that
// takes the place of zeros changes nothing that the file system has to note in a
// journal of its own (its length, where its blocks are), so that a sync writes the
// record and no more. fallocate(2) would not do: that a block it has set aside was
// written to must be noted when it is.
//
// What an interrupted write leaves behind the last record is the beginning of another,
// and zeros for what did not arrive (which is what the end mark tells from a record):
// a torn tail, which was never acknowledged and is cut off. Anything else that does
// not read is damage: purges that were acknowledged may be lost, and whoever relies on
// the journal is told so by a new epoch. So is what is left of a write of which a
// later sector arrived and an earlier one did not: it cannot be told from damage.
const (
	journalMagic   = "edgepurg"
	journalVersion = 1
	headerSize     = 44
	frameSize      = 8
	payloadMin     = 19
	endMark        = 0xa5
	// maxRecord bounds a record's payload, in bytes: room for MaxSelectors of
	// the longest.
	maxRecord = 32 << 20
	// reserveSize is how many zeros are written behind the records at a time, in
	// bytes, and up to reserveAlign less: they end where a page does.
	reserveSize  = 256 << 10
	reserveAlign = 4 << 10
	// maxJournal bounds what is read at start, in bytes. Compaction keeps the
	// file far below.
	maxJournal = 1 << 30

	typePurge, typeStart = 1, 2
)

// reserve is zeros to write.
var reserve [reserveSize]byte

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// epoch names a line of journals: sequences of different ones do not compare.
type epoch [16]byte

// String is how disks, followers and the past of a journal know it.
func (e epoch) String() string { return hex.EncodeToString(e[:]) }

// record is a purge in the order of things.
type record struct {
	seq  uint64
	when message.Instant
	Purge
}

// contents is what a journal file holds.
type contents struct {
	epoch   epoch
	floor   uint64
	origin  uint64
	records []record
	last    uint64 // the highest sequence, purge or start
	// good is how much of the file, in bytes, read well; what follows is a torn
	// tail, unless damage says otherwise.
	good   int64
	damage error
}

// errForeign: the file is no journal, or of a version unknown here. It is left
// alone.
var errForeign = errors.New("not a purge journal that this version reads")

// errUnlike is errForeign of a file that does not begin like a journal.
var errUnlike = fmt.Errorf("%w: it does not begin like one", errForeign)

// parseJournal reads a journal file. The error is errForeign's; damage is no
// error but part of the contents, with what could be read around it.
func parseJournal(data []byte) (*contents, error) {
	c := new(contents)
	if err := c.parseHeader(data); err != nil || c.damage != nil {
		return c, err
	}
	c.good = headerSize
	for rest := data[headerSize:]; len(rest) > 0; rest = data[c.good:] {
		payload, ok := cutRecord(rest)
		if ok {
			ok = c.add(payload)
		}
		if !ok {
			if !isTorn(rest) {
				c.damage = fmt.Errorf("purge: the journal is damaged at offset %d", c.good)
				c.salvage(trimZeros(rest[1:]))
			}
			break
		}
		c.good += int64(frameSize + len(payload))
	}
	return c, nil
}

// parseHeader reads the header.
func (c *contents) parseHeader(data []byte) error {
	h := data[:min(len(data), headerSize)]
	if !bytes.HasPrefix(h, []byte(journalMagic)[:min(len(h), len(journalMagic))]) {
		return errUnlike
	}
	if len(h) < headerSize || crc32.Checksum(h[:headerSize-4], castagnoli) != binary.LittleEndian.Uint32(h[headerSize-4:]) {
		c.damage = errors.New("purge: the journal's header is damaged")
		return nil
	}
	if v := binary.LittleEndian.Uint16(h[8:]); v != journalVersion {
		return fmt.Errorf("%w: version %d", errForeign, v)
	}
	c.origin = (binary.LittleEndian.Uint64(h[8:]) >> 16) * runSpan
	copy(c.epoch[:], h[16:])
	c.floor = binary.LittleEndian.Uint64(h[32:])
	c.last = c.floor
	return nil
}

// cutRecord returns the payload of the record that b begins with. One of which nothing
// but the end mark is missing is whole: it did not arrive, or a zero took its place.
func cutRecord(b []byte) ([]byte, bool) {
	if len(b) < frameSize {
		return nil, false
	}
	n := binary.LittleEndian.Uint32(b)
	if n < payloadMin || n > maxRecord || int64(n) > int64(len(b)-frameSize) {
		return nil, false
	}
	payload, want := b[frameSize:frameSize+n], binary.LittleEndian.Uint32(b[4:])
	most := recordSum(b[:4], payload[:n-1])
	switch {
	case crc32.Update(most, castagnoli, payload[n-1:]) == want:
		return payload, true
	case payload[n-1] == 0 && crc32.Update(most, castagnoli, []byte{endMark}) == want:
		return append(bytes.Clone(payload[:n-1]), endMark), true
	}
	return nil, false
}

func recordSum(size, payload []byte) uint32 {
	return crc32.Update(crc32.Checksum(size, castagnoli), castagnoli, payload)
}

// isTorn reports whether rest, which does not begin with a record, is what an
// interrupted write leaves: a record that ends before its end mark, and nothing but
// zeros behind, or the end of the file.
//
// Its length alone says that more was to come, and a last record that is whole but for
// a length that grew would be cut off as torn. But that one ends with its end mark, and
// so whatever does is damage: of names cut short, a few end like that by chance.
func isTorn(rest []byte) bool {
	arrived := trimZeros(rest)
	if len(arrived) < frameSize {
		return true // of a record that was whole there is more
	}
	n := binary.LittleEndian.Uint32(arrived)
	switch {
	case n < payloadMin || n > maxRecord:
		return false
	case int64(len(arrived)) >= frameSize+int64(n): // its last byte at least
		return false
	case len(arrived) >= frameSize+payloadMin && arrived[len(arrived)-1] == endMark:
		return false
	}
	return !endsEarlier(arrived) && !holdsRecord(arrived[1:])
}

// maxEarlier is how much of a torn record is searched for an earlier end, in bytes: each
// end mark that is found there costs a checksum.
const maxEarlier = 16 << 10

// endsEarlier reports whether a record is whole at the beginning of b but for its length:
// then what is torn is another one, behind it.
func endsEarlier(b []byte) bool {
	for i := frameSize + payloadMin - 1; i < min(len(b), maxEarlier); i++ {
		if b[i] != endMark {
			continue
		}
		var size [4]byte
		binary.LittleEndian.PutUint32(size[:], uint32(i+1-frameSize))
		if recordSum(size[:], b[frameSize:i+1]) == binary.LittleEndian.Uint32(b[4:]) {
			return true
		}
	}
	return false
}

// trimZeros returns b without the zeros that it ends with.
func trimZeros(b []byte) []byte {
	for page := reserve[:reserveAlign]; bytes.HasSuffix(b, page); { // a reserve, as a rule
		b = b[:len(b)-len(page)]
	}
	return bytes.TrimRight(b, "\x00")
}

// maxSalvage bounds how far a record is looked for behind damage, in bytes: the
// search reads each offset, and a length that happens to look right costs a
// checksum.
const maxSalvage = 64 << 20

// holdsRecord reports whether a record begins anywhere in b.
func holdsRecord(b []byte) bool { return nextRecord(b) >= 0 }

// nextRecord returns where in b a record begins, -1 for nowhere. A length
// alone proves nothing, so the type and mode bytes are looked at before the
// checksum is computed.
func nextRecord(b []byte) int {
	for i := 0; i+frameSize+payloadMin <= min(len(b), maxSalvage); i++ {
		if p := b[i+frameSize:]; p[0] != typePurge && p[0] != typeStart || p[1] >= numModes {
			continue
		}
		if _, ok := cutRecord(b[i:]); ok {
			return i
		}
	}
	return -1
}

// salvage adds the records that can be found in b, behind damage.
func (c *contents) salvage(b []byte) {
	for {
		i := nextRecord(b)
		if i < 0 {
			return
		}
		payload, _ := cutRecord(b[i:])
		c.add(payload)
		b = b[i+frameSize+len(payload):]
	}
}

// add adds a record. False: its payload is none.
func (c *contents) add(payload []byte) bool {
	seq := binary.LittleEndian.Uint64(payload[2:])
	last := len(payload) - 1
	if seq <= c.last || payload[last] != endMark {
		return false
	}
	switch payload[0] {
	case typeStart:
		c.last = seq
		return len(payload) == payloadMin
	case typePurge:
	default:
		return false
	}
	r := record{seq: seq, when: message.Instant(binary.LittleEndian.Uint64(payload[10:])), Purge: Purge{Mode: Mode(payload[1])}}
	for b := payload[payloadMin-1 : last]; len(b) > 0; {
		s, rest, ok := cutSelector(b)
		if !ok {
			return false
		}
		r.Selectors = append(r.Selectors, s)
		b = rest
	}
	if r.check() != nil {
		return false
	}
	c.last = seq
	c.records = append(c.records, r)
	return true
}

func cutSelector(b []byte) (s Selector, rest []byte, ok bool) {
	s.Kind = Kind(b[0])
	b = b[1:]
	for _, part := range [...]*string{&s.Scheme, &s.Authority, &s.Name} {
		n, w := binary.Uvarint(b)
		if w <= 0 || n > uint64(len(b)-w) {
			return s, nil, false
		}
		*part = string(b[w : w+int(n)])
		b = b[w+int(n):]
	}
	located := s.Kind == URL || s.Kind == Prefix || s.Kind == Group
	if located && s.Scheme != "http" && s.Scheme != "https" || s.Kind == Prefix && (s.Name == "" || s.Name[0] != '/') {
		return s, nil, false
	}
	return s, b, true
}

// appendHeader appends a header. origin is a multiple of runSpan.
func appendHeader(dst []byte, e epoch, floor, origin uint64) []byte {
	at := len(dst)
	dst = append(dst, journalMagic...)
	dst = binary.LittleEndian.AppendUint64(dst, journalVersion|origin/runSpan<<16)
	dst = append(dst, e[:]...)
	dst = binary.LittleEndian.AppendUint64(dst, floor)
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[at:], castagnoli))
}

// appendStart appends a start.
func appendStart(dst []byte, seq uint64, when message.Instant) []byte {
	return appendRecord(dst, typeStart, &record{seq: seq, when: when})
}

// appendPurge appends a purge.
func appendPurge(dst []byte, r *record) []byte { return appendRecord(dst, typePurge, r) }

func appendRecord(dst []byte, kind byte, r *record) []byte {
	at := len(dst)
	dst = append(dst, 0, 0, 0, 0, 0, 0, 0, 0, kind, byte(r.Mode))
	dst = binary.LittleEndian.AppendUint64(dst, r.seq)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(r.when))
	for i := range r.Selectors {
		s := &r.Selectors[i]
		dst = append(dst, byte(s.Kind))
		for _, part := range [...]string{s.Scheme, s.Authority, s.Name} {
			dst = binary.AppendUvarint(dst, uint64(len(part)))
			dst = append(dst, part...)
		}
	}
	dst = append(dst, endMark)
	b := dst[at:]
	binary.LittleEndian.PutUint32(b, uint32(len(b)-frameSize))
	binary.LittleEndian.PutUint32(b[4:], recordSum(b[:4], b[frameSize:]))
	return dst
}

// readJournal reads and parses a journal. nil: there is none.
func readJournal(fs filesystem, path string) (*contents, error) {
	data, err := fs.ReadFile(path, maxJournal)
	switch {
	case errors.Is(err, errNotExist):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("purge: reading the journal: %w", err)
	}
	c, err := parseJournal(data)
	if err != nil {
		return nil, fmt.Errorf("purge: %s: %w", path, err)
	}
	return c, nil
}

// writeWhole writes a file in the place of the one at path, a journal or what is beside
// it, and returns it open for more. spare: with a reserve behind; zeroed is where that
// ends, earlier than asked for where there is no room. What was at path stays until the new
// one is on stable storage; replaced says, with an error too, whether it is gone.
func writeWhole(fs filesystem, path string, data []byte, spare bool) (f journalFile, zeroed int64, replaced bool, err error) {
	temporary := path + ".new"
	f, err = fs.Create(temporary)
	if err != nil {
		return nil, 0, false, fmt.Errorf("purge: writing %s: %w", path, err)
	}
	_, err = f.WriteAt(data, 0)
	zeroed = int64(len(data))
	if err == nil && spare {
		zeroed, _ = writeReserve(f, zeroed)
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = fs.Rename(temporary, path)
	}
	if err == nil {
		replaced = true
		err = fs.SyncDir(path)
	}
	if err == nil {
		return f, zeroed, true, nil
	}
	err = errors.Join(fmt.Errorf("purge: writing %s: %w", path, err), f.Close())
	if !replaced { // what was written of it may have taken the last room there was
		if f, e := fs.Create(temporary); e == nil {
			_ = f.Close() // it is empty, and nobody reads it
		}
	}
	return nil, 0, replaced, err
}

// writeReserve writes a reserve from end on and returns where it ends, with an error
// too. What was written of it by then is zeros, which say nothing.
func writeReserve(f journalFile, end int64) (zeroed int64, err error) {
	n, err := f.WriteAt(reserve[:reserveSize-end%reserveAlign], end)
	return end + int64(n), err
}

// journalFile is an open journal.
type journalFile interface {
	io.WriterAt
	io.Closer
	// Sync puts what was written on stable storage: fdatasync.
	Sync() error
}
