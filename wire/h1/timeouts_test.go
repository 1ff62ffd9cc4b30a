package h1

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edge/internal/memconn"
	"edge/message"
)

// status returns the status of an Error, 0 for any other.
func status(err error) int {
	var e *Error
	if errors.As(err, &e) {
		return e.Status
	}
	return 0
}

// within checks that a wait of about want was waited: no shorter, and no longer
// than deadlines are coarse.
func within(t *testing.T, start time.Time, want time.Duration) {
	t.Helper()
	slack := min(want/10, time.Second)
	if got := time.Since(start); got < want || got > want+slack {
		t.Errorf("waited %v, want %v to %v", got, want, want+slack)
	}
}

func TestIdleConnectionEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, nc := server(ServerOptions{Timeouts: Timeouts{Idle: 20 * time.Second}})
		start := time.Now()
		for range 5 { // every exchange starts the wait anew
			time.Sleep(10 * time.Second)
			say(t, nc, get+host+end)
			ask(t, c)
			answer(t, c, "x")
			start = time.Now()
		}
		if err := c.ReadRequest(new(message.Request)); err != io.EOF {
			t.Errorf("idle: %v", err)
		}
		within(t, start, 20*time.Second)
		c.Close()
	})
}

func TestSlowHead(t *testing.T) {
	for name, every := range map[string]time.Duration{"stalls": time.Hour, "drips": 200 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, nc := server(ServerOptions{})
				stop := make(chan struct{})
				go func() {
					for _, b := range []byte(get + "X: " + strings.Repeat("a", 1000)) {
						nc.Write([]byte{b})
						select {
						case <-time.After(every):
						case <-stop:
							return
						}
					}
				}()
				start := time.Now()
				err := c.ReadRequest(new(message.Request))
				if status(err) != 408 {
					t.Errorf("%v", err)
				}
				within(t, start, 10*time.Second)
				close(stop)
				c.Close()
			})
		})
	}
}

func TestBodyThatStalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, nc := server(ServerOptions{})
		say(t, nc, post+"Content-Length: 10\r\n\r\nhello")
		ask(t, c)
		start := time.Now()
		body, err := readAll(c.ReadBody)
		if body != "hello" || status(err) != 408 {
			t.Errorf("%q, %v", body, err)
		}
		within(t, start, 30*time.Second)
		c.Close()
	})
}

// TestBodyBelowTheLeastRate: dripping does not keep a connection, and being
// slow at first, or slow because we do not read, does not lose one.
func TestBodyBelowTheLeastRate(t *testing.T) {
	for _, x := range []struct {
		name   string
		every  time.Duration
		size   int
		pause  time.Duration // of the reader, before it reads
		status int
	}{
		{"drips", time.Second, 10, 0, 408},
		{"fast enough", time.Second, 400, 0, 0},
		{"fast enough for a slow reader", time.Second, 400, time.Minute, 0},
		{"slow within the grace", time.Second, 5000, 4 * time.Second, 0},
	} {
		t.Run(x.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, nc := server(ServerOptions{})
				done := make(chan struct{})
				go func() {
					defer close(done)
					say(t, nc, post+"Content-Length: 20000\r\n\r\n")
					for left := 20000; left > 0; left -= x.size {
						time.Sleep(x.every)
						if _, err := nc.Write(make([]byte, min(x.size, left))); err != nil {
							return
						}
					}
				}()
				ask(t, c)
				time.Sleep(x.pause)
				_, err := readAll(c.ReadBody)
				if status(err) != x.status || (x.status == 0) != (err == nil) {
					t.Errorf("%v", err)
				}
				c.Close()
				<-done
			})
		})
	}
}

