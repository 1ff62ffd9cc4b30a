package disk

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"edge/cache/storage"
	"edge/cache/storage/nameindex"
	"edge/message"
)

// Store is the disk tier. Close must be called.
type Store struct {
	o       *settings
	volumes []*volume
	total   uint64 // of the disks' sizes
	witness storage.Witness
	closed  atomic.Bool
	order   atomic.Uint64 // of publication
	filling atomic.Int64  // bytes of memory in bodies being written
	stats   counters
	hot     *hot // nil without

	stop     chan struct{} // closed by Close, for what is settling
	settling sync.WaitGroup
}

// counters are Stats being counted.
type counters struct {
	stored, evicted, replaced, removed, freshened, invalidated, doomed, tooLarge, aborted, carried atomic.Int64
}

var _ storage.Store = (*Store)(nil)

// volume returns the disk of a key, by its size's share of all.
func (st *Store) volume(key *storage.Key) *volume {
	if len(st.volumes) == 1 {
		return st.volumes[0]
	}
	at := spread(key, st.total)
	for _, v := range st.volumes {
		if size := uint64(v.limit); at >= size {
			at -= size
			continue
		}
		return v
	}
	return st.volumes[0]
}

// own returns x if it is an entry of this store.
func (st *Store) own(x storage.Entry) *entry {
	if e, ok := x.(*entry); ok && e.v.st == st {
		return e
	}
	return nil
}

// Remove takes e out.
func (st *Store) Remove(x storage.Entry) {
	if e := st.own(x); e != nil && e.v.expel(e) {
		st.stats.removed.Add(1)
	}
}

// Owns reports whether e is this store's.
func (st *Store) Owns(e storage.Entry) bool { return st.own(e) != nil }

// Current reports whether e is what a look-up would find now.
func (st *Store) Current(e storage.Entry) bool {
	o := st.own(e)
	return o != nil && o.indexed.Load()
}

// Has reports whether there is an entry of a key with these nominated fields. It
// asks the index only.
func (st *Store) Has(key storage.Key, nominated []byte) bool {
	v := st.volume(&key)
	s := v.index.shard(&key)
	s.mu.Lock()
	defer s.mu.Unlock()
	return v.index.variant(s, &key, variantOf(nominated)) != 0
}

// Fetch returns the entry of a key with these nominated fields, retained, or nil.
// It is not counted as a hit, and no purge is applied.
func (st *Store) Fetch(key storage.Key, nominated []byte) storage.Entry {
	if e := st.volume(&key).fetchVariant(&key, variantOf(nominated)); e != nil {
		return e
	}
	return nil
}

