package proxy

import "sync"

// roll is the upstreams in use, so that a shutdown can interrupt them. A list of
// their own links, because each exchange with an origin enters and leaves it:
// context.AfterFunc would allocate and keep a map, about 1 µs of a miss.
type roll struct {
	mu    sync.Mutex
	over  bool // what is entered from now on is interrupted at once
	first *upstream
}

// enter adds u. Its conversation may be interrupted from now on, until leave.
func (r *roll) enter(u *upstream) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		u.interrupted = true
		u.h.Interrupt()
		return
	}
	if u.after = r.first; u.after != nil {
		u.after.before = u
	}
	r.first = u
	u.entered = true
}

// leave takes u out, once or more often, and reports whether it has been
// interrupted.
func (r *roll) leave(u *upstream) (interrupted bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !u.entered {
		return u.interrupted
	}
	u.entered = false
	if u.before != nil {
		u.before.after = u.after
	} else {
		r.first = u.after
	}
	if u.after != nil {
		u.after.before = u.before
	}
	u.before, u.after = nil, nil
	return u.interrupted
}

// interrupt ends the waits of all, those to come as well.
func (r *roll) interrupt() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.over = true
	for u := r.first; u != nil; u = u.after {
		u.interrupted = true
		u.h.Interrupt()
	}
}
