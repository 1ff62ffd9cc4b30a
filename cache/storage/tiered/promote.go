package tiered

import (
	"context"
	"slices"
	"sync"

	"edge/cache/storage"
)

// promoter copies between the tiers behind the look-up's back: what was found on the
// disk to memory, and what was found in memory alone to the disk (admit.go). A
// look-up costs what it costs, and under load promotions are dropped rather than
// queued. It copies what was asked for before, within as many bytes as memory
// holds: of a scan, whether it comes round or not, next to nothing.
type promoter struct {
	t     *Store
	queue chan name
	stop  chan struct{}
	done  sync.WaitGroup
	// hurry has ended: whatever would wait for it fails at once. A copy that memory has no
	// room for would go on in a window, and wait there for readers.
	hurry context.Context
}

// name is what is to be promoted: not an entry, because what waits should not keep
// a segment from being reclaimed.
type name struct {
	key       storage.Key
	nominated []byte
	through   bool // from memory to the disk
}

const (
	// promoteQueue is how many promotions may wait.
	promoteQueue = 256
	// askSpacing: one ask is remembered for that many bytes of memory tier, in 8.
	askSpacing = 2 << 10
	// passedEvery: of so many hits in memory one is counted, as so many.
	passedEvery = 16
)

func (p *promoter) start(t *Store) {
	p.t, p.queue, p.stop = t, make(chan name, promoteQueue), make(chan struct{})
	var end context.CancelFunc
	p.hurry, end = context.WithCancel(context.Background())
	end()
	p.done.Go(func() {
		for {
			select {
			case <-p.stop:
				return
			case n := <-p.queue:
				if n.through {
					p.writeThrough(&n)
				} else if e := t.disk.Fetch(n.key, n.nominated); e != nil {
					p.promote(e)
					e.Release()
				}
			}
		}
	})
}

// consider notes that an entry of the disk was asked for, and queues it if it is for
// memory.
func (p *promoter) consider(e storage.Entry) {
	if !p.t.promotable(e) || !p.t.asked.Ask(hashOf(e.Key(), e.Stored().Nominated), e.Size()) || !p.t.disk.Current(e) {
		return
	}
	p.enqueue(name{e.Key(), slices.Clone(e.Stored().Nominated), false})
}

// enqueue queues n, or forgets it where too many wait.
func (p *promoter) enqueue(n name) {
	select {
	case p.queue <- n:
	default:
	}
}

// hashOf tells variants apart, mostly: the key is a hash already.
func hashOf(key storage.Key, nominated []byte) uint64 {
	n := uint64(0)
	for _, b := range key[8:16] {
		n = n<<8 | uint64(b)
	}
	for _, b := range nominated {
		n = n*0x100000001b3 ^ uint64(b)
	}
	return n
}

// promote copies one entry. It is begun before its body is read, so that what
// purges and invalidates meanwhile dooms it; and whether the disk still has it
// is looked at under the key's lock.
func (p *promoter) promote(e storage.Entry) {
	t, head := p.t, e.Stored()
	if has, _ := t.inMemory(e.Key(), head.Nominated); has || !t.promotable(e) {
		return
	}
	w, err := t.mem.Begin(proposalOf(e))
	if err != nil {
		return
	}
	if err := pour(p.hurry, e, w); err != nil {
		w.Abort(err)
		return
	}
	l := t.lock(e.Key())
	l.Lock()
	defer l.Unlock()
	if has, _ := t.inMemory(e.Key(), head.Nominated); has || !t.disk.Current(e) || e.Stored() != head {
		w.Abort(storage.ErrDoomed)
		return
	}
	if w.Commit(e.Trailers()) == nil {
		t.stats.promoted.Add(1)
	}
}

// end ends the copying.
func (p *promoter) end() {
	close(p.stop)
	p.done.Wait()
}
