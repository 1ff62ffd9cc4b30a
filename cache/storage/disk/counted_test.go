package disk

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"

	"edge/cache/storage"
	"edge/cache/storage/storagetest"
	"edge/message"
)

// begin begins storing total bytes under a key.
func begin(t testing.TB, st *Store, key int, total int64) storage.Writer {
	t.Helper()
	w, err := st.Begin(&storage.Proposal{Key: storagetest.Key(key), Scheme: "http", Authority: []byte("a"), Target: []byte("/"), Total: total,
		Stored: &message.Stored{Status: 200, Terms: message.Terms{ETag: []byte(`"a"`)}}})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// allocated returns how many bytes f allocates.
func allocated(f func()) int64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return int64(after.TotalAlloc - before.TotalAlloc)
}

// TestLongFillMakesNoGarbage: a long fill that is followed uses its memory again, and
// each follower gets the bytes that were written. No time passes while it works, so
// that no disk is too slow for it.
func TestLongFillMakesNoGarbage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		size, garbage := 192<<20, int64(48<<20)
		if poisoned {
			size, garbage = 8<<20, 32<<20 // the race detector has pools forget some of what they get
		}
		st, err := Open(Options{Disks: []Disk{{t.TempDir(), 1 << 30}}, Clock: testClock})
		if err != nil {
			t.Fatal(err)
		}
		piece := pattern(1, 64<<10)
		want := sha256.New()
		for range size / len(piece) {
			want.Write(piece)
		}
		for _, total := range []int64{int64(size), message.LengthUnknown} {
			n := allocated(func() {
				w := begin(t, st, 1, total)
				defer w.Abort(errors.New("end"))
				var followers sync.WaitGroup
				for range 2 {
					e := w.Entry()
					followers.Go(func() {
						defer e.Release()
						r, got := e.Reader(0, -1), sha256.New()
						defer r.Close()
						for {
							p, err := r.Next(context.Background())
							if err == io.EOF {
								break
							}
							if err != nil {
								t.Error(err)
								return
							}
							got.Write(p)
						}
						if !bytes.Equal(got.Sum(nil), want.Sum(nil)) {
							t.Error("a follower got other bytes")
						}
					})
				}
				for range size / len(piece) {
					if err := w.Write(context.Background(), piece); err != nil {
						t.Fatal(err)
					}
				}
				if err := w.Commit(nil); err != nil {
					t.Fatal(err)
				}
				followers.Wait()
			})
			t.Logf("%d MiB stored, total %d: %d KiB allocated", size>>20, total, n>>10)
			if n > garbage {
				t.Errorf("%d bytes allocated for a body of %d", n, size)
			}
		}
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestShortBodiesTakeWhatTheyNeed: an announced short body takes its length and no chunk.
func TestShortBodiesTakeWhatTheyNeed(t *testing.T) {
	st, err := Open(Options{Disks: []Disk{{t.TempDir(), 1 << 30}}, Clock: testClock})
	if err != nil {
		t.Fatal(err)
	}
	const n, size = 200, 1000
	body := pattern(1, size)
	each := allocated(func() {
		for i := range n {
			w := begin(t, st, i, size)
			if err := w.Write(context.Background(), body); err != nil {
				t.Fatal(err)
			}
			if err := w.Commit(nil); err != nil {
				t.Fatal(err)
			}
		}
	}) / n
	t.Logf("%d bytes allocated for each body of %d", each, size)
	if each > 12<<10 {
		t.Errorf("%d bytes allocated for a body of %d", each, size)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
}
