package disk

import "edge/message"

// Journaled is a disk as the journal of purges sees it: what keeps on it how far the
// journal is known there. Its methods belong to one goroutine at a time.
type Journaled struct {
	v        *volume
	position position
	softened bool // in memory; what is left is to make it last
}

// Journaled returns the disks, as the journal of purges sees them. Those that are absent
// are not among them: the position that is on such a disk stays as it is, so that when it
// is opened again it is one that was away.
func (st *Store) Journaled() []*Journaled {
	var list []*Journaled
	for _, v := range st.volumes {
		if v.absent == nil {
			list = append(list, &Journaled{v: v, position: position{fs: v.o.FS, dir: v.dir}})
		}
	}
	return list
}

// Name returns the disk's directory.
func (j *Journaled) Name() string { return j.v.dir }

// Seen returns the position that is kept on the disk: no epoch where there is none,
// and then the sequence Missed, unless the disk is empty. So it is with an error.
func (j *Journaled) Seen() (epoch string, sequence uint64, err error) {
	epoch, sequence, err = j.position.read()
	if epoch == "" {
		sequence = 0
		if err != nil || j.v.count.Load() > 0 {
			sequence = Missed
		}
	}
	return epoch, sequence, err
}

// Saw puts a position on the disk. It survives the process when Saw returns, and
// power loss once Sync did.
func (j *Journaled) Saw(epoch string, sequence uint64) error {
	return j.position.write(epoch, sequence)
}

// Sync makes the position survive power loss.
func (j *Journaled) Sync() error { return j.position.sync() }

// Forget takes the position off the disk, so that who reads it next must take
// everything there for purged. It needs no room, and survives power loss.
func (j *Journaled) Forget() error { return j.position.forget() }

// Close ends the work with the position.
func (j *Journaled) Close() error { return j.position.close() }

// Use takes the disk out of use for the reason why, or where why is nil into use
// again. While it is out nothing is found or stored on it; what is being read from it
// is read to its end, and the space that was taken stays so.
func (j *Journaled) Use(why error) { j.v.health.bar(why) }

// SoftPurge makes everything on the disk invalid until it is validated. That is in
// force when it returns; with an error it does not survive the process, and SoftPurge
// is to be called again.
func (j *Journaled) SoftPurge() error {
	v := j.v
	now := v.o.Ledger.Sequence()
	if !j.softened {
		v.doubt()
		v.doubtOpen()
		v.setChecked(func(uint64) uint64 { return now })
		j.softened = true
	}
	return v.placeSynced(&record{kind: kindEpoch, order: now})
}

// doubtOpen is doubt for what is open.
func (v *volume) doubtOpen() {
	for i := range v.index.shards {
		s := &v.index.shards[i]
		s.mu.Lock()
		for _, e := range s.open {
			e.reflag(message.TermInvalidated)
		}
		s.mu.Unlock()
	}
}
