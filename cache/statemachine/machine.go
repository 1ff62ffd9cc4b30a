// Package statemachine decides what happens to one HTTP request in a shared
// cache. It is pure: no clock, no I/O, no goroutine, no lock; time is an
// argument and everything else is an event.
//
// # Theory of operation
//
// An HTTPCache is one exchange. Start takes a request and returns the first
// Action; the driver (proxy/exchange.go) runs the action and feeds what
// happened back with Step, which returns the next, until ActDone. Three
// things happen in a Step: the classifier of the state at hand, a pure
// function in a file named for its concept, turns the event into an Outcome
// with a Reason; the table of transitions turns state and outcome into the
// next state, an action, and what becomes of the permit; and the action is
// filled in with its nouns. Conditionals live in classifiers, nouns in the
// table, and nothing but Step assigns the state.
//
// The life of a request: it is Received and, unless it is none of the
// cache's business (Passing), looked up (Looking). A fresh response is sent
// (Serving). Otherwise the request must go forward, one of many for the same
// key (Locking): the leader looks once more (Rechecking), because a response
// may have been stored between its look-up and its permit, then fetches
// (Fetching), with the validators of a stale response if there is one. What
// comes is stored while it is sent (Filling, Delivering), or freshens what is
// stored (Freshening, Serving), or cannot be shared (Relaying). The others
// follow the leader's fill (Delivering), or find it stored (Looking), or are
// told to go alone. An unsafe method passes, and invalidates on success
// (Invalidating). What cannot be answered fails with a status of our own
// (Failing).
//
// A background refresh is the same machine, started by StartRefresh without a
// client: what it would send goes nowhere. So is each later run of a response
// that is held in parts with several gaps between them, started by StartRun:
// what it brings goes into the answer that came upon the gap.
package statemachine

import (
	"fmt"

	"edge/message"
)

// State is where an exchange stands. Each comment says what we hold, what we
// wait for, and how we leave.
type State uint8

// The states.
const (
	// Received: we hold the request. Left at once by Start.
	Received State = iota
	// Looking: we wait for the store's candidates.
	Looking
	// Locking: we wait for the permit of the key, or for what became of
	// another's.
	Locking
	// Rechecking: we hold the permit and wait for a second look-up.
	Rechecking
	// Fetching: we hold the permit or none, perhaps a stale response, and
	// wait for the origin's final head.
	Fetching
	// Filling: we hold a storable response's head and wait for the store to
	// begin.
	Filling
	// Freshening: we hold a stored response and the head that updates it, and
	// wait for the store.
	Freshening
	// Passing: we hold no interest in storing and wait for the origin's head.
	Passing
	// Invalidating: we hold the answer to an unsafe request and wait until
	// what it made stale is marked.
	Invalidating
	// Serving: a stored response is on its way to the client.
	Serving
	// Delivering: a response being filled is on its way to the client.
	Delivering
	// Relaying: the origin's response is on its way to the client, unstored.
	Relaying
	// Failing: an answer of our own is on its way to the client.
	Failing
	// Done: the end.
	Done

	numStates
)

var stateNames = [numStates]string{"Received", "Looking", "Locking", "Rechecking", "Fetching", "Filling", "Freshening",
	"Passing", "Invalidating", "Serving", "Delivering", "Relaying", "Failing", "Done"}

// String returns the state's name.
func (s State) String() string { return stateNames[s] }

// Outcome is what a classifier found.
type Outcome uint8

