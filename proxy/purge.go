package proxy

import (
	"bytes"
	"context"
	"net/netip"
	"strconv"
	"time"

	"edge/cache/statemachine"
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
	targets := []string{string(x.req.Target)}
	x.targetBuf = x.route.Key.normalise(&x.req, x.targetBuf)
	if stored := string(x.req.Target); stored != targets[0] {
		targets = append(targets, stored)
	}
	soft := false
	if i := x.req.Fields.NextName([]byte("Fastly-Soft-Purge"), 0); i >= 0 {
		soft = string(x.req.Fields.All()[i].Value) == "1"
	}
	ctx, cancel := context.WithTimeout(x.waitContext(), purgeTimeout)
	defer cancel()
	status, answer := x.p.purger.PurgeURLs(ctx, x.req.Scheme, string(x.req.Authority), targets, soft)
	if !soft {
		x.p.InvalidateURI(x.req.Scheme, x.req.Authority, x.req.Target)
	}
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
