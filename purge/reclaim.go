package purge

import (
	"sync"
	"sync/atomic"
	"time"

	"edge/cache/storage"
)

// Bounds on a sweep.
const (
	// sweepBurst is up to how many stored responses are visited without a pause:
	// a store that holds no more is counted in the answer.
	sweepBurst = 16384
	// sweepRate is how many a second are visited of a larger one.
	sweepRate = 250_000
	// sweepBatch is how many are visited between two pauses.
	sweepBatch = 2048
	// countSmall and countLarge are how long an answer waits for the count
	// where the store holds up to sweepBurst responses, and where it holds more.
	countSmall, countLarge = time.Second, time.Millisecond
)

// sweeper visits every stored response after a purge. The store takes out what
// was purged when it is visited, and tells the ledger.
type sweeper struct {
	wanted chan struct{} // capacity 1
	stop   chan struct{}
	done   sync.WaitGroup

	running atomic.Bool
	visited atomic.Uint64 // in all
	sweeps  atomic.Uint64
	store   atomic.Pointer[storage.Store]
}

func (s *sweeper) init() {
	s.wanted, s.stop = make(chan struct{}, 1), make(chan struct{})
}

func (s *sweeper) want() {
	select {
	case s.wanted <- struct{}{}:
	default:
	}
}

// large reports whether the store holds too much to be counted in an answer.
func (s *sweeper) large() bool {
	store := s.store.Load()
	return store != nil && (*store).Stats().Entries > sweepBurst
}

func (s *sweeper) close() {
	close(s.stop)
	s.done.Wait()
}

// Reclaim frees and counts, in the background and until Close, what purges take
// from store. It is called once.
func (l *Ledger) Reclaim(store storage.Store) {
	s := &l.sweeper
	s.store.Store(&store)
	s.done.Go(func() {
		for {
			select {
			case <-s.stop:
				return
			case <-s.wanted:
				l.sweep(store)
			}
		}
	})
}

// sweep visits everything stored. What is stored meanwhile was judged when it
// was; what is freshened meanwhile, too.
func (l *Ledger) sweep(store storage.Store) {
	s := &l.sweeper
	seq := l.Sequence()
	s.running.Store(true)
	defer s.running.Store(false)
	n, whole, large := 0, true, s.large()
	timer := time.NewTimer(0)
	defer timer.Stop()
	began := l.clock()
	store.Each(func(storage.Entry) bool {
		s.visited.Add(1)
		n++
		if !large && n < sweepBurst || n%sweepBatch != 0 {
			return true
		}
		timer.Reset(time.Duration(n)*time.Second/sweepRate - time.Duration(l.clock().Sub(began)))
		select {
		case <-timer.C:
		case <-s.stop:
			whole = false
		}
		return whole
	})
	if !whole {
		return
	}
	s.sweeps.Add(1)
	for _, r := range l.receipts.finish(seq) {
		l.index.Load().close(r.Sequence, &r.record.Purge)
		r.record = nil
	}
	l.compact(seq)
}

// CountWait is how long an answer should wait for its receipt to be final.
func (l *Ledger) CountWait() time.Duration {
	if l.sweeper.large() {
		return countLarge
	}
	return countSmall
}
