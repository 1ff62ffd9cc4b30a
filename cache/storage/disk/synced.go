package disk

import (
	"errors"
	"fmt"
	"time"
)

// What must be on stable storage before anything else happens, and not only some time
// after: records that say that everything on the disk is in doubt. There are a few in a
// process's life.

const (
	// syncedWait bounds the wait for a segment to be on stable storage.
	syncedWait = 5 * time.Second
	// syncedPoll is how long one look at it lasts.
	syncedPoll = 2 * time.Millisecond
)

// errUnsynced: it was appended, but is not on stable storage.
var errUnsynced = errors.New("disk: not on stable storage in time")

// placeSynced appends a record of nothing but a header, whatever use the disk is put to,
// and returns once it is on stable storage.
func (v *volume) placeSynced(r *record) error {
	v.mu.Lock()
	if v.health.noWrite.Load() || v.closing {
		v.mu.Unlock()
		return fmt.Errorf("disk: %s: %w", v.dir, errOut)
	}
	s, err := v.place(r, make([]byte, headerSize), nil, true)
	if err == nil {
		v.seal() // what is sealed is synced at once
	}
	v.mu.Unlock()
	if err != nil {
		return fmt.Errorf("disk: %s: %w", v.dir, err)
	}
	defer s.unpin()
	if !v.synced(s) {
		return fmt.Errorf("disk: %s: %w", v.dir, errUnsynced)
	}
	return nil
}

// synced waits until a sealed segment is on stable storage, syncedWait at most. False:
// it is not.
func (v *volume) synced(s *segment) bool {
	deadline := time.NewTimer(syncedWait)
	defer deadline.Stop()
	for {
		s.mu.RLock()
		done, lost := s.synced >= s.end, s.lost
		s.mu.RUnlock()
		if done || lost {
			return done && !lost
		}
		v.wake(v.flushNow)
		t := time.NewTimer(syncedPoll)
		select {
		case <-t.C:
		case <-deadline.C:
			t.Stop()
			return false
		case <-v.stop:
			t.Stop()
			return false
		case <-v.st.stop:
			t.Stop()
			return false
		}
	}
}
