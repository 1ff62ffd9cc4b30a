package tiered

import (
	"slices"
	"sync"

	"edge/cache/storage"
)

// promoter copies what was found on the disk to memory, behind the look-up's back: a
// look-up costs what it costs, and under load promotions are dropped rather than
// queued.
type promoter struct {
	t     *Store
	queue chan name
	stop  chan struct{}
	done  sync.WaitGroup
}

// name is what is to be promoted: not an entry, because what waits should not keep
// a segment from being reclaimed.
type name struct {
	key       storage.Key
	nominated []byte
}

// promoteQueue is how many promotions may wait.
const promoteQueue = 256

func (p *promoter) start(t *Store) {
	p.t, p.queue, p.stop = t, make(chan name, promoteQueue), make(chan struct{})
	p.done.Go(func() {
		for {
			select {
			case <-p.stop:
				return
			case n := <-p.queue:
				if e := t.disk.Fetch(n.key, n.nominated); e != nil {
					p.promote(e)
					e.Release()
				}
			}
		}
	})
}

// consider queues an entry of the disk, if it is for memory.
func (p *promoter) consider(e storage.Entry) {
	if !p.t.promotable(e) || !p.t.disk.Current(e) {
		return
	}
	select {
	case p.queue <- name{e.Key(), slices.Clone(e.Stored().Nominated)}:
	default:
	}
}

// promote copies one entry. It is begun before its body is read, so that what
// purges and invalidates meanwhile dooms it; and whether the disk still has it
// is looked at under the key's lock.
func (p *promoter) promote(e storage.Entry) {
	t, head := p.t, e.Stored()
	if !t.promotable(e) || t.inMemory(e.Key(), head.Nominated) {
		return
	}
	w, err := t.mem.Begin(proposalOf(e))
	if err != nil {
		return
	}
	if err := pour(e, w); err != nil {
		w.Abort(err)
		return
	}
	l := t.lock(e.Key())
	l.Lock()
	defer l.Unlock()
	if !t.disk.Current(e) || e.Stored() != head || t.inMemory(e.Key(), head.Nominated) {
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
