package storagetest

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"edge/cache/storage"
)

// testTooLarge: "ErrTooLarge is returned at once where Proposal.Total says so."
func testTooLarge(t *testing.T, s suite) {
	st := s.store(t, nil)
	p := item{key: 1}.proposal()
	p.Total = maxObject + 1
	if _, err := st.Begin(p); !errors.Is(err, storage.ErrTooLarge) {
		t.Fatalf("begin of %d bytes: %v", p.Total, err)
	}
	if n := st.Stats(); n.TooLarge != 1 {
		t.Fatalf("stats %+v", n)
	}
}

// pour writes body until it ends or fails.
func pour(w storage.Writer, body []byte) error {
	for len(body) > 0 {
		n := min(10000, len(body))
		if err := w.Write(context.Background(), body[:n]); err != nil {
			return err
		}
		body = body[n:]
	}
	return nil
}

// testWindow: "nothing is kept, but every reader that kept up got the whole
// body and a clean io.EOF", and the memory in use stays a window's.
func testWindow(t *testing.T, s suite) {
	st := s.store(t, nil)
	mustPut(t, st, item{key: 1, body: []byte("before")})
	body := content(3, 5*maxObject)
	w := begin(t, st, item{key: 1, body: body, unknown: true})
	fast := []*following{follow(w.Entry(), 0, -1, 0), follow(w.Entry(), 0, -1, 0)}
	err := pour(w, body)
	if err != nil {
		t.Fatal(err)
	}
	if used := st.Stats().Bytes; used > maxObject+window+window/2 {
		t.Fatalf("%d bytes in use for a window of %d", used, window)
	}
	e := w.Entry()
	defer e.Release()
	if err := w.Commit([]byte("A: b\r\n")); !errors.Is(err, storage.ErrTooLarge) {
		t.Fatalf("commit: %v", err)
	}
	whole := 0
	for _, f := range fast {
		<-f.done
		switch {
		case f.err == nil:
			whole++
			f.want(t, body)
		case !errors.Is(f.err, storage.ErrFellBehind):
			t.Fatalf("a reader in window mode: %v", f.err)
		}
	}
	if whole == 0 {
		t.Fatal("not even the fastest reader got the whole body")
	}
	if e.Bytes() != nil {
		t.Fatal("Bytes of a body that was not kept")
	}
	if string(e.Trailers()) != "A: b\r\n" {
		t.Fatalf("trailers %q", e.Trailers())
	}
	kept := one(t, st, 1)
	defer kept.Release()
	wantBody(t, kept, []byte("before"))
	if n := st.Stats(); n.TooLarge != 1 || n.Stored != 1 {
		t.Fatalf("stats %+v", n)
	}
}

// testWindowAlone: without readers there is nobody to go on for.
func testWindowAlone(t *testing.T, s suite) {
	st := s.store(t, nil)
	w := begin(t, st, item{key: 1, unknown: true})
	e := w.Entry()
	err := pour(w, content(3, 3*maxObject))
	if !errors.Is(err, storage.ErrTooLarge) {
		t.Fatalf("writing on for nobody: %v", err)
	}
	if err := w.Commit(nil); err == nil {
		t.Fatal("a commit after a failed write")
	}
	if _, err := read(e, 0, -1); !errors.Is(err, storage.ErrAborted) && !errors.Is(err, storage.ErrFellBehind) {
		t.Fatalf("reading what was given up: %v", err)
	}
	e.Release()
	// The last reader leaving ends a wait, too.
	w = begin(t, st, item{key: 1, unknown: true})
	e = w.Entry()
	r := e.Reader(0, -1)
	e.Release()
	failed := make(chan error)
	go func() { failed <- pour(w, content(3, 3*maxObject)) }()
	synctest.Wait()
	select {
	case err := <-failed:
		t.Fatalf("a reader is attached, but the write failed: %v", err)
	default:
	}
	left := time.Now()
	r.Close()
	if err := <-failed; !errors.Is(err, storage.ErrTooLarge) || time.Since(left) != 0 {
		t.Fatalf("%v after the last reader left: %v", time.Since(left), err)
	}
}

// testWindowSlow: "readers that fall out of the window get ErrFellBehind", and
// never bytes from the wrong place.
func testWindowSlow(t *testing.T, s suite) {
	st := s.store(t, nil)
	body := content(3, 3*maxObject)
	w := begin(t, st, item{key: 1, unknown: true})
	fast := follow(w.Entry(), 0, -1, time.Millisecond)
	slow := follow(w.Entry(), 0, -1, 20*time.Millisecond)
	start := time.Now()
	if err := pour(w, body); err != nil {
		t.Fatal(err)
	}
	if time.Since(start) < 10*time.Millisecond {
		t.Fatal("the writer did not wait for the fastest reader")
	}
	if err := w.Commit(nil); !errors.Is(err, storage.ErrTooLarge) {
		t.Fatal(err)
	}
	fast.want(t, body)
	<-slow.done
	if !errors.Is(slow.err, storage.ErrFellBehind) {
		t.Fatalf("the slow reader: %v", slow.err)
	}
	if string(slow.got) != string(body[:len(slow.got)]) {
		t.Fatal("the slow reader got wrong bytes before it fell behind")
	}
}

// testWindowContext: "it may wait for readers, until ctx ends"; how much it took
// by then is unknown, so nothing can be made whole any more.
func testWindowContext(t *testing.T, s suite) {
	st := s.store(t, nil)
	w := begin(t, st, item{key: 1, unknown: true})
	e := w.Entry()
	r := e.Reader(0, -1)
	body := content(3, maxObject)
	if err := pour(w, body); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := w.Write(ctx, content(4, window)); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("a write that nobody makes room for: %v", err)
	}
	if err := w.Commit(nil); !errors.Is(err, storage.ErrAborted) {
		t.Fatalf("a commit after a write that took nobody knows how much: %v", err)
	}
	w.Abort(errors.New("deferred"))
	if _, err := drain(r); !errors.Is(err, storage.ErrAborted) {
		t.Fatal(err)
	}
	r.Close()
	e.Release()
	wantNone(t, st, 1)
}
