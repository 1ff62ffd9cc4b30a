package pool

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{pool: x509.NewCertPool()}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, IsCA: true,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	var der []byte
	a.key, der = sign(t, template, template, nil)
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	a.cert = cert
	a.pool.AddCert(cert)
	return a
}

// sign makes a key and a certificate for it, signed by by, nil for itself.
func sign(t *testing.T, template, parent *x509.Certificate, by *ecdsa.PrivateKey) (*ecdsa.PrivateKey, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if by == nil {
		by = key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, by)
	if err != nil {
		t.Fatal(err)
	}
	return key, der
}

// issue returns a certificate for name that ends at notAfter.
func (a *authority) issue(t *testing.T, name string, notAfter time.Time) tls.Certificate {
	t.Helper()
	key, der := sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(2), DNSNames: []string{name}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		NotBefore:   time.Now().Add(-2 * time.Hour), NotAfter: notAfter,
	}, a.cert, a.key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

const tlsName = "origin.example"

// serveTLS starts an echo over TLS and returns its target, trusting a.
func serveTLS(t *testing.T, a *authority, config *tls.Config) *Target {
	t.Helper()
	if config.Certificates == nil {
		config.Certificates = []tls.Certificate{a.issue(t, tlsName, time.Now().Add(time.Hour))}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	echo(t, tls.NewListener(l, config))
	return &Target{Network: "tcp", Address: l.Addr().String(), Scheme: SchemeHTTPS, ServerName: tlsName, RootCAs: a.pool}
}

func TestTLS(t *testing.T) {
	a := newAuthority(t)
	target := serveTLS(t, a, &tls.Config{NextProtos: []string{"http/1.1"}})
	target.ALPN = "h2,http/1.1"
	p := newPool(t, Options{})
	c := get(t, p, target)
	if c.Protocol() != "http/1.1" {
		t.Errorf("Protocol = %q", c.Protocol())
	}
	say(t, c, 'x')
	p.Put(c)
	for range 100 {
		c := get(t, p, target)
		if !c.Reused() {
			t.Fatal("not reused")
		}
		say(t, c, 'x')
		p.Put(c)
	}
	fresh, err := p.GetFresh(context.Background(), target)
	if err != nil {
		t.Fatal(err)
	}
	if !fresh.Conn.(*tls.Conn).ConnectionState().DidResume {
		t.Error("the second handshake did not resume the first's session")
	}
	p.Put(fresh)
}

func TestTLSOverUnixSocket(t *testing.T) {
	a := newAuthority(t)
	path := filepath.Join(t.TempDir(), "o.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	echo(t, tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{a.issue(t, tlsName, time.Now().Add(time.Hour))}}))
	p := newPool(t, Options{})
	target := &Target{Network: "unix", Address: path, Scheme: SchemeHTTPS, ServerName: tlsName, RootCAs: a.pool}
	for range 3 {
		c := get(t, p, target)
		say(t, c, 'x')
		p.Put(c)
	}
	if s := p.Stats(); s.Dialed != 1 || s.Reused != 2 {
		t.Errorf("%+v", s)
	}
}

// What the origin's certificate must be.
func TestTLSVerification(t *testing.T) {
	a, other := newAuthority(t), newAuthority(t)
	p := newPool(t, Options{})
	for _, tc := range []struct {
		name   string
		cert   tls.Certificate
		change func(*Target)
		want   Kind
	}{
		{"good", a.issue(t, tlsName, time.Now().Add(time.Hour)), func(*Target) {}, KindNone},
		{"wrong name", a.issue(t, "other.example", time.Now().Add(time.Hour)), func(*Target) {}, KindTLSCertificate},
		{"address is the name by default", a.issue(t, tlsName, time.Now().Add(time.Hour)), func(g *Target) { g.ServerName = "" }, KindTLSCertificate},
		{"expired", a.issue(t, tlsName, time.Now().Add(-time.Hour)), func(*Target) {}, KindTLSCertificate},
		{"unknown authority", other.issue(t, tlsName, time.Now().Add(time.Hour)), func(*Target) {}, KindTLSCertificate},
		{"the system's authorities", a.issue(t, tlsName, time.Now().Add(time.Hour)), func(g *Target) { g.RootCAs = nil }, KindTLSCertificate},
		{"not verified", other.issue(t, "other.example", time.Now().Add(-time.Hour)), func(g *Target) { g.InsecureSkipVerify = true }, KindNone},
	} {
		t.Run(tc.name, func(t *testing.T) {
			target := serveTLS(t, a, &tls.Config{Certificates: []tls.Certificate{tc.cert}})
			tc.change(target)
			c, err := p.Get(context.Background(), target)
			if tc.want != KindNone {
				wantKind(t, err, tc.want)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			say(t, c, 'x')
			p.Discard(c)
		})
	}
	if s := p.Stats(); s.Busy != 0 {
		t.Errorf("%+v", s)
	}
}

func TestClientCertificate(t *testing.T) {
	a := newAuthority(t)
	cert := a.issue(t, "edge", time.Now().Add(time.Hour))
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			target := serveTLS(t, a, &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: a.pool, MaxVersion: version})
			p := newPool(t, Options{})
			with := *target
			with.ClientCert = &cert
			c := get(t, p, &with)
			say(t, c, 'x')
			p.Put(c)

			// Without one: another connection, and a refusal. In TLS 1.3 the
			// client's handshake is over before the server sees its
			// certificate, so that the refusal comes with the first read.
			c, err := p.Get(context.Background(), target)
			if err == nil {
				if c.Reused() {
					t.Fatal("shares a connection made with a certificate")
				}
				err = trySay(c, 'x')
				p.Discard(c)
			}
			if kind := KindOf(err); kind != KindTLSAlert {
				t.Fatalf("%v is of kind %v, want %v", err, kind, KindTLSAlert)
			}
			id, description, ok := AlertOf(err)
			// handshake_failure, certificate_required
			if want := map[uint16]uint8{tls.VersionTLS12: 40, tls.VersionTLS13: 116}[version]; !ok || id != want || description == "" {
				t.Errorf("AlertOf = %d, %q, %v, want alert %d", id, description, ok, want)
			}
		})
	}
}

