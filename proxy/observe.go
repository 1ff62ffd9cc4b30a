package proxy

import (
	"net/netip"
	"time"

	"edge/cache/statemachine"
	"edge/message"
)

// Record is what is known of an exchange when it is over. Bytes in it are the
// exchange's: an Observer copies what it keeps.
type Record struct {
	Start    message.Instant
	Duration time.Duration
	// Peer is the address the connection came from.
	Peer netip.AddrPort
	Req  *message.Request
	// Route's origin; empty where no route matched.
	Origin string
	// Endpoint is the address the response came from, empty without one.
	Endpoint string
	// Status is what the client was sent; 0: nothing.
	Status int
	// Bytes of content sent to the client.
	Bytes int64
	// Decision is why.
	Decision *statemachine.Decision
	Delivery statemachine.Delivery
	// Err is what went wrong on the way, nil if nothing.
	Err error
	// Tunnel: the connection became another protocol's.
	Tunnel bool
}

// Observer is told of every exchange: metrics and the access log. It must be
// quick, must not block, and is called on many goroutines at once.
type Observer interface {
	// Exchange is called once for each exchange, after its last byte.
	Exchange(r *Record)
	// Refused is called for a request that the codec refused to parse.
	Refused(peer netip.AddrPort, status int, reason string)
	// Origin is called for each attempt at an origin: how long until the
	// final head (or failure), on a reused connection or not.
	Origin(origin string, d time.Duration, reused bool, err error)
	// Panic is called for a panic that ended one exchange.
	Panic(where string, value any, stack []byte)
}

type noObserver struct{}

func (noObserver) Exchange(*Record)                          {}
func (noObserver) Refused(netip.AddrPort, int, string)       {}
func (noObserver) Origin(string, time.Duration, bool, error) {}
func (noObserver) Panic(string, any, []byte)                 {}
