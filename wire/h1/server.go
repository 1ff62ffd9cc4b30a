package h1

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"

	"edge/message"
)

// ServerOptions configure the connections of one listener.
type ServerOptions struct {
	// Scheme is "http" or "https": what requests on this connection are for.
	// Default "http".
	Scheme string
	// DefaultHost stands for the Host that an HTTP/1.0 request may lack; empty
	// means that such a request is refused.
	DefaultHost string
	Limits
	Timeouts
}

// ServerConn is one client's connection.
//
// A request and its response go:
//
//	ReadRequest, ReadBody..., SendInterim..., SendHead, Write..., Finish, Persist
//
// and so on until Persist says no; then Close. Instead of the response, Refuse;
// at any time, Abort.
//
// Owner: the exchange's goroutine. ReadBody may run on another goroutine beside
// SendInterim, SendHead, Write, Finish and Flush. Retire, RemoteAddr and
// NetConn may be called from anywhere.
type ServerConn struct {
	nc       net.Conn
	limits   Limits
	timeouts Timeouts
	guard    interrupter

	rd    reader
	body  body
	parse requestParser

	// The request in hand, as far as answering it needs to know.
	head      bool // HEAD
	old       bool // HTTP/1.0
	keepAlive bool
	requests  int  // so far on this connection
	expects   bool // waits for a 100 that has not been sent

	taken    int64 // of a chunked body
	w        writer
	phase    phase
	framing  framing
	left     int64 // of a sized response
	close    bool  // the response says that the connection ends
	trailers bool
	// Offsets in the stream of bytes written: where the response in hand
	// begins, and where the last finished one ends.
	began, answered int64

	probe   prober
	closed  atomic.Bool
	retired atomic.Bool
	waiting atomic.Bool // in ReadRequest, before the first byte
}

// phase is how far the answer to the request in hand has got.
type phase uint8

const (
	phaseIdle     phase = iota // no request in hand
	phaseRequest               // a request, unanswered
	phaseContent               // the final head is out or queued
	phaseFinished              // the response is complete
	phaseAborted               // cut short, or given away
)

// framing is how the content of the response in hand is delimited.
type framing uint8

const (
	framedNone    framing = iota // no content: HEAD, 1xx, 204, 304
	framedSized                  // Content-Length
	framedChunked                // Transfer-Encoding: chunked
	framedToEnd                  // by the end of the connection
)

// NewServerConn returns a ServerConn that owns nc.
func NewServerConn(nc net.Conn, o *ServerOptions) *ServerConn {
	c := &ServerConn{nc: nc, limits: o.Limits.withDefaults(), timeouts: o.Timeouts.withDefaults(serverTimeouts)}
	c.parse = requestParser{scheme: o.Scheme, limits: &c.limits}
	if c.parse.scheme == "" {
		c.parse.scheme = "http"
	}
	if o.DefaultHost != "" {
		c.parse.defaultHost = bytes.ToLower([]byte(o.DefaultHost))
	}
	c.rd.init(nc, smallBuffer, &c.timeouts, &c.guard)
	c.w.init(nc, &c.timeouts, &c.guard)
	c.body.rd, c.body.limits = &c.rd, &c.limits
	c.body.begin(bodyNone, 0)
	return c
}

// ReadRequest waits for the next request and fills in req, whose slices are
// valid until ReadRequest is called again. io.EOF means that there is none: the
// client closed, or was idle too long, or Retire was called. An *Error is a
// request to Refuse. Any other error is the connection's.
func (c *ServerConn) ReadRequest(req *message.Request) error {
	if c.closed.Load() || c.phase != phaseIdle && c.phase != phaseFinished || !c.body.whole.Load() {
		return ErrNotReady
	}
	c.rd.release(c.rd.raw != nil)
	c.phase = phaseIdle
	c.head, c.old, c.expects, c.taken = false, false, false, 0
	if c.rd.buffered() == 0 {
		if err := c.awaitRequest(); err != nil {
			return err
		}
	}
	n, f := c.parse.parse(c.rd.unread(), req)
	if f == faultIncomplete {
		var err error
		if n, f, err = c.readRequestSlowly(req); err != nil {
			return err
		}
	}
	c.phase = phaseRequest
	c.head = req.Method == message.MethodHead
	c.old = req.Version == message.HTTP10
	if f != faultNone {
		c.keepAlive = false
		return f.requestError()
	}
	if most := c.limits.BodyBytes; most > 0 && req.Length > most {
		c.keepAlive = false
		return faultBodyLong.requestError()
	}
	if c.requests++; c.requests == c.limits.Requests {
		c.retired.Store(true)
	}
	c.rd.hold(n)
	c.keepAlive, c.expects = req.KeepAlive, req.ExpectContinue
	switch {
	case req.Chunked:
		c.body.begin(bodyChunked, message.LengthUnknown)
	default:
		c.body.begin(bodySized, req.Length)
	}
	if req.HasBody() {
		// The client may wait for earlier answers before it sends this body;
		// and from here on ReadBody may run beside the writing.
		return c.Flush()
	}
	return nil
}

