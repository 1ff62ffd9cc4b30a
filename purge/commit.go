package purge

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"edge/cache/storage"
	"edge/message"
)

const (
	// syncDelay is how long what nobody waits for may stay unsynced.
	syncDelay = time.Second
	// retryInterval is the time between two attempts to write a journal anew
	// that could not be written.
	retryInterval = 2 * time.Second
	// closeTimeout bounds the wait for a disk at the end.
	closeTimeout = 10 * time.Second
	// maxQueued bounds what nobody waits for and is not written yet, in bytes;
	// beyond it, whoever adds some waits all the same.
	maxQueued = 4 << 20
)

// journal writes records behind one another. Its goroutine owns the file; the
// others add to the batch being gathered and may wait for it. While one batch
// is being synced the next is gathered, so that however many purges come at once
// they share the syncs.
//
// Where a write or sync fails, nothing is known of the file's end any more, and
// after a failed sync the kernel may have dropped what it was given. So nothing
// is appended to it again: the whole journal is written anew from memory, beside
// the old one, which it replaces once it is on stable storage; and that is tried
// until it succeeds.
type journal struct {
	fs    filesystem
	path  string
	clock storage.Clock
	// whole returns everything that the file must hold. It takes, under the
	// same lock under which batches are added to, the batch being gathered,
	// which is then covered.
	whole func() (data []byte, last uint64, covered *batch)
	// synced is told how far the journal is durable, before anybody who waits for
	// that is; failing that it cannot be written, likewise, and whether the attempt left
	// one all the same, which may have been put aside before; health with an error when it
	// stops being written, and with nil when it is again.
	synced  func(seq uint64)
	failing func(left bool)
	health  func(error)

	mu  sync.Mutex // a leaf
	cur *batch

	wake chan struct{} // capacity 1
	stop chan struct{}
	done chan struct{}

	// Owned by the goroutine.
	file    journalFile // nil: to be written anew
	end     int64       // where its records end, and the next one goes
	zeroed  int64       // where its reserve ends: at end, or behind
	lean    bool        // no reserve is written: that failed
	written uint64      // the newest sequence in the file
	told    uint64      // how far synced was told
	left    bool        // an attempt to write it anew that failed left it behind
	dirty   bool
	syncAt  message.Instant
	retryAt message.Instant

	syncing atomic.Pointer[batch] // the one that is being synced, if somebody waits for it
	durable atomic.Uint64         // every purge up to it is on stable storage
	compact atomic.Bool           // the whole is wanted anew
	size    atomic.Int64          // end, for others: the reserve does not count
	syncs   atomic.Int64
	syncNS  atomic.Int64
	failed  atomic.Int64
	broken  atomic.Bool
}

// batch is records on their way to the file.
type batch struct {
	data []byte
	seq  uint64 // the highest
	sync bool   // somebody waits
	err  error  // read after done is closed
	done chan struct{}
}

func newBatch() *batch { return &batch{done: make(chan struct{})} }

// add adds a record to the batch being gathered, and returns the batch. In the
// order of sequences: under the ledger's lock.
func (j *journal) add(r *record, wait bool) *batch {
	j.mu.Lock()
	b := j.cur
	b.data = appendPurge(b.data, r)
	b.seq = r.seq
	b.sync = b.sync || wait
	j.mu.Unlock()
	j.poke()
	return b
}

// begin adds that numbers begin anew behind seq. It is a record like the others: where
// there is no room to write the whole anew there may be some for that. Under the
// ledger's lock.
func (j *journal) begin(seq uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.cur.data = appendStart(j.cur.data, seq, j.clock())
	j.cur.seq = seq
}

// until is how long it is until at.
func (j *journal) until(at message.Instant) time.Duration { return time.Duration(at.Sub(j.clock())) }

// take ends the gathering of a batch.
func (j *journal) take() *batch {
	j.mu.Lock()
	defer j.mu.Unlock()
	b := j.cur
	j.cur = newBatch()
	return b
}

