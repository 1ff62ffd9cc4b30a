package h1

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// ErrInterrupted is what a read or write returns once Interrupt was called.
var ErrInterrupted = errors.New("h1: interrupted")

// longAgo as a deadline wakes whoever waits.
var longAgo = time.Unix(1, 0)

// interrupter lets another goroutine end a connection's waits for good: after
// it, no deadline can be moved out again.
type interrupter struct {
	mu       sync.Mutex // held for setting a deadline only, never over a wait
	done     bool
	readDone bool // reading only
}

func (x *interrupter) interrupt(nc net.Conn) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.done = true
	nc.SetDeadline(longAgo)
}

// interruptReads ends the waits of reading for good; writing goes on.
func (x *interrupter) interruptReads(nc net.Conn) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.readDone = true
	nc.SetReadDeadline(longAgo)
}

func (x *interrupter) readsStopped() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.done || x.readDone
}

// resumeReads takes interruptReads back: for the lingering before a close, which
// reads to throw away, and where there was nothing left to stop.
func (x *interrupter) resumeReads(nc net.Conn, d *deadline) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.readDone {
		return
	}
	x.readDone = false
	d.forget()
	if !x.done {
		nc.SetReadDeadline(time.Time{})
	}
}

// interruptRead wakes a reader once, if waiting says that there is one; a
// deadline set later counts.
func (x *interrupter) interruptRead(nc net.Conn, waiting *atomic.Bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if waiting.Load() {
		nc.SetReadDeadline(longAgo)
	}
}

func (x *interrupter) interrupted() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.done
}

// deadline is one direction's deadline, set as seldom as may be: setting it
// takes a lock and moves a timer, so that a busy connection does it once a
// second rather than once a message.
//
// Owner: the goroutine that reads, or writes, respectively.
type deadline struct {
	at  time.Time // zero: none is set
	set func(time.Time) error
	x   *interrupter
	// reads says that this is the reading direction's.
	reads bool
}

// arm makes the deadline fall between wait and wait plus a tenth of it (at most
// a second) from now. A wait below zero means none.
func (d *deadline) arm(now time.Time, wait time.Duration) error {
	slack := min(wait/10, time.Second)
	if wait >= 0 && !d.at.IsZero() {
		if left := d.at.Sub(now); left >= wait && left <= wait+slack {
			return nil
		}
	}
	return d.move(now, wait, slack)
}

// armExactly makes the deadline fall wait from now.
func (d *deadline) armExactly(now time.Time, wait time.Duration) error {
	return d.move(now, wait, 0)
}

func (d *deadline) move(now time.Time, wait, slack time.Duration) error {
	var t time.Time
	if wait >= 0 {
		t = now.Add(wait + slack)
	} else if d.at.IsZero() {
		return nil
	}
	d.x.mu.Lock()
	defer d.x.mu.Unlock()
	if d.x.done || d.reads && d.x.readDone {
		return ErrInterrupted
	}
	d.at = t
	return d.set(t)
}

// forget makes the next arm set the deadline again: somebody else moved it.
func (d *deadline) forget() { d.at = time.Time{} }

func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
