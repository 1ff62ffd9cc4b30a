package admin

import (
	"net/netip"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"edge/accesslog"
	"edge/cache/statemachine"
	"edge/cache/storage"
	"edge/cache/storage/disk"
	"edge/pool"
	"edge/proxy"
	"edge/purge"
	"edge/server"
)

// Sources are where gauges and other rooms' counters are read from when metrics
// are asked for. Each may be nil.
type Sources struct {
	Store     func() storage.Stats
	Proxy     func() proxy.Stats
	Server    func() server.Stats
	AccessLog func() accesslog.Stats
	// Pools are the pools' Stats by origin.
	Pools func() map[string]pool.Stats
	// Disks are the disks' conditions.
	Disks func() []disk.State
	// Purges are the purge ledger's.
	Purges func() purge.Stats
}

// Build is what this binary is.
type Build struct{ Version, Revision, GoVersion string }

// Metrics counts exchanges, and exports everything there is to count. It is a
// proxy.Observer and a prometheus.Collector. Make it with NewMetrics.
type Metrics struct {
	shards  [numShards]counters
	origins atomic.Pointer[map[string]*originCounters]
	refused [maxStatus - minStatus]atomic.Uint64
	panics  atomic.Uint64

	reloads    [2]atomic.Uint64 // 0 refused, 1 taken
	lastReload atomic.Int64     // Unix time in nanoseconds of the configuration in use

	sources  atomic.Pointer[Sources]
	registry *prometheus.Registry
}

// NewMetrics returns Metrics with a registry of their own, in which the process
// and the Go runtime are too.
func NewMetrics(b Build) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry()}
	m.origins.Store(&map[string]*originCounters{})
	m.sources.Store(&Sources{})
	m.lastReload.Store(time.Now().UnixNano())
	m.registry.MustRegister(m, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	info := prometheus.NewGauge(prometheus.GaugeOpts{Name: "edge_build_info", Help: "What this binary is; always 1.",
		ConstLabels: prometheus.Labels{"version": b.Version, "revision": b.Revision, "goversion": b.GoVersion}})
	info.Set(1)
	m.registry.MustRegister(info)
	return m
}

// SetSources says where the rest is read from. Safe at any time.
func (m *Metrics) SetSources(s Sources) { m.sources.Store(&s) }

// Refused counts a request that the codec refused.
func (m *Metrics) Refused(_ netip.AddrPort, status int, _ string) {
	if status >= minStatus && status < maxStatus {
		m.refused[status-minStatus].Add(1)
	}
}

// Panic counts a panic that ended one exchange.
func (m *Metrics) Panic(string, any, []byte) { m.panics.Add(1) }

// Reloaded counts an attempt to replace the configuration.
func (m *Metrics) Reloaded(ok bool) {
	if !ok {
		m.reloads[0].Add(1)
		return
	}
	m.reloads[1].Add(1)
	m.lastReload.Store(time.Now().UnixNano())
}

// Describe sends nothing: what is exported depends on what there is, and every
// name is written once, in Collect. It implements prometheus.Collector.
func (m *Metrics) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	e := exporter{ch}
	m.collectExchanges(e)
	m.collectOrigins(e)
	for i := range m.refused {
		if n := m.refused[i].Load(); n > 0 {
			e.counter("edge_requests_refused_total", "Requests that were not well-formed or over a limit, by the status they got.",
				n, "status", strconv.Itoa(minStatus+i))
		}
	}
	e.counter("edge_panics_total", "Panics, each of which ended one exchange.", m.panics.Load())
	e.counter("edge_config_reloads_total", "Attempts to replace the configuration.", m.reloads[1].Load(), "result", "taken")
	e.counter("edge_config_reloads_total", "Attempts to replace the configuration.", m.reloads[0].Load(), "result", "refused")
	e.gauge("edge_config_timestamp_seconds", "When the configuration in use was read.", float64(m.lastReload.Load())/1e9)
	s := m.sources.Load()
	s.collectStore(e)
	s.collectServer(e)
	s.collectPools(e)
	s.collectPurges(e)
}

// collectExchanges adds up the shards.
func (m *Metrics) collectExchanges(e exporter) {
	sum := func(of func(*counters) *atomic.Uint64) (n uint64) {
		for i := range m.shards {
			n += of(&m.shards[i]).Load()
		}
		return n
	}
	for _, r := range statemachine.Reasons() {
		e.counter("edge_exchanges_total", "Exchanges by the reason of their answer.",
			sum(func(c *counters) *atomic.Uint64 { return &c.reason[r] }), "reason", r.String())
		if r == statemachine.ReasonNone {
			continue
		}
		if n := sum(func(c *counters) *atomic.Uint64 { return &c.forward[r] }); n > 0 {
			e.counter("edge_exchanges_forwarded_total", "Exchanges that went to an origin, or waited for one that did, by why.", n, "reason", r.String())
		}
		if n := sum(func(c *counters) *atomic.Uint64 { return &c.notStored[r] }); n > 0 {
			e.counter("edge_responses_not_stored_total", "Origins' responses that were not stored, by why.", n, "reason", r.String())
		}
	}
	for i := range maxStatus - minStatus {
		if n := sum(func(c *counters) *atomic.Uint64 { return &c.status[i] }); n > 0 {
			e.counter("edge_responses_total", "Responses by status code.", n, "code", strconv.Itoa(minStatus+i))
		}
	}
	e.counter("edge_responses_sent_bytes_total", "Content sent to clients.", sum(func(c *counters) *atomic.Uint64 { return &c.bytes }))
	e.counter("edge_exchanges_collapsed_total", "Exchanges answered from another request's fetch.",
		sum(func(c *counters) *atomic.Uint64 { return &c.collapsed }))
	e.counter("edge_tunnels_total", "Connections that became another protocol's.", sum(func(c *counters) *atomic.Uint64 { return &c.tunnels }))
	cut := func(d statemachine.Delivery) uint64 {
		return sum(func(c *counters) *atomic.Uint64 { return &c.delivery[d] })
	}
	e.counter("edge_deliveries_cut_total", "Answers that did not go out whole, by whose fault.",
		cut(statemachine.Truncated)+cut(statemachine.Unreadable), "side", "origin")
	e.counter("edge_deliveries_cut_total", "Answers that did not go out whole, by whose fault.", cut(statemachine.ClientGone), "side", "client")
	for k := range numKinds {
		var h snapshot
		for i := range m.shards {
			h.add(&m.shards[i].duration[k])
		}
		e.histogram("edge_exchange_duration_seconds", "From a request's head to the last byte of its answer, by what it waited for.",
			&h, "kind", kindNames[k])
	}
}

func (m *Metrics) collectOrigins(e exporter) {
	for name, c := range *m.origins.Load() {
		for conn, label := range [2]string{"fresh", "reused"} {
			for i, result := range results {
				if n := c.attempts[conn][i].Load(); n > 0 {
					e.counter("edge_origin_attempts_total", "Attempts at origins by result and kind of connection.",
						n, "origin", name, "result", result, "connection", label)
				}
			}
		}
		var h snapshot
		h.add(&c.wait)
		e.histogram("edge_origin_wait_seconds", "From an attempt's start to the origin's final head.", &h, "origin", name)
	}
}

// Registry is where the metrics are registered.
func (m *Metrics) Registry() *prometheus.Registry { return m.registry }
