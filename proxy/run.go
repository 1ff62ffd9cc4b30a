package proxy

import (
	"edge/cache/lock"
	"edge/cache/statemachine"
)

// The lock of runs: each chunk has a key of its own, and who leads a run leads
// every chunk of it, so that two runs never fetch the same one at a time and
// those that touch different chunks do not wait for one another.

// joinWhole attaches to a fill of the whole response under way, from which the
// machine may have the request read. Without one it reports false.
func (x *exchange) joinWhole(a *statemachine.Action, ev *statemachine.Event) bool {
	if a.Apart {
		return false
	}
	f, ok := x.p.locks.Flight(lockKey(x.key, a.Variant))
	if !ok || !f.attach() {
		return false
	}
	if f.outdated(x.p, x.key) {
		f.detach()
		return false
	}
	x.attend(ev, f)
	return true
}

// leadRun takes the lead of the run's further chunks, up to the first that
// another leads, and returns what is led of it.
func (x *exchange) leadRun(a *statemachine.Action) statemachine.Range {
	if a.Chunk <= 0 {
		return a.Run
	}
	led := statemachine.Range{Start: a.Run.Start, End: a.Run.Start - a.Run.Start%a.Chunk + a.Chunk}
	for led.End < a.Run.End && x.permit.Also(runKey(x.key, a.Variant, led.End/a.Chunk)) {
		led.End += a.Chunk
	}
	led.End = min(led.End, a.Run.End)
	x.led = led
	return led
}

// leadAlso has those find f who compete for it by another name: that of its
// variant, now that Vary is known, or, where the whole came in place of a range,
// that of the key.
func (x *exchange) leadAlso(permit *lock.Permit[*fill], f *fill) {
	variant, chunk := f.head.Nominated, x.route.Policy.Chunk
	if f.part.Start < f.part.End && chunk > 0 {
		// Less came than was led: those who wait for the rest are not answered.
		for at := x.led.Start - x.led.Start%chunk; at < x.led.End; at += chunk {
			if at+chunk <= f.part.Start || at >= f.part.End {
				permit.Cede(runKey(x.key, x.permitVariant, at/chunk))
			}
		}
	}
	switch {
	case f.part == (statemachine.Range{}):
		if f.ignored {
			permit.Also(lockKey(x.key, nil))
		}
		if variant != nil {
			permit.Also(lockKey(x.key, variant))
		}
	case variant != nil && chunk > 0:
		for at := f.part.Start; at < f.part.End; at += chunk {
			permit.Also(runKey(x.key, variant, at/chunk))
		}
	}
}
