package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"math/bits"
	"path"
)

// Which keys are whose. Where disks are added, taken away, resized or named in another
// order, keys come to lie on other disks. What the first ones have of them stays
// behind, and nobody replaces or invalidates it there any more; so it must not be used
// as it is when the keys come back. A disk therefore keeps what its share was when it was
// used last, and how often shares had changed by then: where its share is another now,
// or it missed a change, everything on it is validated before reuse. And what is not of its
// share is not in its index.
//
// The file "SHARE" is one line of text, written anew under another name first: how often
// shares had changed, and where among how many the share begins and how long it is, in
// bytes of disks. Version 1 spread keys otherwise, and is not known.
const (
	shareName   = "SHARE"
	shareFormat = "edge share 2: change %d, from %d for %d of %d\n"
	maxShare    = 256
)

// share is what a disk knows of its share; the zero share: nothing.
type share struct {
	change          uint64
	at, size, total int64
}

// same reports whether two shares are of the same keys: keys are spread over the
// total, so that where all disks are resized by the same factor none moves.
func (s *share) same(o *share) bool {
	if s.total == 0 || o.total == 0 {
		return s.at == o.at && s.size == o.size && s.total == o.total
	}
	return equalRatio(s.at, s.total, o.at, o.total) && equalRatio(s.size, s.total, o.size, o.total)
}

// equalRatio reports whether a/b is c/d, of numbers that are not negative.
func equalRatio(a, b, c, d int64) bool {
	high, low := bits.Mul64(uint64(a), uint64(d))
	high2, low2 := bits.Mul64(uint64(c), uint64(b))
	return high == high2 && low == low2
}

// readShare returns what the disk knows; what cannot be read is not known.
func (v *volume) readShare() (s share) {
	f, err := v.o.FS.Open(path.Join(v.dir, shareName))
	if err != nil {
		return share{}
	}
	defer func() { _ = f.Close() }() // it was only read
	var b [maxShare]byte
	n, _ := f.ReadAt(b[:], 0)
	if _, err := fmt.Sscanf(string(b[:n]), shareFormat, &s.change, &s.at, &s.size, &s.total); err != nil {
		return share{}
	}
	return s
}

// writeShare has the disk know its share, and survives power loss.
func (v *volume) writeShare(s *share) error {
	name := path.Join(v.dir, shareName)
	tmp := name + ".tmp"
	if err := v.o.FS.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := v.o.FS.Create(tmp)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(fmt.Appendf(nil, shareFormat, s.change, s.at, s.size, s.total), 0)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := v.o.FS.Rename(tmp, name); err != nil {
		return err
	}
	return v.o.FS.SyncDir(v.dir)
}

// settleShares compares what the disks know with what they are to have. At start, when
// the workers run and nobody else has the store yet.
func (st *Store) settleShares() {
	known, now := make([]share, len(st.volumes)), make([]share, len(st.volumes))
	newest, changed, at := uint64(0), false, int64(0)
	for i, v := range st.volumes {
		known[i] = v.readShare()
		if now[i] = (share{}); len(st.volumes) > 1 { // one has all, however large
			now[i] = share{at: at, size: v.limit, total: int64(st.total)}
			at += v.limit
			v.dropRows(func(r *row) bool { return st.volume(&r.key) != v }, new(counter))
		}
		newest = max(newest, known[i].change)
		changed = changed || !known[i].same(&now[i])
	}
	for i := range known {
		changed = changed || known[i].change != newest
	}
	if !changed {
		return
	}
	for i, v := range st.volumes {
		kept := known[i].change == newest && known[i].same(&now[i])
		if now[i].change = newest + 1; !kept && v.hasSegments() {
			v.o.Logger.Warn("the disks have changed, and keys lie elsewhere: what is on this one is validated before reuse", "disk", v.dir)
			if err := v.doubtAll(); err != nil {
				v.o.Logger.Warn("that will be done once more at the next start", "disk", v.dir, "error", err)
				continue
			}
		}
		if err := v.writeShare(&now[i]); err != nil {
			v.health.ioErrors.Add(1)
			v.o.Logger.Warn("a disk does not know its share: it is validated before reuse at the next start", "disk", v.dir, "error", err)
		}
	}
}

// hasSegments reports whether there are or were segments, readable or not.
func (v *volume) hasSegments() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.nextID > 1
}

// doubtAll makes everything on the disk invalid until it is validated; that survives
// power loss unless there is an error.
func (v *volume) doubtAll() error {
	v.doubt()
	v.doubtOpen()
	return v.placeSynced(&record{kind: kindDoubt})
}
