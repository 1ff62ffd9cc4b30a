package h1

import (
	"net"
	"strconv"
	"time"

	"edge/message"
)

// writeBuffer is the size of a write buffer; copyLimit is up to what size
// content is copied into it rather than handed to the kernel beside it.
const (
	writeBuffer = mediumBuffer
	copyLimit   = 4 << 10
)

// writer is the writing half of a connection: a buffer that gathers what leaves
// together. Errors are sticky.
//
// Owner: the goroutine that writes.
type writer struct {
	nc     net.Conn
	gather bool // nc has writev
	raw    rawWriter
	buf    []byte

	deadline deadline
	timeouts *Timeouts
	err      error
	written  int64 // bytes that left

	vecs [3][]byte   // backing of bufs
	bufs net.Buffers // what drive writes; here so that it need not be allocated
}

func (w *writer) init(nc net.Conn, t *Timeouts, x *interrupter) {
	w.nc, w.timeouts = nc, t
	w.deadline = deadline{set: nc.SetWriteDeadline, x: x}
	switch nc.(type) {
	case *net.TCPConn, *net.UnixConn:
		w.gather = true
	}
	w.raw.init(nc)
}

// open makes sure that there is a buffer.
func (w *writer) open() {
	if w.buf == nil {
		w.buf = getBuffer(writeBuffer)[:0]
	}
}

// offset is the place in the stream of all bytes written that the next queued
// byte will have.
func (w *writer) offset() int64 { return w.written + int64(len(w.buf)) }

// content queues p, small content by copying, larger content by writing it at
// once together with what is queued and the tail that follows it.
func (w *writer) content(p []byte, tail string) error {
	w.open()
	if len(p) <= copyLimit {
		if len(w.buf)+len(p)+len(tail) > writeBuffer {
			if err := w.flushKeeping(); err != nil {
				return err
			}
		}
		w.buf = append(append(w.buf, p...), tail...)
		return nil
	}
	if w.err != nil {
		return w.err
	}
	if w.gather {
		w.vecs = [3][]byte{w.buf, p}
		w.bufs = w.vecs[:2]
		if tail != "" {
			w.vecs[2] = crlf
			w.bufs = w.vecs[:3]
		}
		err := w.drive()
		w.buf = w.buf[:0]
		return err
	}
	// Without writev, the beginning rides in the buffer: one record of TLS
	// rather than two.
	n := min(len(p), max(writeBuffer-len(w.buf), 0))
	w.buf = append(w.buf, p[:n]...)
	if err := w.flushKeeping(); err != nil {
		return err
	}
	if n < len(p) {
		if err := w.send(p[n:]); err != nil {
			return err
		}
	}
	w.buf = append(w.buf, tail...)
	return nil
}

var crlf = []byte("\r\n")

// chunk queues p as one chunk.
func (w *writer) chunk(p []byte) error {
	w.open()
	if len(w.buf)+chunkLineRoom > writeBuffer {
		if err := w.flushKeeping(); err != nil {
			return err
		}
	}
	w.buf = strconv.AppendUint(w.buf, uint64(len(p)), 16)
	w.buf = append(w.buf, "\r\n"...)
	return w.content(p, "\r\n")
}

// chunkLineRoom is what a chunk's size line takes at most.
const chunkLineRoom = 18

// lastChunk queues the end of a chunked body.
func (w *writer) lastChunk(trailers *message.Fields) {
	w.open()
	w.buf = append(w.buf, "0\r\n"...)
	if trailers != nil {
		w.buf = trailers.AppendLines(w.buf)
	}
	w.buf = append(w.buf, "\r\n"...)
}

// flush writes what is queued and gives the buffer back.
func (w *writer) flush() error {
	err := w.flushKeeping()
	w.drop()
	return err
}

// drop forgets what is queued and gives the buffer back.
func (w *writer) drop() {
	if w.buf != nil {
		putBuffer(w.buf)
		w.buf = nil
	}
}

func (w *writer) flushKeeping() error {
	err := w.err
	if err == nil && len(w.buf) > 0 {
		err = w.send(w.buf)
	}
	w.buf = w.buf[:0]
	return err
}

// maxPiece bounds one write where there is no writev: crypto/tls gives a
// connection up when a write meets its deadline, so that each write must be
// small enough for a slow peer to take in time.
const maxPiece = 16 << 10

func (w *writer) send(p []byte) error {
	for {
		n := len(p)
		if !w.gather {
			n = min(n, maxPiece)
		}
		w.vecs[0] = p[:n]
		w.bufs = w.vecs[:1]
		if err := w.drive(); err != nil || n == len(p) {
			return err
		}
		p = p[n:]
	}
}

// drive writes bufs. A write may take as long as it likes, so long as in every
// span of the Write timeout the peer takes what the least rate asks for.
func (w *writer) drive() error {
	for {
		if w.err = w.deadline.arm(time.Now(), w.timeouts.Write); w.err != nil {
			break
		}
		n, err := w.writeOnce()
		w.written += n
		if err == nil {
			break
		}
		if !w.patient(n, err) {
			w.err = err
			break
		}
	}
	w.vecs = [3][]byte{}
	w.bufs = nil
	return w.err
}

// patient reports whether writing goes on after an error: the deadline was met, but
// n bytes left until then, which is what the least rate asks for.
func (w *writer) patient(n int64, err error) bool {
	least := max(int64(w.timeouts.Write.Seconds()*float64(w.timeouts.MinBodyRate)), 1)
	return isTimeout(err) && n >= least && !w.deadline.x.interrupted()
}

// writeOnce leaves in bufs what did not leave.
func (w *writer) writeOnce() (int64, error) {
	if len(w.bufs) > 1 {
		return w.bufs.WriteTo(w.nc)
	}
	var n int
	var err error
	if w.raw.raw != nil {
		n, err = w.raw.write(w.bufs[0])
	} else {
		n, err = w.nc.Write(w.bufs[0])
	}
	w.bufs[0] = w.bufs[0][n:]
	return int64(n), err
}
