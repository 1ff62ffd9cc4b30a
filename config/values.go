package config

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Size is a number of bytes, or None.
type Size int64

// sizeUnits are the units of Size, the largest first: String takes the first
// that divides.
var sizeUnits = []struct {
	name  string
	bytes int64
}{
	{"TiB", 1 << 40}, {"TB", 1e12}, {"GiB", 1 << 30}, {"GB", 1e9}, {"MiB", 1 << 20},
	{"MB", 1e6}, {"KiB", 1 << 10}, {"KB", 1e3}, {"kB", 1e3}, {"B", 1},
}

// ParseSize reads a size: a whole number directly followed by one of B, KiB,
// MiB, GiB, TiB (powers of 1024) or KB, MB, GB, TB (powers of 1000); or 0.
func ParseSize(s string) (Size, error) {
	if s == "0" {
		return 0, nil
	}
	digits := len(s) - len(strings.TrimLeft(s, "0123456789"))
	number, unit := s[:digits], s[digits:]
	if number == "" {
		return 0, fmt.Errorf("%s is not a size: write a whole number and a unit, as in 64MiB", quote(s))
	}
	if unit == "" {
		return 0, fmt.Errorf("%s has no unit: write %sB, or %sMiB", quote(s), clip(s), clip(s))
	}
	for _, u := range sizeUnits {
		if u.name != unit {
			continue
		}
		n, err := strconv.ParseInt(number, 10, 64)
		if err != nil || n > math.MaxInt64/u.bytes {
			return 0, fmt.Errorf("%s is too large", quote(s))
		}
		return Size(n * u.bytes), nil
	}
	return 0, fmt.Errorf("%s is not a size: the units are B, KiB, MiB, GiB, TiB, KB, MB, GB and TB, after a whole number", quote(s))
}

// String writes s as ParseSize reads it, in the largest unit that divides it;
// None as none.
func (s Size) String() string {
	switch {
	case s < 0:
		return "none"
	case s == 0:
		return "0"
	}
	for _, u := range sizeUnits {
		if int64(s)%u.bytes == 0 {
			return strconv.FormatInt(int64(s)/u.bytes, 10) + u.name
		}
	}
	panic("unreachable: every size is a multiple of 1B")
}

const day = 24 * time.Hour

// ParseDuration reads a duration as time.ParseDuration does, with d for days of
// 24 hours as a further, leading unit (1d12h), and without a sign.
func ParseDuration(s string) (time.Duration, error) {
	bad := fmt.Errorf("%s is not a duration: write numbers and units, as in 500ms, 30s, 5m, 1h30m or 7d", quote(s))
	if s == "" || s[0] == '-' || s[0] == '+' {
		return 0, bad
	}
	rest := s
	var days time.Duration
	if number, after, found := strings.Cut(s, "d"); found {
		n, err := strconv.ParseUint(number, 10, 64)
		if err != nil && !errors.Is(err, strconv.ErrRange) {
			return 0, bad
		}
		if n > uint64(math.MaxInt64/day) {
			return 0, fmt.Errorf("%s is too long", quote(s))
		}
		days, rest = time.Duration(n)*day, after
		if rest == "" {
			return days, nil
		}
	} else if strings.Trim(s, "0123456789") == "" && strings.Trim(s, "0") != "" {
		return 0, fmt.Errorf("%s has no unit: write %ss for seconds", quote(s), clip(s))
	}
	if rest[0] == '-' || rest[0] == '+' {
		return 0, bad
	}
	d, err := time.ParseDuration(rest)
	if err != nil {
		return 0, bad
	}
	if d > math.MaxInt64-days {
		return 0, fmt.Errorf("%s is too long", quote(s))
	}
	return days + d, nil
}

// FormatDuration writes d as ParseDuration reads it, without the parts that are
// zero: 1h rather than 1h0m0s, 7d rather than 168h. None is written none.
func FormatDuration(d time.Duration) string {
	switch {
	case d < 0:
		return "none"
	case d == 0:
		return "0s"
	}
	var out strings.Builder
	if d >= day {
		fmt.Fprintf(&out, "%dd", d/day)
		d %= day
	}
	if d > 0 {
		s := d.String()
		// String ends in "0s" after a unit exactly where nothing smaller is left.
		if strings.HasSuffix(s, "m0s") {
			s = strings.TrimSuffix(s, "0s")
		}
		if strings.HasSuffix(s, "h0m") {
			s = strings.TrimSuffix(s, "0m")
		}
		out.WriteString(s)
	}
	return out.String()
}

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

// HostPattern says which hosts a route takes. The zero value: every host.
type HostPattern struct {
	// Name is the host in lower case, without port; an IPv6 address in
	// brackets. With Wildcard, the name that must follow at least one label
	// and a dot.
	Name string
	// Wildcard: every name below Name, not Name itself.
	Wildcard bool
}

// UnmarshalText reads a name, an IP address, *.name, or * for every host.
func (h *HostPattern) UnmarshalText(text []byte) error {
	s := strings.ToLower(string(text))
	if s == "*" {
		*h = HostPattern{}
		return nil
	}
	name, wildcard := strings.CutPrefix(s, "*.")
	if addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")); err == nil && addr.Zone() == "" {
		name = addr.String()
		if addr.Is6() {
			name = "[" + name + "]"
		}
		*h = HostPattern{Name: name}
		return nil
	}
	switch {
	case strings.Contains(name, "*"):
		return fmt.Errorf("%s is not a host: a * may only be the whole first label, as in *.example.com", quote(s))
	case isHostname(name):
		*h = HostPattern{Name: name, Wildcard: wildcard}
		return nil
	case strings.Contains(name, ":"):
		return fmt.Errorf("%s is not a host: routes match hosts without port", quote(s))
	}
	return fmt.Errorf("%s is not a host: write a name, *.name or an IP address", quote(s))
}

