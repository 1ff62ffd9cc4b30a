package proxy

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"edge/message"
)

func TestBypass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *originConn) bool {
			return c.say("HTTP/1.1 200 OK\nCache-Control: max-age=60", fmt.Sprint(c.n))
		}, func(r *rig, _ *Options) {
			r.route.Key.QueryDrop = []string{"nocache"}
			r.route.Bypass = &Bypass{Cookies: []string{"session", "wp-*"}, Query: []string{"nocache"},
				Fields: []FieldCondition{{Name: []byte("X-Debug")}, {Name: []byte("X-Mode"), Value: []byte("live")}}}
		})
		defer r.close()
		r.get("/p").expect(t, 200, "fwd=uri-miss", "1")
		for i, head := range []string{
			"/p\nCookie: a=1; session=2", "/p\nCookie: a=1\nCookie: session", "/p\nCookie: wp-x=", "/p?a&nocache=1", "/p?nocache",
			"/p\nX-Debug: ", "/p\nx-debug: yes", "/p\nX-Mode: dead\nX-Mode: live",
		} {
			r.get(head).expect(t, 200, "fwd=bypass", fmt.Sprint(i+2))
		}
		for _, head := range []string{
			"/p\nCookie: a=session; xsession=2; Session=3", "/p\nX-Mode: LIVE", "/p\nX-Mode: dead",
		} {
			r.get(head).expect(t, 200, "hit", "1") // nothing was stored meanwhile
		}
		// What nothing matches is another key, not a bypass.
		r.get("/p?xnocache=nocache").expect(t, 200, "fwd=uri-miss", "10")
		r.query("/p\nX-Debug: 1\nContent-Type: a/b", "q").expect(t, 200, "fwd=bypass", "11")
		// What is passed on still invalidates.
		r.get("POST /p HTTP/1.1\nX-Debug: 1\nContent-Length: 0").expect(t, 200, "fwd=bypass", "12")
		if a := r.get("/p"); a.body != "13" {
			t.Errorf("after the POST: %q, %q", a.body, a.Header.Get("Cache-Status"))
		}
	})
}

// What is stripped reaches neither the key nor Vary nor the origin.
func TestStrip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *originConn) bool {
			return c.say("HTTP/1.1 200 OK\nCache-Control: max-age=60\nVary: Cookie, X-Noise",
				fmt.Sprintf("%d|%s|%s", c.n, strings.Join(c.req.Header.Values("Cookie"), "+"), c.req.Header.Get("X-Noise")))
		}, func(r *rig, _ *Options) {
			r.route.Strip = &Strip{Fields: [][]byte{[]byte("X-Noise")}, Cookies: []string{"_ga*", "utm"}}
			r.route.Key.Cookies = [][]byte{[]byte("utm")}
		})
		defer r.close()
		r.get("/p\nCookie: _ga=1; lang=fr;; _ga_x=2; utm=3\nX-Noise: a").expect(t, 200, "uri-miss", "1|lang=fr|")
		r.get("/p\nCookie: lang=fr\nX-Noise: b").expect(t, 200, "hit", "1|lang=fr|")
		r.get("/p\nCookie: _ga=1\nCookie: lang=fr; utm=4").expect(t, 200, "hit", "1|lang=fr|")
		r.get("/p\nCookie: lang=de; a=\"x\"").expect(t, 200, "vary-miss", `2|lang=de; a="x"|`)
		r.get("/p\nCookie: _ga=1; utm=2").expect(t, 200, "vary-miss", "3||")
		if strings.Contains(r.origin.last(), "Cookie") {
			t.Errorf("an empty field was sent: %q", r.origin.last())
		}
		r.get("/p").expect(t, 200, "hit", "3||")
	})
}

// FuzzStripCookies: what a reader of cookies finds afterwards is what it found
// before but for the names to be stripped, and stripping again changes nothing.
func FuzzStripCookies(f *testing.F) {
	f.Add("_ga=1; a=2;b=3 ;; c; _ga_x=4")
	f.Add(";=;==; utm")
	f.Fuzz(func(t *testing.T, value string) {
		if strings.ContainsAny(value, "\r\n\x00") {
			return // no field value
		}
		s := &Strip{Cookies: []string{"_ga*", "utm"}}
		once := s.appendCookies(nil, []byte(value))
		if twice := s.appendCookies(nil, once); string(twice) != string(once) {
			t.Fatalf("%q becomes %q, then %q", value, once, twice)
		}
		var fields message.Fields
		fields.AddKnown(message.FieldCookie, once)
		if hasCookie(&fields, s.Cookies) {
			t.Fatalf("%q still has what was stripped: %q", value, once)
		}
		read := func(v string) (pairs []string) {
			for _, c := range (&http.Request{Header: http.Header{"Cookie": {v}}}).Cookies() {
				if !strings.HasPrefix(c.Name, "_ga") && c.Name != "utm" {
					pairs = append(pairs, c.Name+"="+c.Value)
				}
			}
			return pairs
		}
		if before, after := read(value), read(string(once)); fmt.Sprint(before) != fmt.Sprint(after) {
			t.Fatalf("%q had %q, and %q has %q", value, before, once, after)
		}
	})
}
