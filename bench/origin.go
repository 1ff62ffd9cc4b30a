//go:build linux

package main

import (
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// The slow answer of the herd: nothing for slowThink, so that everyone has
// asked before the first byte exists, then slowPieces pieces, each flushed,
// slowGap apart.
const (
	slowThink  = 500 * time.Millisecond
	slowGap    = 25 * time.Millisecond
	slowPieces = 8
	slowPiece  = 4 << 10 // bytes
)

// smallBody is the 1 KiB answer.
var smallBody = []byte(strings.Repeat("0123456789abcdef", 64))

// slowBody is the herd's answer.
var slowBody = func() []byte {
	b := make([]byte, slowPieces*slowPiece)
	for i := range b {
		b[i] = 'a' + byte(i*7/slowPiece+i)%26
	}
	return b
}()

// origin is the server behind the caches. It runs inside this program, on the
// load generator's core, and counts what it is asked.
type origin struct {
	addr   string
	server *http.Server
	total  atomic.Int64
	mu     sync.Mutex
	byPath map[string]int // of /slow/ only
}

// startOrigin listens on a free loopback port.
func startOrigin() (*origin, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("origin: %w", err)
	}
	o := &origin{addr: ln.Addr().String(), byPath: map[string]int{}}
	o.server = &http.Server{Handler: o, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = o.server.Serve(ln) }() // ends with stop
	return o, nil
}

// ServeHTTP answers /1k and /object/... at once and /slow/... slowly; all of
// it is fresh for an hour.
func (o *origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.total.Add(1)
	h := w.Header()
	h.Set("Cache-Control", "public, max-age=3600")
	h.Set("Content-Type", "text/plain")
	h.Set("ETag", `"v1"`)
	if n, size, ok := parseObject(r.URL.Path); ok {
		h.Set("Content-Length", strconv.Itoa(size))
		first, rest := objectBody(n, size)
		_, _ = w.Write(first[:])
		_, _ = w.Write(rest)
		return
	}
	if !strings.HasPrefix(r.URL.Path, "/slow/") {
		h.Set("Content-Length", fmt.Sprint(len(smallBody)))
		_, _ = w.Write(smallBody)
		return
	}
	o.mu.Lock()
	o.byPath[r.URL.Path]++
	o.mu.Unlock()
	time.Sleep(slowThink)
	for i := range slowPieces {
		_, _ = w.Write(slowBody[i*slowPiece : (i+1)*slowPiece])
		w.(http.Flusher).Flush()
		time.Sleep(slowGap)
	}
}

// asked returns how often a /slow/ path was asked for.
func (o *origin) asked(path string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.byPath[path]
}

// stop closes every connection.
func (o *origin) stop() { _ = o.server.Close() }
