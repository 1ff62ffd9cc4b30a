package disk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path"
	"strings"

	"edge/cache/storage/vfs"
)

// The position of a disk in the journal of purges: how much of it what lies on the
// disk takes for granted. It is kept in a file of its own, and not in the log,
// because it must be possible to write it, or at least to take it away, when the
// log cannot be written.
//
// "PURGES", version 1: two slots of 512 bytes, little-endian, written in turns and in
// place, so that writing needs no room, and what a power loss tears is one slot.
// The one with the greater generation counts.
//
//	0 "edgeseen" | 8 version, 4 bytes | 12 length of the epoch, 4 bytes | 16
//	generation, 8 bytes | 24 sequence, 8 bytes | 32 epoch, up to 64 bytes | 508
//	CRC-32C of the 508 bytes before
const (
	positionName    = "PURGES"
	positionMagic   = "edgeseen"
	positionVersion = 1
	positionSlot    = 512
	positionEpoch   = 32
	positionSum     = positionSlot - 4
	// maxEpoch is the longest name of a journal, in bytes.
	maxEpoch = 64
)

// Missed is the sequence of a disk that may hold what was purged without any
// journal's knowing.
const Missed = math.MaxUint64

// position is the file. Not safe for concurrent use.
type position struct {
	fs         vfs.FS
	dir        string
	file       vfs.File // nil: to be opened or made
	generation uint64
	named      bool // the file's name survives power loss
}

func (p *position) name() string { return path.Join(p.dir, positionName) }

// ReadPosition returns the position of the disk at dir, from whatever process had it
// before: no epoch where none is known, and then the sequence 0 if the disk is new,
// and Missed if it is not.
func ReadPosition(files vfs.FS, dir string) (epoch string, sequence uint64, err error) {
	names, err := files.List(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return "", 0, nil
	}
	if err != nil {
		return "", Missed, fmt.Errorf("disk: %w", err)
	}
	used := false
	for _, n := range names {
		used = used || strings.HasSuffix(n, ".seg")
	}
	p := &position{fs: files, dir: dir}
	epoch, sequence, err = p.read()
	err = errors.Join(err, p.close())
	if epoch == "" && sequence == 0 && used {
		sequence = Missed
	}
	return epoch, sequence, err
}

// read returns what the file says: nothing where there is no file, or none that can
// be understood. An error comes with Missed.
func (p *position) read() (epoch string, sequence uint64, err error) {
	_ = p.close() // of an earlier reading
	f, err := p.fs.Open(p.name())
	if errors.Is(err, fs.ErrNotExist) {
		return "", 0, nil
	}
	if err != nil {
		return "", Missed, fmt.Errorf("disk: the position in the purge journal: %w", err)
	}
	p.file = f
	size, err := f.Size()
	if err != nil {
		return "", Missed, fmt.Errorf("disk: the position in the purge journal: %w", err)
	}
	b := make([]byte, min(size, 2*positionSlot))
	if n, err := f.ReadAt(b, 0); n < len(b) {
		return "", Missed, fmt.Errorf("disk: the position in the purge journal: %w", err)
	}
	newest := uint64(0)
	for ; len(b) >= positionSlot; b = b[positionSlot:] {
		if e, s, g, ok := parsePosition(b[:positionSlot]); ok && g > newest {
			epoch, sequence, newest = e, s, g
		}
	}
	p.generation = max(p.generation, newest)
	return epoch, sequence, nil
}

func parsePosition(b []byte) (epoch string, sequence, generation uint64, ok bool) {
	le := binary.LittleEndian
	n := le.Uint32(b[12:])
	if string(b[:8]) != positionMagic || le.Uint32(b[8:]) != positionVersion || n > maxEpoch || le.Uint32(b[positionSum:]) != checksum(b[:positionSum]) {
		return "", 0, 0, false
	}
	return string(b[positionEpoch : positionEpoch+n]), le.Uint64(b[24:]), le.Uint64(b[16:]), true
}

// write puts a position into the file: it survives the process's end when write
// returns, and power loss after sync.
func (p *position) write(epoch string, sequence uint64) error {
	if len(epoch) > maxEpoch {
		return fmt.Errorf("disk: a journal whose name has %d bytes", len(epoch))
	}
	if err := p.open(); err != nil {
		return fmt.Errorf("disk: the position in the purge journal: %w", err)
	}
	b, le := make([]byte, positionSlot), binary.LittleEndian
	copy(b, positionMagic)
	le.PutUint32(b[8:], positionVersion)
	le.PutUint32(b[12:], uint32(len(epoch)))
	le.PutUint64(b[16:], p.generation+1)
	le.PutUint64(b[24:], sequence)
	copy(b[positionEpoch:], epoch)
	le.PutUint32(b[positionSum:], checksum(b[:positionSum]))
	if _, err := p.file.WriteAt(b, int64((p.generation+1)%2)*positionSlot); err != nil {
		return fmt.Errorf("disk: the position in the purge journal: %w", err)
	}
	p.generation++
	return nil
}

// open opens the file, or makes it.
func (p *position) open() error {
	if p.file != nil {
		return nil
	}
	f, err := p.fs.Open(p.name())
	if errors.Is(err, fs.ErrNotExist) {
		if f, err = p.fs.Create(p.name()); err == nil {
			// Both slots get their room now.
			if _, err = f.WriteAt(make([]byte, 2*positionSlot), 0); err != nil {
				err = errors.Join(err, f.Close())
			}
		}
	}
	if err != nil {
		return err
	}
	p.file = f
	return nil
}

// sync makes what was written survive power loss.
func (p *position) sync() error {
	if p.file == nil {
		return errors.New("disk: the position in the purge journal: nothing was written")
	}
	err := p.file.Sync()
	if err == nil && !p.named {
		err = p.fs.SyncDir(p.dir)
		p.named = err == nil
	}
	if err != nil {
		return fmt.Errorf("disk: the position in the purge journal: %w", err)
	}
	return nil
}

// forget takes the file away, for good: what is stored beside it is then not
// believed. It needs no room, and nothing to be written to a file.
func (p *position) forget() error {
	err := p.close()
	p.named = false
	if e := p.fs.Remove(p.name()); e != nil && !errors.Is(e, fs.ErrNotExist) {
		return errors.Join(err, fmt.Errorf("disk: the position in the purge journal: %w", e))
	}
	if e := p.fs.SyncDir(p.dir); e != nil {
		return errors.Join(err, fmt.Errorf("disk: the position in the purge journal: %w", e))
	}
	return nil // that the old file could not be closed does not matter
}

func (p *position) close() error {
	if p.file == nil {
		return nil
	}
	f := p.file
	p.file = nil
	return f.Close()
}
