package proxy

import (
	"context"
	"net/netip"
	"time"

	"edge/cache/lock"
	"edge/cache/statemachine"
	"edge/cache/storage"
	"edge/message"
)

// complete is the delivery of an answer that went out whole.
const complete = statemachine.Complete

// exchange is one request and its response, from the client's codec to the
// origin's and back. Owner: the goroutine of the client's connection, or of
// the background refresh; reused from one request of a connection to the next.
//
// Invariants: entries are retained until releaseEntries; permit, upstream and
// fill are given back by cleanUp on every path, whatever happened.
type exchange struct {
	p      *Proxy
	client Client
	peer   netip.AddrPort

	req     message.Request
	m       statemachine.HTTPCache
	table   *table
	route   *Route
	trusted bool        // the peer's word about the client is taken
	key     storage.Key // to store and queue under: rawKey, or that of rule
	rawKey  storage.Key // of the target as it is

	rule       *searchRule // remembered for the path; nil for none
	ruleNumber uint64
	search     searchQuery
	epoch      epoch // when the fetch began

	used int // how often the key was asked for, if that was counted

	entries []storage.Entry   // the candidates, retained
	heads   []*message.Stored // their heads, as the machine saw them

	permit    *lock.Permit[*fill]
	permitKey lock.Key
	// permitPrimary is the key that permitKey was made from.
	permitPrimary storage.Key
	permitVariant []byte             // and the variant
	led           statemachine.Range // of which run it is the permit, empty for the key's
	alone         bool               // we owe the lock table an AloneDone, for permitKey
	lockSpent     time.Duration
	sequence      uint64 // the purge sequence when the fetch began
	generation    uint32 // the key's generation when the fetch began
	// tags and groups are what purges know the response at hand by.
	tags, groups []string
	// tagged and grouped: the response has fields that say so, if only of none.
	tagged, grouped bool

	upstream  *upstream // the origin's connection, a response under way on it
	resp      message.Response
	outFields message.Fields
	fill      *fill // the fill this exchange reads from, attached
	// completing: the fill brings missing bytes of what is held in parts.
	completing bool
	form       statemachine.Form // of the request sent last
	parts      *gathering        // what the answer is read from, where that is more than one fill
	gain       *gain             // of a later run: what it is to bring; nil for an exchange with a client
	leadHead   []byte
	served     *message.Stored // the head of what is being sent
	lasting    lasting         // the reader of its content

	out      message.Outgoing
	record   Record
	start    message.Instant
	at       message.Instant // the clock, as last read
	status   int             // sent to the client, 0 for none
	bytes    int64           // of content sent to the client
	endpoint string
	tried    attempts
	err      error
	delivery statemachine.Delivery
	hijacked bool

	begun []byte // content read before it turned out to be too long to hold

	keyBuf, targetBuf, cookieBuf, extraBuf, date []byte
	schemeBuf, peerBuf                           []byte

	entryRoom [4]storage.Entry
	headRoom  [4]*message.Stored
	heldRoom  []storage.ByteRange
}

// run takes the request through the machine.
func (x *exchange) run() {
	if x.trusted {
		x.trustedWord()
	}
	x.route = x.table.route(&x.req)
	if r := x.refusal(); r.status != 0 {
		x.failEarly(r)
		return
	}
	if x.req.Method == message.MethodPurge {
		x.answerPurge()
		return
	}
	if x.req.Upgrade != nil && (!x.route.Upgrade || isH2C(x.req.Upgrade)) {
		// RFC 9110 section 7.8: "A server MAY ignore a received Upgrade".
		x.req.Upgrade = nil
	}
	policy := x.route.policyFor(&x.req)
	// What Connection takes away the origin does not see: nor may the key, Vary
	// or the machine.
	statemachine.StripHopByHop(&x.req.Fields, true)
	if x.route.Strip != nil {
		x.cookieBuf = x.route.Strip.apply(&x.req, x.cookieBuf)
	}
	x.targetBuf = x.route.Key.normalise(&x.req, x.targetBuf)
	if x.req.Method == message.MethodQuery && !policy.Disabled {
		if err := x.query(); err != nil {
			x.err = err
			status, detail := contentStatus(err)
			x.failEarly(refusal{status, detail, "http_request_error"})
			return
		}
	} else {
		x.key, x.keyBuf = primaryKey(x.route, &x.req, x.keyBuf)
	}
	x.rawKey = x.key
	x.drive(x.m.Start(policy, &x.req, x.at))
}

// drive runs actions and feeds events back until the machine is done.
func (x *exchange) drive(a statemachine.Action) {
	for {
		x.settle(&a)
		if a.Kind == statemachine.ActDone {
			return
		}
		ev := x.do(&a)
		if a.Kind != statemachine.ActLookup {
			x.at = x.now() // only a look-up takes no time to speak of
		}
		a = x.m.Step(ev, x.at)
	}
}

