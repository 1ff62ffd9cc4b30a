package main

import (
	"fmt"

	"edge/admin"
	"edge/cache/storage"
	"edge/config"
	"edge/proxy"
	"edge/purge"
)

// openLedger opens the purge journal and reads the tokens: what must stand
// before anything is stored or asked.
func (n *node) openLedger(clock storage.Clock) (err error) {
	if path := n.config.Admin.TokensFile; path != "" {
		if n.tokens, err = admin.LoadTokens(path); err != nil {
			n.tokens = nil
			return fmt.Errorf("admin.tokens_file: %w", err)
		}
	}
	o := purge.Options{Path: n.config.Journal.Path, Clock: clock, Logger: n.log}
	if o.Places, err = n.findDisks(); err != nil {
		return err
	}
	for _, p := range o.Places {
		if p.Away == nil {
			o.Positions = append(o.Positions, p.Position)
		}
	}
	if n.ledger, err = purge.Open(o); err != nil {
		n.ledger = nil
		key := "journal.path"
		if o.Path == "" {
			key = "cache.disk" // where the journal is then
		}
		return fmt.Errorf("%s: %w", key, err)
	}
	return nil
}

// purges is what the admin API purges by.
func (n *node) purges() *admin.Purges {
	return &admin.Purges{Ledger: n.ledger, Targets: n.proxy.PurgeTargets, Purged: n.proxy.PurgedURI}
}

// purgeMethod says who may use the method PURGE on a route; nil: nobody.
func (n *node) purgeMethod(c *config.RoutePurge) *proxy.PurgeMethod {
	if len(c.Addresses) == 0 && !c.Tokens {
		return nil
	}
	m := &proxy.PurgeMethod{Addresses: prefixes(c.Addresses)}
	if c.Tokens && n.tokens != nil {
		m.Token = func(secret []byte) bool { return n.tokens.Allows(secret, admin.ScopePurge) }
	}
	return m
}

// fieldNames are names as the proxy has them.
func fieldNames(list []config.FieldName) [][]byte {
	var names [][]byte
	for _, name := range list {
		names = append(names, []byte(name))
	}
	return names
}

// reloadTokens reads the tokens file in use again; where it is bad, the tokens
// stay as they were.
func (n *node) reloadTokens() error {
	if n.tokens == nil {
		return nil
	}
	return n.tokens.Load(n.config.Admin.TokensFile)
}
