package proxy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"edge/cache/statemachine"
	"edge/cache/storage"
	"edge/cache/storage/disk"
	"edge/cache/storage/tiered"
	"edge/cache/storage/vfs"
	"edge/message"
)

// film is an origin with one large representation, generated as it is read, and
// the count of how often each chunk of it was asked for.
type film struct {
	size  int64
	etag  string
	slow  time.Duration            // between pieces of 64 KiB
	head  time.Duration            // before the head
	whole bool                     // ranges are ignored
	names func(chunk int64) string // more lines of the head, by the first chunk of what is sent; may be nil

	mu     sync.Mutex
	asked  []string
	chunks map[int64]int
	sent   int64
}

const filmChunk = statemachine.DefaultChunk

// at fills p with what lies at offset.
func (f *film) at(p []byte, offset int64) {
	for i := range p {
		n := uint64(offset + int64(i))
		p[i] = byte(n ^ n>>9 ^ n>>21)
	}
}

// serve is the origin's handler.
func (f *film) serve(c *originConn) bool {
	first, last, status := int64(0), f.size-1, "200 OK"
	rng := c.req.Header.Get("Range")
	if from, to, ok := strings.Cut(strings.TrimPrefix(rng, "bytes="), "-"); ok && !f.whole {
		status = "206 Partial Content"
		first, _ = strconv.ParseInt(from, 10, 64)
		if n, err := strconv.ParseInt(to, 10, 64); err == nil {
			last = min(n, last)
		}
	}
	f.mu.Lock()
	f.asked = append(f.asked, rng)
	if f.chunks == nil {
		f.chunks = make(map[int64]int)
	}
	for n := first / filmChunk; n <= last/filmChunk && rng != ""; n++ {
		f.chunks[n]++
	}
	f.mu.Unlock()
	time.Sleep(f.head)
	head := fmt.Sprintf("HTTP/1.1 %s\r\nCache-Control: max-age=3600\r\nETag: \"%s\"\r\nContent-Length: %d\r\n", status, f.etag, last+1-first)
	if status[0:3] == "206" {
		head += fmt.Sprintf("Content-Range: bytes %d-%d/%d\r\n", first, last, f.size)
	}
	if f.names != nil {
		head += f.names(first / filmChunk)
	}
	if _, err := io.WriteString(c, head+"\r\n"); err != nil {
		return false
	}
	buf := make([]byte, 64<<10)
	for pos := first; pos <= last; {
		p := buf[:min(int64(len(buf)), last+1-pos)]
		f.at(p, pos)
		if _, err := c.Write(p); err != nil {
			return false
		}
		pos += int64(len(p))
		f.mu.Lock()
		f.sent += int64(len(p))
		f.mu.Unlock()
		time.Sleep(f.slow)
	}
	return true
}

// stats returns the ranges asked for, and how many bytes were sent.
func (f *film) stats() (asked []string, sent int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.asked...), f.sent
}

// watch reads [first, last] by a request, and checks each byte as it comes.
func (f *film) watch(r *rig, path string, first, last int64) error {
	c := r.dial()
	defer c.nc.Close()
	c.send(fmt.Sprintf("GET %s HTTP/1.1\nRange: bytes=%d-%d", path, first, last), "")
	resp, err := http.ReadResponse(c.br, nil)
	if err != nil {
		return err
	}
	want := fmt.Sprintf("bytes %d-%d/%d", first, last, f.size)
	if resp.StatusCode != 206 || resp.Header.Get("Content-Range") != want {
		return fmt.Errorf("status %d, Content-Range %q, want %q", resp.StatusCode, resp.Header.Get("Content-Range"), want)
	}
	return f.check(resp.Body, first, last)
}

// settle waits until what goes on behind the answers has ended.
func (f *film) settle(r *rig) {
	for r.proxy.Stats().Fills > 0 {
		time.Sleep(time.Millisecond)
	}
}

