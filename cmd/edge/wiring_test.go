package main

import (
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"edge/cache/lock"
	"edge/cache/statemachine"
	"edge/config"
	"edge/message"
	"edge/proxy"
)

// parse is a configuration with one route, whose cache block is given.
func parse(t *testing.T, route string) *config.Config {
	t.Helper()
	c, err := config.Parse("edge.yaml", []byte(simple("http://127.0.0.1:1", "")+route))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestDefaultsAgree holds the file's defaults to the rooms' own: a route without
// a cache block caches by the RFC, as the machine's DefaultPolicy does.
func TestDefaultsAgree(t *testing.T) {
	c := parse(t, "")
	got, want := policyOf(&c.Routes[0]), statemachine.DefaultPolicy()
	got.MaxObject = max(got.MaxObject, 0) // both mean the store's own limit
	if !reflect.DeepEqual(got, want) {
		t.Errorf("policy %+v\nwant   %+v", got, want)
	}
	wait := lock.Options{Wait: lock.DefaultWait, Age: lock.DefaultAge, Alone: lock.DefaultAlone, MaxWaiters: lock.DefaultMaxWaiters}
	if got := lockOptions(&c.Routes[0].Cache.Lock); got != wait {
		t.Errorf("lock %+v, want %+v", got, wait)
	}
	r := buildRoute(&c.Routes[0], nil, time.Minute)
	if r.QueryContent != proxy.DefaultQueryContent || r.IgnoreNoVarySearch || r.Bypass != nil || r.Strip != nil {
		t.Errorf("route %+v", r)
	}
	if r.Host != "" || r.Path != "/*" || !r.Upgrade || r.KeepForwarded || r.Key.QueryAllow != nil {
		t.Errorf("route %+v", r)
	}
}

func TestPolicyOfEveryKey(t *testing.T) {
	c := parse(t, `    request_directives: obey
    targeted: [Surrogate-Control, CDN-Cache-Control]
    cache:
      enabled: false
      key: {query: {drop: [utm_*], sort: true}, fields: [X-Lang], cookies: [tier]}
      ttl: {default: 1h, "404": 10s}
      max_ttl: 2h
      heuristic_max: 3h
      hit_for_miss: 4s
      override: true
      stale: {while_revalidate: 5s, if_error: 6s, disconnected: 7s, max_while_revalidate: 8s, max_if_error: 9s}
      lock: {wait: 0, age: 11s, alone: 0, waiting: 0, tries: 3}
      max_object: 1MiB
      set_cookie: strip
      min_uses: 12
      min_uses_window: 13s
`)
	const s = message.Second
	got := policyOf(&c.Routes[0])
	want := &statemachine.Policy{Disabled: true, ObeyRequest: true,
		Targeted:   [][]byte{[]byte("Surrogate-Control"), []byte("CDN-Cache-Control")},
		DefaultTTL: 3600 * s, StatusTTL: map[int]statemachine.Duration{404: 10 * s}, MaxTTL: 7200 * s, HeuristicMax: 10800 * s,
		HitForMiss: 4 * s, Override: true, StaleWhileRevalidate: 5 * s, StaleIfError: 6 * s, StaleDisconnected: 7 * s,
		MaxStaleWhileRevalidate: 8 * s, MaxStaleIfError: 9 * s, LockTries: 3, MinUses: 12, MinUsesWindow: 13 * s, MaxObject: 1 << 20, Chunk: statemachine.DefaultChunk, SetCookie: statemachine.SetCookieStrip}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("policy %+v\nwant   %+v", got, want)
	}
	if got, want := lockOptions(&c.Routes[0].Cache.Lock), (lock.Options{Wait: -1, Age: 11 * time.Second, Alone: -1, MaxWaiters: -1}); got != want {
		t.Errorf("lock %+v, want %+v", got, want)
	}
	k := keyRules(&c.Routes[0].Cache.Key)
	if !reflect.DeepEqual(k.QueryDrop, []string{"utm_*"}) || !k.QuerySort || string(k.Fields[0]) != "X-Lang" || string(k.Cookies[0]) != "tier" {
		t.Errorf("key %+v", k)
	}
}

