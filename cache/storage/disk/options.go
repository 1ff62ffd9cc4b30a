package disk

import (
	"errors"
	"fmt"
	"log/slog"
	"math/bits"
	"time"

	"edge/cache/storage"
	"edge/cache/storage/vfs"
)

// Disk is one of the directories that the tier is spread over.
type Disk struct {
	// Path is the directory, made if it is not there.
	Path string
	// Size is the budget in bytes. At least MinSize.
	Size int64
}

// Options configure a Store. The zero value of everything but Disks and Clock is
// a default.
type Options struct {
	Disks []Disk
	// Away has, by their paths, disks that are not to be opened, as if they could not be,
	// and why. Default: none.
	Away map[string]error
	// MaxObject is the longest body kept, in bytes. Default: a quarter of the
	// smallest disk, at most 8 GiB.
	MaxObject int64
	// Window is how much of a body too large to keep is held in memory for
	// its readers, in bytes. Default storage.DefaultWindow.
	Window int64
	// Hot is how much memory, in bytes, pieces of bodies longer than HotFrom may take
	// that are read again and again. Default: none.
	Hot, HotFrom int64
	// ChunkSize is the piece, in bytes and a power of two from 4 KiB to 1 MiB,
	// that bodies are kept in; those announced with more than 256 pieces are
	// kept in pieces up to four times as large, never larger than 1 MiB, and a whole one
	// announced with up to 1 MiB is mostly kept in one.
	// Default: 256 KiB, less on disks of less than 256 MiB.
	ChunkSize int
	// SegmentSize is how much a segment holds, in bytes, on every disk.
	// Default: 1/64 of the smallest disk, at most 256 MiB and at least 1/4096
	// of the largest, but never more than 1 GiB.
	SegmentSize int64
	// FlushInterval is how long what was committed may stay in memory: from
	// then on it survives the process's being killed. Default 1 s.
	FlushInterval time.Duration
	// SyncInterval is how long what was flushed may stay unsynced: from then
	// on it survives power loss. Default 10 s.
	SyncInterval time.Duration
	// Retry is how long a disk that failed is left alone. Default 5 s.
	Retry time.Duration
	// ScrubRate is how many bytes of each disk are read again in a second, to find
	// what rotted. Default: so many that a pass takes a week, from 1 MiB to 32 MiB.
	// Negative: none.
	ScrubRate int64
	// Ledger tells of purges. Default storage.NoPurges.
	Ledger storage.Ledger
	// Clock tells the time. There is no default: records outlive the process, so
	// all of it must tell the time alike.
	Clock storage.Clock
	// Logger gets what an operator should know. Default: none.
	Logger *slog.Logger
	// FS is the filesystem. Default vfs.OS.
	FS vfs.FS
	// Warm is asked, when space is reclaimed, whether a response is in use
	// though this tier does not see it. Default: never.
	Warm func(key storage.Key) bool
	// Progress is told, while a disk is opened, how many of its segments have
	// been read, of how many. Default: nobody.
	Progress func(dir string, read, segments int)
}

// The defaults and bounds of Options.
const (
	// MinSize is the smallest Disk.Size, in bytes.
	MinSize = 512 << 10

	minChunk, maxChunk     = 4 << 10, 1 << 20
	defaultChunk           = 256 << 10
	chunksPerDisk          = 1 << 10
	maxObjectCap           = 8 << 30
	minSegment, maxSegment = 64 << 10, 1 << 30
	segmentsAimed          = 64
	defaultSegment         = 256 << 20
	maxSegmentCount        = 4096
	minSegmentCount        = 8

	defaultFlush = time.Second
	defaultSync  = 10 * time.Second
	defaultRetry = 5 * time.Second

	// inlineCap is the longest body, in bytes, that lies in one record with its head.
	inlineCap = 64 << 10
	// smallRead is the largest record, in bytes, that a look-up reads whole.
	smallRead = 16 << 10
	// maxPending is how many bytes of a disk may wait for the flusher: more
	// is refused, so that a slow disk costs no memory.
	maxPending = 16 << 20
)

