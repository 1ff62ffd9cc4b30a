package pool

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"edge/internal/memconn"
)

// memory is a pool in a bubble, in front of an origin in memory.
type memory struct {
	*Pool
	target Target
	origin *memconn.Listener
	peers  chan net.Conn // the origin's ends, in order
}

// inBubble runs f in a bubble with a pool of these options.
func inBubble(t *testing.T, o Options, f func(t *testing.T, m *memory)) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{
			target: Target{Network: "tcp", Address: "origin:80", Scheme: SchemeHTTP},
			origin: memconn.Listen(),
			peers:  make(chan net.Conn, 1000),
		}
		if o.Dial == nil {
			o.Dial = m.origin.DialContext
		}
		m.Pool = New(o)
		var accepting sync.WaitGroup
		accepting.Go(func() {
			for {
				c, err := m.origin.Accept()
				if err != nil {
					return
				}
				m.peers <- c
			}
		})
		f(t, m)
		m.Close()
		m.origin.Close()
		accepting.Wait()
	})
}

func (m *memory) get(t *testing.T) *Conn {
	t.Helper()
	return get(t, m.Pool, &m.target)
}

// got is what one Get returned, and after how long.
type got struct {
	conn  *Conn
	err   error
	after time.Duration
}

// line starts a Get that must wait, on its own goroutine.
func (m *memory) line(ctx context.Context, get func(context.Context, *Target) (*Conn, error)) chan got {
	c := make(chan got, 1)
	start := time.Now()
	go func() {
		conn, err := get(ctx, &m.target)
		c <- got{conn, err, time.Since(start)}
	}()
	synctest.Wait()
	return c
}

func (m *memory) want(t *testing.T, what string, want Stats) {
	t.Helper()
	s := m.Stats()
	if s.Idle != want.Idle || s.Busy != want.Busy || s.Waiting != want.Waiting {
		t.Errorf("%s: %d idle, %d busy, %d waiting; want %d, %d, %d",
			what, s.Idle, s.Busy, s.Waiting, want.Idle, want.Busy, want.Waiting)
	}
}

func TestIdleTimeout(t *testing.T) {
	for _, tc := range []struct {
		name string
		o    Options
	}{
		{"at check-out", Options{IdleTimeout: 10 * time.Second, SweepInterval: time.Hour}},
		{"by the sweep", Options{IdleTimeout: 10 * time.Second, SweepInterval: time.Second}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			inBubble(t, tc.o, func(t *testing.T, m *memory) {
				c := m.get(t)
				m.Put(c)
				time.Sleep(9 * time.Second)
				if again := m.get(t); again != c {
					t.Fatal("dropped before its time")
				}
				m.Put(c)
				time.Sleep(11 * time.Second)
				if tc.o.SweepInterval < time.Minute {
					synctest.Wait()
					m.want(t, "after the sweep", Stats{})
				}
				again := m.get(t)
				if again == c || again.Reused() {
					t.Fatal("handed out after its time")
				}
				if s := m.Stats(); s.Expired != 1 {
					t.Errorf("%+v", s)
				}
				m.Put(again)
			})
		})
	}
}

func TestMaxLifetime(t *testing.T) {
	o := Options{MaxLifetime: time.Minute, IdleTimeout: -1, SweepInterval: time.Hour}
	inBubble(t, o, func(t *testing.T, m *memory) {
		c := m.get(t)
		m.Put(c)
		time.Sleep(59 * time.Second)
		if again := m.get(t); again != c {
			t.Fatal("dropped before its time")
		}
		time.Sleep(time.Second)
		m.Put(c) // too old by now to be kept
		m.want(t, "put too old", Stats{})
		c = m.get(t)
		m.Put(c)
		time.Sleep(time.Minute)
		if again := m.get(t); again == c {
			t.Fatal("handed out after its time")
		} else {
			m.Put(again)
		}
		if s := m.Stats(); s.Expired != 2 || s.Dialed != 3 {
			t.Errorf("%+v", s)
		}
	})
}

// Connections that are no sockets have no peek; the check-out finds the same.
func TestIdleInMemoryMustBeSilent(t *testing.T) {
	for _, tc := range []struct {
		name   string
		deed   func(c net.Conn)
		reused bool
	}{
		{"silent", func(net.Conn) {}, true},
		{"closed", func(c net.Conn) { c.Close() }, false},
		{"spoke", func(c net.Conn) { _, _ = c.Write([]byte("x")) }, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			inBubble(t, Options{}, func(t *testing.T, m *memory) {
				m.Put(m.get(t))
				peer := <-m.peers
				tc.deed(peer)
				c := m.get(t)
				if c.Reused() != tc.reused {
					t.Errorf("Reused = %v", c.Reused())
				}
				if !tc.reused {
					peer = <-m.peers
				}
				// The look left no deadline behind.
				time.Sleep(time.Minute)
				go func() { _, _ = peer.Write([]byte("answer")) }()
				var b [6]byte
				if n, err := c.Read(b[:]); err != nil {
					t.Errorf("read %d: %v", n, err)
				}
				m.Put(c)
			})
		})
	}
}