// The outcomes.
const (
	toLookup       Outcome = iota // the cache may have an answer
	toForward                     // not the cache's business
	toRefresh                     // no client: renew what is stored
	isUsable                      // a stored response may be used as it is
	isStaleUsable                 // a stale one may be used, and is renewed meanwhile
	isStaleAllowed                // a stale one may be used for want of better
	mustQueue                     // go forward, at most one per key
	mayGoAlone                    // go forward without queueing
	isRefused                     // there is no answer: one of our own
	isLeader                      // the permit is ours
	isFollower                    // another's fill is for us too
	isStored                      // another's fill was stored
	mustCompete                   // the permit is free again, or another key's is ours to want
	isBusy                        // no client, and somebody renews already
	isAbandoned                   // nobody waits for the answer any more
	isStorable                    // the response is stored
	isUnstorable                  // the response is passed on
	isServerFault                 // an error of the origin's is passed on; the next may do better
	isNotModified                 // the stored response stands
	isHeadUpdate                  // an answer to HEAD updates the stored response
	isMismatch                    // 304 for something else: ask without conditions
	isBroken                      // what came breaks the protocol
	isUnreachable                 // nothing came
	isStarted                     // storing has begun
	isUpdated                     // the stored head was replaced
	isUpdatedHead                 // likewise; the answer to HEAD goes on
	isSuccess                     // an unsafe request succeeded
	isAnswered                    // any other response
	isInvalidated                 // what had to be marked is
	isDelivered                   // sent, whole or cut
	isUnreadable                  // nothing sent, the store could not read

	numOutcomes
)

var outcomeNames = [numOutcomes]string{"lookup", "forward", "refresh", "fresh", "stale usable", "stale allowed", "queue",
	"alone", "refused", "leader", "follower", "stored", "compete", "busy", "abandoned", "storable", "unstorable", "server fault",
	"not modified", "head update", "mismatch", "broken", "unreachable", "started", "updated", "updated by head",
	"success", "answered", "invalidated", "delivered", "unreadable"}

// String returns the outcome's name as in the diagram.
func (o Outcome) String() string { return outcomeNames[o] }

// row is one transition.
type row struct {
	from    State
	outcome Outcome
	to      State
	action  ActionKind
	permit  PermitMove // what becomes of a permit, if one is held
	ref     string     // where it is written
}

