package statemachine

import "edge/message"

// Policy is what a route decides where RFC 9111 leaves the choice to the
// cache or the operator overrides it. Read-only once in use: it is shared by
// every exchange of the route. DefaultPolicy caches by the RFC.
type Policy struct {
	// Disabled: nothing is looked up nor stored; everything is passed.
	Disabled bool
	// ObeyRequest: the request directives max-age, max-stale, min-fresh,
	// no-cache and no-store count. only-if-cached always counts.
	ObeyRequest bool
	// Targeted lists targeted cache control fields (RFC 9213), the first that
	// is present and valid rules.
	Targeted [][]byte

	// DefaultTTL applies where the origin says nothing; <0: no default.
	DefaultTTL Duration
	// StatusTTL is DefaultTTL by status code; may be nil.
	StatusTTL map[int]Duration
	// MaxTTL caps what the origin says; <0: no cap.
	MaxTTL Duration
	// Override: DefaultTTL, StatusTTL and the stale windows replace what the
	// origin says, no-store, no-cache and private included.
	Override bool
	// HeuristicMax caps a heuristic lifetime (section 4.2.2).
	HeuristicMax Duration

	// StaleWhileRevalidate and StaleIfError apply where the origin says
	// nothing; the Max ones cap what it says, <0: no cap.
	StaleWhileRevalidate, MaxStaleWhileRevalidate Duration
	StaleIfError, MaxStaleIfError                 Duration
	// StaleDisconnected is for how long past its lifetime a response may be
	// served while the origin cannot be reached.
	StaleDisconnected Duration

	// SetCookie says what to do with a response that sets a cookie.
	SetCookie SetCookiePolicy
	// MaxObject is the largest body stored, in bytes; <=0: the store's limit.
	MaxObject int64
	// MinUses is how often a key must be asked for, within MinUsesWindow, before
	// a response is stored under it; <=1: none is refused for that.
	MinUses       int
	MinUsesWindow Duration
	// LockTries is how many failed leaders a waiter outlives before it fails
	// as they did.
	LockTries int
	// HitForMiss is how long a key is remembered as not shareable, or its
	// ranges as not to be kept.
	HitForMiss Duration
	// Chunk is what ranges are widened to multiples of, in bytes, when they are
	// asked for; <=0: they are asked for as they are. Best a multiple of the
	// store's own chunks, which is why no configuration sets it: it is DefaultChunk
	// but for tests, whose bodies are small.
	Chunk int64
}

// DefaultChunk is Policy.Chunk's default, in bytes: a small range costs little,
// and no store keeps larger pieces.
const DefaultChunk = 1 << 20

// SetCookiePolicy says when a response with Set-Cookie is stored.
type SetCookiePolicy uint8

// The Set-Cookie policies.
const (
	// SetCookieExplicit stores it only if public, s-maxage or a targeted
	// field allows sharing, and then replays it.
	SetCookieExplicit SetCookiePolicy = iota
	// SetCookieStore stores and replays it.
	SetCookieStore
	// SetCookieStrip stores it without its Set-Cookie fields.
	SetCookieStrip
)

// DefaultPolicy returns the policy of a route without a cache block.
func DefaultPolicy() *Policy {
	return &Policy{
		Targeted:                [][]byte{[]byte("CDN-Cache-Control")},
		DefaultTTL:              -1,
		MaxTTL:                  -1,
		HeuristicMax:            24 * 3600 * message.Second,
		MaxStaleWhileRevalidate: -1,
		MaxStaleIfError:         -1,
		MinUses:                 1,
		MinUsesWindow:           3600 * message.Second,
		StaleDisconnected:       3600 * message.Second,
		LockTries:               2,
		HitForMiss:              30 * message.Second,
		Chunk:                   DefaultChunk,
	}
}
