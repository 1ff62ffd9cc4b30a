package admin

import (
	"errors"
	"net"
	"testing"
	"testing/synctest"

	"edge/internal/memconn"
)

// TestBounded: one connection too many waits for another to close, and is not
// waited for by whoever closes the listener.
func TestBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := memconn.Listen()
		b := boundedBy(inner, 2)
		accepted := make(chan net.Conn, 4)
		ended := make(chan error, 1)
		go func() {
			for {
				c, err := b.Accept()
				if err != nil {
					ended <- err
					return
				}
				accepted <- c
			}
		}()
		for range 4 {
			go func() { _, _ = inner.Dial() }() // some never are accepted
		}
		synctest.Wait()
		if n := len(accepted); n != 2 {
			t.Fatalf("%d connections at once, want 2", n)
		}
		c := <-accepted
		for range 2 { // the second time makes no more room
			_ = c.Close()
		}
		synctest.Wait()
		if n := len(accepted); n != 2 {
			t.Fatalf("%d connections after one was closed, want 2", n)
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		if err := <-ended; !errors.Is(err, net.ErrClosed) {
			t.Errorf("closed: %v", err)
		}
	})
}
