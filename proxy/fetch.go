package proxy

import (
	"errors"
	"slices"

	"edge/cache/statemachine"
	"edge/message"
)

// fetch sends the request to the origin in the form the machine says, and
// waits for the final head.
func (x *exchange) fetch(a *statemachine.Action) statemachine.Event {
	x.dropUpstream()
	x.flushBefore()
	x.sequence = x.p.ledger.Sequence()
	x.generation = x.p.generation(x.key).Load()
	x.epoch = x.readEpoch()
	x.form = a.Form
	x.forward(&x.outFields, a.Form)
	if a.Form == statemachine.FormValidating {
		addValidators(&x.outFields, x.heads[a.Chosen])
	}
	if a.Form == statemachine.FormCompleting {
		addRange(&x.outFields, x.heads[a.Chosen], a.Missing)
	}
	if a.Form == statemachine.FormRanged {
		x.outFields.AddKnown(message.FieldRange, a.Missing.AppendRange(nil))
	}
	out := message.OutgoingRequest{
		Method: x.req.Method, Target: x.req.Target, Fields: &x.outFields, Length: x.req.Length,
		ExpectContinue: x.req.ExpectContinue, Upgrade: x.req.Upgrade,
	}
	if err := x.ask(&out); err != nil {
		x.err = err
		return statemachine.Event{Kind: statemachine.EventFailed, Failure: failureOf(err)}
	}
	x.err = nil
	if x.resp.Status != 101 {
		x.cleanResponse()
	}
	return statemachine.Event{Kind: statemachine.EventResponse, Response: &x.resp}
}

// errNoEndpoint: every endpoint was tried, or is out of service.
var errNoEndpoint = errors.New("no endpoint is available")

// maxAttempts bounds Origin.Attempts.
const maxAttempts = 16

// attempts are the endpoints that a fetch has tried. Part of the exchange, so that
// neither they nor the question about them is allocated for each fetch.
type attempts struct {
	n    int
	list [maxAttempts]int
	has  func(int) bool // whether an endpoint is among them
}

func (t *attempts) begin() {
	if t.n = 0; t.has == nil {
		t.has = func(i int) bool { return slices.Contains(t.list[:t.n], i) }
	}
}

// add notes a try, of at most maxAttempts.
func (t *attempts) add(i int) {
	t.list[t.n] = i
	t.n++
}

// ask tries endpoints until one answers or no further try is allowed. A
// request is tried again only if it can be replayed: none of its content was
// read or all of it is held, and either the origin saw nothing of it or its method is idempotent
// (RFC 9110 section 9.2.2).
func (x *exchange) ask(out *message.OutgoingRequest) *originError {
	o := x.route.Origin
	x.tried.begin()
	var failed *originError // of the last try
	most := min(max(o.Attempts, 1), maxAttempts)
	for x.tried.n < most {
		i, ok := o.Balancer.Pick(x.tried.has)
		if !ok && failed == nil {
			return &originError{status: "destination_unavailable", err: errNoEndpoint, unavailable: true}
		}
		if !ok {
			return failed
		}
		x.tried.add(i)
		err := x.try(o, i, out, false)
		// A reused connection that died says nothing about the endpoint: the
		// origin may close an idle one at any time (RFC 9112 section 9.3.1).
		if err != nil && err.reused && err.silent && !err.timedOut && x.replayable(err) {
			err = x.try(o, i, out, true)
		}
		if err == nil {
			return nil
		}
		// Only what is the endpoint's own fault counts against it: one URL with
		// a bad answer, or a client that breaks off, must not take it out.
		o.Balancer.Report(i, !err.unsent || err.unavailable || err.clientFault)
		failed = err
		if !x.replayable(err) || err.timedOut && !err.unsent {
			return failed
		}
	}
	return failed
}

// replayable reports whether the request may be sent once more after err.
func (x *exchange) replayable(err *originError) bool {
	if err.unsent {
		return x.p.ctx.Err() == nil
	}
	return err.silent && !err.clientFault && (!x.req.HasBody() || x.req.Content != nil) && idempotent(x.req.Method) && x.p.ctx.Err() == nil
}

// try is one attempt: connect, send, read the final head into x.resp.
func (x *exchange) try(o *Origin, endpoint int, out *message.OutgoingRequest, fresh bool) *originError {
	began := x.now()
	u, err := x.p.connect(o, endpoint, fresh)
	if err != nil {
		e := connectError(err)
		x.p.observer.Origin(o.Name, duration(x.now().Sub(began)), false, e)
		return e
	}
	x.endpoint = o.Endpoints[endpoint].Address
	err = x.converse(u, out)
	if err != nil {
		e := u.exchangeError(err)
		x.p.observer.Origin(o.Name, duration(x.now().Sub(began)), u.conn.Reused(), e)
		u.end()
		return e
	}
	x.p.observer.Origin(o.Name, duration(x.now().Sub(began)), u.conn.Reused(), nil)
	o.Balancer.Report(endpoint, true)
	x.upstream = u
	return nil
}

// inlineContent is how much held content is sent before the answer is read, in
// bytes: any socket takes that much from us, whatever the origin does meanwhile.
const inlineContent = 8 << 10

// converse sends the request and reads heads until the final one, passing
// interim responses on. RFC 9110 section 15.2: "A proxy MUST forward 1xx
// responses unless the proxy itself requested the generation of the 1xx
// response".
func (x *exchange) converse(u *upstream, out *message.OutgoingRequest) error {
	if err := u.h.SendRequest(out); err != nil {
		// It may have answered before it closed; a reset has taken that away.
		if !u.h.ResponseStarted() {
			return err
		}
	}
	switch {
	case out.Length == 0:
	case len(x.req.Content) > 0 && len(x.req.Content) <= inlineContent:
		// Whether it was taken the answer tells: there may be one already.
		if u.h.WriteBody(x.req.Content) == nil {
			_ = u.h.FinishBody(nil)
		}
	default:
		u.pump = startPump(x.content(), u.h)
	}
	for {
		if err := u.h.ReadResponse(&x.resp); err != nil {
			return err
		}
		if x.resp.Status >= 200 || x.resp.Status == 101 {
			return nil
		}
		statemachine.StripHopByHop(&x.resp.Fields, false)
		if x.client == nil {
			continue
		}
		if err := x.client.SendInterim(x.resp.Status, &x.resp.Fields); err != nil {
			x.err = err // the client has gone; the answer may still be stored
		}
	}
}

// failureOf tells the machine what kind of failure it was.
func failureOf(e *originError) statemachine.Failure {
	switch {
	case e.clientFault:
		return statemachine.FailureClient
	case e.timedOut:
		return statemachine.FailureTimeout
	case e.unavailable, e.status == "destination_unavailable": // 503, RFC 9209 section 2.3.4
		return statemachine.FailureUnavailable
	case e.malformed:
		return statemachine.FailureMalformed
	}
	return statemachine.FailureConnection
}
