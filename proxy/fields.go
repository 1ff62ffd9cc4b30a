package proxy

import (
	"bytes"
	"net/netip"
	"strconv"

	"edge/cache/statemachine"
	"edge/message"
)

// impliedFields are request fields that origins are known to trust and that
// are not part of the key: from anybody but a trusted peer they would let one
// client decide what the next one gets. They are removed, and those of
// ownFields set by us.
var impliedFields = []message.FieldID{
	message.FieldXForwardedHost, message.FieldXForwardedProto, message.FieldXForwardedScheme,
	message.FieldXForwardedPort, message.FieldXForwardedPrefix, message.FieldXForwardedServer,
	message.FieldXHost, message.FieldXOriginalURL, message.FieldXRewriteURL,
	message.FieldXHTTPMethodOverride, message.FieldForwarded,
}

// forward writes into dst the fields of the request as they go to the origin,
// in the given form. They share the request's bytes.
func (x *exchange) forward(dst *message.Fields, form statemachine.Form) {
	req := &x.req
	dst.CopyFrom(&req.Fields)
	statemachine.StripHopByHop(dst, true)
	dst.Delete(message.FieldContentLength)
	dst.Delete(message.FieldExpect)
	dst.Delete(message.FieldHTTP2Settings)
	if form != statemachine.FormAsIs {
		stripConditions(dst)
	}
	host := x.route.Origin.Host
	if host == nil {
		host = req.Authority
	}
	// RFC 9112 section 3.2: "A client MUST send a Host header field in all
	// HTTP/1.1 request messages"; with the target in absolute form it is the
	// target's (section 3.2.2).
	dst.Set(message.FieldHost, host)
	x.forwardPeer(dst)

	dst.AddKnown(message.FieldVia, appendVia(nil, req.Version, x.p.viaName))
	dst.AddKnown(message.FieldCDNLoop, x.p.loopID)
}

// stripConditions makes the answer depend on the target alone.
func stripConditions(f *message.Fields) {
	for _, id := range [...]message.FieldID{message.FieldIfMatch, message.FieldIfNoneMatch, message.FieldIfModifiedSince,
		message.FieldIfUnmodifiedSince, message.FieldIfRange, message.FieldRange} {
		f.Delete(id)
	}
}

// addValidators makes a request conditional. RFC 9111 section 4.3.1: "When
// generating a conditional request for validation, a cache ... updates that
// request with one or more precondition header fields".
func addValidators(f *message.Fields, s *message.Stored) {
	etag, modified := statemachine.Validators(s)
	if etag != nil {
		f.AddKnown(message.FieldIfNoneMatch, etag)
	}
	if modified != nil {
		f.AddKnown(message.FieldIfModifiedSince, modified)
	}
}

// addRange asks for the bytes that are missing, of the same representation
// only. RFC 9110 section 13.1.5: "If the representation is unchanged, send me
// the part(s) that I am requesting in Range; otherwise, send me the entire
// representation."
func addRange(f *message.Fields, s *message.Stored, missing statemachine.Range) {
	f.AddKnown(message.FieldRange, missing.AppendRange(nil))
	etag, modified := statemachine.Validators(s)
	if len(etag) > 0 && etag[0] == '"' {
		f.AddKnown(message.FieldIfRange, etag)
	} else {
		f.AddKnown(message.FieldIfRange, modified)
	}
}

// forwardPeer sets what the origin learns of the client. A trusted peer's
// word is kept and extended, anybody else's replaced.
func (x *exchange) forwardPeer(dst *message.Fields) {
	if !x.route.KeepForwarded {
		for _, id := range impliedFields {
			if id != message.FieldForwarded || !x.trusted {
				dst.Delete(id) // not in the key, whoever says it; the scheme is, and is set below
			}
		}
		if !x.trusted {
			dst.Delete(message.FieldXForwardedFor)
			dst.Delete(message.FieldXRealIP)
		}
	}
	peer := x.peer.Addr()
	if x.trusted && dst.Has(message.FieldForwarded) {
		// RFC 7239 section 4: a proxy appends its own element.
		dst.AddKnown(message.FieldForwarded, forwardedElement(peer))
	}
	if peer.IsValid() {
		dst.AddKnown(message.FieldXForwardedFor, x.peerName())
	}
	if !dst.Has(message.FieldXForwardedProto) {
		x.schemeBuf = append(x.schemeBuf[:0], x.req.Scheme...)
		dst.AddKnown(message.FieldXForwardedProto, x.schemeBuf)
	}
	if !dst.Has(message.FieldXForwardedHost) {
		dst.AddKnown(message.FieldXForwardedHost, x.req.Authority)
	}
}

