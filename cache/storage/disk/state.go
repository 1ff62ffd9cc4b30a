package disk

// State is a disk's condition.
type State struct {
	Path               string
	Writable, Readable bool
	// Reason is why it is not, "" where it is both.
	Reason string
	// Size is the budget, Used what files take of it (or are about to), Live what
	// is found of that, Unwritten what is in memory yet of what they are about to
	// hold, and lost if the process is killed; all in bytes.
	Size, Used, Live  int64
	Unwritten         int64
	Entries, Segments int64
	Carried, Evicted  int64 // by reclaiming; of all disks together

	// Counted reasons: damaged records dropped, operations that failed, writes
	// refused by a full disk, responses refused for want of room, reads not
	// begun because the disk does not answer, responses lost with what could not
	// be written, times it was taken out, records from the future.
	Damaged, Errors, Full, Busy, Slow, Lost, TakenOut, Future int64
	// Scrubbed is how many bytes have been read again to find what rotted.
	Scrubbed int64
}

// States returns the condition of each disk.
func (st *Store) States() []State {
	var list []State
	for _, v := range st.volumes {
		h := &v.health
		s := State{Path: v.dir, Writable: !h.writesOut(), Readable: !h.readsOut(), Size: v.limit, Live: v.live.Load(), Entries: v.count.Load(),
			Carried: st.stats.carried.Load(), Evicted: st.stats.evicted.Load(),
			Damaged: h.damaged.Load(), Errors: h.ioErrors.Load(), Full: h.full.Load(), Busy: h.busy.Load(),
			Slow: h.slow.Load(), Lost: h.lost.Load(), TakenOut: h.outs.Load(), Future: h.future.Load(), Scrubbed: h.scrubbed.Load()}
		h.mu.Lock()
		for _, err := range []error{h.readErr, h.writeErr, h.barErr} {
			if err != nil {
				s.Reason = err.Error()
			}
		}
		h.mu.Unlock()
		v.mu.Lock()
		s.Used, s.Segments = v.used(), int64(len(v.segments))
		for _, x := range v.segments {
			s.Unwritten += x.pending()
		}
		s.Unwritten += int64(len(v.owed)) * headerSize
		v.mu.Unlock()
		list = append(list, s)
	}
	return list
}
