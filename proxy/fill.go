package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"edge/cache/lock"
	"edge/cache/statemachine"
	"edge/cache/storage"
	"edge/message"
)

// fill is a response on its way from the origin into the store. It belongs to
// the cache, not to the client that caused it: it goes on when that client
// leaves. Followers attach to it, and read what it writes.
//
// Invariant: the entry is retained while refs > 0; whoever attaches may use
// it until it detaches.
type fill struct {
	entry storage.Entry
	head  *message.Stored
	refs  atomic.Int32
	// sequence and generation are those of the fetch that brought it.
	sequence   uint64
	generation uint32
	// part is where the content lies, where it is a part; empty for a whole.
	part statemachine.Range
	// ignored: a range was asked for and the whole came.
	ignored bool
}

// outdated reports whether what is being filled was purged or invalidated since
// it was asked for: those who asked before get it, those who ask now must not.
func (f *fill) outdated(p *Proxy, key storage.Key) bool {
	if f.generation != p.generation(key).Load() {
		return true
	}
	return p.ledger.Sequence() > f.sequence && p.ledger.Judge(f.entry, f.sequence) != storage.Live
}

// attach takes a reference, unless the fill has ended for everyone.
func (f *fill) attach() bool {
	for {
		n := f.refs.Load()
		if n == 0 {
			return false
		}
		if f.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// detach gives a reference back.
func (f *fill) detach() {
	if f.refs.Add(-1) == 0 {
		f.entry.Release()
	}
}

// startFill begins storing the response at hand, on a goroutine of its own
// that owns the origin's connection and the permit from then on.
func (x *exchange) startFill(a *statemachine.Action) statemachine.Event {
	ev := statemachine.Event{Kind: statemachine.EventFill}
	// A fill outlives the exchange; a pump that reads from the client must not.
	if b := x.upstream.pump; b != nil && x.req.Content == nil && !b.finishes() {
		return ev
	}
	x.learnRule()
	proposal := x.proposal(a.Stored)
	x.completing = a.Part && a.Chosen >= 0
	if x.completing {
		proposal.Key = x.entries[a.Chosen].Key() // beside the parts it completes
	}
	if a.Part {
		proposal.Part, proposal.Offset, proposal.Total = true, a.Missing.Start, a.Stored.Length
	}
	if x.tooManyTags() {
		return ev
	}
	if len(x.groups) > 0 && x.p.purger != nil {
		x.p.purger.NoteGroups(x.req.Scheme, string(x.req.Authority), x.groups)
	}
	w, err := x.p.store.Begin(proposal)
	if err != nil {
		x.noteStoreError("begin", err)
		return ev
	}
	if !x.current(proposal.Key) {
		w.Abort(storage.ErrDoomed) // invalidated while it was on its way
		return ev
	}
	// The leader's own client gets the response's own fields: the stored head
	// leaves out what others must not see. They are in the connection's read
	// buffer, which the fill is about to use.
	if a.Part {
		x.resp.Fields.Delete(message.FieldContentRange) // what is sent has its own
	}
	x.leadHead = x.resp.Fields.AppendLines(x.leadHead[:0])
	f := &fill{entry: w.Entry(), head: a.Stored, sequence: x.sequence, generation: x.generation,
		ignored: !a.Part && x.form == statemachine.FormRanged}
	if a.Part {
		f.part = a.Missing
	}
	f.refs.Store(2) // the filling's, and this exchange's
	r := &filling{p: x.p, f: f, w: w, up: x.upstream, permit: x.permit, target: string(x.req.Target)}
	x.upstream, x.permit, x.fill = nil, nil, f
	x.p.background.Add(1)
	x.p.fills.Add(1)
	ev.OK = true
	if x.atHand(r.up) {
		// All of it is here: it is stored before anybody could follow, and
		// waiters look it up. No goroutine, and one write to the client.
		r.run()
		return ev
	}
	if r.permit != nil && a.Share && x.sharesFill(proposal.Key) {
		x.leadAlso(r.permit, f)
		r.permit.Publish(f)
	}
	go r.run()
	return ev
}

// atHand reports whether the whole content has been read from the origin with
// the head, as that of a small response mostly has.
func (x *exchange) atHand(up *upstream) bool {
	n := x.contentLength()
	return n >= 0 && n <= int64(up.h.Buffered())
}

// proposal describes the response at hand to the store.
func (x *exchange) proposal(s *message.Stored) *storage.Proposal {
	return &storage.Proposal{
		Key: x.storeKey(), Stored: s, Sequence: x.sequence,
		Scheme: x.req.Scheme, Authority: x.req.Authority, Target: x.req.Target,
		Total: x.contentLength(), Tags: x.tags, Groups: x.groups,
	}
}

// contentLength is the length of the content that follows the head.
func (x *exchange) contentLength() int64 {
	if x.resp.NoBody {
		return 0
	}
	return x.resp.Length
}

func (x *exchange) noteStoreError(what string, err error) {
	if !errors.Is(err, storage.ErrTooLarge) && !errors.Is(err, storage.ErrDoomed) {
		x.p.log.Warn("the store failed; the request goes on without it", "what", what, "target", string(x.req.Target), "error", err)
	}
}

// filling is the work of a fill. Owner: its own goroutine.
type filling struct {
	p      *Proxy
	f      *fill
	w      storage.Writer
	up     *upstream
	permit *lock.Permit[*fill] // nil where fetched alone
	target string
}

// fillBuffer is how much is read from the origin at a time, in bytes.
const fillBuffer = 64 << 10

var fillBuffers = sync.Pool{New: func() any { b := make([]byte, fillBuffer); return &b }}

// run copies the content to the store, and releases everything on every path.
// An entry is visible before its permit is released.
func (r *filling) run() {
	status := lock.StatusFailed
	defer r.p.background.Done()
	defer r.p.fills.Add(-1)
	defer r.f.detach()
	defer func() {
		if r.permit != nil {
			r.permit.Release(status)
		}
	}()
	defer r.up.end()
	defer func() {
		if v := recover(); v != nil {
			r.p.observer.Panic("fill", v, debug.Stack())
			r.p.log.Error("fill panicked", "target", r.target, "panic", v, "stack", string(debug.Stack()))
			r.breakOff(fmt.Errorf("fill panicked: %v", v))
		}
	}()
	err := r.copy(r.p.ctx)
	if err == nil {
		err = r.w.Commit(trailerLines(r.up.h.Trailers()))
	}
	switch {
	case err == nil:
		status = lock.StatusStored
	case errors.Is(err, storage.ErrTooLarge), errors.Is(err, storage.ErrFull):
		status = lock.StatusGaveUp // the next would fare no better
	case errors.Is(err, storage.ErrDoomed):
	default:
		r.breakOff(err)
		r.p.log.Info("fill broke off", "target", r.target, "error", err)
	}
}

// breakOff ends the fill for those who read it. Who comes from now on must not
// join what breaks off, so that the permit is released before; but what is left
// of a part is there for the next, and is visible to it.
func (r *filling) breakOff(err error) {
	if r.permit != nil && !r.f.head.Terms.Flags.Has(message.TermPartial) {
		r.permit.Release(lock.StatusFailed)
	}
	r.w.Abort(err)
}

// copy reads the content to its end. Whatever ends short of it is an error.
func (r *filling) copy(ctx context.Context) error {
	buf := fillBuffers.Get().(*[]byte)
	defer fillBuffers.Put(buf)
	for {
		n, err := r.up.h.ReadBody(*buf)
		if n > 0 {
			if werr := r.w.Write(ctx, (*buf)[:n]); werr != nil {
				return werr
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// trailerLines returns the trailer fields as lines, nil where there are none.
func trailerLines(f *message.Fields) []byte {
	if f == nil || f.Len() == 0 {
		return nil
	}
	return f.AppendLines(nil)
}
