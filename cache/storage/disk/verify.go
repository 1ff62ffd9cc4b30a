package disk

import (
	"errors"
	"fmt"
	"log/slog"
	"path"

	"edge/cache/storage/vfs"
)

// Report is what Verify found.
type Report struct {
	Segments, Records int64
	Bytes             int64 // read
	// Damaged counts runs of bytes that are no record, records whose bodies are
	// not what they should be, and segments that are lost, cannot be read, or have become
	// shorter. Of those, Torn end a segment that was never synced whole, as a crash
	// leaves them.
	Damaged, Torn int64
	// Places names the damage, the first maxPlaces.
	Places []string
}

// maxPlaces bounds Report.Places.
const maxPlaces = 100

// Verify checks every record of a disk that no process has open. It changes
// nothing. A directory that is no disk, or one of another format, is an error. progress,
// which may be nil, is told how many bytes of how many have been read.
func Verify(fs vfs.FS, dir string, progress func(done, total int64)) (r Report, err error) {
	v := &volume{o: &settings{Options: Options{FS: fs, Logger: slog.New(slog.DiscardHandler)}, segmentSize: maxSegment}, dir: dir}
	ids, _, _, err := v.list()
	if err != nil {
		return r, err
	}
	// Before the lock, whose file is made. What is none of ours, or of another
	// version, would look sound, or damaged.
	there, err := checkFormat(fs, dir)
	if err == nil && !there && len(ids) == 0 {
		err = fmt.Errorf("disk: %s is no disk of this program: it has neither a FORMAT file nor segments", dir)
	}
	if err != nil {
		return r, err
	}
	lock, err := fs.Lock(path.Join(dir, "LOCK"))
	if errors.Is(err, vfs.ErrLocked) {
		return r, fmt.Errorf("disk: %s is in use: stop the node first: %w", dir, err)
	} else if err != nil {
		return r, fmt.Errorf("disk: %s: %w", dir, err)
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	ids, _, lost, err := v.list() // as they are by now
	if err != nil {
		return r, err
	}
	if !there {
		r.damage("FORMAT: missing, or not what was written")
	}
	total := int64(0)
	for _, id := range ids {
		if f, err := fs.Open(v.name(id)); err == nil {
			size, _ := f.Size() // what cannot be read is said below
			total += size
			_ = f.Close() // nothing was written
		}
	}
	for i, id := range ids {
		if i > 0 && id != ids[i-1]+1 {
			r.damage("%08x.seg to %08x.seg: lost", ids[i-1]+1, id-1)
		}
		before := r.Bytes
		err := r.segment(v, id, func(off int64) {
			if progress != nil {
				progress(before+off, total)
			}
		})
		if errors.Is(err, errVersion) {
			return r, fmt.Errorf("disk: %s: %w", v.name(id), err)
		} else if err != nil {
			r.damage("%08x.seg: %v", id, err)
		}
		r.Segments++
	}
	if newest := max(lost, v.readNewest()); len(ids) > 0 && newest > ids[len(ids)-1] {
		r.damage("%08x.seg to %08x.seg: lost", ids[len(ids)-1]+1, newest)
	}
	return r, nil
}

// segment checks one segment.
func (r *Report) segment(v *volume, id uint32, progress func(off int64)) error {
	f, err := v.o.FS.Open(v.name(id))
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // it was only read
	size, err := f.Size()
	if err != nil {
		return err
	}
	r.Bytes += size
	_, _, length := v.readCheckpoint(&segment{v: v, id: id, end: size})
	if length > size {
		r.damage("%08x.seg at %d: it was longer when it was synced", id, size)
	}
	torn, cut, err := r.records(&sliding{f: f, size: size}, id, progress)
	if torn && length == 0 || cut && length <= size { // else it was all there
		r.Torn++
	}
	return err
}

// records checks a segment's records. torn: it does not end with one; cut: it ends within the
// body of one, which stays so, since the head is right.
func (r *Report) records(w *sliding, id uint32, progress func(off int64)) (torn, cut bool, err error) {
	for off := int64(0); off < w.size; {
		rec, _, err := w.record(id, off)
		switch {
		case errors.Is(err, errDamaged):
			if !torn {
				r.note(id, off, "no record")
			}
			torn = true // so far
			off += recordAlign
			continue
		case err != nil:
			return false, false, err
		}
		torn = false
		r.Records++
		if rec.body > 0 {
			b, err := w.at(off+headerSize+int64(rec.front), int(rec.body))
			switch {
			case errors.Is(err, errDamaged): // it goes beyond the end
				r.note(id, off, "a record that was not written to its end")
				cut = true
			case err != nil:
				return false, false, err
			case checksum(b) != rec.bodySum:
				r.note(id, off, "a body that is not what was written")
			}
		}
		off += rec.size()
		progress(min(off, w.size))
	}
	return torn, cut, nil
}

func (r *Report) note(id uint32, off int64, what string) {
	r.damage("%08x.seg at %d: %s", id, off, what)
}

func (r *Report) damage(format string, args ...any) {
	r.Damaged++
	if len(r.Places) < maxPlaces {
		r.Places = append(r.Places, fmt.Sprintf(format, args...))
	}
}
