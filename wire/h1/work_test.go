package h1

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"edge/message"
)

// browserGet is a request of the size that browsers and load generators send.
const browserGet = "GET /static/app.js?v=3 HTTP/1.1\r\nHost: www.example.com\r\nUser-Agent: bench/1.0\r\n" +
	"Accept: */*\r\nAccept-Encoding: gzip, br\r\nCookie: a=b\r\n\r\n"

// replayConn is a client that sends the same request again and again, a whole
// one per Read, and throws the answers away.
type replayConn struct {
	pieceConn
	request []byte
}

func (c *replayConn) Read(p []byte) (int, error)  { return copy(p, c.request), nil }
func (c *replayConn) Write(p []byte) (int, error) { return len(p), nil }

func TestAnswerAllocatesNothing(t *testing.T) {
	c := NewServerConn(&replayConn{request: []byte(browserGet)}, &ServerOptions{})
	var req message.Request
	content := make([]byte, 1024)
	block := []byte("Content-Type: text/plain\r\nETag: \"x\"\r\n")
	run := func() {
		out := message.Outgoing{Status: 200, Block: block, Length: int64(len(content))}
		if c.ReadRequest(&req) != nil || c.SendHead(&out) != nil || c.Write(content) != nil || c.Finish(nil) != nil || !c.Persist() {
			t.Fatal("exchange failed")
		}
	}
	run()
	if n := testing.AllocsPerRun(1000, run); n != 0 {
		t.Errorf("%v allocations an exchange", n)
	}
}

// TestAnswerOverTCPAllocatesNothing holds the paths that exist only on sockets
// to the same: reading without a buffer, and writev.
func TestAnswerOverTCPAllocatesNothing(t *testing.T) {
	a, b := pairTCP(t)
	c := NewServerConn(b, &ServerOptions{})
	var req message.Request
	for _, size := range []int{1024, 32 << 10} {
		content := make([]byte, size)
		got := make([]byte, size+200)
		run := func() {
			out := message.Outgoing{Status: 200, Length: int64(size)}
			if _, err := io.WriteString(a, browserGet); err != nil {
				t.Fatal(err)
			}
			if c.ReadRequest(&req) != nil || c.SendHead(&out) != nil || c.Write(content) != nil || c.Finish(nil) != nil || !c.Persist() {
				t.Fatal("exchange failed")
			}
			head := len("HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\n") + len("1024")
			if size > 9999 {
				head++
			}
			if _, err := io.ReadFull(a, got[:size+head]); err != nil {
				t.Fatal(err)
			}
		}
		run()
		// io.WriteString converts the request: one allocation is the test's own.
		if n := testing.AllocsPerRun(200, run); n > 1 {
			t.Errorf("%d bytes: %v allocations an exchange", size, n)
		}
	}
}

// TestIdleConnectionHoldsNoBuffer: ten thousand idle clients cost no read
// buffers.
func TestIdleConnectionHoldsNoBuffer(t *testing.T) {
	a, b := pairTCP(t)
	c := NewServerConn(b, &ServerOptions{})
	say(t, a, get+host+end)
	ask(t, c)
	answer(t, c, "x")
	if !c.Persist() {
		t.Fatal("connection does not persist")
	}
	done := make(chan error)
	go func() { done <- c.ReadRequest(new(message.Request)) }()
	for !c.waiting.Load() {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(10 * time.Millisecond)
	c.Interrupt()
	if err := <-done; err != io.EOF {
		t.Errorf("interrupted while idle: %v", err)
	}
	if c.rd.buf != nil || c.w.buf != nil {
		t.Errorf("an idle connection holds %d and %d bytes of buffer", len(c.rd.buf), cap(c.w.buf))
	}
}

// TestWorkIsLinearInTheHead counts what the parsers look at: a head that comes
// a byte at a time is parsed a bounded number of times, however long it is.
func TestWorkIsLinearInTheHead(t *testing.T) {
	for _, size := range []int{1000, 20000, 60000} {
		for name, filler := range map[string]string{
			"one long value": "X: " + strings.Repeat("a", size) + "\r\n",
			"short fields":   strings.Repeat("X:"+strings.Repeat("a", size/190)+"\r\n", 190),
		} {
			raw := get + host + filler + end
			parses := 0
			rd := reader{nc: &pieceConn{data: []byte(raw), step: 1}, size: smallBuffer, timeouts: &serverTimeouts}
			limits := Limits{}.withDefaults()
			p := requestParser{scheme: "http", limits: &limits}
			var req message.Request
			n, f, err := rd.readHead(limits.HeadBytes, limits.RequestLine+4, func(b []byte) (int, fault) {
				parses++
				return p.parse(b, &req)
			})
			if n != len(raw) || f != faultNone || err != nil {
				t.Fatalf("%s of %d bytes: %d, %v, %v", name, size, n, faults[f], err)
			}
			if parses > 2 {
				t.Errorf("%s of %d bytes: parsed %d times", name, size, parses)
			}
		}
	}
}

// TestScannerLooksAtEachByteOnce: the other half of linear.
func TestScannerLooksAtEachByteOnce(t *testing.T) {
	raw := []byte(get + host + strings.Repeat("X: abc\r\n", 150) + end)
	var s headScanner
	for i := range raw {
		if ready := s.ready(raw[:i+1]); ready != (i == len(raw)-1) {
			t.Fatalf("ready at byte %d of %d", i, len(raw))
		}
		if s.seen != i+1 {
			t.Fatalf("at byte %d the scanner is at %d", i, s.seen)
		}
	}
}

func BenchmarkParseRequest(b *testing.B) {
	for _, x := range []struct{ name, raw string }{
		{"wrk", "GET /1k HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n"},
		{"browser", browserGet},
		{"long", strings.TrimSuffix(browserGet, end) + "X-Long: " + strings.Repeat("a", 4000) + "\r\n\r\n"},
	} {
		b.Run(x.name, func(b *testing.B) {
			limits := Limits{}.withDefaults()
			p := requestParser{scheme: "http", limits: &limits}
			var req message.Request
			raw := []byte(x.raw)
			b.SetBytes(int64(len(raw)))
			b.ReportAllocs()
			for b.Loop() {
				if n, f := p.parse(raw, &req); n != len(raw) || f != faultNone {
					b.Fatal(faults[f])
				}
			}
		})
	}
}

func BenchmarkExchange(b *testing.B) {
	poison = false
	defer func() { poison = true }()
	c := NewServerConn(&replayConn{request: []byte(browserGet)}, &ServerOptions{})
	var req message.Request
	content := make([]byte, 1024)
	block := bytes.Repeat([]byte("Content-Type: text/plain\r\n"), 5)
	b.ReportAllocs()
	for b.Loop() {
		out := message.Outgoing{Status: 200, Block: block, Length: int64(len(content))}
		if c.ReadRequest(&req) != nil || c.SendHead(&out) != nil || c.Write(content) != nil || c.Finish(nil) != nil || !c.Persist() {
			b.Fatal("exchange failed")
		}
	}
}

var _ net.Conn = (*replayConn)(nil)
