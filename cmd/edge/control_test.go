package main

import (
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
)

// ask is one request of a control, and what must come of it.
type ask struct {
	method, target string // GET unless given
	fields         []string
	content        string

	cacheStatus string // how it begins after "edge; "
	ttl         int    // of a hit, as far as 5 s may have passed; 0: not looked at
	body        string // the number of the origin's answer, then what it echoes
	cookie      string // Set-Cookie
	status      int    // 200 unless given
}

// control is what an operator writes into a route, and what it changes.
type control struct {
	name   string
	route  string // below the route's origin, in YAML
	answer func(w http.ResponseWriter, r *http.Request)
	asks   []ask
}

// says answers with fields.
func says(fields ...string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(fields); i += 2 {
			w.Header().Add(fields[i], fields[i+1])
		}
	}
}

// stale answers with what is stale when it comes, the first time only: then with
// status.
func stale(status int) func(http.ResponseWriter, *http.Request) {
	var n atomic.Int64
	return func(w http.ResponseWriter, r *http.Request) {
		if n.Add(1) > 1 && status == 0 {
			panic(http.ErrAbortHandler)
		} else if n.Load() > 1 {
			w.WriteHeader(status)
		}
		says("Cache-Control", "max-age=60", "Age", "100", "ETag", `"a"`)(w, r)
	}
}

const stored, miss = "fwd=uri-miss; stored", "fwd=uri-miss"

