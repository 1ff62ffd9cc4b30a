package h1

import (
	"io"
	"net"
	"os"
	"strings"
	"testing"

	"edge/internal/memconn"
	"edge/message"
)

func TestMain(m *testing.M) {
	poison = true
	os.Exit(m.Run())
}

// server returns a ServerConn and the client's end of its connection.
func server(o ServerOptions) (*ServerConn, *memconn.Conn) {
	client, nc := memconn.Pipe()
	return NewServerConn(nc, &o), client
}

// client returns a ClientConn and the origin's end of its connection.
func client(o ClientOptions) (*ClientConn, *memconn.Conn) {
	nc, origin := memconn.Pipe()
	return NewClientConn(nc, &o), origin
}

func readAll(read func([]byte) (int, error)) (string, error) {
	var all []byte
	p := make([]byte, 512)
	for {
		n, err := read(p)
		all = append(all, p[:n]...)
		if err == io.EOF {
			return string(all), nil
		}
		if err != nil {
			return string(all), err
		}
	}
}

// pairTCP returns the two ends of a loopback connection.
func pairTCP(t testing.TB) (a, b net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a, err = net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

// TestBothSidesTogether runs exchanges of every framing between a ClientConn and a
// ServerConn over memory and over TCP.
func TestBothSidesTogether(t *testing.T) {
	big := strings.Repeat("0123456789abcdef", 10000)
	for _, over := range []string{"memory", "tcp"} {
		t.Run(over, func(t *testing.T) {
			var a, b net.Conn
			if over == "tcp" {
				a, b = pairTCP(t)
			} else {
				a, b = memconn.Pipe()
			}
			go echo(b)
			c := NewClientConn(a, &ClientOptions{})
			for _, body := range []string{"", "small", big} {
				for _, length := range []int64{int64(len(body)), message.LengthUnknown} {
					got := exchange(t, c, body, length)
					if got != body {
						t.Fatalf("sent %d bytes, got %d back", len(body), len(got))
					}
					if !c.Reusable() {
						t.Fatal("connection not reusable")
					}
					c.Park()
				}
			}
			c.Close()
		})
	}
}

func exchange(t *testing.T, c *ClientConn, body string, length int64) string {
	t.Helper()
	var f message.Fields
	f.AddString("Host", "example.com")
	check(t, c.SendRequest(&message.OutgoingRequest{Method: "POST", Target: []byte("/echo?x"), Fields: &f, Length: length}))
	done := make(chan error, 1)
	go func() {
		if err := c.WriteBody([]byte(body)); err != nil {
			done <- err
			return
		}
		done <- c.FinishBody(nil)
	}()
	var resp message.Response
	check(t, c.ReadResponse(&resp))
	if resp.Status != 200 || resp.Length != length {
		t.Fatalf("status %d, length %d", resp.Status, resp.Length)
	}
	got, err := readAll(c.ReadBody)
	check(t, err)
	check(t, <-done)
	return got
}

// echo answers requests with their own content, framed as it came.
func echo(nc net.Conn) {
	c := NewServerConn(nc, &ServerOptions{})
	defer c.Close()
	var req message.Request
	for c.ReadRequest(&req) == nil {
		body, err := readAll(c.ReadBody)
		if err != nil {
			return
		}
		if c.SendHead(&message.Outgoing{Status: 200, Length: req.Length}) != nil {
			return
		}
		if c.Write([]byte(body)) != nil || c.Finish(nil) != nil || !c.Persist() {
			return
		}
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
