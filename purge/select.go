package purge

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// All selects everything.
func All() Selector { return Selector{Kind: Everything} }

// ByURL selects one absolute http or https URL, as a client asked for it: path
// and query are compared byte for byte.
func ByURL(text string) (Selector, error) {
	scheme, rest, err := cutScheme(text)
	if err != nil {
		return Selector{}, err
	}
	if scheme == "" {
		return Selector{}, fmt.Errorf("%s is not an absolute URL: write https://host/path", clip(text))
	}
	i := strings.IndexAny(rest, "/?")
	if i < 0 {
		i = len(rest)
	}
	authority, err := keyAuthority(rest[:i], scheme)
	if err != nil {
		return Selector{}, fmt.Errorf("%s: %w", clip(text), err)
	}
	target := rest[i:]
	if target == "" || target[0] == '?' {
		target = "/" + target
	}
	return Selector{Kind: URL, Scheme: scheme, Authority: authority, Name: target}, nil
}

// ByPrefix selects what lies under a path, scheme://host/path, or host/path for
// both schemes, by whole segments: host/a selects /a and /a/b but not /ab, and
// host/a/ selects /a/ and /a/b but not /a. It returns a selector for each scheme.
func ByPrefix(text string) ([]Selector, error) {
	scheme, rest, err := cutScheme(text)
	if err != nil {
		return nil, err
	}
	i := strings.IndexByte(rest, '/')
	switch {
	case strings.IndexByte(rest, '?') >= 0:
		return nil, fmt.Errorf("%s has a query: a prefix is of the path", clip(text))
	case i < 0:
		return nil, fmt.Errorf("%s has no path: write host/path/, or host/ for all of a host", clip(text))
	case strings.HasSuffix(rest, "/*"): // what routes write; it would select next to nothing
		return nil, fmt.Errorf("%s: a prefix takes no *: write %s", clip(text), clip(strings.TrimSuffix(text, "*")))
	}
	schemes := []string{scheme}
	if scheme == "" {
		schemes = []string{"http", "https"}
	}
	var list []Selector
	for _, scheme := range schemes {
		authority, err := keyAuthority(rest[:i], scheme)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", clip(text), err)
		}
		list = append(list, Selector{Kind: Prefix, Scheme: scheme, Authority: authority, Name: rest[i:]})
	}
	return list, nil
}

// ByHost selects a host, or host:port, as the cache's key has it: in lower case,
// and a port only where it is not the scheme's default.
func ByHost(text string) (Selector, error) {
	if err := checkText(text, MaxURL); err != nil {
		return Selector{}, err
	}
	switch {
	case strings.IndexByte(text, '/') >= 0:
		return Selector{}, fmt.Errorf("%s is not a host alone: write host, or host:port", clip(text))
	case strings.IndexByte(text, '*') >= 0:
		return Selector{}, fmt.Errorf("%s: a host takes no *: write each", clip(text))
	}
	authority, err := keyAuthority(text, "")
	if err != nil {
		return Selector{}, fmt.Errorf("%s: %w", clip(text), err)
	}
	return Selector{Kind: Host, Authority: authority}, nil
}

// ByTag selects a tag, whatever its case.
func ByTag(text string) (Selector, error) {
	text = strings.Trim(text, " \t")
	switch {
	case text == "":
		return Selector{}, errors.New("a tag is empty")
	case len(text) > MaxTag:
		return Selector{}, fmt.Errorf("the tag %s has %d bytes: at most %d", clip(text), len(text), MaxTag)
	case strings.Contains(text, "\uFFFD"): // and there it would select another tag
		return Selector{}, fmt.Errorf("the tag %s has U+FFFD, which stands for what was no text", clip(text))
	}
	for i := range len(text) {
		if text[i] < ' ' || text[i] == 0x7f {
			return Selector{}, fmt.Errorf("the tag %s has control characters", clip(text))
		}
	}
	return Selector{Kind: Tag, Name: lower(text)}, nil
}

// ByGroup selects a cache group within a URI origin, scheme://host. RFC 9875
// section 2.1: groups are compared "character-by-character (case sensitive)",
// among responses that "share the same URI origin".
func ByGroup(origin, group string) (Selector, error) {
	if origin == "" {
		return Selector{}, errors.New("the origin is missing: write https://host")
	}
	scheme, rest, err := cutScheme(origin)
	if err != nil {
		return Selector{}, err
	}
	if scheme == "" {
		return Selector{}, fmt.Errorf("%s is not an origin: write https://host", clip(origin))
	}
	authority, err := keyAuthority(strings.TrimSuffix(rest, "/"), scheme)
	if err != nil {
		return Selector{}, fmt.Errorf("%s: %w", clip(origin), err)
	}
	return groupSelector(scheme, authority, group)
}

