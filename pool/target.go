package pool

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/netip"
	"strings"
)

// Target is everything that makes two connections different. It is comparable,
// and two Targets that are equal share their connections; certificates count
// as equal when they are the same object. The TLS fields mean nothing for
// SchemeHTTP and are best left empty there, or they divide what could be shared.
type Target struct {
	// Network is "tcp" ("tcp4", "tcp6"), or "unix".
	Network string
	// Address is host:port, or the path of a socket.
	Address string
	// Scheme is SchemeHTTP or SchemeHTTPS.
	Scheme string
	// Bind is the local IP address to connect from, empty for any.
	Bind string

	// ServerName is sent as SNI and is the name the certificate must be for.
	// Empty means the host in Address.
	ServerName string
	// InsecureSkipVerify accepts any certificate.
	InsecureSkipVerify bool
	// RootCAs are whom to believe; nil means the system's.
	RootCAs *x509.CertPool
	// ClientCert is shown to a server that asks; nil for none.
	ClientCert *tls.Certificate
	// ALPN is the protocols to offer, separated by commas, the preferred
	// first. Empty offers none.
	ALPN string
}

// The schemes of a Target.
const (
	SchemeHTTP  = "http"
	SchemeHTTPS = "https"
)

// String describes t for messages: "https://192.0.2.1:443 (www.example.com)".
func (t *Target) String() string {
	s := t.Scheme + "://" + t.Address
	if strings.HasPrefix(t.Network, "unix") {
		s = t.Scheme + "+unix:" + t.Address
	}
	if t.ServerName != "" {
		s += " (" + t.ServerName + ")"
	}
	return s
}

// sessionsPerTarget is how many TLS sessions a target keeps for resumption.
const sessionsPerTarget = 64

// tlsConfig returns the configuration for t, or nil where t is cleartext.
func (t *Target) tlsConfig() (*tls.Config, error) {
	switch t.Scheme {
	case SchemeHTTP:
		return nil, nil
	case SchemeHTTPS:
	default:
		return nil, errors.New("scheme is neither http nor https")
	}
	name := t.ServerName
	if name == "" && !strings.HasPrefix(t.Network, "unix") {
		host, _, err := net.SplitHostPort(t.Address)
		if err != nil {
			return nil, err
		}
		name = host
	}
	if name == "" && !t.InsecureSkipVerify {
		return nil, errors.New("no server name to verify the certificate against")
	}
	c := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		ServerName:         name,
		InsecureSkipVerify: t.InsecureSkipVerify,
		RootCAs:            t.RootCAs,
		ClientSessionCache: tls.NewLRUClientSessionCache(sessionsPerTarget),
	}
	if t.ClientCert != nil {
		c.Certificates = []tls.Certificate{*t.ClientCert}
	}
	if t.ALPN != "" {
		c.NextProtos = strings.Split(t.ALPN, ",")
	}
	return c, nil
}

// localAddr returns the address to connect from, nil for any.
func (t *Target) localAddr() (net.Addr, error) {
	if t.Bind == "" {
		return nil, nil
	}
	ip, err := netip.ParseAddr(t.Bind)
	if err != nil {
		return nil, err
	}
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(ip, 0)), nil
}
