package proxy

import (
	"context"
	"fmt"
	"io"
	"slices"

	"edge/cache/statemachine"
	"edge/cache/storage"
	"edge/message"
)

// gathering is a representation that is read while it is being put together:
// from what is held of it, from the fill at hand, and, where a byte is come upon
// that is neither, from a run that is fetched or followed then. Owner: the
// exchange whose answer it is.
//
// Everything has the strong validator of head. What turns out to be of another
// representation ends the answer.
type gathering struct {
	x     *exchange
	head  *message.Stored
	from  storage.Entry // what the answer was read from at first, retained by the exchange
	spans []span        // from what the exchange retains
	gain  *gain         // what the last run brought, if it is not used up
	resumption
}

// span is bytes of the representation that can be read.
type span struct {
	statemachine.Range
	from storage.Entry
}

// gather begins with what the exchange found and the fill that it attached to.
func gather(x *exchange) *gathering {
	g := &gathering{x: x, head: x.fill.head, from: x.fill.entry}
	for i, e := range x.entries {
		if statemachine.SameRepresentation(g.head, x.heads[i]) {
			for _, r := range e.Held(nil) {
				g.spans = append(g.spans, span{statemachine.Range(r), e})
			}
		}
	}
	g.spans = append(g.spans, span{x.fill.part, x.fill.entry})
	return g
}

// Bytes returns nil: what is gathered lies in several pieces.
func (g *gathering) Bytes() []byte { return nil }

// Trailers returns nil: parts have none.
func (g *gathering) Trailers() []byte { return nil }

// Reader opens n bytes at offset; n < 0: to the end.
func (g *gathering) Reader(offset, n int64) storage.Reader {
	end := g.head.Length
	if n >= 0 {
		end = min(end, offset+n)
	}
	return &gatherReader{g: g, pos: offset, end: end}
}

// open returns a reader of bytes from pos on, and where they end: at end at the
// latest.
func (g *gathering) open(pos, end int64) (storage.Reader, int64, error) {
	for _, s := range g.spans {
		if s.Start <= pos && pos < s.End {
			end = min(end, s.End)
			return s.from.Reader(pos, end-pos), end, nil
		}
	}
	if g.gain == nil || pos < g.gain.Start || pos >= g.gain.End || g.gain.up != nil {
		g.close()
		var err error
		if g.gain, err = g.obtain(statemachine.Range{Start: pos, End: end}); err != nil {
			return nil, 0, err
		}
	}
	end = min(end, g.gain.End)
	return g.gain.reader(pos, end), end, nil
}

// close gives back what the last run brought.
func (g *gathering) close() {
	if g.gain != nil {
		g.gain.release()
		g.gain = nil
	}
}

// gatherReader reads a gathering. It implements storage.Reader.
type gatherReader struct {
	g        *gathering
	pos, end int64
	cur      storage.Reader // nil between two pieces of the gathering
	curEnd   int64
}

// Next returns the next piece.
func (r *gatherReader) Next(ctx context.Context) ([]byte, error) {
	for {
		if r.cur == nil {
			if r.pos >= r.end {
				return nil, io.EOF
			}
			var err error
			if r.cur, r.curEnd, err = r.g.open(r.pos, r.end); err != nil {
				return nil, err
			}
		}
		piece, err := r.cur.Next(ctx)
		if err == nil {
			r.pos += int64(len(piece))
			return piece, nil
		}
		if err == io.EOF && r.pos != r.curEnd {
			err = fmt.Errorf("%w: a run ended at %d of %d", storage.ErrGone, r.pos, r.curEnd)
		}
		if err != io.EOF && !(r.g.mayResume() && r.g.resumes(r.pos, err)) {
			return nil, err
		}
		r.Close()
		if err != io.EOF {
			r.g.leave(r.pos)
		}
	}
}

// mayResume reports whether what the store fails may come from the origin.
func (g *gathering) mayResume() bool { return statemachine.MayContinue(&g.x.req, g.head) }

// leave lets go of what the byte at pos could not be read from.
func (g *gathering) leave(pos int64) {
	g.spans = slices.DeleteFunc(g.spans, func(s span) bool { return s.Start <= pos && pos < s.End || g.direct })
	g.close()
}

// Close ends the reading.
func (r *gatherReader) Close() {
	if r.cur != nil {
		r.cur.Close()
		r.cur = nil
	}
}

// gain is what a later run is to bring, and has brought: bytes that can be read
// from a stored response, from a fill, or, where nothing may be stored, from the
// origin's connection itself. Owner: the gathering.
type gain struct {
	statemachine.Range
	base  base          // before: what the answer is read from so far
	entry storage.Entry // a stored response that holds them
	fill  *fill         // or a fill that brings them, attached
	up    *upstream     // or the connection that they come on
	err   error         // why there is none of these
}

