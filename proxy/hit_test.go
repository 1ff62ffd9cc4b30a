package proxy

import (
	"bytes"
	"io"
	"net/netip"
	"strings"
	"testing"

	"edge/internal/memconn"
	"edge/wire/h1"
)

// hitConn is a connection on which one stored 1 KiB response is asked for
// again and again, by a client that allocates nothing itself.
type hitConn struct {
	r       *rig
	nc      *memconn.Conn
	request []byte
	buf     []byte
	size    int // of a hit's answer
}

func newHitConn(t testing.TB, r *rig) *hitConn {
	a, b := memconn.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.proxy.ServeConn(h1.NewServerConn(b, &h1.ServerOptions{Scheme: "http"}), netip.MustParseAddrPort("192.0.2.1:1234"))
	}()
	t.Cleanup(func() { a.Close(); <-done })
	h := &hitConn{r: r, nc: a, buf: make([]byte, 8192),
		request: []byte("GET /hit HTTP/1.1\r\nHost: example.com\r\nUser-Agent: test\r\nAccept: */*\r\n\r\n")}
	for range 2 { // the miss, then the first hit
		if _, err := a.Write(h.request); err != nil {
			t.Fatal(err)
		}
		h.size = 0
		for !bytes.Contains(h.buf[:h.size], []byte("\r\n\r\n")) || !bytes.HasSuffix(h.buf[:h.size], []byte("end")) {
			n, err := a.Read(h.buf[h.size:])
			if err != nil {
				t.Fatal(err)
			}
			h.size += n
		}
	}
	if !bytes.Contains(h.buf[:h.size], []byte("Cache-Status: edge; hit")) {
		t.Fatalf("not a hit: %q", h.buf[:h.size])
	}
	return h
}

func (h *hitConn) hit() error {
	if _, err := h.nc.Write(h.request); err != nil {
		return err
	}
	_, err := io.ReadFull(h.nc, h.buf[:h.size])
	return err
}

func kibOrigin(c *originConn) bool {
	return c.say("HTTP/1.1 200 OK\nCache-Control: max-age=100000\nContent-Type: text/plain\nETag: \"v1\"", strings.Repeat("x", 1021)+"end")
}

// A hit allocates at most twice from reading the request to writing the
// response.
func TestHitAllocations(t *testing.T) {
	r := newRig(t, kibOrigin)
	defer r.close()
	h := newHitConn(t, r)
	n := testing.AllocsPerRun(1000, func() {
		if err := h.hit(); err != nil {
			t.Fatal(err)
		}
	})
	if limit := 2.0; n > limit {
		t.Errorf("a hit allocates %v times, want at most %v", n, limit)
	}
}

func BenchmarkHit(b *testing.B) {
	r := newRig(b, kibOrigin)
	defer r.close()
	h := newHitConn(b, r)
	b.ReportAllocs()
	for b.Loop() {
		if err := h.hit(); err != nil {
			b.Fatal(err)
		}
	}
}
