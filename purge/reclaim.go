package purge

import (
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"edge/cache/storage"
	"edge/internal/netpoll"
	"edge/message"
)

// Bounds on the work behind purges.
const (
	// reapRate is how many stored responses a second are freed or made stale of
	// those that purges have marked, and how many are visited of a store that cannot
	// find by name.
	reapRate = 250_000
	// reapBatch is how many are between two pauses: purges that came meanwhile go
	// first.
	reapBatch = 2048
	// reapSlice is how many are freed between two looks whether it is others' turn.
	reapSlice = 64
	// turnLength is how long the sweeper has the processor before others go first who
	// wait for it.
	turnLength = 100 * time.Microsecond
	// syncTurn is how long the sweeper waits for a sync at most.
	syncTurn = 3 * time.Millisecond
	// sweepBurst is up to how many are visited without a pause of a store that
	// cannot find by name.
	sweepBurst = 16384
	// takeBatch is how many purges are taken at a time.
	takeBatch = 256
	// stuckPause is the pause where nothing can be freed, because a disk takes
	// nothing.
	stuckPause = 250 * time.Millisecond
	// countWait is how long an answer waits for its count at most.
	countWait = time.Second
)

// sweeper goes ahead of the look-ups: it has the store mark what each purge takes,
// which counts it, and then carry that out at a bounded rate. A store that cannot find
// by name is visited whole.
type sweeper struct {
	wanted chan struct{} // capacity 1
	stop   chan struct{}
	done   sync.WaitGroup

	running atomic.Bool
	visited atomic.Uint64 // in all
	sweeps  atomic.Uint64
	left    atomic.Int64 // marked, and not carried out

	// The sweeper's own.
	taken  uint64          // the newest purge that was taken
	turn   *netpoll.Turn   // how it lets others go first
	turnAt message.Instant // when it did last
	synced *batch          // the last one whose sync it waited for
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

func (s *sweeper) close() {
	close(s.stop)
	s.done.Wait()
}

// stopped reports whether the sweeper has to end.
func (s *sweeper) stopped() bool {
	select {
	case <-s.stop:
		return true
	default:
		return false
	}
}

// Reclaim frees and counts, in the background and until Close, what purges take
// from store. It is called once.
func (l *Ledger) Reclaim(store storage.Store) {
	s := &l.sweeper
	if l.Sequence() > 0 {
		s.want() // the purges of the process before may have been interrupted
	}
	s.done.Go(func() {
		s.turn = netpoll.NewTurn()
		defer s.turn.Close()
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

// sweep takes the purges that were not taken yet, and carries out what they mark.
func (l *Ledger) sweep(store storage.Store) {
	s := &l.sweeper
	s.running.Store(true)
	defer s.running.Store(false)
	taker, can := store.(storage.Taker)
	if can {
		if l.carryOut(taker) {
			s.sweeps.Add(1)
			l.settle(taker)
		}
		return
	}
	if seq := l.Sequence(); l.visit(store) {
		s.sweeps.Add(1)
		l.finish(seq)
		l.compact(seq)
	}
}

// carryOut takes and reaps until there is nothing left to do. False: stopped.
func (l *Ledger) carryOut(taker storage.Taker) bool {
	s := &l.sweeper
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		for l.take(taker) {
		}
		if s.stopped() {
			return false
		}
		did, left := l.reap(taker)
		s.visited.Add(uint64(did))
		s.left.Store(int64(left))
		if left == 0 {
			return true
		}
		wait := reapBatch * time.Second / reapRate
		if did == 0 {
			wait = stuckPause
		}
		pause.Reset(wait)
		select {
		case <-pause.C:
		case <-s.wanted: // a purge; it goes first
		case <-s.stop:
			return false
		}
	}
}

// giveWay lets others go first if it is their turn: those that wait for an answer to
// their purge among them, which may have all that it needs. It reports whether the
// sweeper has to end. Between pieces of work, under no lock.
func (l *Ledger) giveWay() (stopped bool) {
	s := &l.sweeper
	if now := l.clock(); now.Sub(s.turnAt) >= int64(turnLength) {
		s.turn.Yield()
		l.awaitSync()
		s.turnAt = l.clock()
	}
	return s.stopped()
}

// awaitSync waits for the sync that answers to purges wait for, if there is one now. The
// kernel's part of it needs a processor too, for some microseconds each time, and gets
// one at once where there is nothing else to do; but beside a goroutine that has much to
// do, on the only processor, it gets one when the kernel's scheduler thinks that it is
// time, milliseconds later.
func (l *Ledger) awaitSync() {
	s := &l.sweeper
	if l.journal == nil {
		return
	}
	b := l.journal.syncing.Load()
	if b == nil || b == s.synced {
		return
	}
	s.synced = b // once for each: it may take a slow disk long
	t := time.NewTimer(syncTurn)
	defer t.Stop()
	select {
	case <-b.done:
	case <-t.C:
	case <-s.stop:
	}
}

// reap carries out what is marked, until it is time for a pause or for a purge.
func (l *Ledger) reap(taker storage.Taker) (did, left int) {
	for did < reapBatch {
		n, rest := taker.Reap(reapSlice)
		did, left = did+n, rest
		if n == 0 || left == 0 || l.giveWay() || len(l.sweeper.wanted) > 0 {
			break
		}
	}
	return did, left
}

// take has the store mark what the next purges take. False: there were none.
func (l *Ledger) take(taker storage.Taker) bool {
	s := &l.sweeper
	l.mu.Lock()
	at := sort.Search(len(l.records), func(i int) bool { return l.records[i].seq > s.taken })
	batch := append([]*record(nil), l.records[at:min(len(l.records), at+takeBatch)]...)
	l.mu.Unlock()
	if len(batch) == 0 || s.stopped() {
		return false
	}
	list := make([]storage.Taking, len(batch))
	for i, r := range batch {
		list[i] = storage.Taking{Sequence: r.seq, Select: r.selectors(), Verdict: verdicts[r.Mode], Stop: l.giveWay}
		if receipt := l.receipts.counted(r.seq); receipt != nil {
			list[i].Count = func(n int) {
				l.taken.Add(uint64(n))
				receipt.add(int64(n))
			}
		}
	}
	taker.Take(list)
	if s.stopped() {
		return false
	}
	s.taken = batch[len(batch)-1].seq
	l.finish(s.taken)
	return true
}

// verdicts are what becomes of what is selected, by mode.
var verdicts = [numModes]storage.Verdict{Soft: storage.Stale, Invalid: storage.Invalid, Hard: storage.Removed}

// storeKinds are the store's names for the kinds.
var storeKinds = [numKinds]storage.Selector{URL: {Kind: storage.ByURL}, Prefix: {Kind: storage.ByPrefix}, Tag: {Kind: storage.ByTag},
	Group: {Kind: storage.ByGroup}, Host: {Kind: storage.ByHost}, Everything: {Kind: storage.Everything}}

// selectors returns p's selectors as a store takes them.
func (p *Purge) selectors() []storage.Selector {
	list := make([]storage.Selector, len(p.Selectors))
	for i, s := range p.Selectors {
		list[i] = storeKinds[s.Kind]
		list[i].Scheme, list[i].Authority, list[i].Name = s.Scheme, s.Authority, s.Name
	}
	return list
}

// finish makes the receipts up to seq final.
func (l *Ledger) finish(seq uint64) {
	for _, r := range l.receipts.finish(seq) {
		l.index.Load().close(r.Sequence, &r.record.Purge)
		r.record = nil
	}
}

// settle tells the store, now and then, that all it holds has been judged, so that
// purges can be dropped.
func (l *Ledger) settle(taker storage.Taker) {
	l.mu.Lock()
	seq, floor, due := l.sweeper.taken, l.floor, l.due()
	l.mu.Unlock()
	if due {
		// What was dropped before it was taken is below the floor, and whoever was
		// not judged by it stays there.
		for part := range storage.Parts {
			taker.Judged(floor, seq, part)
			for l.take(taker) { // what came meanwhile goes first
			}
			if l.giveWay() {
				return
			}
		}
		l.compact(seq)
	}
}

// visit visits everything stored, which judges it. What is stored meanwhile was
// judged when it was; what is freshened meanwhile, too. False: stopped.
func (l *Ledger) visit(store storage.Store) bool {
	s := &l.sweeper
	n, whole, large := 0, true, store.Stats().Entries > sweepBurst
	timer := time.NewTimer(0)
	defer timer.Stop()
	began := l.clock()
	store.Each(func(storage.Entry) bool {
		s.visited.Add(1)
		n++
		if !large && n < sweepBurst || n%reapBatch != 0 {
			return true
		}
		timer.Reset(time.Duration(n)*time.Second/reapRate - time.Duration(l.clock().Sub(began)))
		select {
		case <-timer.C:
		case <-s.stop:
			whole = false
		}
		return whole
	})
	return whole
}

// CountWait is how long an answer should wait for its receipt to be final.
func (l *Ledger) CountWait() time.Duration { return countWait }
