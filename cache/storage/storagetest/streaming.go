package storagetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"edge/cache/storage"
	"edge/message"
)

// following is a goroutine that reads an entry.
type following struct {
	got  []byte
	err  error
	done chan struct{}
}

// follow reads e, released at the end, in the background, pausing before each
// piece.
func follow(e storage.Entry, offset, n int64, pause time.Duration) *following {
	f := &following{done: make(chan struct{})}
	r := e.Reader(offset, n)
	e.Release()
	go func() {
		defer close(f.done)
		defer r.Close()
		for {
			time.Sleep(pause)
			p, err := r.Next(context.Background())
			if err != nil {
				if err != io.EOF {
					f.err = err
				}
				return
			}
			f.got = append(f.got, p...)
		}
	}()
	return f
}

// want waits for the end and checks it.
func (f *following) want(t fataler, body []byte) {
	t.Helper()
	<-f.done
	if f.err != nil || !bytes.Equal(f.got, body) {
		t.Fatalf("followed %d bytes and %v, want %d", len(f.got), f.err, len(body))
	}
}

// testFollow: "this is what followers stream from": each byte as soon as it
// was written, the end as soon as it is known, and never sooner.
func testFollow(t *testing.T, s suite) {
	st := s.store(t, nil)
	for _, unknown := range []bool{true, false} {
		body := content(8, 200<<10)
		w := begin(t, st, item{key: 1, body: body, unknown: unknown})
		all := []*following{follow(w.Entry(), 0, -1, 0), follow(w.Entry(), 0, -1, time.Millisecond)}
		ranged := follow(w.Entry(), 100<<10, 1000, 0)
		for i := 0; i < len(body); i += 10 << 10 {
			if err := w.Write(context.Background(), body[i:min(i+10<<10, len(body))]); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if n := len(all[0].got); n != min(i+10<<10, len(body)) {
				t.Fatalf("%d bytes written, %d reached an idle reader", i+10<<10, n)
			}
			select {
			case <-all[0].done:
				t.Fatal("a reader ended before the writer")
			default:
			}
			if i == 50<<10 {
				all = append(all, follow(w.Entry(), 0, -1, 0))
			}
		}
		ranged.want(t, body[100<<10:100<<10+1000]) // though the writer has not ended
		e := w.Entry()
		if h := e.Held(nil); len(h) != 1 || h[0].End != int64(len(body)) {
			t.Fatalf("held %v while writing", h)
		}
		if want := int64(len(body)); !unknown && e.Size() != want || unknown && e.Size() != message.LengthUnknown {
			t.Fatalf("size %d while writing", e.Size())
		}
		if e.Bytes() != nil {
			t.Fatal("Bytes of a body that is not complete")
		}
		if err := w.Commit(nil); err != nil {
			t.Fatal(err)
		}
		all = append(all, follow(e, 0, -1, 0))
		for _, f := range all {
			f.want(t, body)
		}
	}
}

// testAbort: "readers get ErrAborted": those that wait, those that are behind,
// and those that come later.
func testAbort(t *testing.T, s suite) {
	st := s.store(t, nil)
	body := content(8, 100<<10)
	reason := errors.New("the origin hung up")
	for _, unknown := range []bool{true, false} {
		w := begin(t, st, item{key: 1, body: append(bytes.Clone(body), 'x'), unknown: unknown})
		waiting := follow(w.Entry(), 0, -1, 0)
		behind := follow(w.Entry(), 0, -1, time.Hour)
		served := follow(w.Entry(), 10, 1000, 0) // has all it asked for by then
		e := w.Entry()
		write(t, w, body)
		synctest.Wait()
		w.Abort(reason)
		served.want(t, body[10:1010])
		late := follow(e, 0, -1, 0)
		for _, f := range []*following{waiting, behind, late} {
			<-f.done
			if !errors.Is(f.err, storage.ErrAborted) {
				t.Fatalf("a reader of an aborted body got %v", f.err)
			}
			if !bytes.HasPrefix(body, f.got) {
				t.Fatal("wrong bytes before the abort")
			}
		}
		if !bytes.Equal(waiting.got, body) {
			t.Fatal("a reader that kept up did not get what was written before the abort")
		}
		w.Abort(reason)
		if err := w.Commit(nil); err == nil {
			t.Fatal("a commit after the abort")
		}
		wantNone(t, st, 1)
	}
}

// testReaderContext: "or ctx's error".
func testReaderContext(t *testing.T, s suite) {
	st := s.store(t, nil)
	w := begin(t, st, item{key: 1, unknown: true})
	e := w.Entry()
	r := e.Reader(0, -1)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	start := time.Now()
	if _, err := r.Next(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Minute {
		t.Fatalf("after %v: %v", time.Since(start), err)
	}
	write(t, w, []byte("abc"))
	if p, err := r.Next(context.Background()); err != nil || string(p) != "abc" {
		t.Fatalf("after the context of an earlier call ended: %q, %v", p, err)
	}
	r.Close()
	w.Abort(errors.New("end"))
	e.Release()
}
