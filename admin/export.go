package admin

import (
	"github.com/prometheus/client_golang/prometheus"

	"edge/cache/storage/disk"
)

// exporter writes metrics as they are collected. Labels are name, value, name,
// value.
type exporter struct{ ch chan<- prometheus.Metric }

func split(labels []string) (names, values []string) {
	for i := 0; i+1 < len(labels); i += 2 {
		names, values = append(names, labels[i]), append(values, labels[i+1])
	}
	return names, values
}

func (e exporter) one(t prometheus.ValueType, name, help string, v float64, labels []string) {
	names, values := split(labels)
	e.ch <- prometheus.MustNewConstMetric(prometheus.NewDesc(name, help, names, nil), t, v, values...)
}

func (e exporter) counter(name, help string, v uint64, labels ...string) {
	e.one(prometheus.CounterValue, name, help, float64(v), labels)
}

func (e exporter) gauge(name, help string, v float64, labels ...string) {
	e.one(prometheus.GaugeValue, name, help, v, labels)
}

func (e exporter) histogram(name, help string, s *snapshot, labels ...string) {
	names, values := split(labels)
	count, sum, buckets := s.export()
	e.ch <- prometheus.MustNewConstHistogram(prometheus.NewDesc(name, help, names, nil), count, sum, buckets, values...)
}

// count is a counter of another room.
type count struct {
	label string
	n     int64
}

// counts writes counters that differ in one label.
func (e exporter) counts(name, help, label string, all []count, more ...string) {
	for _, c := range all {
		e.counter(name, help, uint64(max(c.n, 0)), append([]string{label, c.label}, more...)...)
	}
}

func (s *Sources) collectStore(e exporter) {
	if s.Store != nil {
		v := s.Store()
		e.gauge("edge_store_entries", "Stored responses; with disks, those on the disks or those in memory, whichever are more: most of these lie on a disk too.", float64(v.Entries))
		e.gauge("edge_store_used_bytes", "What stored responses take up, bookkeeping included.", float64(v.Bytes))
		e.gauge("edge_store_budget_bytes", "What they may take up.", float64(v.Budget))
		e.gauge("edge_memory_entries", "Responses in memory, those included that lie on a disk too.", float64(v.Memory.Entries))
		e.gauge("edge_memory_used_bytes", "What of the store's memory is taken, bookkeeping included.", float64(v.Memory.Bytes))
		e.gauge("edge_memory_budget_bytes", "What may be: cache.memory.size.", float64(v.Memory.Budget))
		e.counts("edge_store_events_total", "What happened to stored responses.", "event", []count{
			{"stored", v.Stored}, {"evicted", v.Evicted}, {"rejected", v.Rejected}, {"replaced", v.Replaced},
			{"removed", v.Removed}, {"freshened", v.Freshened}, {"invalidated", v.Invalidated}, {"doomed", v.Doomed},
			{"too-large", v.TooLarge}, {"aborted", v.Aborted}})
	}
	if s.Disks != nil {
		for _, v := range s.Disks() {
			e.disk(&v)
		}
	}
	if s.Proxy != nil {
		v := s.Proxy()
		e.gauge("edge_fills", "Fetches being stored now.", float64(v.Fills))
		e.gauge("edge_refreshes", "Background refreshes now.", float64(v.Refreshes))
		e.gauge("edge_tunnels", "Tunnels now.", float64(v.Tunnels))
		e.gauge("edge_lock_waiting", "Requests waiting for another's fetch now.", float64(v.Waiting))
		e.gauge("edge_lock_keys", "Keys being fetched now.", float64(v.Locks))
	}
}

