package h1

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"edge/message"
)

// Errors of the sending methods that are the caller's mistake, or the content's.
var (
	ErrHeadSent   = errors.New("h1: a final head has been sent")
	ErrNoHead     = errors.New("h1: no head has been sent")
	ErrTooLong    = errors.New("h1: content is longer than announced")
	ErrTooShort   = errors.New("h1: content is shorter than announced")
	ErrNotInterim = errors.New("h1: not an interim status")
	ErrNotReady   = errors.New("h1: the message before this one is not finished")
)

// SendInterim sends a 1xx head at once, ahead of the final one. "a server MUST
// NOT send a 1xx response to an HTTP/1.0 client" (RFC 9110 section 15.2):
// nothing is sent then.
func (c *ServerConn) SendInterim(status int, f *message.Fields) error {
	switch {
	case status < 100 || status > 199 || status == 101:
		return ErrNotInterim
	case c.phase != phaseRequest:
		return ErrHeadSent
	case c.old:
		return nil
	}
	c.w.open()
	c.w.buf = appendStatusLine(c.w.buf, status, nil)
	if f != nil {
		c.w.buf = f.AppendLines(c.w.buf)
	}
	c.w.buf = append(c.w.buf, "\r\n"...)
	if status == 100 {
		c.expects = false
	}
	return c.Flush()
}

// SendHead queues a final head, with the framing fields that fit it and the
// client. A 101 gets "Connection: upgrade"; its Upgrade field is the caller's.
func (c *ServerConn) SendHead(h *message.Outgoing) error {
	if c.phase != phaseRequest {
		return ErrHeadSent
	}
	if c.w.err != nil {
		return c.w.err
	}
	c.phase = phaseContent
	length := c.choose(h)
	c.w.open()
	c.began = c.w.offset()
	b := appendStatusLine(c.w.buf, h.Status, h.Reason)
	b = append(b, h.Block...)
	if h.Fields != nil {
		b = h.Fields.AppendLines(b)
	}
	b = append(b, h.Extra...)
	switch {
	case c.framing == framedChunked:
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	case length >= 0 && h.Status >= 200 && h.Status != 204:
		// "A server MUST NOT send a Content-Length header field in any response
		// with a status code of 1xx (Informational) or 204 (No Content)" (RFC
		// 9110 section 8.6).
		b = append(b, "Content-Length: "...)
		b = strconv.AppendInt(b, length, 10)
		b = append(b, "\r\n"...)
	}
	switch {
	case h.Status == 101:
		b = append(b, "Connection: upgrade\r\n"...)
	case c.close:
		// "A server that does not support persistent connections MUST send the
		// "close" connection option in every response message that does not
		// have a 1xx (Informational) status code" (RFC 9112 section 9.3).
		b = append(b, "Connection: close\r\n"...)
	case c.old:
		b = append(b, "Connection: keep-alive\r\n"...)
	}
	c.w.buf = append(b, "\r\n"...)
	return nil
}

// choose settles how the response is framed and whether the connection lives
// on. It returns the length to announce.
func (c *ServerConn) choose(h *message.Outgoing) (length int64) {
	c.trailers = h.Trailers
	c.left = 0
	length = h.Length
	switch {
	case c.head || h.Status < 200 || h.Status == 204 || h.Status == 304:
		c.framing = framedNone
	case h.NoBody:
		// Only those end with the head; here its end has to be announced.
		length = 0
		c.framing = framedSized
	case h.Length >= 0:
		c.framing, c.left = framedSized, h.Length
	case !c.old:
		c.framing = framedChunked
	default:
		// "A server MUST NOT send a response containing Transfer-Encoding
		// unless the corresponding request indicates HTTP/1.1 (or later minor
		// revisions)" (RFC 9112 section 6.1).
		c.framing = framedToEnd
	}
	bodyLost := false
	if !c.body.whole.Load() {
		// A client still waiting for 100 may or may not send its body now, and
		// one with more to send than we would drain is better told to stop. After
		// an ill-formed one nobody knows where the next request begins.
		bodyLost = c.expects || c.body.broken.Load() || c.body.left.Load() > c.limits.DrainBytes || c.guard.readsStopped()
	}
	c.close = h.Close || !c.keepAlive || bodyLost || c.framing == framedToEnd || c.retired.Load() || h.Status == 101
	return length
}

// Write writes content: small pieces are copied, larger ones are handed to the
// kernel before Write returns. Content beyond the announced length aborts.
func (c *ServerConn) Write(p []byte) error {
	if c.phase != phaseContent {
		return ErrNoHead
	}
	if len(p) == 0 {
		return nil
	}
	var err error
	switch c.framing {
	case framedChunked:
		err = c.w.chunk(p)
	case framedToEnd:
		err = c.w.content(p, "")
	case framedSized, framedNone:
		if int64(len(p)) > c.left {
			c.Abort()
			return ErrTooLong
		}
		c.left -= int64(len(p))
		err = c.w.content(p, "")
	}
	return err
}

// Finish ends the content. Content short of the announced length aborts
// instead: nothing cut may look complete. If the next pipelined request is
// already at hand, the response is left queued so that answers leave together
// (ReadRequest flushes before it waits for the client; a caller that will wait
// for anything else calls Flush first); otherwise it is flushed.
func (c *ServerConn) Finish(trailers *message.Fields) error {
	switch {
	case c.phase != phaseContent:
		return ErrNoHead
	case c.framing == framedSized && c.left > 0:
		c.Abort()
		return ErrTooShort
	case c.framing == framedChunked:
		if !c.trailers {
			trailers = nil
		}
		c.w.lastChunk(trailers)
	}
	c.phase = phaseFinished
	c.answered = c.w.offset()
	if !c.close && len(c.w.buf) <= coalesceLimit && c.nextAtHand() {
		return c.w.err
	}
	return c.Flush()
}

