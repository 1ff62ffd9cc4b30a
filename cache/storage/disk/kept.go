package disk

// Entries that are found again and again stay open: what their heads say need not be
// read and parsed at each look-up. They are kept for as long as their row stands,
// and each is held by one reference of the shard's; so whatever takes a row out or
// gives it another place (a purge, a replacement, reclaiming) lets go of the entry
// too, and no segment stays for the sake of an entry that is kept.

const (
	// keptBytes bounds what the entries that one shard keeps take, in bytes: 4 MiB
	// for a disk.
	keptBytes = 64 << 10
	// keptEntry is what an entry takes beside what was read for it.
	keptEntry = 512
	// keptExtent is what each extent takes: itself and its segment.
	keptExtent = extentSize + 8
	// keptLargest: what takes more than 1/keptLargest of a shard's bytes is not kept.
	keptLargest = 4
)

// kept are the entries that a shard keeps open: a clock, where an entry that was
// found since the hand passed it is passed once more. Under the shard's lock.
type kept struct {
	list  []*entry
	hand  int
	bytes int64
}

// keep keeps e, if it is worth it, and appends the entries that make way, each to be
// released without the lock.
func (k *kept) keep(e *entry, out []*entry) []*entry {
	if e.keptAt > 0 {
		e.keptUsed = true
		return out
	}
	if e.footprint == 0 || e.footprint > keptBytes/keptLargest {
		return out
	}
	for k.bytes+e.footprint > keptBytes {
		if k.hand >= len(k.list) {
			k.hand = 0
		}
		if o := k.list[k.hand]; o.keptUsed {
			o.keptUsed = false
			k.hand++
		} else {
			k.forget(o)
			out = append(out, o)
		}
	}
	e.refs.Add(1)
	k.list = append(k.list, e)
	k.bytes += e.footprint
	e.keptAt, e.keptUsed = len(k.list), false
	return out
}

// forget takes e off the list; the reference is the caller's to give back.
func (k *kept) forget(e *entry) {
	last := len(k.list) - 1
	o := k.list[last]
	k.list[e.keptAt-1], o.keptAt = o, e.keptAt
	k.list[last] = nil
	k.list = k.list[:last]
	k.bytes -= e.footprint
	e.keptAt = 0
}

// close stops keeping e. The segments that its body has pinned are on the volume's
// list, which has them pinned too: giving the reference back here, under the lock,
// closes no file.
func (k *kept) close(e *entry) {
	if e.keptAt == 0 {
		return
	}
	k.forget(e)
	if e.refs.Add(-1) == 0 {
		e.letGo()
	}
}
