package storage

import (
	"sync"

	"edge/cache/storage/inflight"
	"edge/cache/storage/nameindex"
)

// The index: full keys to entries. It is the truth for what is found.
const (
	// shardBits: 256 shards keep writers of different keys apart.
	shardBits = 8
	numShards = 1 << shardBits
	// maxVariants bounds the entries under one key: Lookup's cost grows with
	// them and a client can ask for many. The oldest makes way.
	maxVariants = 64
)

// shard holds the keys whose first byte is its number; keys are bits of a
// SHA-256, so that spreads them.
type shard struct {
	mu sync.RWMutex
	// live has the newest entry of each key; the others hang off it.
	live map[Key]*entry
	// pending is who writes what can be found once it is committed.
	pending inflight.Writers[Key, *writer]
	// lists leads from names to numbers of slots, which have the entries.
	lists nameindex.Lists
	slots []*entry
	words []nameindex.Word // of the slots
	free  []uint32         // numbers of slots without one
	// marked has the numbers of what Take marked: some may have gone since.
	marked []uint32
	found  []*entry // Take's, empty
	_      [64]byte // keep neighbours' locks off this cache line
}

type index struct {
	shards [numShards]shard
}

func (x *index) init() {
	for i := range x.shards {
		x.shards[i].live = make(map[Key]*entry)
	}
}

func (x *index) shard(key *Key) *shard { return &x.shards[key[0]] }

// lookup appends every entry under key to dst, newest first, retained.
func (x *index) lookup(dst []Entry, key Key) []Entry {
	s := x.shard(&key)
	s.mu.RLock()
	for e := s.live[key]; e != nil; e = e.next {
		e.refs.add()
		dst = append(dst, e)
	}
	s.mu.RUnlock()
	return dst
}

// insert links e in among its key's entries. Under the shard's lock.
func (s *shard) insert(e *entry) {
	at := s.live[e.key]
	if at == nil || e.newer(at) {
		e.next = at
		s.live[e.key] = e
		return
	}
	for at.next != nil && !e.newer(at.next) {
		at = at.next
	}
	e.next = at.next
	at.next = e
}

// unlink takes e out of its key's list. Under the shard's lock.
func (s *shard) unlink(e *entry) {
	if at := s.live[e.key]; at == e {
		if e.next == nil {
			delete(s.live, e.key)
		} else {
			s.live[e.key] = e.next
		}
	} else {
		for at.next != e {
			at = at.next
		}
		at.next = e.next
	}
	e.next = nil
}

// remove takes e out, and reports whether it was in. The index's reference
// passes to the caller. Under no lock.
func (x *index) remove(e *entry) bool {
	s := x.shard(&e.key)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.drop(e)
}

// drop is remove under the shard's lock.
func (s *shard) drop(e *entry) bool {
	if !e.indexed.Load() {
		return false
	}
	e.indexed.Store(false)
	s.unlink(e)
	s.delist(e)
	return true
}

// snapshot appends a shard's entries to dst, retained.
func (s *shard) snapshot(dst []*entry) []*entry {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, e := range s.live {
		for ; e != nil; e = e.next {
			e.refs.add()
			dst = append(dst, e)
		}
	}
	return dst
}
