// Package memconn gives tests network connections that live in memory and
// behave as TCP does where it matters to a proxy: bounded buffers that make a
// writer wait, deadlines, half-close, and resets that the peer can tell from a
// clean end.
//
// It is made for testing/synctest: a blocked call waits on a sync.Cond and a
// deadline is a timer made where it is set, so that inside a bubble waiting is
// durable and time is virtual. The package has no state of its own.
package memconn

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// DefaultBuffer is how many bytes each direction holds before a writer waits.
const DefaultBuffer = 64 << 10

// Conn is one end of a connection. It is a net.Conn with the half-close and
// linger of a *net.TCPConn. Safe for concurrent use.
type Conn struct {
	in, out       *stream // what the peer wrote; what we write
	local, remote net.Addr

	mu     sync.Mutex
	closed bool
	linger int
}

// Pipe returns the two ends of a new connection with buffers of DefaultBuffer.
func Pipe() (a, b *Conn) { return PipeSize(DefaultBuffer) }

// PipeSize is Pipe with buffers of n bytes each way, n at least 1.
func PipeSize(n int) (a, b *Conn) {
	x, y := newStream(n), newStream(n)
	la := &net.TCPAddr{IP: net.IPv4(198, 51, 100, 1), Port: 49152}
	lb := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 80}
	a = &Conn{in: x, out: y, local: la, remote: lb, linger: -1}
	b = &Conn{in: y, out: x, local: lb, remote: la, linger: -1}
	return a, b
}

// Read reads what the peer wrote: io.EOF after a clean end, ECONNRESET after a
// reset, both once the bytes that came before have been read.
func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.in.read(p)
	return n, c.opError("read", err)
}

// Write writes to the peer, waiting while its buffer is full.
func (c *Conn) Write(p []byte) (int, error) {
	n, err := c.out.write(p)
	return n, c.opError("write", err)
}

// Close ends both directions. As with TCP, closing with bytes unread, or after
// SetLinger(0), resets the connection instead of ending it cleanly.
func (c *Conn) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return c.opError("close", net.ErrClosed)
	}
	c.closed = true
	reset := c.linger == 0
	c.mu.Unlock()
	if c.in.closeRead() {
		reset = true
	}
	c.out.closeWrite(reset)
	return nil
}

// CloseWrite ends our direction cleanly; reading goes on.
func (c *Conn) CloseWrite() error {
	c.out.finish()
	return nil
}

// SetLinger with 0 makes Close a reset, as for a *net.TCPConn.
func (c *Conn) SetLinger(seconds int) error {
	c.mu.Lock()
	c.linger = seconds
	c.mu.Unlock()
	return nil
}

// PeerClosed reports, without blocking, whether the peer has ended its
// direction and nothing it wrote is left to read: what a MSG_PEEK that returns
// 0 says on a socket.
func (c *Conn) PeerClosed() bool { return c.in.drained() }

// Unread returns, without blocking, how many bytes are there to be read: what
// FIONREAD says on a socket.
func (c *Conn) Unread() int {
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	return len(c.in.buf) - c.in.off
}

// LocalAddr returns this end's address.
func (c *Conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr returns the peer's address.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline sets both deadlines.
func (c *Conn) SetDeadline(t time.Time) error {
	c.in.readDeadline.set(c.in, t)
	c.out.writeDeadline.set(c.out, t)
	return nil
}

// SetReadDeadline bounds present and future reads; the zero time is none.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.in.readDeadline.set(c.in, t)
	return nil
}

// SetWriteDeadline bounds present and future writes; the zero time is none.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.out.writeDeadline.set(c.out, t)
	return nil
}

func (c *Conn) opError(op string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return &net.OpError{Op: op, Net: "tcp", Source: c.local, Addr: c.remote, Err: err}
}

// stream is one direction. Its fields are guarded by mu; cond is signalled
// whenever any of them changes.
type stream struct {
	mu   sync.Mutex
	cond sync.Cond
	buf  []byte // unread bytes are buf[off:]
	off  int
	max  int

	ended      bool // the writer finished, cleanly unless reset
	reset      bool
	readClosed bool // the reader closed its end

	readDeadline, writeDeadline deadline
}

func newStream(max int) *stream {
	s := &stream{max: max}
	s.cond.L = &s.mu
	return s
}

func (s *stream) read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.readClosed:
			return 0, net.ErrClosed
		case s.readDeadline.passed:
			return 0, os.ErrDeadlineExceeded
		case len(p) == 0:
			return 0, nil
		case s.off < len(s.buf):
			n := copy(p, s.buf[s.off:])
			if s.off += n; s.off == len(s.buf) {
				s.buf, s.off = s.buf[:0], 0
			}
			s.cond.Broadcast()
			return n, nil
		case s.reset:
			return 0, syscall.ECONNRESET
		case s.ended:
			return 0, io.EOF
		}
		s.cond.Wait()
	}
}

func (s *stream) write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for {
		switch {
		case s.ended:
			return n, net.ErrClosed
		case s.writeDeadline.passed:
			return n, os.ErrDeadlineExceeded
		case s.readClosed:
			return n, syscall.EPIPE
		case n == len(p):
			return n, nil
		}
		room := s.max - (len(s.buf) - s.off)
		if room <= 0 {
			s.cond.Wait()
			continue
		}
		if s.off > 0 { // slide, so that the buffer stays within max
			s.buf = s.buf[:copy(s.buf, s.buf[s.off:])]
			s.off = 0
		}
		k := min(room, len(p)-n)
		s.buf = append(s.buf, p[n:n+k]...)
		n += k
		s.cond.Broadcast()
	}
}

// closeRead is the reader's Close; it reports whether bytes were left unread.
func (s *stream) closeRead() (unread bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.readClosed = true
	unread = s.off < len(s.buf)
	s.readDeadline.stop()
	s.cond.Broadcast()
	return unread
}

// closeWrite is the writer's Close.
func (s *stream) closeWrite(reset bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	s.reset = s.reset || reset
	s.writeDeadline.stop()
	s.cond.Broadcast()
}

// finish ends the direction cleanly.
func (s *stream) finish() { s.closeWrite(false) }

func (s *stream) drained() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.off == len(s.buf) && s.ended
}

// deadline is one deadline of a stream, guarded by the stream's mu.
type deadline struct {
	timer  *time.Timer
	passed bool
}

func (d *deadline) set(s *stream, t time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d.stop()
	d.passed = false
	if !t.IsZero() {
		if wait := time.Until(t); wait > 0 {
			d.arm(s, wait)
		} else {
			d.passed = true
		}
	}
	s.cond.Broadcast()
}

func (d *deadline) arm(s *stream, wait time.Duration) {
	var timer *time.Timer
	timer = time.AfterFunc(wait, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if d.timer == timer { // not a timer that was replaced as it fired
			d.passed = true
			s.cond.Broadcast()
		}
	})
	d.timer = timer
}

func (d *deadline) stop() {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
}
