package disk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math/bits"
	"path"

	"edge/cache/storage"
)

// Which keys are whose. Where disks are added, taken away, resized or named in another
// order, keys come to lie on other disks. What the first ones have of them stays
// behind, and nobody replaces or invalidates it there any more; so it must not be used
// as it is when the keys come back. A disk therefore keeps what its share was when it was
// used last, and how often shares had changed by then: where its share is another now,
// or it missed a change, everything on it is validated before reuse. And what is not of its
// share is not in its index.
//
// Nor must what is on a disk be used as it is that could not be opened for a while: its
// keys were replaced and invalidated without it. It cannot be told; so the others keep
// which disks were absent when they were used last, and those are validated likewise when
// they are back. (A count of changes is not enough: of two disks that are absent in turns
// each has missed something, and both have counted as far.)
//
// The file "SHARE" is one line of text, written anew under another name first: how often
// shares had changed, where among how many the share begins and how long it is, in
// bytes of disks, and where a disk was absent, a digit for each disk, 1 for such a one.
// Version 1 spread keys otherwise, and is not known.
const (
	shareName    = "SHARE"
	shareFormat  = "edge share 2: change %d, from %d for %d of %d\n"
	absentFormat = "edge share 3: change %d, from %d for %d of %d without %s\n"
	maxShare     = 4096
)

// spread maps a key to [0, total), by its own bits: a key must find its disk again
// after a restart. It keeps the order of the bits, so that a disk's keys are a run of
// them that depends on proportions only.
func spread(key *storage.Key, total uint64) uint64 {
	at, _ := bits.Mul64(binary.BigEndian.Uint64(key[8:16]), total)
	return at
}

// share is what a disk knows of its share; the zero share: nothing.
type share struct {
	change          uint64
	at, size, total int64
	without         string // the disks that were absent; "" for none
}

// missed reports whether disk number i, from 0, was absent when the one that has the share
// was used.
func (s *share) missed(i int) bool { return i < len(s.without) && s.without[i] != '0' }

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
	b := make([]byte, maxShare)
	n, _ := f.ReadAt(b, 0)
	if _, err := fmt.Sscanf(string(b[:n]), absentFormat, &s.change, &s.at, &s.size, &s.total, &s.without); err == nil {
		return s
	}
	s = share{}
	if _, err := fmt.Sscanf(string(b[:n]), shareFormat, &s.change, &s.at, &s.size, &s.total); err != nil {
		return share{}
	}
	return s
}

// line is what the file says.
func (s *share) line() []byte {
	if s.without == "" {
		return fmt.Appendf(nil, shareFormat, s.change, s.at, s.size, s.total)
	}
	return fmt.Appendf(nil, absentFormat, s.change, s.at, s.size, s.total, s.without)
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
	_, err = f.WriteAt(s.line(), 0)
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
	newest, moved, at := uint64(0), false, int64(0)
	for i, v := range st.volumes {
		if now[i] = (share{}); len(st.volumes) > 1 { // one has all, however large
			now[i] = share{at: at, size: v.limit, total: int64(st.total)}
			at += v.limit
		}
		if v.absent != nil {
			continue
		}
		if len(st.volumes) > 1 {
			v.dropRows(func(r *row) bool { return st.volume(&r.key) != v }, new(counter))
		}
		known[i] = v.readShare()
		newest = max(newest, known[i].change)
		moved = moved || !known[i].same(&now[i])
	}
	missed := make([]bool, len(st.volumes)) // what became of its keys meanwhile
	changed := moved
	for i, v := range st.volumes {
		if v.absent != nil {
			continue
		}
		changed = changed || known[i].change != newest || known[i].without != st.without(nil)
		for j := range missed { // where keys have moved, the numbers of disks may have
			missed[j] = missed[j] || known[i].missed(j) || moved && known[i].without != ""
		}
	}
	if !changed {
		return
	}
	due := make([]bool, len(st.volumes))
	for i, v := range st.volumes {
		now[i].change = newest + 1
		kept := known[i].change == newest && known[i].same(&now[i]) && !missed[i]
		if v.absent != nil || kept || !v.hasSegments() {
			continue
		}
		why := "the disks have changed, and keys lie elsewhere: what is on this one is validated before reuse"
		if missed[i] && !moved {
			why = "a disk that was absent is back: what is on it is validated before reuse"
		}
		v.o.Logger.Warn(why, "disk", v.dir)
		v.doubt()
		v.doubtOpen()
		due[i] = true
	}
	st.settle(&settlement{shares: now, due: due})
}

// without returns which disks are absent, or as good as that, for a share.
func (st *Store) without(likewise []bool) string {
	digits, any := make([]byte, len(st.volumes)), false
	for i, v := range st.volumes {
		digits[i] = '0'
		if v.absent != nil || i < len(likewise) && likewise[i] {
			digits[i], any = '1', true
		}
	}
	if !any {
		return ""
	}
	return string(digits)
}

// hasSegments reports whether there are or were segments, readable or not.
func (v *volume) hasSegments() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.nextID > 1
}