// Discard takes out the entry of a key with these nominated fields, if there is
// one: another took its place elsewhere. It reads nothing.
func (st *Store) Discard(key storage.Key, nominated []byte) {
	v := st.volume(&key)
	s := v.index.shard(&key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := v.index.variant(s, &key, variantOf(nominated)); n != 0 {
		v.remove(s, n)
	}
}

// expel takes an entry out of the index. False: it was not in.
func (v *volume) expel(e *entry) bool {
	s := v.index.shard(&e.key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !e.indexed.Load() {
		return false
	}
	v.remove(s, e.row)
	return true
}

// Freshen replaces e's head.
func (st *Store) Freshen(x storage.Entry, stored *message.Stored, sequence uint64) error {
	return st.freshenWithin(x, stored, sequence, storage.Names{}, appendWait)
}

// FreshenAs replaces e's head and names.
func (st *Store) FreshenAs(x storage.Entry, stored *message.Stored, sequence uint64, names storage.Names) error {
	return st.freshenWithin(x, stored, sequence, names, appendWait)
}

// FreshenNow is FreshenAs that fails where the disk has no room at once. No names: those
// that e has.
func (st *Store) FreshenNow(x storage.Entry, stored *message.Stored, sequence uint64, names storage.Names) error {
	return st.freshenWithin(x, stored, sequence, names, 0)
}

func (st *Store) freshenWithin(x storage.Entry, stored *message.Stored, sequence uint64, names storage.Names, most time.Duration) error {
	e := st.own(x)
	if e == nil {
		return fmt.Errorf("disk: freshening another store's entry: %w", storage.ErrGone)
	}
	s := copyStored(stored)
	wait := patience{wait: most}
	defer wait.done()
	for {
		err := e.v.freshen(e, s, sequence, names)
		if err == errBusy && e.v.waitRoom(&wait) {
			continue
		}
		if err != nil {
			return fmt.Errorf("disk: freshening: %w", e.v.unkept(err))
		}
		st.stats.freshened.Add(1)
		return nil
	}
}

// freshen is one attempt at Freshen.
func (v *volume) freshen(e *entry, s *message.Stored, sequence uint64, names storage.Names) (err error) {
	sh := v.index.shard(&e.key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if !e.indexed.Load() {
		return storage.ErrGone
	}
	if s.Terms.Flags &^= message.TermPartial; !e.body.Load().complete {
		s.Terms.Flags |= message.TermPartial
	}
	// The new head is judged before anybody can find it, and under the lock: a
	// purge that comes later is found by the look-ups that come later.
	now := max(v.o.Ledger.Sequence(), sequence)
	if now > sequence && !v.spares(e, sequence, s) {
		return fmt.Errorf("what was purged: %w", storage.ErrGone)
	}
	if len(names.Packed()) > 0 {
		before := e.renamed.Swap(&names)
		defer func() {
			if err != nil {
				e.renamed.Store(before)
				return
			}
			var x nameindex.Naming
			names.Naming(e.key, &x)
			v.index.name(sh, e.row, &x)
		}()
		if now > sequence && !v.spares(e, sequence, s) {
			return fmt.Errorf("what was purged by its new names: %w", storage.ErrGone)
		}
	}
	if variant := variantOf(s.Nominated); variant != e.variant {
		return v.revariant(sh, e, s, variant, sequence, now)
	}
	return v.rewrite(sh, e, s, sequence, now)
}

// spares applies purges since sequence to s, which is about to become e's head.
// False: it must not.
func (v *volume) spares(e *entry, sequence uint64, s *message.Stored) bool {
	verdict := v.o.Ledger.Judge(e, sequence)
	if verdict == storage.Removed {
		return false
	}
	v.apply(verdict, e, sequence, s)
	return true
}

// revariant is rewrite for a head whose nominated fields have changed: what it was
// found by before goes, and so does what is found by what it is found by now.
// Under the shard's lock.
func (v *volume) revariant(sh *shard, e *entry, s *message.Stored, variant uint32, sequence, checked uint64) error {
	old := e.variant
	if n := v.index.variant(sh, &e.key, variant); n != 0 {
		v.st.stats.replaced.Add(1)
		v.remove(sh, n)
	}
	e.variant = variant
	if err := v.rewrite(sh, e, s, sequence, checked); err != nil {
		e.variant = old
		return err
	}
	v.bury(e.key, old)
	return nil
}

// Invalidate applies RFC 9111 section 4.4 to one key: "A cache MUST invalidate
// the target URI when it receives a non-error status code in response to an
// unsafe request method". It reads nothing: the index notes it.
func (st *Store) Invalidate(key storage.Key) int {
	v := st.volume(&key)
	s := v.index.shard(&key)
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for i := v.index.first(s, &key); i != 0; i = s.following(i) {
		s.row(i).flags |= flagDoubt
		if e := s.open[i]; e != nil {
			e.reflag(message.TermInvalidated)
		}
		n++
	}
	for w := range s.pending.Under(key) {
		w.doomed.Store(true)
	}
	if n > 0 {
		v.noteInvalidation(&key)
	}
	st.stats.invalidated.Add(int64(n))
	return n
}

// noteInvalidation makes an invalidation last. Under the shard's lock.
func (v *volume) noteInvalidation(key *storage.Key) {
	r := record{kind: kindInvalidation, key: *key}
	if seg, err := v.append(&r, make([]byte, headerSize), nil, true); err == nil {
		seg.unpin()
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.owe(owing{kindInvalidation, *key, 0})
}

// reflag sets flags of the head. Under the shard's lock.
func (e *entry) reflag(set message.TermFlags) {
	s := *e.Stored()
	s.Terms.Flags |= set
	e.head.Store(&s)
}

// Stats returns counters and gauges.
func (st *Store) Stats() storage.Stats {
	c := &st.stats
	s := storage.Stats{
		Stored: c.stored.Load(), Evicted: c.evicted.Load(), Replaced: c.replaced.Load(), Removed: c.removed.Load(),
		Freshened: c.freshened.Load(), Invalidated: c.invalidated.Load(), Doomed: c.doomed.Load(),
		TooLarge: c.tooLarge.Load(), Aborted: c.aborted.Load(),
	}
	for _, v := range st.volumes {
		s.Entries += v.count.Load()
		s.Bytes += v.live.Load()
		s.Rejected += v.health.busy.Load()
	}
	for _, d := range st.o.Disks {
		s.Budget += d.Size
	}
	return s
}

// Close flushes and syncs everything, ends the background work and empties the
// index.
func (st *Store) Close() error {
	if st.closed.Swap(true) {
		return nil
	}
	settled := st.endSettling()
	errs := make([]error, len(st.volumes))
	var shut sync.WaitGroup
	for i, v := range st.volumes { // at once: one that does not answer must not keep the others
		shut.Go(func() { errs[i] = v.shut() })
	}
	shut.Wait()
	st.hot.close()
	return errors.Join(settled, errors.Join(errs...))
}

// shut closes a volume.
func (v *volume) shut() error {
	close(v.stop)
	if !within(&v.workers) {
		return fmt.Errorf("disk: %s: not flushed within %v", v.dir, storage.FlushTimeout)
	}
	v.mu.Lock()
	v.closing = true
	v.seal()
	list := v.segments
	v.segments = nil
	for _, s := range list {
		v.condemn(s)
	}
	v.mu.Unlock()
	for i := range v.index.shards {
		s := &v.index.shards[i]
		s.mu.Lock()
		for n := range s.open {
			v.close(s, n)
		}
		s.pages, s.free, s.rows = nil, 0, 0
		s.lists, s.marked = nameindex.Lists{}, nil
		clear(s.buckets)
		s.mu.Unlock()
	}
	v.index.memory.release()
	v.live.Store(0)
	v.count.Store(0)
	for _, s := range list {
		s.unpin()
	}
	if v.absent != nil {
		return nil
	}
	return v.lock.Close()
}

// Mapped returns how many bytes of memory outside the Go heap the index takes.
func (st *Store) Mapped() (n int64) {
	for _, v := range st.volumes {
		n += v.index.memory.mapped.Load()
	}
	return n
}

// MaxObject returns the longest body kept, in bytes.
func (st *Store) MaxObject() int64 { return st.o.MaxObject }

// Crowded reports whether the disk of a key is full, so that what is stored there
// makes something else go.
func (st *Store) Crowded(key storage.Key) bool { return st.volume(&key).crowded.Load() }

// Out reports whether the disk of a key takes nothing now.
func (st *Store) Out(key storage.Key) bool { return st.volume(&key).health.writesOut() }

// Beside compares what there is under a key with what a caller has of it: whether
// there is anything else, and the first that the caller has alone, -1 for none. It
// asks the index only.
func (st *Store) Beside(key storage.Key, have []storage.Entry) (more bool, alone int) {
	v := st.volume(&key)
	s := v.index.shard(&key)
	s.mu.Lock()
	defer s.mu.Unlock()
	alone = -1
	both := 0
	for i, e := range have {
		if v.index.variant(s, &key, variantOf(e.Stored().Nominated)) != 0 {
			both++
		} else if alone < 0 {
			alone = i
		}
	}
	n := 0
	for i := v.index.first(s, &key); i != 0; i = s.following(i) {
		n++
	}
	return n > both, alone
}

// Count returns how many entries there are under a key. It asks the index only.
func (st *Store) Count(key storage.Key) (n int) {
	v := st.volume(&key)
	s := v.index.shard(&key)
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := v.index.first(s, &key); i != 0; i = s.following(i) {
		n++
	}
	return n
}
