package storage

// CommitElsewhere ends w, which is a writer of this store, as its Commit does, but has
// keep store the entry elsewhere, for instance on a disk, instead of keeping it here:
// then only those who hold it have it, and its memory goes with the last of them. Where
// keep returns an error the entry is kept here after all.
//
// The caller sees to it that nothing of the same key is invalidated meanwhile, and that
// nothing is kept here that the entry is to replace. keep is called under no lock of this
// store.
func (m *Memory) CommitElsewhere(w Writer, trailers []byte, keep func(Entry) error) error {
	o := w.(*writer)
	if err := o.complete(trailers); err != nil {
		return err
	}
	if o.refused() != nil || keep(o.e) != nil {
		return o.settle(m.publish(o))
	}
	o.leave()
	return o.settle(nil)
}

// crowded: what is left of the memory, 1/crowded of it, is for what was asked for again.
// It is more than headroom, so that the judge, which keeps to that, does not make room for
// newcomers all the time.
const crowded = 4

// Crowded reports whether so little room is left that newcomers should rather be kept
// elsewhere.
func (m *Memory) Crowded() bool { return m.arena.pressed(crowded) }