// settings are Options, completed.
type settings struct {
	Options
	chunk       int
	segmentSize int64
	segments    int // how many there may be on a disk, however small: each takes a descriptor
	inline      int
}

// complete checks o and fills in defaults.
func (o Options) complete() (*settings, error) {
	if len(o.Disks) == 0 || o.Clock == nil {
		return nil, errors.New("disk: no disks, or no clock")
	}
	smallest, largest := o.Disks[0].Size, int64(0)
	seen := map[string]bool{}
	for _, d := range o.Disks {
		if d.Size < MinSize {
			return nil, fmt.Errorf("disk: %s: %d bytes; %d at least", d.Path, d.Size, MinSize)
		}
		if seen[d.Path] {
			return nil, fmt.Errorf("disk: %s is named twice", d.Path)
		}
		seen[d.Path] = true
		smallest, largest = min(smallest, d.Size), max(largest, d.Size)
	}
	s := &settings{Options: o, chunk: o.ChunkSize, segmentSize: o.SegmentSize}
	if s.chunk == 0 {
		s.chunk = min(defaultChunk, max(minChunk, 1<<(bits.Len64(uint64(smallest/chunksPerDisk))-1)))
	}
	if s.chunk < minChunk || s.chunk > maxChunk || s.chunk&(s.chunk-1) != 0 {
		return nil, fmt.Errorf("disk: chunks of %d bytes; a power of two from %d to %d", s.chunk, minChunk, maxChunk)
	}
	if s.segmentSize == 0 {
		s.segmentSize = max(min(smallest/segmentsAimed, defaultSegment), min(largest/maxSegmentCount, maxSegment), int64(s.chunk)*4, minSegment)
	}
	s.segmentSize = pad(s.segmentSize)
	if s.segmentSize < int64(s.chunk)*2 || s.segmentSize > maxSegment || s.segmentSize > smallest/minSegmentCount {
		return nil, fmt.Errorf("disk: segments of %d bytes do not do for chunks of %d and disks of %d to %d bytes", s.segmentSize, s.chunk, smallest, largest)
	}
	s.segments = int(max(2*maxSegmentCount, 2*largest/s.segmentSize))
	if s.MaxObject == 0 {
		s.MaxObject = min(smallest/4, maxObjectCap)
	}
	if s.MaxObject < 0 || s.MaxObject > smallest {
		return nil, fmt.Errorf("disk: objects of %d bytes on a disk of %d", s.MaxObject, smallest)
	}
	if s.Window == 0 {
		s.Window = storage.DefaultWindow
	}
	s.Window = max(s.Window, 2*int64(s.chunk))
	s.inline = min(inlineCap, s.chunk)
	s.defaults()
	return s, nil
}

func (s *settings) defaults() {
	if s.FlushInterval <= 0 {
		s.FlushInterval = defaultFlush
	}
	if s.SyncInterval <= 0 {
		s.SyncInterval = defaultSync
	}
	if s.Retry <= 0 {
		s.Retry = defaultRetry
	}
	if s.Ledger == nil {
		s.Ledger = storage.NoPurges{}
	}
	if s.Logger == nil {
		s.Logger = slog.New(slog.DiscardHandler)
	}
	if s.FS == nil {
		s.FS = vfs.OS{}
	}
	if s.Warm == nil {
		s.Warm = func(storage.Key) bool { return false }
	}
	if s.Progress == nil {
		s.Progress = func(string, int, int) {}
	}
}

// chunkFor returns the size of the pieces that a body is kept in: the same for
// every part of it.
func (s *settings) chunkFor(total int64) int64 {
	n := int64(s.chunk)
	for range 2 {
		if total > n*256 && 2*n <= maxChunk && 4*n <= s.segmentSize {
			n *= 2
		}
	}
	return n
}