func TestTLSMinimumVersion(t *testing.T) {
	a := newAuthority(t)
	target := serveTLS(t, a, &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})
	p := newPool(t, Options{})
	_, err := p.Get(context.Background(), target)
	wantKind(t, err, KindTLSAlert)
}

// Origins that do not do TLS as they should, each on a connection of its own.
func TestTLSHandshakeFails(t *testing.T) {
	for _, tc := range []struct {
		name string
		deed func(c net.Conn)
		want Kind
	}{
		{"silent", func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }, KindTLSTimeout},
		{"not TLS", func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n") }, KindTLSProtocol},
		{"closes", func(c net.Conn) { _, _ = c.Read(make([]byte, 4096)) }, KindTLSProtocol},
		{"resets", func(c net.Conn) {
			_, _ = c.Read(make([]byte, 4096))
			_ = c.(*net.TCPConn).SetLinger(0)
		}, KindTLSProtocol},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			wg.Go(func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					tc.deed(c)
					c.Close()
				}
			})
			defer wg.Wait()
			defer l.Close()
			o := Options{TLSTimeout: patience}
			if tc.want == KindTLSTimeout {
				o.TLSTimeout = 200 * time.Millisecond
			}
			p := newPool(t, o)
			_, err = p.Get(context.Background(), &Target{Network: "tcp", Address: l.Addr().String(), Scheme: SchemeHTTPS, ServerName: tlsName})
			wantKind(t, err, tc.want)
			if s := p.Stats(); s.Busy != 0 || s.Failed != 1 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// TLS has things to say to itself while a connection is idle. Session tickets
