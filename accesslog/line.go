package accesslog

import (
	"net/netip"
	"strconv"
	"time"

	"edge/cache/statemachine"
	"edge/message"
	"edge/proxy"
)

// maxValue is how much of a client's words a line repeats, in bytes each.
const maxValue = 4096

// appendExchange appends the line of one exchange, newline included:
//
//	time         when the request had been read, RFC 3339, UTC, milliseconds
//	peer         address and port the connection came from; absent on a Unix socket
//	method, scheme, host, target, version   the request
//	status       what the client was sent; 0: nothing
//	bytes        of content sent to the client
//	duration_ms  from the request's head to the last byte of the answer
//	reason       why the answer is what it is, as in metrics
//	forward, not_stored, collapsed, stored  what else was decided, where it was
//	forward_status  the status of the origin's answer, where there was one
//	origin, endpoint    where the request would go, and where it went
//	delivery     truncated or client-gone, where the answer did not go out whole
//	tunnel       true where the connection became another protocol's
//	user_agent, referer, error
func appendExchange(b []byte, r *proxy.Record) []byte {
	b = appendTime(append(b, `{"time":"`...), int64(r.Start))
	b = appendPeer(append(b, '"'), r.Peer)
	q := r.Req
	b = appendText(append(b, `,"method":`...), q.Method)
	b = appendText(append(b, `,"scheme":`...), q.Scheme)
	b = appendText(append(b, `,"host":`...), q.Authority)
	b = appendText(append(b, `,"target":`...), q.Target)
	b = append(append(append(b, `,"version":"`...), q.Version.String()...), '"')
	b = strconv.AppendInt(append(b, `,"status":`...), int64(r.Status), 10)
	b = strconv.AppendInt(append(b, `,"bytes":`...), r.Bytes, 10)
	b = appendMillis(append(b, `,"duration_ms":`...), r.Duration)
	b = appendDecision(b, r.Decision)
	if r.Origin != "" {
		b = appendText(append(b, `,"origin":`...), r.Origin)
	}
	if r.Endpoint != "" {
		b = appendText(append(b, `,"endpoint":`...), r.Endpoint)
	}
	b = appendDelivery(b, r.Delivery)
	if r.Tunnel {
		b = append(b, `,"tunnel":true`...)
	}
	if v, ok := q.Fields.Get(message.FieldUserAgent); ok {
		b = appendText(append(b, `,"user_agent":`...), v)
	}
	if v, ok := q.Fields.Get(message.FieldReferer); ok {
		b = appendText(append(b, `,"referer":`...), v)
	}
	if r.Err != nil {
		b = appendText(append(b, `,"error":`...), r.Err.Error())
	}
	return append(b, "}\n"...)
}

func appendDecision(b []byte, d *statemachine.Decision) []byte {
	if d == nil {
		return b
	}
	b = appendName(append(b, `,"reason":"`...), d.Reason)
	if d.Forward != statemachine.ReasonNone {
		b = appendName(append(b, `,"forward":"`...), d.Forward)
	}
	if d.NotStored != statemachine.ReasonNone {
		b = appendName(append(b, `,"not_stored":"`...), d.NotStored)
	}
	if d.ForwardStatus != 0 {
		b = strconv.AppendInt(append(b, `,"forward_status":`...), int64(d.ForwardStatus), 10)
	}
	if d.Collapsed {
		b = append(b, `,"collapsed":true`...)
	}
	if d.Stored {
		b = append(b, `,"stored":true`...)
	}
	return b
}

func appendName(b []byte, r statemachine.Reason) []byte {
	return append(append(b, r.String()...), '"')
}

func appendDelivery(b []byte, d statemachine.Delivery) []byte {
	switch d {
	case statemachine.Complete:
	case statemachine.ClientGone:
		b = append(b, `,"delivery":"client-gone"`...)
	case statemachine.Truncated, statemachine.Unreadable:
		b = append(b, `,"delivery":"truncated"`...)
	}
	return b
}

// appendRefused appends the line of a request that could not be parsed, and of
// which nothing is repeated therefore.
func appendRefused(b []byte, now int64, peer netip.AddrPort, status int, reason string) []byte {
	b = appendTime(append(b, `{"time":"`...), now)
	b = appendPeer(append(b, '"'), peer)
	b = strconv.AppendInt(append(b, `,"status":`...), int64(status), 10)
	b = appendText(append(b, `,"refused":`...), reason)
	return append(b, "}\n"...)
}

func appendTime(b []byte, unixNano int64) []byte {
	return time.Unix(0, unixNano).UTC().AppendFormat(b, "2006-01-02T15:04:05.000Z")
}

func appendPeer(b []byte, peer netip.AddrPort) []byte {
	if !peer.IsValid() {
		return b
	}
	return append(peer.AppendTo(append(b, `,"peer":"`...)), '"')
}

// appendMillis appends d in milliseconds with three decimals.
func appendMillis(b []byte, d time.Duration) []byte {
	us := max(int64(d/time.Microsecond), 0)
	b = strconv.AppendInt(b, us/1000, 10)
	us %= 1000
	return append(b, '.', '0'+byte(us/100), '0'+byte(us/10%10), '0'+byte(us%10))
}
