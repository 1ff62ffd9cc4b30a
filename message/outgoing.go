package message

// Outgoing is a response head on its way to a client, in the parts it is made
// of, so that a codec can write a stored head without rebuilding it. The
// codec adds the framing fields (Content-Length, Transfer-Encoding,
// Connection) and nothing else; none of the parts holds them.
//
// Owner: the exchange. The codec has no use of it after SendHead returned.
type Outgoing struct {
	Status int
	// Reason is the reason phrase; nil means the standard one.
	Reason []byte
	// Block holds ready field lines ("Name: value\r\n"), typically
	// Stored.Head. May be nil.
	Block []byte
	// Fields are further field lines. May be nil.
	Fields *Fields
	// Extra holds further ready field lines: Age, Via, Cache-Status.
	Extra []byte
	// Length is the content's length in bytes: announced even where NoBody
	// is set (HEAD). LengthUnknown: chunked to an HTTP/1.1 client, ended by
	// close to an HTTP/1.0 client.
	Length int64
	// NoBody says that no content follows: HEAD, 204, 304. With NoBody and
	// LengthUnknown no Content-Length is sent.
	NoBody bool
	// Close asks that the connection end after this response.
	Close bool
	// Trailers says that trailer fields may follow (chunked only).
	Trailers bool
}

// OutgoingRequest is a request head on its way to an origin. The codec adds
// the framing fields and nothing else; Fields holds Host.
type OutgoingRequest struct {
	Method string
	// Target is written as it is: path and query, or "*".
	Target []byte
	Fields *Fields
	// Length is the body's length in bytes: 0 for none, LengthUnknown for
	// chunked.
	Length int64
	// ExpectContinue adds "Expect: 100-continue".
	ExpectContinue bool
	// Upgrade, if not nil, adds "Connection: upgrade" and "Upgrade: value".
	Upgrade []byte
}