// TestSlowReader: a client that takes nothing, or next to nothing, of an answer
// does not keep us; one that is slow but steady gets all of it.
func TestSlowReader(t *testing.T) {
	content := make([]byte, 64<<10)
	for _, x := range []struct {
		name string
		rate int // bytes a second that the client reads
		fine bool
	}{{"takes nothing", 0, false}, {"drips", 20, false}, {"steady", 600, true}} {
		t.Run(x.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				nc, srv := memconn.PipeSize(1024)
				c := NewServerConn(srv, &ServerOptions{})
				say(t, nc, get+host+end)
				ask(t, c)
				done := make(chan struct{})
				go func() {
					defer close(done)
					p := make([]byte, max(x.rate, 1))
					for x.rate > 0 {
						time.Sleep(time.Second)
						if _, err := io.ReadFull(nc, p); err != nil {
							return
						}
					}
				}()
				check(t, c.SendHead(&message.Outgoing{Status: 200, Length: int64(len(content))}))
				start := time.Now()
				err := c.Write(content)
				if (err == nil) != x.fine {
					t.Errorf("%v after %v", err, time.Since(start))
				}
				c.Abort()
				nc.Close()
				<-done
			})
		})
	}
}

func TestDrainIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, nc := server(ServerOptions{})
		say(t, nc, post+"Content-Length: 10\r\n\r\nhello")
		ask(t, c)
		answer(t, c, "x")
		start := time.Now()
		if c.Persist() {
			t.Error("connection persists with half a body to come")
		}
		if d := time.Since(start); d > 7*time.Second {
			t.Errorf("drained and lingered for %v", d)
		}
		c.Close()
	})
}

func TestLingeringIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, nc := server(ServerOptions{})
		say(t, nc, "BAD\r\n\r\n")
		err := c.ReadRequest(new(message.Request))
		var e *Error
		if !errors.As(err, &e) {
			t.Fatal(err)
		}
		start := time.Now()
		check(t, c.Refuse(e))
		within(t, start, 3*time.Second)
		nc.Close()
	})
}

func TestOriginThatIsLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, origin := client(ClientOptions{Timeouts: Timeouts{Head: 7 * time.Second, BodyRead: 4 * time.Second}})
		request(t, c, origin, "GET")
		start := time.Now()
		if err := c.ReadResponse(new(message.Response)); status(err) != 504 {
			t.Errorf("head: %v", err)
		}
		if d := time.Since(start); d != 7*time.Second {
			t.Errorf("waited %v", d)
		}
		c.Close()

		c, origin = client(ClientOptions{Timeouts: Timeouts{Head: 7 * time.Second, BodyRead: 4 * time.Second}})
		request(t, c, origin, "GET")
		say(t, origin, ok+"Content-Length: 10\r\n\r\nhello")
		check(t, c.ReadResponse(new(message.Response)))
		start = time.Now()
		body, err := readAll(c.ReadBody)
		if body != "hello" || status(err) != 504 {
			t.Errorf("body: %q, %v", body, err)
		}
		within(t, start, 4*time.Second)
		c.Close()
	})
}

// TestBodyDeadlineIsNotTheIdleOne: each wait has its own bound, whichever was
// set before it.
func TestBodyDeadlineIsNotTheIdleOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, nc := server(ServerOptions{Timeouts: Timeouts{Idle: 5 * time.Second, BodyRead: 50 * time.Second, MinBodyRate: -1}})
		say(t, nc, post+"Content-Length: 10\r\n\r\n")
		ask(t, c)
		go func() {
			time.Sleep(40 * time.Second)
			say(t, nc, "0123456789")
		}()
		if body, err := readAll(c.ReadBody); len(body) != 10 || err != nil {
			t.Fatalf("%q, %v", body, err)
		}
		answer(t, c, "x")
		start := time.Now()
		if err := c.ReadRequest(new(message.Request)); err != io.EOF {
			t.Errorf("idle: %v", err)
		}
		within(t, start, 5*time.Second)
		c.Close()
	})
}

func TestNoBoundWhereAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, nc := server(ServerOptions{Timeouts: Timeouts{Idle: -1}})
		go func() {
			time.Sleep(24 * time.Hour)
			say(t, nc, get+host+end)
		}()
		ask(t, c)
		c.Close()
	})
}
