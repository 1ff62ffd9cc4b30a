package disk

import (
	"hash/maphash"
	"sync"

	"edge/cache/storage"
	"edge/cache/storage/inflight"
	"edge/cache/storage/nameindex"
)

// The index: full keys to where their heads lie. It is the truth for what is
// found. It is built for many rows in little memory: rows lie in pages without
// pointers, so that the garbage collector does not look at them, and are
// chained by number.
const (
	shardBits = 6
	numShards = 1 << shardBits
	pageRows  = 256
	// maxVariants bounds the rows under one key. The one written first makes way.
	maxVariants = 64
	// sizeUnit is what row.size counts in, in bytes.
	sizeUnit = 8
)

// row is what is known of a stored response without reading it: 56 bytes.
type row struct {
	key       storage.Key
	seg, off  uint32 // of the head's record
	read      uint32 // how many bytes of it to read at a look-up
	oldest    uint32 // the oldest segment that it needs
	variant   uint32
	size      uint32 // of records, in sizeUnits
	next      uint32 // of the same bucket
	names     nameindex.Word
	checkedLo uint32 // the purge sequence up to which it was judged
	checkedHi uint16
	hits      uint8 // since it was written, up to 255
	flags     uint8
}

// identity is what a row is found again by, wherever it lies by then.
type identity struct {
	key     storage.Key
	variant uint32
}

func (r *row) checked() uint64     { return uint64(r.checkedHi)<<32 | uint64(r.checkedLo) }
func (r *row) setChecked(n uint64) { r.checkedLo, r.checkedHi = uint32(n), uint16(n>>32) }

// shard holds the keys whose second byte says so. (The first chooses a shard of the
// memory tier: keys that share a lock there are spread over all of them here.)
type shard struct {
	mu      sync.Mutex
	buckets []uint32 // by hash: the first row's number, 0 for none
	pages   []*page
	free    uint32 // the first of the rows that are not used
	rows    int    // used
	// open has the entries of rows that somebody retains.
	open map[uint32]*entry
	// kept has those of them that stay open.
	kept kept
	// pending is who writes what can be found once it is committed.
	pending inflight.Writers[storage.Key, *writer]
	// lists leads from names to rows. marked has the numbers of rows that Take
	// marked: some may have gone since.
	lists  nameindex.Lists
	marked []uint32
	_      [64]byte
}

type index struct {
	seed   maphash.Seed // keys are chosen by attackers
	scopes nameindex.Scopes
	memory pages
	shards [numShards]shard
}

func (x *index) init() {
	x.seed = maphash.MakeSeed()
	for i := range x.shards {
		s := &x.shards[i]
		s.buckets = make([]uint32, 16)
		s.open = make(map[uint32]*entry)
	}
}

func (x *index) shard(key *storage.Key) *shard { return &x.shards[key[1]%numShards] }

// row returns row number n, which is not 0. Under mu, as all that follows.
func (s *shard) row(n uint32) *row { return &s.pages[(n-1)/pageRows][(n-1)%pageRows] }

func (x *index) bucket(s *shard, key *storage.Key) *uint32 {
	return &s.buckets[maphash.Bytes(x.seed, key[:])&uint64(len(s.buckets)-1)]
}

// first returns the number of a key's first row, 0 for none; following goes on.
func (x *index) first(s *shard, key *storage.Key) uint32 {
	return s.find(*x.bucket(s, key), key)
}

func (s *shard) following(n uint32) uint32 {
	r := s.row(n)
	return s.find(r.next, &r.key)
}

func (s *shard) find(n uint32, key *storage.Key) uint32 {
	for ; n != 0; n = s.row(n).next {
		if s.row(n).key == *key {
			return n
		}
	}
	return 0
}

// variant returns the number of the row of a key and variant, 0 for none.
func (x *index) variant(s *shard, key *storage.Key, variant uint32) uint32 {
	for n := x.first(s, key); n != 0; n = s.following(n) {
		if s.row(n).variant == variant {
			return n
		}
	}
	return 0
}

// insert adds a row and returns its number.
func (x *index) insert(s *shard, r row) uint32 {
	if s.rows >= len(s.buckets)*3/2 { // 2.7 to 5.3 bytes a row
		x.grow(s)
	}
	n := s.free
	if n == 0 {
		first := uint32(len(s.pages)*pageRows) + 1
		s.pages = append(s.pages, x.memory.take())
		for i := range uint32(pageRows - 1) {
			s.row(first + i).next = first + i + 1
		}
		n = first
	}
	s.free = s.row(n).next
	b := x.bucket(s, &r.key)
	r.next = *b
	*s.row(n) = r
	*b = n
	s.rows++
	return n
}

// grow doubles the buckets.
func (x *index) grow(s *shard) {
	old := s.buckets
	s.buckets = make([]uint32, 2*len(old))
	for _, n := range old {
		for n != 0 {
			r := s.row(n)
			next := r.next
			b := x.bucket(s, &r.key)
			r.next, *b = *b, n
			n = next
		}
	}
}

// delete takes a row out.
func (x *index) delete(s *shard, n uint32) {
	r := s.row(n)
	at := x.bucket(s, &r.key)
	for *at != n {
		at = &s.row(*at).next
	}
	*at = r.next
	x.scopes.Leave(s.lists.Drop(r.names))
	*r = row{next: s.free}
	s.free = n
	s.rows--
}
