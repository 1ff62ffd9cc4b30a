package config

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// maxDefaultObject is the most that cache.memory.max_object is by default.
const maxDefaultObject = 1 << 30

// complete fills in what follows from other keys, and makes the paths of files
// absolute, taking relative ones as relative to dir.
func (d *decoder) complete(dir string) {
	c := d.config
	resolve := func(path *string) {
		if *path != "" && !filepath.IsAbs(*path) {
			*path = filepath.Join(dir, *path)
		}
	}
	for i := range c.Listeners {
		if t := c.Listeners[i].TLS; t != nil {
			for j := range t.Certificates {
				resolve(&t.Certificates[j].Cert)
				resolve(&t.Certificates[j].Key)
			}
		}
	}
	for name, o := range c.Origins {
		o.Name = name
		o.Limits.IdleConnections = min(o.Limits.IdleConnections, o.Limits.Connections)
		resolve(&o.TLS.CA)
		resolve(&o.TLS.Cert)
		resolve(&o.TLS.Key)
	}
	if c.Cache.Memory.MaxObject == 0 {
		c.Cache.Memory.MaxObject = min(c.Cache.Memory.Size/8, maxDefaultObject)
	}
	resolve(&c.Admin.TokensFile)
	resolve(&c.Journal.Path)
	if a := c.Logging.Access; a != nil && a.Path != "stdout" && a.Path != "stderr" {
		resolve(&a.Path)
	}
}

// validate reports whatever needs more than one key, or a look outside the
// file, to judge.
func (d *decoder) validate() {
	c := d.config
	d.checkAddresses()
	for i := range c.Listeners {
		if t := c.Listeners[i].TLS; t != nil {
			d.checkCertificates(t, element("listeners", i)+".tls.certificates")
		}
	}
	if !c.Admin.Address.Loopback() && c.Admin.TokensFile == "" {
		d.wrong("admin.address", "%s can be reached from other machines: set admin.tokens_file, or use a loopback address or a Unix socket", c.Admin.Address)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Origins)) {
		d.checkOrigin(c.Origins[name], child("origins", name))
	}
	if m := c.Cache.Memory; m.MaxObject > m.Size {
		d.wrong("cache.memory.max_object", "%s is more than cache.memory.size, which is %s", m.MaxObject, m.Size)
	}
	d.checkDisks(c.Cache.Disk)
	for i := range c.Routes {
		d.checkRoute(i)
	}
}

// checkDisks refuses one directory as two disks.
func (d *decoder) checkDisks(disks []Disk) {
	for i := range disks {
		for j := range i {
			if filepath.Clean(disks[i].Path) == filepath.Clean(disks[j].Path) {
				d.wrong(element("cache.disk", i)+".path", "%s is cache.disk[%d] already", disks[i].Path, j)
			}
		}
	}
}

// maxListeners is how many listeners there may be. Each is compared with each.
const maxListeners = 1000

// checkAddresses reports listeners that would be refused their address because
// another has it.
func (d *decoder) checkAddresses() {
	if n := len(d.config.Listeners); n > maxListeners {
		d.wrong("listeners", "there are %d listeners: at most %d", n, maxListeners)
		return
	}
	type place struct {
		path    string
		address Address
	}
	var all []place
	for i, l := range d.config.Listeners {
		all = append(all, place{element("listeners", i) + ".address", l.Address})
	}
	// The admin address comes last: where it is a default, the error is there.
	all = append(all, place{"admin.address", d.config.Admin.Address})
	for i, later := range all {
		for _, earlier := range all[:i] {
			if !sameAddress(earlier.address, later.address) {
				continue
			}
			d.wrong(later.path, "%s is taken by %s%s (%s)", later.address, earlier.path, d.onLine(earlier.path), earlier.address)
			break
		}
	}
}

