package purge

import "sync"

// maxGroups bounds how many groups are remembered. Beyond it every group counts
// as stored.
const maxGroups = 1 << 16

// groupSet remembers which cache groups something was stored in since they were
// last invalidated, so that a client cannot make the journal grow by what
// nothing stored matches.
type groupSet struct {
	mu   sync.Mutex // a leaf
	held map[Selector]struct{}
	full bool
}

// NoteGroups is told of the groups of a response that is about to be stored, in
// the key's scheme and authority.
func (l *Ledger) NoteGroups(scheme, authority string, groups []string) {
	if len(groups) == 0 {
		return
	}
	g := &l.groups
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, name := range groups {
		s, err := groupSelector(scheme, authority, name)
		switch {
		case err != nil || g.full: // what cannot be selected need not be known
		case len(g.held) >= maxGroups:
			g.full, g.held = true, nil
		default:
			if g.held == nil {
				g.held = make(map[Selector]struct{})
			}
			g.held[s] = struct{}{}
		}
	}
}

// InvalidateGroups makes invalid what is stored in cache groups of a URI origin,
// RFC 9875 section 3. It does not wait for the journal, and does nothing for
// groups that nothing was stored in.
func (l *Ledger) InvalidateGroups(scheme, authority string, groups []string) error {
	for _, name := range groups {
		s, err := groupSelector(scheme, authority, name)
		if err != nil || !l.groups.forget(s) {
			continue // no such group can be stored
		}
		if err := l.Invalidate(s); err != nil {
			return err
		}
	}
	return nil
}

// forget reports whether something may be stored in a group, which is then
// assumed not to be until it is noted again.
func (g *groupSet) forget(s Selector) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.full {
		return true
	}
	_, held := g.held[s]
	delete(g.held, s)
	return held
}

// InvalidateURL makes invalid what is stored under a URI, RFC 9111 section 4.4,
// in the key's scheme, authority and target. It is called where something stored
// was found, and does not wait for the journal.
func (l *Ledger) InvalidateURL(scheme, authority, target string) error {
	return l.Invalidate(Selector{Kind: URL, Scheme: scheme, Authority: authority, Name: target})
}
