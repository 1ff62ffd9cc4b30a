package proxy

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// searchRules are what the origin of the law below says by turns.
var searchRules = []string{"", "key-order", `params=("u")`, `key-order, params=("u" "v")`, `except=("a")`, "except=()", `params=("u"`}

// Whatever rules an origin says, changes and drops, and however its answers
// overlap: an answer that another query brought carries a rule that makes the
// two equal; and what an unsafe request made stale answers nobody who asks
// after it.
func TestSearchLaw(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { searchLaw(t, rand.New(rand.NewPCG(seed, 1))) })
		})
	}
}

func searchLaw(t *testing.T, random *rand.Rand) {
	var mu sync.Mutex // random's, and asked's
	pick := func(n int) int {
		mu.Lock()
		defer mu.Unlock()
		return random.IntN(n)
	}
	r := newRig(t, func(c *originConn) bool {
		began := time.Now()
		time.Sleep(time.Duration(pick(3)) * 40 * time.Millisecond)
		if c.req.Method == "POST" {
			return c.say("HTTP/1.1 204 No Content\nContent-Length: 0", "")
		}
		head := "HTTP/1.1 200 OK\nCache-Control: max-age=2\nETag: \"e\""
		if rule := searchRules[pick(len(searchRules))]; rule != "" {
			head += "\nNo-Vary-Search: " + rule
		}
		if c.req.Header.Get("If-None-Match") != "" && pick(2) == 0 {
			return c.say(strings.Replace(head, "200 OK", "304 Not Modified", 1), "")
		}
		return c.say(head, fmt.Sprint(began.UnixNano(), " ", c.req.RequestURI))
	})
	defer r.close()
	queries := []string{"", "?a=1", "?a=1&u=1", "?u=2&a=1", "?b=1&a=1", "?a=1&b=1&u=3", "?v=1", "?%61=1", "?a=2&u=1"}
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			for range 60 {
				target := "/p" + queries[pick(len(queries))]
				if pick(12) == 0 {
					r.get("POST " + target + " HTTP/1.1\nContent-Length: 0")
				} else {
					checkSearched(t, target, r.get(target))
				}
				time.Sleep(time.Duration(pick(5)) * 50 * time.Millisecond)
			}
		})
	}
	clients.Wait()
	// Alone now: every answer to what was invalidated is newer than that, or
	// was validated since.
	for range 60 {
		target := "/p" + queries[pick(len(queries))]
		checkSearched(t, target, r.get(target))
		r.get("POST " + target + " HTTP/1.1\nContent-Length: 0")
		if a := r.get(target); strings.Contains(a.Header.Get("Cache-Status"), "hit") {
			t.Errorf("%s got %q by a hit after it was invalidated", target, a.body)
		}
	}
}

// checkSearched holds an answer to the draft.
func checkSearched(t *testing.T, target string, a answer) {
	_, from, _ := strings.Cut(a.body, " ")
	if from == target {
		return
	}
	r := parseRule(a.Header.Values("No-Vary-Search")...)
	_, asked, _ := strings.Cut(target, "?")
	_, brought, _ := strings.Cut(from, "?")
	// A validation may have changed the rule of what it made current.
	if a.Header.Get("Cache-Status") != "" && strings.Contains(a.Header.Get("Cache-Status"), "fwd-status=304") {
		return
	}
	if r == nil || normal(r, asked) != normal(r, brought) {
		t.Errorf("%s got what %s brought, with No-Vary-Search %q, Cache-Status %q", target, from, a.Header.Values("No-Vary-Search"), a.Header.Get("Cache-Status"))
	}
}
