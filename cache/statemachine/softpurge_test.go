package statemachine

import (
	"testing"

	"edge/message"
)

// softPurged is what a store makes of x when a soft purge meets it at a time.
func softPurged(x *message.Stored, at Instant) *message.Stored {
	s := *x
	s.Terms.Flags |= message.TermSoftPurged
	s.Terms.FreshnessLifetime = min(s.Terms.FreshnessLifetime, s.CurrentAge(at))
	return &s
}

// What is soft-purged is stale from that moment, by every clock, and its
// windows count from there.
func TestSoftPurged(t *testing.T) {
	at := noon.Add(20 * sec)
	for _, tc := range []struct {
		name     string
		fields   []string
		now      Instant
		usable   bool
		stale    Duration
		whileOK  bool // stale-while-revalidate
		errorOK  bool // stale-if-error
		gone     bool // unreachable origin
		validate bool
	}{
		{"at once", []string{"Cache-Control: max-age=60, stale-while-revalidate=10, stale-if-error=30", `ETag: "a"`}, at, false, 0, true, true, true, true},
		{"by a clock read before", []string{"Cache-Control: max-age=60, stale-while-revalidate=10"}, at.Add(-sec), false, 0, true, false, true, false},
		{"window over", []string{"Cache-Control: max-age=60, stale-while-revalidate=10, stale-if-error=30"}, at.Add(11 * sec), false, 11 * sec, false, true, true, false},
		{"no window", []string{"Cache-Control: max-age=60"}, at.Add(-1), false, 0, false, false, true, false},
		{"forbidden", []string{"Cache-Control: max-age=60, must-revalidate, stale-if-error=30"}, at, false, 0, false, false, false, false},
		{"stale before", []string{"Cache-Control: max-age=5, stale-while-revalidate=30"}, at, false, 15 * sec, true, false, true, false},
	} {
		s := softPurged(stored(tc.fields...), at)
		m := HTTPCache{policy: DefaultPolicy()}
		if usable, why := m.classifyStored(s, tc.now); usable != tc.usable || why != ReasonStale {
			t.Errorf("%s: usable %v, %v", tc.name, usable, why)
		}
		if got := staleFor(s, tc.now); got != tc.stale {
			t.Errorf("%s: stale for %d, want %d", tc.name, got, tc.stale)
		}
		terms := &s.Terms
		got := [...]bool{m.staleAllowed(s, tc.now, terms.StaleWhileRevalidate), m.staleAllowed(s, tc.now, terms.StaleIfError),
			m.staleAllowed(s, tc.now, terms.StaleDisconnected), hasValidator(s)}
		if want := [...]bool{tc.whileOK, tc.errorOK, tc.gone, tc.validate}; got != want {
			t.Errorf("%s: while revalidating, on error, unreachable, validator: %v, want %v", tc.name, got, want)
		}
	}
}

// A 304 makes it fresh again.
func TestSoftPurgedFreshened(t *testing.T) {
	s := softPurged(stored("Cache-Control: max-age=60", `ETag: "a"`), noon)
	resp := &message.Response{Status: 304, NoBody: true}
	resp.Fields.AddKnown(message.FieldETag, []byte(`"a"`))
	f := freshenedHead(s, &message.Request{Method: message.MethodGet}, resp, DefaultPolicy(), noon, noon)
	if f.Terms.Flags.Has(message.TermSoftPurged) || !isFresh(f, noon) || f.Terms.FreshnessLifetime != 60*sec {
		t.Errorf("after a 304: flags %b, lifetime %d", f.Terms.Flags, f.Terms.FreshnessLifetime)
	}
}
