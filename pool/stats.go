package pool

import "sync/atomic"

// Stats are a pool's counters (monotonic) and gauges.
type Stats struct {
	Targets, Idle, Busy, Waiting int64 // gauges; Busy includes dials in progress

	Dialed, Failed int64 // connections made, and attempts that failed
	Reused         int64 // times an idle connection was handed out

	// Why connections were closed.
	ClosedByPeer int64 // while idle
	Spoke        int64 // the peer spoke out of turn, while idle
	Expired      int64 // idle too long, too old, or used too often
	Evicted      int64 // more idle than Options allow
	Discarded    int64 // by the caller

	Waited        int64 // had to wait for a connection
	WaitedTooLong int64 // of these, in vain
	Refused       int64 // found the line full
}

// counters are the monotonic part of Stats.
type counters struct {
	dialed, failed, reused                           atomic.Int64
	closedByPeer, spoke, expired, evicted, discarded atomic.Int64
	waited, waitedTooLong, refused                   atomic.Int64
}

// Stats returns the pool's counters and gauges, each read on its own.
func (p *Pool) Stats() Stats {
	c := &p.count
	s := Stats{
		Dialed: c.dialed.Load(), Failed: c.failed.Load(), Reused: c.reused.Load(),
		ClosedByPeer: c.closedByPeer.Load(), Spoke: c.spoke.Load(), Expired: c.expired.Load(),
		Evicted: c.evicted.Load(), Discarded: c.discarded.Load(),
		Waited: c.waited.Load(), WaitedTooLong: c.waitedTooLong.Load(), Refused: c.refused.Load(),
	}
	for _, g := range *p.groups.Load() {
		g.mu.Lock()
		s.Targets++
		s.Idle += int64(len(g.idle))
		s.Busy += int64(g.slots - len(g.idle))
		s.Waiting += int64(g.line.len)
		g.mu.Unlock()
	}
	return s
}
