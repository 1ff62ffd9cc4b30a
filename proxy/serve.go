package proxy

import (
	"errors"
	"io"

	"edge/cache/statemachine"
	"edge/cache/storage"
	"edge/message"
)

// serveStored sends the chosen stored response.
func (x *exchange) serveStored(a *statemachine.Action) statemachine.Delivery {
	if a.Refresh {
		x.startRefresh()
	}
	if x.client == nil {
		return complete
	}
	x.dropUpstream()
	e, s := x.entries[a.Chosen], a.Stored
	return x.deliver(e, s, s.Head, x.extra(s, message.HTTP11), e.Size(), false)
}

// serveFill sends what the fill at hand brings, as it comes.
func (x *exchange) serveFill() statemachine.Delivery {
	if x.client == nil {
		return complete
	}
	f := x.fill
	head, extra := f.head.Head, []byte(nil)
	if x.m.Decision().Collapsed || x.completing {
		extra = x.extra(f.head, message.HTTP11)
	} else {
		// RFC 9111 section 4 asks for Age where a stored response is used; the
		// leader's came from the origin, Age and all.
		head, extra = x.leadHead, x.extra(nil, message.HTTP11)
	}
	return x.deliver(x.filled(), f.head, head, extra, f.entry.Size(), true)
}

// deliver sends what of a response answers the request: all of it, or what the
// request's conditions and ranges make of it. live: it is being filled.
func (x *exchange) deliver(from source, s *message.Stored, head, extra []byte, size int64, live bool) statemachine.Delivery {
	x.served = s
	sel := statemachine.Select(&x.req, s, size)
	if sel.Status != s.Status {
		return x.serveSelected(from, s, &sel, size, head, extra)
	}
	x.prepare(s, head, extra, size)
	if x.out.NoBody {
		return x.sendHeadOnly()
	}
	// The hit path: the body in one piece, no reader. A fill may have ended
	// before we came, too.
	if body := from.Bytes(); body != nil && from.Trailers() == nil {
		return x.sendBody(body)
	}
	rd := x.open(from, 0, -1)
	defer rd.Close()
	return x.sendFrom(rd, from, live)
}

// prepare fills x.out in for a whole response.
func (x *exchange) prepare(s *message.Stored, head, extra []byte, size int64) {
	closing := x.out.Close
	x.out = message.Outgoing{Status: s.Status, Reason: s.Reason, Block: head, Extra: extra, Length: size, Close: closing}
	switch {
	case s.Status == 204 || s.Status == 304:
		x.out.NoBody, x.out.Length = true, message.LengthUnknown
	case x.req.Method == message.MethodHead:
		x.out.NoBody = true
	}
	x.out.Trailers = true
}

func (x *exchange) sendHead() error {
	x.status = x.out.Status
	if x.route != nil && x.route.DropTargeted {
		x.dropTargeted()
	}
	return x.client.SendHead(&x.out)
}

func (x *exchange) write(p []byte) error {
	x.bytes += int64(len(p))
	return x.client.Write(p)
}

// sendBody sends x.out's head and all of its content.
func (x *exchange) sendBody(body []byte) statemachine.Delivery {
	if x.sendHead() != nil || x.write(body) != nil {
		return statemachine.ClientGone
	}
	return x.finish(nil)
}

// finish ends a whole answer.
func (x *exchange) finish(trailers *message.Fields) statemachine.Delivery {
	if err := x.client.Finish(trailers); err != nil {
		return statemachine.ClientGone
	}
	return complete
}

func (x *exchange) sendHeadOnly() statemachine.Delivery {
	if x.sendHead() != nil {
		return statemachine.ClientGone
	}
	return x.finish(nil)
}

