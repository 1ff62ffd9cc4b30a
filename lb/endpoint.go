package lb

import (
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Endpoint is one address of an origin. The exported fields are the
// configuration and do not change once a Balancer has it.
type Endpoint struct {
	// ID names the endpoint in logs, metrics and the admin API: its URL,
	// unless given another.
	ID string
	// Scheme is "http" or "https".
	Scheme string
	// Network is "tcp" or "unix", Address host:port or the socket's path.
	Network, Address string
	// Authority is what the URL says: the host, and the port unless it is the
	// scheme's own. Empty for "unix".
	Authority string
	// ServerName is the host alone, for SNI. Empty for "unix".
	ServerName string
	// Weight is its share of the requests. Zero means 1.
	Weight int

	restUntil time.Time // under the rotation's mu
	resting   atomic.Bool
	picked    atomic.Uint64
	failed    atomic.Uint64
}

// config returns a new endpoint with e's configuration and no history.
func (e *Endpoint) config() *Endpoint {
	return &Endpoint{ID: e.ID, Scheme: e.Scheme, Network: e.Network, Address: e.Address,
		Authority: e.Authority, ServerName: e.ServerName, Weight: e.Weight}
}

// Resting reports whether e was left out at the last rebuilding of the schedule
// because it could not be connected to.
func (e *Endpoint) Resting() bool { return e.resting.Load() }

// Picked returns how often e was chosen.
func (e *Endpoint) Picked() uint64 { return e.picked.Load() }

// Failed returns how many attempts on e failed.
func (e *Endpoint) Failed() uint64 { return e.failed.Load() }

// ParseEndpoint reads http://host[:port], https://host[:port], or, for a Unix
// socket, unix:/path (http), http+unix:/path, https+unix:/path.
func ParseEndpoint(s string) (*Endpoint, error) {
	if scheme, path, ok := cutUnix(s); ok {
		if !strings.HasPrefix(path, "/") {
			return nil, fmt.Errorf("lb: endpoint %q: a socket's path is absolute", s)
		}
		return &Endpoint{ID: s, Scheme: scheme, Network: "unix", Address: path}, nil
	}
	u, err := url.Parse(s)
	if err != nil {
		return nil, fmt.Errorf("lb: endpoint %q: %w", s, err)
	}
	ownPort, ok := map[string]string{"http": "80", "https": "443"}[u.Scheme]
	if !ok {
		return nil, fmt.Errorf("lb: endpoint %q: want http://, https:// or unix:/", s)
	}
	if u.Path == "/" { // says nothing
		u.Path = ""
	}
	if u.Hostname() == "" || u.User != nil || u.Path != "" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.Opaque != "" {
		return nil, fmt.Errorf("lb: endpoint %q: want a scheme, a host, perhaps a port, and nothing else", s)
	}
	host, port := u.Hostname(), u.Port()
	if port == "" {
		port = ownPort
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return nil, fmt.Errorf("lb: endpoint %q: no such port", s)
	}
	authority := strings.ToLower(u.Host)
	if port == ownPort { // said or not
		authority = strings.TrimSuffix(authority, ":"+u.Port())
	}
	return &Endpoint{
		ID: s, Scheme: u.Scheme, Network: "tcp", Address: net.JoinHostPort(host, port),
		Authority: authority, ServerName: host,
	}, nil
}

func cutUnix(s string) (scheme, path string, ok bool) {
	for prefix, scheme := range map[string]string{"unix:": "http", "http+unix:": "http", "https+unix:": "https"} {
		if path, ok := strings.CutPrefix(s, prefix); ok {
			return scheme, path, true
		}
	}
	return "", "", false
}
