package pool

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"reflect"
	"syscall"
)

// Kind is what went wrong with a connection, as finely as RFC 9209 section 2.3
// tells errors apart.
type Kind uint8

// The kinds.
const (
	// KindNone: no error that this package knows.
	KindNone Kind = iota
	// KindDNSTimeout: the origin's name did not resolve in time.
	KindDNSTimeout
	// KindDNS: the origin's name does not resolve.
	KindDNS
	// KindRefused: the origin refused the connection.
	KindRefused
	// KindUnroutable: there is no way to the address.
	KindUnroutable
	// KindUnavailable: connecting failed otherwise.
	KindUnavailable
	// KindConnectTimeout: not connected within Options.ConnectTimeout, or
	// before the caller's deadline.
	KindConnectTimeout
	// KindTLSTimeout: no handshake within Options.TLSTimeout.
	KindTLSTimeout
	// KindTLSProtocol: the handshake failed.
	KindTLSProtocol
	// KindTLSCertificate: the origin's certificate was not accepted.
	KindTLSCertificate
	// KindTLSAlert: the origin sent an alert; AlertOf says which.
	KindTLSAlert
	// KindExhausted: all connections the target may have are busy, and the line
	// is full or the wait in it was too long.
	KindExhausted
	// KindLocal: this machine can not connect: out of descriptors, or ports.
	KindLocal
	// KindTarget: the Target makes no sense.
	KindTarget
	// KindClosed: the pool is closed.
	KindClosed
	// KindCanceled: the caller's context was canceled.
	KindCanceled

	numKinds
)

// kindNames has the name for logs and metrics, and the error type of RFC 9209
// section 2.3 for Proxy-Status: none where there is no response to put it in.
var kindNames = [numKinds]struct{ name, proxyStatus string }{
	KindNone:           {"none", "proxy_internal_error"},
	KindDNSTimeout:     {"dns-timeout", "dns_timeout"},
	KindDNS:            {"dns", "dns_error"},
	KindRefused:        {"refused", "connection_refused"},
	KindUnroutable:     {"unroutable", "destination_ip_unroutable"},
	KindUnavailable:    {"unavailable", "destination_unavailable"},
	KindConnectTimeout: {"connect-timeout", "connection_timeout"},
	KindTLSTimeout:     {"tls-timeout", "connection_timeout"},
	KindTLSProtocol:    {"tls-protocol", "tls_protocol_error"},
	KindTLSCertificate: {"tls-certificate", "tls_certificate_error"},
	KindTLSAlert:       {"tls-alert", "tls_alert_received"},
	KindExhausted:      {"exhausted", "connection_limit_reached"},
	KindLocal:          {"local", "proxy_internal_error"},
	KindTarget:         {"target", "proxy_configuration_error"},
	KindClosed:         {"closed", "proxy_internal_error"},
	KindCanceled:       {"canceled", ""},
}

// String returns the kind's name for logs and metrics.
func (k Kind) String() string {
	if k >= numKinds {
		return "invalid"
	}
	return kindNames[k].name
}

// ProxyStatus returns the error type to put in a Proxy-Status field.
func (k Kind) ProxyStatus() string {
	if k >= numKinds {
		return kindNames[KindNone].proxyStatus
	}
	return kindNames[k].proxyStatus
}

// Timeout reports whether the answer for the kind is 504 rather than 502 or
// 503: RFC 9209 recommends it for every timeout.
func (k Kind) Timeout() bool {
	return k == KindDNSTimeout || k == KindConnectTimeout || k == KindTLSTimeout
}

// Error is why there is no connection.
type Error struct {
	Kind   Kind
	Op     string // what was tried: "connect", "TLS handshake" ...
	Target string // Target.String
	Err    error
}

// Error says what, where, and why.
func (e *Error) Error() string {
	return fmt.Sprintf("pool: %s to %s: %s: %v", e.Op, e.Target, e.Kind, e.Err)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

var (
	errClosed = errors.New("the pool is closed")
	errLine   = errors.New("all connections are busy and too many wait")
	errWaited = errors.New("all connections stayed busy for too long")
)

func (g *group) fail(kind Kind, op string, err error) *Error {
	return &Error{Kind: kind, Op: op, Target: g.target.String(), Err: err}
}

// KindOf names the kind of any error of a connection: of Get, and of reading or
// writing, where over TLS a refusal of our certificate can come as late as that.
func KindOf(err error) Kind {
	var e *Error
	var dns *net.DNSError
	switch {
	case err == nil:
		return KindNone
	case errors.As(err, &e):
		return e.Kind
	case errors.As(err, &dns):
		if dns.IsTimeout {
			return KindDNSTimeout
		}
		return KindDNS
	case isCertificateError(err):
		return KindTLSCertificate
	case isAlert(err):
		return KindTLSAlert
	case errors.Is(err, context.Canceled):
		return KindCanceled
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), errors.Is(err, syscall.ETIMEDOUT):
		return KindConnectTimeout
	case errors.Is(err, syscall.ECONNREFUSED):
		return KindRefused
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return KindUnroutable
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE), errors.Is(err, syscall.EADDRNOTAVAIL), errors.Is(err, syscall.ENOBUFS):
		return KindLocal
	}
	return KindNone
}

// kindOfContext is why a context that is done is done.
func kindOfContext(ctx context.Context) Kind {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return KindConnectTimeout
	}
	return KindCanceled
}

func isCertificateError(err error) bool {
	return errors.As(err, new(*tls.CertificateVerificationError)) ||
		errors.As(err, new(x509.HostnameError)) ||
		errors.As(err, new(x509.UnknownAuthorityError)) ||
		errors.As(err, new(x509.CertificateInvalidError))
}

func isAlert(err error) bool {
	_, _, ok := AlertOf(err)
	return ok
}

// AlertOf returns the number and the description of the TLS alert that the peer
// sent, where that is what err says.
func AlertOf(err error) (id uint8, description string, ok bool) {
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "remote error" || op.Err == nil {
		return 0, "", false
	}
	// crypto/tls has no exported type for it; it is a uint8.
	v := reflect.ValueOf(op.Err)
	if v.Kind() != reflect.Uint8 {
		return 0, "", false
	}
	return uint8(v.Uint()), op.Err.Error(), true
}
