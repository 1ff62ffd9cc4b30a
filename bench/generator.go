//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// load is what one run of a load generator saw.
type load struct {
	requests int
	elapsed  time.Duration
}

// minRequests is the fewest requests a run must bring to mean anything.
const minRequests = 100

// check refuses a run that brought too little.
func (d load) check() error {
	if d.requests < minRequests {
		return fmt.Errorf("only %d requests in %v", d.requests, d.elapsed)
	}
	return nil
}

// generate loads addr with GETs for path. wrk checks that every answer is
// 2xx; the built-in generator checks every body as well.
func (l *lab) generate(ctx context.Context, addr, path string) (load, error) {
	if l.generator != "builtin" {
		bin, err := exec.LookPath("wrk")
		if err == nil {
			return l.wrk(ctx, bin, addr, path)
		}
		if l.generator == "wrk" {
			return load{}, err
		}
	}
	return epollLoad(ctx, addr, l.connections, l.duration, oneAnswer(getRequest(addr, path), smallBody))
}

// work is what a generator asks for and what it is to get.
type work struct {
	// next appends a request to dst and returns it with the number of what it
	// asks for; a negative number: there is nothing more to ask for.
	next func(dst []byte) ([]byte, int)
	// right reports whether body is the body of what has that number.
	right func(n int, body []byte) bool
}

// oneAnswer is the work of asking the same again and again.
func oneAnswer(request, body []byte) work {
	return work{
		next:  func(dst []byte) ([]byte, int) { return append(dst, request...), 0 },
		right: func(_ int, b []byte) bool { return bytes.Equal(b, body) },
	}
}

// getRequest is the request wrk would send.
func getRequest(addr, path string) []byte {
	return []byte("GET " + path + " HTTP/1.1\r\nHost: " + addr + "\r\n\r\n")
}

func (l *lab) wrk(ctx context.Context, bin, addr, path string) (load, error) {
	seconds := max(1, int(l.duration.Round(time.Second)/time.Second))
	ctx, cancel := context.WithTimeout(ctx, time.Duration(seconds)*time.Second+10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, bin, "-t1", "-c", strconv.Itoa(l.connections),
		"-d", strconv.Itoa(seconds)+"s", "--timeout", "5s", "http://"+addr+path)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	// The launcher's thread may be pinned to the servers' core: say ours.
	err := l.launch.start(cmd, l.clientCPU)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return load{}, fmt.Errorf("wrk: %w\n%s", err, out.Bytes())
	}
	return parseWrk(out.String())
}

var (
	wrkTotal  = regexp.MustCompile(`(\d+) requests in ([0-9.]+(?:us|ms|s|m))`)
	wrkNon2xx = regexp.MustCompile(`Non-2xx or 3xx responses: (\d+)`)
	wrkErrors = regexp.MustCompile(`Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)`)
)

// parseWrk reads wrk's report and refuses one with a single wrong answer.
func parseWrk(report string) (load, error) {
	m := wrkTotal.FindStringSubmatch(report)
	if m == nil {
		return load{}, fmt.Errorf("wrk: no total in its report:\n%s", report)
	}
	if bad := wrkNon2xx.FindString(report); bad != "" {
		return load{}, fmt.Errorf("wrk: %s", bad)
	}
	if bad := wrkErrors.FindString(report); bad != "" {
		return load{}, fmt.Errorf("wrk: %s", bad)
	}
	n, err := strconv.Atoi(m[1])
	if err != nil {
		return load{}, fmt.Errorf("wrk: %w", err)
	}
	d, err := time.ParseDuration(m[2])
	return load{n, d}, err
}

// generatorDrain bounds the wait for answers still due when time is up.
const generatorDrain = 5 * time.Second

// epollConn is one connection of the built-in generator: one request in
// flight. Owner: the goroutine in epollLoad.
type epollConn struct {
	fd      int
	in      []byte // what has come of the answer
	asked   int    // the number of what was asked for
	waiting bool
}

// answerRoom is how much of an answer is read before its length is known, in
// bytes.
const answerRoom = 8 << 10

// epollGenerator is the built-in load generator: an epoll loop, like the
// floor, that checks every answer.
type epollGenerator struct {
	addr  unix.SockaddrInet4
	ep    int
	conns map[int32]*epollConn
	work
	out    []byte
	ending bool // there is nothing more to ask for
	done   int
}