// sameAddress reports whether only one of a and b can be listened on: they are
// equal, or of one port, and one of them is all addresses.
func sameAddress(a, b Address) bool {
	if a.Network != b.Network || a.Network == "unix" || a == (Address{}) {
		return a == b && a != Address{}
	}
	hostA, portA, _ := net.SplitHostPort(a.Address) // decoded, hence well formed
	hostB, portB, _ := net.SplitHostPort(b.Address)
	if strings.TrimLeft(portA, "0") != strings.TrimLeft(portB, "0") || strings.Trim(portA, "0") == "" {
		return false // two ports, or each any that is free
	}
	ipA, errA := netip.ParseAddr(hostA)
	ipB, errB := netip.ParseAddr(hostB)
	all := func(host string, ip netip.Addr) bool { return host == "" || ip.IsValid() && ip.IsUnspecified() }
	switch {
	case all(hostA, ipA) || all(hostB, ipB):
		// 0.0.0.0 leaves IPv6 addresses free; [::] takes IPv4's too.
		return !(ipA.Is4() && ipB.Is6() && !ipB.IsUnspecified() || ipB.Is4() && ipA.Is6() && !ipA.IsUnspecified())
	case errA == nil && errB == nil:
		return ipA.Unmap() == ipB.Unmap()
	}
	return strings.EqualFold(hostA, hostB)
}

// maxPEMSize bounds the files with certificates and keys, in bytes.
const maxPEMSize = 4 << 20

// readFile reads a file whole if it is a regular one of bounded size: a FIFO or
// a device could keep a reload waiting for ever.
func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a regular file", path)
	case info.Size() > maxPEMSize:
		return nil, fmt.Errorf("%s has more than %s", path, Size(maxPEMSize))
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(io.LimitReader(file, maxPEMSize))
}

// checkCertificates reports certificates that cannot be read or used.
func (d *decoder) checkCertificates(t *ListenerTLS, path string) {
	for i, c := range t.Certificates {
		d.checkPair(c.Cert, c.Key, element(path, i))
	}
}

// checkPair reports a certificate and key, at path.cert and path.key, that
// cannot be read or do not belong together. Empty names are reported elsewhere.
func (d *decoder) checkPair(cert, key, path string) {
	read := func(file, at string) []byte {
		if file == "" {
			return nil
		}
		data, err := readFile(file)
		if err != nil {
			d.wrong(at, "cannot be read: %v", err)
		}
		return data
	}
	certPEM, keyPEM := read(cert, path+".cert"), read(key, path+".key")
	if certPEM == nil || keyPEM == nil {
		return
	}
	if _, err := tls.X509KeyPair(certPEM, keyPEM); err != nil {
		d.wrong(path+".cert", "%s and %s are not a certificate and its key: %s", cert, key, strings.TrimPrefix(err.Error(), "tls: "))
	}
}

// maxEndpoints is how many endpoints an origin may have: as many as package lb
// balances.
const maxEndpoints = 256

// checkOrigin reports what does not fit together within an origin.
func (d *decoder) checkOrigin(o *Origin, path string) {
	secure := false
	if len(o.Endpoints) > maxEndpoints {
		d.wrong(path+".endpoints", "there are %d endpoints: at most %d", len(o.Endpoints), maxEndpoints)
		return
	}
	seen := make(map[URL]int)
	for i, e := range o.Endpoints {
		secure = secure || e.URL.Scheme == "https"
		at := element(path+".endpoints", i) + ".url"
		if first, again := seen[e.URL]; again && e.URL != (URL{}) {
			d.wrong(at, "%s is endpoints[%d] already: give that one more weight", e.URL, first)
			continue
		}
		seen[e.URL] = i
	}
	if o.TLS != (OriginTLS{}) && !secure && len(o.Endpoints) > 0 {
		d.wrong(path+".tls", "no endpoint of this origin is https")
	}
	if (o.TLS.Cert == "") != (o.TLS.Key == "") {
		d.wrong(path+".tls", "cert and key go together, and one is missing")
	}
	d.checkPair(o.TLS.Cert, o.TLS.Key, path+".tls")
	if o.TLS.CA != "" {
		if o.TLS.InsecureSkipVerify {
			d.wrong(path+".tls.insecure_skip_verify", "ca would count for nothing: choose one of the two")
		}
		if err := checkCA(o.TLS.CA); err != nil {
			d.wrong(path+".tls.ca", "%v", err)
		}
	}
}

func checkCA(file string) error {
	data, err := readFile(file)
	if err != nil {
		return fmt.Errorf("cannot be read: %w", err)
	}
	if !x509.NewCertPool().AppendCertsFromPEM(data) {
		return errors.New(file + " has no certificate in PEM")
	}
	return nil
}

// maxListedOrigins is how many origins an error about an unknown one names.
const maxListedOrigins = 10

