package purge

import (
	"fmt"
	"math"
)

// The journal and the disks. A stored response is judged by the purges that came
// after it, and those are known from the journal; so what lies on a disk may be
// believed only by a process whose journal holds all that was answered while the disk
// was in use. Each disk carries, in a file of its own, the position that a journal
// must have reached: its epoch, and the newest purge known to be on stable storage.
// The rule, and where it is kept:
//
//  1. While the journal is written, each sync of it moves the disks' positions, and the
//     answer waits for that (guards.tell). The position is never beyond what is
//     synced, so that neither a kill nor a power loss makes a journal look short.
//  2. When the journal cannot be written, the position becomes Missed, which no journal
//     reaches, or is taken away, before anybody is told that a purge is not durable
//     (guards.fail). Where that can be done on no disk, the journal is renamed, which
//     is as good. A disk for which all of that failed is taken out of use, and it is
//     tried again until something succeeds.
//  3. When the journal is written again it holds everything, and the positions follow.
//  4. At the start, before the journal is taken over, each disk's position is compared
//     with it (Options.Positions): where one is beyond its end, or of a journal that this
//     one does not know of, the journal has lost purges, and it becomes another, with a
//     new epoch. Then each disk is attached, and
//     one whose position is of another epoch, Missed, or before what the journal still
//     holds, is soft-purged whole. Only when that is durable does its position move.
//
// Where the journal is on one of the disks itself, the positions tell also which of
// several journals is believed: place.go.

// Missed is the position of a disk that may hold what was purged without the journal's
// knowing.
const Missed = math.MaxUint64

// Position is how far a journal must go for a disk to be believed. No epoch: none is
// known; then the sequence is 0 if the disk is empty, Missed if not.
type Position struct {
	Epoch    string
	Sequence uint64
}

// Disk is what the ledger asks of one disk of a store. Its methods are called by one
// goroutine at a time, and may take as long as the disk does.
type Disk interface {
	// Name says which one it is, in logs.
	Name() string
	// Seen returns the position that is on the disk. With an error, the sequence
	// is Missed.
	Seen() (epoch string, sequence uint64, err error)
	// Saw puts a position on the disk. It survives the process when Saw returns, and
	// power loss when Sync does.
	Saw(epoch string, sequence uint64) error
	Sync() error
	// Forget takes the position off the disk, so that it survives power loss. It can
	// do so where Saw fails for want of room.
	Forget() error
	// SoftPurge makes everything on the disk stale: at once, and durably unless it
	// returns an error; then it is called again.
	SoftPurge() error
	// Use takes the disk out of use because of an error, or with nil back.
	Use(why error)
	// Close ends the work with the disk's position.
	Close() error
}

// Attach takes a disk under the journal's care, before anything is looked up on
// it. A disk that knows another journal than this, or less of it than is kept,
// or more than was left of it, may hold what was purged meanwhile: all of it is
// soft-purged. On an error, which is one of the journal, the disk must not be used.
func (l *Ledger) Attach(d Disk) error {
	epoch, seq, err := d.Seen()
	if err != nil {
		l.log.Warn("a disk's position in the purge journal cannot be read", "disk", d.Name(), "error", err)
		seq = Missed
	}
	l.mu.Lock()
	ours := l.epoch.String()
	missed := epoch != ours || seq < l.floor || seq > l.replayed && seq < l.began || seq > l.seq.Load()
	l.mu.Unlock()
	owed := false
	if missed && (epoch != "" || seq == Missed) {
		l.log.Warn("a disk may have missed purges: everything on it is validated before reuse", "disk", d.Name(), "epoch", epoch, "sequence", seq, "journal", ours)
		l.softened.Add(1)
		if err := d.SoftPurge(); err != nil {
			owed = true
			l.log.Warn("that does not last yet", "disk", d.Name(), "error", err)
		}
	}
	if seq != Missed {
		if err := l.outrun(seq); err != nil {
			return fmt.Errorf("purge: passing over the numbers that a disk has seen: %w", err)
		}
	}
	durable := l.Sequence()
	if l.journal != nil {
		durable = l.journal.durable.Load()
	}
	l.guards.begin(ours, durable)
	l.guards.add(d, owed)
	return nil
}

// outrun makes sure that no number is given that a response stored while a disk
// was at seq may have: it would count as stored after the purge of that number. That
// it passed them over is on stable storage when it returns.
func (l *Ledger) outrun(seq uint64) error {
	l.mu.Lock()
	behind := seq >= l.seq.Load()
	if behind {
		began := (seq/runSpan + 2) * runSpan
		if l.origin == l.began {
			l.origin = began
		}
		l.began = began
		l.seq.Store(began)
		if l.journal != nil {
			l.journal.begin(began)
			l.journal.compact.Store(true) // where there is room, its header has the origin
		}
	}
	l.mu.Unlock()
	if !behind || l.journal == nil {
		return nil
	}
	return l.journal.flush()
}

// lost reports whether a disk's position says that the journal that was read does not
// hold all that it once did: c is what was read.
func (c *contents) lost(positions []Position) bool {
	for _, p := range positions {
		if p.Sequence == Missed || p.Epoch == c.epoch.String() && p.Sequence > c.last {
			return true
		}
	}
	return false
}

// fail is told that the journal cannot be written, before anybody else is; left: but that
// there is one again, if it was put aside. On the journal's goroutine.
func (l *Ledger) fail(left bool) {
	if left {
		l.guards.found()
	}
	l.guards.fail(l.seq.Load(), l.journal.aside)
}

// Guard returns the state of the disks.
func (l *Ledger) Guard() Guard { return l.guards.state() }

// Trouble says what is wrong with the journal and the disks; "" where nothing is.
func (l *Ledger) Trouble() string {
	if l.journal == nil || !l.journal.broken.Load() {
		return ""
	}
	return l.guards.state().String()
}

// Durable returns ErrNotDurable while a receipt's purge is not on stable storage,
// though there is a journal.
func (l *Ledger) Durable(r *Receipt) error {
	if l.journal != nil && r.Sequence > l.journal.durable.Load() {
		return ErrNotDurable
	}
	return nil
}
