package statemachine

import (
	"testing"

	"edge/message/sf"
)

// RFC 9211.
func TestAppendCacheStatus(t *testing.T) {
	fresh := stored("Cache-Control: max-age=60")
	for _, tc := range []struct {
		name     string
		decision Decision
		want     string
	}{
		{"hit", Decision{Reason: ReasonHit, Response: fresh}, "edge; hit; ttl=30"},
		{"stale hit", Decision{Reason: ReasonStaleWhileRevalidate, Response: stored("Cache-Control: max-age=9")},
			"edge; hit; ttl=-21; detail=stale-while-revalidate"},
		{"stored miss", Decision{Reason: ReasonURIMiss, Forward: ReasonURIMiss, ForwardStatus: 200, Stored: true, Response: fresh},
			"edge; fwd=uri-miss; stored; ttl=30"},
		{"follower", Decision{Reason: ReasonCollapsed, Forward: ReasonURIMiss, Collapsed: true, Response: fresh}, "edge; fwd=uri-miss; collapsed; ttl=30"},
		{"validated", Decision{Reason: ReasonStale, Forward: ReasonStale, ForwardStatus: 304, Response: fresh}, "edge; fwd=stale; fwd-status=304; ttl=30"},
		{"unstorable", Decision{Reason: ReasonNoStore, Forward: ReasonURIMiss, ForwardStatus: 200, NotStored: ReasonNoStore}, "edge; fwd=uri-miss; detail=no-store"},
		{"stale-if-error", Decision{Reason: ReasonStaleIfError, Forward: ReasonStale, ForwardStatus: 503, NotStored: ReasonServerError, Response: stored("Cache-Control: max-age=30")},
			"edge; fwd=stale; fwd-status=503; ttl=0; detail=stale-if-error"},
		{"nothing came", Decision{Reason: ReasonTimeout, Forward: ReasonURIMiss, Status: 504}, "edge; fwd=uri-miss; detail=timeout"},
		{"an answer of our own", Decision{Reason: ReasonBadNotModified, Forward: ReasonStale, ForwardStatus: 304, Status: 502}, "edge; fwd=stale; fwd-status=304; detail=bad-not-modified"},
		{"bypass", Decision{Reason: ReasonBypass, Forward: ReasonBypass, ForwardStatus: 404}, "edge; fwd=bypass"},
		{"hit-for-miss", Decision{Reason: ReasonHitForMiss, Forward: ReasonHitForMiss, ForwardStatus: 200}, "edge; fwd=miss; detail=hit-for-miss"},
	} {
		if got := string(tc.decision.AppendCacheStatus(nil, []byte("edge"), noon.Add(30*sec))); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.name, got, tc.want)
		}
	}
}

func TestCacheStatusRoundsDown(t *testing.T) {
	d := Decision{Reason: ReasonHit, Response: stored("Cache-Control: max-age=1")}
	for at, want := range map[Duration]string{sec / 2: "edge; hit; ttl=0", 3 * sec / 2: "edge; hit; ttl=-1"} {
		if got := string(d.AppendCacheStatus(nil, []byte("edge"), noon.Add(at))); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// Every reason makes a member that a structured field parser reads, whatever
// the node is called.
func TestCacheStatusIsAStructuredField(t *testing.T) {
	for _, why := range Reasons() {
		for _, name := range []string{"edge", "a/b:c", "CDN Company Here", `q"uo\te`, "1st", "", "caf\xc3\xa9"} {
			d := Decision{Reason: why, Forward: why, NotStored: why, ForwardStatus: 200, Collapsed: true, Stored: true}
			member := d.AppendCacheStatus([]byte("x="), []byte(name), noon)
			if got, err := sf.ParseDictionary([][]byte{member}); err != nil || len(got) != 1 {
				t.Errorf("%v, %q: %s: %v", why, name, member, err)
			}
		}
	}
}

func TestCacheStatusDoesNotAllocate(t *testing.T) {
	room, name := make([]byte, 0, 128), []byte("edge")
	d := Decision{Reason: ReasonHit, Response: stored("Cache-Control: max-age=60")}
	noAllocs(t, "AppendCacheStatus", func() { d.AppendCacheStatus(room, name, noon) })
}
