package server

import (
	"bufio"
	"errors"
	"io"
	"math"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// patience bounds every wait of these tests: it tells what hangs from what is slow.
const patience = time.Minute

// echo is a Session: it answers each line with the same line, and "slow" after
// its release is closed.
type echo struct {
	nc      net.Conn
	release <-chan struct{}
	retired atomic.Bool
	waiting atomic.Bool
	cut     atomic.Bool
	slow    *atomic.Int64 // how many "slow" lines were read, of all
}

func (e *echo) Serve() {
	defer e.nc.Close()
	r := bufio.NewReader(e.nc)
	for !e.retired.Load() {
		e.waiting.Store(true)
		line, err := r.ReadString('\n')
		e.waiting.Store(false)
		switch {
		case err != nil:
			return
		case line == "panic\n":
			panic("asked to")
		case line == "slow\n":
			e.slow.Add(1)
			for !e.cut.Load() {
				select {
				case <-e.release:
					e.cut.Store(true)
				case <-time.After(time.Millisecond):
				}
			}
		}
		if _, err := io.WriteString(e.nc, line); err != nil {
			return
		}
	}
}

func (e *echo) Retire() {
	e.retired.Store(true)
	if e.waiting.Load() {
		_ = e.nc.SetReadDeadline(time.Unix(1, 0))
	}
}

func (e *echo) Interrupt() {
	e.cut.Store(true)
	_ = e.nc.SetDeadline(time.Unix(1, 0))
}

// trial is a Server under test on one loopback listener.
type trial struct {
	*Server
	t       *testing.T
	release chan struct{}
	done    chan struct{}
	phases  []Phase
	slow    atomic.Int64 // how many "slow" lines were read
}

func start(t *testing.T, grace time.Duration, change func(*ListenerOptions)) *trial {
	t.Helper()
	tr := &trial{t: t, release: make(chan struct{}), done: make(chan struct{})}
	l := &ListenerOptions{Network: "tcp", Address: "127.0.0.1:0",
		Handle: func(nc net.Conn) Session { return &echo{nc: nc, release: tr.release, slow: &tr.slow} }}
	if change != nil {
		change(l)
	}
	tr.Server = New(Options{Listeners: []*ListenerOptions{l}, Grace: grace, OnPhase: func(p Phase) { tr.phases = append(tr.phases, p) }})
	if err := tr.Listen(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(tr.done)
		tr.Run()
	}()
	t.Cleanup(func() {
		tr.Cut()
		tr.ended()
	})
	return tr
}

// ended waits until Run has returned.
func (tr *trial) ended() {
	tr.t.Helper()
	select {
	case <-tr.done:
	case <-time.After(patience):
		tr.t.Fatalf("still running after %v, in phase %v", patience, tr.Phase())
	}
}

func (tr *trial) dial() net.Conn {
	tr.t.Helper()
	a := tr.Addrs()[0]
	nc, err := net.Dial(a.Network(), a.String())
	if err != nil {
		tr.t.Fatal(err)
	}
	tr.t.Cleanup(func() { nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(patience))
	return nc
}

// say sends a line and wants it back.
func say(t *testing.T, nc net.Conn, line string) {
	t.Helper()
	if _, err := io.WriteString(nc, line+"\n"); err != nil {
		t.Fatal(err)
	}
	hear(t, nc, line)
}

func hear(t *testing.T, nc net.Conn, line string) {
	t.Helper()
	b := make([]byte, len(line)+1)
	if _, err := io.ReadFull(nc, b); err != nil || string(b) != line+"\n" {
		t.Fatalf("heard %q, %v; want %q", b, err, line)
	}
}

// wantEnd wants the connection closed by the other side.
func wantEnd(t *testing.T, nc net.Conn) {
	t.Helper()
	if n, err := nc.Read(make([]byte, 1)); n != 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("read %d bytes, %v; want the connection's end", n, err)
	}
}

func TestStopEndsAtOnceWhenIdle(t *testing.T) {
	tr := start(t, time.Hour, nil)
	idle := tr.dial()
	say(t, idle, "hello")
	tr.Stop()
	tr.ended() // long before the grace has
	wantEnd(t, idle)
	want := []Phase{Bootstrap, BootstrapComplete, Running, GracefulTerminate, ShutdownStarted}
	if len(tr.phases) < len(want) || tr.Phase() != Terminated {
		t.Fatalf("phases: %v", tr.phases)
	}
	for i, p := range want {
		if tr.phases[i] != p {
			t.Errorf("phase %d is %v, want %v", i, tr.phases[i], p)
		}
	}
}

func TestStopWaitsForTheExchangeInHand(t *testing.T) {
	tr := start(t, time.Hour, nil)
	busy := tr.dial()
	say(t, busy, "hello")
	if _, err := io.WriteString(busy, "slow\n"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return tr.slow.Load() == 1 })
	tr.Stop()
	waitFor(t, func() bool { return tr.Phase() == ShutdownGracePeriod })
	if _, err := net.Dial("tcp", tr.Addrs()[0].String()); err == nil {
		t.Error("a new connection was taken while stopping")
	}
	close(tr.release)
	hear(t, busy, "slow")
	tr.ended()
	wantEnd(t, busy)
}

