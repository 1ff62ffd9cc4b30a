package proxy

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"edge/cache/storage"
)

// showing is an origin whose one response the test changes.
type showing struct {
	fields  string
	body    []byte
	chunked bool
}

func (s *showing) serve(c *originConn) bool {
	if s.chunked {
		return c.say("HTTP/1.1 200 OK\nCache-Control: max-age=3600\nTransfer-Encoding: chunked"+s.fields,
			fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(s.body), s.body))
	}
	return c.say("HTTP/1.1 200 OK\nCache-Control: max-age=3600"+s.fields, string(s.body))
}

// fetch asks for the response with more fields, and returns what came of its content.
func (s *showing) fetch(r *rig, fields string) ([]byte, error) {
	c := r.dial()
	defer c.nc.Close()
	c.send("GET /film HTTP/1.1\n"+fields, "")
	resp, err := http.ReadResponse(c.br, nil)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(resp.Body)
}

// Without a strong validator an answer that the store fails goes on only with what begins
// as it did, is as long, and does not say that it is another; and then all of it is the
// origin's of now.
func TestStoreFailsWithoutStrongValidator(t *testing.T) {
	const size, fails = 768 << 10, 256 << 10
	weak := "\nETag: W/\"v\""
	flip := func(at int) func(*showing) { return func(s *showing) { s.body[at] ^= 1 } }
	cut := func(s *showing) { s.body = s.body[:size-1] }
	extend := func(s *showing) { s.body = append(s.body, 'x') }
	for name, c := range map[string]struct {
		fields  string
		chunked bool
		change  func(*showing)
		request string
		whole   bool
		from    int // of a range
		asked   int
	}{
		"the same":                  {weak, false, func(*showing) {}, "", true, 0, 2},
		"no validator":              {"", false, func(*showing) {}, "", true, 0, 2},
		"unannounced":               {weak, true, func(*showing) {}, "", true, 0, 2},
		"announced by now":          {weak, true, func(s *showing) { s.chunked = false }, "", true, 0, 2},
		"changed behind":            {"", false, flip(size - 1), "", true, 0, 2},
		"changed at the beginning":  {"", false, flip(0), "", false, 0, 2},
		"changed before":            {"", false, flip(fails - 1), "", false, 0, 2},
		"shorter":                   {"", false, cut, "", false, 0, 2},
		"longer":                    {"", false, extend, "", false, 0, 2},
		"shorter, unannounced":      {"", true, cut, "", false, 0, 2},
		"longer, unannounced":       {"", true, extend, "", false, 0, 2},
		"another weak tag":          {weak, false, func(s *showing) { s.fields = "\nETag: W/\"w\"" }, "", false, 0, 2},
		"another coding":            {weak, false, func(s *showing) { s.fields += "\nContent-Encoding: gzip" }, "", false, 0, 2},
		"only if cached":            {weak, false, func(*showing) {}, "Cache-Control: only-if-cached", false, 0, 1},
		"a range":                   {weak, false, func(*showing) {}, "Range: bytes=1000-700000", true, 1000, 2},
		"a range, changed before":   {weak, false, flip(999), "Range: bytes=1000-700000", true, 1000, 2},
		"a range, changed in it":    {weak, false, flip(1000), "Range: bytes=1000-700000", false, 1000, 2},
		"a range, unannounced":      {weak, true, func(*showing) {}, "Range: bytes=1000-700000", false, 1000, 2},
		"the last, unannounced":     {weak, true, func(*showing) {}, "Range: bytes=1000-", true, 1000, 2},
		"a range, shorter, unknown": {weak, true, cut, "Range: bytes=1000-", false, 1000, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &film{size: size}
				s := &showing{fields: c.fields, chunked: c.chunked, body: make([]byte, size)}
				f.at(s.body, 0)
				st := &frail{Store: filmStores()["memory"](t, 256<<20)}
				r := newRig(t, s.serve, kept(st))
				defer r.close()
				if got, err := s.fetch(r, ""); err != nil || !bytes.Equal(got, s.body) {
					t.Fatalf("%d bytes, %v", len(got), err)
				}
				f.settle(r)
				c.change(s)
				st.set(failing(1, storage.ErrGone, fails))
				got, err := s.fetch(r, c.request)
				want := s.body[c.from:]
				if strings.HasSuffix(c.request, "700000") {
					want = s.body[c.from:700001]
				}
				switch {
				case c.whole && (err != nil || !bytes.Equal(got, want)):
					t.Errorf("%d bytes of %d, %v", len(got), len(want), err)
				case !c.whole && err == nil:
					t.Errorf("%d bytes without an error", len(got))
				}
				if n := r.origin.count(); n != c.asked {
					t.Errorf("the origin was asked %d times, want %d", n, c.asked)
				}
			})
		})
	}
}