func TestConnectTimeout(t *testing.T) {
	stuck := func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: ctx.Err()}
	}
	inBubble(t, Options{Dial: stuck, ConnectTimeout: 3 * time.Second}, func(t *testing.T, m *memory) {
		r := <-m.line(context.Background(), m.Get)
		wantKind(t, r.err, KindConnectTimeout)
		if r.after != 3*time.Second {
			t.Errorf("after %v, want 3s", r.after)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		r = <-m.line(ctx, m.Get)
		wantKind(t, r.err, KindConnectTimeout)
		if r.after != time.Second {
			t.Errorf("after %v, want the caller's 1s", r.after)
		}
		ctx, cancel = context.WithCancel(context.Background())
		c := m.line(ctx, m.Get)
		m.want(t, "while dialling", Stats{Busy: 1})
		cancel()
		r = <-c
		wantKind(t, r.err, KindCanceled)
		if !errors.Is(r.err, context.Canceled) {
			t.Errorf("%v does not wrap context.Canceled", r.err)
		}
		_, err := m.Get(ctx, &m.target)
		wantKind(t, err, KindCanceled)
		m.want(t, "after all of it", Stats{})
		if s := m.Stats(); s.Failed != 3 {
			t.Errorf("%+v", s)
		}
	})
}

func TestLineInOrderOfArrival(t *testing.T) {
	inBubble(t, Options{MaxPerTarget: 2}, func(t *testing.T, m *memory) {
		a, b := m.get(t), m.get(t)
		first := m.line(context.Background(), m.Get)
		second := m.line(context.Background(), m.GetFresh)
		third := m.line(context.Background(), m.Get)
		m.want(t, "two busy, three waiting", Stats{Busy: 2, Waiting: 3})
		time.Sleep(time.Second)

		m.Put(a)
		if r := <-first; r.conn != a || !r.conn.Reused() || r.after.Truncate(time.Millisecond) != time.Second {
			t.Fatalf("first got %+v, want the connection put", r)
		}
		m.Put(b) // the second wants a fresh one: b is closed for its slot
		r := <-second
		if r.err != nil || r.conn == b || r.conn.Reused() {
			t.Fatalf("second got %+v, want a fresh connection", r)
		}
		m.Discard(r.conn) // the third gets the slot
		if r := <-third; r.err != nil || r.conn.Reused() {
			t.Fatalf("third got %+v", r)
		} else {
			m.Put(r.conn)
		}
		m.Put(a)
		m.want(t, "at rest", Stats{Idle: 2})
	})
}

