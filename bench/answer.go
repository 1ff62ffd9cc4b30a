//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// answer is the framing of a response with Content-Length.
type answer struct {
	whole  bool // all of it is there; the other fields are set
	status int
	head   int // length of the head
	total  int // length of head and body
	close  bool
}

// maxAnswerHead bounds the head a generator waits for.
const maxAnswerHead = 16 << 10

var (
	endOfHead     = []byte("\r\n\r\n")
	contentLength = []byte("content-length:")
	connection    = []byte("connection:")
)

// parseAnswer reads just enough of a response to know where it ends. It is
// the referee's parser: it knows Content-Length only, since that is what the
// answers measured here have.
func parseAnswer(b []byte) (answer, error) {
	end := bytes.Index(b, endOfHead)
	if end < 0 {
		if len(b) > maxAnswerHead {
			return answer{}, fmt.Errorf("no end of head in %d bytes", len(b))
		}
		return answer{}, nil
	}
	if len(b) < 13 || !bytes.HasPrefix(b, []byte("HTTP/1.1 ")) {
		return answer{}, fmt.Errorf("not an HTTP/1.1 answer: %.80q", b)
	}
	status, err := strconv.Atoi(string(b[9:12]))
	if err != nil {
		return answer{}, fmt.Errorf("status line: %.80q", b)
	}
	a := answer{status: status, head: end + len(endOfHead), total: -1}
	for line := range bytes.SplitSeq(b[:end], []byte("\r\n")) {
		if v, ok := cutField(line, contentLength); ok {
			n, err := strconv.Atoi(string(v))
			if err != nil || n < 0 {
				return answer{}, fmt.Errorf("Content-Length: %q", v)
			}
			a.total = a.head + n
		}
		if v, ok := cutField(line, connection); ok && bytes.EqualFold(v, []byte("close")) {
			a.close = true
		}
	}
	if a.total < 0 {
		return answer{}, fmt.Errorf("an answer without Content-Length: %.300q", b)
	}
	a.whole = len(b) >= a.total
	return a, nil
}

// cutField returns the value of line if its name is name (lower-case, with
// the colon).
func cutField(line, name []byte) ([]byte, bool) {
	if len(line) < len(name) || !bytes.EqualFold(line[:len(name)], name) {
		return nil, false
	}
	return bytes.TrimSpace(line[len(name):]), true
}

// fetchTimeout bounds one fetch.
const fetchTimeout = 10 * time.Second

// fetch asks once, on a connection of its own, and returns the answer's exact
// bytes after checking that it is 200 with the right body.
func fetch(addr, path string, right func(body []byte) bool) ([]byte, error) {
	c, err := net.DialTimeout("tcp", addr, fetchTimeout)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(fetchTimeout)); err != nil {
		return nil, err
	}
	if _, err := c.Write(getRequest(addr, path)); err != nil {
		return nil, err
	}
	var got []byte
	buf := make([]byte, 16<<10)
	for {
		n, err := c.Read(buf)
		got = append(got, buf[:n]...)
		a, perr := parseAnswer(got)
		if perr != nil {
			return nil, perr
		}
		if a.whole {
			if a.status != 200 || !right(got[a.head:]) {
				return nil, fmt.Errorf("wrong answer for %s: %.300q", path, got)
			}
			return got, nil
		}
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return nil, fmt.Errorf("after %d bytes of an answer: %w", len(got), err)
		}
	}
}

// sockaddr parses an IPv4 address and port.
func sockaddr(addr string) (unix.SockaddrInet4, error) {
	ap, err := netip.ParseAddrPort(addr)
	if err != nil || !ap.Addr().Is4() {
		return unix.SockaddrInet4{}, fmt.Errorf("%q is not an IPv4 address and port: %v", addr, err)
	}
	return unix.SockaddrInet4{Port: int(ap.Port()), Addr: ap.Addr().As4()}, nil
}