// What was sent cannot be compared where the store cannot read that either.
func TestStoreFailsToCompare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &showing{body: make([]byte, 768<<10)}
		st := &frail{Store: filmStores()["memory"](t, 256<<20)}
		r := newRig(t, s.serve, kept(st))
		defer r.close()
		if _, err := s.fetch(r, ""); err != nil {
			t.Fatal(err)
		}
		(&film{}).settle(r)
		failed := false
		st.set(func(pos int64) error {
			if failed = failed || pos >= 256<<10; failed {
				return storage.ErrGone
			}
			return nil
		})
		if got, err := s.fetch(r, ""); err == nil || r.origin.count() != 1 {
			t.Errorf("%d bytes, %v, after %d requests", len(got), err, r.origin.count())
		}
		st.set(failing(1, storage.ErrGone, 0))
		if got, err := s.fetch(r, ""); err != nil || r.origin.count() != 2 {
			t.Errorf("nothing was sent yet: %d bytes, %v, after %d requests", len(got), err, r.origin.count())
		}
	})
}

// Of many answers that the store fails at once, as many as maxRepeats have the origin send
// the whole again; and the next ones can when those have ended.
func TestRepeatsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &showing{body: make([]byte, 768<<10)}
		st := &frail{Store: filmStores()["memory"](t, 256<<20)}
		r := newRig(t, func(c *originConn) bool {
			time.Sleep(time.Second)
			return s.serve(c)
		}, kept(st))
		defer r.close()
		if _, err := s.fetch(r, ""); err != nil {
			t.Fatal(err)
		}
		(&film{}).settle(r)
		st.set(failing(-1, storage.ErrGone, 256<<10))
		for round := range int64(2) {
			var clients sync.WaitGroup
			var whole atomic.Int64
			for range 3 * maxRepeats {
				clients.Go(func() {
					if got, err := s.fetch(r, ""); err == nil && bytes.Equal(got, s.body) {
						whole.Add(1)
					}
				})
			}
			clients.Wait()
			if n := whole.Load(); n != maxRepeats {
				t.Errorf("%d answers are whole, want %d", n, maxRepeats)
			}
			if n := int64(r.origin.count()); n != 1+(round+1)*maxRepeats {
				t.Errorf("the origin was asked %d times", n)
			}
		}
		if n := r.proxy.repeats.Load(); n != 0 {
			t.Errorf("%d are under way", n)
		}
	})
}

// Damage on a disk, to a response without a validator: the answers that meet it are whole,
// and the next one finds it stored anew.
func TestDamageWithoutValidator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &film{size: 3 << 20}
		s := &showing{body: make([]byte, f.size)}
		f.at(s.body, 0)
		st, files := diskInMemory(t)
		r := newRig(t, s.serve, kept(st))
		defer r.close()
		wantWhole := func(most int) {
			t.Helper()
			if got, err := s.fetch(r, ""); err != nil || !bytes.Equal(got, s.body) {
				t.Errorf("%d bytes of %d, %v", len(got), len(s.body), err)
			}
			f.settle(r)
			if n := r.origin.count(); n > most {
				t.Errorf("the origin was asked %d times, want %d", n, most)
			}
		}
		wantWhole(1)
		time.Sleep(5 * time.Second) // it is on the disk
		harmAt(t, f, files, 2_000_000)
		wantWhole(2)
		wantWhole(3) // what was damaged is not found any more
		wantWhole(3)
	})
}
