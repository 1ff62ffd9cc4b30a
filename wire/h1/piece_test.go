package h1

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"edge/message"
)

// pieceConn is a connection whose peer has sent data and ended; Read hands it
// out step bytes at a time. What is written is kept.
type pieceConn struct {
	data  []byte
	step  int
	wrote bytes.Buffer
}

func (c *pieceConn) Read(p []byte) (int, error) {
	if len(c.data) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), c.step)], c.data)
	c.data = c.data[n:]
	return n, nil
}
func (c *pieceConn) Write(p []byte) (int, error)      { return c.wrote.Write(p) }
func (c *pieceConn) Close() error                     { return nil }
func (c *pieceConn) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c *pieceConn) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (c *pieceConn) SetDeadline(time.Time) error      { return nil }
func (c *pieceConn) SetReadDeadline(time.Time) error  { return nil }
func (c *pieceConn) SetWriteDeadline(time.Time) error { return nil }

// cutShort is the verdict on a message that ended early.
const cutShort = -1

// verdict is what became of one message: status 0 for accepted.
type verdict struct {
	status   int
	section  string
	head     string // the message's parts, in a form to compare
	body     string
	trailers string
	left     string // bytes after the message
}

func (v verdict) String() string {
	switch v.status {
	case 0:
		return fmt.Sprintf("accept %q body %q left %q", v.head, v.body, v.left)
	case cutShort:
		return "cut short"
	}
	return fmt.Sprintf("refuse %d (%s)", v.status, v.section)
}

func (v *verdict) fail(err error) {
	var e *Error
	if errors.As(err, &e) {
		v.status, v.section = e.Status, e.Section
		return
	}
	v.status = cutShort
}

// judgeRequest gives raw to a server, step bytes at a time.
func judgeRequest(raw string, step int, o *ServerOptions) (v verdict) {
	c := NewServerConn(&pieceConn{data: []byte(raw), step: step}, o)
	var req message.Request
	if err := c.ReadRequest(&req); err != nil {
		v.fail(err)
		return v
	}
	v.head = describeRequest(&req)
	body, err := readAll(c.ReadBody)
	if err != nil {
		v.fail(err)
		return v
	}
	v.body = body
	if d := describeRequest(&req); d != v.head {
		panic("the head changed while the body was read: " + d)
	}
	if f := c.RequestTrailers(); f != nil {
		v.trailers = string(f.AppendLines(nil))
	}
	v.left = string(c.rd.unread()) + string(c.nc.(*pieceConn).data)
	return v
}

func describeRequest(r *message.Request) string {
	return fmt.Sprintf("%s %s://%s%s %v form %d path %d length %d chunked %v expect %v keep %v upgrade %q\n%s",
		r.Method, r.Scheme, r.Authority, r.Target, r.Version, r.Form, r.PathLen, r.Length, r.Chunked,
		r.ExpectContinue, r.KeepAlive, r.Upgrade, r.Fields.AppendLines(nil))
}

// judgeResponse gives raw to a client that sent a request with the method,
// offering an upgrade to "websocket" if upgrade is set. Interim heads are
// skipped.
func judgeResponse(method string, upgrade bool, raw string, step int, o *ClientOptions) (v verdict, c *ClientConn) {
	c = NewClientConn(&pieceConn{data: []byte(raw), step: step}, o)
	r := message.OutgoingRequest{Method: method, Target: []byte("/")}
	if upgrade {
		r.Upgrade = []byte("websocket")
	}
	if err := c.SendRequest(&r); err != nil {
		panic(err)
	}
	if err := c.FinishBody(nil); err != nil {
		panic(err)
	}
	var resp message.Response
	for resp.Status < 200 && resp.Status != 101 {
		if err := c.ReadResponse(&resp); err != nil {
			v.fail(err)
			return v, c
		}
	}
	v.head = describeResponse(&resp)
	body, err := readAll(c.ReadBody)
	if err != nil {
		v.fail(err)
		return v, c
	}
	v.body = body
	if d := describeResponse(&resp); d != v.head {
		panic("the head changed while the body was read: " + d)
	}
	if f := c.Trailers(); f != nil {
		v.trailers = string(f.AppendLines(nil))
	}
	v.left = string(c.rd.unread()) + string(c.nc.(*pieceConn).data)
	return v, c
}

func describeResponse(r *message.Response) string {
	return fmt.Sprintf("%v %d %q length %d nobody %v chunked %v keep %v\n%s",
		r.Version, r.Status, r.Reason, r.Length, r.NoBody, r.Chunked, r.KeepAlive, r.Fields.AppendLines(nil))
}
