//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// herdLag is the target: a follower's first byte is within this of the
// leader's.
const herdLag = 5 * time.Millisecond

// smallHerd is a herd that one core can answer within herdLag: a thousand
// sockets cost the kernel alone some ten milliseconds of it.
const smallHerd = 100

// herdTimeout bounds one round: the origin takes under a second.
const herdTimeout = 20 * time.Second

// herdClient is one client of the herd. Owner: the goroutine in herd.
type herdClient struct {
	fd    int
	first int64 // when the kernel took in the first byte of the answer, Unix nanoseconds
	in    []byte
	done  bool // the peer closed: all of the answer has come
}

// runHerd has every client connect, then ask, before the origin has said
// anything. edge is to ask the origin once and stream the answer to all as it
// comes; nginx (proxy_cache_lock) stands beside it.
func runHerd(ctx context.Context, l *lab) error {
	o, err := startOrigin()
	if err != nil {
		return err
	}
	defer o.stop()
	list, stop, err := l.caches(ctx, o)
	defer func() { stop() }()
	if err != nil {
		return err
	}
	for _, n := range slices.Compact([]int{min(smallHerd, l.clients), l.clients}) {
		for _, s := range list {
			if err := l.herdRounds(ctx, s, o, n); err != nil {
				return fmt.Errorf("%s: %w\n%s", s.name, err, &s.output)
			}
		}
	}
	return nil
}

// herdRounds lets the herd come several times, for another URL each.
func (l *lab) herdRounds(ctx context.Context, s *subject, o *origin, n int) error {
	var lags []time.Duration
	var failed error
	for round := range l.rounds {
		path := fmt.Sprintf("/slow/%s/%d/%d", s.name, n, round)
		clients, err := herd(ctx, s.addr, path, n)
		if err != nil {
			return err
		}
		wrong := 0
		for _, c := range clients {
			if err := c.check(path); err != nil {
				wrong++
				failed = err
			}
		}
		asked := o.asked(path)
		fmt.Printf("%-6s %d clients: origin asked %d time(s), %d bodies wrong\n", s.name, n, asked, wrong)
		if asked != 1 && s.name == "edge" {
			failed = errors.Join(failed, fmt.Errorf("the origin was asked %d times for %s", asked, path))
		}
		lags = append(lags, lag(clients)...)
	}
	slices.Sort(lags)
	median := percentile(lags, 50)
	fmt.Printf("%-6s follower's first byte after the leader's: median %v, p99 %v, max %v (earliest %v)\n",
		s.name, short(median), short(percentile(lags, 99)), short(lags[len(lags)-1]), short(lags[0]))
	if s.name == "edge" {
		l.target(fmt.Sprintf("one of %d followers' first byte after the leader's: p50", n-1), ms(median), ms(herdLag), " ms")
		l.target(fmt.Sprintf("one of %d followers' first byte after the leader's: p99", n-1), ms(percentile(lags, 99)), ms(herdLag), " ms")
	}
	return failed
}

// short rounds a duration for printing.
func short(d time.Duration) time.Duration { return d.Round(10 * time.Microsecond) }

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// herd connects all clients, sends all requests, and reads until every answer
// has ended.
func herd(ctx context.Context, addr, path string, clients int) (list []*herdClient, err error) {
	sa, err := sockaddr(addr)
	if err != nil {
		return nil, err
	}
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	defer unix.Close(ep)
	byFD := map[int32]*herdClient{}
	defer func() {
		for _, c := range byFD {
			_ = unix.Close(c.fd)
		}
	}()
	for range clients {
		fd, err := dialRaw(sa)
		if err != nil {
			return nil, err
		}
		c := &herdClient{fd: fd}
		byFD[int32(fd)] = c
		list = append(list, c)
		// The kernel's stamp, not ours: this program reads one client after
		// the other and would measure itself.
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); err != nil {
			return nil, fmt.Errorf("SO_TIMESTAMPNS: %w", err)
		}
		if err := epollAdd(ep, fd); err != nil {
			return nil, err
		}
	}
	request := []byte("GET " + path + " HTTP/1.1\r\nHost: " + addr + "\r\nConnection: close\r\n\r\n")
	for _, c := range list {
		if n, err := unix.Write(c.fd, request); err != nil || n != len(request) {
			return nil, fmt.Errorf("sending a request: %v", err)
		}
	}
	return list, herdRead(ctx, ep, byFD)
}

