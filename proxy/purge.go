package proxy

import (
	"bytes"
	"context"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"edge/cache/statemachine"
	"edge/cache/storage"
	"edge/message"
)

// Purger is told of the purges that exchanges cause. Implemented by purge.Ledger.
// Safe for concurrent use. Scheme, authority and target are the key's.
type Purger interface {
	// NoteGroups is called before a response in cache groups is stored.
	NoteGroups(scheme, authority string, groups []string)
	// InvalidateGroups makes what is stored in the groups invalid, RFC 9875
	// section 3, without waiting for a disk.
	InvalidateGroups(scheme, authority string, groups []string) error
	// InvalidateURL makes what is stored under a URI invalid, RFC 9111 section
	// 4.4, without waiting for a disk.
	InvalidateURL(scheme, authority, target string) error
	// PurgeURLs purges the targets of a URI origin and returns the answer, in
	// JSON, once the purge is durable or ctx has ended.
	PurgeURLs(ctx context.Context, scheme, authority string, targets []string, soft bool) (status int, answer []byte)
}

// PurgeMethod says who may purge by sending the method PURGE to a URL of a route:
// clients that are connected from one of the addresses, and clients with a token.
type PurgeMethod struct {
	Addresses []netip.Prefix
	// Token reports whether a bearer token allows purging; nil: none does.
	Token func(token []byte) bool
}

// purgeTimeout bounds the wait for a purge to be durable.
const purgeTimeout = 10 * time.Second

// mayPurge reports whether this client may use the method PURGE on its route.
// The address is the connection's: nobody's word counts here.
func (x *exchange) mayPurge() bool {
	m := x.route.Purge
	if m == nil || x.p.purger == nil {
		return false
	}
	addr := x.peer.Addr().Unmap()
	for _, p := range m.Addresses {
		if addr.IsValid() && p.Contains(addr) {
			return true
		}
	}
	value, ok := x.req.Fields.Get(message.FieldAuthorization)
	if !ok || m.Token == nil || x.req.Fields.Count(message.FieldAuthorization) != 1 {
		return false
	}
	// RFC 9110 section 11.1: the scheme's name is case-insensitive.
	scheme, token, _ := bytes.Cut(value, []byte{' '})
	return message.EqualFoldString(scheme, "Bearer") && m.Token(bytes.TrimSpace(token))
}

// answerPurge answers the method PURGE: it never reaches an origin.
func (x *exchange) answerPurge() {
	if !x.mayPurge() {
		x.failEarly(refusal{405, "PURGE is not for this client here", "http_request_denied"})
		return
	}
	targets := x.p.PurgeTargets(x.req.Scheme, string(x.req.Authority), string(x.req.Target))
	soft := false
	if i := x.req.Fields.NextName([]byte("Fastly-Soft-Purge"), 0); i >= 0 {
		value := string(x.req.Fields.All()[i].Value)
		if value != "0" && value != "1" { // neither is meant by anything else
			x.failEarly(refusal{400, "Fastly-Soft-Purge is 1 or 0", "http_request_error"})
			return
		}
		soft = value == "1"
	}
	ctx, cancel := context.WithTimeout(x.waitContext(), purgeTimeout)
	defer cancel()
	status, answer := x.p.purger.PurgeURLs(ctx, x.req.Scheme, string(x.req.Authority), targets, soft)
	x.p.PurgedURI(x.req.Scheme, x.req.Authority, x.req.Target, soft)
	x.m = statemachine.HTTPCache{}
	x.delivery = x.answerJSON(status, answer)
}

// answerJSON sends an answer of our own in JSON.
func (x *exchange) answerJSON(status int, body []byte) statemachine.Delivery {
	b := append(x.extraBuf[:0], "Date: "...)
	b = statemachine.AppendDate(b, int64(x.now())/message.Second)
	b = append(b, "\r\nCache-Control: no-store\r\nContent-Type: application/json\r\nVia: "...)
	b = append(appendVia(b, message.HTTP11, x.p.viaName), "\r\n"...)
	x.extraBuf = b
	closing := x.out.Close
	x.out = message.Outgoing{Status: status, Length: int64(len(body)), Close: closing, Extra: b}
	if x.sendHead() != nil || x.write(body) != nil {
		return statemachine.ClientGone
	}
	return x.finish(nil)
}

