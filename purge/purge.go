// Package purge removes stored responses at an operator's word: by URL, prefix,
// tag, group, host, or all of them; hard (gone) or soft (stale from that
// moment).
//
// # Theory of operation
//
// Nothing need be found when a purge comes for it to be in force. It takes the next sequence number
// and is entered in an index of purges (index.go), and a stored response, which
// knows the sequence it was stored at, is compared with that index by whoever
// comes by it next. So a purge costs the same for ten objects or ten million,
// and it is in force for every look-up that starts after it was entered.
// Ledger (ledger.go) is that index with its sequence: it implements
// storage.Ledger.
//
// An answer is given once the purge is in force and, where there is a journal
// (journal.go, commit.go), on stable storage. The journal is replayed when the
// process starts, and goes on where it ended.
//
// Beside the look-ups goes a sweeper (reclaim.go): it has the store, which finds by
// name, mark what a purge takes, and that counts it for the purge's receipt
// (receipt.go); what is marked is freed behind the answer. What every stored
// response has been judged by is of no more use, and leaves index and journal a
// while later (compact.go). Others can follow the purges of
// this node (follow.go), and disks say how much of the journal they have seen
// (disk.go).
package purge

import (
	"errors"
	"fmt"
)

// Kind says what a Selector selects by.
type Kind uint8

// The kinds. The numbers are the journal's.
const (
	// URL: one URI, every variant and method.
	URL Kind = iota + 1
	// Prefix: every URI under a path, by whole segments.
	Prefix
	// Tag: every response with a tag, whatever its URI.
	Tag
	// Group: every response of one URI origin in a cache group (RFC 9875).
	Group
	// Host: every URI with one authority, under any scheme.
	Host
	// Everything: all.
	Everything

	numKinds = iota + 1
)

var kindNames = [numKinds]string{URL: "url", Prefix: "prefix", Tag: "tag", Group: "group", Host: "host", Everything: "everything"}

// String returns the kind's name for logs and metrics.
func (k Kind) String() string {
	if k == 0 || k >= numKinds {
		return "invalid"
	}
	return kindNames[k]
}

// Mode says what becomes of what is selected. A greater mode leaves less.
type Mode uint8

// The modes. The numbers are the journal's.
const (
	// Soft makes stale: validators and the windows for serving stale go on
	// working.
	Soft Mode = iota + 1
	// Invalid makes invalid, as RFC 9111 section 4.4 has it: "in need of a
	// mandatory validation before they can be sent in response to a subsequent
	// request". It is the mode of invalidation by unsafe methods, not of
	// operators.
	Invalid
	// Hard removes.
	Hard

	numModes = iota + 1
)

var modeNames = [numModes]string{Soft: "soft", Invalid: "invalid", Hard: "hard"}

// String returns the mode's name for logs and metrics.
func (m Mode) String() string {
	if m == 0 || m >= numModes {
		return "invalid-mode"
	}
	return modeNames[m]
}

// Selector selects stored responses. Make one with the functions of select.go,
// which put its parts into the form in which the store has them. Comparable.
type Selector struct {
	Kind Kind
	// Scheme is "http" or "https", for URL, Prefix and Group.
	Scheme string
	// Authority is in lower case and, for URL, Prefix and Group, without the
	// scheme's default port.
	Authority string
	// Name is the target of a URL, the path of a Prefix, a Tag or a Group.
	Name string
}

// String writes s as a person would.
func (s Selector) String() string {
	switch s.Kind {
	case URL, Prefix:
		return s.Scheme + "://" + s.Authority + s.Name
	case Group:
		return s.Scheme + "://" + s.Authority + " " + s.Name
	case Host:
		return s.Authority
	case Tag:
		return s.Name
	case Everything:
	}
	return s.Kind.String()
}

// Purge is what is asked for: every response that one of the selectors selects.
type Purge struct {
	Selectors []Selector
	Mode      Mode
}

// Bounds on what one purge may name.
const (
	// MaxSelectors is how many entries a request may have, and half of how many
	// selectors a purge: a URL may be stored under another one, and a prefix
	// without a scheme is two.
	MaxSelectors = 1000
	// MaxURL is the longest URL or prefix, in bytes.
	MaxURL = 16 << 10
	// MaxTag is the longest tag or group, in bytes.
	MaxTag = 1024
)

// ErrNotDurable: the purge is in force, but the journal could not be written,
// so it would not survive the process.
var ErrNotDurable = errors.New("purge: applied but not durable")

// ErrClosed: the ledger is closed.
var ErrClosed = errors.New("purge: closed")

// check refuses a purge that is none.
func (p *Purge) check() error {
	switch {
	case len(p.Selectors) == 0:
		return errors.New("purge: it names nothing")
	case len(p.Selectors) > 2*MaxSelectors:
		return fmt.Errorf("purge: it names %d things: at most %d", len(p.Selectors), 2*MaxSelectors)
	case p.Mode == 0 || p.Mode >= numModes:
		return fmt.Errorf("purge: mode %d", p.Mode)
	}
	for _, s := range p.Selectors {
		if s.Kind == 0 || s.Kind >= numKinds {
			return fmt.Errorf("purge: kind %d", s.Kind)
		}
	}
	return nil
}