// sendFrom sends x.out's head and then what rd brings. With live, each piece
// leaves as it comes, and the head does not wait for the first.
func (x *exchange) sendFrom(rd storage.Reader, e source, live bool) statemachine.Delivery {
	ctx := x.waitContext()
	var piece []byte
	var err error
	if !live && !x.fileNext(rd) {
		// A store that cannot read says so before anything is sent.
		if piece, err = rd.Next(ctx); err != nil && err != io.EOF {
			x.err = err
			return statemachine.Unreadable
		}
	}
	if x.out.Trailers && e.Trailers() != nil && x.req.Version >= message.HTTP11 {
		// RFC 9110 section 6.5: only a framing that ends explicitly has room
		// for trailers, whatever is known of the length.
		x.out.Length = message.LengthUnknown
	}
	if x.sendHead() != nil || live && !x.hasBegun(e) && x.client.Flush() != nil {
		return statemachine.ClientGone
	}
	if live {
		err = x.follow(rd)
	} else {
		err = x.copy(rd, piece, err)
	}
	switch err {
	case io.EOF:
		return x.finish(storedTrailers(e))
	case errClientGone:
		return statemachine.ClientGone
	}
	return x.cut(err)
}

// errClientGone: what was read could not be sent.
var errClientGone = errors.New("the client has gone")

// copy sends what rd brings, beginning with the piece (or error) at hand, until
// rd's error.
func (x *exchange) copy(rd storage.Reader, piece []byte, err error) error {
	for err == nil {
		if len(piece) > 0 && x.write(piece) != nil || x.sendFiles(rd) != nil {
			return errClientGone
		}
		piece, err = rd.Next(x.waitContext())
	}
	return err
}

// follow is copy for a fill: each piece leaves as it comes. The last byte of an
// announced length waits until the fill has ended, so that whoever has the
// whole answer finds it stored.
func (x *exchange) follow(rd storage.Reader) error {
	var last [1]byte
	held := last[:0]
	for {
		piece, err := rd.Next(x.waitContext())
		if err == io.EOF && len(held) > 0 && x.write(held) != nil {
			return errClientGone
		}
		if err != nil {
			return err
		}
		if n := len(piece) - 1; x.bytes+int64(n)+1 == x.out.Length {
			held = append(held, piece[n])
			piece = piece[:n]
		}
		if len(piece) > 0 && x.write(piece) != nil || len(held) == 0 && x.client.Flush() != nil {
			return errClientGone
		}
	}
}

// hasBegun reports whether the fill has brought content already: then the head
// leaves with it.
func (x *exchange) hasBegun(e source) bool {
	entry, ok := e.(storage.Entry)
	if !ok || x.out.Status == 206 {
		return false
	}
	x.heldRoom = entry.Held(x.heldRoom[:0])
	return len(x.heldRoom) > 0 && x.heldRoom[0].Start == 0
}

// cut makes visible that the content broke off. Nothing incomplete is ever
// sent as complete.
func (x *exchange) cut(err error) statemachine.Delivery {
	x.err = err
	x.client.Abort()
	return statemachine.Truncated
}

func storedTrailers(e source) *message.Fields {
	lines := e.Trailers()
	if lines == nil {
		return nil
	}
	var f message.Fields
	f.ParseLines(lines)
	return &f
}

// serveSelected sends what the request's conditions or ranges made of the
// response: 304, 416 or 206.
func (x *exchange) serveSelected(e source, s *message.Stored, sel *statemachine.Selection, size int64, head, extra []byte) statemachine.Delivery {
	x.prepare(s, head, extra, size)
	x.out.Status, x.out.Reason = sel.Status, nil
	switch sel.Status {
	case 304:
		// RFC 9110 section 15.4.5: the fields that a 200 would have had to
		// help update caches; ours are all of them but the framing.
		x.out.NoBody, x.out.Length = true, message.LengthUnknown
		return x.sendHeadOnly()
	case 416:
		x.out.Block, x.out.Length = contentRangeLine(statemachine.AppendUnsatisfiedRange(nil, size)), 0
		return x.sendHeadOnly()
	}
	ranges := sel.Ranges()
	if len(ranges) == 1 {
		return x.serveRange(e, ranges[0], size)
	}
	return x.serveRanges(e, s, ranges, size)
}
