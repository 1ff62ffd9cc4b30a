package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// shapes are the further rules for strings and names, by the shape tag. An error
// says what is wrong and what would be right.
var shapes = map[string]func(string) error{
	"authority": func(s string) error {
		if !isAuthority(s) {
			return fmt.Errorf("%s is not an authority: write a host, or host:port", quote(s))
		}
		return nil
	},
	"hostname": func(s string) error {
		if !isHostname(s) && !isIP(s) {
			return fmt.Errorf("%s is neither a host name nor an IP address", quote(s))
		}
		return nil
	},
	"file":   checkFileName,
	"output": checkFileName,
	"token": func(s string) error {
		if !isToken(s) {
			return fmt.Errorf("%s is not the name of a cookie", quote(s))
		}
		return nil
	},
	"name":     checkName,
	"node":     checkNode,
	"keyfield": checkKeyField,
	"fieldvalue": func(s string) error {
		if hasControl(s) || strings.Trim(s, " \t") != s {
			return fmt.Errorf("%s is never the value of a field: it has control characters, or spaces around it", quote(s))
		}
		return nil
	},
	"stripfield": checkStripField,
}

// checkFileName accepts every path that a file system could.
func checkFileName(s string) error {
	switch {
	case s == "":
		return errors.New("the name of a file is missing")
	case hasControl(s):
		return fmt.Errorf("%s is not the name of a file: it has control characters", quote(s))
	}
	return nil
}

// maxName bounds the names that operators give: they are labels of metrics.
const maxName = 64

// checkName accepts what is safe as a metric's label, in a path and in a log.
func checkName(s string) error {
	for i := range len(s) {
		if c := s[i]; !isAlphanumeric(c) && (i == 0 || c != '_' && c != '-' && c != '.') {
			return fmt.Errorf("%s is not a name: use letters, digits, and after the first also _ - and .", quote(s))
		}
	}
	if s == "" || len(s) > maxName {
		return fmt.Errorf("a name has 1 to %d characters", maxName)
	}
	return nil
}

// checkNode accepts names that are at once a token for Via and CDN-Loop and an
// sf-token for Cache-Status, which begins with a letter (RFC 9651 section 3.3.4).
func checkNode(s string) error {
	if err := checkName(s); err != nil {
		return err
	}
	if s[0] <= '9' {
		return fmt.Errorf("%s is not a node's name: it must begin with a letter", quote(s))
	}
	return nil
}

// notInKey are the fields that cannot be part of a cache key: those that are in
// it already, and those about one connection, one body, one range or one copy
// held by the client.
var notInKey = []string{
	"Host", "Connection", "Content-Length", "Transfer-Encoding", "Trailer", "TE",
	"Upgrade", "Keep-Alive", "Proxy-Connection", "Expect", "Range", "If-Range",
	"If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since",
	"Cache-Control", "Pragma",
}

// notStripped are the fields that no request can do without: those about its
// connection, its body and its way here.
var notStripped = []string{
	"Host", "Connection", "Content-Length", "Transfer-Encoding", "Trailer", "TE",
	"Upgrade", "Keep-Alive", "Proxy-Connection", "Expect", "Via", "CDN-Loop",
}

func checkStripField(s string) error {
	if slices.ContainsFunc(notStripped, func(f string) bool { return strings.EqualFold(f, s) }) {
		return fmt.Errorf("%s cannot be stripped: it is about the connection, the body or the way of a request", s)
	}
	return nil
}

func checkKeyField(s string) error {
	if slices.ContainsFunc(notInKey, func(f string) bool { return strings.EqualFold(f, s) }) {
		return fmt.Errorf("%s cannot be added to a key: it is in it already, or is about one connection, range or copy", s)
	}
	return nil
}
