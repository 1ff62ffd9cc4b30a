package inflight

import "iter"

// Writers are those who write, by what they write under. The zero value is none. A mutex
// of its owner's guards it, and every Place in it.
type Writers[K comparable, W any] struct{ newest map[K]*Place[W] }

// Place is where a writer stands among the others of its key. It is part of the writer,
// so that entering allocates nothing for it.
type Place[W any] struct {
	writer       W
	older, newer *Place[W]
}

// Enter notes that w writes under key, at a place that is not taken.
func (x *Writers[K, W]) Enter(key K, at *Place[W], w W) {
	if x.newest == nil {
		x.newest = make(map[K]*Place[W])
	}
	at.writer, at.older = w, x.newest[key]
	if at.older != nil {
		at.older.newer = at
	}
	x.newest[key] = at
}

// Leave forgets who stands at a place; nobody may.
func (x *Writers[K, W]) Leave(key K, at *Place[W]) {
	switch {
	case at.newer != nil:
		at.newer.older = at.older
	case x.newest[key] != at:
		return
	case at.older != nil:
		x.newest[key] = at.older
	default:
		delete(x.newest, key)
	}
	if at.older != nil {
		at.older.newer = at.newer
	}
	*at = Place[W]{}
}

// Under returns who writes under key, the last to enter first.
func (x *Writers[K, W]) Under(key K) iter.Seq[W] {
	return func(yield func(W) bool) {
		for at := x.newest[key]; at != nil && yield(at.writer); {
			at = at.older
		}
	}
}
