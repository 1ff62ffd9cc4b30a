package disk

import (
	"errors"
	"time"

	"edge/cache/storage"
	"edge/cache/storage/vfs"
	"edge/message"
)

// The scrub: what was verified once may rot later, and what nobody asks for rots
// unseen. So all that is sealed is read again, slowly, and what does not match its
// checksum is dropped as if a reader had met it. It makes way for everybody: it rests
// while others read, while the disk is slow, and while it is out.

const (
	// scrubPass is how long one pass over a disk is meant to take.
	scrubPass = 7 * 24 * time.Hour
	// scrubApart is how long a pass begins after the last one, or the start, at the
	// least.
	scrubApart = time.Hour
	// The bounds of the rate that follows from it, in bytes a second.
	minScrubRate, maxScrubRate = 1 << 20, 32 << 20
	// scrubSlice is how much is read at a time, in bytes.
	scrubSlice = 256 << 10
	scrubTick  = time.Second
	// scrubSlow: a slice that takes longer says that the disk has other things to do.
	// Then scrubRest times as long nothing is read.
	scrubSlow = 100 * time.Millisecond
	scrubRest = 20
	// maxSuspects is how many responses may wait to be looked at because a part of them
	// was damaged. More are not.
	maxSuspects = 64
)

// scrub is the state of a volume's scrubber. Owner: its goroutine.
type scrub struct {
	v    *volume
	rate int64
	id   uint32 // of the segment at hand
	off  int64
	w    *sliding
	bad  bool            // within a run that is no record, and was counted
	rest message.Instant // until when nothing is read
	next message.Instant // when the next pass may begin
}

// scrubRate returns how much is to be read in a second, in bytes; 0 for nothing.
func (v *volume) scrubRate() int64 {
	switch rate := v.o.ScrubRate; {
	case rate < 0:
		return 0
	case rate > 0:
		return rate
	}
	return min(max(v.limit/int64(scrubPass/time.Second), minScrubRate), maxScrubRate)
}

// apart puts the next pass off. Who says at what rate to read wants one after another.
func (c *scrub) apart() {
	if c.v.o.ScrubRate == 0 {
		c.next = c.v.o.Clock().Add(int64(scrubApart))
	}
}

// scrubber runs until the volume closes.
func (v *volume) scrubber() {
	defer v.workers.Done()
	c := &scrub{v: v, rate: v.scrubRate()}
	c.apart()
	tick := time.NewTicker(scrubTick)
	defer tick.Stop()
	for {
		select {
		case <-v.stop:
			return
		case x := <-v.suspects:
			v.examine(x)
		case <-tick.C:
			c.run()
		}
	}
}

// suspect has the rest of a response looked at in which damage was found.
func (v *volume) suspect(e *entry) {
	select {
	case v.suspects <- identity{e.key, e.variant}:
	default: // readers will meet it
	}
}

// examine checks all of a response's body, whatever is known of it.
func (v *volume) examine(x identity) {
	e := v.fetchVariant(&x.key, x.variant)
	if e == nil {
		return
	}
	defer e.Release()
	b := e.retainBody()
	if b == nil {
		return
	}
	defer b.drop()
	for _, x := range b.locate() {
		if p, err := v.readCopyWithin(x.s, int64(x.off), int(x.length), bodyPatience); err == nil && checksum(p) == x.sum {
			continue
		} else if errors.Is(err, storage.ErrGone) {
			return // not now
		}
		v.health.damaged.Add(1)
		if !v.keepRest(e, &x) {
			v.expelDamaged(e)
			return
		}
	}
}

// busy reports whether others need the disk more.
func (c *scrub) busy() bool {
	h := &c.v.health
	return h.writesOut() || h.readsOut() || h.reading.Load() > 0 || c.v.stalled() || c.v.o.Clock() < c.rest
}

// run reads for one tick.
func (c *scrub) run() {
	for left := c.rate; left > 0; {
		if c.busy() {
			return
		}
		s := c.segment()
		if s == nil {
			return
		}
		started, from := c.v.o.Clock(), c.off
		c.slice(s, min(left, scrubSlice))
		s.unpin()
		n := max(c.off-from, recordAlign)
		left -= n
		c.v.health.scrubbed.Add(n)
		if now := c.v.o.Clock(); now.Sub(started) > int64(scrubSlow) {
			c.rest = now.Add(scrubRest * now.Sub(started))
		}
		select {
		case <-c.v.stop:
			return
		default:
		}
	}
}

