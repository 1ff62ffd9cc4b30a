package tiered

import (
	"sync"

	"edge/cache/storage"
)

// promoter copies what was found on the disk to memory, behind the look-up's back: a
// look-up costs what it costs, and under load promotions are dropped rather than
// queued.
type promoter struct {
	t     *Store
	queue chan storage.Entry // retained
	stop  chan struct{}
	done  sync.WaitGroup
	mu    sync.RWMutex // held for reading over a send, for writing over the end
	ended bool
}

// promoteQueue is how many promotions may wait.
const promoteQueue = 256

func (p *promoter) start(t *Store) {
	p.t, p.queue, p.stop = t, make(chan storage.Entry, promoteQueue), make(chan struct{})
	p.done.Go(func() {
		for {
			select {
			case <-p.stop:
				return
			case e := <-p.queue:
				p.promote(e)
				e.Release()
			}
		}
	})
}

// consider queues an entry of the disk, retained for that while, if it is for memory.
func (p *promoter) consider(e storage.Entry) {
	if !p.t.promotable(e) || !p.t.disk.Current(e) {
		return
	}
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.ended {
		return
	}
	held := p.t.disk.Retain(e)
	if held == nil {
		return
	}
	select {
	case p.queue <- held:
	default:
		held.Release()
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
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	for {
		select {
		case e := <-p.queue:
			e.Release()
		default:
			return
		}
	}
}
