package proxy

import (
	"bufio"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"edge/cache/storage"
	"edge/cache/storage/disk"
	"edge/message"
	"edge/wire/h1"
)

// countingClient counts what leaves as files.
type countingClient struct {
	*h1.ServerConn
	files *atomic.Int64
}

func (c countingClient) SendFile(fd uintptr, off, n int64) (int64, error) {
	n, err := c.ServerConn.SendFile(fd, off, n)
	c.files.Add(n)
	return n, err
}

// overTCP asks the proxy over a TCP connection of its own; it returns the answer and
// how many bytes the exchange reported, and how many of them left as files.
func overTCP(t *testing.T, r *rig, head string) (a answer, reported, sent int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	nc, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(realTimeout))
	served, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	var files atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		c := h1.NewServerConn(served, &r.server)
		defer c.Close()
		x := &exchange{p: r.proxy, client: countingClient{c, &files}, peer: netip.MustParseAddrPort("192.0.2.1:1234")}
		x.entries, x.heads = x.entryRoom[:0], x.headRoom[:0]
		for c.ReadRequest(&x.req) == nil && x.serve() {
			if reported = x.record.Bytes; !c.Persist() {
				return
			}
		}
	}()
	if _, err := io.WriteString(nc, strings.ReplaceAll(head, "\n", "\r\n")+"\r\nHost: example.com\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	c := &client{t: t, br: bufio.NewReader(nc)}
	a = c.read(strings.Fields(head)[0])
	nc.Close()
	<-done
	return a, reported, files.Load()
}

// TestSendingFromFiles: what a disk holds is the same whichever way it goes to the
// client, whole, as a range, as several, and is counted the same.
func TestSendingFromFiles(t *testing.T) {
	body := strings.Repeat("0123456789abcdef", 20<<10) // 320 KiB
	dir := t.TempDir()
	open := func() storage.Store {
		st, err := disk.Open(disk.Options{Disks: []disk.Disk{{Path: dir, Size: 64 << 20}}, ChunkSize: 64 << 10,
			Clock: func() message.Instant { return message.Instant(time.Now().UnixNano()) }})
		if err != nil {
			t.Fatal(err)
		}
		return st
	}
	start := func() *rig {
		return newRig(t, func(c *originConn) bool {
			return c.say("HTTP/1.1 200 OK\nCache-Control: max-age=1000\nContent-Type: text/plain\nETag: \"v1\"", body)
		}, func(r *rig, o *Options) {
			r.store.Close()
			r.store = open()
			o.Store = r.store
		})
	}
	r := start()
	overTCP(t, r, "GET /f HTTP/1.1")
	r.close() // so that it is in the file
	r = start()
	defer r.close()
	for i, q := range []struct{ head, want string }{
		{"GET /f HTTP/1.1", body}, // which is checked by it
		{"GET /f HTTP/1.1", body},
		{"GET /f HTTP/1.0", body},
		{"GET /f HTTP/1.1\nRange: bytes=1-200000", body[1:200001]},
		{"GET /f HTTP/1.1\nRange: bytes=70000-71000", body[70000:71001]},
		{"HEAD /f HTTP/1.1", ""},
		{"GET /f HTTP/1.1\nRange: bytes=10-99999,150000-299999", ""},
	} {
		a, reported, files := overTCP(t, r, q.head)
		method := strings.Fields(q.head)[0]
		if a.err != nil || !strings.Contains(a.Header.Get("Cache-Status"), "hit") {
			t.Fatalf("%s: %v, Cache-Status %q", q.head, a.err, a.Header.Get("Cache-Status"))
		}
		if strings.Contains(q.head, ",") {
			if !strings.Contains(a.body, body[10:100000]+"\r\n--") || !strings.Contains(a.body, body[150000:300000]+"\r\n--") {
				t.Errorf("%s: the parts are not those asked for", q.head)
			}
		} else if a.body != q.want {
			t.Errorf("%s: %d bytes that are not the %d", q.head, len(a.body), len(q.want))
		}
		if reported != int64(len(a.body)) {
			t.Errorf("%s: %d bytes reported of %d", q.head, reported, len(a.body))
		}
		if i == 0 && files != 0 {
			t.Errorf("%d bytes left unchecked", files)
		}
		if kernelTells(t, r) && i > 0 && method == "GET" && len(a.body) > 100<<10 && files < int64(len(a.body))/2 {
			t.Errorf("%s: %d of %d bytes left as files", q.head, files, len(a.body))
		}
		if plain := r.get(q.head + "\nHost: example.com"); !strings.Contains(q.head, ",") && plain.body != q.want {
			t.Errorf("%s, in memory: %d bytes that are not the %d", q.head, len(plain.body), len(q.want))
		}
	}
}

// kernelTells reports whether the store offers files at all: an old kernel does not
// say what is in its page cache.
func kernelTells(t *testing.T, r *rig) bool {
	t.Helper()
	tells := false
	r.store.Each(func(e storage.Entry) bool {
		rd := e.Reader(0, -1)
		defer rd.Close()
		if f, ok := rd.(storage.FileReader); ok {
			_, tells = f.NextFile()
		}
		return false
	})
	return tells
}