// segment returns the segment to go on with, pinned; nil where none is sealed, or the
// next pass is not due. It begins anew at the end.
func (c *scrub) segment() *segment {
	v := c.v
	if c.id == 0 && v.o.Clock() < c.next {
		return nil
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	for range 2 {
		for _, s := range v.segments {
			if s.id < c.id || !s.settled.Load() || s.gone.Load() {
				continue
			}
			f := s.file.Load()
			if f == nil || s.id == c.id && c.off >= s.end || !s.tryPin() {
				continue
			}
			if c.id == 0 {
				c.apart()
			}
			if s.id != c.id || c.w == nil {
				c.id, c.off, c.bad = s.id, 0, false
				c.w = &sliding{f: passing{*f}, size: s.end, most: scrubSlice}
			}
			return s
		}
		ended := c.id != 0
		if c.id, c.off, c.w = 0, 0, nil; !ended || v.o.Clock() < c.next {
			return nil
		}
	}
	return nil
}

// passing is a file that is read once: it leaves nothing in the page cache.
type passing struct{ vfs.File }

// ReadAt reads.
func (p passing) ReadAt(b []byte, off int64) (int, error) {
	if o, ok := p.File.(vfs.OnceReader); ok {
		return o.ReadOnce(b, off)
	}
	return p.File.ReadAt(b, off)
}

// slice checks records until it has read about n bytes.
func (c *scrub) slice(s *segment, n int64) {
	for end := c.off + n; c.off < min(end, s.end); {
		if c.off+headerSize > s.end {
			c.off = s.end
			return
		}
		r, _, err := c.w.record(s.id, c.off)
		switch {
		case errors.Is(err, errDamaged):
			if !c.bad {
				c.bad = true
				c.v.health.damaged.Add(1)
				c.v.strikeHead(s, c.off)
			}
			c.off += recordAlign
			continue
		case err != nil:
			c.skip(err)
			return
		}
		if r.body > 0 {
			own := c.off + headerSize + int64(r.front)
			b, err := c.w.at(own, int(r.body))
			switch {
			case err != nil && !errors.Is(err, errDamaged):
				c.skip(err)
				return
			case err != nil || checksum(b) != r.bodySum:
				c.v.health.damaged.Add(1)
				c.v.strikeBody(&r.key, r.seg, uint32(own))
			}
		}
		c.bad = false
		c.off += r.size()
	}
}

// skip passes over what cannot be read: who asks for it will learn so. What follows may
// begin within a record, which is no damage.
func (c *scrub) skip(err error) {
	c.v.health.ioErrors.Add(1)
	c.v.o.Logger.Warn("a segment cannot be read", "disk", c.v.dir, "segment", c.v.name(c.id), "offset", c.off, "error", err)
	c.off = pad(c.off + scrubSlice)
	c.bad = true
	c.rest = c.v.o.Clock().Add(scrubRest * int64(scrubSlow))
}

// strikeHead takes out the response whose head is at off of a segment.
func (v *volume) strikeHead(s *segment, off int64) {
	v.eachNoteIn(s, func(n *note) {
		if n.kind != kindHead || int64(n.off) != off {
			return
		}
		sh := v.index.shard(&n.key)
		sh.mu.Lock()
		defer sh.mu.Unlock()
		if i := v.index.variant(sh, &n.key, n.variant); i != 0 && sh.row(i).seg == s.id && sh.row(i).off == n.off {
			v.remove(sh, i)
			v.st.stats.removed.Add(1)
		}
	})
}

// strikeBody takes the bytes at off of a segment out of the responses under a key that
// have them.
func (v *volume) strikeBody(key *storage.Key, seg, off uint32) {
	var room [4]uint32
	for _, variant := range v.variants(room[:0], key) {
		e := v.fetchVariant(key, variant)
		if e == nil {
			continue
		}
		if b := e.retainBody(); b != nil {
			for _, x := range b.locate() {
				if x.seg == seg && x.off == off {
					v.mend(e, &x)
					break
				}
			}
			b.drop()
		}
		e.Release()
	}
}