// MarshalText writes h as UnmarshalText reads it.
func (h HostPattern) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// String writes h as it stands in the file.
func (h HostPattern) String() string {
	switch {
	case h == HostPattern{}:
		return "*"
	case h.Wildcard:
		return "*." + h.Name
	}
	return h.Name
}

// PathPattern says which paths a route takes.
type PathPattern struct {
	// Path is the path, raw: it is compared byte for byte with what came,
	// without decoding.
	Path string
	// Prefix: every path that begins with Path.
	Prefix bool
}

// UnmarshalText reads /path or /start*.
func (p *PathPattern) UnmarshalText(text []byte) error {
	s := string(text)
	path, prefix := strings.CutSuffix(s, "*")
	switch {
	case !strings.HasPrefix(path, "/"):
		return fmt.Errorf("%s is not a path: it must begin with /", quote(s))
	case strings.Contains(path, "*"):
		return fmt.Errorf("%s is not a path: a * may only be its last character", quote(s))
	case strings.ContainsAny(path, "?#"):
		return fmt.Errorf("%s is not a path: routes match paths without query", quote(s))
	}
	for i := range len(path) {
		if path[i] <= ' ' || path[i] >= 0x7f {
			return fmt.Errorf("%s is not a path: write spaces and characters beyond ASCII as they come, percent-encoded", quote(s))
		}
	}
	*p = PathPattern{Path: path, Prefix: prefix}
	return nil
}

// MarshalText writes p as UnmarshalText reads it.
func (p PathPattern) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// String writes p as it stands in the file.
func (p PathPattern) String() string {
	if p.Prefix {
		return p.Path + "*"
	}
	return p.Path
}

// NamePattern is a name of a query parameter or cookie, or the start of one.
// Names are compared byte for byte.
type NamePattern struct {
	Name string
	// Prefix: every name that begins with Name.
	Prefix bool
}

// UnmarshalText reads a name, or the start of one followed by *.
func (n *NamePattern) UnmarshalText(text []byte) error {
	s := string(text)
	name, prefix := strings.CutSuffix(s, "*")
	if name == "" && !prefix {
		return errors.New("the name is empty")
	}
	for i := range len(name) {
		if name[i] <= ' ' || name[i] >= 0x7f || strings.IndexByte("*&=;#,\"\\", name[i]) >= 0 {
			return fmt.Errorf("%s is not a name: write a name as it comes, percent-encoded, or the start of one and a *", quote(s))
		}
	}
	*n = NamePattern{Name: name, Prefix: prefix}
	return nil
}

// MarshalText writes n as UnmarshalText reads it.
func (n NamePattern) MarshalText() ([]byte, error) { return []byte(n.String()), nil }

// String writes n as it stands in the file.
func (n NamePattern) String() string {
	if n.Prefix {
		return n.Name + "*"
	}
	return n.Name
}

// FieldName is the name of a header field, a token (RFC 9110 section 5.1), as
// written in the file; compare it without regard to case.
type FieldName string

// UnmarshalText reads a field name.
func (f *FieldName) UnmarshalText(text []byte) error {
	if !isToken(string(text)) {
		return fmt.Errorf("%s is not a field name", quote(string(text)))
	}
	*f = FieldName(text)
	return nil
}

// MarshalText writes f.
func (f FieldName) MarshalText() ([]byte, error) { return []byte(f), nil }

// isIP reports whether s is an IP address, and one that means the same on every
// machine: without a zone.
func isIP(s string) bool {
	addr, err := netip.ParseAddr(s)
	return err == nil && addr.Zone() == ""
}

func isPort(s string) bool {
	_, err := strconv.ParseUint(s, 10, 16)
	return err == nil
}

// isHostname reports whether s is a host name: labels of letters, digits,
// hyphens and (as found in practice) underscores, 63 bytes each, 253 together.
// A name whose last label is a number is none: it would be read as an address.
func isHostname(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	var last string
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			if c := label[i]; !isAlphanumeric(c) && c != '-' && c != '_' {
				return false
			}
		}
		last = label
	}
	return strings.Trim(last, "0123456789") != ""
}

// isAuthority reports whether s may stand in a Host field: a host and perhaps a
// port (RFC 9110 section 7.2).
func isAuthority(s string) bool {
	host, port, err := net.SplitHostPort(s)
	if err == nil {
		return isPort(port) && (isHostname(host) || isIP(host))
	}
	if inner, ok := strings.CutPrefix(s, "["); ok {
		inner, ok = strings.CutSuffix(inner, "]")
		return ok && isIP(inner)
	}
	return isHostname(s) || isIP(s) && !strings.Contains(s, ":")
}

// isToken reports whether s is a token (RFC 9110 section 5.6.2).
func isToken(s string) bool {
	for i := range len(s) {
		if !isAlphanumeric(s[i]) && strings.IndexByte("!#$%&'*+-.^_`|~", s[i]) < 0 {
			return false
		}
	}
	return s != ""
}

func isAlphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z'
}

func hasControl(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) >= 0
}

// maxQuoted bounds how much of a bad value an error repeats.
const maxQuoted = 60

// clip shortens s for an error message.
func clip(s string) string {
	if len(s) > maxQuoted {
		return strings.ToValidUTF8(s[:maxQuoted], "") + "..."
	}
	return s
}

// quote shows a value in an error message: in quotes, escaped and shortened.
func quote(s string) string { return strconv.Quote(clip(s)) }
