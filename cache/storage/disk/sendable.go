package disk

import (
	"edge/cache/storage"
	"edge/cache/storage/vfs"
)

// Sending from the file: what was checked, lies in a segment's file and in the
// kernel's page cache can go from there to a socket, by sendfile, without being
// copied through us. What lies in the page cache only: then sendfile neither
// waits nor fails, and what does not is read, which can be given up and whose
// error comes in time to do something about it. We never change the bytes: segments
// are only ever appended to, and what is reclaimed loses its name, not its content, for
// as long as the reader has it pinned; the pages that a socket still holds after
// that outlive the file. That somebody else changed them is noticed before each piece
// (proof.go).

// sendFrom is the shortest piece, in bytes, that is worth a sendfile. Measured on
// the loopback of a two-core VM (head and body of a response, CPU microseconds of
// the sender, page cache warm): asking the page cache, MSG_MORE and sendfile
// against pread and writev: 4 KiB 9 and 8, 8 KiB 8 and 10, 16 KiB 8 and 13, 64 KiB
// 15 and 38, 256 KiB 50 and 120.
const sendFrom = 16 << 10

var _ storage.FileReader = (*reader)(nil)

// NextFile returns where the next bytes lie, if they can be sent from there.
func (r *reader) NextFile() (storage.FilePiece, bool) {
	if r.offered.Length > 0 && r.offeredAt == r.pos {
		return r.offered, true // who asks twice has not used it yet
	}
	if r.closed || r.f != nil || r.doubt || r.b.whole != nil || r.pos >= min(r.limit, r.b.size) || r.e.v.health.readsOut() {
		return storage.FilePiece{}, false
	}
	i := find(r.b.extents, r.pos)
	if i == len(r.b.extents) {
		return storage.FilePiece{}, false
	}
	x, s := &r.b.extents[i], r.b.segments[i]
	n := min(x.end(), r.limit) - r.pos
	if n < sendFrom || x.start() > r.pos || !s.proven().has(x.off, x.length) {
		return storage.FilePiece{}, false
	}
	off := int64(x.off) + r.pos - x.at
	f := s.inFile(off + n)
	if f == nil || !f.InMemory(off, n) {
		return storage.FilePiece{}, false
	}
	r.offered, r.offeredAt = storage.FilePiece{FD: f.Fd(), Offset: off, Length: n}, r.pos
	return r.offered, true
}

// Took moves on after NextFile.
func (r *reader) Took(n int64, short bool) {
	r.pos += n
	r.offered = storage.FilePiece{}
	if !short {
		return
	}
	r.doubt = true
	if i := find(r.b.extents, r.pos); i < len(r.b.extents) {
		r.b.segments[i].proven().unset(r.b.extents[i].off)
	}
}

// inFile returns the segment's file if bytes up to end are in it and the system
// knows it, else nil. The caller has the segment pinned.
func (s *segment) inFile(end int64) vfs.SystemFile {
	if !s.settled.Load() {
		s.mu.RLock()
		written := s.written
		s.mu.RUnlock()
		if end > written {
			return nil
		}
	}
	if f := s.file.Load(); f != nil {
		of, _ := (*f).(vfs.SystemFile)
		return of
	}
	return nil
}
