package statemachine

import (
	"bytes"

	"edge/message"
)

// newStored makes the head that is stored for a response to req: sent is when
// the request went out (request_time), now when the response's head came
// (response_time). Nothing in it points into req or resp.
func newStored(req *message.Request, resp *message.Response, d *responseDirectives, p *Policy, sent, now Instant) *message.Stored {
	s := &message.Stored{
		Status:       resp.Status,
		RequestTime:  sent,
		ResponseTime: now,
		Length:       resp.Length,
		Reason:       bytes.Clone(resp.Reason),
	}
	if resp.NoBody {
		s.Length = 0
	}
	s.Nominated, _ = nominate(req, &resp.Fields)
	if req.Fields.Has(message.FieldAuthorization) {
		s.Terms.Flags |= message.TermRequestAuthorized
	}
	kept := newHeadFilter(&resp.Fields, d, p)
	s.Head = kept.appendHead(make([]byte, 0, kept.headLen(&resp.Fields)), &resp.Fields, now)
	deriveTerms(s, &resp.Fields, d, p)
	return s
}

// freshenedHead makes the head that replaces old's after a response without
// content (304, or 200 to HEAD) that says that old is still current. RFC 9111
// section 3.2: "the cache MUST add each header field in the provided response
// to the stored response, replacing field values that are already present,
// with the following exceptions: Header fields excepted from storage in
// Section 3.1, Header fields that the cache's stored response depends upon ...,
// Header fields that are automatically processed and removed by the recipient
// ..., and The Content-Length header field."
//
// We keep content as it came, so no field depends on how we processed it, and
// Content-Encoding and Content-Type are updated like any other. Content-Range
// is processed (a part lies where it lies) and never updated. Status, length,
// reason phrase and nominated fields are old's.
func freshenedHead(old *message.Stored, req *message.Request, resp *message.Response, p *Policy, sent, now Instant) *message.Stored {
	s := &message.Stored{
		Status:       old.Status,
		RequestTime:  sent,
		ResponseTime: now,
		Length:       old.Length,
		Nominated:    old.Nominated,
		Reason:       old.Reason,
	}
	s.Terms.Flags = old.Terms.Flags & (stickyFlags &^ (message.TermInvalidated | message.TermSoftPurged))
	if req.Fields.Has(message.FieldAuthorization) {
		s.Terms.Flags |= message.TermRequestAuthorized
	}
	merged := mergedFields(old, resp)
	d := parseResponseDirectives(&merged, p.Targeted)
	if resp.Fields.Has(message.FieldSetCookie) && p.SetCookie == SetCookieExplicit && !sharesCookies(&d) {
		merged.Delete(message.FieldSetCookie) // section 3's caution holds for updates too
	}
	kept := newHeadFilter(&merged, &d, p)
	s.Head = kept.appendHead(make([]byte, 0, kept.headLen(&merged)), &merged, now)
	if age, ok := resp.Fields.Get(message.FieldAge); ok {
		merged.AddKnown(message.FieldAge, age)
	}
	deriveTerms(s, &merged, &d, p)
	return s
}

// mergedFields are old's fields updated from resp. A name's new lines stand
// together where the first of the old ones stood, new names at the end.
func mergedFields(old *message.Stored, resp *message.Response) message.Fields {
	var was, merged message.Fields
	old.Fields(&was)
	update := updateFilter(&resp.Fields)
	// The old Date is not the date of this message: without a new one the time
	// of receipt counts.
	was.Delete(message.FieldDate)
	replaced := make(map[string]bool)
	for _, x := range resp.Fields.All() {
		if update(&x) {
			replaced[string(appendLower(nil, x.Name))] = false
		}
	}
	for _, x := range was.All() {
		key := appendLower(nil, x.Name)
		written, ok := replaced[string(key)]
		if !ok {
			merged.AddID(x.ID, x.Name, x.Value)
		} else if !written {
			replaced[string(key)] = true
			addLines(&merged, &resp.Fields, x.Name)
		}
	}
	for _, x := range resp.Fields.All() {
		key := appendLower(nil, x.Name)
		if written, ok := replaced[string(key)]; ok && !written {
			replaced[string(key)] = true
			addLines(&merged, &resp.Fields, x.Name)
		}
	}
	return merged
}

func addLines(to, from *message.Fields, name []byte) {
	for i := from.NextName(name, 0); i >= 0; i = from.NextName(name, i+1) {
		x := &from.All()[i]
		to.AddID(x.ID, x.Name, x.Value)
	}
}

