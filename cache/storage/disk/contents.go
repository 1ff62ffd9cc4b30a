package disk

import (
	"edge/cache/storage"
)

// What lies in a segment: its notes say, which its checkpoint keeps. So reclaiming
// costs what is in the segment, however much is on the disk.

// noteRecord notes a record that was appended to s. Of the chunks of a body one note is
// enough: what needs them is found by its key. Under the volume's lock while s is
// active.
func (s *segment) noteRecord(n note) {
	if last := len(s.notes) - 1; n.kind == kindChunk && last >= 0 && s.notes[last].kind == kindChunk && s.notes[last].key == n.key {
		return
	}
	s.notes = append(s.notes, n)
}

// eachKeyIn calls f with the key of each response of which something lies in a sealed
// segment, some of them several times. False: it is not known what does. Under no
// lock. For the reclaimer.
func (v *volume) eachKeyIn(s *segment, f func(key *storage.Key)) bool {
	v.mu.Lock()
	notes := s.notes
	if s == v.active {
		notes = nil // they may still grow
	}
	v.mu.Unlock()
	if notes != nil { // the checkpoint is not written yet
		for i := range notes {
			if notes[i].kind == kindHead || notes[i].kind == kindChunk {
				f(&notes[i].key)
			}
		}
		return true
	}
	v.reclaiming.begin(v)
	packed := v.readIdx(s)
	v.reclaiming.end()
	if packed == nil {
		return false
	}
	for ; len(packed) > 0; packed = packed[noteSize:] {
		n := parseNote(packed)
		if n.kind == kindHead || n.kind == kindChunk {
			f(&n.key)
		}
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
	known := v.eachKeyIn(s, func(key *storage.Key) {
		list = list[:0]
		sh := v.index.shard(key)
		sh.mu.Lock()
		for n := v.index.first(sh, key); n != 0; n = sh.following(n) {
			if r := sh.row(n); r.oldest <= s.id {
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