// StoredTarget returns the target under which the answer to a GET for a URI is
// stored: its route's key rules may leave some of the query out.
func (p *Proxy) StoredTarget(scheme, authority, target string) string {
	r := message.Request{Method: message.MethodGet, Scheme: scheme, Authority: []byte(authority), Target: []byte(target), PathLen: pathLen([]byte(target))}
	if route := p.table.Load().route(&r); route != nil {
		route.Key.normalise(&r, nil)
	}
	return string(r.Target)
}

// PurgeTargets returns the targets that a purge of a URI names, each once: its own,
// the one that its route's key rules make of that, and those of the URIs whose
// responses would be given to a GET for it, by No-Vary-Search.
func (p *Proxy) PurgeTargets(scheme, authority, target string) []string {
	targets := []string{target}
	add := func(target string) {
		if !slices.Contains(targets, target) {
			targets = append(targets, target)
		}
	}
	add(p.StoredTarget(scheme, authority, target))
	_, entries := p.searched(scheme, []byte(authority), []byte(target))
	for _, e := range entries {
		add(e.Meta().Target)
		e.Release()
	}
	return targets
}

// PurgedURI is called when a purge of a URI is in force, with what it was called
// with. It sees to what the ledger cannot know of: responses that were brought by
// other URIs since PurgeTargets was asked, or are on their way, and would be given
// to a GET for this one. They are to be validated first, even where the purge is
// soft.
func (p *Proxy) PurgedURI(scheme string, authority, target []byte, soft bool) {
	if !soft {
		p.InvalidateURI(scheme, authority, target)
		return
	}
	path := target[:pathLen(target)]
	p.pathGeneration(appendURI(nil, scheme, authority, path)).Add(1)
	key, entries := p.searched(scheme, authority, target)
	if key == (storage.Key{}) {
		return
	}
	p.generation(key).Add(1)
	missed := false
	for _, e := range entries {
		flags := e.Stored().Terms.Flags
		missed = missed || !flags.Has(message.TermSoftPurged) && !flags.Has(message.TermInvalidated)
		e.Release()
	}
	if missed {
		p.invalidate(key)
	}
}

// searched returns the key that a known rule makes of a URI, and what is stored
// under it, retained; no key where none is known.
func (p *Proxy) searched(scheme string, authority, target []byte) (key storage.Key, entries []storage.Entry) {
	r := message.Request{Method: message.MethodGet, Scheme: scheme, Authority: authority, Target: target, PathLen: pathLen(target)}
	route := p.table.Load().route(&r)
	if route == nil || p.rules.len() == 0 {
		return key, nil
	}
	route.Key.normalise(&r, nil)
	e := p.rules.get(appendURI(nil, r.Scheme, r.Authority, r.Path()))
	if e == nil {
		return key, nil
	}
	key, _ = searchKey(route, &r, e, &searchQuery{}, nil)
	return key, p.store.Lookup(nil, key)
}

// invalidateURI is InvalidateURI for an unsafe request's sake: where something
// was stored, other tiers and those who follow this node's purges learn of it.
func (p *Proxy) invalidateURI(scheme string, authority, target []byte) {
	if p.InvalidateURI(scheme, authority, target) == 0 || p.purger == nil {
		return
	}
	stored := p.StoredTarget(scheme, string(authority), string(target))
	if err := p.purger.InvalidateURL(scheme, string(authority), stored); err != nil {
		p.log.Warn("an invalidation could not be noted", "target", strconv.Quote(stored), "error", err)
	}
}

// invalidateGroups applies Cache-Group-Invalidation. RFC 9875 section 3: it "MUST
// be ignored on responses to requests that have a safe method"; the machine asks
// for invalidation only after unsafe ones.
func (x *exchange) invalidateGroups() {
	f := &x.resp.Fields
	if x.p.purger == nil || !f.Has(message.FieldCacheGroupInvalidation) {
		return
	}
	groups := groupsOf(f, message.FieldCacheGroupInvalidation)
	if err := x.p.purger.InvalidateGroups(x.req.Scheme, string(x.req.Authority), groups[:min(len(groups), maxTags)]); err != nil {
		x.p.log.Warn("a group invalidation could not be noted", "target", string(x.req.Target), "error", err)
	}
}
