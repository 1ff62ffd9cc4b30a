package proxy

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"edge/cache/storage"
)

// faultyStore panics where it is told to.
type faultyStore struct {
	storage.Store
	lookup, write atomic.Bool
}

func (s *faultyStore) Lookup(dst []storage.Entry, key storage.Key) []storage.Entry {
	if s.lookup.Load() {
		panic("a look-up that fails")
	}
	return s.Store.Lookup(dst, key)
}

func (s *faultyStore) Begin(p *storage.Proposal) (storage.Writer, error) {
	w, err := s.Store.Begin(p)
	if err != nil {
		return nil, err
	}
	return &faultyWriter{w, s}, nil
}

type faultyWriter struct {
	storage.Writer
	s *faultyStore
}

func (w *faultyWriter) Write(ctx context.Context, p []byte) error {
	if w.s.write.Load() {
		panic("a write that fails")
	}
	return w.Writer.Write(ctx, p)
}

// A panic ends one exchange, visibly, and gives back what that held: the permit,
// so that the next can lead, and the connections.
func TestPanicEndsOneExchange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var faulty *faultyStore
		r := newRig(t, func(c *originConn) bool {
			return c.say("HTTP/1.1 200 OK\nCache-Control: max-age=600", strings.Repeat(c.req.URL.Path, 1000))
		}, func(_ *rig, o *Options) {
			faulty = &faultyStore{Store: o.Store}
			o.Store = faulty
		})
		defer r.close()
		r.get("/good").expect(t, 200, "uri-miss", strings.Repeat("/good", 1000))
		other := r.dial()
		defer other.nc.Close()

		faulty.lookup.Store(true)
		c := r.dial()
		c.send("GET /bad HTTP/1.1", "")
		if resp, err := http.ReadResponse(c.br, nil); err == nil {
			t.Errorf("an exchange that panicked: %d", resp.StatusCode)
		}
		c.nc.Close()
		faulty.lookup.Store(false)

		faulty.write.Store(true)
		c = r.dial()
		c.send("GET /bad HTTP/1.1", "")
		if resp, err := http.ReadResponse(c.br, nil); err == nil {
			if b, err := io.ReadAll(resp.Body); err == nil && resp.StatusCode == 200 {
				t.Errorf("a fill that panicked looks complete: %d bytes", len(b))
			}
		}
		c.nc.Close()
		faulty.write.Store(false)

		began := time.Now()
		r.get("/bad").expect(t, 200, "uri-miss", strings.Repeat("/bad", 1000))
		if waited := time.Since(began); waited > time.Second {
			t.Errorf("the next waited %v: a permit was kept", waited)
		}
		other.send("GET /good HTTP/1.1", "")
		other.read("GET").expect(t, 200, "edge; hit", strings.Repeat("/good", 1000))
		r.seen.mu.Lock()
		defer r.seen.mu.Unlock()
		if r.seen.panics != 2 {
			t.Errorf("%d panics were counted, want 2", r.seen.panics)
		}
	})
}

// The wall clock is read once; from then on time is what has passed, so that a
// wall clock that jumps changes no age.
func TestClockIsMonotonic(t *testing.T) {
	c := NewClock()
	if !strings.Contains(c.start.String(), " m=") {
		t.Error("the clock's start has no monotonic reading")
	}
	c.wall -= int64(time.Hour) // as if it had been wrong at the start
	if at := time.Unix(0, int64(c.Now())); time.Since(at) < time.Hour {
		t.Errorf("%v: the wall clock was read again", at)
	}
	if a, b := c.Now(), c.Now(); b < a {
		t.Errorf("%d, then %d", a, b)
	}
}