// controls are the operator's, one by one: item by item from the file to what a
// client sees.
var controls = []control{
	{"without any", "", says("Cache-Control", "max-age=100"), []ask{
		{target: "/a", cacheStatus: stored, body: "1"}, {target: "/a", cacheStatus: "hit", ttl: 100, body: "1"}}},
	{"cache.enabled", "cache: {enabled: false}", says("Cache-Control", "max-age=100"), []ask{
		{target: "/a", cacheStatus: "fwd=bypass", body: "1"}, {target: "/a", cacheStatus: "fwd=bypass", body: "2"}}},

	{"cache.ttl.default", "cache: {ttl: {default: 200s}}", says(), []ask{
		{target: "/a", cacheStatus: stored, body: "1"}, {target: "/a", cacheStatus: "hit", ttl: 200, body: "1"}}},
	{"cache.ttl by status, negative", `cache: {ttl: {"404": 50s}}`, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/none" {
			w.WriteHeader(404)
		}
	}, []ask{
		{target: "/none", cacheStatus: stored, body: "1", status: 404},
		{target: "/none", cacheStatus: "hit", ttl: 50, body: "1", status: 404},
		{target: "/a", cacheStatus: miss, body: "2"}, {target: "/a", cacheStatus: "fwd=", body: "3"}}},
	{"cache.override", "cache: {ttl: {default: 200s}, override: true}", says("Cache-Control", "no-store, private, max-age=5"), []ask{
		{target: "/a", cacheStatus: stored, body: "1"}, {target: "/a", cacheStatus: "hit", ttl: 200, body: "1"}}},
	{"without cache.override", "cache: {ttl: {default: 200s}, hit_for_miss: 0}", says("Cache-Control", "no-store"), []ask{
		{target: "/a", cacheStatus: miss, body: "1"}, {target: "/a", cacheStatus: miss, body: "2"}}},
	{"cache.max_ttl", "cache: {max_ttl: 70s}", says("Cache-Control", "max-age=1000"), []ask{
		{target: "/a", cacheStatus: stored, body: "1"}, {target: "/a", cacheStatus: "hit", ttl: 70, body: "1"}}},

	{"request_directives: ignore", "request_directives: ignore", says("Cache-Control", "max-age=100"), []ask{
		{target: "/a", fields: []string{"Cache-Control", "no-store"}, cacheStatus: stored, body: "1"},
		{target: "/a", fields: []string{"Cache-Control", "no-cache"}, cacheStatus: "hit", body: "1"}}},
	{"request_directives: obey", "request_directives: obey", says("Cache-Control", "max-age=100"), []ask{
		{target: "/a", fields: []string{"Cache-Control", "no-store"}, cacheStatus: miss, body: "1"},
		{target: "/a", cacheStatus: stored, body: "2"},
		{target: "/a", fields: []string{"Cache-Control", "no-cache"}, cacheStatus: "fwd=request", body: "3"}}},
	{"targeted", "", says("CDN-Cache-Control", "max-age=300", "Cache-Control", "no-store"), []ask{
		{target: "/a", cacheStatus: stored, body: "1"}, {target: "/a", cacheStatus: "hit", ttl: 300, body: "1"}}},
	{"targeted: none", "targeted: []", says("CDN-Cache-Control", "no-store", "Cache-Control", "max-age=100"), []ask{
		{target: "/a", cacheStatus: stored, body: "1"}, {target: "/a", cacheStatus: "hit", ttl: 100, body: "1"}}},

	{"cache.set_cookie: default", "cache: {hit_for_miss: 0}", says("Cache-Control", "max-age=100", "Set-Cookie", "a=1"), []ask{
		{target: "/a", cacheStatus: miss, body: "1", cookie: "a=1"}, {target: "/a", cacheStatus: miss, body: "2", cookie: "a=1"}}},
	{"cache.set_cookie: default, public", "", says("Cache-Control", "max-age=100, public", "Set-Cookie", "a=1"), []ask{
		{target: "/a", cacheStatus: stored, body: "1", cookie: "a=1"}, {target: "/a", cacheStatus: "hit", body: "1", cookie: "a=1"}}},
	{"cache.set_cookie: store", "cache: {set_cookie: store}", says("Cache-Control", "max-age=100", "Set-Cookie", "a=1"), []ask{
		{target: "/a", cacheStatus: stored, body: "1", cookie: "a=1"}, {target: "/a", cacheStatus: "hit", body: "1", cookie: "a=1"}}},
	{"cache.set_cookie: strip", "cache: {set_cookie: strip}", says("Cache-Control", "max-age=100", "Set-Cookie", "a=1"), []ask{
		{target: "/a", cacheStatus: stored, body: "1", cookie: "*"}, {target: "/a", cacheStatus: "hit", body: "1"}}},

	{"cache.key.fields and cookies", "cache: {key: {fields: [X-Lang], cookies: [tier]}}", says("Cache-Control", "max-age=100"), []ask{
		{target: "/a", fields: []string{"X-Lang", "fr", "Cookie", "tier=1; x=1"}, cacheStatus: stored, body: "1"},
		{target: "/a", fields: []string{"X-Lang", "fr", "Cookie", "x=2; tier=1"}, cacheStatus: "hit", body: "1"},
		{target: "/a", fields: []string{"X-Lang", "de", "Cookie", "tier=1"}, cacheStatus: stored, body: "2"},
		{target: "/a", fields: []string{"X-Lang", "fr", "Cookie", "tier=2"}, cacheStatus: stored, body: "3"}}},
	{"strip", "strip: {fields: [X-Noise], cookies: [_ga*]}", func(w http.ResponseWriter, r *http.Request) {
		says("Cache-Control", "max-age=100", "Vary", "X-Noise, Cookie")(w, r)
		fmt.Fprint(w, r.Header.Get("X-Noise"), r.Header.Get("Cookie"))
	}, []ask{
		{target: "/a", fields: []string{"X-Noise", "1", "Cookie", "_ga=1; a=2; _gat=3"}, cacheStatus: stored, body: "a=21"},
		{target: "/a", fields: []string{"X-Noise", "2", "Cookie", "a=2"}, cacheStatus: "hit", body: "a=21"}}},
	{"cache.key.query.allow", "cache: {key: {query: {allow: [id, p_*]}}}", says("Cache-Control", "max-age=100"), []ask{
		{target: "/a?x=1&id=1&p_a", cacheStatus: stored, body: "1?id=1&p_a"}, {target: "/a?id=1&y&p_a", cacheStatus: "hit", body: "1?id=1&p_a"}}},
	{"cache.key.query.drop and sort", "cache: {key: {query: {drop: [utm_*], sort: true}}}", says("Cache-Control", "max-age=100"), []ask{
		{target: "/a?b=2&utm_x=1&a=1", cacheStatus: stored, body: "1?a=1&b=2"}, {target: "/a?a=1&b=2", cacheStatus: "hit", body: "1?a=1&b=2"}}},
	{"cache.key.no_vary_search: obey", "", says("Cache-Control", "max-age=100", "No-Vary-Search", `key-order, params=("u")`), []ask{
		{target: "/a?b&u=1&a", cacheStatus: stored, body: "1?b&u=1&a"}, {target: "/a?a&b&u=2", cacheStatus: "hit", body: "1?b&u=1&a"}}},
	{"cache.key.no_vary_search: ignore", "cache: {key: {no_vary_search: ignore}}", says("Cache-Control", "max-age=100", "No-Vary-Search", "key-order"), []ask{
		{target: "/a?b&a", cacheStatus: stored, body: "1?b&a"}, {target: "/a?a&b", cacheStatus: stored, body: "2?a&b"}}},

	{"cache.bypass", "cache: {bypass: {cookies: [session], fields: [{name: X-Debug}, {name: X-Mode, value: live}], query: [nocache]}}",
		says("Cache-Control", "max-age=100"), []ask{
			{target: "/a", cacheStatus: stored, body: "1"},
			{target: "/a", fields: []string{"Cookie", "session=1"}, cacheStatus: "fwd=bypass", body: "2"},
			{target: "/a", fields: []string{"X-Debug", ""}, cacheStatus: "fwd=bypass", body: "3"},
			{target: "/a", fields: []string{"X-Mode", "live"}, cacheStatus: "fwd=bypass", body: "4"},
			{target: "/a?nocache", cacheStatus: "fwd=bypass", body: "5?nocache"},
			{target: "/a", fields: []string{"X-Mode", "dead", "Cookie", "a=session"}, cacheStatus: "hit", body: "1"}}},

	{"cache.stale.while_revalidate", "cache: {stale: {while_revalidate: 1h}}", stale(200), []ask{
		{target: "/a", cacheStatus: stored, body: "1"}, {target: "/a", cacheStatus: "hit; ttl=-4", body: "1"}}},
	{"cache.stale.if_error", "cache: {stale: {if_error: 1h}}", stale(503), []ask{
		{target: "/a", cacheStatus: stored, body: "1"}, {target: "/a", cacheStatus: "fwd=stale", body: "1"}}},
	{"without cache.stale.if_error", "", stale(503), []ask{
		{target: "/a", cacheStatus: stored, body: "1"}, {target: "/a", cacheStatus: "fwd=stale", body: "2", status: 503}}},
	{"cache.stale.disconnected", "", stale(0), []ask{
		{target: "/a", cacheStatus: stored, body: "1"}, {target: "/a", cacheStatus: "fwd=stale", body: "1"}}},
	{"cache.stale.disconnected: 0", "cache: {stale: {disconnected: 0}}", stale(0), []ask{
		{target: "/a", cacheStatus: stored, body: "1"}, {target: "/a", body: "504 Gateway Timeout", status: 504}}},

	{"cache.max_object", "cache: {max_object: 10B}", func(w http.ResponseWriter, r *http.Request) {
		says("Cache-Control", "max-age=100")(w, r)
		if r.URL.Path == "/large" {
			fmt.Fprint(w, "0123456789")
		}
	}, []ask{
		{target: "/small", cacheStatus: stored, body: "1"}, {target: "/small", cacheStatus: "hit", body: "1"},
		{target: "/large", cacheStatus: miss, body: "01234567892"}, {target: "/large", cacheStatus: "fwd=", body: "01234567893"}}},
	{"cache.min_uses", "cache: {min_uses: 3, min_uses_window: 1h}", says("Cache-Control", "max-age=100"), []ask{
		{target: "/a", cacheStatus: miss + "; detail=min-uses", body: "1"}, {target: "/a", cacheStatus: miss + "; detail=min-uses", body: "2"},
		{target: "/a", cacheStatus: stored, body: "3"}, {target: "/a", cacheStatus: "hit", body: "3"}}},
	{"QUERY", "", says("Cache-Control", "max-age=100"), []ask{
		{method: "QUERY", target: "/a", content: "q", cacheStatus: stored, body: "1"},
		{method: "QUERY", target: "/a", content: "q", cacheStatus: "hit", body: "1"},
		{method: "QUERY", target: "/a", content: "r", cacheStatus: stored, body: "2"}}},
	{"cache.query_content", "cache: {query_content: 1B}", says("Cache-Control", "max-age=100"), []ask{
		{method: "QUERY", target: "/a", content: "qq", cacheStatus: "fwd=bypass", body: "1"},
		{method: "QUERY", target: "/a", content: "qq", cacheStatus: "fwd=bypass", body: "2"},
		{method: "QUERY", target: "/a", content: "q", cacheStatus: stored, body: "3"}}},
}

