package config

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

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

// Matches reports whether a name is one of the pattern's.
func (n NamePattern) Matches(name string) bool {
	return name == n.Name || n.Prefix && strings.HasPrefix(name, n.Name)
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