// transitions is the machine. The diagram in docs/statemachine.md is drawn
// from it; tests hold classifiers, rows, transcripts and drawing together.
var transitions = []row{
	{Received, toLookup, Looking, ActLookup, PermitKeep, "RFC 9111 section 4"},
	{Received, toForward, Passing, ActFetch, PermitKeep, "RFC 9111 section 4: write through"},
	{Received, toRefresh, Locking, ActAcquire, PermitKeep, "RFC 5861 section 3"},

	{Looking, isUsable, Serving, ActServe, PermitKeep, "RFC 9111 section 4.2"},
	{Looking, isStaleUsable, Serving, ActServe, PermitKeep, "RFC 5861 section 3"},
	{Looking, mustQueue, Locking, ActAcquire, PermitKeep, "RFC 9111 section 4: collapse requests"},
	{Looking, mayGoAlone, Fetching, ActFetch, PermitKeep, "RFC 9111 section 4"},
	{Looking, isRefused, Failing, ActFail, PermitKeep, "RFC 9111 section 5.2.1.7"},

	{Locking, isLeader, Rechecking, ActLookup, PermitKeep, "RFC 9111 section 4"},
	{Locking, isFollower, Delivering, ActServeFill, PermitKeep, "RFC 9111 section 4: collapse requests"},
	{Locking, isStored, Looking, ActLookup, PermitKeep, "RFC 9111 section 4"},
	{Locking, mustCompete, Locking, ActAcquire, PermitKeep, "RFC 9111 section 4"},
	{Locking, mayGoAlone, Fetching, ActFetch, PermitKeep, "RFC 9111 section 4: needs to forward"},
	{Locking, isStaleAllowed, Serving, ActServe, PermitKeep, "RFC 9111 section 4.2.4"},
	{Locking, isRefused, Failing, ActFail, PermitKeep, "RFC 9110 section 15.6.5"},
	{Locking, isBusy, Done, ActDone, PermitKeep, "RFC 5861 section 3"},
	{Locking, isAbandoned, Done, ActDone, PermitKeep, "RFC 9110 section 9.3"},

	{Rechecking, isUsable, Serving, ActServe, PermitStored, "RFC 9111 section 4.2"},
	{Rechecking, mustCompete, Locking, ActAcquire, PermitStored, "RFC 9111 section 3.4: another run is missing by now"},
	{Rechecking, mayGoAlone, Fetching, ActFetch, PermitKeep, "RFC 9111 section 4.3.1"},

	{Fetching, isStorable, Filling, ActFill, PermitKeep, "RFC 9111 section 3"},
	{Fetching, isUnstorable, Relaying, ActRelay, PermitGaveUp, "RFC 9111 section 3"},
	{Fetching, isServerFault, Relaying, ActRelay, PermitFailed, "RFC 9111 section 4.3.3"},
	{Fetching, isNotModified, Freshening, ActFreshen, PermitKeep, "RFC 9111 section 4.3.4"},
	{Fetching, isHeadUpdate, Freshening, ActFreshen, PermitKeep, "RFC 9111 section 4.3.5"},
	{Fetching, isStaleAllowed, Serving, ActServe, PermitFailed, "RFC 9111 section 4.2.4, RFC 5861 section 4"},
	{Fetching, isMismatch, Fetching, ActFetch, PermitKeep, "RFC 9111 section 4.3.4"},
	{Fetching, isBroken, Failing, ActFail, PermitFailed, "RFC 9110 section 15.6.3"},
	{Fetching, isUnreachable, Failing, ActFail, PermitFailed, "RFC 9110 section 15.6.3"},

	{Filling, isStarted, Delivering, ActServeFill, PermitHanded, "RFC 9111 section 3.3"},
	{Filling, isMismatch, Fetching, ActFetch, PermitKeep, "RFC 9111 section 3.3: a gap alone answers nobody"},
	{Filling, isUnstorable, Relaying, ActRelay, PermitGaveUp, "RFC 9111 section 3"},

	{Freshening, isUpdated, Serving, ActServe, PermitStored, "RFC 9111 section 4.3.4"},
	{Freshening, isUpdatedHead, Relaying, ActRelay, PermitStored, "RFC 9111 section 4.3.5"},

	{Passing, isAnswered, Relaying, ActRelay, PermitKeep, "RFC 9110 section 7.7"},
	{Passing, isSuccess, Invalidating, ActInvalidate, PermitKeep, "RFC 9111 section 4.4"},
	{Passing, isBroken, Failing, ActFail, PermitKeep, "RFC 9110 section 15.6.3"},
	{Passing, isUnreachable, Failing, ActFail, PermitKeep, "RFC 9110 section 15.6.3"},

	{Invalidating, isInvalidated, Relaying, ActRelay, PermitKeep, "RFC 9111 section 4.4"},
	{Invalidating, isStorable, Filling, ActFill, PermitKeep, "RFC 9110 section 9.3.3"},

	{Serving, isDelivered, Done, ActDone, PermitKeep, ""},
	{Serving, isUnreadable, Fetching, ActFetch, PermitKeep, ""},
	{Delivering, isDelivered, Done, ActDone, PermitKeep, ""},
	{Delivering, isUnreadable, Fetching, ActFetch, PermitKeep, ""},
	{Relaying, isDelivered, Done, ActDone, PermitKeep, ""},
	{Failing, isDelivered, Done, ActDone, PermitKeep, ""},
}

// rowOf finds a row by state and outcome in one load; 0 means none, else the
// row's index plus one.
var rowOf = func() (index [numStates][numOutcomes]uint8) {
	for i, r := range transitions {
		if index[r.from][r.outcome] != 0 {
			panic(fmt.Sprintf("statemachine: two rows for %v on %v", r.from, r.outcome))
		}
		index[r.from][r.outcome] = uint8(i + 1)
	}
	return
}()

// HTTPCache is the machine for one exchange. Owner: the exchange's
// goroutine. The zero value is ready for Start; it is reused from one
// exchange to the next on a connection.
//
// Invariant: permit is true from EventLock{LockLeader} until the one action
// that hands it over or releases it.
type HTTPCache struct {
	policy *Policy
	req    *message.Request
	state  State

	directives requestDirectives
	candidates []*message.Stored
	chosen     int                // index of the chosen response, -1 without
	permit     bool               // the lock's permit is ours
	background bool               // no client
	tries      int                // rounds of competing, failed reads: bounded by the policy
	form       Form               // in which the request was sent last
	said       responseDirectives // by the whole response that isStorable is about
	sent       Instant            // request_time, RFC 9111 section 4.2.3
	variant    []byte             // the lock's variant, nil for the whole key
	gap        gap                // what is fetched of the parts this request is answered from
	progress   int64              // how far into the representation the gaps found so far lay
	part       Range              // where the part that came lies; empty for a whole
	cut        Range              // of that part, what the client asked for; empty where it may not get that
	apart      bool               // the gap is fetched apart from a fill that is far from it
	unaligned  bool               // the origin's parts are not what was asked for: ask as the client does
	running    bool               // a later run of an answer under way: no client
	base       *message.Stored    // running: the head of that answer
	missed     Range              // running: what it misses
	direct     bool               // running: without the store, which failed the answer
	drop       bool               // base is of a representation that is no more
	headGiven  *message.Stored    // the freshened head, served in place of the stored one
	seldom     bool               // the key was asked for too seldom to store under it

	decision Decision
	visit    func(from State, o Outcome) // tests: which rows were taken
}

