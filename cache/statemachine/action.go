package statemachine

import "edge/message"

// Instant is message's, so that section 4.2's arithmetic reads here as it does
// there.
type Instant = message.Instant

// Duration is message's, likewise.
type Duration = message.Duration

// ActionKind says what the driver does next. Each has one handler in the
// driver, and is followed by exactly one Event.
type ActionKind uint8

// The actions.
const (
	// ActLookup: look the key up; answer with EventFound.
	ActLookup ActionKind = iota
	// ActAcquire: take the key's lock or learn what became of it; answer
	// with EventLock. With Action.NoWait only try.
	ActAcquire
	// ActFetch: send the request to the origin in the form Action.Form says;
	// answer with EventResponse at the final head, or EventFailed. Interim
	// responses go to the client on the way.
	ActFetch
	// ActFill: begin storing the response just received under Action.Stored,
	// on a goroutine of its own that owns the permit from then on; answer
	// with EventFill.
	ActFill
	// ActServeFill: send the client what the fill at hand brings, as it
	// comes; answer with EventDelivered.
	ActServeFill
	// ActServe: send the client the chosen stored response; answer with
	// EventDelivered. With Action.Refresh start a background refresh first.
	ActServe
	// ActRelay: send the client the response just received, storing nothing;
	// answer with EventDelivered.
	ActRelay
	// ActFreshen: give the chosen entry the head Action.Stored (nil: mark it
	// invalidated); answer with EventFreshened.
	ActFreshen
	// ActInvalidate: invalidate the URIs that InvalidationTargets names;
	// answer with EventInvalidated and the response, still at hand.
	ActInvalidate
	// ActFail: send an answer of our own with Action.Status; answer with
	// EventDelivered.
	ActFail
	// ActDone: the exchange is over. No event follows.
	ActDone

	numActions
)

var actionNames = [numActions]string{"Lookup", "Acquire", "Fetch", "Fill", "ServeFill", "Serve", "Relay", "Freshen", "Invalidate", "Fail", "Done"}

// String returns the action's name as in the diagram.
func (k ActionKind) String() string { return actionNames[k] }

// PermitMove says what becomes of the permit (the lock's, see cache/lock)
// before an action runs. The machine says it exactly once per permit.
type PermitMove uint8

// The moves.
const (
	PermitKeep   PermitMove = iota // nothing changes
	PermitHanded                   // the fill owns it now: the driver forgets it
	PermitStored                   // release: look up again
	PermitGaveUp                   // release: cannot be shared, do not queue
	PermitFailed                   // release: compete again
)

var permitNames = [...]string{"", "handed to the fill", "released: stored", "released: gave up", "released: failed"}

// Form is the form in which a request goes to the origin.
type Form uint8

// The forms.
const (
	// FormAsIs: the client's request with its conditions and range.
	FormAsIs Form = iota
	// FormPlain: without conditions and range, so that the answer is whole.
	FormPlain
	// FormValidating: FormPlain with the validators of the chosen response.
	FormValidating
	// FormCompleting: FormPlain with a Range for Action.Missing, and If-Range
	// with the strong validator of the response whose parts are held.
	FormCompleting
	// FormRanged: FormPlain with a Range for Action.Missing, which is the
	// client's, widened.
	FormRanged
)

