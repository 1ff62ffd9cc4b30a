package disk

import (
	"time"
)

// The flusher: the one goroutine of a volume that writes. What was appended
// reaches the file when a block is full or FlushInterval has passed, and is synced
// when its segment is sealed or SyncInterval has passed.

// flusher runs until the volume closes, and then writes and syncs what is left.
func (v *volume) flusher() {
	defer v.workers.Done()
	tick := time.NewTicker(v.o.FlushInterval)
	defer tick.Stop()
	unsynced := time.Duration(0) // how long, at most
	for {
		sync := false
		select {
		case <-v.stop:
			v.mu.Lock()
			v.seal() // so that it gets a checkpoint
			v.mu.Unlock()
			v.flush(true)
			return
		case <-v.flushNow:
		case <-tick.C:
			v.recover()
			v.makeUnmade()
			v.payDrop()
			v.payLate()
			v.letGoLost()
			v.noteJudged(unsynced == 0)
			if unsynced += v.o.FlushInterval; unsynced >= v.o.SyncInterval {
				sync, unsynced = true, 0
			}
		}
		v.flush(sync)
	}
}

// flush writes what is pending, oldest first, and syncs what is sealed, or
// everything.
func (v *volume) flush(sync bool) {
	if v.health.noWrite.Load() {
		return
	}
	list := v.unsettled()
	defer func() {
		for _, s := range list {
			s.unpin()
		}
	}()
	for _, s := range list {
		err := v.write(s)
		if err == nil {
			err = v.sync(s, sync)
		}
		if err != nil {
			v.failWrite(err)
			return
		}
	}
}

// unsettled returns the segments that the flusher has to do with, pinned.
func (v *volume) unsettled() (list []*segment) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, s := range v.segments {
		s.mu.RLock()
		// What was sealed when all of it was synced has to be settled yet.
		busy := !s.lost && (s.written < s.end || s.synced < s.end || s.sealed && !s.settled.Load())
		s.mu.RUnlock()
		if busy && (s.tryPin()) {
			list = append(list, s)
		}
	}
	return list
}

// write writes what is pending in a segment.
func (v *volume) write(s *segment) error {
	for {
		mem, off, _ := s.next()
		if len(mem) == 0 {
			s.wrote(off)
			return nil
		}
		v.flushing.begin(v)
		f, err := v.file(s)
		if err == nil {
			if !s.removed.Load() {
				v.noteNewest(s.id)
			}
			var known *proof
			if s.checked.Load() != nil {
				known = s.proven()
			}
			_, err = f.WriteAt(mem, off)
			s.wroteTo(known)
		}
		v.flushing.end()
		if err != nil {
			return err
		}
		s.wrote(off + int64(len(mem)))
		v.mu.Lock()
		v.room.Give()
		v.mu.Unlock()
	}
}

// sync syncs a segment if it is sealed, or all says so. A sealed segment is then
// noted in the checkpoint.
func (v *volume) sync(s *segment, all bool) error {
	_, written, sealed := s.next()
	if s.synced < written && (all || sealed) {
		f := s.file.Load()
		if f == nil {
			return nil
		}
		v.flushing.begin(v)
		err := (*f).Sync()
		v.flushing.end()
		if err != nil {
			// What is lost the kernel tells of once: the next sync will work, and what was
			// taken away here may yet come back.
			v.mu.Lock()
			v.owe(owing{kind: kindDoubt})
			v.mu.Unlock()
			return err
		}
		s.mu.Lock()
		s.synced = written
		s.mu.Unlock()
	}
	if sealed && s.synced == written && s.settled.Load() {
		v.flushing.begin(v)
		v.checkpoint(s)
		v.flushing.end()
	}
	return nil
}

// failWrite takes the disk out for writing: what could not be written is lost
// with all that was to follow it, because what follows may depend on it.
func (v *volume) failWrite(err error) {
	v.health.failWrite(v, err)
	v.mu.Lock()
	v.seal()
	list := append([]*segment(nil), v.segments...)
	for _, s := range list {
		s.pin()
	}
	v.mu.Unlock()
	for _, s := range list {
		if s.pending() > 0 || !s.isSealed() {
			v.forsake(s)
		}
		s.unpin()
	}
	v.mu.Lock()
	v.room.Give()
	v.mu.Unlock()
}

func (s *segment) isSealed() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.sealed
}