// do runs one action: one handler a kind.
func (x *exchange) do(a *statemachine.Action) statemachine.Event {
	if x.gain != nil && x.gain.take(x, a) {
		return x.delivered(complete)
	}
	switch a.Kind {
	case statemachine.ActLookup:
		return x.lookup()
	case statemachine.ActAcquire:
		return x.acquire(a)
	case statemachine.ActFetch:
		return x.fetch(a)
	case statemachine.ActFill:
		return x.startFill(a)
	case statemachine.ActServeFill:
		return x.delivered(x.serveFill())
	case statemachine.ActServe:
		return x.delivered(x.serveStored(a))
	case statemachine.ActRelay:
		return x.delivered(x.relay(a))
	case statemachine.ActFreshen:
		return x.freshen(a)
	case statemachine.ActInvalidate:
		return x.invalidate()
	case statemachine.ActFail:
		return x.delivered(x.fail(a))
	case statemachine.ActDone:
	}
	panic("proxy: no handler for action " + a.Kind.String())
}

func (x *exchange) delivered(d statemachine.Delivery) statemachine.Event {
	x.delivery = d
	return statemachine.Event{Kind: statemachine.EventDelivered, Delivery: d}
}

// settle does with the permit, and with a fill that turned out not to be for
// us, what the machine says.
func (x *exchange) settle(a *statemachine.Action) {
	switch a.Permit {
	case statemachine.PermitStored:
		x.release(lock.StatusStored)
	case statemachine.PermitGaveUp:
		x.release(lock.StatusGaveUp)
	case statemachine.PermitFailed:
		x.release(lock.StatusFailed)
	case statemachine.PermitKeep, statemachine.PermitHanded:
	}
	if x.fill != nil && a.Kind != statemachine.ActServeFill {
		x.dropFill()
	}
}

// dropFill gives the fill at hand back, and what was gathered beside it.
func (x *exchange) dropFill() {
	if x.parts != nil {
		x.parts.close()
		x.parts = nil
	}
	if x.fill != nil {
		x.fill.detach()
		x.fill = nil
	}
}

func (x *exchange) release(s lock.Status) {
	if x.permit != nil {
		x.permit.Release(s)
		x.permit = nil
	}
}

// cleanUp gives back what the exchange still holds. On the paths the machine
// knows there is little left; after a panic there may be all of it.
func (x *exchange) cleanUp() {
	x.release(lock.StatusFailed)
	x.dropFill()
	if x.alone {
		x.alone = false
		x.p.locks.AloneDone(x.permitKey)
	}
	x.dropUpstream()
	x.releaseEntries()
}

// lookup finds the candidates.
func (x *exchange) lookup() statemachine.Event {
	x.releaseEntries()
	x.findRule()
	x.entries = x.p.store.Lookup(x.entries[:0], x.rawKey)
	if x.rule != nil {
		x.appendSearched()
	}
	if x.gain != nil {
		x.entries = append(x.entries, x.gain.base)
	}
	x.heads = x.heads[:0]
	ev := statemachine.Event{Kind: statemachine.EventFound}
	parts := false
	for _, e := range x.entries {
		s := e.Stored()
		x.heads = append(x.heads, s)
		parts = parts || x.gain != nil || s.Terms.Flags.Has(message.TermPartial)
	}
	ev.Candidates, ev.Uses = x.heads, x.uses(len(x.heads))
	if parts {
		ev.Held = x.heldParts()
	}
	return ev
}

func (x *exchange) releaseEntries() {
	for i, e := range x.entries {
		e.Release()
		x.entries[i] = nil
	}
	x.entries = x.entries[:0]
}

// acquire takes the lock, or learns what became of it.
func (x *exchange) acquire(a *statemachine.Action) statemachine.Event {
	ev := statemachine.Event{Kind: statemachine.EventLock}
	x.flushBefore()
	x.permitKey, x.permitPrimary, x.permitVariant = lockKey(x.key, a.Variant), x.key, a.Variant
	x.led = statemachine.Range{}
	byRun := a.Run.Start < a.Run.End
	if byRun {
		if x.joinWhole(a, &ev) {
			return ev
		}
		x.permitKey = runKey(x.key, a.Variant, a.Run.Start/max(a.Chunk, 1))
	}
	opt := x.route.Lock
	if a.NoWait {
		permit, ok := x.p.locks.TryAcquire(x.permitKey, &opt)
		x.permit = permit
		ev.Lock = statemachine.LockLeader
		if !ok {
			ev.Lock = statemachine.LockBusy
		}
		return ev
	}
	opt.Wait = remaining(opt.Wait, x.lockSpent)
	outcome, permit, f := x.p.locks.Acquire(x.p.ctx, x.permitKey, &opt)
	x.lockSpent += duration(x.now().Sub(x.at))
	x.permit = permit
	ev.Lock = lockResult(outcome)
	switch outcome {
	case lock.TimedOutAlone:
		x.alone = true
	case lock.Streaming:
		x.join(&ev, f)
	default: // the result says it all
	}
	if byRun && x.permit != nil {
		ev.Led = x.leadRun(a)
	}
	return ev
}

