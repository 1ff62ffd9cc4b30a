package storage

import (
	"fmt"

	"edge/cache/storage/nameindex"
	"edge/message"
)

// publish makes a sealed entry visible, or says why not. The index gets a
// reference of its own.
func (m *Memory) publish(w *writer) error {
	e := w.e
	e.storedAt = m.clock()
	e.order = m.order.Add(1)
	var scope [128]byte
	var hashes [16]uint64
	x := nameindex.Naming{Scope: scope[:0], Hashes: hashes[:0]}
	e.Names().Naming(e.key, &x)

	var out []*entry
	err := func() error {
		s := m.index.shard(&e.key)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.pending.Leave(e.key, &w.place)
		err := w.refused()
		if err != nil {
			return err
		}
		if w.part {
			if out, err = m.join(s, e, out); err != nil {
				return err
			}
		}
		out = s.displaced(e, out)
		for _, o := range out {
			s.drop(o)
		}
		e.weigh()
		e.refs.add()
		e.indexed.Store(true)
		s.insert(e)
		s.enlist(e, &x)
		return nil
	}()
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
	m.stats.entries.Add(1 - int64(len(out)))
	m.stats.replaced.Add(int64(len(out)))
	for _, o := range out {
		if o.id != e.id {
			m.judge.forget(o.id)
		}
		o.Release()
	}
	m.present(e)
	return nil
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
