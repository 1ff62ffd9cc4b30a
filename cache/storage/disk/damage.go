package disk

import (
	"errors"

	"edge/cache/storage"
	"edge/message"
)

// Damage to a body costs the chunk that it is found in, where the rest can be used
// without it: with a strong validator what is left stays as parts, and only what is
// missing is asked for again. (RFC 9110 section 15.3.7.3: parts may be combined "if they
// all have the same strong validator".)

// mend takes out of e what cannot be read of it any more: the run x, if the rest is
// worth having, else all of it. Whoever reads from e goes on with what it has opened.
// Counting is the caller's.
func (v *volume) mend(e *entry, x *located) {
	v.o.Logger.Warn("damage was found; what it lies in is dropped", "disk", v.dir, "segment", v.name(x.seg), "offset", x.off, "length", x.length)
	if v.keepRest(e, x) {
		v.suspect(e)
		return
	}
	v.expelDamaged(e)
}

// expelDamaged takes all of e out.
func (v *volume) expelDamaged(e *entry) {
	if v.expel(e) {
		v.st.stats.removed.Add(1)
	}
}

// mendAttempts is how often a response is mended anew that was given another place
// meanwhile, by reclaiming or by others who met damage.
const mendAttempts = 8

// keepRest makes e parts without x. False: e is as it was.
func (v *volume) keepRest(e *entry, x *located) bool {
	if !e.Stored().Terms.HasStrongValidator() {
		return false
	}
	for range mendAttempts {
		b := e.retainBody()
		if b == nil {
			return false // it is being written
		}
		kept, err := v.without(e, b, x)
		b.drop()
		if !errors.Is(err, storage.ErrGone) || !e.indexed.Load() {
			return kept && err == nil
		}
	}
	return false
}

// without makes e, which has the body b, parts without x, if anything is left. ErrGone: it
// has another body by now, or is not in the index.
func (v *volume) without(e *entry, b *body, x *located) (kept bool, err error) {
	var rest []located
	for _, y := range b.locate() {
		if y.seg != x.seg || y.off != x.off {
			rest = append(rest, y)
		}
	}
	if len(rest) == 0 {
		return false, nil
	}
	if len(rest) == len(b.extents) {
		return e.indexed.Load(), nil // somebody was quicker
	}
	return true, v.relocate(e, b, rest, nil, false, false)
}

// partialIf returns s, marked as parts or as a whole. What came without a length has one
// now, size, without which nobody could tell what is missing.
func partialIf(s *message.Stored, parts bool, size int64) *message.Stored {
	if parts == s.Terms.Flags.Has(message.TermPartial) {
		return s
	}
	next := *s
	if next.Terms.Flags &^= message.TermPartial; parts {
		next.Terms.Flags |= message.TermPartial
		next.Length = size
	}
	return &next
}