// check reads [first, last].
func (f *film) check(rd io.Reader, first, last int64) error {
	got, want := make([]byte, 64<<10), make([]byte, 64<<10)
	for pos := first; pos <= last; {
		n, err := rd.Read(got[:min(int64(len(got)), last+1-pos)])
		f.at(want[:n], pos)
		if !bytes.Equal(got[:n], want[:n]) {
			return fmt.Errorf("wrong bytes from %d on", pos)
		}
		if pos += int64(n); err != nil && pos <= last {
			return fmt.Errorf("at %d of %d: %w", pos, last+1, err)
		}
	}
	return nil
}

// filmStores are the stores that films are kept in.
func filmStores() map[string]func(*testing.T, int64) storage.Store {
	now := func() message.Instant { return message.Instant(time.Now().UnixNano()) }
	onDisk := func(size int64) disk.Options {
		return disk.Options{Disks: []disk.Disk{{Path: "/disk", Size: size}}, MaxObject: size / 2, FS: vfs.NewMem(), Clock: now}
	}
	opened := func(t *testing.T, st storage.Store, err error) storage.Store {
		if err != nil {
			t.Fatal(err)
		}
		return st
	}
	return map[string]func(*testing.T, int64) storage.Store{
		"memory": func(t *testing.T, size int64) storage.Store {
			st, err := storage.NewMemory(storage.MemoryOptions{Size: size, MaxObject: size / 2})
			return opened(t, st, err)
		},
		"disk": func(t *testing.T, size int64) storage.Store {
			st, err := disk.Open(onDisk(size))
			return opened(t, st, err)
		},
		"tiered": func(t *testing.T, size int64) storage.Store {
			st, err := tiered.Open(tiered.Options{Memory: storage.MemoryOptions{Size: size / 4, Clock: now}, Disk: onDisk(size)})
			return opened(t, st, err)
		},
	}
}

// kept has a rig store in st.
func kept(st storage.Store) rigOption {
	return func(r *rig, o *Options) {
		r.store.Close()
		r.store, o.Store = st, st
	}
}

// The law of the herd: however many clients ask for ranges of one file at once,
// and however these overlap, each chunk is asked of the origin once.
func TestHerdOfRanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &film{size: 64 << 20, etag: "v", head: 5 * time.Millisecond, slow: time.Millisecond}
		st := filmStores()["memory"](t, 256<<20)
		r := newRig(t, f.serve, kept(st))
		defer r.close()
		rnd := rand.New(rand.NewPCG(1, 2))
		var clients sync.WaitGroup
		for range 100 {
			first := rnd.Int64N(f.size)
			last := min(f.size-1, first+rnd.Int64N(3<<20))
			late := time.Duration(rnd.IntN(100)) * time.Millisecond
			clients.Go(func() {
				time.Sleep(late)
				if err := f.watch(r, "/film", first, last); err != nil {
					t.Errorf("bytes %d to %d: %v", first, last, err)
				}
			})
		}
		clients.Wait()
		f.mu.Lock()
		defer f.mu.Unlock()
		for n, times := range f.chunks {
			if times != 1 {
				t.Errorf("chunk %d was asked for %d times", n, times)
			}
		}
		if len(f.chunks) < 40 {
			t.Errorf("only %d chunks were asked for: the test says little", len(f.chunks))
		}
	})
}

// Two runs of one file are fetched side by side, and the same one once.
func TestRunsSideBySide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &film{size: 64 << 20, etag: "v", head: time.Second}
		r := newRig(t, f.serve, kept(filmStores()["memory"](t, 64<<20)))
		defer r.close()
		start := time.Now()
		var clients sync.WaitGroup
		for _, first := range []int64{0, 100, 20 << 20, 20<<20 + 5, 40 << 20} {
			clients.Go(func() {
				if err := f.watch(r, "/film", first, first+10); err != nil {
					t.Error(err)
				}
			})
		}
		clients.Wait()
		if took := time.Since(start).Round(100 * time.Millisecond); took != time.Second {
			t.Errorf("three runs took %v, want the second that one takes", took)
		}
		if asked, _ := f.stats(); len(asked) != 3 {
			t.Errorf("the origin was asked for %q", asked)
		}
		f.settle(r)
		// One that spans what is held and what is not asks for no more than that.
		if err := f.watch(r, "/film", 100, 3<<20); err != nil {
			t.Error(err)
		}
		asked, _ := f.stats()
		if want := "bytes=1048576-4194303"; len(asked) != 4 || asked[3] != want {
			t.Errorf("the origin was asked for %q, last should be %q", asked, want)
		}
	})
}

