package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"math/big"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// writePair writes a self-signed certificate and its key.
func writePair(t *testing.T, certFile, keyFile string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"example.com"}, NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		certFile: {Type: "CERTIFICATE", Bytes: cert},
		keyFile:  {Type: "PRIVATE KEY", Bytes: der},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// mustParse parses text, completed with the blocks it leaves out.
func mustParse(t *testing.T, text string) *Config {
	t.Helper()
	c, err := Parse("edge.yaml", []byte(completed(text)))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestThePlansExample: of the example in the plan, exactly what is not built yet
// is refused, and without it the example says what it seems to.
func TestThePlansExample(t *testing.T) {
	data, err := os.ReadFile("testdata/design.yaml")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "site.pem"), filepath.Join(dir, "site.key")
	writePair(t, cert, key)

	_, err = Parse(filepath.Join(dir, "edge.yaml"), data)
	if err == nil {
		t.Fatal("no error")
	}
	want := `
edge.yaml:4:21: listeners[0].protocols[1]: h2 is not built yet: use h1
edge.yaml:13:5: origins.app.health: not built yet (active health checks): remove the key`
	if diff := cmp.Diff(want, "\n"+strings.ReplaceAll(err.Error(), dir+"/", "")); diff != "" {
		t.Fatalf("errors differ (-want +got):\n%s", diff)
	}

	var kept []string
	for line := range strings.Lines(strings.ReplaceAll(string(data), "[h1, h2]", "[h1]")) {
		if !strings.Contains(line, "tokens_file") && !strings.Contains(line, "health:") {
			kept = append(kept, line)
		}
	}
	c, err := Parse(filepath.Join(dir, "edge.yaml"), []byte(strings.Join(kept, "")))
	if err != nil {
		t.Fatal(err)
	}
	app := c.Origins["app"]
	route := &c.Routes[0]
	for _, test := range []struct {
		what      string
		got, want any
	}{
		{"listener", c.Listeners[0].Address, Address{"tcp", "0.0.0.0:8080"}},
		{"certificate", c.Listeners[0].TLS.Certificates, []Certificate{{cert, key}}},
		{"min_version", c.Listeners[0].TLS.MinVersion, "1.2"},
		{"admin", c.Admin.Address, Address{"tcp", "127.0.0.1:9901"}},
		{"name", app.Name, "app"},
		{"endpoints", app.Endpoints, []Endpoint{
			{URL{"http", "tcp", "10.0.0.1:9000", "10.0.0.1", "10.0.0.1:9000"}, 2},
			{URL{"http", "tcp", "10.0.0.2:9000", "10.0.0.2", "10.0.0.2:9000"}, 1},
		}},
		{"memory", c.Cache.Memory, Memory{Size: 1 << 30, MaxObject: 128 << 20}},
		{"disk", c.Cache.Disk, []Disk{{"/var/cache/edge", 100 << 30}}},
		{"match", route.Match, Match{HostPattern{Name: "www.example.com"}, PathPattern{"/static/", true}}},
		{"match of the last", c.Routes[1].Match, Match{Path: PathPattern{"/", true}}},
		{"query", route.Cache.Key.Query, KeyQuery{Drop: []NamePattern{{"utm_", true}}, Sort: true}},
		{"ttl", route.Cache.TTL, TTL{time.Hour, map[int]time.Duration{404: 10 * time.Second}}},
		{"ttl of the last", c.Routes[1].Cache.TTL, TTL{Default: None}},
		{"stale", route.Cache.Stale, Stale{time.Minute, 24 * time.Hour, time.Hour, None, None}},
		{"lock", route.Cache.Lock, Lock{5 * time.Second, 30 * time.Second, 8, 16384, 2}},
		{"access log", *c.Logging.Access, AccessLog{"stdout", "json", 8192}},
		{"targeted", route.Targeted, []FieldName{"CDN-Cache-Control"}},
		{"grace", c.Shutdown.Grace, 30 * time.Second},
	} {
		if diff := cmp.Diff(test.want, test.got); diff != "" {
			t.Errorf("%s differs (-want +got):\n%s", test.what, diff)
		}
	}
}

