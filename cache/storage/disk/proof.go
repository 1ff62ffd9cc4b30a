package disk

import (
	"sync/atomic"

	"edge/cache/storage/vfs"
)

// proof is which bodies of a segment were read and found right since its file was
// last changed. It lets what lies in the kernel's page cache be used without being
// read through once more.
//
// It is of no more use once somebody else writes to the file, which the filesystem
// tells by the file's time: then it begins anew, and everything is checked
// before it is used. And it says nothing of what the page cache has lost, which
// comes from the disk again: that is checked again.
type proof struct {
	// changed is when the file was changed last, as the filesystem says; 0 where it
	// does not.
	changed int64
	// bits has one for each checkedSpan bytes, for the body that begins there.
	bits []atomic.Uint32
}

// checkedSpan is the shortest body whose verification is remembered; a shorter one is
// checked at each read, which costs a microsecond.
const checkedSpan = 4 << 10

// proven returns what is known of the segment's file as it is now. Who is about to check
// something takes it before reading, so that what is noted in it is never younger than what
// was read.
func (s *segment) proven() *proof {
	for {
		p, now := s.checked.Load(), s.changed()
		if p != nil && p.changed == now {
			return p
		}
		next := &proof{now, make([]atomic.Uint32, s.v.o.segmentSize/checkedSpan/32+1)}
		if s.checked.CompareAndSwap(p, next) {
			return next
		}
	}
}

// changed returns when the file was changed last, in the filesystem's nanoseconds.
func (s *segment) changed() int64 {
	if f := s.file.Load(); f != nil {
		if d, ok := (*f).(vfs.DatedFile); ok {
			return d.Changed()
		}
	}
	return 0
}

// wroteTo keeps what was proven, as returned before we wrote to the file ourselves: what
// was written is beside it. For the flusher.
func (s *segment) wroteTo(p *proof) {
	if p != nil {
		s.checked.CompareAndSwap(p, &proof{s.changed(), p.bits}) // else somebody came in between
	}
}

// has reports whether the body of n bytes at off was found right.
func (p *proof) has(off, n uint32) bool {
	i := off / checkedSpan
	return n >= checkedSpan && int(i/32) < len(p.bits) && p.bits[i/32].Load()&(1<<(i%32)) != 0
}

// set notes that the body of n bytes at off was found right.
func (p *proof) set(off, n uint32) {
	if i := off / checkedSpan; n >= checkedSpan && int(i/32) < len(p.bits) {
		p.bits[i/32].Or(1 << (i % 32))
	}
}

// unset has the body at off checked at its next read.
func (p *proof) unset(off uint32) {
	if i := off / checkedSpan; int(i/32) < len(p.bits) {
		p.bits[i/32].And(^uint32(1 << (i % 32)))
	}
}
