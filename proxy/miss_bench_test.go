package proxy

import (
	"bytes"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"edge/internal/memconn"
	"edge/pool"
	"edge/wire/h1"
)

// steadyOrigin answers every request with the same bytes, and allocates
// nothing, so that what a benchmark counts is the proxy's.
func steadyOrigin(l *memconn.Listener, answer []byte) {
	for {
		nc, err := l.Accept()
		if err != nil {
			return
		}
		go func(nc net.Conn) {
			defer nc.Close()
			buf := make([]byte, 8192)
			for {
				if _, err := nc.Read(buf); err != nil { // a request comes in one piece
					return
				}
				if _, err := nc.Write(answer); err != nil {
					return
				}
			}
		}(nc)
	}
}

// BenchmarkMiss is a 1 KiB miss that is stored in memory, each of another URL.
func BenchmarkMiss(b *testing.B) {
	r := newRig(b, kibOrigin)
	defer r.close()
	back := memconn.Listen()
	defer back.Close()
	body := strings.Repeat("x", 1024)
	go steadyOrigin(back, []byte("HTTP/1.1 200 OK\r\nCache-Control: max-age=100000\r\nContent-Type: text/plain\r\nETag: \"v1\"\r\n"+
		"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 1024\r\n\r\n"+body))
	origins := pool.New(pool.Options{Dial: back.DialContext})
	defer origins.Close()
	r.route.Origin.Pool = origins
	a, c := memconn.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.proxy.ServeConn(h1.NewServerConn(c, &h1.ServerOptions{Scheme: "http"}), netip.MustParseAddrPort("192.0.2.1:1234"))
	}()
	defer func() { a.Close(); <-done }()
	buf, request := make([]byte, 8192), []byte(nil)
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		n++
		request = append(request[:0], "GET /miss/"...)
		request = strconv.AppendInt(request, int64(n), 10)
		request = append(request, " HTTP/1.1\r\nHost: example.com\r\nUser-Agent: test\r\nAccept: */*\r\n\r\n"...)
		if _, err := a.Write(request); err != nil {
			b.Fatal(err)
		}
		size, err := a.Read(buf)
		if err != nil {
			b.Fatal(err)
		}
		head := bytes.Index(buf[:size], []byte("\r\n\r\n")) + 4
		if _, err := io.ReadFull(a, buf[size:head+len(body)]); err != nil {
			b.Fatal(err)
		}
	}
}