// awaitRequest waits for the first bytes of a request.
func (c *ServerConn) awaitRequest() error {
	if err := c.Flush(); err != nil {
		return err
	}
	if err := c.rd.deadline.arm(time.Now(), c.timeouts.Idle); err != nil {
		return err
	}
	c.waiting.Store(true)
	if c.retired.Load() {
		return io.EOF
	}
	err := c.rd.fillIdle()
	c.waiting.Store(false)
	if c.retired.Load() {
		c.rd.deadline.forget() // Retire may have moved it
	}
	if err != nil && isTimeout(err) {
		return io.EOF
	}
	return err
}

// readRequestSlowly reads on when a head did not come in one piece.
func (c *ServerConn) readRequestSlowly(req *message.Request) (int, fault, error) {
	if err := c.Flush(); err != nil {
		return 0, faultIncomplete, err
	}
	if err := c.rd.deadline.armExactly(time.Now(), c.timeouts.Head); err != nil {
		return 0, faultIncomplete, err
	}
	n, f, err := c.rd.readHead(c.limits.HeadBytes, c.limits.RequestLine+4,
		func(b []byte) (int, fault) { return c.parse.parse(b, req) })
	if err == nil {
		return n, f, nil
	}
	b := c.rd.unread()
	switch {
	case len(b) == 0 || string(b) == "\r\n" || string(b) == "\r": // no request was begun
		return 0, f, io.EOF
	case isTimeout(err) && !c.guard.interrupted():
		c.phase = phaseRequest
		return 0, f, &Error{Status: 408, Reason: "request head took too long", Section: "RFC 9110 15.5.9", Err: err}
	case err == io.EOF:
		err = io.ErrUnexpectedEOF
	}
	return 0, f, fmt.Errorf("h1: reading a request head: %w", err)
}

// ReadBody reads the request's content: io.EOF at the end of a complete body.
// Other errors are final: an *Error for a body that is ill-formed or too slow,
// one wrapping io.ErrUnexpectedEOF for a client that stopped. Nothing is sent to
// a client that waits for 100 (Continue): that is SendInterim's.
func (c *ServerConn) ReadBody(p []byte) (int, error) {
	n, err := c.body.read(p)
	if most := c.limits.BodyBytes; most > 0 && c.body.kind == bodyChunked {
		if c.taken += int64(n); c.taken > most { // a sized body was refused with its head
			c.body.end(&bodyFault{faultBodyLong})
			return 0, c.bodyError(c.body.err)
		}
	}
	if err == nil || err == io.EOF {
		return n, err
	}
	return n, c.bodyError(err)
}

func (c *ServerConn) bodyError(err error) error {
	var bf *bodyFault
	switch {
	case errors.As(err, &bf):
		return bf.f.requestError()
	case c.guard.readsStopped():
		err = ErrInterrupted
	case err == errTooSlow || isTimeout(err):
		return &Error{Status: 408, Reason: "request body took too long", Section: "RFC 9110 15.5.9", Err: err}
	}
	return fmt.Errorf("h1: reading a request body: %w", err)
}

// RequestTrailers returns, after ReadBody returned io.EOF, the trailer fields
// that are harmless to pass on; nil if there are none.
func (c *ServerConn) RequestTrailers() *message.Fields { return c.body.trailers }

// RemoteAddr returns the client's address.
func (c *ServerConn) RemoteAddr() net.Addr { return c.nc.RemoteAddr() }

// NetConn returns the connection beneath.
func (c *ServerConn) NetConn() net.Conn { return c.nc }

// Gone reports whether the client has closed its side, without blocking. False
// where that cannot be told, while pipelined bytes are at hand, and while a
// request body has not been read to its end (ReadBody tells then).
func (c *ServerConn) Gone() bool {
	if c.closed.Load() {
		return true
	}
	// Until the body is whole, the buffer is its reader's, who will learn it.
	return c.body.whole.Load() && c.rd.buffered() == 0 && c.probe.probe(c.nc) == peerGone
}

// Retire makes the connection end after the response in hand, at once if it is
// idle: ReadRequest returns io.EOF. For a graceful stop; safe from anywhere.
func (c *ServerConn) Retire() {
	c.retired.Store(true)
	c.guard.interruptRead(c.nc, &c.waiting)
}

// Interrupt ends every wait on the connection for good. Safe from anywhere.
func (c *ServerConn) Interrupt() { c.guard.interrupt(c.nc) }

// StopBody makes ReadBody end at once, now and later, for an answer given before
// the request's content has come whole. The answer can still be written; the
// connection ends with it, unless the content had come whole after all. Safe from
// anywhere.
func (c *ServerConn) StopBody() { c.guard.interruptReads(c.nc) }

// Hijack gives the connection away, after SendHead of a 101 and Flush: the
// bytes read ahead come with it, as a copy, and no deadline is left set. Only
// RemoteAddr and NetConn may be called afterwards.
func (c *ServerConn) Hijack() (nc net.Conn, buffered []byte) {
	if n := c.rd.buffered(); n > 0 {
		buffered = bytes.Clone(c.rd.unread())
	}
	c.phase = phaseAborted
	c.closed.Store(true)
	c.w.drop()
	c.nc.SetDeadline(time.Time{})
	return c.nc, buffered
}

// Close closes the connection. What is queued of finished responses is written
// first. The slices of the last request stay as they are.
func (c *ServerConn) Close() error {
	if c.closed.Swap(true) {
		return nil
	}
	c.saveAnswers()
	c.w.drop()
	return c.nc.Close()
}
