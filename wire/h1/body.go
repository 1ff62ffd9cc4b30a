package h1

import (
	"io"
	"sync/atomic"
	"time"

	"edge/message"
)

// bodyKind is how a body is delimited, RFC 9112 section 6.3.
type bodyKind uint8

const (
	bodyNone bodyKind = iota
	bodySized
	bodyChunked
	bodyToEnd // until the connection's end; responses only
)

// body reads one body off a reader.
//
// Owner: the goroutine that reads the body. whole, broken and left may be looked
// at from the goroutine that writes the other direction.
type body struct {
	rd     *reader
	limits *Limits

	kind     bodyKind
	chunks   chunkDecoder
	trailers *message.Fields
	pace     elapsed
	err      error // sticky; io.EOF after a complete body

	whole  atomic.Bool  // read to its end
	broken atomic.Bool  // ended short of it
	left   atomic.Int64 // of a sized body
}

// begin makes b ready for the body of the next message.
func (b *body) begin(kind bodyKind, length int64) {
	if kind == bodySized && length == 0 {
		kind = bodyNone
	}
	b.kind, b.trailers, b.err = kind, nil, nil
	b.chunks, b.pace = chunkDecoder{}, elapsed{}
	b.left.Store(length)
	b.whole.Store(kind == bodyNone)
	b.broken.Store(false)
	if kind == bodyNone {
		b.err = io.EOF
	}
}

// read reads content. Its errors are io.EOF after a complete body, a
// *bodyFault, and what the connection says (io.ErrUnexpectedEOF for an early
// end).
func (b *body) read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	var n int
	var err error
	switch b.kind {
	case bodySized:
		n, err = b.readSized(p)
	case bodyChunked:
		n, err = b.readChunked(p)
	case bodyToEnd, bodyNone: // none has ended already
		n, err = b.readToEnd(p)
	}
	if err != nil {
		b.end(err)
		if n > 0 { // what was read stands; the error comes with the next call
			err = nil
		}
	}
	return n, err
}

// end makes err what read returns from now on.
func (b *body) end(err error) {
	b.err = err
	b.whole.Store(err == io.EOF)
	b.broken.Store(err != io.EOF)
}

