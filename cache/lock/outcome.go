package lock

// Outcome is what became of an Acquire.
type Outcome uint8

// The outcomes.
const (
	// Leader: the caller fetches, for everyone. It owes a Release.
	Leader Outcome = iota
	// Streaming: the leader published; its flight is returned.
	Streaming
	// Stored: the leader stored a response; look up again.
	Stored
	// GaveUp: what the leader got can not be shared; fetch alone, do not
	// queue.
	GaveUp
	// Failed: the leader failed; compete again, a bounded number of times.
	Failed
	// TooOld: the leader was too old and the caller leads in its place. It
	// owes a Release, like Leader.
	TooOld
	// TimedOutAlone: waited too long; the caller may fetch alone. It owes an
	// AloneDone.
	TimedOutAlone
	// TimedOut: waited too long, and enough others fetch alone already.
	TimedOut
	// Canceled: the context was done.
	Canceled

	numOutcomes
)

var outcomeNames = [numOutcomes]string{
	Leader:        "leader",
	Streaming:     "streaming",
	Stored:        "stored",
	GaveUp:        "gave-up",
	Failed:        "failed",
	TooOld:        "too-old",
	TimedOutAlone: "timed-out-alone",
	TimedOut:      "timed-out",
	Canceled:      "canceled",
}

// String returns the outcome's name for logs and metrics.
func (o Outcome) String() string {
	if o >= numOutcomes {
		return "invalid"
	}
	return outcomeNames[o]
}

// Status is what a leader says when it releases its Permit.
type Status uint8

// The statuses.
const (
	// StatusFailed: no response came of it, or a panic ended it. The zero
	// value, because it is what is true until something better is known.
	StatusFailed Status = iota
	// StatusStored: a look-up finds the response now.
	StatusStored
	// StatusGaveUp: the response can not be shared.
	StatusGaveUp
	// StatusPassed: the leader stepped down before it asked anyone, for
	// instance because its client has gone. The longest waiting leads, and
	// the others go on waiting: nothing has failed.
	StatusPassed

	numStatuses
)

var statusNames = [numStatuses]string{
	StatusFailed: "failed",
	StatusStored: "stored",
	StatusGaveUp: "gave-up",
	StatusPassed: "passed",
}

// String returns the status's name for logs and metrics.
func (s Status) String() string {
	if s >= numStatuses {
		return "invalid"
	}
	return statusNames[s]
}
