package disk

import (
	"errors"
	"fmt"
	"io"
	"path"
	"sync"
	"sync/atomic"
	"time"

	"edge/cache/storage"
	"edge/cache/storage/inflight"
	"edge/cache/storage/vfs"
	"edge/message"
)

// volume is one disk: its log of segments and the index of what lies there.
//
// Its lock is taken under a shard's, and a segment's under it (doc.go).
type volume struct {
	st    *Store
	o     *settings
	dir   string
	limit int64 // of bytes, reclaimed but still pinned segments included
	index index
	lock  io.Closer // of the directory
	// absent is why the disk could not be opened, nil where it was. What is absent is empty,
	// takes nothing, has no workers, and stays so.
	absent error

	mu             sync.Mutex
	segments       []*segment // ascending; the last may be active
	active         *segment   // nil: the next append begins one
	nextID         uint32
	sealed         int64           // bytes in segments that are sealed, and listed
	condemned      int             // segments reclaimed but still pinned
	condemnedBytes int64           // that those take
	heldSince      message.Instant // since when, as far as anybody asked, those are so many that nobody gets room; 0: they are not
	room           inflight.Signal // there may be room again
	promised       int64           // bytes of records that are about to come: see promise
	owed           map[owing]struct{}
	owedAll        bool
	closing        bool

	health health

	live    atomic.Int64 // bytes of what is found
	count   atomic.Int64 // rows
	crowded atomic.Bool  // what is stored makes something else go

	marked atomic.Int64 // numbers in the shards' lists of what Take marked
	reaped int          // the shard where Reap goes on; Reap's own

	// The flusher's: how far all rows have been judged and what purge is the newest,
	// as the disk says, and what was the newest at the last thorough look; for how many
	// syncs there is none after that one, and for how many still.
	judgedUpTo, seenUpTo, lookedAt uint64
	lookRest, lookIn               int
	raised                         atomic.Bool // rows were judged that nobody asked for: a look may be of use

	holdsLost bool // the flusher's: some segment holds in memory what was lost
	unmade    bool // the flusher's: some segment that was lost has no file yet

	// The flusher's: the number in the file NEWEST, and the last that could not be
	// written there.
	newest, unnoted uint32

	flushing, reclaiming stall
	flushNow, reclaimNow chan struct{} // capacity 1
	suspects             chan identity // of responses in which damage was found
	stop                 chan struct{}
	workers              sync.WaitGroup
}

// owing names a tombstone, an invalidation or a doubt that could not be written yet.
type owing struct {
	kind    kind
	key     storage.Key
	variant uint32
}

// maxOwed bounds what is owed. Beyond, everything on the disk is dropped once
// it can be written again: rather that than what was taken away.
const maxOwed = 1 << 16

// Errors of appending.
var (
	// errBusy: there is no room now, but there may soon be.
	errBusy = errors.New("disk: no room now")
	// errNoRoom: as errBusy, but for reclaiming, which would wait for itself.
	errNoRoom = errors.New("disk: no room")
	// errStalled: as errBusy, but nobody should wait for it.
	errStalled = errors.New("disk: does not answer")
	// errPinned: likewise, because readers hold what was reclaimed.
	errPinned = errors.New("disk: no room while readers hold what was reclaimed")
	// errOut: the disk takes nothing.
	errOut = errors.New("disk: taken out")
)

// appendWait is how long a writer waits for room: for the flusher, or for a
// segment to be reclaimed.
const appendWait = 2 * time.Second

