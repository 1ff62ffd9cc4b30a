package proxy

import (
	"hash/maphash"
	"sync/atomic"

	"edge/cache/storage"
	"edge/message"
)

// The keys of responses with No-Vary-Search.
//
// The proxy remembers, for each scheme, authority and path, the rule of the
// response stored last (the draft's mostRecentNVS). While there is one, a GET
// has two keys: the raw one, of its URI as it is, and the rule's, made of the
// path and what of the query makes a difference. It looks under both, and
// queues under the rule's. A response is stored under the rule's key if it
// carries that rule itself, and under the raw key if it carries none; a rule
// not seen before is remembered with the first response stored under it. Where
// it cannot be remembered, the table being full of paths in use, the response is
// stored under the raw key, as if the field were absent.
//
// Only a response that is stored teaches a rule, and only to its own origin and
// path; no field of a request does. What could be poisoned this way is what the
// origin lets: where its answer to a URI carries a rule, that answer is given
// for every URI that the rule makes equal, and nothing more. Responses of one
// path with different rules take the table's place from each other, which costs
// hits and answers nothing wrongly: a rule's key names the rule by a number that
// is never used again (uriTable), and what is found there must still carry that
// rule, whatever freshened it. The origin is always sent the query as it came.

// obeysSearch reports whether No-Vary-Search may count for the request.
func (x *exchange) obeysSearch() bool {
	return !x.route.IgnoreNoVarySearch && (x.req.Method == message.MethodGet || x.req.Method == message.MethodHead)
}

// findRule brings x.rule and x.key up to date with what is remembered.
func (x *exchange) findRule() {
	if x.p.rules.len() == 0 || !x.obeysSearch() {
		return
	}
	e := x.p.rules.get(x.searchURI())
	switch {
	case e == nil:
		x.ruleNumber, x.rule, x.key = 0, nil, x.rawKey
	case e.number != x.ruleNumber:
		x.ruleNumber, x.rule = e.number, e.value
		x.key = x.searchKey(e)
	}
}

// searchURI is what a rule is remembered by. The slice is x.keyBuf's.
func (x *exchange) searchURI() []byte {
	x.keyBuf = appendURI(x.keyBuf[:0], x.req.Scheme, x.req.Authority, x.req.Path())
	return x.keyBuf
}

// searchKey is the request's key under a rule.
func (x *exchange) searchKey(e *uriEntry[*searchRule]) storage.Key {
	var key storage.Key
	key, x.keyBuf = searchKey(x.route, &x.req, e, &x.search, x.keyBuf)
	return key
}

func searchKey(r *Route, req *message.Request, e *uriEntry[*searchRule], q *searchQuery, buf []byte) (storage.Key, []byte) {
	buf = appendPart(buf[:0], "\x00search") // no scheme: no raw key is like it
	buf = appendNumber(buf, e.number)
	buf = appendURI(buf, req.Scheme, req.Authority, req.Path())
	buf = appendExtras(buf, r, req)
	query, _ := req.Query()
	buf = q.appendNormal(buf, query, e.value)
	return digest(buf), buf
}

// appendSearched appends to x.entries what is stored under the rule's key and
// still carries the rule.
func (x *exchange) appendSearched() {
	n := len(x.entries)
	x.entries = x.p.store.Lookup(x.entries, x.key)
	kept := x.entries[:n]
	for _, e := range x.entries[n:] {
		if carriesRule(e.Stored(), x.rule) {
			kept = append(kept, e)
		} else {
			e.Release()
		}
	}
	clear(x.entries[len(kept):len(x.entries)])
	x.entries = kept
}

// carriesRule reports whether a stored response says r. Its field is compared
// as it came first: that needs no parsing.
func carriesRule(s *message.Stored, r *searchRule) bool {
	if s.Terms.Flags.Has(message.TermHitForMiss) {
		return true // no response, and stored under r's own key
	}
	const name = "no-vary-search"
	var lines [][]byte
	for rest := s.Head; len(rest) > 0; {
		var line []byte
		line, rest = message.CutLine(rest)
		if len(line) < len(name) || !message.EqualFoldString(line[:len(name)], name) {
			continue
		}
		n, value := message.SplitLine(line)
		switch {
		case len(n) != len(name):
		case lines == nil && string(value) == r.text:
			return true
		default:
			lines = append(lines, value)
		}
	}
	if lines == nil {
		return false
	}
	rule := parseSearchRule(lines)
	return rule != nil && rule.equal(r)
}

// learnRule remembers the rule of the response at hand, which is about to be
// stored.
func (x *exchange) learnRule() {
	if !x.obeysSearch() || !x.resp.Fields.Has(message.FieldNoVarySearch) {
		return
	}
	rule := ruleOf(&x.resp.Fields)
	if rule == nil {
		return
	}
	// Sites say the same of many paths: one copy will do.
	if last := x.p.lastRule.Load(); last != nil && last.text == rule.text {
		rule = last
	} else {
		x.p.lastRule.Store(rule)
	}
	x.p.rules.put(x.searchURI(), rule, rule.equal)
}

// storeKey is the key that the response at hand is stored under.
func (x *exchange) storeKey() storage.Key {
	if !x.obeysSearch() {
		return x.key
	}
	if x.resp.Fields.Has(message.FieldNoVarySearch) {
		rule := ruleOf(&x.resp.Fields)
		if e := x.p.rules.get(x.searchURI()); e != nil && rule != nil && rule.equal(e.value) {
			return x.searchKey(e)
		}
	}
	return x.rawKey
}

// invalidateSearched marks what a rule makes of a URI, as invalidate does the
// URI.
func (p *Proxy) invalidateSearched(route *Route, r *message.Request) {
	uri := appendURI(nil, r.Scheme, r.Authority, r.Path())
	p.pathGeneration(uri).Add(1)
	if e := p.rules.get(uri); e != nil {
		key, _ := searchKey(route, r, e, &searchQuery{}, nil)
		p.invalidate(key)
	}
}

// epoch is where the counters of invalidations stood that concern an exchange
// beside its key's own.
type epoch struct{ raw, path uint32 }

// readEpoch reads them.
func (x *exchange) readEpoch() epoch {
	if !x.obeysSearch() {
		return epoch{}
	}
	return epoch{raw: x.p.generation(x.rawKey).Load(), path: x.p.pathGeneration(x.searchURI()).Load()}
}

// current reports whether nothing was invalidated since the fetch began that a
// response stored under key would be. A rule's key that was not known then could
// not be watched; its path was.
func (x *exchange) current(key storage.Key) bool {
	now := x.readEpoch()
	return x.generation == x.p.generation(x.key).Load() && now.raw == x.epoch.raw &&
		(key == x.key || key == x.rawKey || now.path == x.epoch.path)
}

// pathGeneration returns the counter for a path, by its URI.
func (p *Proxy) pathGeneration(uri []byte) *atomic.Uint32 {
	return &p.generations[maphash.Bytes(p.rules.seed, uri)&(numGenerations-1)]
}

// sharesFill reports whether those who wait for x's permit may be given what is
// stored under key. Those who wait under a rule's key asked for other URIs, and
// the rule may turn out not to be this response's.
func (x *exchange) sharesFill(key storage.Key) bool {
	return x.permitPrimary == x.rawKey || x.permitPrimary == key
}