// epollLoad keeps the given number of connections busy for d, or until the work
// is done, one request in flight on each, and checks status and body of every
// answer. The first wrong one ends it with an error.
func epollLoad(ctx context.Context, addr string, connections int, d time.Duration, w work) (load, error) {
	sa, err := sockaddr(addr)
	if err != nil {
		return load{}, err
	}
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return load{}, fmt.Errorf("epoll_create1: %w", err)
	}
	g := &epollGenerator{addr: sa, ep: ep, conns: map[int32]*epollConn{}, work: w}
	defer g.close()
	start := time.Now()
	for range connections {
		if g.ending {
			break
		}
		if err := g.connect(); err != nil {
			return load{}, err
		}
	}
	if err := g.loop(ctx, start.Add(d)); err != nil {
		return load{}, err
	}
	return load{g.done, time.Since(start)}, nil
}

func (g *epollGenerator) close() {
	for _, c := range g.conns {
		_ = unix.Close(c.fd)
	}
	_ = unix.Close(g.ep)
}

func (g *epollGenerator) connect() error {
	fd, err := dialRaw(g.addr)
	if err != nil {
		return err
	}
	c := &epollConn{fd: fd, in: make([]byte, 0, answerRoom)}
	g.conns[int32(fd)] = c
	if err := epollAdd(g.ep, fd); err != nil {
		return err
	}
	return g.send(c)
}

// receiveBuffer is the room that the kernel is asked to have for a connection's
// answers, in bytes: with less than an answer, what is measured is how client and
// server wait for each other's window.
const receiveBuffer = 4 << 20

// dialRaw connects, blocking (loopback answers at once), and makes the socket
// non-blocking.
func dialRaw(addr unix.SockaddrInet4) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("socket: %w", err)
	}
	err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer)
	if err == nil {
		err = unix.Connect(fd, &addr)
	}
	if err == nil {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	}
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, fmt.Errorf("connect: %w", err)
	}
	return fd, nil
}

// send sends the next request on c, if there is one.
func (g *epollGenerator) send(c *epollConn) error {
	if g.out, c.asked = g.next(g.out[:0]); c.asked < 0 {
		g.ending = true
		return nil
	}
	n, err := unix.Write(c.fd, g.out)
	if err != nil || n != len(g.out) {
		return fmt.Errorf("sending a request: %d of %d bytes: %v", n, len(g.out), err)
	}
	c.waiting = true
	return nil
}

func (g *epollGenerator) loop(ctx context.Context, until time.Time) error {
	events := make([]unix.EpollEvent, floorEvents)
	for {
		now := time.Now()
		if (g.ending || now.After(until)) && g.idle() || now.After(until.Add(generatorDrain)) {
			break
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		n, err := unix.EpollWait(g.ep, events, 100)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("epoll_wait: %w", err)
		}
		more := now.Before(until) && !g.ending
		for _, ev := range events[:max(n, 0)] {
			if err := g.ready(g.conns[ev.Fd], more); err != nil {
				return err
			}
		}
	}
	if !g.idle() {
		return fmt.Errorf("answers still due %v after the last request", generatorDrain)
	}
	return nil
}

func (g *epollGenerator) idle() bool {
	for _, c := range g.conns {
		if c.waiting {
			return false
		}
	}
	return true
}

// ready reads what came for c; once the answer is whole and right, it sends
// the next request if there is to be one.
func (g *epollGenerator) ready(c *epollConn, more bool) error {
	if c == nil {
		return nil // closed earlier in this batch
	}
	n, err := unix.Read(c.fd, c.in[len(c.in):cap(c.in)])
	switch {
	case errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR):
		return nil
	case err != nil || n == 0:
		if c.waiting {
			return fmt.Errorf("connection ended with an answer due (%d bytes of it came): %v", len(c.in), err)
		}
		return g.replace(c, more)
	}
	c.in = c.in[:len(c.in)+n]
	if !c.waiting {
		return fmt.Errorf("%d bytes nobody asked for: %.80q", n, c.in)
	}
	a, err := parseAnswer(c.in)
	if err != nil {
		return err
	}
	if !a.whole {
		if room := max(a.total+1, len(c.in)+1); room > cap(c.in) { // one byte more shows what is too much
			c.in = append(make([]byte, 0, max(room, 2*cap(c.in))), c.in...)
		}
		return nil
	}
	if a.status != 200 || len(c.in) != a.total || !g.right(c.asked, c.in[a.head:]) {
		return fmt.Errorf("wrong answer (status %d, %d bytes): %.300q", a.status, len(c.in), c.in)
	}
	c.in, c.waiting = c.in[:0], false
	g.done++
	switch {
	case a.close:
		return g.replace(c, more)
	case more:
		return g.send(c)
	}
	return nil
}

// replace closes c and, if there is more to do, opens another: a server may
// end a connection between requests.
func (g *epollGenerator) replace(c *epollConn, more bool) error {
	delete(g.conns, int32(c.fd))
	_ = unix.Close(c.fd)
	if !more {
		return nil
	}
	return g.connect()
}
