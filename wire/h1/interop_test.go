package h1

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"edge/message"
)

// TestNetHTTPClientAgainstUs: an independent client gets back what it sends, by
// every framing, on a connection that persists.
func TestNetHTTPClientAgainstUs(t *testing.T) {
	for _, scheme := range []string{"http", "https"} {
		t.Run(scheme, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			check(t, err)
			defer l.Close()
			pair, pool := selfSigned(t)
			var ended atomic.Int64 // connections, by us
			go func() {
				for {
					nc, err := l.Accept()
					if err != nil {
						return
					}
					if scheme == "https" {
						nc = tls.Server(nc, &tls.Config{Certificates: []tls.Certificate{pair}})
					}
					go func() {
						if mirror(NewServerConn(nc, &ServerOptions{Scheme: scheme})) {
							ended.Add(1)
						}
					}()
				}
			}()
			conns := 0
			tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: "edge.test"}, ExpectContinueTimeout: 5 * time.Second}
			tr.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
				conns++
				return new(net.Dialer).DialContext(ctx, network, l.Addr().String())
			}
			defer tr.CloseIdleConnections()
			for _, size := range []int{0, 1, 4096, 200000} {
				for _, sized := range []bool{true, false} {
					for _, expect := range []bool{true, false} {
						mirrored(t, &http.Client{Transport: tr}, scheme, size, sized, expect)
					}
				}
			}
			// The client ends one itself where its own goroutines have no turn for a while.
			if ended.Load() != 0 {
				t.Errorf("%d of %d connections ended by the server", ended.Load(), conns)
			}
		})
	}
}

func mirrored(t *testing.T, client *http.Client, scheme string, size int, sized, expect bool) {
	t.Helper()
	content := strings.Repeat("x", size)
	var body io.Reader = strings.NewReader(content)
	if !sized {
		body = io.MultiReader(body) // hides the length
	}
	r, err := http.NewRequest("POST", scheme+"://edge.test/m", body)
	check(t, err)
	if expect && size > 0 {
		r.Header.Set("Expect", "100-continue")
	}
	resp, err := client.Do(r)
	check(t, err)
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if string(got) != content || err != nil || resp.Header.Get("X-Authority") != "edge.test" {
		t.Fatalf("%d bytes, sized %v, expect %v: %d bytes back, %v, %v", size, sized, expect, len(got), err, resp.Header)
	}
	if !sized && size > 0 && resp.Trailer.Get("X-End") != "yes" {
		t.Errorf("%d bytes, no trailer: %v", size, resp.Trailer)
	}
}

// mirror sends every request's content back while it arrives: one goroutine
// reads the body, another writes the answer. It reports whether the connection ended
// otherwise than by the client's closing it between requests.
func mirror(c *ServerConn) (ended bool) {
	defer c.Close()
	var req message.Request
	for c.ReadRequest(&req) == nil {
		if req.ExpectContinue && c.SendInterim(100, nil) != nil {
			return true
		}
		pieces := make(chan []byte, 4)
		go func() {
			defer close(pieces)
			p := make([]byte, 8192)
			for {
				n, err := c.ReadBody(p)
				if n > 0 {
					pieces <- bytes.Clone(p[:n])
				}
				if err != nil {
					return
				}
			}
		}()
		var f, trailers message.Fields
		f.Add([]byte("X-Authority"), req.Authority)
		f.AddString("Trailer", "X-End")
		trailers.AddString("X-End", "yes")
		ok := c.SendHead(&message.Outgoing{Status: 200, Length: req.Length, Fields: &f, Trailers: true}) == nil
		for p := range pieces {
			ok = ok && c.Write(p) == nil
		}
		if !ok || c.Finish(&trailers) != nil || !c.Persist() {
			return true
		}
	}
	return false
}

// TestWeAgainstNetHTTPServer: an independent server understands what we send and
// we what it answers, by every framing, on one connection.
func TestWeAgainstNetHTTPServer(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Trailer-Seen", r.Trailer.Get("X-End"))
		if r.URL.Query().Has("hints") {
			w.Header().Set("Link", "</a>")
			w.WriteHeader(103)
		}
		if r.URL.Query().Has("stream") {
			w.(http.Flusher).Flush()
		}
		w.Write(body)
	}))
	defer srv.Close()
	nc, err := net.Dial("tcp", srv.Listener.Addr().String())
	check(t, err)
	c := NewClientConn(nc, &ClientOptions{})
	defer c.Close()
	for _, size := range []int{0, 1, 100000} {
		for _, length := range []int64{int64(size), message.LengthUnknown} {
			for _, target := range []string{"/", "/?stream", "/?hints"} {
				r := message.OutgoingRequest{Method: "POST", Target: []byte(target), Fields: hostField("a"), Length: length}
				var trailers message.Fields
				if length < 0 {
					r.Fields.AddString("Trailer", "X-End")
					trailers.AddString("X-End", "yes")
				}
				check(t, c.SendRequest(&r))
				check(t, c.WriteBody(bytes.Repeat([]byte("x"), size)))
				check(t, c.FinishBody(&trailers))
				var resp message.Response
				for interim := 0; resp.Status < 200; interim++ {
					check(t, c.ReadResponse(&resp))
					if resp.Status < 200 && (target != "/?hints" || interim > 0) {
						t.Fatalf("interim %d", resp.Status)
					}
				}
				got, err := readAll(c.ReadBody)
				if len(got) != size || err != nil || !c.Reusable() {
					t.Fatalf("%s, length %d: %d bytes, %v, reusable %v", target, length, len(got), err, c.Reusable())
				}
				seen := resp.Fields.NextName([]byte("X-Trailer-Seen"), 0)
				if v := string(resp.Fields.All()[seen].Value); (v == "yes") != (length < 0) {
					t.Errorf("%s, length %d: trailer %q", target, length, v)
				}
			}
		}
	}
}

