package proxy

import (
	"edge/cache/statemachine"
	"edge/cache/storage"
)

// source is what content is read from: an entry, or what is gathered.
type source interface {
	// Reader opens n bytes at offset; n < 0: to the end.
	Reader(offset, n int64) storage.Reader
	// Bytes returns all of it where it lies in one piece of memory, else nil.
	Bytes() []byte
	// Trailers are lines, nil without any.
	Trailers() []byte
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

// filled is what the fill at hand is read from: its entry, or what is gathered
// around the part that it brings.
func (x *exchange) filled() source {
	if x.fill.part == (statemachine.Range{}) {
		return x.fill.entry
	}
	if x.parts == nil {
		x.parts = gather(x)
	}
	return x.parts
}
