package h1

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"edge/internal/memconn"
	"edge/message"
)

// request sends a request without a body, and checks what the origin hears.
func request(t *testing.T, c *ClientConn, origin net.Conn, method string) {
	t.Helper()
	check(t, c.SendRequest(&message.OutgoingRequest{Method: method, Target: []byte("/x?y"), Fields: hostField("a")}))
	heard(t, origin, method+" /x?y HTTP/1.1\r\nHost: a\r\n\r\n")
}

func TestFramingOfRequests(t *testing.T) {
	for _, x := range []struct {
		name    string
		out     message.OutgoingRequest
		content string
		want    string
	}{
		{"GET", message.OutgoingRequest{Method: "GET"}, "", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"},
		{"POST of nothing", message.OutgoingRequest{Method: "POST"}, "", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"},
		{"sized", message.OutgoingRequest{Method: "PUT", Length: 5}, "hello", "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"},
		{"chunked", message.OutgoingRequest{Method: "PUT", Length: -1}, "hello", "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"},
		{"expectation", message.OutgoingRequest{Method: "PUT", Length: 5, ExpectContinue: true}, "hello", "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello"},
		{"upgrade", message.OutgoingRequest{Method: "GET", Upgrade: []byte("websocket")}, "", "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"},
	} {
		c, origin := client(ClientOptions{})
		x.out.Target, x.out.Fields = slash, hostField("a")
		check(t, c.SendRequest(&x.out))
		check(t, c.WriteBody([]byte(x.content)))
		check(t, c.FinishBody(nil))
		heard(t, origin, x.want)
	}
}

func TestRequestTrailersAndTheirLength(t *testing.T) {
	c, origin := client(ClientOptions{})
	check(t, c.SendRequest(&message.OutgoingRequest{Method: "PUT", Target: slash, Length: -1}))
	check(t, c.FinishBody(hostField("never mind")))
	heard(t, origin, "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nHost: never mind\r\n\r\n")

	c, _ = client(ClientOptions{})
	check(t, c.SendRequest(&message.OutgoingRequest{Method: "PUT", Target: slash, Length: 3}))
	if err := c.WriteBody([]byte("long")); err != ErrTooLong {
		t.Errorf("too long: %v", err)
	}
	if err := c.FinishBody(nil); err != ErrTooShort {
		t.Errorf("too short: %v", err)
	}
	if c.Reusable() {
		t.Error("reusable")
	}
}

// TestNothingIsSmuggledOut: whatever made up the parts of a request, none of
// them can end its line.
func TestNothingIsSmuggledOut(t *testing.T) {
	field := func(name, value string) *message.Fields {
		f := new(message.Fields)
		f.AddString(name, value)
		return f
	}
	for name, r := range map[string]message.OutgoingRequest{
		"space in method":   {Method: "GET /evil", Target: slash},
		"empty method":      {Method: "", Target: slash},
		"CRLF in target":    {Method: "GET", Target: []byte("/ HTTP/1.1\r\nX: y")},
		"space in target":   {Method: "GET", Target: []byte("/a b")},
		"empty target":      {Method: "GET"},
		"CRLF in value":     {Method: "GET", Target: slash, Fields: field("X", "a\r\nY: b")},
		"LF in value":       {Method: "GET", Target: slash, Fields: field("X", "a\nY: b")},
		"NUL in value":      {Method: "GET", Target: slash, Fields: field("X", "\x00")},
		"colon in name":     {Method: "GET", Target: slash, Fields: field("X: y\r\nZ", "a")},
		"empty name":        {Method: "GET", Target: slash, Fields: field("", "a")},
		"Content-Length":    {Method: "GET", Target: slash, Fields: field("content-length", "3")},
		"Transfer-Encoding": {Method: "GET", Target: slash, Fields: field("Transfer-Encoding", "chunked")},
		"CRLF in Upgrade":   {Method: "GET", Target: slash, Upgrade: []byte("a\r\nX: y")},
	} {
		c, origin := client(ClientOptions{})
		if err := c.SendRequest(&r); !errors.Is(err, ErrBadRequest) {
			t.Errorf("%s: %v", name, err)
		}
		c.Close()
		if got, _ := io.ReadAll(origin); len(got) != 0 {
			t.Errorf("%s: origin got %q", name, got)
		}
	}
}

func TestInterimHeadsComeOneByOne(t *testing.T) {
	c, origin := client(ClientOptions{})
	request(t, c, origin, "GET")
	if c.ResponseStarted() {
		t.Error("response started before it did")
	}
	say(t, origin, "HTTP/1.1 100 Continue\r\n\r\n"+early+ok+"Content-Length: 5\r\n\r\nhello")
	var resp message.Response
	for _, want := range []int{100, 103, 200} {
		check(t, c.ReadResponse(&resp))
		if resp.Status != want || !c.ResponseStarted() {
			t.Fatalf("status %d, want %d", resp.Status, want)
		}
		if want < 200 {
			if _, err := c.ReadBody(make([]byte, 1)); err != ErrNotReady {
				t.Errorf("body of an interim head: %v", err)
			}
		}
	}
	if err := c.ReadResponse(&resp); err != ErrNotReady {
		t.Errorf("a second final head: %v", err)
	}
	if body, err := readAll(c.ReadBody); body != "hello" || err != nil || !c.Reusable() {
		t.Errorf("%q, %v, reusable %v", body, err, c.Reusable())
	}
}

func TestTruncationIsNeverAnEnd(t *testing.T) {
	for name, raw := range map[string]string{
		"sized":            ok + "Content-Length: 10\r\n\r\nhello",
		"chunked":          okTE + "a\r\nhello",
		"no last chunk":    okTE + "5\r\nhello\r\n",
		"half a CRLF":      okTE + "5\r\nhello\r\n0\r\n\r",
		"until close":      ok + "\r\nhello",
		"until close, 1.0": "HTTP/1.0 200 OK\r\n\r\nhello",
	} {
		for _, reset := range []bool{false, true} {
			c, origin := client(ClientOptions{})
			request(t, c, origin, "GET")
			say(t, origin, raw)
			if reset {
				origin.SetLinger(0)
			}
			origin.Close()
			check(t, c.ReadResponse(new(message.Response)))
			body, err := readAll(c.ReadBody)
			clean := strings.HasPrefix(name, "until close") && !reset
			if clean != (err == nil) || !clean && !errors.Is(err, io.ErrUnexpectedEOF) || body != "hello" {
				t.Errorf("%s, reset %v: %q, %v", name, reset, body, err)
			}
			if c.Reusable() {
				t.Errorf("%s, reset %v: reusable", name, reset)
			}
		}
	}
}

func TestNoAnswerAtAll(t *testing.T) {
	c, origin := client(ClientOptions{})
	request(t, c, origin, "GET")
	origin.Close()
	if err := c.ReadResponse(new(message.Response)); !errors.Is(err, io.ErrUnexpectedEOF) || c.ResponseStarted() {
		t.Errorf("%v, started %v", err, c.ResponseStarted())
	}
	c, origin = client(ClientOptions{})
	request(t, c, origin, "GET")
	say(t, origin, "H")
	origin.Close()
	if err := c.ReadResponse(new(message.Response)); !errors.Is(err, io.ErrUnexpectedEOF) || !c.ResponseStarted() {
		t.Errorf("%v, started %v", err, c.ResponseStarted())
	}
}

// TestAnswerBeforeTheRequestIsOut: the answer counts, the connection does not
// live on until the request is out whole.
func TestAnswerBeforeTheRequestIsOut(t *testing.T) {
	c, origin := client(ClientOptions{})
	check(t, c.SendRequest(&message.OutgoingRequest{Method: "PUT", Target: slash, Length: 10}))
	check(t, c.WriteBody([]byte("12345")))
	say(t, origin, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")
	var resp message.Response
	check(t, c.ReadResponse(&resp))
	if _, err := readAll(c.ReadBody); err != nil || resp.Status != 413 {
		t.Fatalf("%d, %v", resp.Status, err)
	}
	if c.Reusable() {
		t.Error("reusable with half a request out")
	}
	if err := c.SendRequest(&message.OutgoingRequest{Method: "GET", Target: slash}); err != ErrNotReady {
		t.Errorf("another request: %v", err)
	}
}

// TestSpeakingOutOfTurn: what an origin sends between exchanges is never the
// answer to the next request.
func TestSpeakingOutOfTurn(t *testing.T) {
	for _, over := range []string{"memory", "tcp"} {
		for name, idle := range map[string]func(net.Conn){
			"spoke":  func(nc net.Conn) { nc.Write([]byte(ok + "Content-Length: 0\r\n\r\n")) },
			"closed": func(nc net.Conn) { nc.Close() },
		} {
			var a, b net.Conn
			if over == "tcp" {
				a, b = pairTCP(t)
			} else {
				a, b = memconn.Pipe()
			}
			c := NewClientConn(a, &ClientOptions{})
			request(t, c, b, "GET")
			say(t, b, ok+"Content-Length: 0\r\n\r\n")
			check(t, c.ReadResponse(new(message.Response)))
			if !c.Reusable() || !c.Quiet() {
				t.Fatal("not reusable")
			}
			c.Park()
			idle(b)
			eventually(t, over+": "+name, func() bool { return !c.Quiet() })
			if err := c.SendRequest(&message.OutgoingRequest{Method: "GET", Target: slash}); err != ErrStale {
				t.Errorf("%s, %s: %v", over, name, err)
			}
		}
	}
}

func TestClientUpgradeLosesNoByte(t *testing.T) {
	c, origin := client(ClientOptions{})
	check(t, c.SendRequest(&message.OutgoingRequest{Method: "GET", Target: slash, Upgrade: []byte("websocket")}))
	say(t, origin, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nearly bytes")
	var resp message.Response
	check(t, c.ReadResponse(&resp))
	if resp.Status != 101 || c.Reusable() {
		t.Fatalf("status %d, reusable %v", resp.Status, c.Reusable())
	}
	raw, buffered := c.Hijack()
	if string(buffered) != "early bytes" {
		t.Errorf("read ahead %q", buffered)
	}
	if v, _ := resp.Fields.Get(message.FieldUpgrade); string(v) != "websocket" {
		t.Errorf("the head died with the connection: %q", v)
	}
	say(t, origin, " and later ones")
	got := make([]byte, 15)
	if _, err := io.ReadFull(raw, got); string(got) != " and later ones" || err != nil {
		t.Errorf("tunnel read %q, %v", got, err)
	}
}

func TestInterruptEndsEveryWait(t *testing.T) {
	c, origin := client(ClientOptions{})
	request(t, c, origin, "GET")
	go func() {
		time.Sleep(5 * time.Millisecond)
		c.Interrupt()
	}()
	if err := c.ReadResponse(new(message.Response)); !errors.Is(err, ErrInterrupted) {
		t.Errorf("head: %v", err)
	}
	if c.Reusable() {
		t.Error("reusable")
	}

	c, origin = client(ClientOptions{})
	request(t, c, origin, "GET")
	say(t, origin, ok+"Content-Length: 5\r\n\r\n")
	check(t, c.ReadResponse(new(message.Response)))
	c.Interrupt()
	if _, err := readAll(c.ReadBody); !errors.Is(err, ErrInterrupted) {
		t.Errorf("body: %v", err)
	}
}

func TestHeadSurvivesInterimsAndBody(t *testing.T) {
	c, origin := client(ClientOptions{})
	request(t, c, origin, "GET")
	body := strings.Repeat("0123456789", 5000)
	go origin.Write([]byte(early + ok + "X: " + strings.Repeat("h", 15000) + "\r\nTransfer-Encoding: chunked\r\n\r\nc350\r\n" + body + "\r\n0\r\n\r\n"))
	var resp message.Response
	check(t, c.ReadResponse(&resp))
	check(t, c.ReadResponse(&resp))
	before := describeResponse(&resp)
	got, err := readAll(c.ReadBody)
	if got != body || err != nil {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	if describeResponse(&resp) != before {
		t.Error("the head changed while the body was read")
	}
}
