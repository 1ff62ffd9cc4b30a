package proxy

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"edge/cache/storage"
	"edge/cache/storage/disk"
	"edge/cache/storage/vfs"
	"edge/message"
)

// frail is a store whose readers fail where the test says so.
type frail struct {
	storage.Store
	mu   sync.Mutex
	fail func(pos int64) error // of the readers of what is stored, or filled; nil: none
}

func (f *frail) set(fail func(int64) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail = fail
}

func (f *frail) fails(pos int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail == nil {
		return nil
	}
	return f.fail(pos)
}

func (f *frail) Lookup(dst []storage.Entry, key storage.Key) []storage.Entry {
	n := len(dst)
	dst = f.Store.Lookup(dst, key)
	for i, e := range dst[n:] {
		dst[n+i] = frailEntry{e, f}
	}
	return dst
}

func (f *frail) Begin(p *storage.Proposal) (storage.Writer, error) {
	w, err := f.Store.Begin(p)
	if err != nil {
		return nil, err
	}
	return frailWriter{w, f}, nil
}

func (f *frail) Remove(e storage.Entry) { f.Store.Remove(e.(frailEntry).Entry) }

type frailWriter struct {
	storage.Writer
	f *frail
}

func (w frailWriter) Entry() storage.Entry { return frailEntry{w.Writer.Entry(), w.f} }

type frailEntry struct {
	storage.Entry
	f *frail
}

func (e frailEntry) Bytes() []byte { return nil } // all of it by readers

func (e frailEntry) Reader(offset, n int64) storage.Reader {
	return &frailReader{e.Entry.Reader(offset, n), e.f, offset}
}

type frailReader struct {
	storage.Reader
	f   *frail
	pos int64
}

func (r *frailReader) Next(ctx context.Context) ([]byte, error) {
	if err := r.f.fails(r.pos); err != nil {
		return nil, err
	}
	p, err := r.Reader.Next(ctx)
	r.pos += int64(len(p))
	return p, err
}

// failing fails n times at or after each of the given bytes; n < 0: always.
func failing(n int, err error, at ...int64) func(int64) error {
	left := make([]int, len(at))
	for i := range left {
		left[i] = n
	}
	return func(pos int64) error {
		for i := range at {
			if pos >= at[i] && left[i] != 0 {
				left[i]--
				return fmt.Errorf("byte %d: %w", pos, err)
			}
		}
		return nil
	}
}

// frailRig is an origin, and an edge that has its film stored.
func frailRig(t *testing.T, f *film) (*rig, *frail) {
	st := &frail{Store: filmStores()["memory"](t, 256<<20)}
	r := newRig(t, f.serve, kept(st))
	if got, err := f.ask(r, ""); got != f.size || err != nil {
		t.Fatalf("%d bytes, %v", got, err)
	}
	f.settle(r)
	return r, st
}

// ask asks for the film with more fields, checks each byte of the whole, and returns
// how many came.
func (f *film) ask(r *rig, fields string) (int64, error) {
	c := r.dial()
	defer c.nc.Close()
	c.send("GET /film HTTP/1.1\n"+fields, "")
	resp, err := http.ReadResponse(c.br, nil)
	if err != nil {
		return 0, err
	}
	if resp.StatusCode != 200 {
		return 0, fmt.Errorf("status %d", resp.StatusCode)
	}
	count := &counting{Reader: resp.Body}
	err = f.check(count, 0, f.size-1)
	return count.n, err
}

type counting struct {
	io.Reader
	n int64
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += int64(n)
	return n, err
}

// Whatever the store does in the middle of an answer, the client gets all of it; and the
// origin is asked for what that takes.
func TestStoreFailsMidway(t *testing.T) {
	const size = 5<<20 + 123
	every := make([]int64, 20)
	for i := range every {
		every[i] = int64(i) * 250_000
	}
	for name, c := range map[string]struct {
		fail func(int64) error
		most int // requests to the origin
	}{
		"damage":                 {failing(1, storage.ErrGone, 2<<20), 1},
		"at the first byte":      {failing(1, storage.ErrGone, 0), 1},
		"twice at the same byte": {failing(2, storage.ErrGone, 2<<20), 1},
		"for good":               {failing(-1, storage.ErrGone, 1<<20), 2},
		"here and there":         {failing(1, storage.ErrGone, every...), maxResumptions + 1},
		"fell behind":            {failing(1, storage.ErrFellBehind, 3<<20), 1},
		"full":                   {failing(1, fmt.Errorf("%w: %w", storage.ErrAborted, storage.ErrFull), 3<<20), 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &film{size: size, etag: "v"}
				r, st := frailRig(t, f)
				defer r.close()
				st.set(c.fail)
				if got, err := f.ask(r, ""); got != size || err != nil {
					t.Errorf("%d bytes of %d, %v", got, size, err)
				}
				asked, _ := f.stats()
				if n := len(asked) - 1; n > c.most {
					t.Errorf("the origin was asked %d times: %q", n, asked)
				}
				t.Logf("asked: %q", asked)
				f.settle(r)
				st.set(failing(1, storage.ErrGone, 4<<20))
				if err := f.watch(r, "/film", 1<<20, size-1); err != nil {
					t.Errorf("a range: %v", err)
				}
				c := r.get("/film\nRange: bytes=5-8,4194300-4194310")
				if c.err != nil || c.StatusCode != 206 || strings.Count(c.body, "Content-Range") != 2 {
					t.Errorf("several ranges: %d, %v", c.StatusCode, c.err)
				}
			})
		})
	}
}