// TestTheExampleFileIsValid reads the example that the documentation offers.
func TestTheExampleFileIsValid(t *testing.T) {
	if _, err := Load("../docs/edge.example.yaml"); err != nil {
		t.Fatal(err)
	}
}

// TestBlocksInherit: what listeners, origins and routes leave out is what the
// blocks at the top say, wherever in the file those stand.
func TestBlocksInherit(t *testing.T) {
	c := mustParse(t, `
listeners:
  - address: 127.0.0.1:1
    limits: {header_fields: 10}
  - address: 127.0.0.1:2
origins:
  a: {endpoints: [{url: "http://a"}], timeouts: {connect: 1s}}
  b: {endpoints: [{url: "http://b"}], limits: {connections: 5}}
routes:
  - {match: {path: /a}, origin: a, upgrade: false}
  - {match: {path: /b}, origin: b}
limits:
  listener: {header_fields: 20, header_bytes: 32KiB}
timeouts:
  origin: {connect: 2s, idle: 9s}
`)
	for _, test := range []struct {
		what      string
		got, want any
	}{
		{"own header_fields", c.Listeners[0].Limits.HeaderFields, 10},
		{"header_fields", c.Listeners[1].Limits.HeaderFields, 20},
		{"header_bytes", c.Listeners[0].Limits.HeaderBytes, Size(32 << 10)},
		{"default request_line", c.Listeners[0].Limits.RequestLine, Size(16 << 10)},
		{"own connect", c.Origins["a"].Timeouts.Connect, time.Second},
		{"connect", c.Origins["b"].Timeouts.Connect, 2 * time.Second},
		{"idle", c.Origins["a"].Timeouts.Idle, 9 * time.Second},
		{"idle connections, never more than all", c.Origins["b"].Limits.IdleConnections, 5},
	} {
		if diff := cmp.Diff(test.want, test.got); diff != "" {
			t.Errorf("%s differs (-want +got):\n%s", test.what, diff)
		}
	}
}

// TestDefaultsHoldForManyClients: the bounds on connections let a thousand
// clients, and many more, come from one address.
func TestDefaultsHoldForManyClients(t *testing.T) {
	l := mustParse(t, "").Listeners[0]
	if l.MaxConnectionsPerAddress < 1000 || l.MaxConnections < l.MaxConnectionsPerAddress {
		t.Errorf("max_connections %d, per address %d", l.MaxConnections, l.MaxConnectionsPerAddress)
	}
}