// Action is what the driver does next.
type Action struct {
	Kind   ActionKind
	Permit PermitMove
	Form   Form // ActFetch
	Reason Reason
	// Chosen is the index of the chosen response among the candidates of the
	// last EventFound; -1 where none is.
	Chosen int
	// Refresh: start a background refresh of the chosen response.
	Refresh bool
	// NoWait: try the lock only.
	NoWait bool
	// Share: followers may be given this fill.
	Share bool
	// Remember: keep a hit-for-miss for the key: Action.Stored.
	Remember bool
	// Missing, for FormCompleting and FormRanged: the bytes to ask for. For an
	// ActFill with Part: where in the representation the content lies.
	Missing Range
	// Run, for ActAcquire: the bytes to be fetched, where the lock is on their
	// chunks of Chunk bytes and not on the key; empty for the key. The first
	// chunk decides what becomes of it; a leader leads as many of the others as
	// nobody else does, up to the first, and says so in Event.Led.
	Run   Range
	Chunk int64
	// Apart, for ActAcquire with a Run: the run's own, whatever is being filled
	// for the whole key.
	Apart bool
	// Cut, for ActRelay: the bytes that the client asked for, where the answer
	// at hand is a part that holds more: only they are sent, and the rest is
	// not waited for. Empty: all of the answer.
	Cut Range
	// Drop, for ActFail: the chosen response is of a representation that is no
	// more: it is to be removed.
	Drop bool
	// Part, for ActFill: the content is a part. Chosen is then the response
	// whose held parts it completes, or -1.
	Part bool
	// Status is the answer of our own.
	Status int
	// Stored is the head to fill, freshen with, or remember.
	Stored *message.Stored
	// Variant, for ActAcquire: the nominated fields of this request under the
	// Vary at hand, which with the key name the lock; nil: the key alone.
	Variant []byte
}

// EventKind says what happened.
type EventKind uint8

// The events.
const (
	EventFound EventKind = iota
	EventLock
	EventResponse
	EventFailed
	EventFill
	EventFreshened
	EventInvalidated
	EventDelivered

	numEvents
)

var eventNames = [numEvents]string{"Found", "Lock", "Response", "Failed", "Fill", "Freshened", "Invalidated", "Delivered"}

// String returns the event's name.
func (k EventKind) String() string { return eventNames[k] }

// LockResult is what waiting for a lock came to.
type LockResult uint8

// The lock results, see cache/lock.
const (
	LockLeader    LockResult = iota // we hold the permit
	LockStreaming                   // a response is streaming: Event.Flight
	LockStored                      // look up again
	LockGaveUp                      // not shareable: do not queue
	LockFailed                      // the leader failed
	LockTooOld                      // the permit is ours, taken over from a leader that takes too long
	LockAlone                       // waited too long, may fetch alone
	LockTimedOut                    // waited too long
	LockBusy                        // NoWait: somebody leads
	LockCanceled                    // the client has gone, or we shut down
)

// Failure is why no response came from the origin.
type Failure uint8

// The failures.
const (
	FailureConnection  Failure = iota // refused, reset, closed, TLS
	FailureTimeout                    // connect, first byte, between bytes
	FailureMalformed                  // what came is no HTTP response
	FailureUnavailable                // no endpoint, or the pool is exhausted
	FailureClient                     // the client's request content broke off
	FailureLoop                       // the request came through here before
)

// Delivery is how sending to the client ended.
type Delivery uint8

// The deliveries.
const (
	Complete   Delivery = iota
	Truncated           // the content broke off; the cut was made visible
	ClientGone          // the client closed first
	Unreadable          // nothing was sent: the store could not read, or the fill died
)

// Event is what happened, in answer to an Action.
type Event struct {
	Kind EventKind
	// Candidates, for EventFound: every stored response under the key, in
	// the store's order. Owned by the driver; must stay valid until the next
	// EventFound or the end.
	Candidates []*message.Stored
	// Held, for EventFound: for candidates that hold parts only, the ranges
	// held, by the candidate's index. nil where no candidate does.
	Held [][]Range
	// Uses, for EventFound without candidates, and only where the policy has
	// MinUses: how often the key was asked for within its window, this time
	// included.
	Uses int
	Lock LockResult
	// Led, for LockLeader and LockTooOld where a Run was to be acquired: the
	// beginning of it that is ours to fetch.
	Led Range
	// Flight, for LockStreaming: the head being filled.
	Flight *message.Stored
	// Part, for LockStreaming: where the content lies that is being filled,
	// where it is a part.
	Part Range
	// Reached, for LockStreaming: what can be read now of what is being filled.
	Reached Range
	// Ignored, for LockStreaming: a range was asked for and the whole came.
	Ignored  bool
	Response *message.Response
	Failure  Failure
	// OK, for EventFill: storing has begun.
	OK       bool
	Delivery Delivery
}