// groupSelector selects a group where scheme and authority are the key's.
func groupSelector(scheme, authority, group string) (Selector, error) {
	switch {
	case group == "":
		return Selector{}, errors.New("a group is empty")
	case len(group) > MaxTag:
		return Selector{}, fmt.Errorf("the group %s has %d bytes: at most %d", clip(group), len(group), MaxTag)
	}
	for i := range len(group) {
		// RFC 9651 section 3.3.3: Strings are "zero or more printable ASCII
		// characters".
		if group[i] < ' ' || group[i] >= 0x7f {
			return Selector{}, fmt.Errorf("the group %s is not printable ASCII", clip(group))
		}
	}
	return Selector{Kind: Group, Scheme: scheme, Authority: authority, Name: group}, nil
}

// cutScheme cuts http:// or https:// off, whatever their case; "" where there is
// no scheme. Any other is refused.
func cutScheme(text string) (scheme, rest string, err error) {
	if err := checkText(text, MaxURL); err != nil {
		return "", "", err
	}
	i := strings.Index(text, "://")
	if i < 0 || strings.IndexByte(text[:i], '/') >= 0 {
		return "", text, nil
	}
	scheme = lower(text[:i])
	if scheme != "http" && scheme != "https" {
		return "", "", fmt.Errorf("%s: the scheme is neither http nor https", clip(text))
	}
	return scheme, text[i+3:], nil
}

// checkText refuses what no URI has.
func checkText(text string, most int) error {
	switch {
	case text == "":
		return errors.New("it is empty")
	case len(text) > most:
		return fmt.Errorf("%s has %d bytes: at most %d", clip(text), len(text), most)
	}
	for i := range len(text) {
		if c := text[i]; c <= ' ' || c >= 0x7f {
			return fmt.Errorf("%s has spaces, control characters or characters beyond ASCII: percent-encode them, and write a host in its xn-- form", clip(text))
		} else if c == '#' {
			return fmt.Errorf("%s has a fragment, which no cache ever sees", clip(text))
		}
	}
	return nil
}

// keyAuthority is an authority as the cache's key has it. Without a scheme
// there is no default port to leave out.
func keyAuthority(text, scheme string) (string, error) {
	if strings.IndexByte(text, '@') >= 0 {
		return "", errors.New("a user is no part of what is cached")
	}
	text = lower(text)
	host, port := text, ""
	if i := strings.LastIndexByte(text, ':'); i >= 0 && !strings.Contains(text[i:], "]") {
		host, port = text[:i], text[i+1:]
		if n, err := strconv.ParseUint(port, 10, 16); port != "" && (err != nil || n == 0 || port[0] == '0') {
			return "", errors.New("the port is not a number from 1 to 65535 without leading zeros")
		}
	}
	if err := checkHost(host); err != nil {
		return "", err
	}
	if port == "" || scheme == "http" && port == "80" || scheme == "https" && port == "443" {
		return host, nil
	}
	return host + ":" + port, nil
}

func checkHost(host string) error {
	if strings.HasPrefix(host, "[") {
		if a, err := netip.ParseAddr(strings.TrimSuffix(host[1:], "]")); err != nil || !a.Is6() || a.Zone() != "" || !strings.HasSuffix(host, "]") {
			return errors.New("the host is not an IPv6 address")
		}
		return nil
	}
	if host == "" {
		return errors.New("the host is missing")
	}
	for i := range len(host) {
		switch c := host[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', strings.IndexByte("-._~!$&'()*+,;=%", c) >= 0: // RFC 3986's reg-name
		default:
			return fmt.Errorf("the host has a %q", c)
		}
	}
	return nil
}

// lower puts ASCII letters in lower case and leaves all else alone.
func lower(s string) string {
	for i := range len(s) {
		if c := s[i]; 'A' <= c && c <= 'Z' {
			b := []byte(s)
			for ; i < len(b); i++ {
				if c := b[i]; 'A' <= c && c <= 'Z' {
					b[i] = c + 'a' - 'A'
				}
			}
			return string(b)
		}
	}
	return s
}

// clip quotes what an error is about, no longer than is of use.
func clip(s string) string {
	const most = 80
	if len(s) > most {
		return strconv.Quote(s[:most]) + "..."
	}
	return strconv.Quote(s)
}
