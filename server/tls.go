package server

import (
	"crypto/tls"
	"errors"
	"fmt"
	"sync/atomic"
)

// Certificates are the certificates of one listener. They can be replaced while
// it runs: connections keep what they began with.
type Certificates struct {
	now atomic.Pointer[[]tls.Certificate]
}

// KeyPair names the PEM files of a certificate chain and its private key.
type KeyPair struct{ Cert, Key string }

// Load reads the files and replaces what is there; on an error, which names
// every pair that is wrong, nothing changes.
func (c *Certificates) Load(pairs []KeyPair) error {
	use, err := c.Read(pairs)
	if err != nil {
		return err
	}
	use()
	return nil
}

// Read is Load in two steps, so that several listeners change together or not
// at all: it reads the files, and use replaces what is there.
func (c *Certificates) Read(pairs []KeyPair) (use func(), err error) {
	list := make([]tls.Certificate, 0, len(pairs))
	var all []error
	for _, p := range pairs {
		cert, err := tls.LoadX509KeyPair(p.Cert, p.Key)
		if err != nil {
			all = append(all, fmt.Errorf("server: certificate %s with key %s: %w", p.Cert, p.Key, err))
			continue
		}
		list = append(list, cert)
	}
	if len(pairs) == 0 {
		all = append(all, errors.New("server: no certificate"))
	}
	if len(all) > 0 {
		return nil, errors.Join(all...)
	}
	return func() { c.now.Store(&list) }, nil
}

// choose returns the first certificate that fits what the client asks for, else
// the first: it then fails or not as the client likes.
func (c *Certificates) choose(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	list := *c.now.Load()
	if len(list) > 1 {
		for i := range list {
			if hello.SupportsCertificate(&list[i]) == nil {
				return &list[i], nil
			}
		}
	}
	return &list[0], nil
}

// Config returns the configuration of a TLS listener for HTTP/1.1 that shows
// these certificates, which must have been loaded. minVersion is a constant of
// crypto/tls, at least TLS 1.2.
func (c *Certificates) Config(minVersion uint16) *tls.Config {
	return &tls.Config{
		MinVersion:     max(minVersion, tls.VersionTLS12),
		NextProtos:     []string{"http/1.1"},
		GetCertificate: c.choose,
	}
}