// TestAbortUnderTLS: a close_notify would make a cut body, delimited by the end
// of the connection, look whole.
func TestAbortUnderTLS(t *testing.T) {
	for _, abort := range []bool{true, false} {
		a, b := pairTCP(t)
		pair, pool := selfSigned(t)
		go func() {
			c := NewServerConn(tls.Server(b, &tls.Config{Certificates: []tls.Certificate{pair}}), &ServerOptions{Scheme: "https"})
			var req message.Request
			if c.ReadRequest(&req) != nil || c.SendHead(&message.Outgoing{Status: 200, Length: message.LengthUnknown}) != nil ||
				c.Write([]byte("hello")) != nil || c.Flush() != nil {
				return
			}
			if abort {
				c.Abort()
				return
			}
			c.Finish(nil)
			c.Persist()
			c.Close()
		}()
		conn := tls.Client(a, &tls.Config{RootCAs: pool, ServerName: "edge.test"})
		say(t, conn, "GET / HTTP/1.0\r\nHost: edge.test\r\n\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			if abort {
				continue // the reset outran the head
			}
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if abort == (err == nil) || !abort && string(body) != "hello" {
			t.Errorf("abort %v: client read %q, %v", abort, body, err)
		}
	}
}

// TestGoneUnderTLS: a client that says goodbye and leaves is gone; one that has
// sent its next request, or said nothing, is not.
func TestGoneUnderTLS(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, leaves := range []bool{true, false} {
			a, b := pairTCP(t)
			pair, pool := selfSigned(t)
			c := NewServerConn(tls.Server(b, &tls.Config{Certificates: []tls.Certificate{pair}}), &ServerOptions{Scheme: "https"})
			conn := tls.Client(a, &tls.Config{RootCAs: pool, ServerName: "edge.test", MaxVersion: version})
			go conn.Write([]byte(get + "Host: edge.test\r\n\r\n"))
			ask(t, c)
			if c.Gone() {
				t.Fatal("gone while it is there")
			}
			if leaves {
				conn.Close()
			} else {
				say(t, conn, "GET / HTTP/1.0\r\n\r\n")
				conn.NetConn().(*net.TCPConn).CloseWrite()
			}
			if leaves {
				eventually(t, fmt.Sprintf("gone under TLS %x", version), c.Gone)
				continue
			}
			for range 20 { // it may take what was sent a moment to come
				time.Sleep(time.Millisecond)
				if c.Gone() {
					t.Fatalf("TLS %x: gone with a request at hand", version)
				}
			}
		}
	}
}

// TestStoppedBody: an answer given while the request's content is still coming
// reaches the client, and the connection ends with it.
func TestStoppedBody(t *testing.T) {
	a, b := pairTCP(t)
	c := NewServerConn(b, &ServerOptions{})
	say(t, a, post+"Content-Length: 100000\r\n\r\nhello")
	ask(t, c)
	stopped := make(chan error)
	go func() {
		_, err := readAll(c.ReadBody)
		stopped <- err
	}()
	time.Sleep(time.Millisecond)
	c.StopBody()
	if err := <-stopped; !errors.Is(err, ErrInterrupted) {
		t.Errorf("ReadBody: %v", err)
	}
	answer(t, c, "no more")
	done := make(chan bool)
	go func() {
		persists := c.Persist()
		c.Close()
		done <- persists
	}()
	heard(t, a, "HTTP/1.1 200 OK\r\nContent-Length: 7\r\nConnection: close\r\n\r\nno more")
	say(t, a, strings.Repeat("x", 50000)) // still listened to
	a.Close()
	if <-done {
		t.Error("connection persists")
	}
}

// selfSigned makes a certificate for edge.test and a pool that trusts it.
func selfSigned(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "edge.test"}, DNSNames: []string{"edge.test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	check(t, err)
	cert, err := x509.ParseCertificate(der)
	check(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// An answer that comes before whoever reads the content has noticed its end
// stops what is over already: the connection goes on.
func TestStoppedAfterTheEnd(t *testing.T) {
	for _, idle := range []time.Duration{0, -1} {
		a, b := pairTCP(t)
		c := NewServerConn(b, &ServerOptions{Timeouts: Timeouts{Idle: idle}})
		say(t, a, post+"Content-Length: 5\r\n\r\nhello")
		ask(t, c)
		if _, err := readAll(c.ReadBody); err != nil {
			t.Fatal(err)
		}
		answer(t, c, "one")
		c.StopBody()
		if !c.Persist() {
			t.Fatal("the connection ends")
		}
		heard(t, a, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none")
		go func() {
			time.Sleep(5 * time.Millisecond)
			_, _ = a.Write([]byte(get + host + end))
		}()
		ask(t, c)
		answer(t, c, "two")
		heard(t, a, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ntwo")
		c.Close()
	}
}

// The answer to content that is ill-formed says that the connection ends.
func TestAnswerToBrokenContentCloses(t *testing.T) {
	for name, content := range map[string]string{
		"ill-formed": "zz\r\n",
		"too long":   "8\r\n01234567\r\n",
	} {
		a, b := pairTCP(t)
		c := NewServerConn(b, &ServerOptions{Limits: Limits{BodyBytes: 7}})
		say(t, a, te+content)
		ask(t, c)
		if _, err := readAll(c.ReadBody); err == nil {
			t.Fatalf("%s: accepted", name)
		}
		answer(t, c, "no")
		heard(t, a, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
		a.Close()
		if c.Persist() {
			t.Errorf("%s: persists", name)
		}
		c.Close()
	}
}