// A small range of a huge file costs the chunks it touches: at the origin, in
// the store, and in memory.
func TestMiddleOfAHugeFile(t *testing.T) {
	for name, open := range filmStores() {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &film{size: 4 << 30, etag: "v"}
				st := open(t, 64<<20)
				r := newRig(t, f.serve, kept(st))
				defer r.close()
				var before, after runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&before)
				for _, x := range []struct{ first, last int64 }{
					{2<<30 + 5, 2<<30 + 1000}, {2<<30 + 2000, 2<<30 + 3000}, {3<<30 - 10, 3<<30 + 10}, {4<<30 - 7, 4<<30 - 1}, {2<<30 + 5, 2<<30 + 3000},
				} {
					if err := f.watch(r, "/film", x.first, x.last); err != nil {
						t.Errorf("bytes %d to %d: %v", x.first, x.last, err)
					}
				}
				f.settle(r)
				runtime.GC()
				runtime.ReadMemStats(&after)
				if asked, sent := f.stats(); len(asked) != 3 || sent != 4*filmChunk {
					t.Errorf("the origin was asked for %q and sent %d bytes", asked, sent)
				}
				if n := st.Stats().Bytes; n > 6*filmChunk {
					t.Errorf("%d bytes are stored for four chunks", n)
				}
				if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 48<<20 { // instrumented builds keep slabs, and all the file system, on the heap
					t.Errorf("the heap has grown by %d bytes", grown)
				}
				r.get(fmt.Sprintf("/film\nRange: bytes=%d-\nCache-Control: only-if-cached", 4<<30-7)).expect(t, 206, "hit", string(f.bytes(4<<30-7, 4<<30)))
			})
		})
	}
}

func (f *film) bytes(start, end int64) []byte {
	p := make([]byte, end-start)
	f.at(p, start)
	return p
}

// Nobody waits for the tail of a chunk that was not asked for, nor for bytes
// before the first to have been stored.
func TestRangeDoesNotWaitForItsChunk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &film{size: 8 << 20, etag: "v", slow: time.Second}
		r := newRig(t, f.serve, kept(filmStores()["memory"](t, 64<<20)))
		defer r.close()
		start := time.Now()
		if err := f.watch(r, "/film", 70<<10, 80<<10); err != nil {
			t.Error(err)
		}
		if took := time.Since(start); took >= 2*time.Second {
			t.Errorf("what came after a second took %v", took)
		}
		// The chunk's tail comes all the same, without another request.
		if err := f.watch(r, "/film", 1000<<10, 1010<<10); err != nil {
			t.Error(err)
		}
		if asked, _ := f.stats(); len(asked) != 1 {
			t.Errorf("the origin was asked for %q", asked)
		}
	})
}

// A client that asks for everything to the end and leaves does not have the
// whole fetched behind its back.
func TestOpenRangeLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &film{size: 4 << 30, etag: "v", slow: time.Millisecond}
		r := newRig(t, f.serve, kept(filmStores()["memory"](t, 64<<20)))
		defer r.close()
		c := r.dial()
		c.send("GET /film HTTP/1.1\nRange: bytes=0-", "")
		resp, err := http.ReadResponse(c.br, nil)
		if err != nil || resp.Header.Get("Content-Range") != "bytes 0-4294967295/4294967296" || resp.ContentLength != 4<<30 {
			t.Fatalf("%v, %v", resp, err)
		}
		if err := f.check(resp.Body, 0, 100<<10); err != nil {
			t.Error(err)
		}
		c.nc.Close()
		time.Sleep(time.Minute)
		if asked, sent := f.stats(); len(asked) != 1 || sent > statemachine.MaxRun*filmChunk {
			t.Errorf("the origin was asked for %q, and sent %d bytes", asked, sent)
		}
	})
}