// forsake gives up on what is not written in a segment: rows that point there
// go, and what the lost records took away is owed, lest it come back after a
// restart.
func (v *volume) forsake(s *segment) {
	blocks, from := s.lose()
	if len(blocks) == 0 {
		return
	}
	v.holdsLost = true
	v.unmade = v.unmade || s.file.Load() == nil
	v.dropRows(func(r *row) bool { return r.seg == s.id && int64(r.off) >= from }, &v.health.lost)
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, b := range blocks {
		for at := int64(0); at+headerSize <= int64(len(b.mem)); {
			r, err := parseHeader(b.mem[at:], s.id, uint32(b.off+at))
			if err != nil {
				break // not possible: we wrote it
			}
			switch {
			case b.off+at+r.size() <= from:
			case r.kind == kindWipe:
				v.owedAll = true
			case r.kind == kindHead || r.kind == kindTombstone:
				v.owe(owing{kindTombstone, r.key, r.variant})
			case r.kind == kindInvalidation:
				v.owe(owing{kindInvalidation, r.key, 0})
			}
			at += r.size()
		}
	}
}

// makeUnmade makes the files of segments that were lost before they had one, as soon as the
// disk is back and before anything is written behind them: a gap in the numbers says that
// something is lost that was on the disk. For the flusher.
func (v *volume) makeUnmade() {
	if !v.unmade || v.health.noWrite.Load() {
		return
	}
	v.unmade = false
	var list []*segment
	v.mu.Lock()
	for _, s := range v.segments {
		if s.isLost() && s.file.Load() == nil && s.tryPin() {
			list = append(list, s)
		}
	}
	v.mu.Unlock()
	for _, s := range list {
		v.flushing.begin(v)
		_, err := v.file(s)
		v.flushing.end()
		if s.unpin(); err != nil && !v.unmade {
			v.unmade = true
			v.failWrite(err)
		}
	}
}

func (s *segment) isLost() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.lost
}

// letGoLost lets go of what was lost, which is held in memory for those who had it
// pinned, where nobody has any more. For the flusher.
func (v *volume) letGoLost() {
	if !v.holdsLost {
		return
	}
	v.holdsLost = false
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, s := range v.segments {
		switch {
		case s.settled.Load():
		case s.pins.Load() > 1: // than the list's; and no row leads to what was lost
			v.holdsLost = true
		default:
			v.sealed -= s.cutLost()
		}
	}
	v.room.Give()
}

// cutLost makes a segment of which something was lost one that ends where the file
// does, and returns how many bytes shorter it is. What lies in it, its records say: its notes
// go too. Under the volume's lock; nobody else has it pinned.
func (s *segment) cutLost() (n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.lost {
		return 0
	}
	for _, b := range s.blocks {
		b.release()
	}
	n = s.end - s.written
	s.blocks, s.end, s.synced = nil, s.written, s.written
	s.notes, s.naming = nil, namings{}
	s.settled.Store(true)
	return n
}

// lacks reports whether bytes up to end will never be in the file.
func (s *segment) lacks(end int64) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.lost && end > s.written
}

// payDrop makes good for tombstones that were too many to be owed: everything on the
// disk goes.
func (v *volume) payDrop() {
	v.mu.Lock()
	due := v.owedAll && !v.health.writesOut()
	v.mu.Unlock()
	if due {
		v.wipe()
	}
}

// payLate appends what is owed where nothing else is appended that would do so first:
// what was taken away must not come back because nobody stored anything after it.
func (v *volume) payLate() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.owed) > 0 && !v.health.writesOut() && !v.closing {
		_ = v.payOwed() // no room yet: at the next tick, then
	}
}

// wipe drops everything on the disk.
func (v *volume) wipe() {
	v.mu.Lock()
	r := record{kind: kindWipe}
	s, err := v.place(&r, make([]byte, headerSize), nil, true)
	if err != nil {
		v.owedAll = true
		v.mu.Unlock()
		return
	}
	v.owedAll, v.owed = false, nil
	v.mu.Unlock()
	// Whatever is published between the two is newer than the wipe, and kept.
	v.dropRows(func(row *row) bool { return row.seg < r.seg || row.seg == r.seg && row.off < r.off }, &v.health.lost)
	s.unpin()
	v.o.Logger.Warn("the disk's content was dropped", "disk", v.dir)
}
