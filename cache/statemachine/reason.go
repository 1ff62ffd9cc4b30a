package statemachine

// Reason says why an exchange went the way it did. It is the log field, the
// metric label and what explain prints; reasonTable maps it to Cache-Status.
type Reason uint8

// The reasons. Each names what was decided, in the words of RFC 9111 and RFC
// 9211 where they have one.
const (
	ReasonNone Reason = iota

	// Answered without going forward.
	ReasonHit                  // fresh stored response
	ReasonStaleWhileRevalidate // stale, served while a refresh runs
	ReasonStaleIfError         // stale, the origin answered with an error
	ReasonStaleDisconnected    // stale, the origin could not be reached
	ReasonStaleLocked          // stale, another request's fetch took too long
	ReasonStaleRequested       // stale, the request said max-stale

	// Went forward.
	ReasonURIMiss     // nothing stored under the key
	ReasonVaryMiss    // stored, but no variant matches
	ReasonPartialMiss // stored, but not the bytes asked for
	ReasonStale       // stored, stale
	ReasonNoCache     // stored, but must be validated before each use
	ReasonInvalidated // stored, but invalidated since
	ReasonRequest     // stored, but the request's directives refuse it
	ReasonHitForMiss  // remembered as not shareable
	ReasonUnreadable  // stored, but the store could not read it
	ReasonMethod      // the method is not one the cache answers
	ReasonBypass      // the route or the request is not for the cache
	ReasonBody        // content that the key does not name
	ReasonUpgrade     // the request asks for another protocol
	ReasonLockTimeout // waited too long for another request's fetch
	ReasonCollapsed   // served from another request's fetch

	// Not stored, though it went through the cache's hands.
	ReasonNoStore         // response no-store
	ReasonPrivate         // response private
	ReasonRequestNoStore  // request no-store
	ReasonAuthorization   // request had Authorization, nothing allows sharing
	ReasonSetCookie       // response sets a cookie, nothing allows sharing
	ReasonVaryAny         // Vary: *
	ReasonNotCacheable    // no explicit freshness, status not heuristically cacheable
	ReasonNotUnderstood   // 206, 304 or must-understand with a status not understood
	ReasonNoFreshness     // nothing says for how long, and no guess is allowed
	ReasonTooLarge        // larger than the store or the route keeps
	ReasonPart            // a 206 that is passed on, not stored
	ReasonStoreRefused    // the store could not take it
	ReasonMinUses         // the key was not asked for often enough yet
	ReasonHeadRequest     // answer to HEAD: nothing to store
	ReasonServerError     // 5xx from the origin, not stored by default
	ReasonBadNotModified  // a 304 that matches nothing stored
	ReasonConnectionError // no response from the origin
	ReasonMalformed       // what came from the origin is no response to what was asked
	ReasonTimeout         // the origin took too long
	ReasonOnlyIfCached    // only-if-cached, nothing usable stored

	numReasons
)

// fwd is the fwd parameter of Cache-Status, RFC 9211 section 2.2.
type fwd uint8

const (
	fwdNone fwd = iota // "hit"
	fwdBypass
	fwdMethod
	fwdURIMiss
	fwdVaryMiss
	fwdMiss
	fwdRequest
	fwdStale
	fwdPartial
)

var fwdNames = [...]string{fwdNone: "", fwdBypass: "bypass", fwdMethod: "method", fwdURIMiss: "uri-miss",
	fwdVaryMiss: "vary-miss", fwdMiss: "miss", fwdRequest: "request", fwdStale: "stale", fwdPartial: "partial"}

// reasonTable is the one mapping from reasons to words and to Cache-Status.
// detail is set where fwd alone would not tell the reason.
var reasonTable = [numReasons]struct {
	name   string
	fwd    fwd
	detail bool
}{
	ReasonNone:                 {"none", fwdMiss, false},
	ReasonHit:                  {"hit", fwdNone, false},
	ReasonStaleWhileRevalidate: {"stale-while-revalidate", fwdNone, true},
	ReasonStaleIfError:         {"stale-if-error", fwdNone, true},
	ReasonStaleDisconnected:    {"stale-disconnected", fwdNone, true},
	ReasonStaleLocked:          {"stale-locked", fwdNone, true},
	ReasonStaleRequested:       {"max-stale", fwdNone, true},
	ReasonURIMiss:              {"uri-miss", fwdURIMiss, false},
	ReasonVaryMiss:             {"vary-miss", fwdVaryMiss, false},
	ReasonPartialMiss:          {"partial-miss", fwdPartial, false},
	ReasonStale:                {"stale", fwdStale, false},
	ReasonNoCache:              {"no-cache", fwdStale, true},
	ReasonInvalidated:          {"invalidated", fwdStale, true},
	ReasonRequest:              {"request", fwdRequest, false},
	ReasonHitForMiss:           {"hit-for-miss", fwdMiss, true},
	ReasonUnreadable:           {"unreadable", fwdMiss, true},
	ReasonMethod:               {"method", fwdMethod, false},
	ReasonBypass:               {"bypass", fwdBypass, false},
	ReasonBody:                 {"request-content", fwdBypass, true},
	ReasonUpgrade:              {"upgrade", fwdBypass, true},
	ReasonLockTimeout:          {"lock-timeout", fwdMiss, true},
	ReasonCollapsed:            {"collapsed", fwdMiss, false},
	ReasonNoStore:              {"no-store", fwdMiss, true},
	ReasonPrivate:              {"private", fwdMiss, true},
	ReasonRequestNoStore:       {"request-no-store", fwdMiss, true},
	ReasonAuthorization:        {"authorization", fwdMiss, true},
	ReasonSetCookie:            {"set-cookie", fwdMiss, true},
	ReasonVaryAny:              {"vary-any", fwdMiss, true},
	ReasonNotCacheable:         {"not-cacheable", fwdMiss, true},
	ReasonNotUnderstood:        {"not-understood", fwdMiss, true},
	ReasonNoFreshness:          {"no-freshness", fwdMiss, true},
	ReasonTooLarge:             {"too-large", fwdMiss, true},
	ReasonPart:                 {"part", fwdPartial, true},
	ReasonStoreRefused:         {"store-refused", fwdMiss, true},
	ReasonMinUses:              {"min-uses", fwdMiss, true},
	ReasonHeadRequest:          {"head", fwdMiss, true},
	ReasonServerError:          {"server-error", fwdMiss, true},
	ReasonBadNotModified:       {"bad-not-modified", fwdMiss, true},
	ReasonConnectionError:      {"connection-error", fwdMiss, true},
	ReasonMalformed:            {"malformed", fwdMiss, true},
	ReasonTimeout:              {"timeout", fwdMiss, true},
	ReasonOnlyIfCached:         {"only-if-cached", fwdNone, true},
}

// String returns the reason's name as in logs and metrics.
func (r Reason) String() string {
	if r >= numReasons {
		return "unknown"
	}
	return reasonTable[r].name
}

// Reasons returns every reason, for metrics that want a label each.
func Reasons() []Reason {
	all := make([]Reason, 0, numReasons)
	for r := ReasonNone; r < numReasons; r++ {
		all = append(all, r)
	}
	return all
}