// TestForms: further ways to write things that are right.
func TestForms(t *testing.T) {
	c := mustParse(t, `
listeners:
  - address: unix:/run/edge.sock
  - address: "[::1]:443"
  - address: localhost:0
  - address: localhost:0
trusted_proxies: [10.0.0.0/8, 192.168.1.1, "2001:db8::/32", "::ffff:172.16.0.1"]
origins:
  a: {endpoints: [{url: "HTTPS://Example.COM/"}, {url: "https://example.com:8443"}, {url: "unix:/run/app.sock"}, {url: "http://[::1]"}]}
routes:
  - match: {host: "*.Example.com", path: /a*}
    origin: a
    targeted: []
    cache: {ttl: {default: 0, 500: 1d12h}, max_ttl: none, max_object: 10MB, key: {cookies: [A, a], query: {allow: [q, "*"]}}}
  - match: {host: "::1"}
    origin: a
  - match: {host: "*"}
    origin: a
`)
	prefix := func(s string) Prefix { return Prefix{netip.MustParsePrefix(s)} }
	for _, test := range []struct {
		what      string
		got, want any
	}{
		{"socket", c.Listeners[0].Address, Address{"unix", "/run/edge.sock"}},
		{"v6", c.Listeners[1].Address.String(), "[::1]:443"},
		{"trusted", c.TrustedProxies, []Prefix{prefix("10.0.0.0/8"), prefix("192.168.1.1/32"), prefix("2001:db8::/32"), prefix("172.16.0.1/32")}},
		{"endpoints", c.Origins["a"].Endpoints, []Endpoint{
			{URL{"https", "tcp", "example.com:443", "example.com", "example.com"}, 1},
			{URL{"https", "tcp", "example.com:8443", "example.com", "example.com:8443"}, 1},
			{URL{"http", "unix", "/run/app.sock", "", "localhost"}, 1},
			{URL{"http", "tcp", "[::1]:80", "::1", "[::1]"}, 1},
		}},
		{"match", c.Routes[0].Match, Match{HostPattern{"example.com", true}, PathPattern{"/a", true}}},
		{"v6 host", c.Routes[1].Match.Host, HostPattern{Name: "[::1]"}},
		{"any host", c.Routes[2].Match.Host, HostPattern{}},
		{"no targeted", len(c.Routes[0].Targeted), 0},
		{"ttl", c.Routes[0].Cache.TTL, TTL{0, map[int]time.Duration{500: 36 * time.Hour}}},
		{"max_ttl", c.Routes[0].Cache.MaxTTL, time.Duration(None)},
		{"max_object", c.Routes[0].Cache.MaxObject, Size(10e6)},
		{"cookies", c.Routes[0].Cache.Key.Cookies, []string{"A", "a"}},
	} {
		if diff := cmp.Diff(test.want, test.got, cmp.Comparer(func(a, b Prefix) bool { return a == b })); diff != "" {
			t.Errorf("%s differs (-want +got):\n%s", test.what, diff)
		}
	}
}

