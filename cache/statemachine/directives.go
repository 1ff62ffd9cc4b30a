package statemachine

import (
	"strconv"

	"edge/message"
	"edge/message/sf"
)

// requestDirectives are the cache directives of a request, RFC 9111 section
// 5.2.1. Durations are -1 where absent. The zero value, whose present is
// false, means that nothing was said; look at present first.
type requestDirectives struct {
	present                                     bool
	noCache, noStore, onlyIfCached, maxStaleAny bool
	maxAge, minFresh, maxStale                  Duration
}

// parseRequestDirectives reads Cache-Control, and Pragma where there is no
// Cache-Control. It does not allocate.
func parseRequestDirectives(f *message.Fields) requestDirectives {
	if !f.Has(message.FieldCacheControl) {
		// RFC 9111 section 5.4: Pragma "was defined for HTTP/1.0 caches, so
		// that clients could specify a "no-cache" request (as Cache-Control
		// was not defined until HTTP/1.1)."
		if f.Has(message.FieldPragma) && saysNoCache(f) {
			return requestDirectives{present: true, noCache: true, maxAge: -1, minFresh: -1, maxStale: -1}
		}
		return requestDirectives{}
	}
	d := requestDirectives{present: true, maxAge: -1, minFresh: -1, maxStale: -1}
	for i := f.Next(message.FieldCacheControl, 0); i >= 0; i = f.Next(message.FieldCacheControl, i+1) {
		l := list{rest: f.All()[i].Value}
		for element, ok := l.next(); ok; element, ok = l.next() {
			d.take(cutDirective(element))
		}
	}
	return d
}

func (d *requestDirectives) take(name, arg []byte, form argumentForm) {
	switch {
	case message.EqualFoldString(name, "max-age"):
		takeRequestDelta(&d.maxAge, arg, form)
	case message.EqualFoldString(name, "min-fresh"):
		takeRequestDelta(&d.minFresh, arg, form)
	case message.EqualFoldString(name, "max-stale"):
		// "If no value is assigned to max-stale, then the client will accept
		// a stale response of any age." (section 5.2.1.2)
		if form == argumentNone {
			d.maxStaleAny = true
		}
		takeRequestDelta(&d.maxStale, arg, form)
	case message.EqualFoldString(name, "no-cache"):
		d.noCache = true
	case message.EqualFoldString(name, "no-store"):
		d.noStore = true
	case message.EqualFoldString(name, "only-if-cached"):
		d.onlyIfCached = true
	}
}

// takeRequestDelta keeps the first valid value. Request directives "are
// advisory" (section 5.2.1), so an invalid one is no wish at all.
func takeRequestDelta(to *Duration, arg []byte, form argumentForm) {
	if form != argumentToken && form != argumentQuoted {
		return
	}
	if v, ok := parseDelta(arg); ok && *to < 0 {
		*to = v
	}
}

func saysNoCache(f *message.Fields) bool {
	for i := f.Next(message.FieldPragma, 0); i >= 0; i = f.Next(message.FieldPragma, i+1) {
		l := list{rest: f.All()[i].Value}
		for element, ok := l.next(); ok; element, ok = l.next() {
			if message.EqualFoldString(element, "no-cache") {
				return true
			}
		}
	}
	return false
}

// responseDirectives are the cache directives of a response: those of
// Cache-Control (RFC 9111 section 5.2.2, RFC 5861, RFC 8246) or of the
// targeted field that replaces it (RFC 9213). Durations are -1 where absent.
type responseDirectives struct {
	maxAge, sMaxAge                    Duration
	staleWhileRevalidate, staleIfError Duration

	public, private, noStore, noCache bool // private, noCache: unqualified
	mustRevalidate, proxyRevalidate   bool
	mustUnderstand, immutable         bool
	// noCacheFields and privateFields are the field names of the qualified
	// forms.
	noCacheFields, privateFields [][]byte
	// targeted: a targeted field ruled; Cache-Control and Expires are ignored.
	targeted bool
}

