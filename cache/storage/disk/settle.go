package disk

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"edge/cache/storage"
)

// Settling: what is in doubt because keys lie elsewhere, or a disk was absent, must be in
// doubt after the next start too. So each such disk is to say so, lastingly; only then may
// it, and may the others, be told the shares that are in force. A disk that was made smaller
// has no room for it until enough of it is reclaimed, so that what cannot be done at once is
// done behind the requests. Where the process ends before, the next one begins anew.

// settlement is what is to be written.
type settlement struct {
	shares []share // of each disk, but for which disks are absent, or as good as that
	due    []bool  // what is on the disk is in doubt, and it does not say so yet
	told   bool    // that something is due was logged
}

// settleRetry is the time between two attempts.
const settleRetry = time.Second

// settle writes what it can of a settlement now, and sees to it that the rest is written
// later. At start.
func (st *Store) settle(s *settlement) {
	st.payDue(s)
	st.writeShares(s)
	if !s.left() {
		return
	}
	st.settling.Go(func() {
		t := time.NewTicker(settleRetry)
		defer t.Stop()
		for s.left() {
			select {
			case <-st.stop:
				return
			case <-t.C:
			}
			if st.payDue(s) {
				st.writeShares(s)
			}
		}
	})
}

// left reports whether something is due yet.
func (s *settlement) left() bool { return slices.Contains(s.due, true) }

// payDue has the disks that are due it say that all that is on them is in doubt. It reports
// whether any did.
func (st *Store) payDue(s *settlement) (paid bool) {
	for i, v := range st.volumes {
		if !s.due[i] {
			continue
		}
		err := v.placeSynced(&record{kind: kindDoubt})
		switch {
		case err == nil:
			s.due[i], paid = false, true
			if s.told {
				v.o.Logger.Info("that what is on the disk is validated before reuse survives a restart now", "disk", v.dir)
			}
		case !s.told:
			v.o.Logger.Warn("that what is on the disk is validated before reuse does not survive a restart yet: it is tried again until it does", "disk", v.dir, "error", err)
		}
	}
	s.told = s.left()
	return paid
}

// writeShares has the disks that nothing is due from know their shares.
func (st *Store) writeShares(s *settlement) {
	without := st.without(s.due)
	for i, v := range st.volumes {
		if v.absent != nil || s.due[i] {
			continue
		}
		s.shares[i].without = without
		if err := v.writeShare(&s.shares[i]); err != nil {
			v.health.ioErrors.Add(1)
			v.o.Logger.Warn("a disk does not know its share: it is validated before reuse at the next start", "disk", v.dir, "error", err)
		}
	}
}

// within waits for background work, storage.FlushTimeout at most. False: it goes on.
func within(work *sync.WaitGroup) bool {
	done := make(chan struct{})
	go func() {
		work.Wait()
		close(done)
	}()
	t := time.NewTimer(storage.FlushTimeout)
	defer t.Stop()
	select {
	case <-done:
		return true
	case <-t.C:
		return false
	}
}

// endSettling ends what settle began.
func (st *Store) endSettling() error {
	close(st.stop)
	if !within(&st.settling) {
		return fmt.Errorf("disk: what disks know of their shares: not written within %v", storage.FlushTimeout)
	}
	return nil
}
