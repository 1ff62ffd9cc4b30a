package config

import (
	"net"
	"net/netip"
	"strconv"
	"strings"
)

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
