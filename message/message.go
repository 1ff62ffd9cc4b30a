// Package message holds the nouns that every other room speaks in: request,
// response, fields, the head of a stored response, and the instant.
//
// Ownership. Bytes in a Request or Response that a codec filled are slices
// into that codec's read buffer. They are valid only on the goroutine that
// runs the exchange and only until the next message is read from the same
// connection. Whatever leaves that goroutine (a fill, a background refresh,
// the access log) takes a Clone, whose bytes live in one arena of their own.
//
// The package decides nothing: no caching rule and no framing rule lives here.
package message

// Instant is a point in time: nanoseconds since the Unix epoch, where the
// wall clock was read once at process start and everything after is that
// reading plus monotonic time elapsed. It never goes backwards.
type Instant int64

// Duration is a span of time in nanoseconds, as time.Duration; it has its own
// name so that arithmetic with Instant stays typed.
type Duration = int64

// Second is one second as a Duration.
const Second Duration = 1e9

// Sub returns i - j as a Duration.
func (i Instant) Sub(j Instant) Duration { return Duration(i - j) }

// Add returns i + d.
func (i Instant) Add(d Duration) Instant { return i + Instant(d) }

// Version is an HTTP version as major*10 + minor.
type Version uint8

// The versions the codecs speak.
const (
	HTTP10 Version = 10
	HTTP11 Version = 11
	HTTP2  Version = 20
)

// String returns the version as in a status line, or as in Via without the
// name for the caller that cuts it.
func (v Version) String() string {
	switch v {
	case HTTP10:
		return "HTTP/1.0"
	case HTTP11:
		return "HTTP/1.1"
	case HTTP2:
		return "HTTP/2"
	}
	return "HTTP/?"
}

// The lengths of a body that are not a count of bytes.
const (
	// LengthUnknown: there is a body whose length is not announced (chunked,
	// delimited by close, or an HTTP/2 stream without Content-Length).
	LengthUnknown int64 = -1
)

// TargetForm is the form of a request target, RFC 9112 section 3.2.
type TargetForm uint8

// The forms of a request target.
const (
	OriginForm    TargetForm = iota // "/path?query"
	AbsoluteForm                    // "http://authority/path?query"
	AsteriskForm                    // "*", OPTIONS only
	AuthorityForm                   // "host:port", CONNECT only; the codecs refuse it
)

// Request is the head of a request, as parsed and checked by a codec.
//
// Owner: the exchange's goroutine. Reused from one request to the next on a
// connection; Reset forgets everything but the capacity.
type Request struct {
	// Method is the request method, case-sensitive. Known methods are
	// constants and cost no allocation.
	Method string
	// Scheme is "http" or "https": the listener's, or a trusted peer's word.
	Scheme string
	// Authority is host[:port], lower-cased, without the scheme's default
	// port. From the absolute form, else from Host, else from the listener's
	// default host. Never empty once routed.
	Authority []byte
	// Target is path and query as received ("/a?b"), raw: nothing decoded,
	// nothing reordered. "*" for the asterisk form. The absolute form is cut
	// down to its path and query, "/" if it had none.
	Target []byte
	// PathLen is the length of the path within Target; a query, if any,
	// begins with the '?' at that offset.
	PathLen int
	Form    TargetForm
	Version Version
	// Fields are the header fields in the order received, Host included.
	Fields Fields
	// Length is the body's length in bytes; 0 where there is none;
	// LengthUnknown where it is chunked.
	Length int64
	// Chunked says that the body arrives in the chunked coding.
	Chunked bool
	// ExpectContinue says that the client waits for 100 (Continue).
	ExpectContinue bool
	// KeepAlive says that the client lets the connection persist.
	KeepAlive bool
	// Upgrade is the value of Upgrade where Connection names it, else nil.
	Upgrade []byte
	// Content is the body whole, coded as it came, where it was read before
	// the request went anywhere: it then counts for the key, and can be sent
	// more than once. nil where it is still to be read, or there is none.
	Content []byte
}

// Reset empties r, keeping capacity.
func (r *Request) Reset() {
	f := r.Fields
	f.Reset()
	*r = Request{Fields: f}
}

// Path returns the path part of the target, raw.
func (r *Request) Path() []byte { return r.Target[:r.PathLen] }

// Query returns the query part without its '?', and whether there is one.
func (r *Request) Query() ([]byte, bool) {
	if r.PathLen >= len(r.Target) {
		return nil, false
	}
	return r.Target[r.PathLen+1:], true
}

// HasBody reports whether a body follows the head.
func (r *Request) HasBody() bool { return r.Length != 0 }

// Clone returns a copy of r whose bytes live in one arena of their own.
func (r *Request) Clone() *Request {
	c := *r
	a := newArena(len(r.Authority) + len(r.Target) + len(r.Upgrade) + len(r.Content) + r.Fields.bytes())
	c.Authority = a.copy(r.Authority)
	c.Target = a.copy(r.Target)
	c.Upgrade = a.copy(r.Upgrade)
	c.Content = a.copy(r.Content)
	c.Fields = r.Fields.clone(&a)
	return &c
}

// Response is the head of a response, as parsed and checked by a codec.
// Owner and lifetime as for Request.
type Response struct {
	Status  int
	Reason  []byte
	Version Version
	// Fields are the header fields in the order received.
	Fields Fields
	// Length is the content's announced length in bytes (also where no
	// content follows: HEAD, 304), or LengthUnknown.
	Length int64
	// NoBody says that no content follows whatever Length announces: HEAD,
	// 1xx, 204, 304.
	NoBody bool
	// Chunked says that the content arrives in the chunked coding. With
	// neither Chunked nor a Length, the content ends with the connection.
	Chunked bool
	// KeepAlive says that the peer lets the connection persist.
	KeepAlive bool
}

// Reset empties r, keeping capacity.
func (r *Response) Reset() {
	f := r.Fields
	f.Reset()
	*r = Response{Fields: f}
}

// Clone returns a copy of r whose bytes live in one arena of their own.
func (r *Response) Clone() *Response {
	c := *r
	a := newArena(len(r.Reason) + r.Fields.bytes())
	c.Reason = a.copy(r.Reason)
	c.Fields = r.Fields.clone(&a)
	return &c
}

// Method names, RFC 9110 section 9, RFC 5789 and RFC 10008.
const (
	MethodGet     = "GET"
	MethodHead    = "HEAD"
	MethodPost    = "POST"
	MethodPut     = "PUT"
	MethodDelete  = "DELETE"
	MethodConnect = "CONNECT"
	MethodOptions = "OPTIONS"
	MethodTrace   = "TRACE"
	MethodPatch   = "PATCH"
	MethodQuery   = "QUERY"
	MethodPurge   = "PURGE"
)

// InternMethod returns b as a string, without allocating for known methods.
func InternMethod(b []byte) string {
	switch string(b) { // the compiler compares without converting
	case MethodGet:
		return MethodGet
	case MethodHead:
		return MethodHead
	case MethodPost:
		return MethodPost
	case MethodPut:
		return MethodPut
	case MethodDelete:
		return MethodDelete
	case MethodConnect:
		return MethodConnect
	case MethodOptions:
		return MethodOptions
	case MethodTrace:
		return MethodTrace
	case MethodPatch:
		return MethodPatch
	case MethodQuery:
		return MethodQuery
	case MethodPurge:
		return MethodPurge
	}
	return string(b)
}
