package proxy

import (
	"net"

	"edge/message"
)

// Client is the side of an exchange that asked, as the exchange sees it. A
// connection of wire/h1 implements it.
//
// The request's body may be read on one goroutine while the response is
// written on another. After an error of a writing method the client is gone.
type Client interface {
	// ReadBody reads the request's content; io.EOF after a complete one.
	ReadBody(p []byte) (int, error)
	// RequestTrailers returns the trailer fields after ReadBody's io.EOF.
	RequestTrailers() *message.Fields

	// SendInterim sends a 1xx response.
	SendInterim(status int, f *message.Fields) error
	// SendHead sends the final response's head; it may be buffered.
	SendHead(h *message.Outgoing) error
	// Write sends content; it may be buffered.
	Write(p []byte) error
	// Flush sends what is buffered.
	Flush() error
	// Finish ends the content, with trailers or nil. Short of the announced
	// length it is an Abort and an error.
	Finish(trailers *message.Fields) error
	// Abort makes visible that the content broke off.
	Abort()
	// HeadSent reports whether a final head was given to SendHead.
	HeadSent() bool
	// StopBody makes ReadBody return at once, now and later, from any
	// goroutine; the connection then cannot persist.
	StopBody()
	// Gone reports whether the client is known to have closed. It does not
	// block, and says false where it cannot tell.
	Gone() bool
	// Hijack hands over the connection and the bytes read ahead, after 101.
	Hijack() (net.Conn, []byte)
}

// FileSender is what a Client may be besides, where the kernel can send content
// from a file to it. A connection of wire/h1 implements it.
type FileSender interface {
	// CanSendFile reports whether SendFile can be used for content whose length is
	// announced.
	CanSendFile() bool
	// SendFile sends n bytes at offset of an open file as content, behind what is
	// buffered. It returns how many left: fewer than n without an error means
	// that the file did not give them, and that the client is as it was.
	SendFile(fd uintptr, offset, n int64) (int64, error)
}
