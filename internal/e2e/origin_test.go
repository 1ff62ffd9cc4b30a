package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// wholeAnswers are answers that an origin may give, each to be broken at every
// byte.
var wholeAnswers = []struct {
	name, raw  string
	untilClose bool // a clean end of the connection ends the content
}{
	{"length", "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nETag: \"a\"\r\nContent-Length: 10\r\n\r\n0123456789", false},
	{"chunked", "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n5;x=y\r\n56789\r\n0\r\nX-T: 1\r\n\r\n", false},
	{"interim", "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 10\r\n\r\n0123456789", false},
	{"private", "HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nTransfer-Encoding: chunked\r\n\r\na\r\n0123456789\r\n0\r\n\r\n", false},
	{"empty", "HTTP/1.1 404 Not Found\r\nCache-Control: max-age=60\r\nContent-Length: 0\r\n\r\n", false},
	{"to the end", "HTTP/1.0 200 OK\r\nCache-Control: max-age=60\r\n\r\n0123456789", true},
}

// faults are the ways in which an origin breaks off.
var faults = []struct {
	name string
	do   func(nc net.Conn, rest string)
}{
	{"end", func(nc net.Conn, _ string) {}},
	{"reset", func(nc net.Conn, _ string) { _ = nc.(*net.TCPConn).SetLinger(0) }},
	// One byte is less than any of the bodies lacks: it is content, or it is no
	// chunk and no field.
	{"garbage", func(nc net.Conn, rest string) {
		if len(rest) > 1 {
			_, _ = io.WriteString(nc, "\x00")
		}
	}},
	{"half-close and stay", func(nc net.Conn, _ string) {
		_ = nc.(*net.TCPConn).CloseWrite()
		_, _ = io.Copy(io.Discard, nc)
	}},
}

// TestOriginBreaksAtEveryByte: whatever is missing, the client sees an error or
// a cut, nothing is stored, and the next exchange is unharmed.
func TestOriginBreaksAtEveryByte(t *testing.T) {
	for _, whole := range wholeAnswers {
		for _, fault := range faults {
			t.Run(whole.name+"/"+fault.name, func(t *testing.T) {
				t.Parallel()
				breakEverywhere(t, whole.raw, whole.untilClose, fault.name, fault.do)
			})
		}
	}
}

func breakEverywhere(t *testing.T, raw string, untilClose bool, name string, fault func(net.Conn, string)) {
	o := serve(t, func(r *request) bool {
		var n int
		if _, err := fmt.Sscanf(r.URL.Path, "/cut/%d", &n); err != nil {
			return r.say("HTTP/1.1 200 OK\nCache-Control: max-age=60", "good")
		}
		_, _ = io.WriteString(r, raw[:n])
		fault(r.conn, raw[n:])
		return false
	})
	e := start(t, config(o.addr(), ""))
	head := strings.LastIndex(raw, "HTTP/1.")
	head += strings.Index(raw[head:], "\r\n\r\n") + 4
	if a := e.get("/good"); !a.is(200, "good") {
		t.Fatalf("%v", a)
	}
	for n := 0; n < len(raw); n += fewer(1, 7) {
		asked := o.asked.Load()
		clean := untilClose && n >= head && (name == "end" || name == "half-close and stay" || name == "garbage")
		a := e.get(fmt.Sprintf("/cut/%d", n))
		switch {
		case clean: // the end of the connection is the end of the body
			if a.Response == nil || a.StatusCode != 200 || a.err != nil {
				t.Errorf("cut at %d: %v; a clean end is complete", n, a)
			}
			continue
		case n < head:
			if a.Response == nil || a.StatusCode != 502 || a.err != nil {
				t.Errorf("cut at %d, in the head: %v, want 502", n, a)
			}
		case a.Response != nil && a.StatusCode < 500 && a.err == nil:
			t.Errorf("cut at %d: %v looks complete", n, a)
		}
		before := o.asked.Load()
		if before == asked {
			t.Errorf("cut at %d: the origin was not asked", n)
		}
		if a := e.get(fmt.Sprintf("/cut/%d", n)); o.asked.Load() == before {
			t.Errorf("cut at %d: %v without asking the origin", n, a)
		}
		if a := e.get("/good"); !a.is(200, "good") || !strings.Contains(a.Header.Get("Cache-Status"), "hit") {
			t.Fatalf("after a cut at %d, the next exchange: %v", n, a)
		}
	}
	e.calm()
}

