package proxy

import (
	"errors"
	"net/netip"
	"runtime/debug"

	"edge/message"
	"edge/wire/h1"
)

// ServeConn serves one HTTP/1 connection until it ends, and closes it. Owner
// of the connection: this goroutine.
func (p *Proxy) ServeConn(c *h1.ServerConn, peer netip.AddrPort) {
	x := &exchange{p: p, client: c, peer: peer}
	x.entries, x.heads = x.entryRoom[:0], x.headRoom[:0]
	defer c.Close()
	for {
		err := c.ReadRequest(&x.req)
		if err != nil {
			p.refuse(c, peer, err)
			return
		}
		x.out.Close = p.draining.Load()
		if !x.serve() || x.hijacked {
			return
		}
		if !c.Persist() { // it knows of x.out.Close, and lets the client read the answer
			return
		}
	}
}

// refuse answers a request that could not be parsed, where there is one.
func (p *Proxy) refuse(c *h1.ServerConn, peer netip.AddrPort, err error) {
	var e *h1.Error
	if !errors.As(err, &e) {
		return // the connection ended between requests, or broke
	}
	p.observer.Refused(peer, e.Status, e.Reason)
	_ = c.Refuse(e)
}

// serve runs one exchange. It reports whether the connection may go on. A
// panic ends the exchange and its connection, not the process.
func (x *exchange) serve() (ok bool) {
	defer func() {
		if v := recover(); v != nil {
			x.p.observer.Panic("exchange", v, debug.Stack())
			x.p.log.Error("exchange panicked", "panic", v, "stack", string(debug.Stack()))
			x.client.Abort()
			x.cleanUp()
			ok = false
		}
	}()
	x.begin()
	x.run()
	x.end()
	return x.delivery == complete
}

// begin forgets the exchange before.
func (x *exchange) begin() {
	x.start = x.now()
	x.at = x.start
	x.bytes, x.status, x.err, x.endpoint = 0, 0, nil, ""
	x.delivery, x.alone, x.hijacked, x.lockSpent = complete, false, false, 0
	x.table = x.p.table.Load()
	x.trusted = len(x.table.trusted) > 0 && x.table.trusts(x.peer.Addr().Unmap())
	x.route, x.begun = nil, nil
	x.rule, x.ruleNumber, x.used = nil, 0, 0
	x.completing, x.parts = false, nil
}

// end reports the exchange and gives everything back.
func (x *exchange) end() {
	r := &x.record
	*r = Record{Start: x.start, Peer: x.peer, Req: &x.req, Endpoint: x.endpoint, Status: x.status, Bytes: x.bytes,
		Decision: x.m.Decision(), Delivery: x.delivery, Err: x.err, Tunnel: x.hijacked}
	r.Duration = duration(x.now().Sub(x.start))
	if x.route != nil {
		r.Origin = x.route.Origin.Name
	}
	x.p.observer.Exchange(r)
	x.cleanUp() // last: the record's decision speaks of a response that is retained
}

// now is the clock; x.at is what the exchange last read off it.
func (x *exchange) now() message.Instant { return x.p.clock.Now() }