// maxQualifiedFields bounds how many field names the qualified forms of
// no-cache and private may list; beyond it the directive counts as
// unqualified, which forbids more.
const maxQualifiedFields = 64

// parseResponseDirectives reads the first of the targeted fields that is
// present and valid, else Cache-Control. Without a targeted field, and without
// a qualified no-cache or private, it does not allocate.
func parseResponseDirectives(f *message.Fields, targeted [][]byte) responseDirectives {
	d := responseDirectives{maxAge: -1, sMaxAge: -1, staleWhileRevalidate: -1, staleIfError: -1}
	// RFC 9213 section 2.2: "the cache MUST select the first (in target-list
	// order) field with a valid, non-empty value and use its value to
	// determine the caching policy for the response, and it MUST ignore the
	// Cache-Control and Expires header fields in that response".
	for _, name := range targeted {
		if i := f.NextName(name, 0); i >= 0 && d.takeTargeted(f, name, i) {
			return d
		}
	}
	for i := f.Next(message.FieldCacheControl, 0); i >= 0; i = f.Next(message.FieldCacheControl, i+1) {
		l := list{rest: f.All()[i].Value}
		for element, ok := l.next(); ok; element, ok = l.next() {
			d.take(cutDirective(element))
		}
	}
	return d
}

// takeTargeted reads a targeted field whose first line is the one at i.
func (d *responseDirectives) takeTargeted(f *message.Fields, name []byte, i int) bool {
	var lines [][]byte
	for ; i >= 0; i = f.NextName(name, i+1) {
		lines = append(lines, f.All()[i].Value)
	}
	members, err := sf.ParseDictionary(lines)
	if err != nil {
		// RFC 9213 section 2.1: "If a targeted field in a given response is
		// empty, or a parsing error is encountered, that field MUST be
		// ignored by the cache".
		return false
	}
	d.targeted = true
	for i := range members {
		m := &members[i]
		switch m.Item.Kind {
		case sf.Boolean:
			if m.Item.Boolean {
				d.take([]byte(m.Key), nil, argumentNone)
			}
		case sf.Integer:
			d.take([]byte(m.Key), strconv.AppendInt(nil, m.Item.Integer, 10), argumentToken)
		case sf.Token:
			d.take([]byte(m.Key), []byte(m.Item.Text), argumentToken)
		case sf.String:
			d.take([]byte(m.Key), []byte(m.Item.Text), argumentQuoted)
		default: // another kind is no argument of any directive
			d.take([]byte(m.Key), nil, argumentBroken)
		}
	}
	return true
}

// take interprets one directive. What restricts is honoured in spite of an
// argument it should not have; what permits is not. "A cache MUST ignore
// unrecognized cache directives" (RFC 9111 section 5.2.3).
func (d *responseDirectives) take(name, arg []byte, form argumentForm) {
	plain := form == argumentNone
	switch {
	case message.EqualFoldString(name, "max-age"):
		d.takeDelta(&d.maxAge, arg, form)
	case message.EqualFoldString(name, "s-maxage"):
		d.takeDelta(&d.sMaxAge, arg, form)
	case message.EqualFoldString(name, "stale-while-revalidate"):
		d.takeDelta(&d.staleWhileRevalidate, arg, form)
	case message.EqualFoldString(name, "stale-if-error"):
		d.takeDelta(&d.staleIfError, arg, form)
	case message.EqualFoldString(name, "no-store"):
		d.noStore = true
	case message.EqualFoldString(name, "no-cache"):
		takeQualified(&d.noCache, &d.noCacheFields, arg, form)
	case message.EqualFoldString(name, "private"):
		takeQualified(&d.private, &d.privateFields, arg, form)
	case message.EqualFoldString(name, "must-revalidate"):
		d.mustRevalidate = true
	case message.EqualFoldString(name, "proxy-revalidate"):
		d.proxyRevalidate = true
	case message.EqualFoldString(name, "public"):
		d.public = d.public || plain
	case message.EqualFoldString(name, "must-understand"):
		d.mustUnderstand = d.mustUnderstand || plain
	case message.EqualFoldString(name, "immutable"):
		// RFC 8246 section 2: "If any arguments are present, they have no
		// meaning and MUST be ignored."
		d.immutable = true
	}
}

