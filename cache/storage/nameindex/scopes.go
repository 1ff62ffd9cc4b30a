package nameindex

import "sync"

// Bounds on scopes.
const (
	// minScopes is how many there may be whatever is stored, and rowsPerScope
	// how many rows each further one needs: what scopes take is a few bytes a row at
	// most. Beyond, a row's scope is its origin, and which of these a prefix selects
	// only they themselves can tell; and where there are as many origins, or twice
	// minScopes, nothing is known of a row's scope.
	minScopes    = 4096
	rowsPerScope = 64
)

// Scopes interns scopes. The zero value is empty. Safe for concurrent use; its lock is
// a leaf.
type Scopes struct {
	mu    sync.Mutex
	ids   map[string]Word
	list  []scope // by number; 0 is the unknown one
	free  []Word
	total int // of references
}

type scope struct {
	text string
	refs int
}

// Enter returns the number of a scope, with a reference for a row.
func (t *Scopes) Enter(text []byte) Word {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ids == nil {
		t.ids, t.list = make(map[string]Word), make([]scope, 1)
	}
	t.total++
	room := minScopes + t.total/rowsPerScope
	for _, s := range [...][]byte{text, originOf(text)} {
		id, ok := t.ids[string(s)]
		if !ok && len(t.ids) < room {
			id, ok = t.add(string(s)), true
		}
		if ok {
			t.list[id].refs++
			return id
		}
		room *= 2
	}
	t.list[0].refs++
	return 0
}

// add makes a scope. Under mu.
func (t *Scopes) add(text string) Word {
	id := Word(len(t.list))
	if last := len(t.free) - 1; last >= 0 {
		id, t.free = t.free[last], t.free[:last]
		t.list[id] = scope{text: text}
	} else {
		t.list = append(t.list, scope{text: text})
	}
	t.ids[text] = id
	return id
}

// Leave gives a reference back.
func (t *Scopes) Leave(id Word) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.total == 0 {
		return // reset meanwhile
	}
	s := &t.list[id]
	t.total--
	if s.refs--; s.refs == 0 && id != 0 {
		delete(t.ids, s.text)
		*s = scope{}
		t.free = append(t.free, id)
	}
}

// Is reports whether a number is that of a scope.
func (t *Scopes) Is(id Word, text []byte) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	at, ok := t.ids[string(text)]
	return ok && at == id
}

// Sets is which scopes each of some plans selects.
type Sets struct {
	all bool
	by  [][]Hit
}

// Hit says that a plan, by its place among the plans, selects what is in a scope.
type Hit struct {
	Plan int32
	// Perhaps: only the response itself can tell.
	Perhaps bool
}

var everything = []Hit{{}}

// Select returns which scopes plans select. Where one selects everything it is the
// only one. What is entered later belongs to no Sets made before, and a number that
// was given back may belong to another scope: Sets are for rows that were there
// before.
func (t *Scopes) Select(plans []Plan) (s Sets) {
	if s.all = plans[0].All; s.all || len(plans[0].scoped) == 0 {
		return s
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	s.by = make([][]Hit, max(1, len(t.list)))
	for i := range t.list {
		if t.list[i].refs == 0 {
			continue
		}
		for n := range plans {
			if m := selectScope(plans[n].scoped, t.list[i].text); m != no {
				s.by[i] = append(s.by[i], Hit{int32(n), m == maybe})
			}
		}
	}
	return s
}

// selectScope is what the surest of selectors says of a scope.
func selectScope(list []Selector, text string) match {
	best := no
	for i := range list {
		switch list[i].matchScope(text) {
		case yes:
			return yes
		case maybe:
			best = maybe
		case no:
		}
	}
	return best
}

// Of returns which plans select what is in a scope, in their order.
func (s *Sets) Of(id Word) []Hit {
	switch {
	case s.all:
		return everything
	case int(id) >= len(s.by):
		return nil
	}
	return s.by[id]
}

// Stats is how many scopes there are, and how many rows are in none that is known.
func (t *Scopes) Stats() (scopes, unknown int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.list) > 0 {
		unknown = t.list[0].refs
	}
	return len(t.ids), unknown
}