// join attaches to a fill, if it still goes on and is not outdated. Instead of
// an outdated one a new fetch is led; who led the old one goes on alone.
func (x *exchange) join(ev *statemachine.Event, f *fill) {
	if !f.attach() {
		ev.Lock = statemachine.LockStored // ended just now: it is there, or it failed
		return
	}
	if !f.outdated(x.p, x.key) {
		x.attend(ev, f)
		return
	}
	f.detach()
	ev.Lock = statemachine.LockStored // another was quicker: look again
	if permit, ok := x.p.locks.Supersede(x.permitKey, func(g *fill) bool { return g == f }); ok {
		x.permit, ev.Lock = permit, statemachine.LockLeader
	}
}

// attend makes f, attached, the fill at hand.
func (x *exchange) attend(ev *statemachine.Event, f *fill) {
	x.fill, x.completing = f, false
	ev.Lock, ev.Flight, ev.Part, ev.Ignored = statemachine.LockStreaming, f.head, f.part, f.ignored
	x.heldRoom = f.entry.Held(x.heldRoom[:0])
	if len(x.heldRoom) > 0 {
		ev.Reached = statemachine.Range(x.heldRoom[0])
	}
}

// flushBefore sends the finished answers to pipelined requests before a wait:
// they must not stay behind a slow one.
func (x *exchange) flushBefore() {
	if x.client != nil {
		_ = x.client.Flush() // an error comes again with the answer
	}
}

// remaining is what is left of the patience for one key. 0 would mean the
// default to the lock table, so none is said as a negative.
func remaining(wait, spent time.Duration) time.Duration {
	if wait == 0 {
		wait = lock.DefaultWait
	}
	if wait -= spent; wait <= 0 {
		return -1
	}
	return wait
}

func lockResult(o lock.Outcome) statemachine.LockResult {
	switch o {
	case lock.Leader:
		return statemachine.LockLeader
	case lock.Streaming:
		return statemachine.LockStreaming
	case lock.Stored:
		return statemachine.LockStored
	case lock.GaveUp:
		return statemachine.LockGaveUp
	case lock.Failed:
		return statemachine.LockFailed
	case lock.TooOld:
		return statemachine.LockTooOld
	case lock.TimedOutAlone:
		return statemachine.LockAlone
	case lock.TimedOut:
		return statemachine.LockTimedOut
	case lock.Canceled:
		return statemachine.LockCanceled
	}
	return statemachine.LockCanceled
}

// freshen gives the chosen entry its new head. That the store has lost the
// entry meanwhile does not matter to this exchange, which holds it.
func (x *exchange) freshen(a *statemachine.Action) statemachine.Event {
	if x.resp.Status == 304 {
		x.dropUpstream() // it has no content; the answer to a HEAD stays, to be relayed
	}
	if key := x.entries[a.Chosen].Key(); x.current(key) {
		if err := x.freshenAs(x.entries[a.Chosen], a.Stored); err != nil {
			x.p.log.Debug("freshen", "target", string(x.req.Target), "error", err)
		}
		if !x.current(key) {
			x.p.store.Invalidate(key) // it came between the look and the update
		}
	}
	return statemachine.Event{Kind: statemachine.EventFreshened, OK: true}
}

// invalidate marks what an unsafe request made stale, RFC 9111 section 4.4.
func (x *exchange) invalidate() statemachine.Event {
	current := x.current(x.key) // else another write came meanwhile: this answer may be the older
	statemachine.InvalidationTargets(&x.req, &x.resp, x.p.invalidateURI)
	x.p.invalidate(x.key) // with the fields and cookies of this very request
	x.invalidateGroups()
	// What this very response brings is newer than what it made stale.
	if current {
		x.generation = x.p.generation(x.key).Load()
	}
	return statemachine.Event{Kind: statemachine.EventInvalidated, Response: &x.resp}
}

// InvalidateURI marks everything invalid that a request for a URI could be
// answered with, as RFC 9111 section 4.4 has it: responses to GET under its key
// and, where No-Vary-Search makes it equal to others, under theirs, and responses
// to QUERY. Scheme, authority and target are in the form of message.Request's. A
// purge by URL finds what was stored for that very URL by itself; what another
// URL brought, only this does. It returns how many responses it found by their
// keys.
func (p *Proxy) InvalidateURI(scheme string, authority, target []byte) int {
	r := message.Request{Method: message.MethodGet, Scheme: scheme, Authority: authority, Target: target, PathLen: pathLen(target)}
	// The route of the URI itself makes its key; rules that add request fields
	// to the key leave those variants to their own lifetimes.
	route := p.table.Load().route(&r)
	if route == nil {
		return 0
	}
	route.Key.normalise(&r, nil)
	key, _ := primaryKey(route, &r, nil)
	n := p.invalidate(key)
	p.invalidateSearched(route, &r)
	p.queried.forget(appendURI(nil, r.Scheme, r.Authority, r.Target))
	return n
}

func pathLen(target []byte) int {
	for i, c := range target {
		if c == '?' {
			return i
		}
	}
	return len(target)
}

func duration(d message.Duration) time.Duration { return time.Duration(d) }

// waitContext is what every wait of an exchange ends with.
func (x *exchange) waitContext() context.Context { return x.p.ctx }
