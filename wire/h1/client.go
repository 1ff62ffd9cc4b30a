package h1

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strconv"
	"sync/atomic"
	"time"

	"edge/message"
)

// ClientOptions configure the connections to one origin.
type ClientOptions struct {
	Limits
	Timeouts
}

// ClientConn is a connection to an origin. An exchange on it goes:
//
//	SendRequest, WriteBody..., FinishBody, ReadResponse..., ReadBody...
//
// and if Reusable says so then, another may follow; else Close.
//
// Owner: the goroutine that runs the exchange. WriteBody and FinishBody may run
// on another goroutine beside ReadResponse and ReadBody. Interrupt and NetConn
// may be called from anywhere.
type ClientConn struct {
	nc       net.Conn
	limits   Limits
	timeouts Timeouts
	guard    interrupter

	rd      reader
	body    body
	parse   responseParser
	interim int  // 1xx heads to the request in hand
	final   bool // the final head has been read
	persist bool // and it lets the connection live

	w        writer
	framing  framing
	left     int64       // of a sized request body
	sent     atomic.Bool // the request is out whole
	used     bool        // a request has been sent before
	vouched  bool        // it has just been looked at
	started  atomic.Bool // bytes of a response have come
	switched bool        // a 101 was read

	probe  prober
	closed atomic.Bool
}

// NewClientConn returns a ClientConn that owns nc.
func NewClientConn(nc net.Conn, o *ClientOptions) *ClientConn {
	c := &ClientConn{nc: nc, limits: o.Limits.withDefaults(), timeouts: o.Timeouts.withDefaults(clientTimeouts)}
	c.parse.limits = &c.limits
	c.rd.init(nc, mediumBuffer, &c.timeouts, &c.guard)
	c.w.init(nc, &c.timeouts, &c.guard)
	c.body.rd, c.body.limits = &c.rd, &c.limits
	c.body.begin(bodyNone, 0)
	c.sent.Store(true)
	return c
}

// ErrBadRequest is a request that SendRequest will not put on the wire: a
// method or name that is no token, a target or value with bytes that end it.
var ErrBadRequest = errors.New("h1: request cannot be written")

// ErrStale is what SendRequest returns on a reused connection that the origin
// has closed, or has spoken on out of turn. Nothing was sent.
var ErrStale = errors.New("h1: connection went stale while idle")

// SendRequest writes a request head. Whatever the fields came from, nothing is
// written that would read as something else.
func (c *ClientConn) SendRequest(r *message.OutgoingRequest) error {
	if !c.sent.Load() || !c.body.whole.Load() || c.switched || c.closed.Load() {
		return ErrNotReady
	}
	if err := checkOutgoing(r); err != nil {
		return err
	}
	if c.used && (c.rd.buffered() > 0 || !c.vouched && !c.Quiet()) {
		// What an origin says before it is asked would be taken for the answer.
		return ErrStale
	}
	c.used, c.vouched = true, false
	c.rd.release(false)
	c.parse.method, c.parse.upgrade = r.Method, r.Upgrade != nil
	c.interim, c.final, c.persist = 0, false, false
	c.started.Store(false)
	c.sent.Store(false)
	c.w.open()
	b := append(append(c.w.buf, r.Method...), ' ')
	b = append(append(b, r.Target...), " HTTP/1.1\r\n"...)
	if r.Fields != nil {
		b = r.Fields.AppendLines(b)
	}
	c.framing, c.left = framedNone, 0
	switch {
	case r.Length < 0:
		c.framing = framedChunked
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	case r.Length > 0 || meansContent(r.Method):
		c.framing, c.left = framedSized, r.Length
		b = append(b, "Content-Length: "...)
		b = append(strconv.AppendInt(b, r.Length, 10), "\r\n"...)
	}
	if r.ExpectContinue {
		b = append(b, "Expect: 100-continue\r\n"...)
	}
	if r.Upgrade != nil {
		b = append(append(append(b, "Connection: upgrade\r\nUpgrade: "...), r.Upgrade...), "\r\n"...)
	}
	c.w.buf = append(b, "\r\n"...)
	if err := c.Flush(); err != nil {
		return err
	}
	if r.Length == 0 {
		c.sent.Store(true)
	}
	return nil
}

