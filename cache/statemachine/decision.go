package statemachine

import "edge/message"

// Decision is what the machine made of an exchange, for Cache-Status, the
// log, metrics and explain. It grows as the exchange goes on and is final
// once the head of the answer leaves.
type Decision struct {
	// Reason is why the answer is what it is: the newest reason.
	Reason Reason
	// Forward is why the request went forward, or waited for one that did;
	// ReasonNone where it was answered from the store at once.
	Forward Reason
	// NotStored is why the response that came was not stored; ReasonNone
	// where it was, or none came.
	NotStored Reason
	// Collapsed: the answer came of another request's fetch.
	Collapsed bool
	// Stored: storing has begun. (RFC 9211 section 2.5 asks whether the cache
	// stored the response; the head leaves before that is known for sure.)
	Stored bool
	// ForwardStatus is the status of the response to the forwarded request; 0
	// where none came.
	ForwardStatus int
	// Status is the status of an answer of our own, from ActFail.
	Status int
	// Response is the stored response served or being filled, else nil.
	Response *message.Stored
}

// Decision returns what was decided so far. It is the machine's own and
// changes with the next Step.
func (m *HTTPCache) Decision() *Decision { return &m.decision }