// peerName is the peer's address as text: of the connection, hence made once.
func (x *exchange) peerName() []byte {
	if len(x.peerBuf) == 0 {
		x.peerBuf = x.peer.Addr().AppendTo(x.peerBuf)
	}
	return x.peerBuf
}

// forwardedElement is RFC 7239's "for=": IPv6 addresses in brackets, quoted.
func forwardedElement(a netip.Addr) []byte {
	switch {
	case !a.IsValid():
		return []byte("for=unknown")
	case a.Is6() && !a.Is4In6():
		return []byte(`for="[` + a.String() + `]"`)
	}
	return []byte("for=" + a.Unmap().String())
}

// trustedWord takes scheme and host from a trusted peer's fields: they then
// are part of the key.
func (x *exchange) trustedWord() {
	f := &x.req.Fields
	if proto := f.Value(message.FieldXForwardedProto); len(proto) > 0 {
		switch {
		case message.EqualFoldString(proto, "https"):
			x.req.Scheme = "https"
		case message.EqualFoldString(proto, "http"):
			x.req.Scheme = "http"
		}
	}
}

// appendVia appends "1.1 name", RFC 9110 section 7.6.3.
func appendVia(dst []byte, v message.Version, name []byte) []byte {
	switch v {
	case message.HTTP10:
		dst = append(dst, "1.0 "...)
	case message.HTTP2:
		dst = append(dst, "2 "...)
	case message.HTTP11:
		dst = append(dst, "1.1 "...)
	}
	return append(dst, name...)
}

// dropTargeted takes the targeted fields out of an answer. RFC 9213 section 3:
// "However, they MAY remove it when this is undesirable". What is stored keeps
// them, for they are its terms.
func (x *exchange) dropTargeted() {
	var f message.Fields
	f.ParseLines(x.out.Block)
	if x.out.Fields != nil {
		for _, line := range x.out.Fields.All() {
			f.AddID(line.ID, line.Name, line.Value)
		}
	}
	for _, name := range x.route.Policy.Targeted {
		f.DeleteName(name)
	}
	x.out.Block, x.out.Fields = nil, &f
}

// isH2C reports whether an Upgrade asks for cleartext HTTP/2. RFC 9113 section
// 3.1 has withdrawn it, and what follows it would be a way past every check.
func isH2C(upgrade []byte) bool {
	for token := range bytes.SplitSeq(upgrade, []byte{','}) {
		if message.EqualFoldString(bytes.TrimSpace(token), "h2c") {
			return true
		}
	}
	return false
}

// loops reports whether the request came through here before. RFC 8586
// section 2: the field lets CDNs detect "when a request has looped".
func (x *exchange) loops() bool {
	f := &x.req.Fields
	for i := f.Next(message.FieldCDNLoop, 0); i >= 0; i = f.Next(message.FieldCDNLoop, i+1) {
		for part := range bytes.SplitSeq(f.All()[i].Value, []byte{','}) {
			id, _, _ := bytes.Cut(part, []byte{';'})
			if bytes.Equal(bytes.TrimSpace(id), x.p.loopID) {
				return true
			}
		}
	}
	return false
}

// cleanResponse makes an origin's response fields fit to store or relay, and
// adds the Date it lacks. RFC 9110 section 6.6.1: "A recipient with a clock
// that receives a response message without a Date header field MUST record
// the time it was received and append a corresponding Date header field".
func (x *exchange) cleanResponse() {
	f := &x.resp.Fields
	statemachine.StripHopByHop(f, false)
	f.Delete(message.FieldContentLength)
	x.takeTags()
	if !f.Has(message.FieldDate) && x.resp.Status >= 200 {
		x.date = statemachine.AppendDate(x.date[:0], int64(x.now())/message.Second)
		f.AddKnown(message.FieldDate, x.date)
	}
}

// extra builds the lines that are not part of any stored head: Age where it
// is ours to compute, Via, Cache-Status.
func (x *exchange) extra(s *message.Stored, v message.Version) []byte {
	b := x.extraBuf[:0]
	if s != nil {
		b = append(b, "Age: "...)
		b = strconv.AppendInt(b, max(0, s.CurrentAge(x.at)/message.Second), 10)
		b = append(b, "\r\n"...)
	}
	b = append(b, "Via: "...)
	b = appendVia(b, v, x.p.viaName)
	b = append(b, "\r\nCache-Status: "...)
	b = x.m.Decision().AppendCacheStatus(b, x.p.statusName, x.at)
	b = append(b, "\r\n"...)
	x.extraBuf = b
	return b
}