// TestCrowd: a thousand ask at once for one thing that is slow to come (fewer
// under the race detector), and something happens on the way.
func TestCrowd(t *testing.T) {
	clients := fewer(1000, 200)
	body := strings.Repeat("0123456789", 20000)
	// However long it takes them all to ask, and the origin to answer.
	const timeouts = "    timeouts: {wait: 10m, connect: 10m, write: 10m, first_byte: 10m, between_bytes: 10m}\n"
	type outcome struct{ whole, cut, failed, other int }
	for _, x := range []struct {
		name   string
		answer func(r *request, all chan struct{}) bool
		queued bool // nothing has come of the answer while they ask: all wait in line
		// harm happens while the answer is on its way.
		harm    func(first *conn)
		asked   [2]int64 // least and most
		outcome func(o outcome) bool
	}{
		{"untroubled", func(r *request, all chan struct{}) bool {
			return inHalves(r, "Cache-Control: max-age=60", body, all)
		}, false, nil, [2]int64{1, 1}, func(o outcome) bool { return o.whole == clients }},
		{"the leader's client leaves", func(r *request, all chan struct{}) bool {
			return inHalves(r, "Cache-Control: max-age=60", body, all)
		}, false, func(first *conn) { _ = first.SetLinger(0); first.Close() }, [2]int64{1, 1}, func(o outcome) bool { return o.whole == clients-1 }},
		{"the origin dies midway", func(r *request, all chan struct{}) bool {
			if r.n > 1 {
				return inHalves(r, "Cache-Control: max-age=60", body, nil)
			}
			fmt.Fprintf(r, "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: %d\r\n\r\n%s", len(body), body[:len(body)/2])
			<-all
			return false
		}, false, nil, [2]int64{1, 3}, func(o outcome) bool { return o.other == 0 && o.cut+o.whole+o.failed == clients && o.cut > 0 }},
		{"the origin dies before the head", func(r *request, all chan struct{}) bool {
			<-all
			return false
		}, true, nil, [2]int64{1, 12}, func(o outcome) bool { return o.failed == clients }},
		{"500", func(r *request, all chan struct{}) bool {
			<-all
			return r.say("HTTP/1.1 500 Oops", "oops")
		}, true, nil, [2]int64{1, int64(clients)}, func(o outcome) bool { return o.failed == clients }},
		{"private", func(r *request, all chan struct{}) bool {
			if r.n == 1 {
				<-all
			}
			return r.say("HTTP/1.1 200 OK\nCache-Control: private", body)
		}, true, nil, [2]int64{int64(clients), int64(clients)}, func(o outcome) bool { return o.whole == clients }},
		{"Vary, all different", func(r *request, all chan struct{}) bool {
			if r.n == 1 {
				<-all
			}
			return r.say("HTTP/1.1 200 OK\nCache-Control: max-age=60\nVary: X-Number", r.Header.Get("X-Number")+body)
		}, true, nil, [2]int64{10, 10}, func(o outcome) bool { return o.whole == clients }},
	} {
		t.Run(x.name, func(t *testing.T) {
			all := make(chan struct{})
			o := serve(t, func(r *request) bool { return x.answer(r, all) })
			e := start(t, config(o.addr(), timeouts)+"    cache: {lock: {wait: 10m, age: 10m}}\n")
			begin := make(chan struct{})
			var asking, done sync.WaitGroup
			var mu sync.Mutex
			var seen outcome
			var odd []answer
			one := func(c *conn, number int) {
				defer c.Close()
				a := c.read("GET")
				mu.Lock()
				defer mu.Unlock()
				want := body
				if strings.HasPrefix(x.name, "Vary") {
					want = fmt.Sprint(number) + body
				}
				switch {
				case a.is(200, want):
					seen.whole++
				case a.Response != nil && a.StatusCode == 200 && a.err != nil && strings.HasPrefix(body, a.body):
					seen.cut++
				case a.Response != nil && a.StatusCode >= 500 && a.err == nil:
					seen.failed++
				default:
					seen.other++
					odd = append(odd, a)
				}
			}
			var first *conn
			for i := range clients {
				c := e.dial()
				if i == 0 { // leads
					first = c
					fmt.Fprintf(c, "GET /crowd HTTP/1.1\r\nHost: a\r\nX-Number: 0\r\n\r\n")
					eventually(t, "the first is asked", func() bool { return o.asked.Load() == 1 })
					if x.harm == nil {
						done.Go(func() { one(c, 0) })
					}
					continue
				}
				asking.Add(1)
				done.Go(func() {
					<-begin
					fmt.Fprintf(c, "GET /crowd HTTP/1.1\r\nHost: a\r\nX-Number: %d\r\n\r\n", i%10)
					asking.Done()
					one(c, i%10)
				})
			}
			close(begin)
			asking.Wait()
			e.crowded(clients-1, x.queued)
			if x.harm != nil {
				x.harm(first)
				time.Sleep(100 * time.Millisecond)
			}
			close(all)
			done.Wait()
			if n := o.asked.Load(); n < x.asked[0] || n > x.asked[1] {
				t.Errorf("the origin was asked %d times, want %v", n, x.asked)
			}
			if !x.outcome(seen) {
				t.Errorf("%+v; others: %v", seen, odd[:min(3, len(odd))])
			}
			e.calm()
		})
	}
}

// crowded waits until so many wait in line for another's fetch; or, where its answer has
// begun, until most of them are being served: who comes later finds it stored.
func (e *edge) crowded(n int, queued bool) {
	e.t.Helper()
	if !queued {
		time.Sleep(time.Second)
		return
	}
	eventually(e.t, "all are in line", func() bool { return e.metric("edge_lock_waiting") == float64(n) })
}

// inHalves sends a body, the second half when all have asked.
func inHalves(r *request, fields, body string, all chan struct{}) bool {
	w := bufio.NewWriter(r)
	fmt.Fprintf(w, "HTTP/1.1 200 OK\r\n%s\r\nContent-Length: %d\r\n\r\n%s", fields, len(body), body[:len(body)/2])
	_ = w.Flush()
	if all != nil {
		<-all
	}
	_, err := io.WriteString(r, body[len(body)/2:])
	return err == nil
}
