package h1

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"edge/message"
)

// fileOf returns an open file of n random bytes, and the bytes.
func fileOf(t *testing.T, n int) (*os.File, []byte) {
	t.Helper()
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{7}).Read(b)
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f, b
}

// sending is a server connection over TCP that has been asked for something, and the
// client's end.
func sending(t *testing.T, o ServerOptions, length int64) (*ServerConn, net.Conn) {
	t.Helper()
	client, nc := pairTCP(t)
	c := NewServerConn(nc, &o)
	t.Cleanup(func() { c.Close() })
	say(t, client, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	ask(t, c)
	if !c.CanSendFile() {
		t.Fatal("a TCP connection cannot send files")
	}
	if err := c.SendHead(&message.Outgoing{Status: 200, Length: length}); err != nil {
		t.Fatal(err)
	}
	return c, client
}

// content reads a response to its end and returns what follows the head.
func content(t *testing.T, client net.Conn) ([]byte, error) {
	t.Helper()
	client.SetReadDeadline(time.Now().Add(patience))
	all, err := io.ReadAll(client)
	_, body, _ := bytes.Cut(all, []byte("\r\n\r\n"))
	return body, err
}

// TestSendFile: written and sent content mix, pieces at any offset, and the next
// answer follows on the same connection.
func TestSendFile(t *testing.T) {
	f, b := fileOf(t, 300<<10)
	c, client := sending(t, ServerOptions{}, int64(5+200<<10+3))
	got := make(chan []byte, 1)
	go func() {
		body, _ := content(t, client)
		got <- body
	}()
	err := c.Write([]byte("first"))
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range [][2]int64{{1, 100<<10 - 1}, {100 << 10, 100<<10 + 1}} {
		if n, err := c.SendFile(f.Fd(), at[0], at[1]); n != at[1] || err != nil {
			t.Fatalf("%d of %d sent: %v", n, at[1], err)
		}
	}
	if err := errors.Join(c.Write([]byte("end")), c.Finish(nil)); err != nil {
		t.Fatal(err)
	}
	if want := c.w.offset(); c.w.written != want {
		t.Errorf("%d bytes counted as written of %d", c.w.written, want)
	}
	say(t, client, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	ask(t, c)
	answer(t, c, "next")
	c.Close()
	want := "first" + string(b[1:100<<10]) + string(b[100<<10:200<<10+1]) + "end"
	body := <-got
	if !bytes.HasPrefix(body, []byte(want)) {
		t.Fatalf("%d bytes that are not the content", len(body))
	}
	if rest := body[len(want):]; !bytes.HasPrefix(rest, []byte("HTTP/1.1 200")) || !bytes.HasSuffix(rest, []byte("next")) {
		t.Errorf("behind the content: %q", rest)
	}
}

// TestSendFileToSlowClient: a client that takes its time gets everything; the
// socket is full many times over.
func TestSendFileToSlowClient(t *testing.T) {
	f, b := fileOf(t, 8<<20)
	c, client := sending(t, ServerOptions{}, int64(len(b)))
	client.(*net.TCPConn).SetReadBuffer(32 << 10)
	sent := make(chan error, 1)
	go func() {
		n, err := c.SendFile(f.Fd(), 0, int64(len(b)))
		if err == nil && n != int64(len(b)) {
			err = io.ErrShortWrite
		}
		sent <- errors.Join(err, c.Finish(nil), c.Close())
	}()
	var all []byte
	p := make([]byte, 64<<10)
	client.SetReadDeadline(time.Now().Add(patience))
	for {
		n, err := client.Read(p)
		if all = append(all, p[:n]...); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	if _, body, _ := bytes.Cut(all, []byte("\r\n\r\n")); !bytes.Equal(body, b) {
		t.Errorf("%d bytes came that are not the %d of the file", len(body), len(b))
	}
}

// TestSendFileTimesOut: a client that takes nothing is given up at the deadline.
func TestSendFileTimesOut(t *testing.T) {
	f, b := fileOf(t, 16<<20)
	c, _ := sending(t, ServerOptions{Timeouts: Timeouts{Write: 50 * time.Millisecond, MinBodyRate: 1 << 40}}, int64(len(b)))
	n, err := c.SendFile(f.Fd(), 0, int64(len(b)))
	if !isTimeout(err) || n >= int64(len(b)) {
		t.Fatalf("%d bytes sent: %v", n, err)
	}
	if err := errors.Join(c.Write(b[:1]), c.Flush()); err == nil {
		t.Error("the error was forgotten")
	}
}

// TestSendFileShort: a file that ends early leaves the rest to Write; without it the
// content is cut.
func TestSendFileShort(t *testing.T) {
	for _, mended := range []bool{true, false} {
		f, b := fileOf(t, 100<<10)
		c, client := sending(t, ServerOptions{}, int64(len(b)+10))
		n, err := c.SendFile(f.Fd(), 0, int64(len(b)+10))
		if n != int64(len(b)) || err != nil {
			t.Fatalf("%d sent: %v", n, err)
		}
		if mended {
			if err := errors.Join(c.Write(make([]byte, 10)), c.Finish(nil), c.Close()); err != nil {
				t.Fatal(err)
			}
		} else if err := c.Finish(nil); err != ErrTooShort {
			t.Fatalf("finished with %v", err)
		}
		body, err := content(t, client)
		if mended && (err != nil || !bytes.Equal(body, append(b, make([]byte, 10)...))) {
			t.Errorf("%d bytes: %v", len(body), err)
		}
		if !mended && err == nil {
			t.Error("what was cut ended cleanly")
		}
	}
}

// TestSendFileClientGone: a client that leaves midway is an error of the
// connection, not of the file.
func TestSendFileClientGone(t *testing.T) {
	f, b := fileOf(t, 16<<20)
	c, client := sending(t, ServerOptions{}, int64(len(b)))
	go func() {
		io.ReadFull(client, make([]byte, 100<<10))
		cut(client)
	}()
	if n, err := c.SendFile(f.Fd(), 0, int64(len(b))); err == nil || isTimeout(err) {
		t.Fatalf("%d sent: %v", n, err)
	}
}

// TestSendFileRefused: other transports, framings and lengths.
func TestSendFileRefused(t *testing.T) {
	f, _ := fileOf(t, 1<<10)
	c := NewServerConn(&pieceConn{}, &ServerOptions{})
	if c.CanSendFile() {
		t.Error("a connection that is no socket can send files")
	}
	c, _ = sending(t, ServerOptions{}, message.LengthUnknown)
	if n, err := c.SendFile(f.Fd(), 0, 1); n != 0 || err == nil {
		t.Errorf("in a chunked body %d were sent: %v", n, err)
	}
	c, _ = sending(t, ServerOptions{}, 5)
	if n, err := c.SendFile(f.Fd(), 0, 6); n != 0 || err != ErrTooLong {
		t.Errorf("6 of 5: %d were sent: %v", n, err)
	}
}