// coalesceLimit bounds what is queued of finished pipelined responses.
const coalesceLimit = writeBuffer / 2

// nextAtHand reports whether a whole head is buffered.
func (c *ServerConn) nextAtHand() bool {
	// In this order: until the body is whole, the buffer is its reader's.
	return c.body.whole.Load() && c.rd.buffered() > 0 && headEnds(c.rd.unread())
}

// Flush writes everything queued.
func (c *ServerConn) Flush() error { return c.w.flush() }

// saveAnswers writes what is still queued of finished responses.
func (c *ServerConn) saveAnswers() {
	if n := c.answered - c.w.written; n > 0 && c.w.err == nil {
		c.w.buf = c.w.buf[:n]
		c.Flush()
	}
}

// HeadSent reports whether a final head is out or committed to go out: the
// answer can no longer be changed, only aborted.
func (c *ServerConn) HeadSent() bool { return c.phase >= phaseContent }

// Abort ends the connection so that the client can tell that the response in
// hand is cut: no last chunk, no clean end, and a reset where content was under
// way. Finished responses still queued are written first.
func (c *ServerConn) Abort() {
	if c.closed.Swap(true) {
		return
	}
	c.saveAnswers()
	underWay := c.phase == phaseContent && c.w.written > c.began
	c.phase = phaseAborted
	c.w.drop()
	if underWay {
		cut(c.nc)
		return
	}
	c.nc.Close()
}

// Persist ends the exchange, after Finish. It reports whether another request
// may be read; if so, what the client sent of a body that nobody read has been
// drained. If not, the client has been given time to read the answer, and Close
// is what remains.
func (c *ServerConn) Persist() bool {
	if c.phase != phaseFinished || c.w.err != nil || c.closed.Load() {
		return false
	}
	if c.close {
		// A client that would have gone on may be sending its next request now.
		if c.keepAlive || !c.body.whole.Load() || c.rd.buffered() > 0 {
			c.linger()
		}
		return false
	}
	if c.body.whole.Load() {
		c.guard.resumeReads(c.nc, &c.rd.deadline) // StopBody came too late to stop anything
		return true
	}
	// The client may be waiting for this answer before it sends the rest.
	if c.Flush() != nil {
		return false
	}
	if c.drainBody() {
		return true
	}
	c.linger()
	return false
}

// drainBody reads the rest of the request body and drops it, within DrainBytes
// and the Drain timeout. "A server MUST read the entire request message body or
// close the connection after sending its response; otherwise, the remaining data
// on a persistent connection would be misinterpreted as the next request" (RFC
// 9112 section 9.3).
func (c *ServerConn) drainBody() bool {
	if c.body.err != nil {
		return c.body.err == io.EOF
	}
	scrap := getBuffer(mediumBuffer)
	defer putBuffer(scrap)
	left := c.limits.DrainBytes
	t := c.timeouts
	t.MinBodyRate = 0
	end := time.Now().Add(t.Drain)
	defer func(saved *Timeouts) { c.rd.timeouts = saved }(c.rd.timeouts)
	c.rd.timeouts = &t
	for left > 0 {
		if t.BodyRead = time.Until(end); t.BodyRead <= 0 && t.Drain >= 0 {
			return false
		}
		n, err := c.body.read(scrap)
		if err == io.EOF {
			return true
		}
		if err != nil {
			return false
		}
		left -= int64(n)
	}
	return false
}

// Refuse answers a request that ReadRequest or ReadBody did not accept, or that
// the caller will not serve, and closes the connection once the client has had
// time to read the answer. After a final head it aborts.
func (c *ServerConn) Refuse(e *Error) error {
	if c.HeadSent() || c.closed.Load() {
		c.Abort()
		return ErrHeadSent
	}
	text := e.Reason + "\n"
	c.w.open()
	b := appendStatusLine(c.w.buf, e.Status, nil)
	b = append(b, "Date: "...)
	b = time.Now().UTC().AppendFormat(b, "Mon, 02 Jan 2006 15:04:05 GMT")
	b = append(b, "\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: "...)
	b = strconv.AppendInt(b, int64(len(text)), 10)
	b = append(b, "\r\nConnection: close\r\n\r\n"...)
	if !c.head {
		b = append(b, text...)
	}
	c.w.buf = b
	c.phase, c.close = phaseFinished, true
	err := c.Flush()
	if err == nil {
		c.linger()
	}
	c.Close()
	if err != nil {
		return fmt.Errorf("h1: writing a refusal: %w", err)
	}
	return nil
}

// linger gives the client time to read the last answer: "If a server performs
// an immediate close of a TCP connection, there is a significant risk that the
// client will not be able to read the last HTTP response. [...] servers
// typically close a connection in stages. First, the server performs a
// half-close by closing only the write side of the read/write connection. The
// server then continues to read from the connection until it receives a
// corresponding close by the client" (RFC 9112 section 9.6), here within
// DrainBytes and the Drain timeout.
func (c *ServerConn) linger() {
	if c.Flush() != nil {
		return
	}
	half, ok := c.nc.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return // without it, a client that waits for our end would wait for nothing
	}
	c.guard.resumeReads(c.nc, &c.rd.deadline)
	if c.rd.deadline.armExactly(time.Now(), c.timeouts.Drain) != nil {
		return
	}
	scrap := getBuffer(mediumBuffer)
	defer putBuffer(scrap)
	for left := c.limits.DrainBytes; left > 0; {
		n, err := c.nc.Read(scrap)
		if err != nil {
			return
		}
		left -= int64(n)
	}
}
