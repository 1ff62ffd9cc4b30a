package storage

import (
	"encoding/binary"
	"sync/atomic"

	"edge/message"
)

// head is one version of an entry's head. Immutable once its entry can be
// reached, but for checked. Its bytes lie in its own slot, or in the entry's
// base slot.
type head struct {
	stored message.Stored
	slot   slot
	names  []byte // packed, in slot: nil where they are what they were at first
	next   *head  // among an entry's retired heads
	// checked is the newest purge that is known to spare this head. It is the
	// head's and not the entry's, so that what was judged of one head is never
	// taken for judged of the next.
	checked atomic.Uint64
}

// headSize returns how many bytes copyStored needs.
func headSize(s *message.Stored) int {
	return len(s.Head) + len(s.Nominated) + len(s.Reason) + len(s.Terms.ETag)
}

// copyStored makes *to a copy of s whose bytes lie in mem, and returns what is
// left of mem.
func copyStored(to, s *message.Stored, mem []byte) []byte {
	cut := func(b []byte) []byte {
		if b == nil {
			return nil
		}
		n := copy(mem, b)
		c := mem[:n:n]
		mem = mem[n:]
		return c
	}
	*to = *s
	to.Head, to.Nominated, to.Reason = cut(s.Head), cut(s.Nominated), cut(s.Reason)
	to.Terms.ETag = cut(s.Terms.ETag)
	return mem
}

// retained is the count by which something is kept. Zero is final.
type retained struct{ n atomic.Int64 }

// add adds a reference where the caller knows that one is held.
func (r *retained) add() { r.n.Add(1) }

// drop gives a reference back and returns how many are left.
func (r *retained) drop() int64 {
	n := r.n.Add(-1)
	if n < 0 {
		panic("storage: entry released more often than retained")
	}
	return n
}

// The packed form of what Meta needs, in memory only: length-prefixed strings
// (uvarint), first scheme, authority, target, then the count of tags and the
// tags, then the groups, to the end.

// metaSize returns how many bytes appendMeta appends.
func metaSize(p *Proposal) int {
	n := stringSize(len(p.Scheme)) + stringSize(len(p.Authority)) + stringSize(len(p.Target))
	n += uvarintSize(uint64(len(p.Tags)))
	for _, t := range p.Tags {
		n += stringSize(len(t))
	}
	for _, g := range p.Groups {
		n += stringSize(len(g))
	}
	return n
}

func stringSize(n int) int { return uvarintSize(uint64(n)) + n }

func uvarintSize(v uint64) int {
	n := 1
	for ; v >= 0x80; v >>= 7 {
		n++
	}
	return n
}

func appendMeta(dst []byte, p *Proposal) []byte {
	dst = appendName(dst, p.Scheme)
	dst = appendName(dst, p.Authority)
	dst = appendName(dst, p.Target)
	dst = binary.AppendUvarint(dst, uint64(len(p.Tags)))
	for _, t := range p.Tags {
		dst = appendName(dst, t)
	}
	for _, g := range p.Groups {
		dst = appendName(dst, g)
	}
	return dst
}

// appendName appends a name, of whatever kind.
func appendName[T string | []byte](dst []byte, name T) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(name))), name...)
}

// parseMeta opens what appendMeta packed.
func parseMeta(b []byte) (m Meta) {
	next := func() string {
		n, w := binary.Uvarint(b)
		s := string(b[w : w+int(n)])
		b = b[w+int(n):]
		return s
	}
	m.Scheme, m.Authority, m.Target = next(), next(), next()
	tags, w := binary.Uvarint(b)
	b = b[w:]
	for range tags {
		m.Tags = append(m.Tags, next())
	}
	for len(b) > 0 {
		m.Groups = append(m.Groups, next())
	}
	return m
}
