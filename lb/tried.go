package lb

// MaxTried is how many attempts a Tried remembers; after that it forgets the
// oldest. More than any retry budget allows.
const MaxTried = 8

// Tried is the endpoints that one exchange has tried. The zero Tried is empty
// and nil is too. It belongs to the exchange.
type Tried struct {
	list [MaxTried]*Endpoint
	n    int
}

// Add adds e.
func (t *Tried) Add(e *Endpoint) {
	t.list[t.n%MaxTried] = e
	t.n++
}

// Has reports whether e was tried.
func (t *Tried) Has(e *Endpoint) bool {
	if t == nil {
		return false
	}
	for _, x := range t.list[:min(t.n, MaxTried)] {
		if x == e {
			return true
		}
	}
	return false
}

// Len returns how many attempts were added.
func (t *Tried) Len() int { return t.n }