// takeDelta keeps the first value: "either the first occurrence should be used
// or the response should be considered stale" (RFC 9111 section 4.2.1). An
// invalid value counts as zero: "Caches are encouraged to consider responses
// that have invalid freshness information (e.g., a max-age directive with
// non-integer content) to be stale."
func (d *responseDirectives) takeDelta(to *Duration, arg []byte, form argumentForm) {
	if *to >= 0 {
		return
	}
	*to = 0
	// "recipients ought to accept both forms" (section 5.2); but in a targeted
	// field a String is not an Integer, and "Implementations SHOULD NOT
	// consume values that violate these inferred constraints" (RFC 9213
	// section 2.1).
	if form == argumentToken || (form == argumentQuoted && !d.targeted) {
		if v, ok := parseDelta(arg); ok {
			*to = v
		}
	}
}

// takeQualified reads no-cache or private. An argument that lists no valid
// names leaves the unqualified form, the one that forbids more.
func takeQualified(unqualified *bool, names *[][]byte, arg []byte, form argumentForm) {
	if form != argumentToken && form != argumentQuoted {
		*unqualified = true
		return
	}
	n := 0
	l := list{rest: arg}
	for name, ok := l.next(); ok; name, ok = l.next() {
		if !isToken(name) || len(*names) >= maxQualifiedFields {
			*unqualified = true
			return
		}
		*names = append(*names, name)
		n++
	}
	if n == 0 {
		*unqualified = true
	}
}

// argumentForm is the form of a directive's argument.
type argumentForm uint8

const (
	argumentNone   argumentForm = iota
	argumentToken               // after "="; may be empty or no token at all
	argumentQuoted              // a quoted-string, its quotes removed
	argumentBroken              // none of these
)

// cutDirective cuts a cache-directive in two:
//
//	cache-directive = token [ "=" ( token / quoted-string ) ]
//
// White space around "=" is not allowed there, and makes the argument broken.
func cutDirective(element []byte) (name, arg []byte, form argumentForm) {
	n := 0
	for n < len(element) && element[n] != '=' {
		n++
	}
	if n == len(element) {
		return element, nil, argumentNone
	}
	name, arg = trimOWS(element[:n]), element[n+1:]
	switch {
	case len(name) != n || (len(arg) > 0 && isOWS(arg[0])):
		return name, nil, argumentBroken
	case len(arg) > 0 && arg[0] == '"':
		if quotedEnd(arg) != len(arg) {
			return name, nil, argumentBroken
		}
		return name, unquote(arg), argumentQuoted
	}
	return name, arg, argumentToken
}

// maxDelta is the greatest number of seconds we tell apart. RFC 9111 section
// 1.2.2: "If a cache receives a delta-seconds value greater than the greatest
// integer it can represent, or if any of its subsequent calculations
// overflows, the cache MUST consider the value to be 2147483648 (2^31) or the
// greatest positive integer it can conveniently represent." With it as the
// bound of every term, no sum of a few of them overflows a Duration.
const maxDelta = 1 << 31

// parseDelta parses delta-seconds = 1*DIGIT, saturating at maxDelta seconds.
func parseDelta(b []byte) (Duration, bool) {
	if len(b) == 0 {
		return 0, false
	}
	n := int64(0)
	for _, c := range b {
		if !isDigit(c) {
			return 0, false
		}
		if n = n*10 + int64(c-'0'); n > maxDelta {
			n = maxDelta
		}
	}
	return n * message.Second, true
}

// seconds turns a count of seconds into a Duration between 0 and maxDelta.
func seconds(n int64) Duration {
	return min(max(n, 0), maxDelta) * message.Second
}
