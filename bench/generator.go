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
	request := getRequest(addr, path)
	return epollLoad(ctx, addr, l.connections, l.duration, smallBody,
		func(dst []byte) []byte { return append(dst, request...) })
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
	waiting bool
}

// epollGenerator is the built-in load generator: an epoll loop, like the
// floor, that checks every answer.
type epollGenerator struct {
	addr  unix.SockaddrInet4
	ep    int
	conns map[int32]*epollConn
	body  []byte                  // what every answer's body must be
	next  func(dst []byte) []byte // appends the next request
	out   []byte
	buf   []byte
	done  int
}

// epollLoad keeps the given number of connections busy for d, one request in
// flight on each, and checks status and body of every answer. The first wrong
// one ends it with an error.
func epollLoad(ctx context.Context, addr string, connections int, d time.Duration, body []byte, next func([]byte) []byte) (load, error) {
	sa, err := sockaddr(addr)
	if err != nil {
		return load{}, err
	}
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return load{}, fmt.Errorf("epoll_create1: %w", err)
	}
	g := &epollGenerator{addr: sa, ep: ep, conns: map[int32]*epollConn{}, body: body, next: next, buf: make([]byte, 64<<10)}
	defer g.close()
	start := time.Now()
	for range connections {
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
	c := &epollConn{fd: fd}
	g.conns[int32(fd)] = c
	if err := epollAdd(g.ep, fd); err != nil {
		return err
	}
	return g.send(c)
}

// dialRaw connects, blocking (loopback answers at once), and makes the socket
// non-blocking.
func dialRaw(addr unix.SockaddrInet4) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("socket: %w", err)
	}
	err = unix.Connect(fd, &addr)
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

func (g *epollGenerator) send(c *epollConn) error {
	g.out = g.next(g.out[:0])
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
		if now.After(until) && (g.idle() || now.After(until.Add(generatorDrain))) {
			break
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		n, err := unix.EpollWait(g.ep, events, 100)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("epoll_wait: %w", err)
		}
		more := now.Before(until)
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
	n, err := unix.Read(c.fd, g.buf)
	switch {
	case errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR):
		return nil
	case err != nil || n == 0:
		if c.waiting {
			return fmt.Errorf("connection ended with an answer due (%d bytes of it came): %v", len(c.in), err)
		}
		return g.replace(c, more)
	case !c.waiting:
		return fmt.Errorf("%d bytes nobody asked for: %.80q", n, g.buf[:n])
	}
	answer := g.buf[:n]
	if len(c.in) > 0 {
		c.in = append(c.in, answer...)
		answer = c.in
	}
	a, err := parseAnswer(answer)
	if err != nil {
		return err
	}
	if !a.whole {
		if len(c.in) == 0 {
			c.in = append(c.in, answer...)
		}
		return nil
	}
	if a.status != 200 || !bytes.Equal(answer[a.head:a.total], g.body) || len(answer) != a.total {
		return fmt.Errorf("wrong answer (status %d, %d bytes): %.300q", a.status, len(answer), answer)
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
