package admin

import (
	"errors"
	"maps"
	"net"
	"sync/atomic"
	"time"

	"edge/pool"
	"edge/wire/h1"
)

// attempt is how an attempt at an origin ended. Connections that were not to be
// had are named by pool's kinds.
const (
	attemptOK        = "ok"
	attemptMalformed = "malformed"
	attemptTimeout   = "timeout"
	attemptBroken    = "broken"
)

// results lists every result there is; a counter's index is its place here.
var results = func() []string {
	list := []string{attemptOK, attemptMalformed, attemptTimeout, attemptBroken}
	for k := pool.KindNone + 1; k.String() != "invalid"; k++ {
		list = append(list, k.String())
	}
	return list
}()

// maxResults is room for results; TestResultsFit holds it to them.
const maxResults = 32

// resultOf names the end of an attempt by its place in results.
func resultOf(err error) int {
	if err == nil {
		return 0
	}
	var protocol *h1.Error
	var timeout net.Error
	if k := pool.KindOf(err); k != pool.KindNone && isPoolError(err) {
		return min(3+int(k), len(results)-1)
	}
	switch {
	case errors.As(err, &protocol):
		return 1
	case errors.As(err, &timeout) && timeout.Timeout():
		return 2
	}
	return 3
}

// isPoolError reports whether there was no connection at all.
func isPoolError(err error) bool {
	var e *pool.Error
	return errors.As(err, &e)
}

// originCounters are what is counted of one origin.
type originCounters struct {
	attempts [2][maxResults]atomic.Uint64 // by connection: 0 fresh, 1 reused
	wait     histogram                    // until the final head, where it came
}

// Origin counts one attempt at an origin.
func (m *Metrics) Origin(origin string, d time.Duration, reused bool, err error) {
	c := (*m.origins.Load())[origin]
	if c == nil {
		c = m.addOrigin(origin)
	}
	conn := 0
	if reused {
		conn = 1
	}
	c.attempts[conn][resultOf(err)].Add(1)
	if err == nil {
		c.wait.observe(d)
	}
}

// addOrigin makes the counters of an origin. Origins are the configuration's:
// there are only so many.
func (m *Metrics) addOrigin(name string) *originCounters {
	for {
		old := m.origins.Load()
		if c := (*old)[name]; c != nil {
			return c
		}
		next := maps.Clone(*old)
		c := new(originCounters)
		next[name] = c
		if m.origins.CompareAndSwap(old, &next) {
			return c
		}
	}
}
