package storage

import (
	"crypto/sha256"
	"encoding/binary"

	"edge/cache/storage/nameindex"
	"edge/message"
)

// Selector selects stored responses by name.
type Selector = nameindex.Selector

// The kinds of Selector.
const (
	ByURL      = nameindex.URL
	ByPrefix   = nameindex.Prefix
	ByTag      = nameindex.Tag
	ByGroup    = nameindex.Group
	ByHost     = nameindex.Host
	Everything = nameindex.Everything
)

// Finder is what a Store may implement besides, to be asked for responses by name
// without visiting all there are.
type Finder interface {
	// Find calls f with every live entry that one of the selectors selects, as
	// Each does: retained during the call only, until f returns false, each
	// variant once; what comes or goes meanwhile may be missed. By URL, tag and group
	// it costs a look-up and what is found; by prefix and host a comparison for each
	// entry. For listing, not for requests.
	Find(list []Selector, f func(Entry) bool)
}

// Taker is what a Store may implement besides, so that a purge is counted at once
// and its work done behind.
//
// The Ledger judges whoever is come by, and that is what makes a purge be in
// force; Take only goes ahead of it, and marks what a purge is about to take, so
// that each response is counted for one purge, once, whoever comes by it first.
type Taker interface {
	// Take marks every entry that the takings select and that was last judged
	// before them. Takings come in the order of their sequences, over all calls, each
	// is taken after it is in force, and one call of Take or Reap ends before the
	// next begins. It reads nothing from disks, but where a store does not know
	// enough of an entry's names: that one is judged there and then, and the Witness
	// told.
	Take(list []Taking)
	// Reap carries out what Take marked, for about n entries: they are judged, as
	// by Each, and what was purged is freed. It returns how many it came by, and
	// how many are left.
	Reap(n int) (did, left int)
	// Judged says that every purge after since and up to sequence has been taken: an
	// entry that is not marked, and was judged by those up to since, counts as
	// judged by them all. A call concerns one of Parts parts of the store, so that
	// other calls need not wait for all of it.
	Judged(since, sequence uint64, part int)
}

// Parts is how many parts Taker.Judged has.
const Parts = 256

// Taking is one purge as a Taker sees it.
type Taking struct {
	// Sequence is the purge's number.
	Sequence uint64
	Select   []Selector
	// Verdict is what becomes of what is selected.
	Verdict Verdict
	// Count, if not nil, is told how many more responses were found that no purge
	// before had taken; of soft purges, that no soft purge had. Hit-for-miss markers
	// are none. It may be called under a lock.
	Count func(n int)
	// Stop, if not nil, is asked before each read of a disk, and again and again, under
	// no lock, whether to leave off. It may first let others have the processor.
	Stop func() bool
}

// count counts n more.
func (t *Taking) count(n int) {
	if n > 0 && t.Count != nil {
		t.Count(n)
	}
}

// Stopped reports whether to leave off.
func (t *Taking) Stopped() bool { return t.Stop != nil && t.Stop() }

// URLKey returns the Key of a URI to which nothing is added: the first 128 bits of
// the SHA-256 of its length-prefixed parts.
func URLKey[T string | []byte](scheme string, authority, target T) Key {
	var room [256]byte
	b := appendKeyPart(room[:0], scheme)
	b = appendKeyPart(b, authority)
	b = appendKeyPart(b, target)
	sum := sha256.Sum256(b)
	return Key(sum[:16])
}

func appendKeyPart[T string | []byte](b []byte, part T) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(part)))
	return append(b, part...)
}

// Renamer is what a Store may implement besides: a Freshen that changes what an entry
// is found and purged by. RFC 9111 section 3.2 has a cache "update its stored
// response headers" from those of a 304, and tags and groups are said in some of them.
type Renamer interface {
	// FreshenAs is Freshen, and gives e other names. Where a purge that came after
	// sequence selects what e was called before or is called now, it applies.
	FreshenAs(e Entry, s *message.Stored, sequence uint64, names Names) error
}

// With returns n with other tags, other groups, or both; nil: those it has.
func (n Names) With(tags, groups []string) Names {
	m := n.Meta()
	p := Proposal{Scheme: m.Scheme, Authority: []byte(m.Authority), Target: []byte(m.Target), Tags: m.Tags, Groups: m.Groups}
	if tags != nil {
		p.Tags = tags
	}
	if groups != nil {
		p.Groups = groups
	}
	return MakeNames(&p)
}

// Naming makes x what an index has of n, the names of an entry under a key. It
// uses x's room.
func (n Names) Naming(key Key, x *nameindex.Naming) {
	scheme, authority, target := n.URI()
	x.Scope = nameindex.AppendScope(x.Scope[:0], scheme, authority, target)
	x.Hashes = x.Hashes[:0]
	if URLKey(string(scheme), authority, target) != key {
		x.Hashes = append(x.Hashes, nameindex.URLHash(scheme, authority, target))
	}
	tags, groups := n.Lists()
	for tag, ok := tags.Next(); ok; tag, ok = tags.Next() {
		x.Hashes = append(x.Hashes, nameindex.TagHash(tag))
	}
	for group, ok := groups.Next(); ok; group, ok = groups.Next() {
		x.Hashes = append(x.Hashes, nameindex.GroupHash(scheme, authority, group))
	}
}

// Selected reports whether one of the selectors selects n.
func (n Names) Selected(list []Selector) bool {
	for i := range list {
		if n.selected(&list[i]) {
			return true
		}
	}
	return false
}

func (n Names) selected(s *Selector) bool {
	scheme, authority, target := n.URI()
	here := string(authority) == s.Authority && (string(scheme) == "https") == (s.Scheme == "https")
	tags, groups := n.Lists()
	switch s.Kind {
	case Everything:
		return true
	case ByHost:
		return string(authority) == s.Authority
	case ByURL:
		return here && string(target) == s.Name
	case ByPrefix:
		return here && nameindex.UnderPath(target, s.Name)
	case ByTag:
		return tags.has(s.Name)
	case ByGroup:
		return here && groups.has(s.Name)
	}
	return false
}

// has reports whether a name is on the list.
func (l NameList) has(name string) bool {
	for n, ok := l.Next(); ok; n, ok = l.Next() {
		if string(n) == name {
			return true
		}
	}
	return false
}
