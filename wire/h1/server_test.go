package h1

import (
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"edge/internal/memconn"
	"edge/message"
)

// patience bounds every wait of these tests on the real clock: it tells what hangs
// from what is slow.
const patience = time.Minute

// eventually waits for what another goroutine or the kernel must bring about.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited %v in vain: %s", patience, what)
		}
	}
}

// say writes what a peer says.
func say(t *testing.T, nc net.Conn, s string) {
	t.Helper()
	if _, err := nc.Write([]byte(s)); err != nil {
		t.Fatal(err)
	}
}

// heard reads exactly what is wanted, and reports anything else.
func heard(t *testing.T, nc net.Conn, want string) {
	t.Helper()
	nc.SetReadDeadline(time.Now().Add(patience))
	defer nc.SetReadDeadline(time.Time{})
	got := make([]byte, len(want))
	n, err := io.ReadFull(nc, got)
	if string(got[:n]) != want {
		t.Fatalf("heard %q (%v), want %q", got[:n], err, want)
	}
}

// ask reads one request off c.
func ask(t *testing.T, c *ServerConn) *message.Request {
	t.Helper()
	req := new(message.Request)
	check(t, c.ReadRequest(req))
	return req
}

// answer answers the request in hand with a short text.
func answer(t *testing.T, c *ServerConn, text string) {
	t.Helper()
	check(t, c.SendHead(&message.Outgoing{Status: 200, Length: int64(len(text))}))
	check(t, c.Write([]byte(text)))
	check(t, c.Finish(nil))
}

func TestPipelinedAnswersLeaveTogether(t *testing.T) {
	counted := &countingConn{pieceConn: pieceConn{
		data: []byte(strings.Repeat(get+host+end, 3)), step: 1 << 20}}
	c := NewServerConn(counted, &ServerOptions{})
	for i, text := range []string{"a", "b", "c"} {
		ask(t, c)
		answer(t, c, text)
		if want := i / 2; counted.writes != want {
			t.Errorf("after answer %d: %d writes, want %d", i+1, counted.writes, want)
		}
		if !c.Persist() {
			t.Fatal("connection does not persist")
		}
	}
	const head = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n"
	if got, want := counted.wrote.String(), head+"a"+head+"b"+head+"c"; got != want {
		t.Errorf("wrote %q, want %q", got, want)
	}
	if err := c.ReadRequest(new(message.Request)); err != io.EOF {
		t.Errorf("after the last request: %v", err)
	}
}

type countingConn struct {
	pieceConn
	reads, writes int
}

func (c *countingConn) Read(p []byte) (int, error)  { c.reads++; return c.pieceConn.Read(p) }
func (c *countingConn) Write(p []byte) (int, error) { c.writes++; return c.pieceConn.Write(p) }

func TestOneReadAndOneWritePerExchange(t *testing.T) {
	raw := get + host + end
	nc := &countingConn{pieceConn: pieceConn{data: []byte(strings.Repeat(raw, 5)), step: len(raw)}}
	c := NewServerConn(nc, &ServerOptions{})
	for i := 1; i <= 5; i++ {
		ask(t, c)
		answer(t, c, strings.Repeat("x", 1024))
		if !c.Persist() || nc.reads != i || nc.writes != i {
			t.Fatalf("exchange %d: %d reads, %d writes", i, nc.reads, nc.writes)
		}
	}
}

