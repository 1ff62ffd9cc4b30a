//go:build linux

package netpoll

import (
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestEvent(t *testing.T) {
	e, err := NewEvent()
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Signal(); err != nil {
		t.Fatal(err)
	}
	if err := e.Wait(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- e.Wait() }()
	select {
	case err := <-ended:
		t.Fatalf("nobody has signalled, and the wait ended: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	if err := e.Signal(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	go func() { ended <- e.Wait() }()
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil {
		t.Error("a wait for what is closed ended without an error")
	}
}

// TestYieldLetsThePollerIn: beside a goroutine that only yields, on one processor,
// what comes over sockets is answered at once.
func TestYieldLetsThePollerIn(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer c.Close()
				var b [1]byte
				for {
					if _, err := c.Read(b[:]); err != nil {
						return
					}
					if _, err := c.Write(b[:]); err != nil {
						return
					}
				}
			})
		}
	})
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	turn := NewTurn()
	if turn == nil {
		t.Fatal("no turn")
	}
	var ended atomic.Bool
	var yields atomic.Int64
	running.Go(func() {
		defer turn.Close()
		for !ended.Load() {
			turn.Yield()
			yields.Add(1)
		}
	})
	const exchanges = 200
	began := time.Now()
	for range exchanges {
		var b [1]byte
		if _, err := c.Write(b[:]); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(b[:]); err != nil {
			t.Fatal(err)
		}
	}
	took := time.Since(began)
	ended.Store(true)
	_ = c.Close()
	_ = l.Close()
	running.Wait()
	// With runtime.Gosched, two looks of the monitor for each: 4 s.
	if most := exchanges * 5 * time.Millisecond; took > most {
		t.Errorf("%d exchanges took %v: more than %v", exchanges, took, most)
	}
	if yields.Load() == 0 {
		t.Error("it never yielded")
	}
}

func TestYieldOfNoTurn(*testing.T) {
	var t *Turn
	t.Yield()
	t.Close()
	t = NewTurn()
	t.Close()
	t.Yield() // does not wait for what cannot come
}

func TestNothingLeaks(t *testing.T) {
	before := open(t)
	for range 100 {
		turn := NewTurn()
		turn.Yield()
		turn.Close()
	}
	if after := open(t); after > before {
		t.Errorf("%d descriptors more than before", after-before)
	}
}

// open returns how many descriptors the process has.
func open(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

func BenchmarkYield(b *testing.B) {
	turn := NewTurn()
	defer turn.Close()
	b.ReportAllocs()
	for b.Loop() {
		turn.Yield()
	}
}
