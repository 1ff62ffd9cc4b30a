package proxy

import (
	"runtime/debug"

	"edge/cache/storage"
	"edge/message"
)

// maxRefreshes bounds the background refreshes of a node at one time. One more
// is left to a later request.
const maxRefreshes = 1024

// startRefresh renews the chosen response behind the client's back. The same
// machine decides, without a client; the lock keeps it to one a key.
func (x *exchange) startRefresh() {
	if x.p.refreshes.Add(1) > maxRefreshes || x.p.ctx.Err() != nil {
		x.p.refreshes.Add(-1)
		return
	}
	r := &exchange{p: x.p, client: nil, peer: x.peer, table: x.table, route: x.route, trusted: x.trusted, key: x.key, rawKey: x.rawKey, rule: x.rule, ruleNumber: x.ruleNumber}
	r.req = *x.req.Clone()
	// The refresh is the cache's, not this client's: it asks for the whole.
	stripConditions(&r.req.Fields)
	if r.req.Method == message.MethodHead {
		r.req.Method = message.MethodGet
	}
	r.entries, r.heads = make([]storage.Entry, 0, 4), make([]*message.Stored, 0, 4)
	x.p.background.Add(1)
	go r.refresh()
}

// refresh is the goroutine of a background refresh.
func (x *exchange) refresh() {
	defer x.p.background.Done()
	defer x.p.refreshes.Add(-1)
	defer x.cleanUp()
	defer func() {
		if v := recover(); v != nil {
			x.p.observer.Panic("refresh", v, debug.Stack())
			x.p.log.Error("refresh panicked", "panic", v, "stack", string(debug.Stack()))
		}
	}()
	x.at = x.now()
	x.start = x.at
	x.drive(x.m.StartRefresh(x.route.Policy, &x.req, x.at))
}
