package proxy

import (
	"errors"
	"io"
	"net"
	"os"
	"runtime/debug"
	"sync/atomic"
	"time"

	"edge/message"
	"edge/pool"
	"edge/wire/h1"
)

// upstream is a connection to an origin with an exchange under way on it.
// Owner: the exchange, or the fill it was handed to.
type upstream struct {
	conn     *pool.Conn
	h        *h1.ClientConn
	origin   *Origin
	endpoint int
	pump     *pump // sends the request's content; nil without
	// Of the roll that owner keeps, under its lock.
	owner                *roll
	before, after        *upstream
	entered, interrupted bool
}

// connect gets a connection to an endpoint, with its codec.
func (p *Proxy) connect(o *Origin, endpoint int, fresh bool) (*upstream, error) {
	get := o.Pool.Get
	if fresh {
		get = o.Pool.GetFresh
	}
	c, err := get(p.ctx, o.Endpoints[endpoint])
	if err != nil {
		return nil, err
	}
	h, ok := c.Session.(*h1.ClientConn)
	if !ok {
		h = h1.NewClientConn(c.Conn, &o.Client) // the socket itself: it is asked for its descriptor
		c.Session = h
	} else {
		h.Vouch() // the pool has looked at it before it gave it out
	}
	u := &upstream{conn: c, h: h, origin: o, endpoint: endpoint, owner: &p.upstreams}
	p.upstreams.enter(u)
	return u, nil
}

// end gives the connection back: to the pool if both messages are whole and
// nothing is left over, else it is closed.
func (u *upstream) end() {
	interrupted := u.owner.leave(u)
	// An origin may have answered before the pump has noticed that it is done,
	// which is no reason to give up either connection.
	if u.pump != nil && !(u.h.Answered() && u.pump.finishes()) && !u.pump.finished() {
		u.pump.abandon(u.h)
	}
	if !interrupted && u.h.Reusable() {
		u.h.Park()
		u.origin.Pool.Put(u.conn)
		return
	}
	u.origin.Pool.Discard(u.conn)
}

// pump sends the request's content to the origin while the response is
// awaited, and perhaps relayed: an origin may answer before it has read all.
type pump struct {
	from contentSource
	done chan struct{}
	// clientErr is why the client's content broke off, originErr why the
	// origin took no more. Read after done.
	clientErr, originErr error
	broke                atomic.Bool // clientErr is set; before the interrupt
}

// pumpBuffer is how much of a request's content is held at a time, in bytes.
const pumpBuffer = 32 << 10

func startPump(from contentSource, h *h1.ClientConn) *pump {
	b := &pump{from: from, done: make(chan struct{})}
	go b.run(h)
	return b
}

// run ends when the content does, when either side fails, or by abandon.
func (b *pump) run(h *h1.ClientConn) {
	defer close(b.done)
	defer func() {
		if v := recover(); v != nil {
			b.clientErr = errors.New("request content: panic: " + string(debug.Stack()))
			b.broke.Store(true)
			h.Interrupt()
		}
	}()
	buf := make([]byte, pumpBuffer)
	for {
		n, err := b.from.ReadBody(buf)
		if n > 0 {
			if b.originErr = h.WriteBody(buf[:n]); b.originErr != nil {
				return // it may have answered all the same
			}
		}
		if errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			b.originErr = h.FinishBody(b.from.RequestTrailers())
			return
		}
		if err != nil {
			b.clientErr = err
			b.broke.Store(true)
			h.Interrupt() // nothing complete can come of it
			return
		}
	}
}

func (b *pump) finished() bool {
	select {
	case <-b.done:
		return true
	default:
		return false
	}
}

// pumpGrace is how long a pump may take to end once the answer is over.
const pumpGrace = 10 * time.Millisecond

// finishes waits pumpGrace at most for the pump to end.
func (b *pump) finishes() bool {
	if b.finished() {
		return true
	}
	grace := time.NewTimer(pumpGrace)
	defer grace.Stop()
	select {
	case <-b.done:
		return true
	case <-grace.C:
		return false
	}
}

// contentGrace is how long the rest of a request's content may take once the
// origin has answered without waiting for it. Mostly it is on its way: to stop
// the body at once would close a connection that the client was told to keep.
const contentGrace = 100 * time.Millisecond

// abandon ends a pump whose exchange is over, and waits for it.
func (b *pump) abandon(h *h1.ClientConn) {
	grace := time.NewTimer(contentGrace)
	defer grace.Stop()
	select {
	case <-b.done:
		return
	case <-grace.C:
	}
	h.Interrupt()
	b.from.StopBody()
	<-b.done
}

// originError is why an attempt at an origin brought no response.
type originError struct {
	// status is the error type of Proxy-Status, RFC 9209 section 2.3.
	status string
	err    error
	// unsent: the origin has seen nothing of the request.
	unsent bool
	// silent: nothing of a response came.
	silent bool
	reused bool
	timedOut,
	malformed, unavailable, clientFault bool
}

func (e *originError) Error() string { return e.err.Error() }
func (e *originError) Unwrap() error { return e.err }

// connectError explains why there is no connection.
func connectError(err error) *originError {
	kind := pool.KindOf(err)
	return &originError{status: kind.ProxyStatus(), err: err, unsent: true, silent: true, timedOut: kind.Timeout(),
		unavailable: kind == pool.KindExhausted || kind == pool.KindClosed || kind == pool.KindLocal}
}

// exchangeError explains why a connection brought no response.
func (u *upstream) exchangeError(err error) *originError {
	e := &originError{status: "connection_terminated", err: err, silent: !u.h.ResponseStarted(), reused: u.conn.Reused()}
	if u.pump != nil && u.pump.broke.Load() {
		e.clientFault, e.status, e.err = true, "http_request_error", u.pump.clientErr
		return e
	}
	var protocol *h1.Error
	var timeout net.Error
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		e.timedOut, e.status = true, "http_response_timeout"
	case errors.As(err, &protocol):
		e.malformed, e.status = true, "http_protocol_error"
	case !e.silent:
		e.status = "http_response_incomplete"
	}
	return e
}

// dropUpstream gives the origin's connection back: for another use where the
// answer is over (one without content is, once that is read), else it closes.
func (x *exchange) dropUpstream() {
	if x.upstream == nil {
		return
	}
	if x.resp.NoBody || x.resp.Length == 0 {
		var none [1]byte
		_, _ = x.upstream.h.ReadBody(none[:])
	}
	x.upstream.end()
	x.upstream = nil
}

// idempotent lists the methods that may be sent twice, RFC 9110 section 9.2.2.
func idempotent(method string) bool {
	switch method {
	case message.MethodGet, message.MethodHead, message.MethodOptions, message.MethodTrace,
		message.MethodPut, message.MethodDelete, message.MethodQuery:
		return true
	}
	return false
}
