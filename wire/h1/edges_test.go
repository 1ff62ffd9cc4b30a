package h1

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edge/internal/memconn"
	"edge/message"
)

// TestBodiesIntoLargeBuffers: what is read past the connection's buffer is the
// same as what goes through it.
func TestBodiesIntoLargeBuffers(t *testing.T) {
	content := strings.Repeat("0123456789", 30000)
	for name, framed := range map[string]string{
		"sized":          "Content-Length: 300000\r\n\r\n" + content,
		"one chunk":      "Transfer-Encoding: chunked\r\n\r\n493e0\r\n" + content + "\r\n0\r\n\r\n",
		"several chunks": "Transfer-Encoding: chunked\r\n\r\n186a0;x\r\n" + content[:100000] + "\r\n30d40\r\n" + content[100000:] + "\r\n0\r\nX: y\r\n\r\n",
	} {
		for _, size := range []int{7, 100, 5000, 64 << 10, 1 << 20} {
			c, nc := server(ServerOptions{})
			go nc.Write([]byte(post + framed + get + host + end))
			ask(t, c)
			got := make([]byte, 0, len(content))
			p := make([]byte, size)
			for {
				n, err := c.ReadBody(p)
				got = append(got, p[:n]...)
				if err == io.EOF {
					break
				}
				check(t, err)
			}
			if string(got) != content {
				t.Errorf("%s into %d bytes: got %d bytes", name, size, len(got))
			}
			answer(t, c, "x")
			if !c.Persist() || ask(t, c).Method != "GET" {
				t.Errorf("%s into %d bytes: the next request is lost", name, size)
			}
		}
	}
}

func TestReadingAfterTheEnd(t *testing.T) {
	c, nc := server(ServerOptions{})
	say(t, nc, post+"Content-Length: 2\r\n\r\nab")
	ask(t, c)
	if n, err := c.ReadBody(nil); n != 0 || err != nil {
		t.Errorf("reading nothing: %d, %v", n, err)
	}
	if body, err := readAll(c.ReadBody); body != "ab" || err != nil {
		t.Fatalf("%q, %v", body, err)
	}
	for range 2 {
		if n, err := c.ReadBody(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("after the end: %d, %v", n, err)
		}
	}
}

func TestBodyFaultIsSticky(t *testing.T) {
	c, nc := server(ServerOptions{})
	say(t, nc, te+"5\r\nhello!!")
	ask(t, c)
	for range 2 {
		if body, err := readAll(c.ReadBody); status(err) != 400 || len(body) > 5 {
			t.Errorf("%q, %v", body, err)
		}
	}
}

// TestManySmallWrites fills the write buffer over and over.
func TestManySmallWrites(t *testing.T) {
	for _, length := range []int64{50000, message.LengthUnknown} {
		client, srv := memconn.Pipe()
		go func() {
			c := NewServerConn(srv, &ServerOptions{})
			var req message.Request
			if c.ReadRequest(&req) != nil || c.SendHead(&message.Outgoing{Status: 200, Length: length}) != nil {
				return
			}
			for i := range 10000 {
				if c.Write([]byte{'a' + byte(i%26), '1', '2', '3', '4'}) != nil {
					return
				}
			}
			c.Finish(nil)
		}()
		c := NewClientConn(client, &ClientOptions{})
		check(t, c.SendRequest(&message.OutgoingRequest{Method: "GET", Target: slash, Fields: hostField("a")}))
		check(t, c.ReadResponse(new(message.Response)))
		got, err := readAll(c.ReadBody)
		if len(got) != 50000 || err != nil || got[5*27] != 'b' {
			t.Errorf("length %d: %d bytes, %v", length, len(got), err)
		}
	}
}

func TestWriteErrorsAreSticky(t *testing.T) {
	c, nc := server(ServerOptions{})
	say(t, nc, get+host+end)
	ask(t, c)
	nc.Close()
	check(t, c.SendHead(&message.Outgoing{Status: 200, Length: 1 << 20}))
	first := c.Write(make([]byte, 100000))
	if first == nil {
		t.Fatal("writing to nobody succeeded")
	}
	if err := c.Write([]byte("x")); err != nil && !errors.Is(err, first) {
		t.Errorf("another error: %v", err)
	}
	if err := c.Flush(); !errors.Is(err, first) {
		t.Errorf("Flush: %v, want %v", err, first)
	}
	if c.Persist() {
		t.Error("connection persists")
	}
}

func TestCallsOutOfOrder(t *testing.T) {
	c, nc := server(ServerOptions{})
	if err := c.Write([]byte("x")); err != ErrNoHead {
		t.Errorf("Write before a head: %v", err)
	}
	if err := c.Finish(nil); err != ErrNoHead {
		t.Errorf("Finish before a head: %v", err)
	}
	if c.Persist() {
		t.Error("Persist before a request")
	}
	say(t, nc, get+host+end)
	ask(t, c)
	if err := c.ReadRequest(new(message.Request)); err != ErrNotReady {
		t.Errorf("ReadRequest before the answer: %v", err)
	}
	check(t, c.SendHead(&message.Outgoing{Status: 200}))
	if err := c.SendHead(&message.Outgoing{Status: 500}); err != ErrHeadSent {
		t.Errorf("a second head: %v", err)
	}
	check(t, c.Close())
	check(t, c.Close())
	if !c.Gone() {
		t.Error("a closed connection is not gone")
	}
	if err := c.ReadRequest(new(message.Request)); err != ErrNotReady {
		t.Errorf("ReadRequest after Close: %v", err)
	}
	c.Abort() // nothing left to abort
}