// While the whole is on its way, who wants what comes next waits for it, and who
// wants what is far does not.
func TestRangeOfWhatIsBeingFilled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &film{size: 40 << 20, etag: "v", slow: time.Second} // 16 s a chunk
		r := newRig(t, f.serve, kept(filmStores()["memory"](t, 256<<20)))
		defer r.close()
		c := r.dial()
		c.send("GET /film HTTP/1.1", "")
		time.Sleep(10 * time.Second)
		var clients sync.WaitGroup
		for _, first := range []int64{0, 2 << 20, 30 << 20} {
			clients.Go(func() {
				start := time.Now()
				if err := f.watch(r, "/film", first, first+100); err != nil {
					t.Error(err)
				}
				if took := time.Since(start); took > 30*time.Second {
					t.Errorf("byte %d took %v", first, took)
				}
			})
		}
		clients.Wait()
		if asked, _ := f.stats(); len(asked) != 2 || asked[1] != "bytes=31457280-32505855" {
			t.Errorf("the origin was asked for %q", asked)
		}
		c.nc.Close()
	})
}

// Where an origin ignores ranges, those who ask for one share the whole that
// comes.
func TestRangesIgnored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &film{size: 20 << 20, etag: "v", slow: 10 * time.Millisecond, whole: true}
		r := newRig(t, f.serve, kept(filmStores()["memory"](t, 256<<20)))
		defer r.close()
		var clients sync.WaitGroup
		for i := range 20 {
			clients.Go(func() {
				time.Sleep(time.Duration(i) * time.Millisecond)
				if err := f.watch(r, "/film", int64(i)<<20, int64(i)<<20+100); err != nil {
					t.Error(err)
				}
			})
		}
		clients.Wait()
		if asked, _ := f.stats(); len(asked) != 1 {
			t.Errorf("the origin was asked for %q", asked)
		}
	})
}

// The last chunk makes it whole, in whatever order they came, in every store.
func TestLastChunkMakesItWhole(t *testing.T) {
	for name, open := range filmStores() {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &film{size: 5<<20 + 77, etag: "v"}
				st := open(t, 64<<20)
				r := newRig(t, f.serve, kept(st))
				defer r.close()
				for _, n := range []int64{3, 0, 5, 1} {
					if err := f.watch(r, "/film", n<<20+9, n<<20+20); err != nil {
						t.Error(err)
					}
					f.settle(r)
				}
				a := r.get("/film")
				a.expect(t, 200, "fwd=partial", string(f.bytes(0, f.size)))
				f.settle(r)
				asked, sent := f.stats()
				if want := "[bytes=3145728-4194303 bytes=0-1048575 bytes=5242880-5242956 bytes=1048576-2097151 bytes=2097152-3145727 bytes=4194304-5242879]"; fmt.Sprint(asked) != want || sent != f.size {
					t.Errorf("the origin was asked for %v and sent %d, want %v", asked, sent, want)
				}
				r.get("/film").expect(t, 200, "hit", string(f.bytes(0, f.size)))
				entries := 0
				st.Each(func(e storage.Entry) bool {
					entries++
					held := e.Held(nil)
					if e.Stored().Terms.Flags.Has(message.TermPartial) || len(held) != 1 || held[0] != (storage.ByteRange{End: f.size}) {
						t.Errorf("flags %b, held %v", e.Stored().Terms.Flags, held)
					}
					return true
				})
				if entries != 1 {
					t.Errorf("%d entries", entries)
				}
			})
		})
	}
}