// Every control of a route, from the file to what a client sees.
func TestControls(t *testing.T) {
	for _, c := range controls {
		t.Run(c.name, func(t *testing.T) {
			var n atomic.Int64
			origin := originOf(t, func(w http.ResponseWriter, r *http.Request) {
				number := n.Add(1)
				c.answer(w, r)
				fmt.Fprint(w, number)
				if r.URL.RawQuery != "" {
					fmt.Fprint(w, "?", r.URL.RawQuery)
				}
			})
			p := launch(t, "run", "-c", file(t, simple(origin.URL, "    "+c.route+"\n")))
			for i := range c.asks {
				if err := c.asks[i].ask(p.url(0)); err != nil {
					t.Fatalf("request %d: %v", i+1, err)
				}
			}
		})
	}
}

var ttlPattern = regexp.MustCompile(`ttl=(-?\d+)`)

// ask sends the request and says what is wrong with the answer.
func (a *ask) ask(base string) error {
	method, status := a.method, a.status
	if method == "" {
		method = "GET"
	}
	if status == 0 {
		status = 200
	}
	r, err := http.NewRequest(method, base+a.target, strings.NewReader(a.content))
	if err != nil {
		return err
	}
	for i := 0; i < len(a.fields); i += 2 {
		r.Header.Set(a.fields[i], a.fields[i+1])
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	resp, err := client.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	got := strings.TrimPrefix(resp.Header.Get("Cache-Status"), "edge; ")
	if resp.StatusCode != status || !strings.HasPrefix(got, a.cacheStatus) || !strings.HasPrefix(string(body), a.body) {
		return fmt.Errorf("%d, Cache-Status %q, %q; want %d, %q, %q", resp.StatusCode, got, body, status, a.cacheStatus, a.body)
	}
	if cookie := resp.Header.Get("Set-Cookie"); a.cookie != "*" && cookie != a.cookie {
		return fmt.Errorf("Set-Cookie %q, want %q", cookie, a.cookie)
	}
	if m := ttlPattern.FindStringSubmatch(got); a.ttl != 0 {
		ttl := 0
		if m != nil {
			ttl, _ = strconv.Atoi(m[1])
		}
		if ttl > a.ttl || ttl < a.ttl-5 {
			return fmt.Errorf("Cache-Status %q, want a ttl of %d", got, a.ttl)
		}
	}
	return nil
}
