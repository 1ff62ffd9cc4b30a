package purge

import (
	"encoding/hex"
	"fmt"
)

// Disk is what the ledger asks of one disk of a store. A disk's responses are
// judged by their sequences like all others, so it may miss nothing: it keeps,
// with the responses, how far it knows the journal.
type Disk interface {
	// Seen returns what Saw was last told and the disk has kept: an empty epoch
	// where it is new and holds nothing.
	Seen() (epoch string, sequence uint64, err error)
	// Saw tells the disk to keep a position. It need not be durable when Saw
	// returns: an older one costs a purge too many, never one too few.
	Saw(epoch string, sequence uint64) error
	// SoftPurge makes everything on the disk stale, durably, before it returns.
	SoftPurge() error
}

// Attach takes a disk under the journal's care, before anything is looked up on
// it. A disk that knows another journal than this, or less of it than is kept,
// or more than was left of it, may hold what was purged meanwhile: all of it is
// soft-purged. On an error the disk must not be used.
func (l *Ledger) Attach(d Disk) error {
	epoch, seq, err := d.Seen()
	if err != nil {
		return fmt.Errorf("purge: reading a disk's position in the journal: %w", err)
	}
	l.mu.Lock()
	ours := hex.EncodeToString(l.epoch[:])
	missed := epoch != ours || seq < l.floor || seq > l.replayed && seq < l.began || seq > l.seq.Load()
	l.mu.Unlock()
	if epoch != "" && missed {
		l.log.Warn("a disk may have missed purges: everything on it counts as stale", "epoch", epoch, "sequence", seq, "journal", ours)
		if err := d.SoftPurge(); err != nil {
			return fmt.Errorf("purge: soft-purging a disk that missed purges: %w", err)
		}
	}
	if err := l.outrun(seq); err != nil {
		return err
	}
	if err := d.Saw(ours, l.Sequence()); err != nil {
		return fmt.Errorf("purge: telling a disk its position in the journal: %w", err)
	}
	l.mu.Lock()
	l.disks = append(l.disks, d)
	l.mu.Unlock()
	return nil
}

// outrun makes sure that no number is given that a response stored while a disk
// was at seq may have: it would count as stored after the purge of that number.
func (l *Ledger) outrun(seq uint64) error {
	l.mu.Lock()
	behind := seq >= l.seq.Load()
	if behind {
		l.began = (seq/runSpan + 2) * runSpan
		l.seq.Store(l.began)
	}
	l.mu.Unlock()
	if !behind || l.journal == nil {
		return nil
	}
	l.journal.compact.Store(true)
	return l.journal.flush()
}

// tellDisks tells every disk how far the journal is durable. On the journal's
// goroutine.
func (l *Ledger) tellDisks() {
	l.mu.Lock()
	disks, epoch, seq := l.disks, hex.EncodeToString(l.epoch[:]), l.seq.Load()
	l.mu.Unlock()
	for _, d := range disks {
		if err := d.Saw(epoch, seq); err != nil {
			l.log.Warn("a disk could not be told its position in the purge journal", "error", err)
		}
	}
}
