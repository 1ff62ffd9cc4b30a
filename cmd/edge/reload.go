package main

import (
	"errors"
	"strings"

	"edge/config"
)

// taken lists the keys that a reload changes; every other key waits for a
// restart.
var taken = []string{"routes", "origins", "trusted_proxies", "limits.origin", "timeouts.origin", "logging.level"}

// reload reads the configuration again and takes from it what can change in a
// running process. A bad one changes nothing: its errors are logged, each on
// its own line, and the old one goes on.
func (n *node) reload() error {
	next, err := config.Load(n.opt.file)
	if err == nil {
		err = n.take(next)
	}
	n.metrics.Reloaded(err == nil)
	if err == nil {
		return nil
	}
	var list config.Errors
	if errors.As(err, &list) {
		for _, e := range list {
			n.log.Error("configuration refused", "error", e.Error())
		}
	} else {
		n.log.Error("configuration refused", "error", err)
	}
	n.log.Error("the old configuration goes on", "file", n.opt.file)
	return err
}

// take puts next in use, all of it or nothing.
func (n *node) take(next *config.Config) error {
	routes, origins, err := n.buildRoutes(next)
	if err != nil {
		return err
	}
	renew, err := n.readCertificates()
	if err != nil {
		for name, o := range origins {
			if n.origins[name] != o {
				o.proxied.Pool.Close()
			}
		}
		return err
	}
	if err := n.reloadTokens(); err != nil {
		n.log.Error("the tokens file is not read: the tokens stay as they were", "error", err)
	}
	for _, change := range config.Diff(n.config, next) {
		path, _, _ := strings.Cut(change, ": ")
		if isTaken(path) {
			n.log.Info("changed", "change", change)
		} else {
			n.log.Warn("changes with a restart only", "key", path, "change", change)
		}
	}
	renew()
	n.proxy.SetRoutes(routes, prefixes(next.TrustedProxies))
	n.setOrigins(origins)
	n.setLevel(next)
	n.adopt(next)
	return nil
}

// adopt makes next the configuration in use, less what waits for a restart, so
// that the next reload says again what does.
func (n *node) adopt(next *config.Config) {
	c := *n.config
	c.Routes, c.Origins, c.TrustedProxies = next.Routes, next.Origins, next.TrustedProxies
	c.Limits.Origin, c.Timeouts.Origin = next.Limits.Origin, next.Timeouts.Origin
	c.Logging.Level = next.Logging.Level
	n.config = &c
}

func isTaken(path string) bool {
	for _, t := range taken {
		if rest, ok := strings.CutPrefix(path, t); ok && (rest == "" || rest[0] == '.' || rest[0] == '[') {
			return true
		}
	}
	return false
}

// readCertificates reads the certificate files of the listeners again: they are
// renewed under their old names. renew puts them in use.
func (n *node) readCertificates() (renew func(), err error) {
	var all []error
	var uses []func()
	for i, certs := range n.certs {
		if certs == nil {
			continue
		}
		use, err := certs.Read(keyPairs(n.config.Listeners[i].TLS))
		all, uses = append(all, err), append(uses, use)
	}
	return func() {
		for _, use := range uses {
			use()
		}
	}, errors.Join(all...)
}