func TestGraceIsKept(t *testing.T) {
	tr := start(t, 50*time.Millisecond, nil)
	busy := tr.dial()
	if _, err := io.WriteString(busy, "slow\n"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return tr.slow.Load() == 1 })
	tr.Stop()
	tr.ended()
}

func TestSecondSignalCuts(t *testing.T) {
	tr := &trial{t: t, release: make(chan struct{}), done: make(chan struct{})}
	tr.Server = New(Options{Grace: time.Hour, Listeners: []*ListenerOptions{{Network: "tcp", Address: "127.0.0.1:0",
		Handle: func(nc net.Conn) Session { return &echo{nc: nc, release: tr.release, slow: &tr.slow} }}}})
	if err := tr.Listen(); err != nil {
		t.Fatal(err)
	}
	signals := make(chan os.Signal, 4)
	var reloads, reopens atomic.Int64
	ready := make(chan struct{})
	go func() {
		defer close(tr.done)
		tr.RunWithSignals(signals, Hooks{
			Ready:  func() { close(ready) },
			Reload: func() error { reloads.Add(1); return errors.New("bad") },
			Reopen: func() { reopens.Add(1) },
		})
	}()
	<-ready
	signals <- syscall.SIGHUP
	signals <- syscall.SIGUSR1
	waitFor(t, func() bool { return reloads.Load() == 1 && reopens.Load() == 1 })
	busy := tr.dial()
	if _, err := io.WriteString(busy, "slow\n"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return tr.slow.Load() == 1 })
	signals <- syscall.SIGTERM
	waitFor(t, func() bool { return tr.Phase() == ShutdownGracePeriod })
	signals <- syscall.SIGINT
	tr.ended()
}

func TestPanicEndsOneConnection(t *testing.T) {
	tr := start(t, time.Second, nil)
	bad, good := tr.dial(), tr.dial()
	say(t, good, "before")
	if _, err := io.WriteString(bad, "panic\n"); err != nil {
		t.Fatal(err)
	}
	wantEnd(t, bad)
	say(t, good, "after")
	waitFor(t, func() bool { return tr.Stats().Panics == 1 }) // which is after the connection's end
}