// come after the handshake, and where nothing has been read yet they lie on the
// socket: that is not the origin speaking.
func TestTicketsAreSilence(t *testing.T) {
	a := newAuthority(t)
	// Asking for a certificate delays crypto/tls's tickets until after the
	// client's part of the handshake.
	target := serveTLS(t, a, &tls.Config{MinVersion: tls.VersionTLS13, ClientAuth: tls.RequestClientCert})
	for _, sweep := range []time.Duration{time.Hour, time.Millisecond} {
		p := newPool(t, Options{SweepInterval: sweep})
		c := get(t, p, target)
		eventually(t, "the ticket arrives", func() bool { return peekBeside(c) == spoke })
		p.Put(c)
		if sweep < time.Second {
			eventually(t, "the sweep has read the ticket, and given it back", func() bool {
				return peekBeside(c) == silent && p.Stats().Idle == 1
			})
		}
		again := get(t, p, target)
		if again != c {
			t.Fatal("a ticket was taken for the origin speaking out of turn")
		}
		say(t, again, 'x')
		p.Put(again)
	}
}

// peekBeside peeks at the socket of a connection that may be another's.
func peekBeside(c *Conn) silence {
	var l look
	l.init()
	return l.peek(c.socket.raw)
}

// corked is a connection whose writes wait for flush, so that several TLS
// records travel as one segment.
type corked struct {
	net.Conn
	buf  bytes.Buffer
	cork bool
}

func (c *corked) Write(p []byte) (int, error) {
	if c.cork {
		return c.buf.Write(p)
	}
	return c.Conn.Write(p)
}

func (c *corked) flush() error {
	c.cork = false
	_, err := c.Conn.Write(c.buf.Bytes())
	return err
}

// What may come with or after an answer over TLS, and must not be taken for
// silence: also where TLS has read it ahead, so that the socket has nothing.
func TestIdleTLSMustBeSilent(t *testing.T) {
	a := newAuthority(t)
	config := &tls.Config{Certificates: []tls.Certificate{a.issue(t, tlsName, time.Now().Add(time.Hour))}}
	for _, tc := range []struct {
		name  string
		deed  func(c *tls.Conn)
		count func(Stats) int64
	}{
		{"one more record", func(c *tls.Conn) { _, _ = c.Write([]byte("more")) }, func(s Stats) int64 { return s.Spoke }},
		{"close_notify", func(c *tls.Conn) { _ = c.CloseWrite() }, func(s Stats) int64 { return s.ClosedByPeer }},
		{"nothing", func(c *tls.Conn) {}, func(s Stats) int64 { return s.Reused }},
	} {
		for _, together := range []bool{true, false} {
			name := tc.name
			if together {
				name += ", in one segment with the answer"
			}
			t.Run(name, func(t *testing.T) {
				l, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				answered, done := make(chan struct{}), make(chan struct{})
				var wg sync.WaitGroup
				wg.Go(func() {
					nc, err := l.Accept()
					if err != nil {
						return
					}
					defer nc.Close()
					cork := &corked{Conn: nc}
					c := tls.Server(cork, config)
					var b [1]byte
					if _, err := io.ReadFull(c, b[:]); err != nil {
						t.Error(err)
						return
					}
					cork.cork = together
					_, _ = c.Write(b[:])
					if !together {
						<-answered
					}
					tc.deed(c)
					if together {
						_ = nc.SetWriteDeadline(time.Time{}) // CloseWrite sets one
						_ = cork.flush()
					}
					<-done
				})
				defer wg.Wait()
				defer l.Close()
				defer close(done)
				p := newPool(t, Options{SweepInterval: time.Hour})
				target := &Target{Network: "tcp", Address: l.Addr().String(), Scheme: SchemeHTTPS, ServerName: tlsName, RootCAs: a.pool}
				c := get(t, p, target)
				say(t, c, 'x')
				close(answered)
				if !together && tc.name != "nothing" {
					eventually(t, "the origin's deed arrives", func() bool { return peekBeside(c) != silent })
				}
				p.Put(c)
				g, err := p.group(target)
				if err != nil {
					t.Fatal(err)
				}
				// Not Get, which would connect anew: the origin takes no more.
				idle, _, err := g.take(time.Now(), false)
				if err != nil || idle != c {
					t.Fatalf("take = %v, %v", idle, err)
				}
				if ok := g.usable(c, time.Now()); ok != (tc.name == "nothing") {
					t.Errorf("usable = %v", ok)
				} else if s := p.Stats(); !ok && tc.count(s) != 1 {
					t.Errorf("%+v", s)
				}
				p.Discard(c)
			})
		}
	}
}