// updateFilter says which of a 304's fields update what is stored.
func updateFilter(f *message.Fields) func(*message.Field) bool {
	var options connectionOptions
	options.read(f)
	return func(x *message.Field) bool {
		return x.ID != message.FieldContentRange && !isExceptedFromStorage(x.ID) && !options.has(x)
	}
}

// invalidatedHead is old, to be validated before its next use. RFC 9111 section
// 4.4: "mark them as "invalid" and in need of a mandatory validation before they
// can be sent in response to a subsequent request." It shares old's bytes.
func invalidatedHead(old *message.Stored) *message.Stored {
	s := *old
	s.Terms.Flags |= message.TermInvalidated
	return &s
}

// hitForMiss is the memory, until it stops being fresh, that this key's
// responses cannot be shared.
func hitForMiss(now Instant, p *Policy) *message.Stored {
	return &message.Stored{
		RequestTime:  now,
		ResponseTime: now,
		Terms:        message.Terms{FreshnessLifetime: p.HitForMiss, Date: now, Flags: message.TermHitForMiss},
	}
}

// rangesAsIs is the memory that parts of this key's response cannot be kept.
func rangesAsIs(now Instant, p *Policy) *message.Stored {
	s := hitForMiss(now, p)
	s.Terms.Flags |= message.TermRangesAsIs
	return s
}

// isExceptedFromStorage lists what RFC 9111 section 3.1 leaves out of what is
// stored ("Proxy-Authenticate, Proxy-Authentication-Info, and
// Proxy-Authorization" among them), Age, which is computed on every use (section
// 4), and the fields that frame one message.
func isExceptedFromStorage(id message.FieldID) bool {
	switch id {
	case message.FieldAge, message.FieldContentLength, message.FieldTrailer,
		message.FieldProxyAuthenticate, message.FieldProxyAuthenticationInfo, message.FieldProxyAuthorization:
		return true
	}
	return isHopByHop(id)
}

// headFilter says which of a response's fields are stored.
type headFilter struct {
	options connectionOptions
	d       *responseDirectives
	strip   bool // Set-Cookie is not kept
}

func newHeadFilter(f *message.Fields, d *responseDirectives, p *Policy) headFilter {
	k := headFilter{d: d, strip: p.SetCookie == SetCookieStrip}
	if f.Has(message.FieldConnection) {
		k.options.read(f)
	}
	return k
}

func (k *headFilter) keeps(x *message.Field) bool {
	if isExceptedFromStorage(x.ID) || (k.strip && x.ID == message.FieldSetCookie) {
		return false
	}
	return !k.options.has(x) && !qualified(k.d, x.ID, x.Name)
}

// qualified reports whether no-cache or private lists the field. RFC 9111
// section 5.2.2.7: "a shared cache MUST NOT store the listed header fields";
// 5.2.2.4: it may use the response "if the listed header fields are excluded
// from the subsequent response". name may be nil where id is a known one.
func qualified(d *responseDirectives, id message.FieldID, name []byte) bool {
	for _, names := range [...][][]byte{d.noCacheFields, d.privateFields} {
		for _, listed := range names {
			if id != message.FieldOther && message.LookupFieldID(listed) == id ||
				id == message.FieldOther && message.EqualFold(listed, name) {
				return true
			}
		}
	}
	return false
}

const lineOverhead = len(": \r\n")

// dateLine is how long a Date line of our own is.
const dateLine = len("Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n")

// headLen is how long the head will be, at most by dateLine too long.
func (k *headFilter) headLen(f *message.Fields) int {
	n := dateLine
	for i := range f.All() {
		if x := &f.All()[i]; k.keeps(x) {
			n += len(x.Name) + len(x.Value) + lineOverhead
		}
	}
	return n
}

// appendHead appends the stored lines. RFC 9110 section 6.6.1: "A recipient
// with a clock that receives a response message without a Date header field
// MUST record the time it was received and append a corresponding Date header
// field to the message's header section if it is cached or forwarded
// downstream."
func (k *headFilter) appendHead(dst []byte, f *message.Fields, now Instant) []byte {
	for i := range f.All() {
		if x := &f.All()[i]; k.keeps(x) {
			dst = message.AppendLine(dst, x.Name, x.Value)
		}
	}
	if !f.Has(message.FieldDate) {
		dst = append(dst, "Date: "...)
		dst = AppendDate(dst, int64(now)/message.Second)
		dst = append(dst, "\r\n"...)
	}
	return dst
}