func TestLimits(t *testing.T) {
	for name, change := range map[string]func(*ListenerOptions){
		"in all":      func(o *ListenerOptions) { o.MaxConnections = 2 },
		"per address": func(o *ListenerOptions) { o.MaxPerAddress = 2 },
	} {
		t.Run(name, func(t *testing.T) {
			tr := start(t, time.Second, change)
			one, two := tr.dial(), tr.dial()
			say(t, one, "one")
			say(t, two, "two")
			three := tr.dial()
			if _, err := io.WriteString(three, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			answer, err := io.ReadAll(three)
			if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 503 ") ||
				!strings.Contains(string(answer), "\r\nRetry-After: 1\r\n") || !strings.HasSuffix(string(answer), "\r\n\r\ntoo many connections\n") {
				t.Fatalf("answer %q, %v", answer, err)
			}
			say(t, one, "still")
			two.Close()
			waitFor(t, func() bool { return tr.Stats().Open == 1 })
			say(t, tr.dial(), "again")
			if s := tr.Stats(); s.RefusedAddr+s.RefusedTotal != 1 {
				t.Errorf("stats: %+v", s)
			}
		})
	}
}

func TestDefaultLimitsLetAThousandComeFromOneAddress(t *testing.T) {
	if DefaultMaxPerAddress < 1000 || DefaultMaxConnections < DefaultMaxPerAddress {
		t.Fatal("a thousand clients behind one gateway must be let in")
	}
}

func TestShareOfDescriptors(t *testing.T) {
	for n, want := range map[int64]int64{1: 1, 100: 75, 1024: 768, 524288: 393216, math.MaxInt64: math.MaxInt64} {
		if got := share(n, clientShare); got != want {
			t.Errorf("%d descriptors: %d connections, want %d", n, got, want)
		}
	}
	if n := descriptors(); n < 3 {
		t.Errorf("%d descriptors", n)
	}
}

func TestPeerKey(t *testing.T) {
	key := func(s string) peerKey {
		ap := net.TCPAddrFromAddrPort(mustAddrPort(s))
		return peerKeyOf(addressed{remote: ap})
	}
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"192.0.2.1:1", "192.0.2.1:2", true},
		{"192.0.2.1:1", "192.0.2.2:1", false},
		{"192.0.2.1:1", "[::ffff:192.0.2.1]:1", true},
		{"[2001:db8::1]:1", "[2001:db8::2]:1", true},
		{"[2001:db8::1]:1", "[2001:db8:0:1::1]:1", false},
	} {
		if got := key(c.a) == key(c.b); got != c.same {
			t.Errorf("%s and %s count as one: %v", c.a, c.b, got)
		}
	}
	if peerKeyOf(addressed{remote: &net.UnixAddr{}}).prefix.IsValid() {
		t.Error("a peer on a Unix socket has an address")
	}
}

// brokenListener fails with errs, one after the other, before it works.
type brokenListener struct {
	net.Listener
	mu   sync.Mutex
	errs []error
}

func (l *brokenListener) Accept() (net.Conn, error) {
	l.mu.Lock()
	if len(l.errs) > 0 {
		err := l.errs[0]
		l.errs = l.errs[1:]
		l.mu.Unlock()
		return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", err)}
	}
	l.mu.Unlock()
	return l.Listener.Accept()
}

func (l *brokenListener) breakWith(errs ...error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.errs = append(l.errs, errs...)
}

func TestAcceptSurvivesWantOfDescriptors(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	broken := &brokenListener{Listener: inner}
	tr := start(t, time.Second, func(o *ListenerOptions) { o.Listener = broken })
	idle := tr.dial()
	say(t, idle, "hello")
	broken.breakWith(syscall.EMFILE, syscall.ENFILE, syscall.ECONNABORTED)
	tr.dial() // the accept that this ends is followed by the errors
	say(t, tr.dial(), "served after all")
	wantEnd(t, idle) // shed: it was idle
	waitFor(t, func() bool { return tr.Stats().Shed >= 1 })
	if s := tr.Stats(); s.AcceptErrors != 3 {
		t.Errorf("stats: %+v", s)
	}
}

func TestBackoffIsBounded(t *testing.T) {
	if maxBackoff > 5*time.Second {
		t.Error("hardening asks for recovery within 5 s")
	}
}

func TestListenIsAllOrNothing(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := New(Options{Listeners: []*ListenerOptions{{Listener: free}, {Network: "tcp", Address: taken.Addr().String()}}})
	if err := s.Listen(); !errors.Is(err, syscall.EADDRINUSE) {
		t.Fatalf("error %v", err)
	}
	if _, err := net.Dial("tcp", free.Addr().String()); err == nil {
		t.Error("the other listener was left open")
	}
	if s.Phase() != Terminated {
		t.Errorf("phase %v", s.Phase())
	}
}

func waitFor(t *testing.T, what func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !what(); {
		if time.Now().After(end) {
			t.Fatalf("waited %v in vain", patience)
		}
		time.Sleep(time.Millisecond)
	}
}