func TestWaitIsBounded(t *testing.T) {
	inBubble(t, Options{MaxPerTarget: 1, MaxWaiters: 2, WaitTimeout: 2 * time.Second}, func(t *testing.T, m *memory) {
		c := m.get(t)
		ctx, cancel := context.WithCancel(context.Background())
		first := m.line(ctx, m.Get)
		second := m.line(context.Background(), m.Get)
		third := <-m.line(context.Background(), m.Get)
		wantKind(t, third.err, KindExhausted)
		if third.after != 0 {
			t.Errorf("a full line was waited at for %v", third.after)
		}
		time.Sleep(time.Second)
		cancel()
		r := <-first
		wantKind(t, r.err, KindCanceled)
		r = <-second
		wantKind(t, r.err, KindExhausted)
		if r.after != 2*time.Second {
			t.Errorf("waited %v, want 2s", r.after)
		}
		m.Put(c)
		m.want(t, "at rest", Stats{Idle: 1})
		if s := m.Stats(); s.Waited != 2 || s.WaitedTooLong != 1 || s.Refused != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// Who gives up at the moment its turn comes passes on what it was given. Both
// have happened before the look here, so that either may win.
func TestCancelRacesTurn(t *testing.T) {
	for _, give := range []string{"connection", "slot", "end"} {
		t.Run(give, func(t *testing.T) {
			for range 30 {
				inBubble(t, Options{MaxPerTarget: 1}, func(t *testing.T, m *memory) {
					c := m.get(t)
					ctx, cancel := context.WithCancel(context.Background())
					g := c.group
					_, w, err := g.take(time.Now(), false)
					if w == nil || err != nil {
						t.Fatalf("take = %v, %v, want a place in the line", w, err)
					}
					next := m.line(context.Background(), m.Get)
					cancel()
					switch give {
					case "connection":
						m.Put(c)
					case "slot":
						m.Discard(c)
					case "end":
						m.Close()
						m.Discard(c)
					}
					got, err := g.wait(ctx, w, time.Now().Add(time.Hour))
					switch {
					case err != nil: // given up
					case got != nil:
						m.Put(got)
					default:
						g.free()
					}
					r := <-next
					if give == "end" {
						wantKind(t, r.err, KindClosed)
						m.want(t, "closed", Stats{})
						return
					}
					if r.err != nil {
						t.Fatal(r.err)
					}
					m.Put(r.conn)
					m.want(t, "at rest", Stats{Idle: 1})
				})
			}
		})
	}
}

// A dial that fails gives its slot to the next in the line, who tries too.
func TestFailedDialPassesItsSlot(t *testing.T) {
	refused := errors.New("refused")
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		time.Sleep(time.Second)
		return nil, refused
	}
	inBubble(t, Options{Dial: dial, MaxPerTarget: 1}, func(t *testing.T, m *memory) {
		first := m.line(context.Background(), m.Get)
		second := m.line(context.Background(), m.Get)
		if r := <-first; !errors.Is(r.err, refused) || r.after != time.Second {
			t.Errorf("first: %+v", r)
		}
		if r := <-second; !errors.Is(r.err, refused) || r.after != 2*time.Second {
			t.Errorf("second: %+v", r)
		}
		m.want(t, "at rest", Stats{})
	})
}

func TestDeadConnectionHandedOverInTheLine(t *testing.T) {
	inBubble(t, Options{MaxPerTarget: 1}, func(t *testing.T, m *memory) {
		c := m.get(t)
		waiting := m.line(context.Background(), m.Get)
		(<-m.peers).Close()
		m.Put(c)
		r := <-waiting
		if r.err != nil || r.conn == c || r.conn.Reused() {
			t.Errorf("got %+v, want a fresh connection", r)
		}
		m.Put(r.conn)
		m.want(t, "at rest", Stats{Idle: 1})
	})
}

func TestCloseSendsTheLineHome(t *testing.T) {
	inBubble(t, Options{MaxPerTarget: 1}, func(t *testing.T, m *memory) {
		c := m.get(t)
		waiting := m.line(context.Background(), m.Get)
		m.Close()
		r := <-waiting
		wantKind(t, r.err, KindClosed)
		m.Put(c)
		if _, err := c.Conn.Write([]byte("x")); err == nil {
			t.Error("put after Close and still open")
		}
	})
}

func TestForgetsTargets(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, m *memory) {
		for range 3 {
			m.Put(m.get(t))
			if s := m.Stats(); s.Targets != 1 {
				t.Fatalf("%+v", s)
			}
			// A busy connection keeps its group.
			c := m.get(t)
			time.Sleep(2 * forgetAfter)
			synctest.Wait()
			if s := m.Stats(); s.Targets != 1 || s.Busy != 1 {
				t.Fatalf("busy: %+v", s)
			}
			m.Put(c)
			time.Sleep(DefaultIdleTimeout + DefaultSweepInterval)
			synctest.Wait()
			if s := m.Stats(); s.Targets != 0 {
				t.Fatalf("long unused: %+v", s)
			}
		}
	})
}

// A target in use is not forgotten between two uses, with no connection kept.
func TestRemembersTargetsInUse(t *testing.T) {
	inBubble(t, Options{MaxIdle: -1}, func(t *testing.T, m *memory) {
		m.Put(m.get(t))
		g := (*m.groups.Load())[m.target]
		for range 5 {
			time.Sleep(forgetAfter - time.Minute)
			m.Put(m.get(t))
			if (*m.groups.Load())[m.target] != g {
				t.Fatal("forgotten while in use")
			}
		}
		time.Sleep(forgetAfter + DefaultSweepInterval)
		synctest.Wait()
		if s := m.Stats(); s.Targets != 0 {
			t.Errorf("long unused: %+v", s)
		}
	})
}

