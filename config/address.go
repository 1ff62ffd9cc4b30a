package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// Address is where to listen.
type Address struct {
	// Network is "tcp" or "unix", as net.Listen takes it.
	Network string
	// Address is host:port, where host is an IP address, a name, or empty for
	// all addresses; or the path of a Unix socket.
	Address string
}

// maxUnixPath is sizeof(sockaddr_un.sun_path) less its terminating zero.
const maxUnixPath = 107

// UnmarshalText reads host:port or unix:/path.
func (a *Address) UnmarshalText(text []byte) error {
	s := string(text)
	if path, isUnix := strings.CutPrefix(s, "unix:"); isUnix {
		if err := checkUnixPath(path); err != nil {
			return err
		}
		*a = Address{"unix", path}
		return nil
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return fmt.Errorf("%s is not an address: write host:port, [v6]:port or unix:/path", quote(s))
	}
	if _, err := netip.ParseAddr(host); host != "" && err != nil && !isHostname(host) {
		return fmt.Errorf("%s is not an address: its host is neither a name nor an IP address", quote(s))
	}
	if !isPort(port) {
		return fmt.Errorf("%s is not an address: its port is not a number from 0 to 65535", quote(s))
	}
	*a = Address{"tcp", s}
	return nil
}

// MarshalText writes a as UnmarshalText reads it.
func (a Address) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// String writes a as it stands in the file.
func (a Address) String() string {
	if a.Network == "unix" {
		return "unix:" + a.Address
	}
	return a.Address
}

// Loopback reports whether only this machine can connect to a: a Unix socket, a
// loopback address, or the name localhost.
func (a Address) Loopback() bool {
	if a.Network == "unix" {
		return true
	}
	host, _, err := net.SplitHostPort(a.Address)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}

func checkUnixPath(path string) error {
	switch {
	case !strings.HasPrefix(path, "/"):
		return fmt.Errorf("%s is not the path of a socket: write an absolute path, as in unix:/run/edge/edge.sock", quote("unix:"+path))
	case len(path) > maxUnixPath:
		return fmt.Errorf("the path of a socket may have at most %d bytes, not %d", maxUnixPath, len(path))
	case hasControl(path):
		return fmt.Errorf("%s is not the path of a socket: it has control characters", quote("unix:"+path))
	}
	return nil
}

// URL is where an endpoint is.
type URL struct {
	// Scheme is "http" or "https".
	Scheme string
	// Network is "tcp" or "unix", as net.Dial takes it.
	Network string
	// Address is host:port, the port always there; or the path of a Unix socket.
	Address string
	// Host is the URL's host in lower case, without port and brackets: the
	// default for the TLS server name. Empty for a Unix socket.
	Host string
	// Authority is the URL's authority as a Host field has it: host, and the
	// port if it is not the scheme's own. "localhost" for a Unix socket.
	Authority string
}

// UnmarshalText reads http://host[:port], https://host[:port] or unix:/path.
func (u *URL) UnmarshalText(text []byte) error {
	s := string(text)
	if path, isUnix := strings.CutPrefix(s, "unix:"); isUnix {
		if err := checkUnixPath(path); err != nil {
			return err
		}
		*u = URL{Scheme: "http", Network: "unix", Address: path, Authority: "localhost"}
		return nil
	}
	parsed, err := url.Parse(s)
	if err != nil || parsed.Scheme != "http" && parsed.Scheme != "https" || parsed.Host == "" {
		return fmt.Errorf("%s is not an endpoint: write http://host:port, https://host:port or unix:/path", quote(s))
	}
	switch {
	case parsed.User != nil:
		return errors.New("an endpoint has no user or password")
	case parsed.Path != "" && parsed.Path != "/":
		return fmt.Errorf("%s has a path: an endpoint is only a scheme, a host and a port", quote(s))
	case parsed.RawQuery != "" || parsed.ForceQuery || strings.Contains(s, "#"):
		return fmt.Errorf("%s has a query or fragment: an endpoint is only a scheme, a host and a port", quote(s))
	}
	host := strings.ToLower(parsed.Hostname())
	if !isIP(host) && !isHostname(host) {
		return fmt.Errorf("%s is not an endpoint: its host is neither a name nor an IP address", quote(s))
	}
	own := map[string]string{"http": "80", "https": "443"}[parsed.Scheme]
	port := parsed.Port()
	if port == "" {
		port = own
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("%s is not an endpoint: its port is not a number from 1 to 65535", quote(s))
	} else {
		port = strconv.FormatUint(n, 10) // 080 and 80 are one port
	}
	authority := net.JoinHostPort(host, port)
	*u = URL{Scheme: parsed.Scheme, Network: "tcp", Address: authority, Host: host, Authority: authority}
	if port == own {
		u.Authority = strings.TrimSuffix(authority, ":"+port)
	}
	return nil
}

// MarshalText writes u as UnmarshalText reads it.
func (u URL) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// String writes u as it stands in the file, in lower case and without the
// scheme's own port.
func (u URL) String() string {
	switch {
	case u == (URL{}):
		return ""
	case u.Network == "unix":
		return "unix:" + u.Address
	}
	return u.Scheme + "://" + u.Authority
}

// Prefix is a range of addresses.
type Prefix struct{ netip.Prefix }

// UnmarshalText reads an address or a CIDR prefix without host bits.
func (p *Prefix) UnmarshalText(text []byte) error {
	s := string(text)
	if addr, err := netip.ParseAddr(s); err == nil {
		if addr.Zone() != "" {
			return fmt.Errorf("%s has a zone, which cannot be compared", quote(s))
		}
		p.Prefix = netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen())
		return nil
	}
	prefix, err := netip.ParsePrefix(s)
	switch {
	case err != nil:
		return fmt.Errorf("%s is neither an IP address nor a CIDR prefix, as in 10.0.0.0/8", quote(s))
	case prefix.Addr().Is4In6():
		return fmt.Errorf("%s is an IPv4 prefix in IPv6 clothing: write it as IPv4", quote(s))
	case prefix != prefix.Masked():
		return fmt.Errorf("%s has bits set beyond its length: write %s", quote(s), prefix.Masked())
	}
	p.Prefix = prefix
	return nil
}

// MarshalText writes p as a CIDR prefix.
func (p Prefix) MarshalText() ([]byte, error) { return []byte(p.String()), nil }