// disk writes what there is to say of one disk.
func (e exporter) disk(v *disk.State) {
	up := func(ok bool) float64 {
		if ok {
			return 1
		}
		return 0
	}
	e.gauge("edge_disk_up", "Whether a disk is in use, for reading and for writing.", up(v.Readable), "disk", v.Path, "for", "reading")
	e.gauge("edge_disk_up", "Whether a disk is in use, for reading and for writing.", up(v.Writable), "disk", v.Path, "for", "writing")
	e.gauge("edge_disk_entries", "Responses on a disk.", float64(v.Entries), "disk", v.Path)
	e.gauge("edge_disk_size_bytes", "What a disk's files may take up.", float64(v.Size), "disk", v.Path)
	e.gauge("edge_disk_used_bytes", "What a disk's files take up.", float64(v.Used), "disk", v.Path)
	e.gauge("edge_disk_live_bytes", "What of that is found.", float64(v.Live), "disk", v.Path)
	e.gauge("edge_disk_unwritten_bytes", "What is kept on a disk and not in its files yet: lost if the process is killed.", float64(v.Unwritten), "disk", v.Path)
	e.gauge("edge_disk_segments", "Segments on a disk.", float64(v.Segments), "disk", v.Path)
	e.counter("edge_disk_scrubbed_bytes_total", "What was read again of a disk to find what rotted.", uint64(v.Scrubbed), "disk", v.Path)
	e.counts("edge_disk_faults_total", "What went wrong with a disk.", "reason", []count{
		{"damaged", v.Damaged}, {"error", v.Errors}, {"full", v.Full}, {"busy", v.Busy}, {"slow", v.Slow},
		{"lost", v.Lost}, {"taken-out", v.TakenOut}, {"future", v.Future}}, "disk", v.Path)
}

func (s *Sources) collectServer(e exporter) {
	if s.Server != nil {
		v := s.Server()
		e.gauge("edge_connections", "Clients' connections now.", float64(v.Open))
		e.counter("edge_connections_accepted_total", "Clients' connections served.", uint64(v.Accepted))
		e.counts("edge_connections_refused_total", "Clients' connections over a limit.", "limit",
			[]count{{"listener", v.RefusedTotal}, {"address", v.RefusedAddr}})
		e.counter("edge_connections_shed_total", "Clients' connections ended for want of descriptors.", uint64(v.Shed))
		e.counter("edge_accept_errors_total", "Accepts that failed.", uint64(v.AcceptErrors))
		e.counter("edge_tls_handshakes_failed_total", "Clients' TLS handshakes that failed.", uint64(v.TLSFailed))
	}
	if s.AccessLog != nil {
		v := s.AccessLog()
		e.counter("edge_access_log_written_total", "Lines of the access log written.", v.Written)
		e.counter("edge_access_log_dropped_total", "Lines of the access log dropped for want of room.", v.Dropped)
		e.counter("edge_access_log_lost_total", "Lines of the access log that could not be written.", v.Lost)
	}
}

func (s *Sources) collectPools(e exporter) {
	if s.Pools == nil {
		return
	}
	for origin, v := range s.Pools() {
		const conns, connsHelp = "edge_pool_connections", "Connections to origins now, by state."
		e.gauge(conns, connsHelp, float64(v.Idle), "origin", origin, "state", "idle")
		e.gauge(conns, connsHelp, float64(v.Busy), "origin", origin, "state", "busy")
		e.gauge("edge_pool_waiting", "Requests waiting for a connection to an origin now.", float64(v.Waiting), "origin", origin)
		e.counts("edge_pool_gets_total", "Connections to origins handed out, or not.", "how", []count{
			{"dialed", v.Dialed}, {"reused", v.Reused}, {"failed", v.Failed}, {"refused", v.Refused},
			{"waited", v.Waited}, {"waited-too-long", v.WaitedTooLong}}, "origin", origin)
		e.counts("edge_pool_closed_total", "Connections to origins closed, by why.", "why", []count{
			{"by-peer", v.ClosedByPeer}, {"spoke", v.Spoke}, {"expired", v.Expired}, {"evicted", v.Evicted},
			{"discarded", v.Discarded}}, "origin", origin)
	}
}
