package disk

import (
	"errors"
	"fmt"
	"path"

	"edge/cache/storage/vfs"
)

// Report is what Verify found.
type Report struct {
	Segments, Records int64
	Bytes             int64 // read
	// Damaged counts runs of bytes that are no record, and records whose bodies are
	// not what they should be. Of those, Torn end a segment, as a crash leaves
	// them.
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
	v := &volume{o: &settings{Options: Options{FS: fs}}, dir: dir}
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
	if ids, _, _, err = v.list(); err != nil { // as they are by now
		return r, err
	}
	var files []vfs.File
	var total int64
	defer func() {
		for _, f := range files {
			_ = f.Close() // it was only read
		}
	}()
	windows := make([]*sliding, len(ids))
	for i, id := range ids {
		f, err := fs.Open(v.name(id))
		if err != nil {
			return r, fmt.Errorf("disk: %w", err)
		}
		files = append(files, f)
		size, err := f.Size()
		if err != nil {
			return r, fmt.Errorf("disk: %w", err)
		}
		windows[i] = &sliding{f: f, size: size}
		total += size
	}
	for i, id := range ids {
		w := windows[i]
		err := r.segment(w, id, func(off int64) {
			if progress != nil {
				progress(r.Bytes+off, total)
			}
		})
		if err != nil {
			return r, fmt.Errorf("disk: %s: %w", v.name(id), err)
		}
		r.Segments++
		r.Bytes += w.size
		w.buf = nil
	}
	return r, nil
}

// segment checks one segment.
func (r *Report) segment(w *sliding, id uint32, progress func(off int64)) error {
	bad := false // within a run that is no record
	for off := int64(0); off < w.size; {
		rec, _, err := w.record(id, off)
		switch {
		case errors.Is(err, errDamaged):
			if !bad {
				r.note(id, off, "no record")
			}
			bad = true
			off += recordAlign
			continue
		case err != nil:
			return err
		}
		bad = false
		r.Records++
		if rec.body > 0 {
			b, err := w.at(off+headerSize+int64(rec.front), int(rec.body))
			switch {
			case errors.Is(err, errDamaged): // it goes beyond the end
				r.note(id, off, "a record that was not written to its end")
				r.Torn++
			case err != nil:
				return err
			case checksum(b) != rec.bodySum:
				r.note(id, off, "a body that is not what was written")
			}
		}
		off += rec.size()
		progress(min(off, w.size))
	}
	if bad {
		r.Torn++
	}
	return nil
}

func (r *Report) note(id uint32, off int64, what string) {
	r.Damaged++
	if len(r.Places) < maxPlaces {
		r.Places = append(r.Places, fmt.Sprintf("%08x.seg at %d: %s", id, off, what))
	}
}
