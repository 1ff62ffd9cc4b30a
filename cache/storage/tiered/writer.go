package tiered

import (
	"context"
	"errors"

	"edge/cache/storage"
	"edge/cache/storage/disk"
	"edge/message"
)

// writer writes to one tier, which readers follow, and on commit puts the other in
// order.
type writer struct {
	t      *Store
	w      storage.Writer
	e      storage.Entry // being written, retained
	onDisk bool          // which tier it is
	copy   bool          // to the disk too
	p      storage.Proposal
	over   bool
}

var _ storage.Writer = (*writer)(nil)

// Begin starts storing.
func (t *Store) Begin(p *storage.Proposal) (storage.Writer, error) {
	if t.closed.Load() {
		return nil, storage.ErrClosed
	}
	if !p.Part && p.Total > max(t.memMax, t.diskMax) {
		t.stats.tooLarge.Add(1)
		return nil, storage.ErrTooLarge
	}
	admitted := t.admitted(p)
	small := !p.Part && p.Total >= 0 && p.Total <= min(t.memMax, disk.MaxPut)
	w := &writer{t: t, p: *p, copy: admitted && small}
	var err error
	if w.onDisk = admitted && !small; w.onDisk {
		w.w, err = t.disk.Begin(p)
	}
	if !w.onDisk || err != nil {
		w.onDisk = false
		if w.w, err = t.mem.Begin(p); err != nil && w.copy { // memory has no room: the disk may
			w.onDisk, w.copy = true, false
			w.w, err = t.disk.Begin(p)
		}
	}
	if err != nil {
		if errors.Is(err, storage.ErrTooLarge) {
			t.stats.tooLarge.Add(1)
		}
		return nil, err
	}
	w.e = w.w.Entry()
	// What the caller may change before the commit.
	w.p.Stored = nil
	w.p.Authority, w.p.Target, w.p.Tags, w.p.Groups = nil, nil, nil, nil
	return w, nil
}

// Entry returns the entry being written, retained for the caller.
func (w *writer) Entry() storage.Entry { return w.w.Entry() }

// Write appends p.
func (w *writer) Write(ctx context.Context, p []byte) error {
	err := w.w.Write(ctx, p)
	if err != nil && ctx.Err() == nil {
		w.end(&w.t.stats.aborted)
	}
	return err
}

// end notes that the writing has ended, and how.
func (w *writer) end(counter interface{ Add(int64) int64 }) {
	if !w.over {
		w.over = true
		counter.Add(1)
		w.e.Release()
	}
}

// Abort ends the writing; readers get ErrAborted.
func (w *writer) Abort(reason error) {
	w.w.Abort(reason)
	w.end(&w.t.stats.aborted)
}

// Commit ends the body and makes the entry visible.
func (w *writer) Commit(trailers []byte) error {
	if w.over {
		return storage.ErrAborted
	}
	t, nominated := w.t, w.e.Stored().Nominated
	var err error
	var had bool
	if w.onDisk {
		had = t.disk.Has(w.p.Key, nominated)
		if err = w.w.Commit(trailers); err == nil {
			had = t.forgetCopy(w.p.Key, nominated) || had
			t.promoter.consider(w.e)
		}
	} else {
		had, err = w.commitMemory(trailers, nominated)
	}
	c := &t.stats
	switch {
	case err == nil:
		if had {
			c.replaced.Add(1)
		}
		w.end(&c.stored)
	case errors.Is(err, storage.ErrDoomed):
		w.end(&c.doomed)
	case errors.Is(err, storage.ErrTooLarge), errors.Is(err, storage.ErrFull):
		w.end(&c.tooLarge)
	default:
		w.end(&c.aborted)
	}
	return err
}

// commitMemory commits to memory, and copies to the disk or takes out what it has; or
// to the disk alone (passes).
func (w *writer) commitMemory(trailers, nominated []byte) (had bool, err error) {
	t := w.t
	l := t.lock(w.p.Key)
	l.Lock()
	defer l.Unlock()
	same, others := t.inMemory(w.p.Key, nominated)
	had = same || t.disk.Has(w.p.Key, nominated)
	if !had && !others && w.passes() {
		copied := false
		err = t.mem.CommitElsewhere(w.w, trailers, func(e storage.Entry) error {
			err := t.copyToDisk(e, &w.p, false)
			copied = err == nil
			return err
		})
		if err == nil && !copied {
			t.stats.unwritten.Add(1)
		}
		return false, err
	}
	if err = w.w.Commit(trailers); err != nil {
		return had, err
	}
	if !w.copy || t.copyToDisk(w.e, &w.p, false) != nil {
		if w.copy {
			t.stats.unwritten.Add(1)
		}
		t.disk.Discard(w.p.Key, nominated)
	}
	return had, nil
}

// inMemory reports whether memory has an entry of a key with these nominated
// fields, and whether it has others of the key.
func (t *Store) inMemory(key storage.Key, nominated []byte) (has, others bool) {
	var room [4]storage.Entry
	for _, e := range t.mem.Lookup(room[:0], key) {
		if string(e.Stored().Nominated) == string(nominated) {
			has = true
		} else {
			others = true
		}
		e.Release()
	}
	return has, others
}

// proposalOf describes an entry for storing it again. It shares the entry's bytes.
func proposalOf(e storage.Entry) *storage.Proposal {
	m := e.Meta()
	return &storage.Proposal{Key: e.Key(), Stored: e.Stored(), Sequence: e.Sequence(), Scheme: m.Scheme, Authority: []byte(m.Authority),
		Target: []byte(m.Target), Tags: m.Tags, Groups: m.Groups, Total: e.Size()}
}

// transfer writes e's body to to, and ends it.
func transfer(e storage.Entry, to storage.Writer) error {
	if err := pour(context.Background(), e, to); err != nil {
		to.Abort(err)
		return err
	}
	return to.Commit(e.Trailers())
}

// pour writes e's whole body to to.
func pour(ctx context.Context, e storage.Entry, to storage.Writer) error {
	if b := e.Bytes(); b != nil {
		return to.Write(ctx, b)
	}
	r := e.Reader(0, -1)
	defer r.Close()
	for left := e.Size(); left > 0; {
		p, err := r.Next(ctx)
		if err != nil {
			return err
		}
		if err := to.Write(ctx, p); err != nil {
			return err
		}
		left -= int64(len(p))
	}
	return nil
}

// promotable reports whether memory may have a copy of an entry of the disk.
func (t *Store) promotable(e storage.Entry) bool {
	const not = message.TermPartial | message.TermInvalidated | message.TermSoftPurged
	return e.Size() >= 0 && e.Size() <= t.memMax && e.Stored().Terms.Flags&not == 0
}