// meansContent: "A user agent SHOULD send Content-Length in a request when the
// method defines a meaning for enclosed content and it is not sending
// Transfer-Encoding" (RFC 9110 section 8.6), even if it is 0.
func meansContent(method string) bool {
	switch method {
	case message.MethodPost, message.MethodPut, message.MethodPatch, message.MethodQuery:
		return true
	}
	return false
}

func checkOutgoing(r *message.OutgoingRequest) error {
	bad := func(what string) error { return fmt.Errorf("%w: %s", ErrBadRequest, what) }
	if !allToken([]byte(r.Method)) {
		return bad("method")
	}
	if len(r.Target) == 0 {
		return bad("target")
	}
	for _, b := range r.Target {
		if !isTarget[b] {
			return bad("target")
		}
	}
	if valueEnd(r.Upgrade, 0) != len(r.Upgrade) {
		return bad("Upgrade")
	}
	if r.Fields == nil {
		return nil
	}
	for _, f := range r.Fields.All() {
		switch f.ID {
		case message.FieldContentLength, message.FieldTransferEncoding:
			return bad("framing field among the fields")
		}
		if !allToken(f.Name) {
			return bad("field name")
		}
		if valueEnd(f.Value, 0) != len(f.Value) {
			return bad("field value")
		}
	}
	return nil
}

// WriteBody writes request content; larger pieces are out when it returns,
// smaller ones may be queued until Flush or FinishBody.
func (c *ClientConn) WriteBody(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	switch {
	case c.framing == framedChunked:
		return c.w.chunk(p)
	case int64(len(p)) > c.left:
		return ErrTooLong
	}
	c.left -= int64(len(p))
	return c.w.content(p, "")
}

// FinishBody ends the request content and flushes it.
func (c *ClientConn) FinishBody(trailers *message.Fields) error {
	switch {
	case c.sent.Load():
		return nil
	case c.left > 0:
		return ErrTooShort
	case c.framing == framedChunked:
		c.w.lastChunk(trailers)
	}
	if err := c.Flush(); err != nil {
		return err
	}
	c.sent.Store(true)
	return nil
}

// Flush writes what is queued.
func (c *ClientConn) Flush() error { return c.w.flush() }

// ReadResponse reads one response head, interim (1xx) or final, into resp,
// whose slices are valid until the next call. After an interim head it is to be
// called again. A 101 is final and comes only if the request asked for an
// upgrade; Hijack follows. An *Error is a head refused (502) or too late (504).
func (c *ClientConn) ReadResponse(resp *message.Response) error {
	if c.final {
		return ErrNotReady
	}
	c.rd.release(false)
	if c.rd.buffered() == 0 {
		// The answer is not there yet. Whoever else can run does so first: with
		// luck it has come by then, and the read finds it, rather than finding
		// nothing, waiting, and reading once more.
		runtime.Gosched()
	}
	if err := c.rd.deadline.armExactly(time.Now(), c.timeouts.Head); err != nil {
		return err
	}
	n, f, err := c.rd.readHead(c.limits.HeadBytes, c.limits.HeadBytes, func(b []byte) (int, fault) {
		if len(b) > 0 {
			c.started.Store(true)
		}
		return c.parse.parse(b, resp)
	})
	if err != nil {
		return c.headError(err)
	}
	if f == faultNone && resp.Status < 200 && resp.Status != 101 {
		if c.interim++; c.interim > c.limits.Interims {
			f = faultTooManyInterims
		}
	}
	if f != faultNone {
		return f.responseError()
	}
	c.rd.hold(n)
	if resp.Status < 200 && resp.Status != 101 {
		return nil
	}
	c.final, c.persist = true, resp.KeepAlive
	c.switched = resp.Status == 101
	switch {
	case resp.NoBody:
		c.body.begin(bodyNone, 0)
	case resp.Chunked:
		c.body.begin(bodyChunked, message.LengthUnknown)
	case resp.Length >= 0:
		c.body.begin(bodySized, resp.Length)
	default:
		c.body.begin(bodyToEnd, message.LengthUnknown)
		c.persist, resp.KeepAlive = false, false
	}
	return nil
}

