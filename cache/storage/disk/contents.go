package disk

import "edge/cache/storage/nameindex"

// What lies in a segment: its notes say, which its checkpoint keeps. So reclaiming
// costs what is in the segment, however much is on the disk.

// noteRecord notes a record that was appended to s. Of the chunks of a body one note is
// enough: what needs them is found by its key. Under the volume's lock while s is
// active.
func (s *segment) noteRecord(n note, x *nameindex.Naming) {
	if last := len(s.notes) - 1; n.kind == kindChunk && last >= 0 && s.notes[last].kind == kindChunk && s.notes[last].key == n.key {
		return
	}
	s.notes = append(s.notes, n)
	if n.kind == kindHead {
		s.naming.add(x)
	}
}

// eachNoteIn calls f with the notes of a sealed segment. False: it has none to go by.
// Under no lock.
func (v *volume) eachNoteIn(s *segment, f func(n *note)) bool {
	v.mu.Lock()
	notes := s.notes
	if s == v.active {
		notes = nil // they may still grow
	}
	v.mu.Unlock()
	if notes != nil { // the checkpoint is not written yet
		for i := range notes {
			f(&notes[i])
		}
		return true
	}
	packed := v.readIdx(s)
	if packed == nil {
		return false
	}
	for ; len(packed) > 0; packed = packed[noteSize:] {
		n := parseNote(packed)
		f(&n)
	}
	return true
}

// eachRowIn calls f with a copy of each row that needs a segment which nothing new
// points into (gone is set) and which is the oldest there is. Under no lock.
//
// A row's head or a chunk of its body lies there, under its own key: neither
// freshening nor carrying changes the key, though freshening may change the variant.
func (v *volume) eachRowIn(s *segment, f func(r *row)) {
	var list []row
	known := v.eachNoteIn(s, func(n *note) {
		switch n.kind {
		case kindHead, kindChunk, kindInvalidation: // as which a chunk counts that was damaged
		case kindTombstone, kindWipe, kindJudged, kindEpoch, kindDoubt:
			return
		}
		list = list[:0]
		sh := v.index.shard(&n.key)
		sh.mu.Lock()
		for i := v.index.first(sh, &n.key); i != 0; i = sh.following(i) {
			if r := sh.row(i); r.oldest <= s.id {
				list = append(list, *r)
			}
		}
		sh.mu.Unlock()
		for i := range list {
			f(&list[i])
		}
	})
	if !known {
		v.eachRowWalked(s, f)
	}
}

// eachRowWalked is eachRowIn for a segment of which it is not known what lies there: it
// walks the whole index.
func (v *volume) eachRowWalked(s *segment, f func(r *row)) {
	var list []row
	for i := range v.index.shards {
		list = list[:0]
		v.index.shards[i].walk(func(_ uint32, r *row) {
			if r.oldest <= s.id {
				list = append(list, *r)
			}
		})
		for j := range list {
			f(&list[j])
		}
	}
}
