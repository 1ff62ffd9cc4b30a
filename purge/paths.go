package purge

import (
	"bytes"
	"strings"
)

// node is a place in the tree of purged prefixes: the segments of a path lead
// to it. A look-up goes down as far as purges reach and no further, so that
// what it costs grows with the path and not with the purges.
type node struct {
	// here is a prefix that ends in this segment, without a slash: it selects
	// this path and what lies below. below is one that ends in a slash: it
	// selects only what lies below.
	here, below *mark
	children    map[string]*node
}

// mark finds or makes the mark of a prefix, which begins with a slash.
func (n *node) mark(prefix string) *mark {
	at := n
	for rest := prefix[1:]; rest != ""; {
		segment, next, more := strings.Cut(rest, "/")
		at = at.child(segment)
		if !more {
			return orNew(&at.here)
		}
		rest = next
	}
	return orNew(&at.below)
}

func (n *node) child(segment string) *node {
	if n.children == nil {
		n.children = make(map[string]*node)
	}
	c := n.children[segment]
	if c == nil {
		c = new(node)
		n.children[segment] = c
	}
	return c
}

func orNew(m **mark) *mark {
	if *m == nil {
		*m = new(mark)
	}
	return *m
}

// visit calls f with the mark of every prefix of path.
func (n *node) visit(path []byte, f func(*mark)) {
	if len(path) == 0 || path[0] != '/' {
		return // "*"
	}
	at, rest := n, path[1:]
	for more := true; ; {
		if at.below != nil {
			f(at.below) // there is a segment to come, if only an empty one
		}
		if !more || at.children == nil {
			return
		}
		var segment []byte
		segment, rest, more = bytes.Cut(rest, []byte{'/'})
		if at = at.children[string(segment)]; at == nil {
			return
		}
		if at.here != nil {
			f(at.here)
		}
		if !more {
			return
		}
	}
}
