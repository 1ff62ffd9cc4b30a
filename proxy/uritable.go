package proxy

import (
	"hash/maphash"
	"math/rand/v2"
	"sync"
	"sync/atomic"
)

// uriTable remembers something about URIs that keys are derived from. Safe for
// concurrent use, and bounded: where it is full, an entry that was not asked for
// lately makes way for a new one, and where none such is met with, or the URI is
// too long, the new one is not remembered.
//
// Every entry has a number that no entry had before, in this process and in all
// likelihood in those before it. A key with that number in it is out of reach
// once the entry is gone or replaced. That is how responses under many keys of
// one URI are invalidated at the cost of one: nobody asks for those keys again,
// and they are evicted in time.
type uriTable[T any] struct {
	shards [uriShards]uriShard[T]
	seed   maphash.Seed
	number atomic.Uint64
	n      atomic.Int64
}

type uriShard[T any] struct {
	mu sync.RWMutex
	m  map[string]*uriEntry[T]
}

// uriEntry is what is remembered of one URI. Immutable but for used.
type uriEntry[T any] struct {
	number uint64
	value  T
	used   atomic.Bool // since it was last looked at for making way
}

const (
	uriShards   = 64
	maxURIShard = 1024 // entries of a shard: 65536 in all
	maxURI      = 512  // bytes of a URI that is remembered, at most 32 MiB of them
	maxURITries = 8    // entries looked at for making way
)

func newURITable[T any]() *uriTable[T] {
	t := &uriTable[T]{seed: maphash.MakeSeed()}
	t.number.Store(rand.Uint64())
	return t
}

// len returns how many URIs are remembered, in one load.
func (t *uriTable[T]) len() int64 { return t.n.Load() }

func (t *uriTable[T]) shard(uri []byte) *uriShard[T] {
	return &t.shards[maphash.Bytes(t.seed, uri)%uriShards]
}

// get returns nil for what is not remembered. It does not allocate.
func (t *uriTable[T]) get(uri []byte) *uriEntry[T] {
	s := t.shard(uri)
	s.mu.RLock()
	defer s.mu.RUnlock()
	e := s.m[string(uri)]
	if e != nil && !e.used.Load() {
		e.used.Store(true)
	}
	return e
}

// put remembers value, unless what is remembered already will do. It returns
// what is remembered then, nil for nothing.
func (t *uriTable[T]) put(uri []byte, value T, willDo func(old T) bool) *uriEntry[T] {
	if len(uri) > maxURI {
		return nil
	}
	s := t.shard(uri)
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.m[string(uri)]
	switch {
	case old != nil && willDo(old.value):
		return old
	case old == nil && len(s.m) >= maxURIShard && !t.makeRoom(s):
		return nil
	case s.m == nil:
		s.m = make(map[string]*uriEntry[T])
	}
	if old == nil {
		t.n.Add(1)
	}
	e := &uriEntry[T]{number: t.number.Add(1), value: value}
	s.m[string(uri)] = e
	return e
}

// makeRoom takes an entry out that was not used since makeRoom last met with it.
// A map's order is any.
func (t *uriTable[T]) makeRoom(s *uriShard[T]) bool {
	tries := 0
	for uri, e := range s.m {
		if !e.used.Swap(false) {
			delete(s.m, uri)
			t.n.Add(-1)
			return true
		}
		if tries++; tries == maxURITries {
			break
		}
	}
	return false
}

// forget puts every key with uri's number out of reach.
func (t *uriTable[T]) forget(uri []byte) {
	if t.len() == 0 {
		return
	}
	s := t.shard(uri)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.m[string(uri)] != nil {
		delete(s.m, string(uri))
		t.n.Add(-1)
	}
}
