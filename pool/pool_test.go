package pool

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

// echo serves an origin that answers every byte with itself, and does what
// the bytes below ask for.
func echo(t *testing.T, l net.Listener) {
	t.Helper()
	var wg sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	ended := false
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		ended = true
		for _, c := range conns { // also those the test still has
			c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			if ended { // the test has it, and does not close it
				c.Close()
			}
			conns = append(conns, c)
			mu.Unlock()
			wg.Go(func() { echoConn(c) })
		}
	})
}

const (
	sayBye   = 'B' // answer and close
	sayMore  = 'M' // answer with two bytes
	sayReset = 'R' // answer and reset
)

func echoConn(c net.Conn) {
	defer c.Close()
	var b [1]byte
	for {
		if _, err := io.ReadFull(c, b[:]); err != nil {
			return
		}
		out := b[:]
		if b[0] == sayMore {
			out = []byte("MM")
		}
		if _, err := c.Write(out); err != nil || b[0] == sayBye {
			return
		}
		if b[0] == sayReset {
			_ = c.(*net.TCPConn).SetLinger(0)
			return
		}
	}
}

// say runs one exchange of one byte.
func say(t *testing.T, c *Conn, what byte) {
	t.Helper()
	if err := trySay(c, what); err != nil {
		t.Fatal(err)
	}
}

func trySay(c *Conn, what byte) error {
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := c.Write([]byte{what}); err != nil {
		return err
	}
	var b [1]byte
	if _, err := io.ReadFull(c, b[:]); err != nil {
		return err
	}
	if b[0] != what {
		return errors.New("not an echo")
	}
	return nil
}

// listen starts an echo on loopback and returns its target.
func listen(t *testing.T) *Target {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	echo(t, l)
	return &Target{Network: "tcp", Address: l.Addr().String(), Scheme: SchemeHTTP}
}

func newPool(t *testing.T, o Options) *Pool {
	// Loopback connects at once, and on a busy machine that may take long.
	o.ConnectTimeout = cmp.Or(o.ConnectTimeout, patience)
	o.TLSTimeout = cmp.Or(o.TLSTimeout, patience)
	p := New(o)
	t.Cleanup(p.Close)
	return p
}

func get(t *testing.T, p *Pool, target *Target) *Conn {
	t.Helper()
	c, err := p.Get(context.Background(), target)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// wantKind checks an error's kind.
func wantKind(t *testing.T, err error, want Kind) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.Kind != want {
		t.Fatalf("error %v, want kind %v", err, want)
	}
}

// patience bounds every wait of these tests on the real clock: it tells what hangs
// from what is slow.
const patience = time.Minute

// eventually waits for what another goroutine or the kernel must bring about.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

func TestReuseInSteadyState(t *testing.T) {
	target := listen(t)
	p := newPool(t, Options{IdleTimeout: -1, WaitTimeout: patience}) // however long it takes
	const workers, exchanges = 16, 2000
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range exchanges {
				c, err := p.Get(context.Background(), target)
				if err != nil {
					t.Error(err)
					return
				}
				if err := trySay(c, 'x'); err != nil {
					t.Error(err)
					p.Discard(c)
					return
				}
				p.Put(c)
			}
		})
	}
	wg.Wait()
	s := p.Stats()
	if s.Dialed > workers {
		t.Errorf("%d connections for %d workers", s.Dialed, workers)
	}
	if total := s.Dialed + s.Reused; float64(s.Reused) < 0.999*float64(total) {
		t.Errorf("reused %d of %d, want 99.9%%", s.Reused, total)
	}
	if s.Busy != 0 || s.Idle != s.Dialed || s.ClosedByPeer+s.Spoke+s.Expired+s.Evicted != 0 {
		t.Errorf("at rest: %+v", s)
	}
}

func TestLastUsedFirst(t *testing.T) {
	target := listen(t)
	p := newPool(t, Options{})
	a, b := get(t, p, target), get(t, p, target)
	if a.Reused() || b.Reused() {
		t.Error("new connections called reused")
	}
	p.Put(a)
	p.Put(b)
	if c := get(t, p, target); c != b || !c.Reused() || c.Uses() != 2 {
		t.Errorf("got %p, reused %v, want the last put %p", c, c.Reused(), b)
	}
}

func TestSessionStays(t *testing.T) {
	target := listen(t)
	p := newPool(t, Options{})
	c := get(t, p, target)
	c.Session = "mine"
	p.Put(c)
	if c := get(t, p, target); c.Session != "mine" {
		t.Errorf("Session = %v", c.Session)
	}
}