// Start begins an exchange under policy. It keeps req until Done.
func (m *HTTPCache) Start(policy *Policy, req *message.Request, now Instant) Action {
	m.reset(policy, req)
	o, why := m.classifyRequest()
	return m.move(o, why, nil, now)
}

// StartRefresh begins a background refresh: req is the request that found a
// stale response. Nothing is sent to anybody.
func (m *HTTPCache) StartRefresh(policy *Policy, req *message.Request, now Instant) Action {
	m.reset(policy, req)
	m.background = true
	m.directives = requestDirectives{}
	return m.move(toRefresh, ReasonStale, nil, now)
}

func (m *HTTPCache) reset(policy *Policy, req *message.Request) {
	*m = HTTPCache{policy: policy, req: req, chosen: -1, visit: m.visit}
	m.gap.base = -1
}

// Step tells the machine what became of the last action and returns the next.
// An event that the state cannot have panics: it is the driver's mistake, and
// ends this exchange only.
func (m *HTTPCache) Step(ev Event, now Instant) Action {
	o, why := m.classify(&ev, now)
	return m.move(o, why, ev.Response, now)
}

// classify asks the classifier of the state at hand.
func (m *HTTPCache) classify(ev *Event, now Instant) (Outcome, Reason) {
	switch {
	case m.state == Looking && ev.Kind == EventFound:
		return m.classifyFound(ev, now)
	case m.state == Rechecking && ev.Kind == EventFound:
		return m.classifyRecheck(ev, now)
	case m.state == Locking && ev.Kind == EventLock:
		return m.classifyLock(ev, now)
	case m.state == Fetching && ev.Kind == EventResponse:
		return m.classifyResponse(ev.Response, now)
	case m.state == Fetching && ev.Kind == EventFailed:
		return m.classifyFailure(ev.Failure, now)
	case m.state == Filling && ev.Kind == EventFill:
		return m.classifyFill(ev.OK)
	case m.state == Freshening && ev.Kind == EventFreshened:
		return m.classifyFreshened()
	case m.state == Passing && ev.Kind == EventResponse:
		return m.classifyPassed(ev.Response)
	case m.state == Passing && ev.Kind == EventFailed:
		return m.classifyPassFailure(ev.Failure)
	case m.state == Invalidating && ev.Kind == EventInvalidated:
		return m.classifyInvalidated(ev.Response)
	case m.state >= Serving && m.state <= Failing && ev.Kind == EventDelivered:
		return m.classifyDelivery(ev.Delivery)
	}
	panic(fmt.Sprintf("statemachine: event %v in state %v", ev.Kind, m.state))
}

// move takes the row for o, and fills its action in.
func (m *HTTPCache) move(o Outcome, why Reason, resp *message.Response, now Instant) Action {
	i := rowOf[m.state][o]
	if i == 0 {
		panic(fmt.Sprintf("statemachine: no row for outcome %v in state %v", o, m.state))
	}
	if m.visit != nil {
		m.visit(m.state, o)
	}
	r := &transitions[i-1]
	m.state = r.to
	a := Action{Kind: r.action, Reason: why, Chosen: m.chosen}
	if resp != nil {
		m.fillInResponse(&a, o, resp, now)
	}
	if m.permit && r.permit != PermitKeep {
		a.Permit = r.permit
		m.permit = false
	}
	m.fillIn(&a, o, now)
	return a
}