func (j *journal) poke() {
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

// run writes until stop, and then once more.
func (j *journal) run() {
	defer close(j.done)
	timer := time.NewTimer(syncDelay)
	defer timer.Stop()
	for ended := false; !ended; {
		select {
		case <-j.wake:
		case <-timer.C:
		case <-j.stop:
			ended = true
		}
		b := j.take()
		b.sync = b.sync || ended
		b.err = j.write(b)
		close(b.done)
		switch {
		case j.file == nil:
			timer.Reset(j.until(j.retryAt))
		case j.dirty:
			timer.Reset(j.until(j.syncAt))
		default:
			timer.Reset(time.Hour) // nothing to do until the wake
		}
	}
	if j.file != nil {
		_ = j.file.Close() // it was synced; there is nothing left to lose
	}
}

// write puts a batch, or the whole, into the file.
func (j *journal) write(b *batch) error {
	var err error
	var covered *batch // with b
	switch {
	case j.file != nil && j.compact.Swap(false):
		covered, err = j.replace(b)
	case j.file != nil:
		err = j.append(b)
	case b.sync || j.clock() >= j.retryAt:
		covered, err = j.rewrite()
	default:
		return ErrNotDurable
	}
	if err != nil {
		err = j.giveUp(err)
	} else {
		j.goOn()
	}
	if covered != nil {
		covered.err = err
		close(covered.done)
	}
	return err
}

// goOn tells of what is on stable storage.
func (j *journal) goOn() {
	if durable := j.durable.Load(); durable > j.told {
		j.told = durable
		j.synced(durable)
	}
	if j.broken.Swap(false) {
		j.health(nil)
	}
}

// giveUp lets go of a file of which nothing is known any more.
func (j *journal) giveUp(err error) error {
	if j.file != nil {
		err = errors.Join(err, j.file.Close())
		j.file = nil
	}
	j.failed.Add(1)
	j.dirty, j.lean = false, true // it may be for want of room
	j.retryAt = j.clock().Add(int64(retryInterval))
	if !j.broken.Swap(true) {
		j.health(err)
	}
	j.failing(j.left)
	j.left = false
	return fmt.Errorf("%w: %w", ErrNotDurable, err)
}

// replace writes the whole, which covers b, or where that fails before the file
// there is was replaced, appends b to that. It returns the batch that the whole
// covers too, for the caller to end.
func (j *journal) replace(b *batch) (covered *batch, err error) {
	data, last, covered := j.whole()
	f, zeroed, replaced, err := writeWhole(j.fs, j.path, data, true)
	switch {
	case err == nil:
		_ = j.file.Close() // what it held is in the new one
		j.adopt(f, int64(len(data)), zeroed, last)
		j.lean = zeroed == j.end
	case replaced:
		j.left = true
	default:
		if err = j.append(b); err == nil {
			err = j.append(covered)
		}
	}
	return covered, err
}

// rewrite is replace where there is no file to go on with: with a reserve or, where
// that fails, without.
func (j *journal) rewrite() (covered *batch, err error) {
	data, last, covered := j.whole()
	f, zeroed, replaced, err := writeWhole(j.fs, j.path, data, !j.lean)
	j.left = replaced && err != nil
	if err != nil && !j.lean {
		j.lean = true // some file systems say only at the sync that there is no room
		f, zeroed, replaced, err = writeWhole(j.fs, j.path, data, false)
		j.left = (j.left || replaced) && err != nil
	}
	if err == nil {
		j.adopt(f, int64(len(data)), zeroed, last)
	}
	return covered, err
}

// adopt goes on with a file that holds everything up to last.
func (j *journal) adopt(f journalFile, end, zeroed int64, last uint64) {
	j.file, j.dirty, j.written = f, false, last
	j.end, j.zeroed = end, zeroed
	j.durable.Store(last)
	j.size.Store(end)
	j.syncs.Add(1)
}

// append writes a batch behind the others, and syncs where somebody waits or
// nobody has for a while.
func (j *journal) append(b *batch) error {
	if len(b.data) > 0 {
		if _, err := j.file.WriteAt(b.data, j.end); err != nil {
			return fmt.Errorf("purge: writing the journal: %w", err)
		}
		j.end += int64(len(b.data))
		j.size.Store(j.end)
		j.spare()
		j.written = max(j.written, b.seq)
		if !j.dirty {
			j.dirty, j.syncAt = true, j.clock().Add(int64(syncDelay))
		}
	}
	if !j.dirty || !b.sync && j.clock() < j.syncAt {
		return nil
	}
	if b.sync {
		j.syncing.Store(b)
		defer j.syncing.Store(nil)
	}
	began := j.clock()
	if err := j.file.Sync(); err != nil {
		return fmt.Errorf("purge: syncing the journal: %w", err)
	}
	j.syncs.Add(1)
	j.syncNS.Add(j.clock().Sub(began))
	j.dirty = false
	j.durable.Store(j.written)
	return nil
}

// spare writes another reserve where the last one is used up; the sync that the
// records before it wait for is its own too. Where there is no room for it the records
// have theirs all the same: from then on each makes the file longer, until the journal
// is written anew.
func (j *journal) spare() {
	if j.end <= j.zeroed {
		return
	}
	j.zeroed = j.end
	if !j.lean {
		var err error
		j.zeroed, err = writeReserve(j.file, j.end)
		j.lean = err != nil
	}
}

// aside gives the journal another name, so that the next process finds none. It can
// succeed where nothing can be written. False: it did not.
func (j *journal) aside() bool {
	return j.fs.Rename(j.path, j.path+".incomplete") == nil && j.fs.SyncDir(j.path) == nil
}

// flush waits until all that was added is on stable storage.
func (j *journal) flush() error {
	j.mu.Lock()
	b := j.cur
	b.sync = true
	j.mu.Unlock()
	j.poke()
	<-b.done
	return b.err
}

// close writes what is left, and waits for it, closeTimeout at most.
func (j *journal) close() error {
	close(j.stop)
	t := time.NewTimer(closeTimeout)
	defer t.Stop()
	select {
	case <-j.done:
		return nil
	case <-t.C:
		return fmt.Errorf("purge: the journal was not closed within %v", closeTimeout)
	}
}
