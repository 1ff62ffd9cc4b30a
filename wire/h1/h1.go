// Package h1 is HTTP/1.1 (RFC 9112) on a connection: as a server towards
// clients and as a client towards origins.
//
// It is strict by construction: a message that two parsers could read
// differently is refused, so that nothing can be smuggled past us or through
// us. Every refusal is a row of the table in faults.go, with the section that
// decides it. What is accepted is handed over in parts (package message) and
// what leaves is built from parts; bytes are never copied from one side's head
// to the other's.
//
// Ownership. A ServerConn or ClientConn belongs to one goroutine, with two
// exceptions: the reading of a body may run beside the writing of the other
// direction, and the methods that say so may be called from anywhere. Slices in
// a message that was read point into the connection's buffer until the next
// message is read from it.
//
// A connection given to this package is best a bare *net.TCPConn or
// *net.UnixConn: then an idle connection holds no buffer, large bodies leave by
// writev, and Gone can tell. Any other net.Conn works without these.
package h1

import (
	"fmt"
	"time"
)

// Limits are the bounds on what a peer may make us hold or do. A zero field
// stands for its default.
type Limits struct {
	// RequestLine bounds the request line in bytes, CRLF not counted; 414
	// beyond. Default 16 KiB.
	RequestLine int
	// HeadBytes bounds a whole head in bytes, start line and CRLFs counted;
	// 431 (from an origin: 502) beyond. Default 64 KiB.
	HeadBytes int
	// FieldCount bounds the field lines of a head, and those of a trailer
	// section. Default 200.
	FieldCount int
	// ChunkLine bounds the line that opens a chunk, extensions counted.
	// Default 1 KiB.
	ChunkLine int
	// TrailerBytes bounds a trailer section in bytes. Default 8 KiB.
	TrailerBytes int
	// Interims bounds the 1xx heads that one request may get from an origin.
	// Default 16.
	Interims int
	// DrainBytes bounds how much of a request body nobody wanted is read and
	// dropped before the connection is given up instead. Default 256 KiB.
	DrainBytes int64
	// BodyBytes bounds a request's content in bytes: 413 beyond. 0: no bound,
	// since content is streamed and never held whole.
	BodyBytes int64
	// Requests bounds the requests of one connection: the answer to the last
	// says that it ends. 0: no bound.
	Requests int
}

func (l Limits) withDefaults() Limits {
	orInt(&l.RequestLine, 16<<10)
	orInt(&l.HeadBytes, 64<<10)
	orInt(&l.FieldCount, 200)
	orInt(&l.ChunkLine, 1<<10)
	orInt(&l.TrailerBytes, 8<<10)
	orInt(&l.Interims, 16)
	if l.DrainBytes == 0 {
		l.DrainBytes = 256 << 10
	}
	return l
}

func orInt(v *int, def int) {
	if *v == 0 {
		*v = def
	}
}

// Timeouts bound every wait for a peer. A zero field stands for its default,
// a negative one for no bound.
type Timeouts struct {
	// Head bounds, as a server, the time from the first byte of a head to its
	// last (default 10 s); as a client, the wait for a whole response head
	// (default 60 s).
	Head time.Duration
	// Idle bounds the wait for the next request. Kept coarsely: an idle
	// connection ends between Idle and a tenth (at most a second) later.
	// Default 60 s.
	Idle time.Duration
	// BodyRead bounds each wait for more of a body, as coarsely as Idle.
	// Default 30 s as a server, 60 s as a client.
	BodyRead time.Duration
	// Write bounds the time in which a peer must take MinBodyRate times that
	// time of bytes, or all there is. Default 30 s as a server, 60 s as a
	// client.
	Write time.Duration
	// Drain bounds the reading of a request body nobody wanted, and the
	// lingering before a close. Default 3 s.
	Drain time.Duration
	// MinBodyRate is the least average rate of a body in bytes per second of
	// our waiting, looked at after a grace of RateGrace; and the least rate at
	// which a peer must take what we write. Default 240 as a server, none as a
	// client.
	MinBodyRate int64
}

// RateGrace is how long a body may be slower than MinBodyRate at first.
const RateGrace = 5 * time.Second

func (t Timeouts) withDefaults(def Timeouts) Timeouts {
	orDuration(&t.Head, def.Head)
	orDuration(&t.Idle, def.Idle)
	orDuration(&t.BodyRead, def.BodyRead)
	orDuration(&t.Write, def.Write)
	orDuration(&t.Drain, def.Drain)
	if t.MinBodyRate == 0 {
		t.MinBodyRate = def.MinBodyRate
	}
	return t
}

func orDuration(v *time.Duration, def time.Duration) {
	if *v == 0 {
		*v = def
	}
}

var serverTimeouts = Timeouts{
	Head: 10 * time.Second, Idle: 60 * time.Second, BodyRead: 30 * time.Second,
	Write: 30 * time.Second, Drain: 3 * time.Second, MinBodyRate: 240,
}

var clientTimeouts = Timeouts{
	Head: 60 * time.Second, Idle: 60 * time.Second, BodyRead: 60 * time.Second,
	Write: 60 * time.Second, Drain: 3 * time.Second,
}

// Error is a message refused: what to answer the client, and why.
type Error struct {
	// Status is the response status: what Refuse sends for a request; 502 or
	// 504 where it was an origin's message.
	Status int
	// Reason says in a few words what was wrong. It holds no bytes of the
	// peer's.
	Reason string
	// Section is the deciding section: "RFC 9112 6.3".
	Section string
	// Err is the error of the connection beneath, if any.
	Err error
}

// Error implements error.
func (e *Error) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("h1: %d: %s (%s): %v", e.Status, e.Reason, e.Section, e.Err)
	}
	return fmt.Sprintf("h1: %d: %s (%s)", e.Status, e.Reason, e.Section)
}

// Unwrap returns the error of the connection beneath, if any.
func (e *Error) Unwrap() error { return e.Err }