// append writes a record behind all others and pins its segment for the caller.
// mem is the header's room and the front. It never waits: errBusy where it would have
// to. reserve: for reclaiming, which may use the last segment.
func (v *volume) append(r *record, mem, body []byte, reserve bool) (*segment, error) {
	r.front, r.body = uint32(len(mem)-headerSize), uint32(len(body))
	size := r.size()
	if size > v.o.segmentSize || r.front > maxFront {
		return nil, fmt.Errorf("%w: a record of %d bytes", storage.ErrTooLarge, size)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.health.writesOut() || v.closing {
		return nil, errOut
	}
	switch err := v.payOwed(); {
	case err == errNoRoom && !reserve:
		return nil, v.noRoomYet()
	case err != nil:
		return nil, err
	}
	return v.place(r, mem, body, reserve)
}

// place is append under mu.
func (v *volume) place(r *record, mem, body []byte, reserve bool) (*segment, error) {
	size := r.size()
	if v.pending() > maxPending {
		v.wake(v.flushNow)
		return nil, v.noRoomYet()
	}
	s := v.active
	if s == nil || s.end+size > v.o.segmentSize {
		if s = v.rotate(reserve); s == nil {
			if reserve {
				return nil, errNoRoom
			}
			return nil, v.noRoomYet()
		}
	}
	s.add(size, func(to []byte, off int64) {
		r.seg, r.off = s.id, uint32(off)
		n := copy(to, mem)
		r.put(to)
		n += copy(to[n:], body)
		clear(to[n:])
	})
	s.noteRecord(noteOf(r, mem[headerSize:]), r.naming)
	s.pin()
	if s.pending() > blockSize {
		v.wake(v.flushNow)
	}
	return s, nil
}

// noRoomYet is the error of who could wait for room, if it were worth it. Under mu.
func (v *volume) noRoomYet() error {
	switch {
	case v.stalled():
		return errStalled
	case !v.heldUp():
	case v.heldSince == 0:
		v.heldSince = v.o.Clock()
	case v.o.Clock().Sub(v.heldSince) > int64(stallAfter):
		return errPinned
	}
	return errBusy
}

// heldUp reports whether so much is reclaimed but held by readers that reclaiming more
// would not make room. Under mu.
func (v *volume) heldUp() bool { return v.condemnedBytes > v.limit/condemnedShare }

// pending returns how many bytes wait for the flusher. Under mu.
func (v *volume) pending() (n int64) {
	for i := len(v.segments) - 1; i >= 0; i-- {
		s := v.segments[i]
		if s.settled.Load() {
			break
		}
		n += s.pending()
	}
	return n
}

// rotate begins a segment; nil where none may be begun. Under mu.
func (v *volume) rotate(reserve bool) *segment {
	left := v.limit - v.used()
	if v.active != nil {
		left += v.o.segmentSize - v.active.end
	}
	crowded := left < (spareSegments+1)*v.o.segmentSize || len(v.segments)+v.condemned >= v.o.segments
	if v.crowded.Store(crowded); crowded {
		v.wake(v.reclaimNow)
	}
	if left < v.o.segmentSize || left < 2*v.o.segmentSize && !reserve || len(v.segments)+v.condemned > v.o.segments {
		return nil
	}
	if v.active != nil {
		v.seal()
		v.wake(v.flushNow)
	}
	s := &segment{v: v, id: v.nextID}
	s.pins.Store(1)
	v.nextID++
	v.segments = append(v.segments, s)
	v.active = s
	return s
}

// used returns the bytes that are taken, or promised: those of the active segment
// all count. Under mu.
func (v *volume) used() int64 {
	n := v.sealed + v.condemnedBytes
	if v.active != nil {
		n += v.o.segmentSize
	}
	return n
}

// seal ends the active segment, if there is one. Under mu.
func (v *volume) seal() {
	if v.active != nil {
		v.active.seal()
		v.sealed += v.active.end
		v.active = nil
	}
}

// condemn counts a sealed segment that was taken off the list, until its last pin
// goes. Under mu.
func (v *volume) condemn(s *segment) {
	v.sealed -= s.end
	v.condemned++
	v.condemnedBytes += s.end
}

// wake pokes a worker.
func (v *volume) wake(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// patience is how long somebody waits for room, over any number of waits.
type patience struct {
	wait time.Duration
	end  <-chan time.Time // nil before the first wait
	stop func() bool
}

// roomRecheck is how long one wait lasts at most: room may have come before the
// wait began.
const roomRecheck = 50 * time.Millisecond

// done ends the patience; it may never have begun.
func (p *patience) done() {
	if p.stop != nil {
		p.stop()
	}
}

// waitRoom waits until there may be room again. False: the patience is at its end.
// Under no lock.
func (v *volume) waitRoom(p *patience) bool {
	if p.wait <= 0 {
		return false
	}
	if p.end == nil {
		t := time.NewTimer(p.wait)
		p.end, p.stop = t.C, t.Stop
	}
	v.mu.Lock()
	ch := v.room.Next()
	v.mu.Unlock()
	v.wake(v.flushNow)
	v.wake(v.reclaimNow)
	t := time.NewTimer(roomRecheck)
	defer t.Stop()
	select {
	case <-ch:
	case <-t.C:
	case <-p.end:
		p.wait = 0 // for once more, without waiting
	}
	return true
}

// promise sets n bytes of room aside for a record that is to come, negative ones give it
// back. False: what waits for the flusher and what was promised must become less first.
// True also where waiting is of no use. It binds nobody but those who ask for it.
func (v *volume) promise(n int64) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if n > 0 && v.pending()+v.promised > maxPending && !v.closing && !v.health.writesOut() && !v.stalled() {
		return false
	}
	if v.promised += n; n < 0 {
		v.room.Give()
	}
	return true
}

// appendWaiting is append that waits for room, for up to wait. Under no lock.
func (v *volume) appendWaiting(r *record, mem, body []byte, wait time.Duration) (*segment, error) {
	p := patience{wait: wait}
	defer p.done()
	for {
		s, err := v.append(r, mem, body, false)
		if err != errBusy || !v.waitRoom(&p) {
			return s, err
		}
	}
}

// departed is told that a segment's last pin went.
func (v *volume) departed(s *segment) {
	v.mu.Lock()
	v.condemned--
	v.condemnedBytes -= s.end
	if !v.heldUp() {
		v.heldSince = 0
	}
	v.room.Give()
	v.mu.Unlock()
}

// segment returns a segment by number, pinned, or nil.
func (v *volume) segment(id uint32) *segment {
	v.mu.Lock()
	defer v.mu.Unlock()
	lo, hi := 0, len(v.segments)
	for lo < hi {
		mid := (lo + hi) / 2
		if v.segments[mid].id < id {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo == len(v.segments) || v.segments[lo].id != id {
		return nil
	}
	v.segments[lo].pin()
	return v.segments[lo]
}

// bury appends a tombstone for what was taken away, or owes it. Under the shard's
// lock.
func (v *volume) bury(key storage.Key, variant uint32) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closing {
		return
	}
	if !v.health.writesOut() && v.payOwed() == nil {
		r := record{kind: kindTombstone, key: key, variant: variant}
		if s, err := v.place(&r, make([]byte, headerSize), nil, true); err == nil {
			s.unpin()
			return
		}
	}
	v.owe(owing{kindTombstone, key, variant})
}

// owe notes what is to be written. Under mu.
func (v *volume) owe(o owing) {
	if v.owedAll {
		return
	}
	if len(v.owed) >= maxOwed {
		v.owedAll, v.owed = true, nil
		return
	}
	if v.owed == nil {
		v.owed = make(map[owing]struct{})
	}
	v.owed[o] = struct{}{}
}

// payOwed appends the records that are owed: before anything else is, so that
// they take nothing away that came after. Under mu. Where everything is owed, the
// flusher pays (drop).
func (v *volume) payOwed() error {
	if v.owedAll {
		return errOut
	}
	for o := range v.owed {
		r := record{kind: o.kind, key: o.key, variant: o.variant}
		s, err := v.place(&r, make([]byte, headerSize), nil, true)
		if err != nil {
			return err
		}
		s.unpin()
		delete(v.owed, o)
	}
	return nil
}

// name returns a segment's file name.
func (v *volume) name(id uint32) string { return path.Join(v.dir, fmt.Sprintf("%08x.seg", id)) }

// file returns a segment's file, made if need be. For the flusher.
func (v *volume) file(s *segment) (vfs.File, error) {
	if f := s.file.Load(); f != nil {
		return *f, nil
	}
	f, err := v.o.FS.Create(v.name(s.id))
	if err != nil {
		return nil, err
	}
	s.file.Store(&f)
	if s.removed.Load() { // reclaimed meanwhile: who did may have looked for it before it was there
		v.forgetFile(s)
	}
	if err := v.o.FS.SyncDir(v.dir); err != nil {
		return nil, err
	}
	return f, nil
}