// TestQueuedAnswerLeavesBeforeAWait: a client that pipelines and then waits for
// an answer gets it, even where a part of its next request is at hand.
func TestQueuedAnswerLeavesBeforeAWait(t *testing.T) {
	for name, second := range map[string]string{
		"a head cut in two": get + "Ho",
		"a body to come":    post + "Content-Length: 5\r\n\r\nhe",
	} {
		c, nc := server(ServerOptions{})
		say(t, nc, get+host+end+second)
		ask(t, c)
		answer(t, c, "first")
		done := make(chan struct{})
		go func() {
			defer close(done)
			var req message.Request
			if c.ReadRequest(&req) == nil {
				readAll(c.ReadBody)
			}
		}()
		heard(t, nc, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst")
		nc.Close()
		<-done
		_ = name
	}
}

func TestContinueIsSentWhenAskedFor(t *testing.T) {
	c, nc := server(ServerOptions{})
	say(t, nc, post+"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n")
	req := ask(t, c)
	if !req.ExpectContinue {
		t.Fatal("no expectation seen")
	}
	var hints message.Fields
	hints.AddString("Link", "</a>")
	check(t, c.SendInterim(103, &hints))
	check(t, c.SendInterim(100, nil))
	heard(t, nc, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n")
	say(t, nc, "hello")
	if body, err := readAll(c.ReadBody); body != "hello" || err != nil {
		t.Fatalf("%q, %v", body, err)
	}
	answer(t, c, "thanks")
	heard(t, nc, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nthanks")
	if !c.Persist() {
		t.Error("connection does not persist")
	}
	if err := c.SendInterim(103, nil); err != ErrHeadSent {
		t.Errorf("interim after the final head: %v", err)
	}
}

// TestUnansweredExpectationCloses: whether the client sends its body after a
// final answer cannot be known, so the connection ends.
func TestUnansweredExpectationCloses(t *testing.T) {
	c, nc := server(ServerOptions{Timeouts: Timeouts{Drain: time.Millisecond}})
	say(t, nc, post+"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n")
	ask(t, c)
	answer(t, c, "no")
	heard(t, nc, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
	if c.Persist() {
		t.Error("connection persists")
	}
}

func TestInterimIsNotForHTTP10(t *testing.T) {
	c, nc := server(ServerOptions{})
	say(t, nc, "GET / HTTP/1.0\r\n"+host+end)
	ask(t, c)
	check(t, c.SendInterim(103, nil))
	if err := c.SendInterim(101, nil); err != ErrNotInterim {
		t.Errorf("101 as interim: %v", err)
	}
	answer(t, c, "x")
	heard(t, nc, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx")
}

// TestFramingOfResponses: which framing fields each kind of response gets, and
// whether the connection lives on.
func TestFramingOfResponses(t *testing.T) {
	const old, oldKeep = "GET / HTTP/1.0\r\n" + host + end, "GET / HTTP/1.0\r\n" + host + "Connection: keep-alive\r\n" + end
	const head = "HEAD / HTTP/1.1\r\n" + host + end
	for _, x := range []struct {
		name, request string
		out           message.Outgoing
		content, want string
		persist       bool
	}{
		{"sized", get + host + end, message.Outgoing{Status: 200, Length: 2}, "ab", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab", true},
		{"empty", get + host + end, message.Outgoing{Status: 404, Length: 0}, "", "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", true},
		{"chunked", get + host + end, message.Outgoing{Status: 200, Length: -1}, "ab", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n", true},
		{"own reason", get + host + end, message.Outgoing{Status: 200, Reason: []byte("Fine")}, "", "HTTP/1.1 200 Fine\r\nContent-Length: 0\r\n\r\n", true},
		{"unknown status", get + host + end, message.Outgoing{Status: 299}, "", "HTTP/1.1 299 \r\nContent-Length: 0\r\n\r\n", true},
		{"parts in order", get + host + end, message.Outgoing{Status: 200, Block: []byte("A: 1\r\n"), Extra: []byte("Age: 3\r\n")}, "", "HTTP/1.1 200 OK\r\nA: 1\r\nAge: 3\r\nContent-Length: 0\r\n\r\n", true},
		{"asked to close", get + host + end, message.Outgoing{Status: 200, Close: true}, "", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", false},
		{"client closes", get + host + "Connection: close\r\n" + end, message.Outgoing{Status: 200}, "", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", false},
		{"HEAD", head, message.Outgoing{Status: 200, Length: 9, NoBody: true}, "", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", true},
		{"HEAD, length unknown", head, message.Outgoing{Status: 200, Length: -1, NoBody: true}, "", "HTTP/1.1 200 OK\r\n\r\n", true},
		{"nothing where content may be", get + host + end, message.Outgoing{Status: 412, Length: -1, NoBody: true}, "", "HTTP/1.1 412 Precondition Failed\r\nContent-Length: 0\r\n\r\n", true},
		{"204", get + host + end, message.Outgoing{Status: 204, NoBody: true}, "", "HTTP/1.1 204 No Content\r\n\r\n", true},
		{"304", get + host + end, message.Outgoing{Status: 304, Length: 7, NoBody: true}, "", "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n", true},
		{"1.0", old, message.Outgoing{Status: 200, Length: 2}, "ab", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nab", false},
		{"1.0 keep-alive", oldKeep, message.Outgoing{Status: 200, Length: 2}, "ab", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nab", true},
		{"1.0, length unknown", oldKeep, message.Outgoing{Status: 200, Length: -1}, "ab", "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nab", false},
	} {
		t.Run(x.name, func(t *testing.T) {
			c, nc := server(ServerOptions{Timeouts: Timeouts{Drain: time.Millisecond}})
			say(t, nc, x.request)
			ask(t, c)
			if c.HeadSent() {
				t.Error("HeadSent before the head")
			}
			check(t, c.SendHead(&x.out))
			check(t, c.Write([]byte(x.content)))
			if !c.HeadSent() {
				t.Error("not HeadSent after the head")
			}
			check(t, c.Finish(nil))
			if got := c.Persist(); got != x.persist {
				t.Errorf("Persist() = %v", got)
			}
			c.Close()
			if got, err := io.ReadAll(nc); string(got) != x.want || err != nil {
				t.Errorf("client got %q, %v, want %q", got, err, x.want)
			}
		})
	}
}

func TestResponseTrailers(t *testing.T) {
	for _, announced := range []bool{true, false} {
		c, nc := server(ServerOptions{})
		say(t, nc, get+host+end)
		ask(t, c)
		var trailers message.Fields
		trailers.AddString("X-Checksum", "1")
		check(t, c.SendHead(&message.Outgoing{Status: 200, Length: message.LengthUnknown, Trailers: announced}))
		check(t, c.Write([]byte("hello")))
		check(t, c.Finish(&trailers))
		want := "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n"
		if announced {
			want += "X-Checksum: 1\r\n"
		}
		heard(t, nc, want+"\r\n")
	}
}

// TestWrongLengthIsACut: neither too much nor too little ever looks complete.
func TestWrongLengthIsACut(t *testing.T) {
	for _, x := range []struct {
		content string
		write   error
		finish  error
	}{{"toolong", ErrTooLong, ErrNoHead}, {"sho", nil, ErrTooShort}} {
		c, nc := server(ServerOptions{})
		say(t, nc, get+host+end)
		ask(t, c)
		check(t, c.SendHead(&message.Outgoing{Status: 200, Length: 5}))
		check(t, c.Flush())
		if err := c.Write([]byte(x.content)); err != x.write {
			t.Errorf("Write: %v, want %v", err, x.write)
		}
		if err := c.Finish(nil); err != x.finish {
			t.Errorf("Finish: %v, want %v", err, x.finish)
		}
		if c.Persist() {
			t.Error("connection persists")
		}
		got, err := io.ReadAll(nc)
		if !errors.Is(err, syscall.ECONNRESET) || strings.Contains(string(got), "toolong") {
			t.Errorf("client got %q, %v", got, err)
		}
	}
}

func TestAbortIsVisible(t *testing.T) {
	for _, length := range []int64{100, message.LengthUnknown} {
		for _, version := range []string{"1.0", "1.1"} {
			c, nc := server(ServerOptions{})
			say(t, nc, "GET / HTTP/"+version+"\r\n"+host+end)
			ask(t, c)
			check(t, c.SendHead(&message.Outgoing{Status: 200, Length: length}))
			check(t, c.Write([]byte("some")))
			check(t, c.Flush())
			c.Abort()
			got, err := io.ReadAll(nc)
			if !errors.Is(err, syscall.ECONNRESET) || strings.HasSuffix(string(got), "0\r\n\r\n") {
				t.Errorf("HTTP/%s, length %d: client got %q, %v", version, length, got, err)
			}
		}
	}
}

func TestAbortOverTCPResets(t *testing.T) {
	a, b := pairTCP(t)
	c := NewServerConn(b, &ServerOptions{})
	say(t, a, "GET / HTTP/1.0\r\n"+host+end)
	ask(t, c)
	check(t, c.SendHead(&message.Outgoing{Status: 200, Length: message.LengthUnknown}))
	check(t, c.Write([]byte("some")))
	check(t, c.Flush())
	c.Abort()
	if _, err := io.ReadAll(a); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("client saw %v", err)
	}
}

// TestAbortKeepsFinishedAnswers: what was finished and queued still arrives.
func TestAbortKeepsFinishedAnswers(t *testing.T) {
	c, nc := server(ServerOptions{})
	say(t, nc, strings.Repeat(get+host+end, 2))
	ask(t, c)
	answer(t, c, "first")
	if !c.Persist() {
		t.Fatal("connection does not persist")
	}
	ask(t, c)
	check(t, c.SendHead(&message.Outgoing{Status: 200, Length: 6}))
	check(t, c.Write([]byte("sec")))
	c.Abort()
	got, err := io.ReadAll(nc)
	if string(got) != "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst" || err != nil {
		t.Errorf("client got %q, %v", got, err)
	}
}

func TestRefusalReachesAClientThatGoesOnSending(t *testing.T) {
	for _, over := range []string{"memory", "tcp"} {
		t.Run(over, func(t *testing.T) {
			var a, b net.Conn
			if over == "tcp" {
				a, b = pairTCP(t)
			} else {
				a, b = memconn.Pipe()
			}
			c := NewServerConn(b, &ServerOptions{})
			say(t, a, "GET / HTTP/1.1\r\nHost: a\r\nBad Name: x\r\n\r\n"+strings.Repeat("x", 10000))
			err := c.ReadRequest(new(message.Request))
			var e *Error
			if !errors.As(err, &e) || e.Status != 400 {
				t.Fatalf("%v", err)
			}
			done := make(chan error, 1)
			go func() { done <- c.Refuse(e) }()
			buf := make([]byte, 4096)
			n, _ := a.Read(buf)
			got := string(buf[:n])
			if !strings.HasPrefix(got, "HTTP/1.1 400 Bad Request\r\n") || !strings.Contains(got, "\r\nConnection: close\r\n") ||
				!strings.HasSuffix(got, "\r\n\r\n"+e.Reason+"\n") {
				t.Errorf("client got %q", got)
			}
			say(t, a, strings.Repeat("y", 10000)) // the server is still listening
			if n, err := a.Read(buf); n != 0 || err != io.EOF {
				t.Errorf("after the refusal: %d bytes, %v", n, err)
			}
			a.Close()
			check(t, <-done)
		})
	}
}

func TestRefuseAfterTheHeadAborts(t *testing.T) {
	c, nc := server(ServerOptions{})
	say(t, nc, get+host+end)
	ask(t, c)
	check(t, c.SendHead(&message.Outgoing{Status: 200, Length: 5}))
	check(t, c.Flush())
	if err := c.Refuse(&Error{Status: 500, Reason: "late"}); err != ErrHeadSent {
		t.Errorf("Refuse: %v", err)
	}
	got, err := io.ReadAll(nc)
	if strings.Contains(string(got), "500") || !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("client got %q, %v", got, err)
	}
}

func TestUnreadBodyIsDrainedOrTheConnectionEnds(t *testing.T) {
	body := strings.Repeat("b", 5000)
	for _, x := range []struct {
		name    string
		raw     string
		drain   int64
		persist bool
		close   bool // announced
	}{
		{"small", post + "Content-Length: 5000\r\n\r\n" + body, 10000, true, false},
		{"chunked", te + "1388\r\n" + body + "\r\n0\r\n\r\n", 10000, true, false},
		{"large", post + "Content-Length: 5000\r\n\r\n" + body, 1000, false, true},
		{"large, chunked", te + "1388\r\n" + body + "\r\n0\r\n\r\n", 1000, false, false},
		{"ill-formed", te + "1388\r\n" + body + "??", 10000, false, false},
	} {
		t.Run(x.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, nc := server(ServerOptions{Limits: Limits{DrainBytes: x.drain}})
				say(t, nc, x.raw+get+host+end)
				ask(t, c)
				answer(t, c, "x")
				if got := c.Persist(); got != x.persist {
					t.Fatalf("Persist() = %v", got)
				}
				if x.persist {
					if req := ask(t, c); req.Method != "GET" {
						t.Errorf("next request is %s", req.Method)
					}
				}
				c.Close()
				got, _ := io.ReadAll(nc)
				if strings.Contains(string(got), "Connection: close") != x.close {
					t.Errorf("client got %q", got)
				}
			})
		})
	}
}

func TestReadRequestWantsTheBodyBehindIt(t *testing.T) {
	c, nc := server(ServerOptions{})
	say(t, nc, post+"Content-Length: 5\r\n\r\nGET / ")
	ask(t, c)
	answer(t, c, "x")
	if err := c.ReadRequest(new(message.Request)); err != ErrNotReady {
		t.Errorf("ReadRequest into an unread body: %v", err)
	}
}

func TestUpgradeLosesNoByte(t *testing.T) {
	c, nc := server(ServerOptions{})
	say(t, nc, get+host+"Connection: upgrade\r\nUpgrade: websocket\r\n"+end+"early bytes")
	req := ask(t, c)
	if string(req.Upgrade) != "websocket" {
		t.Fatalf("upgrade %q", req.Upgrade)
	}
	var f message.Fields
	f.AddKnown(message.FieldUpgrade, req.Upgrade)
	check(t, c.SendHead(&message.Outgoing{Status: 101, Fields: &f}))
	check(t, c.Flush())
	raw, buffered := c.Hijack()
	if string(buffered) != "early bytes" {
		t.Errorf("read ahead %q", buffered)
	}
	heard(t, nc, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n")
	say(t, nc, " and later ones")
	got := make([]byte, 15)
	if _, err := io.ReadFull(raw, got); string(got) != " and later ones" || err != nil {
		t.Errorf("tunnel read %q, %v", got, err)
	}
}

func TestGone(t *testing.T) {
	for _, over := range []string{"memory", "tcp"} {
		t.Run(over, func(t *testing.T) {
			var a, b net.Conn
			if over == "tcp" {
				a, b = pairTCP(t)
			} else {
				a, b = memconn.Pipe()
			}
			c := NewServerConn(b, &ServerOptions{})
			say(t, a, get+host+end)
			ask(t, c)
			if c.Gone() {
				t.Fatal("gone while it is there")
			}
			a.Close()
			eventually(t, "gone after close", c.Gone)
		})
	}
}

func TestPipelinedBytesAreNotGone(t *testing.T) {
	c, nc := server(ServerOptions{})
	say(t, nc, get+host+end+get+host+end)
	nc.CloseWrite()
	ask(t, c)
	if c.Gone() {
		t.Error("gone with a pipelined request at hand")
	}
}

func TestRequestSurvivesReadingItsBody(t *testing.T) {
	body := strings.Repeat("0123456789", 20000)
	for _, framed := range []string{"Content-Length: 200000\r\n\r\n" + body, "Transfer-Encoding: chunked\r\n\r\n30d40\r\n" + body + "\r\n0\r\nX-T: 1\r\n\r\n"} {
		c, nc := server(ServerOptions{})
		go nc.Write([]byte(post + "X-Long: " + strings.Repeat("h", 3000) + "\r\n" + framed + get + host + end))
		req := ask(t, c)
		before := describeRequest(req)
		got, err := readAll(c.ReadBody)
		if got != body || err != nil {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
		if describeRequest(req) != before {
			t.Error("the head changed while its body was read")
		}
		answer(t, c, "x")
		if !c.Persist() {
			t.Fatal("connection does not persist")
		}
		stale := req.Target
		if next := ask(t, c); next.Method != "GET" {
			t.Errorf("next request is %s", next.Method)
		}
		if string(stale) == "/x" {
			t.Error("a slice that outlived its request was not poisoned")
		}
	}
}

func TestLargeContentByEveryPath(t *testing.T) {
	content := strings.Repeat("0123456789abcdef", 1<<16) // 1 MiB
	for _, over := range []string{"memory", "tcp"} {
		for _, length := range []int64{int64(len(content)), message.LengthUnknown} {
			for _, piece := range []int{1000, copyLimit, copyLimit + 1, 40000, len(content)} {
				var a, b net.Conn
				if over == "tcp" {
					a, b = pairTCP(t)
				} else {
					a, b = memconn.Pipe()
				}
				go func() {
					c := NewServerConn(b, &ServerOptions{})
					var req message.Request
					if c.ReadRequest(&req) != nil || c.SendHead(&message.Outgoing{Status: 200, Length: length}) != nil {
						return
					}
					for rest := content; len(rest) > 0; {
						n := min(piece, len(rest))
						if c.Write([]byte(rest[:n])) != nil {
							return
						}
						rest = rest[n:]
					}
					c.Finish(nil)
				}()
				c := NewClientConn(a, &ClientOptions{})
				check(t, c.SendRequest(&message.OutgoingRequest{Method: "GET", Target: slash, Fields: hostField("a")}))
				var resp message.Response
				check(t, c.ReadResponse(&resp))
				got, err := readAll(c.ReadBody)
				if got != content || err != nil {
					t.Fatalf("%s, length %d, pieces of %d: %d bytes, %v", over, length, piece, len(got), err)
				}
			}
		}
	}
}

func hostField(host string) *message.Fields {
	f := new(message.Fields)
	f.AddString("Host", host)
	return f
}

func TestRetire(t *testing.T) {
	for _, over := range []string{"memory", "tcp"} {
		var a, b net.Conn
		if over == "tcp" {
			a, b = pairTCP(t)
		} else {
			a, b = memconn.Pipe()
		}
		c := NewServerConn(b, &ServerOptions{})
		say(t, a, get+host+end)
		ask(t, c)
		answer(t, c, "x")
		heard(t, a, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")
		if !c.Persist() {
			t.Fatal("connection does not persist")
		}
		done := make(chan error)
		go func() { done <- c.ReadRequest(new(message.Request)) }()
		time.Sleep(time.Millisecond) // both orders are right: idle already, or not yet
		c.Retire()
		select {
		case err := <-done:
			if err != io.EOF {
				t.Errorf("%s: idle connection retired: %v", over, err)
			}
		case <-time.After(patience):
			t.Fatalf("%s: idle connection did not retire", over)
		}
	}
	c, nc := server(ServerOptions{Timeouts: Timeouts{Drain: time.Millisecond}})
	say(t, nc, get+host+end)
	ask(t, c)
	c.Retire()
	answer(t, c, "x")
	heard(t, nc, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx")
	if c.Persist() {
		t.Error("retired connection persists")
	}
}

// A body over the limit is refused with 413: at once where it is announced,
// when it has come that far where it is not. The last request a connection may
// carry is answered with Connection: close.
func TestBodyAndRequestLimits(t *testing.T) {
	for _, x := range []struct{ name, request string }{
		{"announced", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n"},
		{"chunked", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n6\r\n012345\r\n5\r\n67890\r\n0\r\n\r\n"},
	} {
		client, nc := memconn.Pipe()
		c := NewServerConn(nc, &ServerOptions{Limits: Limits{BodyBytes: 10}})
		io.WriteString(client, x.request)
		var req message.Request
		err := c.ReadRequest(&req)
		if err == nil {
			_, err = io.Copy(io.Discard, bodyReader{c})
		}
		var e *Error
		if !errors.As(err, &e) || e.Status != 413 {
			t.Errorf("%s: %v, want 413", x.name, err)
		}
		client.Close()
		c.Close()
	}

	client, nc := memconn.Pipe()
	defer client.Close()
	c := NewServerConn(nc, &ServerOptions{Limits: Limits{Requests: 2}})
	defer c.Close()
	for i := range 2 {
		io.WriteString(client, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		var req message.Request
		if err := c.ReadRequest(&req); err != nil {
			t.Fatal(err)
		}
		if err := c.SendHead(&message.Outgoing{Status: 204, NoBody: true, Length: message.LengthUnknown}); err != nil {
			t.Fatal(err)
		}
		if err := c.Finish(nil); err != nil {
			t.Fatal(err)
		}
		if persists := c.Persist(); persists != (i == 0) {
			t.Errorf("after request %d of 2: persists = %v", i+1, persists)
		}
	}
}

type bodyReader struct{ c *ServerConn }

func (r bodyReader) Read(p []byte) (int, error) { return r.c.ReadBody(p) }
