package disk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"path"
)

// The checkpoint: what the index needs to know of a sealed segment, in a file
// beside it, so that the segment need not be read at start. It is written
// behind, once, when the segment is synced, and never changes, so there is
// nothing that a crash could leave half true. Where it is lost or damaged, or is
// not of the segment that is there, the segment is read and it is made anew.
//
// "%08x.idx", version 3, little-endian. (Version 1 had no notes of chunks, version 2
// no names; a segment that has such a one is read.)
//
//	0 "edge idx" | 8 version, 4 bytes | 12 segment, 4 bytes | 16 the segment's
//	length, 8 bytes | 24 CRC-32C of all the rest and of bytes 0 to 24 | 28 number of
//	notes, 4 bytes | 32 notes, 56 bytes each, then the names (naming.go). A note: kind, flags, two of zero, then 4 bytes each variant, offset, bytes to
//	read at a look-up, oldest segment needed, size in units of 8; key, 16 bytes;
//	checked, order, 8 bytes each
const (
	idxMagic   = "edge idx"
	idxVersion = 3
	idxHeader  = 32

	// idxTemporary is the name of a checkpoint that is being written.
	idxTemporary = "idx.tmp"
)

// idxName returns the name of a segment's checkpoint in its directory.
func idxName(id uint32) string { return fmt.Sprintf("%08x.idx", id) }

// idxPath returns its path.
func (v *volume) idxPath(id uint32) string { return path.Join(v.dir, idxName(id)) }

// checkpoint writes a settled and synced segment's checkpoint. What fails costs the next
// start some time, and nothing else. For the flusher.
func (v *volume) checkpoint(s *segment) {
	v.mu.Lock()
	notes, naming := s.notes, s.naming
	s.notes, s.naming = nil, namings{}
	v.mu.Unlock()
	if notes == nil || s.gone.Load() {
		return
	}
	if err := v.writeIdx(s, packNotes(s, notes, &naming)); err != nil {
		v.health.ioErrors.Add(1)
		v.o.Logger.Warn("a segment has no checkpoint: it will be read at the next start", "disk", v.dir, "segment", v.name(s.id), "error", err)
	}
	if s.gone.Load() { // reclaimed meanwhile: who did may have looked for it before it was there
		v.forgetIdx(s.id)
	}
}

// packNotes makes the content of a checkpoint.
func packNotes(s *segment, notes []note, naming *namings) []byte {
	le := binary.LittleEndian
	b := make([]byte, idxHeader, idxHeader+len(notes)*noteSize+namingHeader+len(naming.scopes)+len(naming.heads))
	copy(b, idxMagic)
	le.PutUint32(b[8:], idxVersion)
	le.PutUint32(b[12:], s.id)
	le.PutUint64(b[16:], uint64(s.end))
	for i := range notes {
		b = appendNote(b, &notes[i])
	}
	le.PutUint32(b[28:], uint32(len(notes)))
	b = naming.appendTo(b)
	le.PutUint32(b[24:], idxSum(b))
	return b
}

func idxSum(b []byte) uint32 { return checksum(b[28:]) ^ checksum(b[:24]) }

// writeIdx writes a checkpoint under another name first, so that nothing half
// written has the name.
func (v *volume) writeIdx(s *segment, b []byte) error {
	tmp := path.Join(v.dir, idxTemporary)
	if err := v.o.FS.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := v.o.FS.Create(tmp)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(b, 0)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return v.o.FS.Rename(tmp, v.idxPath(s.id))
}

// readIdx returns the packed notes of a segment; nil where there are none to go by.
func (v *volume) readIdx(s *segment) []byte {
	notes, _, _ := v.readCheckpoint(s)
	return notes
}

// readCheckpoint returns the packed notes of a segment and the names of its heads; nil
// where there are none to go by. length is how long the segment was when it was synced, 0 where
// that is not known.
func (v *volume) readCheckpoint(s *segment) (notes []byte, naming *namingReader, length int64) {
	f, err := v.o.FS.Open(v.idxPath(s.id))
	if err != nil {
		return nil, nil, 0
	}
	defer func() { _ = f.Close() }() // it was only read
	size, err := f.Size()
	if err != nil || size < idxHeader || size > maxIdxShare*(v.o.segmentSize+s.end)+idxHeader+namingHeader {
		return nil, nil, 0
	}
	b := make([]byte, size)
	if n, _ := f.ReadAt(b, 0); int64(n) < size {
		return nil, nil, 0
	}
	le := binary.LittleEndian
	if string(b[:8]) != idxMagic || le.Uint32(b[8:]) != idxVersion || le.Uint32(b[12:]) != s.id || le.Uint32(b[24:]) != idxSum(b) {
		return nil, nil, 0
	}
	if length = int64(le.Uint64(b[16:])); length != s.end {
		return nil, nil, length
	}
	end := int64(le.Uint32(b[28:]))*noteSize + idxHeader
	if end > size {
		return nil, nil, 0
	}
	naming, ok := openNamings(b[end:])
	if !ok {
		return nil, nil, 0
	}
	return b[idxHeader:end:end], naming, length
}

// maxIdxShare is how many times longer than its segment a checkpoint may be: a note
// takes no more than its record, and a name's hash up to four times its name.
const maxIdxShare = 6

// forgetIdx removes a segment's checkpoint, if it has one.
func (v *volume) forgetIdx(id uint32) {
	if err := v.o.FS.Remove(v.idxPath(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		v.health.ioErrors.Add(1)
	}
}
