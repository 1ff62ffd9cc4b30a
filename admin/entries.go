package admin

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"

	"edge/cache/storage"
	"edge/cache/storage/nameindex"
	"edge/message"
	"edge/purge"
)

// What is stored, as the cache API tells it (listing.go): which stored responses
// are asked for, and what is said of each.

// Entries is what looking at stored responses needs of the node. Implemented in
// the wiring.
type Entries struct {
	// Find calls f with every stored response that q selects, once, under no
	// lock and retained during the call only, until f returns false. visited is
	// called, under no lock, for each response that was looked at, selected or
	// not, before f is; where it returns false, the search ends. Nothing is
	// counted as a hit. Over does this for any store.
	Find func(q *Query, visited func() bool, f func(storage.Entry) bool)
	// StoredTarget returns the target under which the answer for a URI is stored;
	// nil: it is the URI's own.
	StoredTarget func(scheme, authority, target string) string
	// Where says which tier or tiers hold an entry, and how often it was found
	// in them; nil: its Meta does.
	Where func(e storage.Entry) (tier string, hits uint64)
	// Clock is the store's.
	Clock storage.Clock
}

// Query selects stored responses.
type Query struct {
	// Places are URLs or prefixes, one of which a response must be under. None:
	// any place will do.
	Places []storage.Selector
	// Tags is a tag that a response must have; none: it need not.
	Tags []storage.Selector
}

// Over returns a Find over store: by names where it is a storage.Finder and
// there are names to find by, else by visiting all there is.
func Over(store storage.Store) func(q *Query, visited func() bool, f func(storage.Entry) bool) {
	finder, _ := store.(storage.Finder)
	return func(q *Query, visited func() bool, f func(storage.Entry) bool) {
		visit := func(e storage.Entry) bool { return visited() && (!q.selects(e.Names()) || f(e)) }
		names := q.Tags // fewer have it, and they are found at once
		if len(names) == 0 {
			names = q.Places
		}
		if finder == nil || len(names) == 0 {
			store.Each(visit)
			return
		}
		finder.Find(names, visit)
	}
}

// selects reports whether what has these names is asked for. It does not
// allocate.
func (q *Query) selects(n storage.Names) bool {
	return (len(q.Places) == 0 || n.Selected(q.Places)) && (len(q.Tags) == 0 || n.Selected(q.Tags))
}

// kindsInStore are a purge's kinds as the store has them.
var kindsInStore = map[purge.Kind]nameindex.Kind{purge.URL: storage.ByURL, purge.Prefix: storage.ByPrefix, purge.Tag: storage.ByTag}

// selectors are what a purge would select by, as the store has them.
func selectors(list ...purge.Selector) []storage.Selector {
	all := make([]storage.Selector, len(list))
	for i, s := range list {
		all[i] = storage.Selector{Kind: kindsInStore[s.Kind], Scheme: s.Scheme, Authority: s.Authority, Name: s.Name}
	}
	return all
}

// Stored is what the cache API says of one stored response, in JSON. Times are
// in seconds.
type Stored struct {
	URL string `json:"url"`
	// Variant names the response among those of its URL, for as long as it is
	// stored.
	Variant string `json:"variant"`
	Status  int    `json:"status"`
	// State is "fresh"; "stale"; "invalid": it must be validated because an
	// unsafe request invalidated it; "no-cache": because its origin says so; or
	// "uncacheable": no response, but the memory that there is none to share.
	State string `json:"state"`
	// Size is the body's complete length in bytes, -1 where it is not known, and
	// Held how much of it is stored.
	Size int64 `json:"size"`
	Held int64 `json:"held"`
	// Age is the current age (RFC 9111 section 4.2.3), and Left how much longer
	// the response is fresh: below 0, for how long it has been stale.
	Age  float64 `json:"age"`
	Left float64 `json:"left"`
	// Hits is how often look-ups of its URL found it, whether they chose it among
	// the variants or not; in a tier that it has left and come back to, since
	// then, and on a disk, up to 255 while nobody has it open.
	Hits     uint64 `json:"hits"`
	Tier     string `json:"tier"`
	StoredAt string `json:"stored_at"`
	*Detail
}

