package disk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"edge/cache/storage"
	"edge/cache/storage/vfs"
)

// Open opens the disks, and makes what is not there. It returns once everything
// that is stored can be found. A disk that cannot be opened is absent where another can:
// State says why. An error is one of the options, of a disk that another process has, of
// a format that this version does not read, or of the first disk where none can be opened.
func Open(o Options) (*Store, error) {
	s, err := o.complete()
	if err != nil {
		return nil, err
	}
	st := &Store{o: s, stop: make(chan struct{})}
	if st.hot, err = newHot(s.Hot, min(s.chunk, readPiece)); err != nil {
		return nil, err
	}
	st.witness, _ = s.Ledger.(storage.Witness)
	if err := st.openAll(); err != nil {
		for _, v := range st.volumes {
			v.abandon()
		}
		st.hot.close()
		return nil, err
	}
	for _, v := range st.volumes {
		if v.absent != nil {
			s.Logger.Error("a disk cannot be opened: the rest serve, and until the next start nothing is found or stored on it", "disk", v.dir, "error", v.absent)
			continue
		}
		v.workers.Add(3)
		go v.flusher()
		go v.reclaimer()
		go v.scrubber()
		v.wake(v.reclaimNow) // the disk may have become smaller
	}
	st.settleShares()
	return st, nil
}

// openAll opens each disk that can be opened. It is an error where none can, or where one
// must not be done without: what another process has, or another version wrote, is
// somebody's mistake, and no disk that fails.
func (st *Store) openAll() error {
	var first error
	opened := 0
	for _, d := range st.o.Disks {
		v := st.newVolume(&d)
		err := st.o.Away[d.Path]
		if err == nil {
			err = v.open()
		}
		if err == nil {
			opened++
		} else {
			v.abandon()
			if errors.Is(err, vfs.ErrLocked) || errors.Is(err, errVersion) {
				return err
			}
			if first == nil {
				first = err
			}
			v = st.newVolume(&d) // what it had been told of the disk by then is forgotten
			v.absent = err
			v.health.beAbsent(err)
		}
		st.volumes = append(st.volumes, v)
		st.total += uint64(d.Size)
	}
	if opened == 0 {
		return first
	}
	return nil
}

// newVolume returns a volume that is not open.
func (st *Store) newVolume(d *Disk) *volume {
	v := &volume{st: st, o: st.o, dir: d.Path, limit: d.Size, nextID: 1,
		flushNow: make(chan struct{}, 1), reclaimNow: make(chan struct{}, 1), stop: make(chan struct{}), suspects: make(chan identity, maxSuspects)}
	v.index.init()
	return v
}

// abandon closes what open opened.
func (v *volume) abandon() {
	for _, s := range v.segments {
		s.unpin()
	}
	if v.lock != nil {
		_ = v.lock.Close() // likewise
	}
}

// open reads a disk.
func (v *volume) open() error {
	if err := v.o.FS.MkdirAll(v.dir); err != nil {
		return fmt.Errorf("disk: %w", err)
	}
	var err error
	if v.lock, err = v.o.FS.Lock(path.Join(v.dir, "LOCK")); err != nil {
		return fmt.Errorf("disk: %s cannot be had: %w", v.dir, err)
	}
	ids, strays, lost, err := v.list()
	if err != nil {
		return err
	}
	if err := v.format(len(ids) > 0); err != nil {
		return err
	}
	v.clear(strays)
	last := uint32(0)
	if len(ids) > 0 {
		last = ids[len(ids)-1]
	}
	if v.newest = v.readNewest(); v.newest > last {
		lost = max(lost, v.newest)
	}
	v.nextID = lost + 1 // also where replaying begins a segment
	if err := v.replay(ids); err != nil {
		return err
	}
	v.noteNewest(last)
	if lost > 0 && last > 0 {
		v.o.Logger.Warn("the newest segment is lost: all of the disk is validated before reuse", "disk", v.dir, "segment", v.name(lost))
		v.doubt()
	}
	return nil
}

// list returns the numbers of the segments there are, ascending, and the names of what
// a process that was killed left behind: what it was writing beside its final name, and
// the checkpoints of segments that have been reclaimed.
//
// lost is the number of a segment behind all that are there, of which there is a
// checkpoint only; 0: none. What it took away of the others nobody knows. Its checkpoint
// stays until one with a greater number is there: then the gap between tells as much.
func (v *volume) list() (ids []uint32, strays []string, lost uint32, err error) {
	names, err := v.o.FS.List(v.dir)
	if err != nil {
		return nil, nil, 0, fmt.Errorf("disk: %w", err)
	}
	var noted []uint32
	for _, n := range names { // sorted, and all numbers are of one length
		if id, ok := numberOf(n, ".seg"); ok {
			if last := len(ids) - 1; last >= 0 && id-ids[last] > maxGap {
				v.o.Logger.Warn("a file that is no segment of this disk is left alone", "disk", v.dir, "file", n)
				continue
			}
			ids = append(ids, id)
		} else if id, ok := numberOf(n, ".idx"); ok {
			noted = append(noted, id)
		} else if n == idxTemporary || n == probeName {
			strays = append(strays, n)
		}
	}
	for i, id := range noted {
		_, there := slices.BinarySearch(ids, id)
		switch {
		case there:
		case i == len(noted)-1 && (len(ids) == 0 || id > ids[len(ids)-1] && id-ids[len(ids)-1] <= maxGap):
			lost = id
		default:
			strays = append(strays, idxName(id))
		}
	}
	return ids, strays, lost, nil
}

