package storage

import (
	"errors"
	"fmt"

	"edge/cache/storage/nameindex"
	"edge/message"
)

// publication is a sealed entry on its way into the index.
type publication struct {
	w      *writer
	naming nameindex.Naming
	out    []*entry // what made way for it, with the index's references

	// For a part that is joined with what has other names: room for those of both.
	names    slot
	need     int // bytes, where there is not enough
	attempts int
	alone    bool // there is none to be had
}

var (
	// errNeedsRoom: the names of the parts need the room that publication.need says.
	errNeedsRoom = errors.New("storage: no room for names yet")
	// errNotUnited: no one entry can have the names of both parts.
	errNotUnited = errors.New("storage: names not united")
)

// nameAttempts is how often room is made for the names of parts, which may become more
// meanwhile.
const nameAttempts = 4

// publish makes a sealed entry visible, or says why not. The index gets a
// reference of its own.
func (m *Memory) publish(w *writer) error {
	e := w.e
	e.storedAt = m.clock()
	e.order = m.order.Add(1)
	var scope [128]byte
	var hashes [16]uint64
	p := publication{w: w, naming: nameindex.Naming{Scope: scope[:0], Hashes: hashes[:0]}}
	e.Names().Naming(e.key, &p.naming)
	err := m.seat(&p)
	for err == errNeedsRoom {
		p.makeRoom()
		err = m.seat(&p)
	}
	m.arena.release(p.names) // not used
	switch {
	case err == nil:
	case err == errHeldAlready:
		return nil
	case err == ErrDoomed:
		m.stats.doomed.Add(1)
		return fmt.Errorf("storage: not kept: %w", err)
	default:
		return fmt.Errorf("storage: not kept: %w", err)
	}
	m.stats.stored.Add(1)
	m.stats.entries.Add(1 - int64(len(p.out)))
	m.stats.replaced.Add(int64(len(p.out)))
	for _, o := range p.out {
		if o.id != e.id {
			m.judge.forget(o.id)
		}
		o.Release()
	}
	m.present(e)
	return nil
}

// seat is one attempt at putting an entry in the index. With errNeedsRoom nothing has
// happened.
func (m *Memory) seat(p *publication) error {
	w, e := p.w, p.w.e
	s := m.index.shard(&e.key)
	s.mu.Lock()
	defer s.mu.Unlock()
	err := w.refused()
	if err == nil && w.part {
		err = m.join(s, p)
	}
	if err == errNeedsRoom {
		return err // it is pending still
	}
	s.pending.Leave(e.key, &w.place)
	if err != nil {
		return err
	}
	p.out = s.displaced(e, p.out)
	for _, o := range p.out {
		s.drop(o)
	}
	e.weigh()
	e.refs.add()
	e.indexed.Store(true)
	s.insert(e)
	s.enlist(e, &p.naming)
	return nil
}

// unite gives the entry the names of another part besides its own. errNotUnited: the
// other is to be replaced. Under the shard's lock, where no room can be made.
func (p *publication) unite(others Names) error {
	e := p.w.e
	own := e.Names()
	names, ok := own.Unite(others)
	if !ok || p.alone {
		return errNotUnited
	}
	if p.need = len(names.packed); p.need == len(own.packed) {
		return nil // they are its own
	}
	if p.names.size() < int64(p.need) {
		return errNeedsRoom
	}
	// Who follows the writing may be looking at the head: it gets a new one, whose bytes
	// lie where they lay.
	h := e.head.Load()
	next := &head{stored: h.stored, slot: p.names}
	next.names = p.names.mem()[:copy(p.names.mem(), names.packed):p.need]
	next.checked.Store(h.checked.Load())
	e.head.Store(next)
	p.names = slot{}
	e.Names().Naming(e.key, &p.naming)
	return nil
}

// makeRoom gets the room that unite needs. Where there is none the part stays alone.
// Under no lock.
func (p *publication) makeRoom() {
	m := p.w.m
	m.arena.release(p.names)
	p.names = slot{}
	if p.attempts++; p.attempts > nameAttempts {
		p.alone = true
		return
	}
	var err error
	if p.names, err = m.allocate(p.need, p.w.e); err != nil {
		p.alone = true
	}
}

// refused tells why what w wrote must not be found. The ledger's number is taken before
// it is asked: a purge that comes after is found by the first Lookup; and, by publish,
// under the shard's lock, so that Take, which comes after the purge, finds what was not
// judged by it.
func (w *writer) refused() error {
	m, e := w.m, w.e
	now, since := m.ledger.Sequence(), e.sequence.Load()
	purged := now > since && m.ledger.Judge(e, since) != Live
	e.head.Load().checked.Store(max(now, since))
	switch {
	case m.closed.Load():
		return ErrClosed
	case purged || w.doomed.Load():
		return ErrDoomed
	}
	return nil
}

// displaced appends the entries that make way for e: the one of its Key and
// Nominated; a hit-for-miss marker for the whole key, which e proves wrong;
// the oldest where there are too many. Under the shard's lock.
func (s *shard) displaced(e *entry, out []*entry) []*entry {
	real := !e.flags().Has(message.TermHitForMiss)
	kept := 0
	var last *entry
	for o := s.live[e.key]; o != nil; o = o.next {
		marker := o.flags().Has(message.TermHitForMiss) && len(o.Stored().Nominated) == 0
		if o.nominates(e.Stored().Nominated) || real && marker {
			out = append(out, o)
			continue
		}
		kept++
		last = o
	}
	if kept >= maxVariants {
		out = append(out, last)
	}
	return out
}