// obtain runs a machine of its own for what is missed first of an answer under
// way, and returns what it brought.
func (g *gathering) obtain(missed statemachine.Range) (*gain, error) {
	x := g.x
	x.flushBefore()
	y := &exchange{p: x.p, peer: x.peer, table: x.table, route: x.route, trusted: x.trusted, req: x.req,
		key: x.key, rawKey: x.rawKey, rule: x.rule, ruleNumber: x.ruleNumber, used: x.used}
	y.gain = &gain{Range: missed, base: base{g.from, g.head, g.failures > 0}}
	y.entries, y.heads = y.entryRoom[:0], y.headRoom[:0]
	defer y.cleanUp()
	y.start = x.now()
	y.at = y.start
	start := y.m.StartRun
	if g.direct {
		start = y.m.StartDirectRun
	}
	y.drive(start(x.route.policyFor(&x.req), &y.req, g.head, missed, y.at))
	if y.endpoint != "" {
		x.endpoint = y.endpoint
	}
	brought := y.gain
	if brought.entry != nil || brought.fill != nil || brought.up != nil {
		return brought, nil
	}
	if brought.err == nil {
		brought.err = y.err
	}
	return nil, fmt.Errorf("%w: nothing brought the bytes from %d on: %v", storage.ErrAborted, missed.Start, brought.err)
}

// take keeps what an action would have sent, if it would have sent anything.
func (g *gain) take(y *exchange, a *statemachine.Action) bool {
	missed := g.Start
	switch a.Kind {
	case statemachine.ActServe:
		g.entry = y.entries[a.Chosen]
		for _, r := range g.entry.Held(nil) {
			if r.Start <= missed && missed < r.End {
				g.Range = statemachine.Range(r)
			}
		}
		y.entries[a.Chosen] = base{Entry: g.entry} // ours to release
	case statemachine.ActServeFill:
		g.fill, y.fill = y.fill, nil
		if g.Range = g.fill.part; g.Start == g.End {
			g.Range = statemachine.Range{Start: missed, End: g.fill.head.Length}
		}
	case statemachine.ActRelay:
		g.up, y.upstream = y.upstream, nil
		g.Range = a.Cut
	case statemachine.ActFail:
		g.err = fmt.Errorf("status %d, %v", a.Status, a.Reason)
		if a.Drop {
			g.drop(y, y.heads[a.Chosen])
		}
	default: // the others send nothing: they are done as ever
		return false
	}
	return true
}

// drop removes what is stored of a representation that is no more.
func (g *gain) drop(y *exchange, head *message.Stored) {
	for i, e := range y.entries {
		if _, ours := e.(base); !ours && statemachine.SameRepresentation(head, y.heads[i]) {
			y.p.store.Remove(e)
		}
	}
}

// reader opens [pos, end), which was brought.
func (g *gain) reader(pos, end int64) storage.Reader {
	switch {
	case g.entry != nil:
		return g.entry.Reader(pos, end-pos)
	case g.fill != nil:
		return g.fill.entry.Reader(pos, end-pos)
	}
	return &upstreamReader{up: g.up, skip: pos - g.Start, left: end - pos, buf: make([]byte, relayBuffer)}
}

// release gives everything back.
func (g *gain) release() {
	switch {
	case g.entry != nil:
		g.entry.Release()
	case g.fill != nil:
		g.fill.detach()
	case g.up != nil:
		g.up.end()
	}
}

// upstreamReader reads content off an origin's connection. It implements
// storage.Reader; the connection is given back by whoever has it.
type upstreamReader struct {
	up   *upstream
	skip int64 // bytes that nobody asked for, before
	left int64 // bytes wanted
	buf  []byte
}

// Next returns the next piece. What ends short of what is wanted is no end.
func (r *upstreamReader) Next(context.Context) ([]byte, error) {
	for r.left > 0 {
		n, err := r.up.h.ReadBody(r.buf)
		piece := r.buf[min(r.skip, int64(n)):n]
		r.skip -= int64(n - len(piece))
		if int64(len(piece)) > r.left {
			piece = piece[:r.left]
		}
		r.left -= int64(len(piece))
		switch {
		case len(piece) > 0:
			return piece, nil // an error comes again
		case err == io.EOF:
			return nil, fmt.Errorf("%w: the origin's part ended %d bytes short", storage.ErrAborted, r.left)
		case err != nil:
			return nil, err
		}
	}
	return nil, io.EOF
}

// Close does nothing.
func (r *upstreamReader) Close() {}
