package main

import (
	"net/netip"
	"time"

	"edge/cache/lock"
	"edge/cache/statemachine"
	"edge/config"
	"edge/message"
	"edge/proxy"
)

// buildRoutes makes the routes of a configuration, and the origins they lead to:
// those in use where nothing about them changes. Where it fails, what it has
// made is ended again and nothing in use has changed.
func (n *node) buildRoutes(c *config.Config) ([]*proxy.Route, map[string]*origin, error) {
	origins := make(map[string]*origin, len(c.Origins))
	for name, oc := range c.Origins {
		if kept := n.unchanged(oc); kept != nil {
			origins[name] = kept
			continue
		}
		o, err := n.buildOrigin(oc)
		if err != nil {
			for made, o := range origins {
				if n.origins[made] != o {
					o.proxied.Pool.Close()
				}
			}
			return nil, nil, err
		}
		origins[name] = o
	}
	tunnel := longestTunnel(c)
	routes := make([]*proxy.Route, len(c.Routes))
	for i := range c.Routes {
		routes[i] = buildRoute(&c.Routes[i], origins[c.Routes[i].Origin].proxied, tunnel)
		routes[i].Purge = n.purgeMethod(&c.Routes[i].Purge)
	}
	return routes, origins, nil
}

// longestTunnel is how long a tunnel may be silent: a route does not know which
// listener its requests come by, so the most patient of them counts.
func longestTunnel(c *config.Config) time.Duration {
	var most time.Duration
	for i := range c.Listeners {
		most = max(most, c.Listeners[i].Timeouts.Tunnel)
	}
	return most
}

func buildRoute(c *config.Route, o *proxy.Origin, tunnel time.Duration) *proxy.Route {
	return &proxy.Route{
		Host: hostOf(c.Match.Host), Path: c.Match.Path.String(),
		Origin: o, Policy: policyOf(c), Key: keyRules(&c.Cache.Key), Lock: lockOptions(&c.Cache.Lock),
		Bypass: bypass(&c.Cache.Bypass), Strip: strip(&c.Strip),
		QueryContent: orNever(c.Cache.QueryContent), IgnoreNoVarySearch: c.Cache.Key.NoVarySearch == "ignore",
		TunnelIdle: tunnel, Upgrade: c.Upgrade, KeepForwarded: c.KeepForwarded,
		DropTargeted: !c.KeepTargeted, KeepTags: c.KeepTags, TagFields: fieldNames(c.TagFields),
	}
}

// hostOf writes a pattern as the proxy reads it: empty for every host.
func hostOf(p config.HostPattern) string {
	if p == (config.HostPattern{}) {
		return ""
	}
	return p.String()
}

// policyOf says to the machine what a route decides.
func policyOf(c *config.Route) *statemachine.Policy {
	k := &c.Cache
	p := &statemachine.Policy{
		Disabled:                !k.Enabled,
		ObeyRequest:             c.RequestDirectives == "obey",
		DefaultTTL:              orUnset(k.TTL.Default),
		MaxTTL:                  orUnset(k.MaxTTL),
		Override:                k.Override,
		HeuristicMax:            message.Duration(k.HeuristicMax),
		StaleWhileRevalidate:    orZero(k.Stale.WhileRevalidate),
		MaxStaleWhileRevalidate: orUnset(k.Stale.MaxWhileRevalidate),
		StaleIfError:            orZero(k.Stale.IfError),
		MaxStaleIfError:         orUnset(k.Stale.MaxIfError),
		StaleDisconnected:       message.Duration(k.Stale.Disconnected),
		MaxObject:               int64(k.MaxObject),
		MinUses:                 k.MinUses,
		MinUsesWindow:           message.Duration(k.MinUsesWindow),
		LockTries:               k.Lock.Tries,
		HitForMiss:              message.Duration(k.HitForMiss),
		Chunk:                   statemachine.DefaultChunk,
		SetCookie:               setCookiePolicy(k.SetCookie),
	}
	for _, f := range c.Targeted {
		p.Targeted = append(p.Targeted, []byte(f))
	}
	if len(k.TTL.Status) > 0 {
		p.StatusTTL = make(map[int]statemachine.Duration, len(k.TTL.Status))
		for status, d := range k.TTL.Status {
			p.StatusTTL[status] = message.Duration(d)
		}
	}
	return p
}

// orUnset is d, where config.None is the machine's "no such bound".
func orUnset(d time.Duration) message.Duration {
	if d == config.None {
		return -1
	}
	return message.Duration(d)
}

// orZero is d, where config.None is none.
func orZero(d time.Duration) message.Duration {
	if d == config.None {
		return 0
	}
	return message.Duration(d)
}

func setCookiePolicy(s string) statemachine.SetCookiePolicy {
	switch s {
	case "store":
		return statemachine.SetCookieStore
	case "strip":
		return statemachine.SetCookieStrip
	}
	return statemachine.SetCookieExplicit
}

func keyRules(c *config.Key) proxy.KeyRules {
	k := proxy.KeyRules{QueryAllow: names(c.Query.Allow), QueryDrop: names(c.Query.Drop), QuerySort: c.Query.Sort}
	for _, f := range c.Fields {
		k.Fields = append(k.Fields, []byte(f))
	}
	for _, name := range c.Cookies {
		k.Cookies = append(k.Cookies, []byte(name))
	}
	return k
}

// bypass is nil where nothing bypasses.
func bypass(c *config.Bypass) *proxy.Bypass {
	if len(c.Cookies)+len(c.Fields)+len(c.Query) == 0 {
		return nil
	}
	b := &proxy.Bypass{Cookies: names(c.Cookies), Query: names(c.Query)}
	for _, f := range c.Fields {
		condition := proxy.FieldCondition{Name: []byte(f.Name)}
		if f.Value != "" {
			condition.Value = []byte(f.Value)
		}
		b.Fields = append(b.Fields, condition)
	}
	return b
}

// strip is nil where nothing is stripped.
func strip(c *config.Strip) *proxy.Strip {
	if len(c.Fields)+len(c.Cookies) == 0 {
		return nil
	}
	s := &proxy.Strip{Cookies: names(c.Cookies)}
	for _, f := range c.Fields {
		s.Fields = append(s.Fields, []byte(f))
	}
	return s
}

// orNever is a size where 0 is none, to a proxy for which 0 is the default.
func orNever(s config.Size) int64 {
	if s == 0 {
		return -1
	}
	return int64(s)
}

// names writes patterns out; nil stays nil, which means that there is no rule.
func names(patterns []config.NamePattern) []string {
	if patterns == nil {
		return nil
	}
	list := make([]string, len(patterns))
	for i, p := range patterns {
		list[i] = p.String()
	}
	return list
}

// lockOptions is how patient the requests of a route are. To the lock 0 means
// its default, where to the file it means none.
func lockOptions(c *config.Lock) lock.Options {
	return lock.Options{Wait: orNone(c.Wait), Age: c.Age, Alone: orNone(c.Alone), MaxWaiters: orNone(c.Waiting)}
}

func prefixes(list []config.Prefix) []netip.Prefix {
	all := make([]netip.Prefix, len(list))
	for i, p := range list {
		all[i] = p.Prefix
	}
	return all
}
