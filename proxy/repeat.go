package proxy

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync/atomic"

	"edge/cache/statemachine"
	"edge/cache/storage"
)

// An answer that the store fails, and whose response has no strong validator, cannot be
// continued with a range: nothing says that it would be of the same bytes. Instead the
// origin is asked for the whole once more. What was sent is read again from where it
// came from and compared; if the origin's bytes are the same so far, the rest follows,
// and what the client has then is what the origin sent now, all of it.

// maxRepeats is how many answers are finished so at once. Each is a transfer of the whole
// for one client, and what a disk fails it may fail all its clients at the same moment.
// Beyond, answers are cut: whoever asks again then finds nothing stored, or shares a fill.
const maxRepeats = 16

// repeat opens the rest of the answer, from r.pos on, of the origin's answer of now to
// the same request. nil: it is not the same so far, or nobody can tell.
func (r *lasting) repeat() (rest storage.Reader) {
	g, under := r.g, &r.x.p.repeats
	defer func() {
		if rest == nil {
			under.Add(-1)
		}
	}()
	if under.Add(1) > maxRepeats {
		return nil
	}
	if r.entry.Trailers() != nil { // those of what is repeated may be others
		return nil
	}
	sent := r.entry.Reader(r.first, r.pos-r.first)
	defer sent.Close()
	piece, err := sent.Next(r.x.waitContext())
	if err != nil && r.pos > r.first {
		return nil // so the origin need not be asked
	}
	g.direct = true
	if g.gain, err = g.obtain(statemachine.Range{Start: r.pos, End: r.end}); err != nil {
		return nil
	}
	up := g.gain.up // given back with the gathering
	if up == nil || !skipBody(up, r.first) || !r.sentBy(up, sent, piece) {
		return nil
	}
	return &repeatReader{up: up, left: r.end - r.pos, ends: r.end == g.head.Length, buf: make([]byte, relayBuffer), under: under}
}

// skipBody reads n bytes of content, and reports whether there were as many.
func skipBody(up *upstream, n int64) bool {
	room := make([]byte, min(n, relayBuffer))
	for n > 0 {
		got, err := up.h.ReadBody(room[:min(n, relayBuffer)])
		if n -= int64(got); err != nil {
			return n == 0
		}
	}
	return true
}

// sentBy reports whether what up brings goes on with the bytes that were sent: piece and
// what follows it. It reads those.
func (r *lasting) sentBy(up *upstream, sent storage.Reader, piece []byte) bool {
	room := make([]byte, relayBuffer)
	for left := r.pos - r.first; left > 0; {
		if len(piece) == 0 {
			var err error
			if piece, err = sent.Next(r.x.waitContext()); err != nil {
				return false
			}
		}
		n, err := up.h.ReadBody(room[:min(len(piece), relayBuffer)])
		if !bytes.Equal(room[:n], piece[:n]) {
			return false
		}
		piece, left = piece[n:], left-int64(n)
		if err != nil && left > 0 {
			return false
		}
	}
	return true
}

// repeatReader reads the rest of a repeated answer. It implements storage.Reader; the
// connection is given back with the gathering.
type repeatReader struct {
	up   *upstream
	left int64 // bytes wanted
	ends bool  // and then the content has to end, for which the last piece waits
	buf  []byte
	// under counts those under way, this one until it is closed.
	under *atomic.Int64
}

// Next returns the next piece.
func (r *repeatReader) Next(context.Context) ([]byte, error) {
	if r.left == 0 {
		return nil, io.EOF
	}
	n, err := 0, error(nil)
	for n == 0 && err == nil {
		n, err = r.up.h.ReadBody(r.buf[:min(r.left, relayBuffer)])
	}
	r.left -= int64(n)
	if r.left == 0 && r.ends && err == nil {
		var beyond [1]byte
		more := 0
		if more, err = r.up.h.ReadBody(beyond[:]); more > 0 {
			err = fmt.Errorf("%w: the origin's answer is longer than it was", storage.ErrAborted)
		}
	}
	switch {
	case err == io.EOF && r.left > 0:
		return nil, fmt.Errorf("%w: the origin's answer is %d bytes shorter than it was", storage.ErrAborted, r.left)
	case err != nil && err != io.EOF:
		return nil, err
	}
	return r.buf[:n], nil
}

// Close makes room for another.
func (r *repeatReader) Close() {
	if r.under != nil {
		r.under.Add(-1)
		r.under = nil
	}
}
