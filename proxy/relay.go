package proxy

import (
	"bytes"
	"io"
	"sync"

	"edge/cache/statemachine"
	"edge/message"
)

// relayBuffer is how much of a relayed response is held, in bytes.
const relayBuffer = 32 << 10

var relayBuffers = sync.Pool{New: func() any { b := make([]byte, relayBuffer); return &b }}

// relay passes the response at hand on, storing nothing but, where the machine
// says so, the memory that the key's responses cannot be shared.
func (x *exchange) relay(a *statemachine.Action) statemachine.Delivery {
	if a.Remember {
		x.remember(a.Stored)
	}
	if x.client == nil {
		x.dropUpstream()
		return complete
	}
	if x.resp.Status == 101 {
		return x.tunnel()
	}
	closing := x.out.Close
	// A part says how long it is, whatever its framing says: announced, what is
	// shorter or longer is cut for the client to see.
	if r, ok := statemachine.EnclosedRange(x.resp.Fields.Value(message.FieldContentRange)); ok && x.resp.Status == 206 && x.resp.Length < 0 {
		x.resp.Length = r.End - r.Start
	}
	// RFC 9112 section 6.1: content of unknown length is chunked to a client
	// that can, ended by close to one that cannot: the codec knows.
	x.out = message.Outgoing{Status: x.resp.Status, Reason: x.resp.Reason, Fields: &x.resp.Fields,
		Extra: x.extra(nil, x.resp.Version), Length: x.resp.Length, NoBody: x.resp.NoBody, Close: closing, Trailers: true}
	skip := x.cutTo(a.Cut)
	if x.sendHead() != nil {
		return statemachine.ClientGone
	}
	var d statemachine.Delivery
	if a.Cut.Start < a.Cut.End {
		d = x.relayCut(skip)
	} else {
		d = x.relayContent()
	}
	x.dropUpstream()
	return d
}

// cutTo makes the head of a part that of the bytes in cut, which it holds, and
// returns how many lie before them. An empty cut: all of it.
func (x *exchange) cutTo(cut statemachine.Range) (skip int64) {
	if cut.Start >= cut.End {
		return 0
	}
	v := x.resp.Fields.Value(message.FieldContentRange)
	part, _ := statemachine.EnclosedRange(v)
	_, size, _ := bytes.Cut(v, []byte{'/'})
	line := statemachine.AppendContentRange(nil, cut, message.LengthUnknown)
	x.resp.Fields.Set(message.FieldContentRange, append(line[:len(line)-1], size...))
	x.out.Length, x.out.Trailers = cut.End-cut.Start, false
	return cut.Start - part.Start
}

// relayCut passes on the x.out.Length bytes behind the first skip ones, and
// leaves the rest.
func (x *exchange) relayCut(skip int64) statemachine.Delivery {
	buf := relayBuffers.Get().(*[]byte)
	defer relayBuffers.Put(buf)
	rd := &upstreamReader{up: x.upstream, skip: skip, left: x.out.Length, buf: *buf}
	for {
		piece, err := rd.Next(x.waitContext())
		if err == io.EOF {
			return x.finish(nil)
		}
		if err != nil {
			return x.cut(err)
		}
		if x.write(piece) != nil || rd.left > 0 && x.client.Flush() != nil {
			return statemachine.ClientGone
		}
	}
}

// relayContent passes the content on piece by piece.
func (x *exchange) relayContent() statemachine.Delivery {
	if x.resp.NoBody {
		var none [1]byte
		_, _ = x.upstream.h.ReadBody(none[:]) // ends the message: it has no content
		return x.finish(nil)
	}
	// Nor must the head wait: the first event of a stream may be long in coming.
	if x.resp.Length != 0 && x.upstream.h.Buffered() == 0 && x.client.Flush() != nil {
		return statemachine.ClientGone
	}
	buf := relayBuffers.Get().(*[]byte)
	defer relayBuffers.Put(buf)
	for {
		n, err := x.upstream.h.ReadBody(*buf)
		if n > 0 {
			if x.write((*buf)[:n]) != nil {
				return statemachine.ClientGone
			}
			// What came must not wait for what may not come for long.
			if x.bytes != x.resp.Length && x.client.Flush() != nil {
				return statemachine.ClientGone
			}
		}
		if err == io.EOF {
			return x.finish(x.upstream.h.Trailers())
		}
		if err != nil {
			return x.cut(err)
		}
	}
}

// remember stores that this key's responses cannot be shared for a while.
func (x *exchange) remember(s *message.Stored) {
	p := x.proposal(s)
	p.Total = 0
	w, err := x.p.store.Begin(p)
	if err != nil {
		x.noteStoreError("hit-for-miss", err)
		return
	}
	e := w.Entry()
	if err := w.Commit(nil); err != nil {
		x.noteStoreError("hit-for-miss", err)
	}
	e.Release()
}