// Followers of a fill that the store lets down are as well off as its leader.
func TestStoreFailsFollowers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &film{size: 4 << 20, etag: "v", slow: 1e6}
		st := &frail{Store: filmStores()["memory"](t, 256<<20)}
		r := newRig(t, f.serve, kept(st))
		defer r.close()
		st.set(failing(5, storage.ErrFellBehind, 1<<20))
		var clients sync.WaitGroup
		for range 10 {
			clients.Go(func() {
				if got, err := f.ask(r, ""); got != f.size || err != nil {
					t.Errorf("%d bytes of %d, %v", got, f.size, err)
				}
			})
		}
		clients.Wait()
		f.settle(r)
	})
}

// Where nothing says that what the origin has now is what was sent, the answer is cut,
// for the client to see; and so it is where the client wants nothing from there.
func TestStoreFailsForGood(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*film)
		fields string
	}{
		"another representation": {func(f *film) { f.etag = "w" }, ""},
		"only if cached":         {func(*film) {}, "Cache-Control: only-if-cached"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &film{size: 3 << 20, etag: "v"}
				r, st := frailRig(t, f)
				defer r.close()
				c.change(f)
				st.set(failing(-1, storage.ErrGone, 1<<20))
				if got, err := f.ask(r, c.fields); err == nil || got > f.size/2 {
					t.Errorf("%d bytes of %d, %v", got, f.size, err)
				}
			})
		})
	}
}

// An origin that ignores ranges sends the whole, of which the rest is used.
func TestStoreFailsWithoutRanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &film{size: 3 << 20, etag: "v", whole: true}
		r, st := frailRig(t, f)
		defer r.close()
		st.set(failing(1, storage.ErrGone, 1<<20))
		if got, err := f.ask(r, ""); got != f.size || err != nil {
			t.Errorf("%d bytes of %d, %v", got, f.size, err)
		}
	})
}

// What came without a length has one once it is stored.
func TestStoreFailsUnannounced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &film{size: 3 << 20, etag: "v"}
		body := make([]byte, f.size)
		f.at(body, 0)
		origin := func(c *originConn) bool {
			if c.req.Header.Get("Range") != "" {
				return f.serve(c)
			}
			return c.say("HTTP/1.1 200 OK\nCache-Control: max-age=3600\nETag: \"v\"\nTransfer-Encoding: chunked",
				fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body), body))
		}
		st := &frail{Store: filmStores()["memory"](t, 256<<20)}
		r := newRig(t, origin, kept(st))
		defer r.close()
		for range 2 {
			if got, err := f.ask(r, ""); got != f.size || err != nil {
				t.Errorf("%d bytes of %d, %v", got, f.size, err)
			}
			f.settle(r)
			st.set(failing(1, storage.ErrGone, 1<<20))
		}
	})
}

// Damage on a disk costs the chunk that it lies in: the answers that meet it are whole, the
// origin is asked for that chunk once, and the next answer finds it healed.
func TestDamageCostsAChunk(t *testing.T) {
	const size = 6 << 20
	for name, at := range map[string][]int64{
		"at the beginning": {300},
		"in the middle":    {2_500_000},
		"in several":       {70_000, 1_200_000, 3_900_000},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &film{size: size, etag: "v"}
				st, files := diskInMemory(t)
				r := newRig(t, f.serve, kept(st))
				defer r.close()
				if _, err := f.ask(r, ""); err != nil {
					t.Fatal(err)
				}
				f.settle(r)
				time.Sleep(5 * time.Second) // it is on the disk
				for _, pos := range at {
					harmAt(t, f, files, pos)
				}
				_, before := f.stats()
				var clients sync.WaitGroup
				for range 5 {
					clients.Go(func() {
						if got, err := f.ask(r, ""); got != size || err != nil {
							t.Errorf("%d bytes of %d, %v", got, size, err)
						}
					})
				}
				clients.Wait()
				f.settle(r)
				time.Sleep(time.Second)
				asked, after := f.stats()
				if n := after - before; n == 0 || n > int64(len(at))*filmChunk {
					t.Errorf("%d bytes were fetched for %d damaged chunks: %q", n, len(at), asked)
				}
				for range 2 {
					if got, err := f.ask(r, ""); got != size || err != nil {
						t.Errorf("%d bytes of %d, %v", got, size, err)
					}
				}
				if again, _ := f.stats(); len(again) != len(asked) {
					t.Errorf("the origin was asked again: %q", again[len(asked):])
				}
			})
		})
	}
}

// diskInMemory is a disk tier whose files the test can harm.
func diskInMemory(t *testing.T) (*disk.Store, *vfs.Mem) {
	t.Helper()
	files := vfs.NewMem()
	st, err := disk.Open(disk.Options{Disks: []disk.Disk{{Path: "/disk", Size: 64 << 20}}, MaxObject: 16 << 20, FS: files,
		Clock: func() message.Instant { return message.Instant(time.Now().UnixNano()) }})
	if err != nil {
		t.Fatal(err)
	}
	return st, files
}

// harmAt flips a bit of the film's byte at pos, where it lies on the disk.
func harmAt(t *testing.T, f *film, files *vfs.Mem, pos int64) {
	t.Helper()
	segments, err := files.List("/disk")
	if err != nil {
		t.Fatal(err)
	}
	want := make([]byte, 64)
	f.at(want, pos)
	for _, name := range segments {
		if !strings.HasSuffix(name, ".seg") {
			continue
		}
		name = "/disk/" + name
		s, err := files.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		size, _ := s.Size()
		b := make([]byte, size)
		if _, err := s.ReadAt(b, 0); err != nil && err != io.EOF {
			t.Fatal(err)
		}
		_ = s.Close()
		if at := bytes.Index(b, want); at >= 0 {
			if err := files.Flip(name, int64(at), 1); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatalf("byte %d is nowhere on the disk", pos)
}
