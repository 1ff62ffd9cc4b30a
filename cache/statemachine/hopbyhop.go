package statemachine

import "edge/message"

// maxInlineOptions is how many connection options of unknown names are kept
// without a map; ordinary messages have none or one.
const maxInlineOptions = 8

// connectionOptions is the set of field names that Connection lists. However
// many there are, asking costs the same, so that the work for a head stays
// linear in its size.
type connectionOptions struct {
	known  [4]uint64 // by FieldID, which is a byte
	inline [maxInlineOptions][]byte
	n      int
	more   map[string]struct{} // lower case
}

// read collects the options of every Connection line.
func (o *connectionOptions) read(f *message.Fields) {
	for i := f.Next(message.FieldConnection, 0); i >= 0; i = f.Next(message.FieldConnection, i+1) {
		l := list{rest: f.All()[i].Value}
		for name, ok := l.next(); ok; name, ok = l.next() {
			o.add(name)
		}
	}
}

func (o *connectionOptions) add(name []byte) {
	if id := message.LookupFieldID(name); id != message.FieldOther {
		o.known[id>>6] |= 1 << (id & 63)
		return
	}
	if o.n < maxInlineOptions {
		o.inline[o.n] = name
		o.n++
		return
	}
	if o.more == nil {
		o.more = make(map[string]struct{})
	}
	o.more[string(appendLower(nil, name))] = struct{}{}
}

func (o *connectionOptions) has(x *message.Field) bool {
	if x.ID != message.FieldOther {
		return o.known[x.ID>>6]&(1<<(x.ID&63)) != 0 && !isEndToEnd(x.ID)
	}
	for _, name := range o.inline[:o.n] {
		if message.EqualFold(name, x.Name) {
			return true
		}
	}
	if o.more == nil {
		return false
	}
	_, ok := o.more[string(appendLower(nil, x.Name))]
	return ok
}

// isEndToEnd lists fields that Connection cannot take away, because the
// message would mean something else without them. RFC 9110 section 7.6.1: "A
// sender MUST NOT send a connection option corresponding to a field that is
// intended for all recipients of the content. For example, Cache-Control is
// never appropriate as a connection option". Nor may a client take CDN-Loop
// away (RFC 8586 section 3: "CDNs cannot allow customers to modify or remove
// it"), without which nodes behind this one could not tell a loop.
func isEndToEnd(id message.FieldID) bool {
	switch id {
	case message.FieldHost, message.FieldContentLength, message.FieldContentEncoding, message.FieldContentRange,
		message.FieldContentType, message.FieldCacheControl, message.FieldVary, message.FieldDate, message.FieldCDNLoop:
		return true
	}
	return false
}

// isHopByHop lists the fields that concern one connection whether or not
// Connection names them: "intermediaries SHOULD remove or replace fields that
// are known to require removal before forwarding, whether or not they appear as
// a connection-option ... Proxy-Connection, Keep-Alive, TE, Transfer-Encoding,
// Upgrade" (RFC 9110 section 7.6.1), and HTTP2-Settings (RFC 7540 section
// 3.2.1).
func isHopByHop(id message.FieldID) bool {
	switch id {
	case message.FieldConnection, message.FieldProxyConnection, message.FieldKeepAlive, message.FieldTE,
		message.FieldTransferEncoding, message.FieldUpgrade, message.FieldHTTP2Settings:
		return true
	}
	return false
}

var trailersCoding = []byte("trailers")

// StripHopByHop removes from f, before the message is forwarded, Connection,
// every field it names, and the other fields that concern one connection only.
// RFC 9110 section 7.6.1: "Intermediaries MUST parse a received Connection
// header field before a message is forwarded and, for each connection-option in
// this field, remove any header or trailer field(s) from the message with the
// same name as the connection-option, and then remove the Connection header
// field itself". Fields without which the message would mean something else
// (Host, Content-Length, Cache-Control ...) stay whatever Connection says.
//
// With keepTrailersTE, a TE that has the member "trailers" is replaced by that
// member alone, and Trailer stays: trailers are forwarded. Without it both go.
func StripHopByHop(f *message.Fields, keepTrailersTE bool) {
	var options connectionOptions
	if f.Has(message.FieldConnection) {
		options.read(f)
	}
	trailers := keepTrailersTE && acceptsTrailers(f)
	f.DeleteFunc(func(x *message.Field) bool {
		return isHopByHop(x.ID) || options.has(x) || (x.ID == message.FieldTrailer && !keepTrailersTE)
	})
	if trailers {
		f.AddKnown(message.FieldTE, trailersCoding)
	}
}

func acceptsTrailers(f *message.Fields) bool {
	for i := f.Next(message.FieldTE, 0); i >= 0; i = f.Next(message.FieldTE, i+1) {
		l := list{rest: f.All()[i].Value}
		for coding, ok := l.next(); ok; coding, ok = l.next() {
			if message.EqualFold(coding, trailersCoding) {
				return true
			}
		}
	}
	return false
}
