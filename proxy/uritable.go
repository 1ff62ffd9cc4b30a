package proxy

import (
	"hash/maphash"
	"math/rand/v2"
	"sync"
	"sync/atomic"
)

// uriTable remembers something about URIs that keys are derived from. Safe for
// concurrent use, and bounded: where it is full, any entry makes way for a new
// one, and a URI that is too long is not remembered.
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
	m  map[string]uriEntry[T]
}

// uriEntry is what is remembered of one URI.
type uriEntry[T any] struct {
	number uint64
	value  T
}

const (
	uriShards   = 64
	maxURIShard = 512  // entries of a shard: 32768 in all
	maxURI      = 1024 // bytes of a URI that is remembered
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

// get does not allocate.
func (t *uriTable[T]) get(uri []byte) (uriEntry[T], bool) {
	s := t.shard(uri)
	s.mu.RLock()
	defer s.mu.RUnlock()
	e, ok := s.m[string(uri)]
	return e, ok
}

// update lets f see what is remembered of uri and say what is to be, and
// whether that replaces it. It returns what is remembered then; false where
// that is nothing.
func (t *uriTable[T]) update(uri []byte, f func(old T, ok bool) (T, bool)) (uriEntry[T], bool) {
	if len(uri) > maxURI {
		return uriEntry[T]{}, false
	}
	s := t.shard(uri)
	s.mu.Lock()
	defer s.mu.Unlock()
	old, ok := s.m[string(uri)]
	value, replace := f(old.value, ok)
	if !replace {
		return old, ok
	}
	if s.m == nil {
		s.m = make(map[string]uriEntry[T])
	}
	if !ok && len(s.m) >= maxURIShard {
		for other := range s.m { // any one
			delete(s.m, other)
			t.n.Add(-1)
			break
		}
	}
	if !ok {
		t.n.Add(1)
	}
	e := uriEntry[T]{t.number.Add(1), value}
	s.m[string(uri)] = e
	return e, true
}

// forget puts every key with uri's number out of reach.
func (t *uriTable[T]) forget(uri []byte) {
	if t.len() == 0 {
		return
	}
	s := t.shard(uri)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.m[string(uri)]; ok {
		delete(s.m, string(uri))
		t.n.Add(-1)
	}
}