const (
	// maxNumber bounds the numbers of segments that are believed: none that we wrote comes
	// near it, and those that follow it must not overflow.
	maxNumber = 1 << 31
	// maxGap bounds how many segments can be lost between two, for there were never more at
	// once. What is further on was not written by us, and must not be what numbers go on from.
	maxGap = 1 << 22
)

// numberOf returns the number of the segment that a file belongs to by its name.
func numberOf(name, suffix string) (uint32, bool) {
	hex, ok := strings.CutSuffix(name, suffix)
	id, err := strconv.ParseUint(hex, 16, 32)
	return uint32(id), ok && len(hex) == 8 && err == nil && id > 0 && id <= maxNumber
}

// clear removes strays. They would take room that nothing counts.
func (v *volume) clear(strays []string) {
	for _, n := range strays {
		if err := v.o.FS.Remove(path.Join(v.dir, n)); err != nil {
			v.health.ioErrors.Add(1)
			v.o.Logger.Warn("a file left behind cannot be removed", "disk", v.dir, "file", n, "error", err)
		}
	}
}

// format checks the FORMAT file, or writes it where the disk is new.
func (v *volume) format(used bool) error {
	name := path.Join(v.dir, "FORMAT")
	there, err := checkFormat(v.o.FS, v.dir)
	switch {
	case err != nil || there:
		return err
	case used:
		v.o.Logger.Warn("a disk without its FORMAT file: its records say themselves what they are", "disk", v.dir)
	}
	if err := v.o.FS.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) { // torn when it was made
		return fmt.Errorf("disk: %w", err)
	}
	return v.writeFormat(name)
}

// checkFormat reads a disk's FORMAT file: whether it is there and names the format
// that this program reads. One that is empty, or ends in the middle, was torn when it was
// made, and is not there; nor is one, on a disk that has segments, that names no format at
// all: it has rotted, and records say themselves what they are. One that names another
// format is an error.
func checkFormat(files vfs.FS, dir string) (there bool, err error) {
	name := path.Join(dir, "FORMAT")
	f, err := files.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("disk: %w", err)
	}
	got := make([]byte, 64)
	n, err := f.ReadAt(got, 0)
	if err := errors.Join(ignore(err, io.EOF), f.Close()); err != nil {
		return false, fmt.Errorf("disk: reading %s: %w", name, err)
	}
	if strings.HasPrefix(formatName, string(got[:n])) {
		return n == len(formatName), nil
	}
	if !namesFormat(got[:n]) && hasSegments(files, dir) {
		return false, nil
	}
	return false, fmt.Errorf("%w: %s was written as %q, and this program reads and writes %q; "+
		"run the version that wrote it, or empty the directory (it is a cache: the origins have everything)",
		errVersion, dir, strings.TrimSpace(string(got[:n])), strings.TrimSpace(formatName))
}

// namesFormat reports whether a FORMAT file is one that some version wrote.
func namesFormat(b []byte) bool {
	number, ok := strings.CutPrefix(string(b), formatPrefix)
	_, err := strconv.ParseUint(strings.TrimSuffix(number, "\n"), 10, 32)
	return ok && err == nil
}

// hasSegments reports whether there are segments in a directory, readable or not.
func hasSegments(files vfs.FS, dir string) bool {
	names, err := files.List(dir)
	return err == nil && slices.ContainsFunc(names, func(n string) bool {
		_, ok := numberOf(n, ".seg")
		return ok
	})
}

func ignore(err, what error) error {
	if errors.Is(err, what) {
		return nil
	}
	return err
}

func (v *volume) writeFormat(name string) error {
	f, err := v.o.FS.Create(name)
	if err != nil {
		return fmt.Errorf("disk: %w", err)
	}
	_, err = f.WriteAt([]byte(formatName), 0)
	if err := errors.Join(err, f.Sync(), f.Close(), v.o.FS.SyncDir(v.dir)); err != nil {
		return fmt.Errorf("disk: writing %s: %w", name, err)
	}
	return nil
}