func (c *ClientConn) headError(err error) error {
	switch {
	case c.guard.interrupted():
		err = ErrInterrupted
	case isTimeout(err):
		return &Error{Status: 504, Reason: "no response head in time", Section: "RFC 9110 15.6.5", Err: err}
	case err == io.EOF:
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("h1: reading a response head: %w", err)
}

// ReadBody reads the response's content: io.EOF at the end of a complete body
// and nowhere else. A body cut short gives an error wrapping
// io.ErrUnexpectedEOF; one that is ill-formed (502) or too slow (504) an
// *Error.
func (c *ClientConn) ReadBody(p []byte) (int, error) {
	if !c.final {
		return 0, ErrNotReady
	}
	n, err := c.body.read(p)
	if err == nil || err == io.EOF {
		return n, err
	}
	var bf *bodyFault
	switch {
	case errors.As(err, &bf):
		return n, bf.f.responseError()
	case c.guard.interrupted():
		err = ErrInterrupted
	case err == errTooSlow || isTimeout(err):
		return n, &Error{Status: 504, Reason: "response body took too long", Section: "RFC 9110 15.6.5", Err: err}
	case !errors.Is(err, io.ErrUnexpectedEOF):
		err = fmt.Errorf("%w: %w", io.ErrUnexpectedEOF, err)
	}
	return n, fmt.Errorf("h1: reading a response body: %w", err)
}

// Trailers returns, after ReadBody returned io.EOF, the trailer fields that are
// harmless to pass on; nil if there are none.
func (c *ClientConn) Trailers() *message.Fields { return c.body.trailers }

// Answered reports whether the final response has been read to its end.
func (c *ClientConn) Answered() bool { return c.final && c.body.whole.Load() }

// Buffered returns how many bytes behind the head have been read already: a
// body of no more can be read without waiting.
func (c *ClientConn) Buffered() int { return c.rd.buffered() }

// ResponseStarted reports whether any byte of a response to the request in hand
// has come: if not, the origin may not have seen it.
func (c *ClientConn) ResponseStarted() bool { return c.started.Load() }

// Reusable reports whether another request may be sent: this one is out whole,
// its answer was read whole and lets the connection live, and nothing follows. "A client
// MUST NOT process, cache, or forward such extra data as a separate response"
// (RFC 9112 section 6.3).
func (c *ClientConn) Reusable() bool {
	return c.final && c.persist && !c.switched && c.sent.Load() && c.body.whole.Load() &&
		c.rd.buffered() == 0 && c.w.err == nil && !c.closed.Load() && !c.guard.interrupted()
}

// Park gives the buffers of an idle connection back; the slices of the last
// response end their life.
func (c *ClientConn) Park() {
	c.rd.release(true)
	c.w.drop()
}

// Quiet reports, without blocking, whether an idle connection is open and has
// sent nothing, as far as can be told: whether it is fit for another request.
func (c *ClientConn) Quiet() bool {
	if c.closed.Load() || c.rd.buffered() > 0 {
		return false
	}
	s := c.probe.probe(c.nc)
	return s == peerQuiet || s == peerUnknown
}

// Vouch says that the caller has this moment found the connection open and
// silent, so that the next SendRequest need not look again.
func (c *ClientConn) Vouch() { c.vouched = true }

// Interrupt ends every wait on the connection at once and for good. Safe from
// any goroutine.
func (c *ClientConn) Interrupt() { c.guard.interrupt(c.nc) }

// Hijack gives the connection away after a 101, with a copy of the bytes read
// ahead and no deadline set.
func (c *ClientConn) Hijack() (nc net.Conn, buffered []byte) {
	if c.rd.buffered() > 0 {
		buffered = bytes.Clone(c.rd.unread())
	}
	c.closed.Store(true)
	c.w.drop()
	c.nc.SetDeadline(time.Time{})
	return c.nc, buffered
}

// NetConn returns the connection beneath.
func (c *ClientConn) NetConn() net.Conn { return c.nc }

// Close closes the connection. The slices of the last response stay as they
// are.
func (c *ClientConn) Close() error {
	if c.closed.Swap(true) {
		return nil
	}
	return c.nc.Close()
}