// unwilling is a store that refuses parts from the nth on.
type unwilling struct {
	storage.Store
	begun atomic.Int64
	n     int64
}

func (u *unwilling) Begin(p *storage.Proposal) (storage.Writer, error) {
	if p.Part && u.begun.Add(1) >= u.n {
		return nil, errors.New("unwilling")
	}
	return u.Store.Begin(p)
}

// A store that fails while an answer is on its way is done without.
func TestStoreFailsBetweenRuns(t *testing.T) {
	for n := int64(1); n <= 5; n++ {
		synctest.Test(t, func(t *testing.T) {
			f := &film{size: 60 << 20, etag: "v"}
			r := newRig(t, f.serve, kept(&unwilling{Store: filmStores()["memory"](t, 256<<20), n: n}))
			defer r.close()
			if err := f.watch(r, "/film", 5, 40<<20); err != nil {
				t.Errorf("refused from part %d on: %v", n, err)
			}
		})
	}
}

// What the store cannot keep is passed on run by run, whatever its length.
func TestRangesLongerThanTheStoreKeeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &film{size: 60 << 20, etag: "v"}
		st, err := storage.NewMemory(storage.MemoryOptions{Size: 16 << 20, MaxObject: 2 << 20})
		if err != nil {
			t.Fatal(err)
		}
		r := newRig(t, f.serve, kept(st))
		defer r.close()
		for range 2 {
			if err := f.watch(r, "/film", 5, 40<<20); err != nil {
				t.Error(err)
			}
		}
	})
}

// Several ranges may each begin with what is held and end with what is not.
func TestSeveralRangesFromChunks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &film{size: 10 << 20, etag: "v"}
		r := newRig(t, f.serve, kept(filmStores()["memory"](t, 64<<20)))
		defer r.close()
		if err := f.watch(r, "/film", 5<<20, 5<<20+1); err != nil {
			t.Error(err)
		}
		f.settle(r)
		a := r.get(fmt.Sprintf("/film\nRange: bytes=%d-%d,0-1,-2", 6<<20-2, 6<<20+1))
		for _, want := range [][]byte{f.bytes(6<<20-2, 6<<20+2), f.bytes(0, 2), f.bytes(10<<20-2, 10<<20)} {
			if a.StatusCode != 206 || a.err != nil || !strings.Contains(a.body, "\r\n\r\n"+string(want)+"\r\n--") {
				t.Fatalf("status %d, %v: %q", a.StatusCode, a.err, clip(a.body))
			}
		}
		if asked, _ := f.stats(); len(asked) != 4 {
			t.Errorf("the origin was asked for %q", asked)
		}
	})
}

// A run that breaks off is seen to: by who led it, and by who followed. What of
// it is whole stays, and only the rest is asked for again.
func TestRunBreaksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &film{size: 8 << 20, etag: "v"}
		broken := false
		r := newRig(t, func(c *originConn) bool {
			if broken {
				return f.serve(c)
			}
			broken = true
			time.Sleep(time.Second)
			io.WriteString(c, "HTTP/1.1 206 Partial Content\r\nCache-Control: max-age=60\r\nETag: \"v\"\r\nContent-Range: bytes 0-4194303/8388608\r\nContent-Length: 4194304\r\n\r\n")
			c.Write(f.bytes(0, 2<<20+100))
			return false
		}, kept(filmStores()["memory"](t, 64<<20)))
		defer r.close()
		var clients sync.WaitGroup
		for range 3 {
			clients.Go(func() {
				if err := f.watch(r, "/film", 5, 4<<20-1); err == nil {
					t.Error("what broke off ended as if it were whole")
				}
			})
		}
		clients.Wait()
		if err := f.watch(r, "/film", 5, 4<<20-1); err != nil {
			t.Error(err)
		}
		if asked, _ := f.stats(); len(asked) != 1 || asked[0] != "bytes=2097152-4194303" {
			t.Errorf("the origin was asked for %q", asked)
		}
	})
}
