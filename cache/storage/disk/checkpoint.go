package disk

// Checkpoint keeps the notes of sealed segments, so that they need not be read at
// start. It is a convenience: what it does not have, or has wrong, is read from
// the segments. Its methods are called by one goroutine at a time, but for Forget.
type Checkpoint interface {
	// Note keeps a segment's notes, packed. They never change.
	Note(segment uint32, packed []byte) error
	// Notes returns them, nil where there are none, or where they are
	// damaged.
	Notes(segment uint32) ([]byte, error)
	// Forget drops a segment's notes.
	Forget(segment uint32) error
	// Close ends it.
	Close() error
}

// note gives a settled segment's notes to the checkpoint. For the flusher.
func (v *volume) note(s *segment) {
	v.mu.Lock()
	notes := s.notes
	s.notes = nil
	v.mu.Unlock()
	if v.checkpoint == nil || notes == nil {
		return
	}
	packed := make([]byte, 0, len(notes)*noteSize)
	for i := range notes {
		packed = appendNote(packed, &notes[i])
	}
	if err := v.checkpoint.Note(s.id, packed); err != nil {
		v.health.ioErrors.Add(1)
		v.o.Logger.Warn("a segment is not in the checkpoint: it will be read at the next start", "disk", v.dir, "segment", s.id, "error", err)
	}
}
