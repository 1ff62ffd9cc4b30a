package proxy

import (
	"context"
	"io"

	"edge/cache/statemachine"
	"edge/cache/storage"
)

// source is what content is read from: an entry, or parts of several.
type source interface {
	// Reader opens n bytes at offset; n < 0: to the end.
	Reader(offset, n int64) storage.Reader
	// Bytes returns all of it where it lies in one piece of memory, else nil.
	Bytes() []byte
	// Trailers are lines, nil without any.
	Trailers() []byte
}

// spliced is a representation of which one entry holds parts, and another is
// being filled with what lies between them. Both are retained by the exchange.
type spliced struct {
	base, gap storage.Entry
	missing   statemachine.Range
	size      int64
}

// Bytes returns nil: what is spliced lies in several pieces.
func (s *spliced) Bytes() []byte { return nil }

// Trailers returns nil: parts have none.
func (s *spliced) Trailers() []byte { return nil }

// Reader opens n bytes at offset: before the gap from the base, in the gap
// from the fill, behind it from the base again.
func (s *spliced) Reader(offset, n int64) storage.Reader {
	end := s.size
	if n >= 0 {
		end = min(end, offset+n)
	}
	var c chain
	c.add(s.base, offset, min(end, s.missing.Start))
	c.add(s.gap, max(offset, s.missing.Start), min(end, s.missing.End))
	c.add(s.base, max(offset, s.missing.End), end)
	return &c
}

// chain reads one reader after the other.
type chain struct{ readers []storage.Reader }

func (c *chain) add(e storage.Entry, start, end int64) {
	if start < end {
		c.readers = append(c.readers, e.Reader(start, end-start))
	}
}

// Next returns the next piece, io.EOF after the last reader's.
func (c *chain) Next(ctx context.Context) ([]byte, error) {
	for len(c.readers) > 0 {
		piece, err := c.readers[0].Next(ctx)
		if err != io.EOF {
			return piece, err
		}
		c.readers[0].Close()
		c.readers = c.readers[1:]
	}
	return nil, io.EOF
}

// Close ends all reading.
func (c *chain) Close() {
	for _, r := range c.readers {
		r.Close()
	}
	c.readers = nil
}

// heldParts tells the machine which bytes the candidates hold that do not
// hold all.
func (x *exchange) heldParts() [][]statemachine.Range {
	held := make([][]statemachine.Range, len(x.entries))
	for i, e := range x.entries {
		for _, r := range e.Held(nil) {
			held[i] = append(held[i], statemachine.Range{Start: r.Start, End: r.End})
		}
	}
	return held
}

// filled is what the fill at hand is read from: its entry, or that entry in
// the gap of the one it completes.
func (x *exchange) filled() source {
	if !x.completing {
		return x.fill.entry
	}
	return &spliced{base: x.entries[x.base], gap: x.fill.entry, missing: x.missing, size: x.fill.head.Length}
}