func TestGetFresh(t *testing.T) {
	target := listen(t)
	p := newPool(t, Options{MaxPerTarget: 2})
	a, b := get(t, p, target), get(t, p, target)
	p.Put(a)
	p.Put(b)
	c, err := p.GetFresh(context.Background(), target)
	if err != nil || c.Reused() {
		t.Fatalf("GetFresh = %v, reused %v", err, c.Reused())
	}
	// It made room by closing the one idle longest.
	if s := p.Stats(); s.Evicted != 1 || s.Idle != 1 || s.Busy != 1 {
		t.Errorf("%+v", s)
	}
	if d := get(t, p, target); d != b {
		t.Error("the last used was closed")
	}
}

func TestDeadlinesDoNotSurvivePut(t *testing.T) {
	target := listen(t)
	p := newPool(t, Options{})
	c := get(t, p, target)
	if err := c.SetDeadline(time.Now().Add(-time.Second)); err != nil {
		t.Fatal(err)
	}
	p.Put(c)
	c = get(t, p, target)
	if !c.Reused() {
		t.Fatal("a deadline that has passed made the pool drop a good connection")
	}
	if _, err := c.Write([]byte{'x'}); err != nil {
		t.Fatal(err)
	}
	var b [1]byte
	if _, err := io.ReadFull(c, b[:]); err != nil {
		t.Fatal(err)
	}
}

// What an origin does to a connection while it is idle, over TCP and over Unix
// sockets: the next check-out notices.
func TestIdleMustBeSilent(t *testing.T) {
	unix := func(t *testing.T) *Target {
		path := filepath.Join(t.TempDir(), "o.sock")
		l, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		echo(t, l)
		return &Target{Network: "unix", Address: path, Scheme: SchemeHTTP}
	}
	for _, tc := range []struct {
		name   string
		target func(t *testing.T) *Target
		say    byte
		count  func(Stats) int64
	}{
		{"tcp closed", listen, sayBye, func(s Stats) int64 { return s.ClosedByPeer }},
		{"tcp reset", listen, sayReset, func(s Stats) int64 { return s.ClosedByPeer }},
		{"tcp spoke", listen, sayMore, func(s Stats) int64 { return s.Spoke }},
		{"unix closed", unix, sayBye, func(s Stats) int64 { return s.ClosedByPeer }},
		{"unix spoke", unix, sayMore, func(s Stats) int64 { return s.Spoke }},
		{"unix silent", unix, 'x', func(s Stats) int64 { return s.Reused }},
	} {
		for _, sweep := range []bool{false, true} {
			name := tc.name
			o := Options{SweepInterval: time.Hour}
			if sweep {
				name += ", swept"
				o.SweepInterval = time.Millisecond
				if tc.say == 'x' {
					continue
				}
			}
			t.Run(name, func(t *testing.T) {
				target := tc.target(t)
				p := newPool(t, o)
				c := get(t, p, target)
				say(t, c, tc.say)
				if tc.say != 'x' {
					eventually(t, "the origin's deed arrives", func() bool { return c.probe() != silent || c.Conn == nil })
				}
				p.Put(c)
				if sweep {
					eventually(t, "the sweep finds it", func() bool {
						s := p.Stats()
						return tc.count(s) == 1 && s.Idle == 0 && s.Busy == 0
					})
					return
				}
				next := get(t, p, target)
				if next.Reused() != (tc.say == 'x') {
					t.Errorf("Reused = %v", next.Reused())
				}
				say(t, next, 'x')
				p.Put(next)
				if s := p.Stats(); tc.count(s) != 1 || s.Busy != 0 || s.Idle != 1 {
					t.Errorf("%+v", s)
				}
			})
		}
	}
}

func TestDiscard(t *testing.T) {
	target := listen(t)
	p := newPool(t, Options{})
	c := get(t, p, target)
	p.Discard(c)
	p.Discard(c)
	p.Put(c)
	if _, err := c.Write([]byte{'x'}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("write after Discard: %v", err)
	}
	d := get(t, p, target)
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if s := p.Stats(); s.Discarded != 2 || s.Busy != 0 || s.Idle != 0 {
		t.Errorf("%+v", s)
	}
}

func TestPutOfAClosedConnection(t *testing.T) {
	target := listen(t)
	p := newPool(t, Options{})
	c := get(t, p, target)
	c.Conn.Close()
	p.Put(c)
	if s := p.Stats(); s.Busy != 0 || s.Idle != 0 {
		t.Errorf("%+v", s)
	}
}

