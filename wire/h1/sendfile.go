package h1

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// Content that lies in a file can leave by sendfile: from the page cache to the
// socket, without being copied through us. The offset is explicit, so that one
// open file serves any number of connections.

// fileRange is what of a file is still to be sent.
type fileRange struct {
	fd        int
	off, left int64
	short     bool // the file gave no more, or cannot be sent from
}

// maxSendfile bounds one call in bytes: between two, other goroutines get their
// turn, and deadlines are looked at.
const maxSendfile = 1 << 20

// attemptFile is attempt for the file. The call goes by way of the scheduler,
// unlike our small writes: should the file's pages not be in memory, it waits
// for a disk.
func (w *rawWriter) attemptFile(fd uintptr) bool {
	f := &w.file
	for f.left > 0 {
		n, err := unix.Sendfile(int(fd), f.fd, &f.off, int(min(f.left, maxSendfile)))
		switch {
		case n > 0:
			f.left -= int64(n)
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			return false
		case err == unix.EPIPE || err == unix.ECONNRESET || err == unix.ETIMEDOUT || err == unix.ENOTCONN || err == unix.ENOBUFS:
			w.err = err
			return true
		default: // its end (somebody cut it), EIO, EINVAL: not the client's doing
			f.short = true
			return true
		}
	}
	return true
}

// writeFile is write of b and of what is in file behind it. n counts b's bytes
// and the file's.
func (w *rawWriter) writeFile(b []byte) (nb int, nf int64, err error) {
	before := w.file.left
	w.left, w.err = b, nil
	err = w.raw.Write(w.try)
	nb, nf = len(b)-len(w.left), before-w.file.left
	w.left = nil
	if err == nil {
		err = w.err
	}
	return nb, nf, err
}

// file writes what is queued and behind it n bytes at off of an open file, and
// returns how many of those left. What is queued is not held back (MSG_MORE) to leave
// in one segment with the file's beginning: one segment in some forty is saved
// with 64 KiB, but it costs more than it saves (46 against 51 microseconds of CPU for
// a hit of 64 KiB over the loopback, nginx at 41; medians of 14 interleaved runs), and
// nginx does not by default either. Fewer than n without an error: the file did
// not give them.
func (w *writer) file(fd uintptr, off, n int64) (int64, error) {
	if w.err != nil {
		return 0, w.err
	}
	r := &w.raw
	r.file = fileRange{fd: int(fd), off: off, left: n}
	queued, sent := w.buf, int64(0)
	for {
		if w.err = w.deadline.arm(time.Now(), w.timeouts.Write); w.err != nil {
			break
		}
		nb, nf, err := r.writeFile(queued)
		queued = queued[nb:]
		w.written += int64(nb) + nf
		sent += nf
		if err == nil {
			break
		}
		if !w.patient(int64(nb)+nf, err) {
			w.err = err
			break
		}
	}
	r.file = fileRange{}
	w.buf = w.buf[:0]
	return sent, w.err
}

// CanSendFile reports whether SendFile can be used: the connection is plain TCP.
func (c *ServerConn) CanSendFile() bool {
	_, ok := c.nc.(*net.TCPConn)
	return ok && c.w.raw.raw != nil
}

// SendFile is Write of n bytes at offset of an open file, for content whose length
// was announced; the file must stay open and as it is during the call. They are
// with the kernel when it returns. It returns how many bytes left: fewer than n
// with no error where the file did not give them, so that they can still be sent
// by Write.
func (c *ServerConn) SendFile(fd uintptr, offset, n int64) (int64, error) {
	switch {
	case c.phase != phaseContent || c.framing != framedSized || !c.CanSendFile():
		return 0, ErrNoHead
	case n > c.left:
		c.Abort()
		return 0, ErrTooLong
	}
	sent, err := c.w.file(fd, offset, n)
	c.left -= sent
	return sent, err
}