// TestPipelinedRequestAfterTheLastAnswer: a client that did not know that the
// connection ends has its answer all the same.
func TestPipelinedRequestAfterTheLastAnswer(t *testing.T) {
	a, b := pairTCP(t)
	c := NewServerConn(b, &ServerOptions{})
	say(t, a, get+host+end)
	ask(t, c)
	say(t, a, get+host+end) // unread when the connection closes
	check(t, c.SendHead(&message.Outgoing{Status: 200, Length: 4, Close: true}))
	check(t, c.Write([]byte("last")))
	check(t, c.Finish(nil))
	done := make(chan bool)
	go func() {
		persists := c.Persist()
		c.Close()
		done <- persists
	}()
	time.Sleep(5 * time.Millisecond)
	got, err := io.ReadAll(a)
	if !strings.HasSuffix(string(got), "Connection: close\r\n\r\nlast") || err != nil {
		t.Errorf("client got %q, %v", got, err)
	}
	a.Close()
	if <-done {
		t.Error("connection persists")
	}
}

func TestWhichTrailersAreHarmless(t *testing.T) {
	for name, want := range map[string]bool{
		"X-Checksum": true, "Server-Timing": true, "Grpc-Status": true, "Content-Digest": true, "content-md5": true,
		"Content-Length": false, "Transfer-Encoding": false, "Host": false, "Authorization": false, "Cookie": false,
		"Set-Cookie": false, "Cache-Control": false, "Content-Type": false, "Content-Disposition": false,
		"X-Forwarded-For": false, "X-Forwarded-Anything": false, "Proxy-Whatever": false, "Sec-Fetch-Mode": false,
		"X-HTTP-Method": false, "Connection": false, "Trailer": false, "If-None-Match": false, "X-Original-Host": false,
	} {
		f := hostField("x")
		f.Reset()
		f.AddString(name, "v")
		if got := harmlessTrailer(&f.All()[0]); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestErrorsSayWhatAndWhere(t *testing.T) {
	e := faultNoHost.requestError()
	if got, want := e.Error(), "h1: 400: no Host (RFC 9112 3.2)"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	e.Err = io.ErrUnexpectedEOF
	if !errors.Is(e, io.ErrUnexpectedEOF) || !strings.Contains(e.Error(), "unexpected EOF") {
		t.Errorf("%q hides what is beneath", e.Error())
	}
	for f := faultIncomplete; f < numFaults; f++ {
		x := faults[f]
		if x.status < 400 || x.status > 599 || x.section == "" || x.reason == "" || StatusText(x.status) == "" {
			t.Errorf("fault %d: %+v", f, x)
		}
	}
}

// TestSmallLimits: each bound is kept where it is set, whatever the buffers'
// sizes.
func TestSmallLimits(t *testing.T) {
	l := Limits{RequestLine: 30, HeadBytes: 100, FieldCount: 3, ChunkLine: 10, TrailerBytes: 20}
	for _, x := range []awkward{
		{"line fits", "GET /" + strings.Repeat("a", 16) + " HTTP/1.1\r\n" + host + end, 0, "", "/aaaa"},
		{"line too long", "GET /" + strings.Repeat("a", 17) + " HTTP/1.1\r\n" + host + end, 414, "RFC 9112 3", ""},
		{"head fits", get + host + "X: " + strings.Repeat("a", 100-16-17-3-4) + "\r\n\r\n", 0, "", "aaaa"},
		{"head too long", get + host + "X: " + strings.Repeat("a", 100-16-17-3-3) + "\r\n\r\n", 431, "RFC 9110 5.4", ""},
		{"fields fit", get + host + "A: 1\r\nB: 2\r\n" + end, 0, "", "B: 2"},
		{"fields too many", get + host + "A: 1\r\nB: 2\r\nC: 3\r\n" + end, 431, "RFC 9110 5.4", ""},
		{"chunk line fits", te + "1;a=bcdefg\r\nx\r\n0\r\n\r\n", 0, "", `body "x"`},
		{"chunk line too long", te + "1;a=bcdefgh\r\nx\r\n0\r\n\r\n", 400, "RFC 9112 7.1.1", ""},
		{"trailers fit", te + "0\r\nX: 12345678901\r\n\r\n", 0, "", "trailers X: 12345678901"},
		{"trailers too large", te + "0\r\nX: 123456789012345\r\n\r\n", 431, "RFC 9112 7.1.2", ""},
	} {
		t.Run(x.name, func(t *testing.T) {
			checkVerdicts(t, x, func(step int) verdict { return judgeRequest(x.raw, step, &ServerOptions{Limits: l}) })
		})
	}
}

// TestConnectionThatIsNoSocket: wrapped connections work, by the plain paths.
func TestConnectionThatIsNoSocket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := memconn.Pipe()
		c := NewServerConn(struct{ net.Conn }{b}, &ServerOptions{})
		say(t, a, "HEAD / HTTP/1.1\r\nHost: a\r\nBad\r\n\r\n")
		err := c.ReadRequest(new(message.Request))
		var e *Error
		if !errors.As(err, &e) || c.Gone() {
			t.Fatalf("%v, gone %v", err, c.Gone())
		}
		start := time.Now()
		check(t, c.Refuse(e))
		if time.Since(start) != 0 {
			t.Errorf("lingered for %v on a connection that cannot be half-closed", time.Since(start))
		}
		got, _ := io.ReadAll(a)
		if !strings.HasPrefix(string(got), "HTTP/1.1 400 ") || !strings.HasSuffix(string(got), "\r\n\r\n") {
			t.Errorf("a HEAD is refused with %q", got)
		}
		if c.RemoteAddr().String() != b.RemoteAddr().String() || c.NetConn() == nil {
			t.Error("addresses are lost")
		}
	})
}
