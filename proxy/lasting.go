package proxy

import (
	"context"
	"errors"
	"io"

	"edge/cache/statemachine"
	"edge/cache/storage"
	"edge/message"
)

// A store that fails never fails a request: an answer that it cannot go on with
// (damage, a disk that does not answer, a reader that fell out of the window) is
// finished by runs from the origin, under the same strong validator; without one, by the
// origin's whole answer, if that begins as what was sent (repeat.go). What the origin
// breaks off stays broken off.

// maxResumptions is how often an answer goes on with the store after that failed it.
// Then, or where the store fails twice at the same byte, the rest of the answer comes
// from the origin without it.
const maxResumptions = 8

// storeFailed reports whether it was the store that could not go on.
func storeFailed(err error) bool {
	for _, of := range [...]error{storage.ErrGone, storage.ErrFellBehind, storage.ErrFull, storage.ErrTooLarge} {
		if errors.Is(err, of) {
			return true
		}
	}
	return false
}

// resumption is how an answer gets on after the store failed it.
type resumption struct {
	failures int
	at       int64 // the byte that it failed at last
	direct   bool  // it is not asked any more
}

// resumes reports whether the answer may go on after err at byte pos.
func (r *resumption) resumes(pos int64, err error) bool {
	if r.direct || !storeFailed(err) {
		return false
	}
	r.failures++
	r.direct = r.failures > maxResumptions || r.failures > 1 && pos == r.at
	r.at = pos
	return true
}

// lasting is a reader of a stored or filled entry that lasts longer than the store.
// It implements storage.FileReader. Owner: the exchange, which has one at a time.
type lasting struct {
	x        *exchange
	entry    storage.Entry  // retained by the exchange
	cur      storage.Reader // of entry, or of g
	g        *gathering     // what the rest comes from; nil: the entry
	first    int64          // byte of the answer
	pos, end int64          // end: LengthUnknown where it is not known yet
}

// open opens n bytes (n < 0: to the end) of what answers the request.
func (x *exchange) open(from source, offset, n int64) storage.Reader {
	e, ok := from.(storage.Entry)
	if !ok {
		return from.Reader(offset, n)
	}
	end := e.Size()
	if n >= 0 {
		end = offset + n
	}
	x.lasting = lasting{x: x, entry: e, cur: e.Reader(offset, n), first: offset, pos: offset, end: end}
	return &x.lasting
}

// Next returns the next piece.
func (r *lasting) Next(ctx context.Context) ([]byte, error) {
	p, err := r.cur.Next(ctx)
	if err != nil && err != io.EOF && r.g == nil && r.outlast(err) {
		p, err = r.cur.Next(ctx)
	}
	r.pos += int64(len(p))
	return p, err
}

// outlast goes on without the entry, if the rest can be had.
func (r *lasting) outlast(err error) bool {
	head := *r.x.served
	if head.Length < 0 {
		head.Length = r.entry.Size() // it came without saying; if it ended, it is known
	}
	g := &gathering{x: r.x, head: &head, from: r.entry}
	// Before anything is sent there is no need: the whole is fetched, and stored.
	repeats := r.x.status != 0 && statemachine.MayRepeat(&r.x.req, &head)
	if !repeats && !statemachine.MayContinue(&r.x.req, &head) || !g.resumes(r.pos, err) {
		return false
	}
	r.cur.Close()
	if r.end < 0 {
		r.end = head.Length
	}
	if r.g = g; !repeats {
		r.cur = g.Reader(r.pos, r.end-r.pos)
		return true
	}
	rest := r.repeat()
	if rest != nil {
		r.cur = rest
	}
	return rest != nil
}

// NextFile returns where the next bytes lie, if they can be sent from there.
func (r *lasting) NextFile() (storage.FilePiece, bool) {
	if f, ok := r.cur.(storage.FileReader); ok {
		return f.NextFile()
	}
	return storage.FilePiece{}, false
}

// Took moves on after NextFile.
func (r *lasting) Took(n int64, short bool) {
	r.cur.(storage.FileReader).Took(n, short)
	r.pos += n
}

// Close ends the reading.
func (r *lasting) Close() {
	if r.cur == nil {
		return
	}
	r.cur.Close()
	if r.g != nil {
		r.g.close()
	}
	*r = lasting{}
}

// base is the entry that an answer was read from so far, under the head that it was sent
// with. It is among a run's candidates, so that there is one to continue, and retained by
// the answer's exchange.
type base struct {
	storage.Entry
	head *message.Stored
	lost bool // what it holds cannot be relied on
}

// Stored returns the head.
func (b base) Stored() *message.Stored { return b.head }

// Held appends the ranges held. What is still held of what broke off is found by the
// look-up itself.
func (b base) Held(dst []storage.ByteRange) []storage.ByteRange {
	if b.lost {
		return dst
	}
	return b.Entry.Held(dst)
}

// Release does nothing.
func (b base) Release() {}