// A Get that finds its group retired and not yet forgotten makes a new one.
func TestGetBesideRetirement(t *testing.T) {
	inBubble(t, Options{MaxIdle: -1, SweepInterval: time.Hour}, func(t *testing.T, m *memory) {
		m.Put(m.get(t))
		old := (*m.groups.Load())[m.target]
		if !old.retire(time.Now().Add(forgetAfter)) {
			t.Fatal("not retired")
		}
		m.Put(m.get(t))
		now := (*m.groups.Load())[m.target]
		if now == nil || now == old {
			t.Fatal("no new group")
		}
		m.forget(old) // the sweeper, late
		if (*m.groups.Load())[m.target] != now {
			t.Error("forgot the new group")
		}
	})
}

// One that the sweep looked at and gives back has not been used by that.
func TestGivenBackInItsPlace(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, m *memory) {
		a, b := m.get(t), m.get(t)
		m.Put(a)
		time.Sleep(time.Second)
		m.Put(b)
		g := a.group
		if !g.takeIdle(a, time.Now(), true) || !g.usable(a, time.Now()) {
			t.Fatal("not idle, or not in order")
		}
		a.state.Store(stateIdle)
		g.put(a)
		if g.idle[0] != a || g.idle[1] != b {
			t.Error("not where it was")
		}
	})
}

// Everything at once under one small bound, for the race detector: never more
// connections than the bound, and none lost.
func TestBoundHoldsUnderLoad(t *testing.T) {
	target := listen(t)
	const bound, workers = 4, 32
	p := newPool(t, Options{MaxPerTarget: bound, WaitTimeout: patience, SweepInterval: time.Millisecond})
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for k := range 100 {
				get := p.Get
				if (k+w)%11 == 0 {
					get = p.GetFresh
				}
				c, err := get(context.Background(), target)
				if err != nil {
					t.Error(err)
					return
				}
				if s := p.Stats(); s.Idle+s.Busy > bound {
					t.Errorf("%d connections, bound %d", s.Idle+s.Busy, bound)
				}
				what := byte('x')
				switch (k + w) % 13 {
				case 3:
					what = sayBye
				case 5:
					what = sayMore
				}
				if err := trySay(c, what); err != nil {
					// A close that was on its way when we looked.
					if !c.Reused() {
						t.Error(err)
					}
					p.Discard(c)
					continue
				}
				if (k+w)%17 == 0 {
					p.Discard(c)
				} else {
					p.Put(c)
				}
			}
		})
	}
	wg.Wait()
	eventually(t, "rest", func() bool { // the sweep may have one in hand
		s := p.Stats()
		return s.Busy == 0 && s.Waiting == 0 && s.Idle <= bound
	})
}

func TestReusingAllocatesNothing(t *testing.T) {
	target := listen(t)
	p := newPool(t, Options{SweepInterval: time.Hour})
	p.Put(get(t, p, target))
	ctx := context.Background()
	n := testing.AllocsPerRun(100, func() {
		c, err := p.Get(ctx, target)
		if err != nil {
			t.Fatal(err)
		}
		p.Put(c)
	})
	if n != 0 {
		t.Errorf("Get and Put allocate %v times", n)
	}
}

func BenchmarkGetPut(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	p := New(Options{})
	defer p.Close()
	target := &Target{Network: "tcp", Address: l.Addr().String(), Scheme: SchemeHTTP}
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		c, err := p.Get(ctx, target)
		if err != nil {
			b.Fatal(err)
		}
		p.Put(c)
	}
}

// TestOutOfDescriptors: who cannot connect for want of descriptors gets a
// connection that is given back, or its descriptor; and an error at once where
// nobody has one.
func TestOutOfDescriptors(t *testing.T) {
	out := &net.OpError{Op: "dial", Err: os.NewSyscallError("socket", syscall.EMFILE)}
	descriptors, dialed := 1, 0
	origin := memconn.Listen()
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		if dialed++; dialed > descriptors {
			return nil, out
		}
		return origin.DialContext(ctx, network, address)
	}
	inBubble(t, Options{Dial: dial}, func(t *testing.T, m *memory) {
		defer origin.Close()
		first := m.get(t)
		second, third := m.line(t.Context(), m.Get), m.line(t.Context(), m.Get)
		m.Put(first)
		got := <-second
		if got.err != nil || got.conn != first {
			t.Fatalf("given back: %v, %v", got.conn, got.err)
		}
		dialed = 0 // the descriptor is free once the connection is closed
		m.Discard(got.conn)
		if got := <-third; got.err != nil || got.conn == first {
			t.Fatalf("closed: %v, %v", got.conn, got.err)
		} else {
			dialed = descriptors
			m.Discard(got.conn)
		}
		if _, err := m.Get(t.Context(), &m.target); KindOf(err) != KindLocal {
			t.Errorf("with nobody to wait for: %v", err)
		}
		m.want(t, "at the end", Stats{})
	})
}
