package proxy

import (
	"errors"
	"strconv"

	"edge/cache/statemachine"
	"edge/message"
	"edge/wire/h1"
)

// refusal is an answer given before the machine sees a request: status 0 for
// none, and the error type of Proxy-Status (RFC 9209 section 2.3), if any.
type refusal struct {
	status             int
	detail, proxyError string
}

// refusal says with what the request is refused, if it is.
func (x *exchange) refusal() refusal {
	switch {
	case x.route == nil:
		return refusal{404, "no route takes this host and path", ""}
	case x.loops():
		// RFC 8586 section 2; RFC 5842's status says it best.
		return refusal{508, "the request came through this node before", "proxy_loop_detected"}
	case x.req.Method == message.MethodTrace, x.req.Method == message.MethodOptions:
		return x.maxForwards()
	}
	return refusal{}
}

// maxForwards answers or counts down. RFC 9110 section 7.6.2: "If the received
// value is zero (0), the intermediary MUST NOT forward the request; instead,
// the intermediary MUST respond as the final recipient."
func (x *exchange) maxForwards() refusal {
	v, ok := x.req.Fields.Get(message.FieldMaxForwards)
	if !ok {
		return refusal{}
	}
	n, err := strconv.ParseUint(string(v), 10, 31)
	switch {
	case err != nil:
		return refusal{} // not a number: no limit we could keep
	case n > 0:
		x.req.Fields.Set(message.FieldMaxForwards, strconv.AppendUint(nil, n-1, 10))
		return refusal{}
	case x.req.Method == message.MethodOptions:
		return refusal{204, "", ""}
	}
	return refusal{405, "TRACE is not answered here", "http_request_denied"}
}

// failEarly answers a request that the machine never saw.
func (x *exchange) failEarly(r refusal) {
	x.m = statemachine.HTTPCache{}
	x.delivery = x.answer(r.status, r.detail, r.proxyError, false)
}

// fail sends an answer of our own for what the machine decided.
func (x *exchange) fail(a *statemachine.Action) statemachine.Delivery {
	if x.client == nil || x.client.HeadSent() {
		return statemachine.Truncated
	}
	x.dropUpstream()
	detail, proxyError := a.Reason.String(), internalError(a.Reason)
	if e, ok := x.err.(*originError); ok {
		proxyError = e.status
		// What the client did wrong has a status of its own: 408, 413 ...
		var fault *h1.Error
		if e.clientFault && errors.As(e.err, &fault) {
			return x.answer(fault.Status, fault.Reason, "", false)
		}
	}
	return x.answer(a.Status, detail, proxyError, a.Status == 503)
}

// internalError is the error type, RFC 9209 section 2.3, for what the machine
// decided without a failed attempt at an origin to tell of.
func internalError(why statemachine.Reason) string {
	switch why {
	case statemachine.ReasonBadNotModified, statemachine.ReasonMalformed:
		return "http_protocol_error"
	case statemachine.ReasonOnlyIfCached, statemachine.ReasonLockTimeout:
		// "The intermediary generated the response itself without attempting
		// to connect to the next hop." (section 2.3.29)
		return "proxy_internal_response"
	default: // no type of section 2.3 says more than the status does
		return ""
	}
}

// answer sends a short answer that edge makes up itself. No cache keeps it,
// and it carries no member of Cache-Status: no cache handled it.
func (x *exchange) answer(status int, detail, proxyError string, retry bool) statemachine.Delivery {
	body := strconv.Itoa(status) + " " + h1.StatusText(status)
	if detail != "" {
		body += ": " + detail
	}
	body += "\n"
	b := x.extraBuf[:0]
	b = append(b, "Date: "...)
	b = statemachine.AppendDate(b, int64(x.now())/message.Second)
	b = append(b, "\r\nCache-Control: no-store\r\nVia: "...)
	b = appendVia(b, message.HTTP11, x.p.viaName)
	b = append(b, "\r\n"...)
	if proxyError != "" {
		// RFC 9209 section 2.1: the member is this node, error its type.
		b = statemachine.AppendItem(append(b, "Proxy-Status: "...), x.p.statusName)
		b = append(append(b, "; error="...), proxyError...)
		b = append(b, "\r\n"...)
	}
	if retry {
		b = append(b, "Retry-After: 1\r\n"...)
	}
	closing := x.out.Close
	x.out = message.Outgoing{Status: status, Length: int64(len(body)), Close: closing}
	if status == 204 {
		b = append(b, "Allow: GET, HEAD, OPTIONS\r\n"...)
		x.out.Length = message.LengthUnknown
		x.out.NoBody = true
	} else {
		b = append(b, "Content-Type: text/plain; charset=utf-8\r\n"...)
	}
	if x.req.Method == message.MethodHead {
		x.out.NoBody = true
	}
	x.out.Extra, x.extraBuf = b, b
	if x.sendHead() != nil {
		return statemachine.ClientGone
	}
	if !x.out.NoBody && x.write([]byte(body)) != nil {
		return statemachine.ClientGone
	}
	return x.finish(nil)
}