func herdRead(ctx context.Context, ep int, open map[int32]*herdClient) error {
	until := time.Now().Add(herdTimeout)
	events := make([]unix.EpollEvent, floorEvents)
	buf := make([]byte, 64<<10)
	oob := make([]byte, 256)
	left := len(open)
	for left > 0 {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if time.Now().After(until) {
			return fmt.Errorf("%d clients still wait after %v", left, herdTimeout)
		}
		n, err := unix.EpollWait(ep, events, 100)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("epoll_wait: %w", err)
		}
		for _, ev := range events[:max(n, 0)] {
			c := open[ev.Fd]
			if err := c.read(buf, oob); err != nil {
				return err
			}
			if c.done {
				left--
				if err := unix.EpollCtl(ep, unix.EPOLL_CTL_DEL, c.fd, nil); err != nil {
					return fmt.Errorf("epoll_ctl: %w", err)
				}
			}
		}
	}
	return nil
}

func (c *herdClient) read(buf, oob []byte) error {
	n, oobn, _, _, err := unix.Recvmsg(c.fd, buf, oob, 0)
	switch {
	case errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR):
		return nil
	case errors.Is(err, unix.ECONNRESET):
		c.done = true // what has come is checked, and found short
		return nil
	case err != nil:
		return fmt.Errorf("reading an answer: %w", err)
	case n == 0:
		c.done = true
		return nil
	}
	if len(c.in) == 0 {
		c.first = stamp(oob[:oobn])
	}
	c.in = append(c.in, buf[:n]...)
	return nil
}

// stamp returns the kernel's receive time, or now where there is none.
func stamp(oob []byte) int64 {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return time.Now().UnixNano()
	}
	for _, m := range msgs {
		if m.Header.Level != unix.SOL_SOCKET || m.Header.Type != unix.SCM_TIMESTAMPNS || len(m.Data) < 16 {
			continue
		}
		// A struct timespec: seconds and nanoseconds, 64 bits each.
		seconds := int64(binary.NativeEndian.Uint64(m.Data))
		return seconds*1e9 + int64(binary.NativeEndian.Uint64(m.Data[8:]))
	}
	return time.Now().UnixNano()
}

// check judges a whole answer with net/http's parser: another mind than the
// one under test.
func (c *herdClient) check(path string) error {
	resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(c.in)), nil)
	if err != nil {
		return fmt.Errorf("%s: %w (%d bytes came)", path, err, len(c.in))
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("%s: body: %w", path, err)
	}
	if resp.StatusCode != 200 || !bytes.Equal(body, slowBody) {
		return fmt.Errorf("%s: status %d and %d bytes of body, want 200 and the %d right ones",
			path, resp.StatusCode, len(body), len(slowBody))
	}
	return nil
}

// lag returns every follower's first byte minus the leader's. The leader is
// the client whose Cache-Status (RFC 9211) says that it went forward and was
// not collapsed; where the server does not say, the earliest.
func lag(clients []*herdClient) []time.Duration {
	leader := -1
	for i, c := range clients {
		head, _, _ := strings.Cut(string(c.in[:min(len(c.in), maxAnswerHead)]), "\r\n\r\n")
		if strings.Contains(head, "fwd=") && !strings.Contains(head, "collapsed") {
			leader = i
			break
		}
	}
	start := int64(math.MaxInt64)
	if leader >= 0 {
		start = clients[leader].first
	} else {
		for i, c := range clients {
			if c.first < start {
				leader, start = i, c.first
			}
		}
	}
	var lags []time.Duration
	for i, c := range clients {
		if i != leader {
			lags = append(lags, time.Duration(c.first-start))
		}
	}
	return lags
}
