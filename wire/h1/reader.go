package h1

import (
	"bytes"
	"errors"
	"io"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// reader is the reading half of a connection: a buffer, and the place in it.
//
//	buf: | the message in hand | consumed | unread | free |
//	     0                   base         r        w      len
//
// Bytes before base are what the caller's message points into: they stay until
// release. When a body needs room that base leaves too little of, the buffer is
// set aside in held and another one takes its place.
//
// Owner: the goroutine that reads.
type reader struct {
	nc   net.Conn
	raw  syscall.RawConn // nil where nc has none
	size int             // of a fresh buffer

	buf        []byte
	base, r, w int
	held       [][]byte

	deadline deadline
	timeouts *Timeouts

	// What read shares with its callback, which is made once.
	readFD  func(fd uintptr) bool
	into    []byte // to read into; nil: a buffer of our own, taken once there is something
	got     int
	readErr error
}

func (rd *reader) init(nc net.Conn, size int, t *Timeouts, x *interrupter) {
	rd.nc, rd.size, rd.timeouts = nc, size, t
	rd.deadline = deadline{set: nc.SetReadDeadline, x: x, reads: true}
	// Only where nothing can sit between nc and its socket: a wrapper that
	// embeds one of these has its methods too, and its own idea of Read.
	switch nc.(type) {
	case *net.TCPConn, *net.UnixConn:
		if raw, err := nc.(syscall.Conn).SyscallConn(); err == nil {
			rd.raw = raw
			rd.readFD = rd.tryRead
		}
	}
}

// buffered returns how many unread bytes there are.
func (rd *reader) buffered() int { return rd.w - rd.r }

// unread returns them.
func (rd *reader) unread() []byte { return rd.buf[rd.r:rd.w] }

// hold consumes n bytes and keeps them, and all before them, until release.
func (rd *reader) hold(n int) {
	rd.r += n
	rd.base = rd.r
}

// release ends the lifetime of what was held. An empty buffer goes back to the
// pool if park is set and can be had again without waiting for it.
func (rd *reader) release(park bool) {
	for _, b := range rd.held {
		putBuffer(b)
	}
	rd.held = rd.held[:0]
	poisonBytes(rd.buf[:rd.base])
	rd.base = 0
	if rd.r == rd.w {
		rd.r, rd.w = 0, 0
		if park && rd.buf != nil {
			putBuffer(rd.buf)
			rd.buf = nil
		}
	}
}

// grow makes room for reading behind w: at least one byte, up to max bytes of
// unread content. It is for heads, when nothing is held.
func (rd *reader) grow(max int) {
	switch {
	case rd.buf == nil:
		rd.buf = getBuffer(rd.size)
	case rd.w < len(rd.buf):
	case rd.r > rd.base:
		rd.compact()
	default:
		bigger := getBuffer(min(4*len(rd.buf), max))
		rd.w = copy(bigger, rd.buf[:rd.w])
		putBuffer(rd.buf)
		rd.buf = bigger
	}
}

// compact moves the unread bytes down to base.
func (rd *reader) compact() {
	n := copy(rd.buf[rd.base:], rd.buf[rd.r:rd.w])
	rd.r, rd.w = rd.base, rd.base+n
}

// minBodyRoom is the least room worth a read of a body.
const minBodyRoom = 2 << 10

// makeRoom makes room for at least need unread bytes in all, and for a read,
// while a message is held.
func (rd *reader) makeRoom(need int) {
	if rd.r == rd.w {
		rd.r, rd.w = rd.base, rd.base
	}
	if rd.buf != nil && len(rd.buf)-rd.w >= minBodyRoom && len(rd.buf)-rd.r >= need {
		return
	}
	if rd.buf != nil && len(rd.buf)-rd.base >= max(need, rd.buffered()+minBodyRoom) {
		rd.compact()
		return
	}
	fresh := getBuffer(max(mediumBuffer, need, rd.buffered()+minBodyRoom))
	n := copy(fresh, rd.buf[rd.r:rd.w])
	switch {
	case rd.base > 0:
		rd.held = append(rd.held, rd.buf)
	case rd.buf != nil:
		putBuffer(rd.buf)
	}
	rd.buf, rd.base, rd.r, rd.w = fresh, 0, 0, n
}

// read is nc.Read of at least one byte, beside the scheduler where nc is a socket
// (rawio.go).
func (rd *reader) read(p []byte) (int, error) {
	if rd.raw == nil {
		return rd.nc.Read(p)
	}
	rd.into, rd.got, rd.readErr = p, 0, nil
	err := rd.raw.Read(rd.readFD)
	rd.into = nil
	if err == nil {
		err = rd.readErr
	}
	return rd.got, err
}

// tryRead is called by the runtime whenever the socket may be readable; false
// means to wait again.
func (rd *reader) tryRead(fd uintptr) bool {
	b := rd.into
	if b == nil {
		b = getBuffer(rd.size)
	}
	n, err := rawRead(fd, b)
	switch {
	case rd.into != nil:
		rd.got = n
	case n > 0:
		rd.buf, rd.w = b, n
	default:
		putBuffer(b)
	}
	switch {
	case n > 0:
	case err == unix.EAGAIN:
		return false
	case err == nil:
		rd.readErr = io.EOF
	default:
		rd.readErr = &net.OpError{Op: "read", Net: "tcp", Source: rd.nc.LocalAddr(), Addr: rd.nc.RemoteAddr(), Err: err}
	}
	return true
}

// fill reads once into the free room, which must not be empty. It waits until
// the deadline that stands.
func (rd *reader) fill() error {
	n, err := rd.read(rd.buf[rd.w:])
	rd.w += n
	if n > 0 {
		return nil // an error beside data will come again
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// fillIdle is fill for a connection that may wait long for its next message:
// where it can, it holds no buffer meanwhile.
func (rd *reader) fillIdle() error {
	if rd.raw == nil || rd.buf != nil {
		rd.grow(0)
		return rd.fill()
	}
	_, err := rd.read(nil)
	return err
}

// headScanner finds out cheaply whether a head that arrives in pieces is worth
// parsing yet, so that the work stays linear however small the pieces are.
type headScanner struct{ seen int }

// ready reports whether b, which only ever grows, now holds the end of a head
// or a line that cannot be right. It looks at every byte once.
func (s *headScanner) ready(b []byte) bool {
	for ; s.seen < len(b); s.seen++ {
		if b[s.seen] != '\n' {
			continue
		}
		i := s.seen
		if i == 0 || b[i-1] != '\r' || i >= 3 && b[i-2] == '\n' {
			s.seen++
			return true
		}
	}
	return false
}

// readHead fills the buffer until parse gives a verdict on what is unread:
// its length, or a fault, or the error that ended the reading. parse is tried
// on what is there, once more when line bytes are (a start line cannot be
// longer), and then when the scanner says so or limit bytes are there. The
// caller has set the deadline.
func (rd *reader) readHead(limit, line int, parse func([]byte) (int, fault)) (int, fault, error) {
	n, f := 0, faultIncomplete
	if rd.buffered() > 0 {
		n, f = parse(rd.unread())
	}
	scan, lineTried := headScanner{}, rd.buffered() >= line
	for f == faultIncomplete {
		rd.grow(limit)
		err := rd.fill()
		b := rd.unread()
		switch {
		case err != nil:
			if n, f = parse(b); f == faultIncomplete {
				return 0, f, err
			}
		case scan.ready(b) || len(b) >= limit:
			n, f = parse(b)
		case len(b) >= line && !lineTried:
			lineTried = true
			n, f = parse(b)
		}
	}
	return n, f, nil
}

// headEnds reports whether b, which begins with a head, holds the whole of it.
func headEnds(b []byte) bool { return bytes.Contains(b, []byte("\r\n\r\n")) }

// elapsed is a stopwatch for the time a body made us wait.
type elapsed struct {
	waited time.Duration
	bytes  int64
}

// add records one wait and reports whether the average rate is too low.
func (e *elapsed) add(wait time.Duration, n int, minRate int64) (tooSlow bool) {
	e.waited += wait
	e.bytes += int64(n)
	if minRate <= 0 || e.waited <= RateGrace {
		return false
	}
	return float64(e.bytes) < float64(minRate)*(e.waited-RateGrace).Seconds()
}

var errTooSlow = errors.New("h1: body slower than the least rate")
