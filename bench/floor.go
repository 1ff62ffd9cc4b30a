//go:build linux

package main

import (
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"runtime/debug"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The floor: what the kernel alone costs. An epoll loop on raw system calls
// that parses nothing and answers every read with the same bytes, those of a
// hit of edge: per request one read, one write, and its share of an epoll_wait.
// No server that answers each request as it comes can cost less on this
// kernel.
//
// It is Go with the runtime out of the way: one locked thread, no collector,
// no netpoller, no asynchronous preemption (set by the parent through
// GODEBUG), and RawSyscall, which does not tell the scheduler. What is left
// of Go costs nothing that the CPU clock of the process can show.

// floorEvents is how many events one epoll_wait takes at most.
const floorEvents = 256

// floorEnv is the environment the floor runs in.
var floorEnv = []string{"GOMAXPROCS=1", "GOGC=off", "GODEBUG=asyncpreemptoff=1"}

// floorMain is the subcommand `floor`: serves until it is killed.
func floorMain(args []string) error {
	f := flag.NewFlagSet("bench floor", flag.ContinueOnError)
	listen := f.String("listen", "127.0.0.1:0", "address, IPv4")
	file := f.String("answer", "", "file with the bytes every read is answered with")
	if err := f.Parse(args); err != nil {
		return err
	}
	answer, err := os.ReadFile(*file)
	if err != nil {
		return err
	}
	if len(answer) == 0 {
		return errors.New("floor: the answer is empty")
	}
	addr, err := netip.ParseAddrPort(*listen)
	if err != nil || !addr.Addr().Is4() {
		return fmt.Errorf("floor: -listen %q is not an IPv4 address and port: %v", *listen, err)
	}
	debug.SetGCPercent(-1)
	runtime.LockOSThread()
	return serveFloor(addr, answer)
}

func serveFloor(addr netip.AddrPort, answer []byte) error {
	ln, err := floorListen(addr)
	if err != nil {
		return err
	}
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return fmt.Errorf("epoll_create1: %w", err)
	}
	if err := epollAdd(ep, ln); err != nil {
		return err
	}
	events := make([]unix.EpollEvent, floorEvents)
	in := make([]byte, 16<<10)
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(ep),
			uintptr(unsafe.Pointer(&events[0])), floorEvents, ^uintptr(0), 0, 0)
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 {
			return fmt.Errorf("epoll_pwait: %w", errno)
		}
		for _, ev := range events[:n] {
			if int(ev.Fd) == ln {
				floorAccept(ep, ln)
				continue
			}
			if !floorAnswer(uintptr(ev.Fd), in, answer) {
				_ = unix.Close(int(ev.Fd)) // leaves the epoll set with it
			}
		}
	}
}

// floorAnswer reads once and writes once. False: the connection is over. A
// short write (a client that does not read) ends it too, since this server
// keeps nothing.
func floorAnswer(fd uintptr, in, answer []byte) bool {
	n, _, errno := unix.RawSyscall(unix.SYS_READ, fd, uintptr(unsafe.Pointer(&in[0])), uintptr(len(in)))
	if errno == unix.EAGAIN {
		return true
	}
	if errno != 0 || n == 0 {
		return false
	}
	n, _, errno = unix.RawSyscall(unix.SYS_WRITE, fd, uintptr(unsafe.Pointer(&answer[0])), uintptr(len(answer)))
	return errno == 0 && int(n) == len(answer)
}

func floorListen(addr netip.AddrPort) (int, error) {
	ln, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("socket: %w", err)
	}
	if err := unix.SetsockoptInt(ln, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return -1, fmt.Errorf("SO_REUSEADDR: %w", err)
	}
	if err := unix.Bind(ln, &unix.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()}); err != nil {
		return -1, fmt.Errorf("bind %v: %w", addr, err)
	}
	if err := unix.Listen(ln, 4096); err != nil {
		return -1, fmt.Errorf("listen %v: %w", addr, err)
	}
	return ln, nil
}

func floorAccept(ep, ln int) {
	for {
		fd, _, err := unix.Accept4(ln, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		if err != nil {
			return // EAGAIN: all taken; else the generator will say what it missed
		}
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
		if epollAdd(ep, fd) != nil {
			_ = unix.Close(fd)
		}
	}
}

// epollAdd watches fd for reading, level-triggered.
func epollAdd(ep, fd int) error {
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}
	if err := unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	return nil
}
