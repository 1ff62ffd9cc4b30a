// Package nameindex leads from the names of stored responses to the responses:
// what a store needs to find what a tag, a cache group, a URL, a path or a host
// selects without looking at everything it holds.
//
// # How it works
//
// A response has two kinds of names. What many have in common but few purges
// go by, its origin and path, is its scope: a directory, interned, so that it
// costs a response one number (scopes.go). What selects by it, a prefix or a
// host, is found by comparing numbers, row by row. A tag, a cache group, and a
// URL whose key says more than the URL, is a 64-bit hash with a list of the
// rows that have it (lists.go). A response without any of these costs a
// number; a URL whose key is the URL's own is found by its key.
//
// Two names of one hash are one name here. Whoever goes by a hash may then find
// a response too many, once in 2^64, and never one too few; so a purge takes one
// too many at worst.
package nameindex

import (
	"bytes"
	"encoding/binary"
	"strings"

	"github.com/cespare/xxhash/v2"
)

// Kind says what a Selector selects by.
type Kind uint8

// The kinds.
const (
	// URL: one URI, in every variant and method.
	URL Kind = iota + 1
	// Prefix: every URI under a path, by whole segments.
	Prefix
	// Tag: every response with a tag.
	Tag
	// Group: every response of one URI origin in a cache group (RFC 9875).
	Group
	// Host: every URI with one authority.
	Host
	// Everything: all.
	Everything
)

// Selector selects stored responses. Its parts are spelt as they are stored.
type Selector struct {
	Kind Kind
	// Scheme is "http" or "https", for URL, Prefix and Group.
	Scheme string
	// Authority is for all but Tag and Everything.
	Authority string
	// Name is the target of a URL, the path of a Prefix, a Tag or a Group. A
	// Prefix that ends in a slash selects what is below; one that does not, the
	// path itself too.
	Name string
}

// The domains of hashes.
const (
	domainTag = iota + 1
	domainGroup
	domainURL
)

// schemeOf is how a scheme counts: purges know two.
func schemeOf[T string | []byte](scheme T) string {
	if string(scheme) == "https" {
		return "https"
	}
	return "http"
}

// hash is of a domain and length-prefixed parts. The parts say where they end, so
// that no two lists of parts are alike.
func hash[T string | []byte](domain byte, scheme string, authority, name T) uint64 {
	var d xxhash.Digest
	d.Reset()
	var b [13]byte
	b[0] = domain
	binary.LittleEndian.PutUint32(b[1:], uint32(len(scheme)))
	binary.LittleEndian.PutUint32(b[5:], uint32(len(authority)))
	binary.LittleEndian.PutUint32(b[9:], uint32(len(name)))
	_, _ = d.Write(b[:]) // never fails, like those below
	_, _ = d.WriteString(scheme)
	_, _ = d.Write([]byte(authority))
	_, _ = d.Write([]byte(name))
	return d.Sum64()
}

// TagHash is the hash of a tag.
func TagHash[T string | []byte](tag T) uint64 {
	var none T
	return hash(domainTag, "", none, tag)
}

// GroupHash is the hash of a cache group of a URI origin.
func GroupHash[T string | []byte](scheme, authority, group T) uint64 {
	return hash(domainGroup, schemeOf(scheme), authority, group)
}

// URLHash is the hash of a URI.
func URLHash[T string | []byte](scheme, authority, target T) uint64 {
	return hash(domainURL, schemeOf(scheme), authority, target)
}

// Naming is the names of one response as the indexes have them.
type Naming struct {
	// Scope is what Scopes interns.
	Scope []byte
	// Hashes are of tags, groups and, where the key does not tell it, the URI.
	Hashes []uint64
}

// maxScopePath is the longest path of a scope, in bytes: a longer one counts as of
// its origin only.
const maxScopePath = 512

// AppendScope appends the scope of a URI: its scheme, authority, and the part of
// its path up to the last slash; where there is a query, all of the path and a
// question mark.
func AppendScope(dst, scheme, authority, target []byte) []byte {
	path, _, query := bytes.Cut(target, []byte{'?'})
	switch {
	case query:
		path = target[:len(path)+1]
	case len(path) > 0 && path[0] == '/':
		path = path[:bytes.LastIndexByte(path, '/')+1]
	}
	if len(path) > maxScopePath {
		path = nil
	}
	return appendScope(dst, scheme, authority, path)
}

func appendScope[T string | []byte](dst []byte, scheme, authority, path T) []byte {
	dst = append(dst, schemeOf(scheme)...)
	dst = append(append(dst, 0), authority...)
	return append(append(dst, 0), path...)
}

// originOf cuts a scope's path off.
func originOf(scope []byte) []byte { return scope[:bytes.LastIndexByte(scope, 0)+1] }

// cutScope takes a scope apart; false for one that is none.
func cutScope(scope string) (scheme, authority, path string, ok bool) {
	scheme, rest, one := strings.Cut(scope, "\x00")
	authority, path, two := strings.Cut(rest, "\x00")
	return scheme, authority, path, one && two
}

// matchScope says whether a selector of a path or host selects what is in a
// scope: all of it, none, or what only the response itself can tell.
func (s *Selector) matchScope(scope string) match {
	scheme, authority, path, ok := cutScope(scope)
	switch {
	case !ok:
		return maybe
	case authority != s.Authority:
		return no
	case s.Kind == Host:
		return yes
	case scheme != schemeOf(s.Scheme):
		return no
	case path == "":
		return maybe
	}
	below := s.Name
	if !strings.HasSuffix(below, "/") {
		below += "/"
	}
	if strings.HasPrefix(path, below) || path == s.Name+"?" {
		return yes
	}
	return no
}

type match uint8

const (
	no match = iota
	yes
	maybe
)

// Plan is what selectors mean to the indexes.
type Plan struct {
	// All says that everything is selected.
	All bool
	// URLs are the URIs to look for by key, and Hashes what to look for in lists.
	URLs   []Selector
	Hashes []uint64
	scoped []Selector
}

// PlanOf makes the plan of selectors.
func PlanOf(list []Selector) (p Plan) {
	for _, s := range list {
		switch s.Kind {
		case Everything:
			p.All = true
		case Tag:
			p.Hashes = append(p.Hashes, TagHash(s.Name))
		case Group:
			p.Hashes = append(p.Hashes, GroupHash(s.Scheme, s.Authority, s.Name))
		case URL:
			p.addURL(s)
		case Host:
			p.scoped = append(p.scoped, s)
		case Prefix:
			p.scoped = append(p.scoped, s)
			if !strings.HasSuffix(s.Name, "/") {
				p.addURL(s) // the path itself, which lies in another scope
			}
		}
	}
	return p
}

func (p *Plan) addURL(s Selector) {
	p.URLs = append(p.URLs, s)
	p.Hashes = append(p.Hashes, URLHash(s.Scheme, s.Authority, s.Name))
}

// Scans reports whether every row has to be compared.
func (p *Plan) Scans() bool { return p.All || len(p.scoped) > 0 }

// OnlyScopes reports whether scopes say all that is to know.
func (p *Plan) OnlyScopes() bool { return len(p.scoped) > 0 && len(p.Hashes) == 0 && !p.All }

// UnderPath reports whether a target lies under a path, by whole segments: /a selects
// /a and /a/b but not /ab, and /a/ selects what is below.
func UnderPath(target []byte, path string) bool {
	at, _, _ := bytes.Cut(target, []byte{'?'})
	if len(at) < len(path) || string(at[:len(path)]) != path {
		return false
	}
	return len(at) == len(path) || at[len(path)] == '/' || strings.HasSuffix(path, "/")
}
