package proxy

import (
	"time"

	"edge/message"
)

// Clock gives instants: the wall clock read once, plus monotonic time since.
// A wall clock that jumps does not change ages.
type Clock struct {
	wall  int64
	start time.Time
}

// NewClock reads the wall clock, for the only time.
func NewClock() *Clock {
	now := time.Now()
	return &Clock{wall: now.UnixNano(), start: now}
}

// Now returns the instant.
func (c *Clock) Now() message.Instant { return message.Instant(c.wall + int64(time.Since(c.start))) }
