package memconn

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

var _ net.Conn = (*Conn)(nil)
var _ net.Listener = (*Listener)(nil)

func TestHalfCloseLeavesTheOtherDirection(t *testing.T) {
	a, b := Pipe()
	a.Write([]byte("question"))
	a.CloseWrite()
	if n := b.Unread(); n != len("question") || a.Unread() != 0 {
		t.Fatalf("Unread: b %d, a %d", n, a.Unread())
	}
	got, err := io.ReadAll(b)
	if string(got) != "question" || err != nil {
		t.Fatalf("read %q, %v", got, err)
	}
	if !b.PeerClosed() || a.PeerClosed() {
		t.Fatalf("PeerClosed: b %v, a %v", b.PeerClosed(), a.PeerClosed())
	}
	if _, err := b.Write([]byte("answer")); err != nil {
		t.Fatal(err)
	}
	b.Close()
	if got, err = io.ReadAll(a); string(got) != "answer" || err != nil {
		t.Fatalf("read %q, %v", got, err)
	}
	if _, err := a.Write([]byte("x")); err == nil {
		t.Fatal("write after CloseWrite succeeded")
	}
}

func TestResetIsNotACleanEnd(t *testing.T) {
	for name, end := range map[string]func(a, b *Conn){
		"linger 0":    func(a, b *Conn) { a.SetLinger(0); a.Close() },
		"unread data": func(a, b *Conn) { b.Write([]byte("unread")); a.Close() },
	} {
		a, b := Pipe()
		a.Write([]byte("before"))
		end(a, b)
		got, err := io.ReadAll(b)
		if string(got) != "before" || !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%s: read %q, %v", name, got, err)
		}
		if _, err := b.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("%s: write: %v", name, err)
		}
	}
}

func TestDeadlinesInVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := PipeSize(4)
		defer a.Close()
		defer b.Close()
		start := time.Now()
		a.SetReadDeadline(start.Add(time.Minute))
		if _, err := a.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("read: %v", err)
		}
		if d := time.Since(start); d != time.Minute {
			t.Fatalf("read waited %v", d)
		}
		a.SetWriteDeadline(time.Now().Add(time.Second))
		n, err := a.Write([]byte("123456"))
		if n != 4 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("write: %d, %v", n, err)
		}
		var ne net.Error
		if !errors.As(err, &ne) || !ne.Timeout() {
			t.Fatalf("%v is no timeout", err)
		}
		// A deadline set from elsewhere interrupts a blocked read.
		a.SetDeadline(time.Time{})
		go func() {
			time.Sleep(time.Second)
			a.SetDeadline(time.Unix(1, 0))
		}()
		if _, err := a.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("interrupted read: %v", err)
		}
	})
}

func TestWriterWaitsForReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := PipeSize(8)
		want := bytes.Repeat([]byte("0123456789"), 100)
		go func() {
			a.Write(want)
			a.Close()
		}()
		got, err := io.ReadAll(b)
		if !bytes.Equal(got, want) || err != nil {
			t.Fatalf("read %d bytes, %v", len(got), err)
		}
	})
}

func TestListener(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := Listen()
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() { io.Copy(c, c); c.Close() }()
			}
		}()
		c, err := l.DialContext(context.Background(), "tcp", "ignored:80")
		if err != nil {
			t.Fatal(err)
		}
		c.Write([]byte("echo"))
		c.(*Conn).CloseWrite()
		if got, err := io.ReadAll(c); string(got) != "echo" || err != nil {
			t.Fatalf("%q, %v", got, err)
		}
		c.Close()
		l.Close()
		if _, err := l.Dial(); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Fatalf("dial after close: %v", err)
		}
	})
}
