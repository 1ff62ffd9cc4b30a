package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDiff(t *testing.T) {
	const base = `
origins:
  app: {endpoints: [{url: "http://a"}]}
  old: {endpoints: [{url: "http://b"}]}
routes:
  - {match: {path: /a}, origin: app, cache: {ttl: {404: 10s, 410: 1s}}}
  - {match: {path: /b}, origin: old}
  - {match: {path: /*}, origin: app}
`
	for _, test := range []struct{ name, before, after, want string }{
		{"nothing", base, base, ""},
		{"the same, said otherwise", base, base + "cache: {memory: {size: 262144KiB}}\nlimits: {}\n", ""},
		{
			"values", base + "cache: {memory: {size: 1GiB}}\n",
			base + "cache: {memory: {size: 2GiB, max_object: 32MiB}}\nshutdown: {grace: 10s}\ntrusted_proxies: [10.0.0.0/8]\nnode: {loop_id: me}\n",
			`
node.loop_id: (absent) -> me
trusted_proxies: (absent) -> [10.0.0.0/8]
cache.memory.size: 1GiB -> 2GiB
cache.memory.max_object: 128MiB -> 32MiB
shutdown.grace: 30s -> 10s`,
		},
		{
			"what is inherited shows where it counts", base, base + "limits: {listener: {header_fields: 100}}\n",
			`
limits.listener.header_fields: 200 -> 100
listeners[0].limits.header_fields: 200 -> 100`,
		},
		{
			"blocks that come and go", base + "logging: {access: {path: stdout}}\n",
			base + "listeners: [{address: \"127.0.0.1:8080\"}, {address: \"127.0.0.1:8081\", limits: {drain: 1MiB}}]\n",
			`
listeners[1]: (absent) -> {address: 127.0.0.1:8081, limits: {drain: 1MiB}}
logging.access: {} -> (absent)`,
		},
		{
			"a route put before others", base,
			strings.Replace(base, "routes:\n", "routes:\n  - {match: {path: /z*}, origin: old, cache: {enabled: false}}\n", 1),
			`
routes[0]: (absent) -> {match: {path: /z*}, origin: old, cache: {enabled: false}}`,
		},
		{
			"origins and statuses", base,
			strings.NewReplacer("old:", "new:", "origin: old", "origin: new", "404: 10s", "404: 20s, 500: 1s", ", 410: 1s", "").Replace(base),
			`
origins.old: {endpoints: [{url: http://b, weight: 1}]} -> (absent)
origins.new: (absent) -> {endpoints: [{url: http://b, weight: 1}]}
routes[0].cache.ttl.404: 10s -> 20s
routes[0].cache.ttl.410: 1s -> (absent)
routes[0].cache.ttl.500: (absent) -> 1s
routes[1].origin: old -> new`,
		},
		{
			"a route taken out", base, strings.Replace(base, "  - {match: {path: /b}, origin: old}\n", "", 1),
			`
routes[1]: {match: {path: /b}, origin: old} -> (absent)`,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := ""
			for _, line := range Diff(mustParse(t, test.before), mustParse(t, test.after)) {
				got += "\n" + line
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("lines differ (-want +got):\n%s", diff)
			}
		})
	}
}