// TestCertificatesAreRead: pairs and authorities that are right are accepted, by
// paths relative to the file; a key of another certificate is not.
func TestCertificatesAreRead(t *testing.T) {
	dir := t.TempDir()
	writePair(t, filepath.Join(dir, "a.pem"), filepath.Join(dir, "a.key"))
	writePair(t, filepath.Join(dir, "b.pem"), filepath.Join(dir, "b.key"))
	text := completed(`
listeners:
  - address: 127.0.0.1:8443
    tls: {certificates: [{cert: a.pem, key: a.key}, {cert: b.pem, key: b.key}], min_version: 1.3}
origins:
  app:
    endpoints: [{url: "https://app"}]
    tls: {ca: b.pem, cert: a.pem, key: a.key, server_name: app.example.com}
`)
	file := filepath.Join(dir, "edge.yaml")
	c, err := Parse(file, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	want := OriginTLS{ServerName: "app.example.com", CA: filepath.Join(dir, "b.pem"), Cert: filepath.Join(dir, "a.pem"), Key: filepath.Join(dir, "a.key")}
	if diff := cmp.Diff(want, c.Origins["app"].TLS); diff != "" {
		t.Errorf("tls differs (-want +got):\n%s", diff)
	}
	_, err = Parse(file, []byte(strings.ReplaceAll(text, "key: b.key", "key: a.key")))
	if err == nil || !strings.Contains(err.Error(), "edge.yaml:4:60: listeners[0].tls.certificates[1].cert: ") || !strings.Contains(err.Error(), "private key does not match public key") {
		t.Errorf("a key of another certificate: %v", err)
	}
}

// TestForOrigin: without a file, everything goes to one origin under its own name.
func TestForOrigin(t *testing.T) {
	c, err := ForOrigin("https://example.com:8443/", "", "")
	if err != nil {
		t.Fatal(err)
	}
	o := c.Origins[c.Routes[0].Origin]
	if o == nil || o.Host != "example.com:8443" || o.Endpoints[0].URL.Host != "example.com" || o.Endpoints[0].URL.Address != "example.com:8443" {
		t.Errorf("origin %+v", o)
	}
	if got := c.Listeners[0].Address.String() + " " + c.Admin.Address.String(); got != "127.0.0.1:8080 127.0.0.1:9901" {
		t.Errorf("listens on %s", got)
	}
	// It is what the same would be in a file.
	same := mustParse(t, `
origins: {origin: {endpoints: [{url: "https://example.com:8443"}], host: "example.com:8443"}}
routes: [{match: {path: /*}, origin: origin}]
`)
	if diff := Diff(same, c); diff != nil {
		t.Errorf("differs from the file: %q", diff)
	}

	for _, test := range []struct{ url, listen, admin, want string }{
		{"example.com", "", "", `--origin: "example.com" is not an endpoint: write http://host:port, https://host:port or unix:/path`},
		{"http://a", "8080", "", `--listen: "8080" is not an address: write host:port, [v6]:port or unix:/path`},
		{"http://a", "", "x", `--admin: "x" is not an address: write host:port, [v6]:port or unix:/path`},
		{"http://a", "127.0.0.1:9901", "", "admin.address: 127.0.0.1:9901 is taken by listeners[0].address (127.0.0.1:9901)"},
	} {
		_, err := ForOrigin(test.url, test.listen, test.admin)
		if err == nil || err.Error() != test.want {
			t.Errorf("ForOrigin(%q, %q, %q):\n got %v\nwant %s", test.url, test.listen, test.admin, err, test.want)
		}
	}
}

// TestLoad: files that cannot be read, or are too large.
func TestLoad(t *testing.T) {
	dir := t.TempDir()
	if _, err := Load(filepath.Join(dir, "none.yaml")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	if _, err := Load(dir); err == nil {
		t.Error("a directory: no error")
	}
	large := filepath.Join(dir, "large.yaml")
	write := func(size int) {
		t.Helper()
		text := completed("")
		if err := os.WriteFile(large, []byte(text+"#"+strings.Repeat("x", size-len(text)-1)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(MaxFileSize)
	if _, err := Load(large); err != nil {
		t.Errorf("a file of the largest size: %v", err)
	}
	write(MaxFileSize + 1)
	if _, err := Load(large); err == nil || !strings.HasSuffix(err.Error(), "large.yaml:1:1: the file has more than 1MiB") {
		t.Errorf("a file that is too large: %v", err)
	}
}

// TestErrorsAsErrors: single errors can be had from what Parse returns.
func TestErrorsAsErrors(t *testing.T) {
	_, err := Parse("edge.yaml", []byte(completed("shutdown: {grace: 1}\nnode: {name: 1}\n")))
	var all Errors
	var one *Error
	if !errors.As(err, &all) || len(all) != 2 || !errors.As(err, &one) || one.Path != "shutdown.grace" || one.Line != 1 || one.Column != 19 {
		t.Errorf("%#v", err)
	}
}

// TestManyErrorsStayCheap: the work for a bounded file is bounded, whatever is
// wrong in it.
func TestManyErrorsStayCheap(t *testing.T) {
	for name, text := range map[string]string{
		"unknown keys": manyKeys(10000),
		"routes":       "routes:\n" + strings.Repeat(" - {match: {path: /a}, origin: b}\n", 5000),
		"listeners":    "listeners:\n" + strings.Repeat(" - {address: \"h:1\"}\n", 20000),
		"nesting":      strings.Repeat("[", 9000),
		"anchors":      "a: &a [" + strings.Repeat("*a,", 20000) + "]\n",
	} {
		start := time.Now()
		if _, err := Parse("edge.yaml", []byte(completed(text))); err == nil {
			t.Errorf("%s: no error", name)
		}
		if took := time.Since(start); took > time.Minute {
			t.Errorf("%s took %v", name, took)
		} else {
			t.Logf("%s: %v", name, took)
		}
	}
}

func manyKeys(n int) string {
	var out strings.Builder
	for i := range n {
		out.WriteString("listen")
		out.WriteString(strings.Repeat("x", i%7))
		out.WriteString(Size(i).String() + ": 1\n")
	}
	return out.String()
}
