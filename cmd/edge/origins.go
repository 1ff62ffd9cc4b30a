package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"reflect"
	"slices"
	"time"

	"edge/config"
	"edge/lb"
	"edge/pool"
	"edge/proxy"
	"edge/wire/h1"
)

// poolRetirement is how long the pool of an origin that a reload replaced stays
// open for exchanges that began before and have yet to fetch.
const poolRetirement = time.Minute

// dialer makes a connection to an endpoint.
type dialer = func(ctx context.Context, network, address string) (net.Conn, error)

// origin is a configured origin, built.
type origin struct {
	config  *config.Origin
	proxied *proxy.Origin
}

// retiredPool is a pool that ends when its timer fires, or with the node.
type retiredPool struct {
	pool  *pool.Pool
	timer *time.Timer
	since time.Time
}

// buildOrigin makes the pool and balancer of an origin.
func (n *node) buildOrigin(c *config.Origin) (*origin, error) {
	targets, err := targetsOf(c)
	if err != nil {
		return nil, err
	}
	weights := make([]int, len(c.Endpoints))
	for i, e := range c.Endpoints {
		weights[i] = e.Weight
	}
	balancer, err := lb.New(lb.Policy(c.Balance), weights, lb.Options{})
	if err != nil {
		return nil, fmt.Errorf("origins.%s: %w", c.Name, err)
	}
	o := &proxy.Origin{Name: c.Name, Endpoints: targets, Balancer: balancer, Client: clientOptions(c),
		Attempts: c.Retries.Attempts, Pool: pool.New(poolOptions(c, n.opt.dial))}
	if c.Host != "" {
		o.Host = []byte(c.Host)
	}
	return &origin{config: c, proxied: o}, nil
}

// targetsOf returns what an origin's endpoints are to the pool, in their order.
func targetsOf(c *config.Origin) ([]*pool.Target, error) {
	var roots *x509.CertPool
	if c.TLS.CA != "" {
		pem, err := os.ReadFile(c.TLS.CA)
		if err != nil {
			return nil, fmt.Errorf("origins.%s.tls.ca: %w", c.Name, err)
		}
		if roots = x509.NewCertPool(); !roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("origins.%s.tls.ca: %s holds no certificate", c.Name, c.TLS.CA)
		}
	}
	var shown *tls.Certificate
	if c.TLS.Cert != "" {
		cert, err := tls.LoadX509KeyPair(c.TLS.Cert, c.TLS.Key)
		if err != nil {
			return nil, fmt.Errorf("origins.%s.tls.cert: %w", c.Name, err)
		}
		shown = &cert
	}
	targets := make([]*pool.Target, len(c.Endpoints))
	for i := range c.Endpoints {
		u := &c.Endpoints[i].URL
		t := &pool.Target{Network: u.Network, Address: u.Address, Scheme: u.Scheme}
		if u.Scheme == pool.SchemeHTTPS {
			t.ServerName, t.InsecureSkipVerify = c.TLS.ServerName, c.TLS.InsecureSkipVerify
			if t.ServerName == "" {
				t.ServerName = u.Host
			}
			t.RootCAs, t.ClientCert, t.ALPN = roots, shown, "http/1.1"
		}
		targets[i] = t
	}
	return targets, nil
}

// poolOptions are the pool's bounds. To the pool 0 means its default, where to
// the file it means none.
func poolOptions(c *config.Origin, dial dialer) pool.Options {
	l, t := &c.Limits, &c.Timeouts
	return pool.Options{
		Dial:             dial,
		MaxPerTarget:     l.Connections,
		MaxIdlePerTarget: orNone(l.IdleConnections), MaxIdle: orNone(l.IdleConnections * len(c.Endpoints)),
		MaxWaiters: orNone(l.Waiting), WaitTimeout: t.Wait,
		IdleTimeout: t.Idle, MaxLifetime: t.Lifetime,
		ConnectTimeout: t.Connect, TLSTimeout: t.TLS,
	}
}

// orNone turns a 0 that means none into a negative number that does.
func orNone[T int | time.Duration](v T) T {
	if v == 0 {
		return -1
	}
	return v
}

// clientOptions are the codec's bounds towards an origin.
func clientOptions(c *config.Origin) h1.ClientOptions {
	l, t := &c.Limits, &c.Timeouts
	return h1.ClientOptions{
		Limits: h1.Limits{HeadBytes: int(l.HeaderBytes), FieldCount: l.HeaderFields, TrailerBytes: int(l.TrailerBytes),
			ChunkLine: int(l.ChunkLine), Interims: l.Interims},
		Timeouts: h1.Timeouts{Head: t.FirstByte, BodyRead: t.BetweenBytes, Write: t.Write},
	}
}

// setOrigins puts origins in use. The pools that are then in nobody's use end a
// while later.
func (n *node) setOrigins(next map[string]*origin) {
	n.originsMu.Lock()
	before := n.origins
	n.origins = next
	n.originsMu.Unlock()
	n.retired = slices.DeleteFunc(n.retired, func(r *retiredPool) bool { return time.Since(r.since) > 2*poolRetirement })
	for name, o := range before {
		if kept := next[name]; kept == nil || kept.proxied.Pool != o.proxied.Pool {
			p := o.proxied.Pool
			n.retired = append(n.retired, &retiredPool{p, time.AfterFunc(poolRetirement, p.Close), time.Now()})
		}
	}
}

// unchanged returns the origin in use that is configured as c is, nil where it
// is not: then its connections can be kept. What a certificate's file holds may
// have changed though its name has not.
func (n *node) unchanged(c *config.Origin) *origin {
	o := n.origins[c.Name]
	if o == nil || c.TLS.CA != "" || c.TLS.Cert != "" || !reflect.DeepEqual(o.config, c) {
		return nil
	}
	return o
}

// closeOrigins ends every pool.
func (n *node) closeOrigins() {
	for _, r := range n.retired {
		r.timer.Stop()
		r.pool.Close()
	}
	for _, o := range n.origins {
		o.proxied.Pool.Close()
	}
}
