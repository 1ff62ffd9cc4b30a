package storagetest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"edge/cache/storage"
	"edge/message"
)

// testHammer: everything at once. Each head names its body's SHA-256, so that
// whatever is read can be told from what should have been.
func testHammer(t *testing.T, s suite) {
	const (
		workers = 8
		rounds  = 400
		keys    = 40
	)
	l := &Ledger{}
	st := s.sized(t, Options{Size: 1 << 20, MaxObject: 128 << 10, Window: 32 << 10, ChunkSize: 8 << 10, Ledger: l})
	var wg sync.WaitGroup
	for g := range workers {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(g), 1))
			for range rounds {
				if err := hammer(st, l, rnd, rnd.IntN(keys)); err != nil {
					t.Error(err)
					return
				}
				if n := st.Stats(); n.Bytes > n.Budget {
					t.Errorf("%d bytes of %d", n.Bytes, n.Budget)
				}
			}
		})
	}
	wg.Wait()
}

// hammer does one random thing.
func hammer(st storage.Store, l *Ledger, rnd *rand.Rand, key int) error {
	switch n := rnd.IntN(20); {
	case n < 7:
		return hammerWrite(st, l, rnd, key)
	case n < 8:
		st.Invalidate(Key(key))
	case n < 9:
		l.Purge(Key(key), rnd.IntN(2) == 0)
	case n < 10:
		var err error
		st.Each(func(e storage.Entry) bool {
			err = verify(e)
			return err == nil && rnd.IntN(10) > 0
		})
		return err
	default:
		list := lookup(st, key)
		defer release(list)
		for _, e := range list {
			if err := verify(e); err != nil {
				return err
			}
			switch rnd.IntN(12) {
			case 0:
				st.Remove(e)
			case 1:
				head := *e.Stored()
				head.ResponseTime++
				if err := st.Freshen(e, &head, l.Sequence()); err != nil &&
					!errors.Is(err, storage.ErrGone) && !errors.Is(err, storage.ErrFull) {
					return err
				}
			}
		}
	}
	return nil
}

// hammerWrite stores something, with a follower, or gives it up.
func hammerWrite(st storage.Store, l *Ledger, rnd *rand.Rand, key int) error {
	it := item{key: key, seq: l.Sequence(), unknown: rnd.IntN(2) == 0, body: content(rnd.Uint64(), rnd.IntN(1<<rnd.IntN(18)+1))}
	if rnd.IntN(3) == 0 {
		it.nominated = fmt.Sprintf("n: %d\r\n", rnd.IntN(3))
	}
	w, err := st.Begin(it.proposal())
	if err != nil {
		if errors.Is(err, storage.ErrFull) || errors.Is(err, storage.ErrTooLarge) {
			return nil
		}
		return err
	}
	followed := follow(w.Entry(), 0, -1, 0)
	cut := len(it.body)
	abort := rnd.IntN(5) == 0
	if abort {
		cut = rnd.IntN(cut + 1)
	}
	err = pour(w, it.body[:cut])
	switch {
	case err != nil:
	case abort:
		w.Abort(errors.New("given up"))
	default:
		err = w.Commit(nil)
	}
	<-followed.done
	if !bytes.HasPrefix(it.body, followed.got) {
		return errors.New("a follower got wrong bytes")
	}
	if followed.err == nil && (abort || len(followed.got) != len(it.body)) {
		return fmt.Errorf("a follower took %d bytes of %d for the whole", len(followed.got), len(it.body))
	}
	for _, ok := range []error{nil, storage.ErrDoomed, storage.ErrFull, storage.ErrTooLarge} {
		if errors.Is(err, ok) {
			return nil
		}
	}
	return err
}

// verify checks e's body against the sum in its head.
func verify(e storage.Entry) error {
	sum := sha256.New()
	if b := e.Bytes(); b != nil {
		sum.Write(b)
	} else {
		r := e.Reader(0, -1)
		defer r.Close()
		for {
			p, err := r.Next(context.Background())
			if err != nil {
				break // the sum tells whether it was the end
			}
			sum.Write(p)
		}
	}
	var f message.Fields
	e.Stored().Fields(&f)
	i := f.NextName([]byte("X-Sum"), 0)
	if i < 0 || string(f.All()[i].Value) != fmt.Sprintf("%x", sum.Sum(nil)) {
		return fmt.Errorf("a body of %d bytes that its head %q does not belong to", e.Size(), e.Stored().Head)
	}
	return nil
}
