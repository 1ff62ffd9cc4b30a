//go:build linux

// Package netpoll has two uses for the poller by which Go waits for sockets, beside
// sockets: to wait for what the kernel tells by an eventfd (Event), and to let those
// go first for whom something has come (Turn).
package netpoll

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Event is an eventfd(2) that a goroutine waits for without a thread of its own. One
// goroutine waits at a time; Close must be called.
type Event struct {
	fd   int // file's, which file.Fd would make one that blocks
	file *os.File
	raw  syscall.RawConn
}

// NewEvent returns an Event that nobody has signalled.
func NewEvent() (*Event, error) {
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("netpoll: eventfd: %w", err)
	}
	e := &Event{fd: fd, file: os.NewFile(uintptr(fd), "eventfd")}
	// Only what the poller watches takes deadlines.
	if err = e.file.SetDeadline(time.Time{}); err == nil {
		e.raw, err = e.file.SyscallConn()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("netpoll: an eventfd that cannot be polled: %w", err), e.file.Close())
	}
	return e, nil
}

// Fd returns the descriptor, for the kernel to signal; it is e's until Close.
func (e *Event) Fd() int { return e.fd }

// one is what a signal adds to an eventfd's counter.
var one = binary.NativeEndian.AppendUint64(nil, 1)

// Signal ends a Wait, now or when it comes. It does not wait.
func (e *Event) Signal() error {
	_, err := unix.Write(e.fd, one)
	return err
}

// Wait waits until the Event has been signalled since the last Wait. An error says
// that it was closed, or never can be waited for.
func (e *Event) Wait() error {
	var count [8]byte
	_, err := e.file.Read(count[:])
	return err
}

// Close ends whoever waits, with an error.
func (e *Event) Close() error { return e.file.Close() }
