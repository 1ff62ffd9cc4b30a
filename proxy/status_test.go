package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"

	"edge/message/sf"
	"edge/pool"
	"edge/purge"
)

// TestProxyStatus: RFC 9209 section 2.1.1, "the most specific proxy error type
// SHOULD be sent", with "the recommended HTTP status code"; and the member is a
// structured one whatever the node is called.
func TestProxyStatus(t *testing.T) {
	for _, c := range []struct {
		name, node, request string
		dial                error // what connecting comes to
		status              int
		want                string
	}{
		{"refused", "edge", "/x", syscall.ECONNREFUSED, 502, "edge; error=connection_refused"},
		{"no such name", "edge", "/x", &net.DNSError{Err: "no such host", IsNotFound: true}, 502, "edge; error=dns_error"},
		{"resolver timeout", "edge", "/x", &net.DNSError{Err: "timeout", IsTimeout: true}, 504, "edge; error=dns_timeout"},
		{"no way", "edge", "/x", syscall.EHOSTUNREACH, 502, "edge; error=destination_ip_unroutable"},
		{"otherwise", "edge", "/x", errors.New("odd"), 503, "edge; error=destination_unavailable"},
		{"a hostname", "proxy-3.example.com", "/x", syscall.ECONNREFUSED, 502, "proxy-3.example.com; error=connection_refused"},
		{"a name that is no Token", "3rd node", "/x", syscall.ECONNREFUSED, 502, `"3rd node"; error=connection_refused`},
		{"not asked", "edge", "/x\nCache-Control: only-if-cached", nil, 504, "edge; error=proxy_internal_response"},
		{"a 304 that nobody asked for", "edge", "/304", nil, 502, "edge; error=http_protocol_error"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, func(o *originConn) bool { return o.say("HTTP/1.1 304 Not Modified\nETag: \"x\"", "") },
					func(r *rig, o *Options) {
						o.Name = c.node
						if c.dial != nil {
							r.pool.Close()
							r.pool = pool.New(pool.Options{Dial: func(context.Context, string, string) (net.Conn, error) { return nil, c.dial }})
							r.route.Origin.Pool = r.pool
						}
					})
				defer r.close()
				a := r.get(c.request)
				got := a.Header.Values("Proxy-Status")
				if a.StatusCode != c.status || len(got) != 1 || got[0] != c.want {
					t.Fatalf("%d, Proxy-Status %q; want %d, %q", a.StatusCode, got, c.status, c.want)
				}
				if m, err := sf.ParseDictionary([][]byte{[]byte("x=" + got[0])}); err != nil || len(m) != 1 {
					t.Errorf("%q is no structured item: %v", got[0], err)
				}
			})
		})
	}
}

// TestCDNLoop: RFC 8586 section 2, a member of ours behind those that came, in
// every request; a client cannot have them removed.
func TestCDNLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []string
		r := newRig(t, func(c *originConn) bool {
			got = c.req.Header.Values("Cdn-Loop")
			return c.say("HTTP/1.1 200 OK\nCache-Control: no-store", "")
		}, func(_ *rig, o *Options) { o.LoopID = "node-1" })
		defer r.close()
		for request, want := range map[string]string{
			"/x": "node-1",
			"/x\nCDN-Loop: foo123.foocdn.example, barcdn.example; trace=\"abcdef\"\nCDN-Loop: AnotherCDN; abc=123": `foo123.foocdn.example, barcdn.example; trace="abcdef", AnotherCDN; abc=123, node-1`,
			"/x\nConnection: CDN-Loop\nCDN-Loop: AnotherCDN":                                                       "AnotherCDN, node-1",
			"POST /x HTTP/1.1\nContent-Length: 0":                                                                  "node-1",
		} {
			if r.get(request).expect(t, 200, "", ""); strings.Join(got, ", ") != want {
				t.Errorf("%s: the origin got %q, want %q", request, got, want)
			}
		}
		for _, request := range []string{"/x\nCDN-Loop: node-1; a=b", "/x\nCDN-Loop: a\nCDN-Loop: b,node-1", "/x\nConnection: CDN-Loop\nCDN-Loop: node-1"} {
			if a := r.get(request); a.StatusCode != 508 {
				t.Errorf("%s: %d", request, a.StatusCode)
			}
		}
	})
}

// TestGroupLimits: RFC 9875 sections 2 and 3, "Implementations MUST support at
// least 32 groups in a field value, with up to at least 32 characters in each
// member", in either field; compared with regard to case.
func TestGroupLimits(t *testing.T) {
	group := func(i int) string { return fmt.Sprintf("\"Group-%026d\"", i) }
	var all []string
	for i := range 32 {
		all = append(all, group(i))
	}
	everything := strings.Join(all, ", ")
	var invalidates string
	inBubble(t, func(c *originConn) bool {
		if c.req.Method == "POST" {
			return c.say("HTTP/1.1 200 OK\nCache-Control: no-store\nCache-Group-Invalidation: "+invalidates, "")
		}
		return c.say("HTTP/1.1 200 OK\nCache-Control: max-age=6000\nCache-Groups: "+everything, "x")
	}, func(t *testing.T, r *rig, _ *purge.Ledger) {
		var others []string
		for i := range 31 {
			others = append(others, group(100+i))
		}
		for _, c := range []struct{ field, then string }{
			{group(0), "fwd"},
			{group(31) + ";x=1", "fwd"},
			{strings.Join(append(others, group(17)), ", "), "fwd"},
			{strings.ToLower(group(0)), "hit"},
			{group(32), "hit"},
			{group(0) + ", not-a-string", "hit"},
		} {
			r.get("/x").expect(t, 200, "", "x")
			r.get("/x").expect(t, 200, "hit", "x")
			invalidates = c.field
			r.get("POST /act HTTP/1.1\nContent-Length: 0").expect(t, 200, "", "")
			r.get("/x").expect(t, 200, c.then, "x")
		}
	})
}
