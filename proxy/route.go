package proxy

import (
	"bytes"
	"net/netip"
	"time"

	"edge/cache/lock"
	"edge/cache/statemachine"
	"edge/message"
	"edge/pool"
	"edge/wire/h1"
)

// Route says what happens to the requests it matches: where they go, and how
// they are cached. Read-only once in use.
type Route struct {
	// Host is a host without port, lower-cased, or "*.suffix" for every name
	// below suffix; empty matches any.
	Host string
	// Path is an exact path, or a prefix before a final "*"; empty or "/*"
	// matches any.
	Path string

	Origin *Origin
	Policy *statemachine.Policy
	// Bypass, if not nil, says which requests are passed on only, and Strip what
	// is taken from them all.
	Strip  *Strip
	Bypass *Bypass
	Key    KeyRules
	// QueryContent is how many bytes of a QUERY's content are held so that its
	// answer can be cached; 0: DefaultQueryContent, <0: none.
	QueryContent int64
	// IgnoreNoVarySearch: responses answer only the query that they answered,
	// whatever their No-Vary-Search says.
	IgnoreNoVarySearch bool
	Lock               lock.Options
	// Timeouts of tunnels, after an upgrade.
	TunnelIdle time.Duration
	// Upgrade: requests for another protocol are passed on; else they are
	// forwarded as if they had not asked.
	Upgrade bool
	// KeepForwarded: X-Forwarded-Host and its like reach the origin as the
	// client sent them, and are part of the key. (X-Forwarded-For reaches it
	// too, and is not: it differs for every client.)
	KeepForwarded bool
	// DropTargeted: clients do not get the targeted fields that the policy
	// lists.
	DropTargeted bool
	// KeepTags: clients get the fields that tags are in. TagFields are more
	// such fields, beside Surrogate-Key and Cache-Tag.
	KeepTags  bool
	TagFields [][]byte
	// Purge says who may use the method PURGE; nil: nobody.
	Purge *PurgeMethod
}

// Origin is a named group of endpoints and how to talk to them.
type Origin struct {
	Name string
	// Host is sent as Host; nil: the client's.
	Host      []byte
	Endpoints []*pool.Target
	Balancer  Balancer
	// Pool holds this origin's connections.
	Pool *pool.Pool
	// Client are the codec's bounds and timeouts.
	Client h1.ClientOptions
	// Attempts is how many times a request that can be replayed is tried, in
	// all, on different endpoints where there are several.
	Attempts int
}

// Balancer picks endpoints. Implemented by lb. Safe for concurrent use.
type Balancer interface {
	// Pick returns the index of an endpoint for which tried is false, or
	// false where none is left.
	Pick(tried func(int) bool) (int, bool)
	// Report says how a connection attempt or exchange with it went.
	Report(endpoint int, ok bool)
}

// matches reports whether the route takes the request.
func (r *Route) matches(req *message.Request) bool {
	return matchHost(r.Host, req.Authority) && matchPath(r.Path, req.Path())
}

func matchHost(pattern string, authority []byte) bool {
	if pattern == "" {
		return true
	}
	host := hostOf(authority)
	if len(pattern) > 1 && pattern[0] == '*' {
		suffix := pattern[1:]
		return len(host) > len(suffix) && string(host[len(host)-len(suffix):]) == suffix
	}
	return string(host) == pattern
}

// hostOf cuts the port off an authority.
func hostOf(authority []byte) []byte {
	i := bytes.LastIndexByte(authority, ':')
	if i < 0 || bytes.IndexByte(authority[i:], ']') >= 0 {
		return authority
	}
	return authority[:i]
}

func matchPath(pattern string, path []byte) bool {
	if pattern == "" || pattern == "/*" {
		return true
	}
	if n := len(pattern) - 1; pattern[n] == '*' {
		return len(path) >= n && string(path[:n]) == pattern[:n]
	}
	return string(path) == pattern
}

// route returns the first route that matches, nil without one.
func (t *table) route(req *message.Request) *Route {
	for _, r := range t.routes {
		if r.matches(req) {
			return r
		}
	}
	return nil
}

// table is one configuration of the proxy. Replaced whole on reload; an
// exchange keeps the one it began with.
type table struct {
	routes  []*Route
	trusted []netip.Prefix
}

// trusts reports whether addr's word about the client is taken.
func (t *table) trusts(addr netip.Addr) bool {
	for _, p := range t.trusted {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}
