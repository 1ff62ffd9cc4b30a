package nameindex

import (
	"math/bits"
	"math/rand/v2"
)

// Word is what a row has of its names: its scope's number, or a place in a chain of
// list nodes that ends in one. 0 is the unknown scope, and no names.
type Word uint32

// isNode marks a Word that is a node's number.
const isNode Word = 1 << 31

// Lists leads from hashes to the numbers of the rows that have them. It is made for
// many in little memory: 20 bytes for each name of a row, and 20 to 24 for each
// name that there is, in pages without pointers. Taking a row out takes out all
// that leads to it. The zero value is empty. Not safe for concurrent use: its owner
// has a lock.
type Lists struct {
	nodes   paged[node]
	names   paged[nameHead]
	buckets []uint32 // by hash: the first name's number, 0 for none
	count   int      // of names
	seed    uint64
}

// node is one row in the list of one name.
type node struct {
	name       uint32
	row        uint32
	sibling    Word // the row's other names
	prev, next uint32
}

// nameHead is one name: the head of its list.
type nameHead struct {
	hash  uint64
	first uint32 // node
	next  uint32 // name of the same bucket
}

// paged is an array that grows without being copied. Number 0 is none.
type paged[T any] struct {
	pages []*[pageSize]T
	free  []uint32
	used  uint32 // numbers ever given
}

const pageSize = 128

func (p *paged[T]) at(n uint32) *T { return &p.pages[(n-1)/pageSize][(n-1)%pageSize] }

func (p *paged[T]) take() uint32 {
	if last := len(p.free) - 1; last >= 0 {
		n := p.free[last]
		p.free = p.free[:last]
		return n
	}
	if int(p.used) == len(p.pages)*pageSize {
		p.pages = append(p.pages, new([pageSize]T))
	}
	p.used++
	return p.used
}

func (p *paged[T]) give(n uint32) { p.free = append(p.free, n) }

// bucket returns the bucket of a hash. Names are chosen by strangers, and which
// share a bucket is not for them to know.
func (l *Lists) bucket(hash uint64) *uint32 {
	high, low := bits.Mul64(hash^l.seed, 0x9e3779b97f4a7c15^l.seed|1)
	return &l.buckets[(high^low)&uint64(len(l.buckets)-1)]
}

// find returns the number of a name, 0 for none.
func (l *Lists) find(hash uint64) uint32 {
	if len(l.buckets) == 0 {
		return 0
	}
	n := *l.bucket(hash)
	for n != 0 && l.names.at(n).hash != hash {
		n = l.names.at(n).next
	}
	return n
}

// intern finds or makes a name.
func (l *Lists) intern(hash uint64) uint32 {
	if n := l.find(hash); n != 0 {
		return n
	}
	if l.count >= len(l.buckets) {
		l.grow()
	}
	n, b := l.names.take(), l.bucket(hash)
	*l.names.at(n) = nameHead{hash: hash, next: *b}
	*b = n
	l.count++
	return n
}

// grow doubles the buckets.
func (l *Lists) grow() {
	if l.seed == 0 {
		l.seed = rand.Uint64()
	}
	old := l.buckets
	l.buckets = make([]uint32, max(16, 2*len(old)))
	for _, n := range old {
		for n != 0 {
			h := l.names.at(n)
			next, b := h.next, l.bucket(h.hash)
			h.next, *b = *b, n
			n = next
		}
	}
}

// forget takes a name without rows out.
func (l *Lists) forget(n uint32) {
	at := l.bucket(l.names.at(n).hash)
	for *at != n {
		at = &l.names.at(*at).next
	}
	*at = l.names.at(n).next
	l.names.give(n)
	if l.count--; l.count == 0 {
		*l = Lists{seed: l.seed}
	}
}

// Add gives a row whose Word is w one more name, and returns its new Word.
func (l *Lists) Add(w Word, row uint32, hash uint64) Word {
	if l.Has(w, hash) {
		return w
	}
	name := l.intern(hash)
	n, h := l.nodes.take(), l.names.at(name)
	*l.nodes.at(n) = node{name: name, row: row, sibling: w, next: h.first}
	if h.first != 0 {
		l.nodes.at(h.first).prev = n
	}
	h.first = n
	return isNode | Word(n)
}

// Has reports whether a row with that Word has a name.
func (l *Lists) Has(w Word, hash uint64) bool {
	for ; w&isNode != 0; w = l.node(w).sibling {
		if l.names.at(l.node(w).name).hash == hash {
			return true
		}
	}
	return false
}

func (l *Lists) node(w Word) *node { return l.nodes.at(uint32(w &^ isNode)) }

// Scope returns the scope of a row with that Word.
func (l *Lists) Scope(w Word) Word {
	for w&isNode != 0 {
		w = l.node(w).sibling
	}
	return w
}

// Same reports whether a row with that Word has these names, and no other.
func (l *Lists) Same(w Word, hashes []uint64) bool {
	n := 0
	for at := w; at&isNode != 0; at = l.node(at).sibling {
		n++
	}
	if n > len(hashes) {
		return false
	}
	seen := 0
	for i, h := range hashes {
		if !l.Has(w, h) {
			return false
		}
		first := true
		for _, before := range hashes[:i] {
			first = first && before != h
		}
		if first {
			seen++
		}
	}
	return seen == n
}

// Drop takes a row with that Word off all its lists, and returns its scope.
func (l *Lists) Drop(w Word) Word {
	for w&isNode != 0 {
		n := uint32(w &^ isNode)
		x := *l.nodes.at(n)
		if x.next != 0 {
			l.nodes.at(x.next).prev = x.prev
		}
		if x.prev != 0 {
			l.nodes.at(x.prev).next = x.next
		} else {
			l.names.at(x.name).first = x.next
		}
		l.nodes.give(n)
		if w = x.sibling; l.names.at(x.name).first == 0 {
			l.forget(x.name)
		}
	}
	return w
}

// Walk calls f with the rows that have a name, the newest first, until f returns
// false. f may not change the lists.
func (l *Lists) Walk(hash uint64, f func(row uint32) bool) {
	name := l.find(hash)
	if name == 0 {
		return
	}
	for n := l.names.at(name).first; n != 0; {
		x := l.nodes.at(n)
		if !f(x.row) {
			return
		}
		n = x.next
	}
}