func (b *body) readSized(p []byte) (int, error) {
	left := b.left.Load()
	if int64(len(p)) > left {
		p = p[:left]
	}
	n, err := b.take(p)
	left -= int64(n)
	b.left.Store(left)
	switch {
	case left == 0:
		return n, io.EOF
	case err == io.EOF:
		// "If the sender closes the connection or the recipient times out
		// before the indicated number of octets are received, the recipient
		// MUST consider the message to be incomplete and close the connection"
		// (RFC 9112 section 6.3).
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// readToEnd: "Otherwise, this is a response message without a declared message
// body length, so the message body length is determined by the number of octets
// received prior to the server closing the connection" (RFC 9112 section 6.3).
// Only a clean end is an end.
func (b *body) readToEnd(p []byte) (int, error) { return b.take(p) }

// take copies what is buffered or, failing that, reads straight into p.
func (b *body) take(p []byte) (int, error) {
	rd := b.rd
	if rd.buffered() > 0 {
		n := copy(p, rd.unread())
		rd.r += n
		return n, nil
	}
	return b.wait(func() (int, error) { return rd.read(p) })
}

// fill reads once into the buffer.
func (b *body) fill() error {
	rd := b.rd
	_, err := b.wait(func() (int, error) {
		w := rd.w
		err := rd.fill()
		return rd.w - w, err
	})
	return err
}

// wait runs one read under the body's deadline and least rate.
func (b *body) wait(read func() (int, error)) (int, error) {
	t := b.rd.timeouts
	start := time.Now()
	if err := b.rd.deadline.arm(start, t.BodyRead); err != nil {
		return 0, err
	}
	n, err := read()
	if n == 0 && err == nil {
		err = io.ErrNoProgress
	}
	if n > 0 {
		err = nil
	}
	if t.MinBodyRate > 0 && b.pace.add(time.Since(start), n, t.MinBodyRate) && err == nil {
		err = errTooSlow
	}
	return n, err
}

func (b *body) readChunked(p []byte) (int, error) {
	rd := b.rd
	for {
		if rd.buffered() > 0 {
			nd, ns, f := b.chunks.decode(p, rd.unread(), b.limits.ChunkLine)
			rd.r += ns
			if f != faultNone {
				return nd, &bodyFault{f}
			}
			if b.chunks.state == chunkEnd {
				return nd, b.readTrailers(nd > 0)
			}
			if nd > 0 {
				return nd, nil
			}
		}
		if n := b.chunks.direct(); min(n, int64(len(p))) >= smallBuffer {
			if int64(len(p)) > n {
				p = p[:n]
			}
			m, err := b.take(p)
			b.chunks.took(m)
			return m, unexpected(err)
		}
		rd.makeRoom(1)
		if err := b.fill(); err != nil {
			return 0, unexpected(err)
		}
	}
}

// readTrailers reads the trailer section and the empty line that ends the body.
// With later set it does so only if that takes no waiting: data in hand goes
// first.
func (b *body) readTrailers(later bool) error {
	rd := b.rd
	for scan := (headScanner{}); ; {
		u := rd.unread()
		cut := len(u) >= b.limits.TrailerBytes
		if cut {
			u = u[:b.limits.TrailerBytes]
		}
		// An empty section is the rule: CRLF and nothing else.
		if len(u) >= 2 && u[0] == '\r' || scan.ready(u) || cut {
			done, err := b.parseTrailers(u, cut)
			if done || err != nil {
				return err
			}
		}
		if later {
			return nil
		}
		rd.makeRoom(min(b.limits.TrailerBytes, 2*len(u)+minBodyRoom))
		if err := b.fill(); err != nil {
			if done, ferr := b.parseTrailers(rd.unread(), false); done || ferr != nil {
				return ferr
			}
			return unexpected(err)
		}
	}
}

// parseTrailers reports done, with io.EOF, once the section is complete.
func (b *body) parseTrailers(window []byte, cut bool) (done bool, err error) {
	var all message.Fields
	n, f := parseFields(window, 0, &all, b.limits.FieldCount)
	switch {
	case f == faultIncomplete && cut:
		return false, &bodyFault{faultTrailersLong}
	case f == faultIncomplete:
		return false, nil
	case f != faultNone:
		return false, &bodyFault{f}
	}
	b.rd.r += n
	if all.Len() > 0 {
		all.DeleteFunc(func(x *message.Field) bool { return !harmlessTrailer(x) })
		kept := all.Clone()
		b.trailers = &kept
	}
	return true, io.EOF
}

// unexpected turns an end of the connection into an end that came too early.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// bodyFault is a fault found in a body; the connection turns it into an Error.
type bodyFault struct{ f fault }

func (e *bodyFault) Error() string { return faults[e.f].reason }

// harmlessTrailer decides which trailer fields are kept: "A recipient MUST NOT
// merge a trailer field into a header section unless the recipient understands
// the corresponding header field definition", and framing, routing, request modifiers,
// authentication, cache and content controls must not come there (RFC 9110
// sections 6.5.1 and 6.5.2). Of the names we know the meaning of, all are of
// that kind; of the others, those whose prefix says that somebody trusts them.
func harmlessTrailer(x *message.Field) bool {
	if x.ID != message.FieldOther {
		return false
	}
	for _, digest := range [...]string{"content-digest", "content-md5"} {
		if equalFold(x.Name, digest) {
			return true
		}
	}
	for _, prefix := range [...]string{
		"proxy-", "sec-", "access-control-", "content-", "if-", "x-forwarded", "x-original-",
		"x-rewrite-", "x-http-method", "x-method-", "x-real-", "x-client-", "x-remote-", "x-auth", "x-user",
		"x-accel-", "x-sendfile", "x-host", "x-proxy", "x-cluster-", "cf-", "true-client", "fastly-", "client-",
		"cdn-", "edge-", "surrogate-", "authentication-", "cookie", "set-cookie", "http2-", "dictionary",
	} {
		if len(x.Name) >= len(prefix) && equalFold(x.Name[:len(prefix)], prefix) {
			return false
		}
	}
	return true
}