func TestIdleBounds(t *testing.T) {
	a, b := listen(t), listen(t)
	for _, tc := range []struct {
		o    Options
		idle int64
	}{
		{Options{MaxIdlePerTarget: 2}, 4},
		{Options{MaxIdle: 3}, 3},
		{Options{MaxIdle: 3, MaxIdlePerTarget: 1}, 2},
		{Options{MaxIdle: -1}, 0},
		{Options{MaxIdlePerTarget: -1}, 0},
		{Options{}, 6},
	} {
		p := newPool(t, tc.o)
		var cs []*Conn
		for range 3 {
			cs = append(cs, get(t, p, a), get(t, p, b))
		}
		for _, c := range cs {
			p.Put(c)
		}
		s := p.Stats()
		if s.Idle != tc.idle || s.Evicted != 6-tc.idle || s.Busy != 0 || s.Targets != 2 {
			t.Errorf("%+v: %+v, want %d idle", tc.o, s, tc.idle)
		}
		// What is kept is what was used last.
		if tc.idle > 0 && get(t, p, b) != cs[5] {
			t.Errorf("%+v: the last used was closed", tc.o)
		}
	}
}

func TestMaxUses(t *testing.T) {
	target := listen(t)
	p := newPool(t, Options{MaxUses: 3})
	for i := range 7 {
		c := get(t, p, target)
		if c.Uses() != i%3+1 {
			t.Errorf("exchange %d: Uses = %d", i, c.Uses())
		}
		p.Put(c)
	}
	if s := p.Stats(); s.Dialed != 3 || s.Expired != 2 {
		t.Errorf("%+v", s)
	}
}

func TestConnectErrors(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	deserted := l.Addr().String()
	l.Close()
	p := newPool(t, Options{})
	for _, tc := range []struct {
		target Target
		want   Kind
	}{
		{Target{Network: "tcp", Address: deserted, Scheme: SchemeHTTP}, KindRefused},
		{Target{Network: "unix", Address: filepath.Join(t.TempDir(), "none"), Scheme: SchemeHTTP}, KindUnavailable},
		{Target{Network: "tcp", Address: deserted, Scheme: "ftp"}, KindTarget},
		{Target{Network: "tcp", Address: deserted, Scheme: SchemeHTTP, Bind: "nowhere"}, KindTarget},
		{Target{Network: "unix", Address: "x", Scheme: SchemeHTTPS}, KindTarget},
		{Target{Network: "tcp", Address: deserted, Scheme: SchemeHTTP, Bind: "192.0.2.77"}, KindLocal},
	} {
		_, err := p.Get(context.Background(), &tc.target)
		var e *Error
		if !errors.As(err, &e) || e.Kind != tc.want {
			t.Errorf("%s: %v, want kind %v", &tc.target, err, tc.want)
		}
	}
	if s := p.Stats(); s.Busy != 0 {
		t.Errorf("failed dials keep slots: %+v", s)
	}
}

func TestDialErrorKinds(t *testing.T) {
	for _, tc := range []struct {
		err  error
		want Kind
	}{
		{&net.DNSError{Err: "no such host", IsNotFound: true}, KindDNS},
		{&net.DNSError{Err: "timeout", IsTimeout: true}, KindDNSTimeout},
		{&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.EHOSTUNREACH)}, KindUnroutable},
		{&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ENETUNREACH)}, KindUnroutable},
		{&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ETIMEDOUT)}, KindConnectTimeout},
		{&net.OpError{Op: "dial", Err: os.NewSyscallError("socket", syscall.EMFILE)}, KindLocal},
		{errors.New("odd"), KindUnavailable},
	} {
		p := newPool(t, Options{Dial: func(context.Context, string, string) (net.Conn, error) { return nil, tc.err }})
		_, err := p.Get(context.Background(), &Target{Network: "tcp", Address: "o:80", Scheme: SchemeHTTP})
		wantKind(t, err, tc.want)
		if !errors.Is(err, tc.err) {
			t.Errorf("%v does not wrap its cause", err)
		}
	}
}

func TestKinds(t *testing.T) {
	seen := map[string]bool{"": true}
	for k := range numKinds {
		if seen[k.String()] {
			t.Errorf("kind %d is named %q, like another", k, k)
		}
		seen[k.String()] = true
		if k.ProxyStatus() == "" && k != KindCanceled {
			t.Errorf("kind %v has no Proxy-Status", k)
		}
	}
}

func TestClose(t *testing.T) {
	target := listen(t)
	p := New(Options{MaxPerTarget: 2})
	idle, busy := get(t, p, target), get(t, p, target)
	p.Put(idle)
	p.Close()
	p.Close()
	if _, err := idle.Conn.Write([]byte{'x'}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("idle connection after Close: %v", err)
	}
	say(t, busy, 'x')
	p.Put(busy)
	if _, err := busy.Conn.Write([]byte{'x'}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("connection put after Close: %v", err)
	}
	_, err := p.Get(context.Background(), target)
	wantKind(t, err, KindClosed)
}