func TestConditionsOfEveryKey(t *testing.T) {
	c := parse(t, `    strip: {fields: [X-Noise], cookies: [_ga*]}
    cache:
      key: {no_vary_search: ignore}
      bypass: {cookies: [session], fields: [{name: X-Debug}, {name: X-Mode, value: live}], query: [nocache, "no_*"]}
      query_content: 0
`)
	r := buildRoute(&c.Routes[0], nil, time.Minute)
	bypass := &proxy.Bypass{Cookies: []string{"session"}, Query: []string{"nocache", "no_*"},
		Fields: []proxy.FieldCondition{{Name: []byte("X-Debug")}, {Name: []byte("X-Mode"), Value: []byte("live")}}}
	if !reflect.DeepEqual(r.Bypass, bypass) {
		t.Errorf("bypass %+v\nwant   %+v", r.Bypass, bypass)
	}
	if strip := (&proxy.Strip{Fields: [][]byte{[]byte("X-Noise")}, Cookies: []string{"_ga*"}}); !reflect.DeepEqual(r.Strip, strip) {
		t.Errorf("strip %+v\nwant  %+v", r.Strip, strip)
	}
	if r.QueryContent >= 0 || !r.IgnoreNoVarySearch {
		t.Errorf("route %+v", r)
	}
}

func TestHeapLimit(t *testing.T) {
	const mib = 1 << 20
	for _, c := range []struct {
		what                                        string
		container, size, mapped, live, other, limit int64
	}{
		{"a cache of 1000 MiB, empty", 0, 1000 * mib, 0, 20 * mib, 10 * mib, 1190 * mib},
		{"the same, full of large bodies", 0, 1000 * mib, 1000 * mib, 30 * mib, 10 * mib, 190 * mib},
		{"the same, full of small ones", 0, 1000 * mib, 600 * mib, 350 * mib, 10 * mib, 590 * mib},
		{"more connections than that leaves room for", 0, 1000 * mib, 1000 * mib, 500 * mib, 300 * mib, 950 * mib},
		{"a container with room", 4000 * mib, 1000 * mib, 1000 * mib, 30 * mib, 10 * mib, 190 * mib},
		{"a container without", 1100 * mib, 1000 * mib, 900 * mib, 30 * mib, 10 * mib, 90 * mib},
		{"a container smaller than the cache", 500 * mib, 1000 * mib, 450 * mib, 20 * mib, 10 * mib, minHeap},
	} {
		if got := heapLimit(c.container, c.size, c.mapped, c.live, c.other); got/mib != c.limit/mib {
			t.Errorf("%s: %d MiB, want %d", c.what, got/mib, c.limit/mib)
		}
	}
}

// A small heap is collected after leastGrowth, a large one as in any program.
func TestGCPercent(t *testing.T) {
	const mib = 1 << 20
	for _, c := range []struct {
		live    int64
		percent int
	}{{0, 800}, {3 * mib, 800}, {5 * mib, 800}, {10 * mib, 400}, {20 * mib, 200}, {33 * mib, 100}, {4000 * mib, 100}} {
		if got := gcPercent(c.live); got != c.percent {
			t.Errorf("%d MiB live: %d percent, want %d", c.live/mib, got, c.percent)
		}
	}
}

// The floor of the limit is made of what the runtime says is in use.
func TestUsage(t *testing.T) {
	runtime.GC()
	live, other := newUsage().read()
	if live < 64<<10 || other < 64<<10 || live+other > 1<<40 {
		t.Errorf("%d bytes live and %d elsewhere", live, other)
	}
}

func TestIsTaken(t *testing.T) {
	for path, want := range map[string]bool{
		"routes[0].origin": true, "origins.app.host": true, "trusted_proxies": true, "limits.origin.connections": true,
		"logging.level": true, "limits.listener.drain": false, "logging.access": false, "cache.memory.size": false,
		"node.name": false, "routesque": false, "listeners[0].address": false,
	} {
		if isTaken(path) != want {
			t.Errorf("%s: %v", path, !want)
		}
	}
}

func TestBuild(t *testing.T) {
	if b := build(); b.Version == "" || b.Revision == "" || !strings.HasPrefix(b.GoVersion, "go") {
		t.Errorf("%+v", b)
	}
}