// Detail is what is said besides where one URL is asked for.
type Detail struct {
	// Head holds the stored field lines, "Name: value", and Nominated the
	// request fields that Vary nominates, as they chose this variant.
	Head      []string `json:"head"`
	Nominated []string `json:"nominated"`
	Trailers  []string `json:"trailers,omitempty"`
	Tags      []string `json:"tags"`
	Groups    []string `json:"groups"`
	// Sequence is the purge sequence that it counts as stored at.
	Sequence uint64 `json:"sequence"`
	// The terms of its reuse: see message.Terms.
	FreshnessLifetime    float64  `json:"freshness_lifetime"`
	StaleWhileRevalidate float64  `json:"stale_while_revalidate"`
	StaleIfError         float64  `json:"stale_if_error"`
	StaleDisconnected    float64  `json:"stale_disconnected"`
	ETag                 string   `json:"etag,omitempty"`
	LastModified         string   `json:"last_modified,omitempty"`
	ResponseTime         string   `json:"response_time"`
	Flags                []string `json:"flags"`
	// Ranges are the byte ranges held, [first, last+1), where not all are.
	Ranges [][2]int64 `json:"ranges,omitempty"`
}

// tell says what there is to say of e at now.
func (o *Entries) tell(e storage.Entry, now message.Instant, detailed bool) *Stored {
	s, m := e.Stored(), e.Meta()
	if o.Where != nil {
		m.Tier, m.Hits = o.Where(e)
	}
	age := s.CurrentAge(now)
	v := &Stored{
		URL: m.Scheme + "://" + m.Authority + m.Target, Variant: variantOf(e), Status: s.Status,
		State: stateOf(s, age), Size: max(e.Size(), -1), Age: seconds(age), Left: seconds(s.Terms.FreshnessLifetime - age),
		Hits: m.Hits, Tier: m.Tier, StoredAt: timeText(m.StoredAt),
	}
	held := e.Held(nil)
	for _, r := range held {
		v.Held += r.End - r.Start
	}
	if !detailed {
		return v
	}
	t := &s.Terms
	v.Detail = &Detail{
		Head: lines(s.Head), Nominated: lines(s.Nominated), Trailers: lines(e.Trailers()), Tags: orEmpty(m.Tags), Groups: orEmpty(m.Groups),
		Sequence: e.Sequence(), FreshnessLifetime: seconds(t.FreshnessLifetime), StaleWhileRevalidate: seconds(t.StaleWhileRevalidate),
		StaleIfError: seconds(t.StaleIfError), StaleDisconnected: seconds(t.StaleDisconnected),
		ETag: string(t.ETag), ResponseTime: timeText(s.ResponseTime), Flags: flagNames(t.Flags),
	}
	if t.LastModified != 0 {
		v.LastModified = time.Unix(t.LastModified, 0).UTC().Format("2006-01-02T15:04:05Z")
	}
	if v.Held != v.Size {
		for _, r := range held {
			v.Ranges = append(v.Ranges, [2]int64{r.Start, r.End})
		}
	}
	return v
}

// variantOf names an entry among those of its URL: what the store tells entries
// apart by.
func variantOf(e storage.Entry) string {
	key, h := e.Key(), sha256.New()
	h.Write(key[:])
	h.Write(e.Stored().Nominated)
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// stateOf is Stored.State.
func stateOf(s *message.Stored, age message.Duration) string {
	f := s.Terms.Flags
	switch {
	case f.Has(message.TermHitForMiss):
		return "uncacheable"
	case f.Has(message.TermInvalidated):
		return "invalid"
	case f.Has(message.TermNoCache):
		return "no-cache"
	case s.Terms.FreshnessLifetime > age:
		return "fresh"
	}
	return "stale"
}

// flagText names the flags that nothing else in Detail tells.
var flagText = []struct {
	flag message.TermFlags
	name string
}{
	{message.TermNoCache, "no-cache"}, {message.TermMustRevalidate, "must-revalidate"}, {message.TermHeuristic, "heuristic"},
	{message.TermShared, "shared"}, {message.TermVaryAny, "vary-any"}, {message.TermImmutable, "immutable"},
	{message.TermHitForMiss, "hit-for-miss"}, {message.TermPartial, "partial"}, {message.TermInvalidated, "invalidated"},
	{message.TermRequestAuthorized, "request-authorized"}, {message.TermSoftPurged, "soft-purged"},
}

func flagNames(f message.TermFlags) []string {
	names := []string{}
	for _, t := range flagText {
		if f.Has(t.flag) {
			names = append(names, t.name)
		}
	}
	return names
}

// lines splits a block of field lines.
func lines(block []byte) []string {
	list := []string{}
	for line := range strings.SplitSeq(string(block), "\r\n") {
		if line != "" {
			list = append(list, line)
		}
	}
	return list
}

// orEmpty is list, which JSON shows as [] where there is nothing in it.
func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

// seconds is d in seconds, to the millisecond.
func seconds(d message.Duration) float64 {
	return time.Duration(d).Round(time.Millisecond).Seconds()
}

func timeText(t message.Instant) string {
	return time.Unix(0, int64(t)).UTC().Format(time.RFC3339Nano)
}
