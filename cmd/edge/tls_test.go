package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// authority signs certificates for tests.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	n    int64
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	a.cert, err = x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	a.key = key
	a.write("ca.pem", "CERTIFICATE", der)
	return a
}

// path names a file of the authority's.
func (a *authority) path(name string) string { return filepath.Join(a.dir, name) }

func (a *authority) write(name, kind string, der []byte) {
	a.t.Helper()
	if err := os.WriteFile(a.path(name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
}

// issue writes FILE.pem and FILE.key for a host.
func (a *authority) issue(file, host string) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	a.n++
	template := &x509.Certificate{SerialNumber: big.NewInt(1 + a.n), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	a.write(file+".pem", "CERTIFICATE", der)
	a.write(file+".key", "PRIVATE KEY", keyDER)
}

// roots believes the authority.
func (a *authority) roots() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

// client verifies name, whatever address it connects to.
func (a *authority) client(name string) *http.Transport {
	return &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: a.roots(), ServerName: name}}
}

// tlsOrigin is an origin over TLS that wants a client's certificate.
func tlsOrigin(t *testing.T, a *authority, h http.HandlerFunc) string {
	t.Helper()
	a.issue("origin", "origin.example")
	pair, err := tls.LoadX509KeyPair(a.path("origin.pem"), a.path("origin.key"))
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(h)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: a.roots()}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.URL
}

func TestTLSOnBothSides(t *testing.T) {
	a := newAuthority(t)
	origin := tlsOrigin(t, a, fresh(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "for %s by %s", r.TLS.PeerCertificates[0].Subject.CommonName, r.TLS.ServerName)
	}))
	for _, host := range []string{"one", "two", "edge"} {
		a.issue(host, host+".example")
	}
	p := launch(t, "run", "-c", file(t, fmt.Sprintf(`version: 1
listeners:
  - address: 127.0.0.1:0
    tls:
      certificates: [{cert: %[2]s/one.pem, key: %[2]s/one.key}, {cert: %[2]s/two.pem, key: %[2]s/two.key}]
admin: {address: "127.0.0.1:0"}
origins:
  app:
    endpoints: [{url: "%[1]s"}]
    tls: {server_name: origin.example, ca: %[2]s/ca.pem, cert: %[2]s/edge.pem, key: %[2]s/edge.key}
routes: [{match: {path: /*}, origin: app}]
`, origin, a.dir)))
	url := strings.Replace(p.url(0), "http:", "https:", 1)
	getBy(t, a.client("one.example"), url+"/").want(t, 200, "edge; fwd=uri-miss; stored", "for edge.example by origin.example")
	getBy(t, a.client("two.example"), url+"/").want(t, 200, "edge; hit", "for edge.example by origin.example")
	if _, err := a.client("other.example").RoundTrip(mustRequest(t, url)); err == nil {
		t.Error("a certificate for another name was believed")
	}
	before := leaf(t, a, url, "one.example")
	a.issue("one", "one.example") // renewed, under its old name
	p.reload()
	if after := leaf(t, a, url, "one.example"); after == before {
		t.Error("a reload did not take the renewed certificate")
	}

	before = leaf(t, a, url, "one.example")
	a.issue("one", "one.example")
	if err := os.WriteFile(a.path("two.pem"), []byte("half a fi"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.reload()
	if after := leaf(t, a, url, "one.example"); after != before {
		t.Error("a reload with a bad certificate changed the good ones")
	}
}

func mustRequest(t *testing.T, url string) *http.Request {
	t.Helper()
	r, err := http.NewRequest("GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// leaf is the serial number of the certificate shown for a name.
func leaf(t *testing.T, a *authority, url, name string) string {
	t.Helper()
	c := a.client(name)
	c.TLSClientConfig.MinVersion = tls.VersionTLS12
	nc, err := tls.Dial("tcp", strings.TrimPrefix(url, "https://"), c.TLSClientConfig)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	return nc.ConnectionState().PeerCertificates[0].SerialNumber.String()
}

func TestTLSOriginThatCannotBeBelieved(t *testing.T) {
	a, other := newAuthority(t), newAuthority(t)
	origin := tlsOrigin(t, a, numbered())
	p := launch(t, "run", "-c", file(t, fmt.Sprintf(`version: 1
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "127.0.0.1:0"}
origins:
  app:
    endpoints: [{url: "%s"}]
    tls: {server_name: origin.example, ca: %s/ca.pem}
routes: [{match: {path: /*}, origin: app}]
`, origin, other.dir)))
	answer := get(t, p.url(0)+"/")
	if answer.StatusCode != 502 || !strings.Contains(answer.Header.Get("Proxy-Status"), "tls_certificate_error") {
		t.Errorf("%d, Proxy-Status: %s", answer.StatusCode, answer.Header.Get("Proxy-Status"))
	}
}

func TestTLSListenerRefusesOldVersions(t *testing.T) {
	a := newAuthority(t)
	a.issue("one", "one.example")
	origin := originOf(t, numbered())
	p := launch(t, "run", "-c", file(t, strings.Replace(simple(origin.URL, ""), "address: 127.0.0.1:0\nadmin",
		fmt.Sprintf("address: 127.0.0.1:0\n    tls: {certificates: [{cert: %[1]s/one.pem, key: %[1]s/one.key}]}\nadmin", a.dir), 1)))
	address := p.node.server.Addrs()[0].String()
	for _, c := range []struct {
		change func(*tls.Config)
		ok     bool
	}{
		{func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }, false},
		{func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }, true},
		{func(c *tls.Config) { c.NextProtos = []string{"http/1.1"} }, true},
		{func(c *tls.Config) { c.NextProtos = []string{"h2"} }, false},
	} {
		cfg := &tls.Config{RootCAs: a.roots(), ServerName: "one.example"}
		c.change(cfg)
		nc, err := tls.Dial("tcp", address, cfg)
		if err == nil {
			nc.Close()
		}
		if (err == nil) != c.ok {
			t.Errorf("versions %x to %x, ALPN %v: %v", cfg.MinVersion, cfg.MaxVersion, cfg.NextProtos, err)
		}
	}
}