// checkRoute reports what does not fit together within a route, and between it
// and what it refers to.
func (d *decoder) checkRoute(i int) {
	c := d.config
	r, path := &c.Routes[i], element("routes", i)
	at := path + ".origin"
	if d.nodes[at] != nil && !d.failed[at] && len(c.Origins) > 0 && d.nodes[child("origins", r.Origin)] == nil {
		names := slices.Sorted(maps.Keys(c.Origins))
		hint := didYouMean(r.Origin, names)
		if hint == "" && len(names) <= maxListedOrigins {
			hint = ": there is " + strings.Join(names, ", ")
		}
		d.wrong(at, "there is no origin %s%s", quote(r.Origin), hint)
	}
	d.checkReached(i)
	if r.Purge.Tokens && c.Admin.TokensFile == "" {
		d.wrong(path+".purge.tokens", "there are no tokens: set admin.tokens_file")
	}
	query := r.Cache.Key.Query
	at = path + ".cache.key.query"
	if query.Allow != nil && query.Drop != nil {
		d.wrong(at, "allow and drop exclude each other: what is not allowed is dropped")
	}
	if query.Allow != nil && len(query.Allow) == 0 {
		d.wrong(at+".allow", `the list is empty: to drop the whole query, write drop: ["*"]`)
	}
	d.checkFreshness(&r.Cache, path+".cache")
	d.checkStrip(r, path)
}

// checkStrip reports what a route takes from requests and yet wants in the key.
func (d *decoder) checkStrip(r *Route, path string) {
	for i, f := range r.Strip.Fields {
		if slices.ContainsFunc(r.Cache.Key.Fields, func(k FieldName) bool { return strings.EqualFold(string(k), string(f)) }) {
			d.wrong(element(path+".strip.fields", i), "%s is part of the key: there would be nothing of it", f)
		}
	}
	for i, c := range r.Strip.Cookies {
		if slices.ContainsFunc(r.Cache.Key.Cookies, c.Matches) {
			d.wrong(element(path+".strip.cookies", i), "%s strips a cookie that is part of the key", c)
		}
	}
}

// checkReached reports a route behind one that takes all its requests.
func (d *decoder) checkReached(i int) {
	at := element("routes", i) + ".match"
	if d.nodes[at] == nil || d.failed[at] {
		return
	}
	for j := range i {
		if !covers(d.config.Routes[j].Match, d.config.Routes[i].Match) {
			continue
		}
		earlier := element("routes", j) + ".match"
		if d.nodes[earlier] == nil || d.failed[earlier] {
			continue
		}
		d.wrong(at, "never reached: routes[%d]%s takes every such request", j, d.onLine(earlier))
		return
	}
}

// checkFreshness reports durations of a route that contradict one another.
func (d *decoder) checkFreshness(c *RouteCache, path string) {
	if c.Override && c.TTL.Default == None && len(c.TTL.Status) == 0 {
		d.wrong(path+".override", "there is nothing to override with: set ttl")
	}
	if c.MaxTTL != None {
		if c.TTL.Default > c.MaxTTL {
			d.wrong(path+".ttl.default", "%s is more than max_ttl, which is %s", FormatDuration(c.TTL.Default), FormatDuration(c.MaxTTL))
		}
		for _, status := range slices.Sorted(maps.Keys(c.TTL.Status)) {
			if ttl := c.TTL.Status[status]; ttl > c.MaxTTL {
				d.wrong(fmt.Sprintf("%s.ttl.%d", path, status), "%s is more than max_ttl, which is %s", FormatDuration(ttl), FormatDuration(c.MaxTTL))
			}
		}
	}
	s := c.Stale
	if s.MaxWhileRevalidate != None && s.WhileRevalidate > s.MaxWhileRevalidate {
		d.wrong(path+".stale.while_revalidate", "%s is more than max_while_revalidate, which is %s", FormatDuration(s.WhileRevalidate), FormatDuration(s.MaxWhileRevalidate))
	}
	if s.MaxIfError != None && s.IfError > s.MaxIfError {
		d.wrong(path+".stale.if_error", "%s is more than max_if_error, which is %s", FormatDuration(s.IfError), FormatDuration(s.MaxIfError))
	}
}

// covers reports whether every request that b matches, a matches too.
func covers(a, b Match) bool {
	switch {
	case a.Host == HostPattern{}, a.Host == b.Host:
	case a.Host.Wildcard && strings.HasSuffix(b.Host.Name, "."+a.Host.Name):
	default:
		return false
	}
	return a.Path == b.Path || a.Path.Prefix && strings.HasPrefix(b.Path.Path, a.Path.Path)
}
