package purge

import (
	"bytes"
	"math"
	"sync"

	"edge/cache/storage"
	"edge/message"
)

// index is the purges that count, by what they select: for each selector the
// newest purge of each mode. What it answers costs a few look-ups for each name
// that a response has (its URL, host, groups, tags and the segments of its
// path), whatever the number of purges and of stored responses.
//
// Filled under mu for writing; read by many at once.
type index struct {
	mu sync.RWMutex
	// newest is the newest purge of each kind: what was stored after it need
	// not be asked about that kind.
	newest [numKinds]uint64
	all    mark
	tags   map[string]*mark
	sites  map[string]*site // by authority
	// floor is the newest purge that was dropped. What is known up to an
	// earlier one only cannot be judged any more.
	floor uint64
}

// site is what is purged of one authority.
type site struct {
	host   mark
	scheme [2]branch // http, https
}

// branch is what is purged of one URI origin.
type branch struct {
	urls   map[string]*mark
	groups map[string]*mark
	paths  node
}

// mark is the purges of one selector: the newest of each mode, and those that
// are still being counted, the oldest first.
type mark struct {
	newest [numModes]uint64
	soft   message.Instant // when the newest soft one came
	open   []opened
}

type opened struct {
	seq  uint64
	mode Mode
	when message.Instant
}

func newIndex() *index {
	return &index{tags: make(map[string]*mark), sites: make(map[string]*site)}
}

// insert enters a purge. Sequences come in ascending order. With open, its
// takings are counted until close.
func (x *index) insert(r *record, open bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for i := range r.Selectors {
		s := &r.Selectors[i]
		m := x.mark(s)
		m.newest[r.Mode] = r.seq
		x.newest[s.Kind] = r.seq
		if r.Mode == Soft {
			m.soft = r.when
		}
		if open {
			m.open = append(m.open, opened{r.seq, r.Mode, r.when})
		}
	}
}

// close ends the counting of p's purges up to seq.
func (x *index) close(seq uint64, p *Purge) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for i := range p.Selectors {
		m := x.mark(&p.Selectors[i])
		n := 0
		for n < len(m.open) && m.open[n].seq <= seq {
			n++
		}
		if m.open = m.open[n:]; len(m.open) == 0 {
			m.open = nil
		}
	}
}

// mark finds or makes the mark of a selector. Under mu.
func (x *index) mark(s *Selector) *mark {
	switch s.Kind {
	case Everything:
		return &x.all
	case Tag:
		return markIn(&x.tags, s.Name)
	case URL, Prefix, Group, Host:
	}
	at := x.sites[s.Authority]
	if at == nil {
		at = new(site)
		x.sites[s.Authority] = at
	}
	if s.Kind == Host {
		return &at.host
	}
	b := &at.scheme[schemeIndex(s.Scheme)]
	switch s.Kind {
	case URL:
		return markIn(&b.urls, s.Name)
	case Group:
		return markIn(&b.groups, s.Name)
	case Prefix, Tag, Host, Everything:
	}
	return b.paths.mark(s.Name)
}

func markIn(m *map[string]*mark, name string) *mark {
	if *m == nil {
		*m = make(map[string]*mark)
	}
	at := (*m)[name]
	if at == nil {
		at = new(mark)
		(*m)[name] = at
	}
	return at
}

func schemeIndex[T string | []byte](scheme T) int {
	if string(scheme) == "https" {
		return 1
	}
	return 0
}

// judge says what the purges after since do to what has these names. It does
// not allocate.
func (x *index) judge(n storage.Names, since uint64) storage.Verdict {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if since < x.floor {
		return storage.Removed
	}
	worst := Mode(0)
	x.visit(n, since, func(m *mark) {
		for mode := Hard; mode > worst; mode-- {
			if m.newest[mode] > since {
				worst = mode
			}
		}
	})
	switch worst {
	case Hard:
		return storage.Removed
	case Invalid:
		return storage.Invalid
	case Soft:
		return storage.Stale
	}
	return storage.Live
}

// takers returns the purges after since that took what has these names and are
// still being counted: the first hard one, and the first soft one if it came
// before. 0 for none.
func (x *index) takers(n storage.Names, since uint64) (hard, soft uint64) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	x.visit(n, since, func(m *mark) {
		for _, o := range m.open {
			first := &soft
			if o.mode == Hard {
				first = &hard
			}
			if o.seq > since && o.mode != Invalid && (*first == 0 || o.seq < *first) {
				*first = o.seq
			}
		}
	})
	if hard != 0 && soft > hard {
		soft = 0
	}
	return hard, soft
}

// staleSince returns when the first soft purge after since came to what has these
// names, as far as they are known one by one; the largest instant for none.
func (x *index) staleSince(n storage.Names, since uint64) message.Instant {
	x.mu.RLock()
	defer x.mu.RUnlock()
	first := message.Instant(math.MaxInt64)
	x.visit(n, since, func(m *mark) {
		if m.newest[Soft] > since {
			first = min(first, m.soft)
		}
		for _, o := range m.open {
			if o.seq > since && o.mode == Soft {
				first = min(first, o.when)
			}
		}
	})
	return first
}

// visit calls f with the mark of everything that is purged of what has these
// names, and may leave out marks without a purge after since. Under mu.
func (x *index) visit(n storage.Names, since uint64, f func(*mark)) {
	if x.newest[Everything] > since {
		f(&x.all)
	}
	located := max(x.newest[URL], x.newest[Prefix], x.newest[Host], x.newest[Group]) > since
	listed := max(x.newest[Tag], x.newest[Group]) > since
	if !located && !listed {
		return
	}
	scheme, authority, target := n.URI()
	at := x.sites[string(authority)]
	var b *branch
	if at != nil {
		b = &at.scheme[schemeIndex(scheme)]
		f(&at.host)
		if m := b.urls[string(target)]; m != nil {
			f(m)
		}
		if x.newest[Prefix] > since {
			path, _, _ := bytes.Cut(target, []byte{'?'})
			b.paths.visit(path, f)
		}
	}
	if !listed {
		return
	}
	tags, groups := n.Lists()
	for tag, ok := tags.Next(); ok; tag, ok = tags.Next() {
		if m := x.tags[string(tag)]; m != nil {
			f(m)
		}
	}
	if b == nil || b.groups == nil {
		return
	}
	for group, ok := groups.Next(); ok; group, ok = groups.Next() {
		if m := b.groups[string(group)]; m != nil {
			f(m)
		}
	}
}
