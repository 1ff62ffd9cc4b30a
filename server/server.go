// Package server is the life of the process: its phases, its listening sockets
// and the connections on them, what signals mean, and how it all ends.
//
// It speaks no HTTP, but for one fixed answer to connections over the limit.
// What happens on a connection is a Session, made by the Handler that whoever
// wires the process gives to each listener.
//
// # Theory of operation
//
// New, then Listen, which opens every socket or none, then Run, which accepts
// until it is told to stop and returns when the last connection has ended.
// There is a goroutine for each listener and one for each connection; Run waits
// for all of them. phase.go has the phases and what can follow what.
//
// A stop is graceful: the listeners close, connections without an exchange end
// at once, the others when their exchange does, or when Options.Grace is over.
// A second one is immediate.
package server

import (
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Session is what goes on on one connection.
type Session interface {
	// Serve serves the connection until it ends, and closes it. It is called
	// once, on a goroutine of its own. A panic in it ends the connection.
	Serve()
	// Retire makes Serve return after the exchange in hand, at once where
	// there is none. Safe from any goroutine, more than once.
	Retire()
	// Interrupt ends every wait of Serve for the peer. Safe from any
	// goroutine, more than once.
	Interrupt()
}

// Handler makes the Session of a connection just accepted, over TLS once the
// handshake is done. It must not block.
type Handler func(nc net.Conn) Session

// Options make a Server.
type Options struct {
	// Listeners are the sockets to open.
	Listeners []*ListenerOptions
	// Inherited are the sockets that a supervisor passed in, to be taken in
	// place of opening them; nil for none.
	Inherited *Inherited
	// MaxConnections bounds the connections of all listeners together; 0: as
	// many as the process's descriptors allow.
	MaxConnections int
	// Grace is how long a graceful stop waits for exchanges in progress.
	Grace time.Duration
	// OnPhase, where not nil, is told of each phase as it begins.
	OnPhase func(Phase)
	// Cut, where not nil, is called when the grace is over, before what is
	// left is interrupted: it ends the waits that are not for a client.
	Cut func()
	// Logger gets what an operator should know; nil for none.
	Logger *slog.Logger
}

// Server holds listeners and connections. Make it with New.
type Server struct {
	opt   Options
	log   *slog.Logger
	phase atomic.Uint32

	maxOpen     int64 // connections of all listeners
	maxRefusing int64 // refused connections that have time to read why

	listeners []*listener
	count     counters
	refusing  atomic.Int64 // connections being told that there are too many

	stopping  chan struct{} // closed by Stop: end gracefully
	cutting   chan struct{} // closed by Cut: end now
	stopOnce  sync.Once
	cutOnce   sync.Once
	accepting sync.WaitGroup // the accept loops

	mu           sync.Mutex // held for the fields below only, never over a wait
	conns        map[*conn]struct{}
	perAddr      map[peerKey]int
	retiring     bool          // connections have been told to end; no more come
	interrupting bool          // and their waits have been ended
	empty        chan struct{} // closed when retiring and no connection is left
}

// New returns a Server in its Setup.
func New(o Options) *Server {
	s := &Server{
		opt: o, log: o.Logger, maxOpen: int64(o.MaxConnections),
		stopping: make(chan struct{}), cutting: make(chan struct{}), empty: make(chan struct{}),
		conns: make(map[*conn]struct{}), perAddr: make(map[peerKey]int),
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	n := descriptors()
	if s.maxOpen <= 0 {
		s.maxOpen = share(n, clientShare)
	}
	s.maxRefusing = min(share(n, refuseShare), maxRefusing)
	return s
}

// Phase returns where the process is in its life. Safe from any goroutine.
func (s *Server) Phase() Phase { return Phase(s.phase.Load()) }

// enter begins the next phase. One goroutine at a time: that of Listen and Run.
func (s *Server) enter(next Phase) {
	now := s.Phase()
	if !next.follows(now) {
		panic(fmt.Sprintf("server: phase %v cannot follow %v", next, now))
	}
	s.phase.Store(uint32(next))
	s.log.Debug("phase", "phase", next.String(), "means", next.Means())
	if s.opt.OnPhase != nil {
		s.opt.OnPhase(next)
	}
}

// Listen opens every listening socket, or none: then the error says all that
// failed, and the Server is terminated. From its return on clients can
// connect; they are served once Run is called.
func (s *Server) Listen() error {
	s.enter(Bootstrap)
	if err := s.open(); err != nil {
		s.closeListeners()
		s.enter(Terminated)
		return err
	}
	s.enter(BootstrapComplete)
	return nil
}

// Addrs returns where the listeners listen, in the order of Options.Listeners.
// Meaningful after Listen.
func (s *Server) Addrs() []net.Addr {
	addrs := make([]net.Addr, len(s.listeners))
	for i, l := range s.listeners {
		addrs[i] = l.Addr()
	}
	return addrs
}

// Run accepts and serves until Stop or Cut, and returns when nothing runs any
// more. Call it once, after Listen.
func (s *Server) Run() {
	s.enter(Running)
	for _, l := range s.listeners {
		s.accepting.Go(func() { s.accept(l) })
	}
	select {
	case <-s.stopping:
	case <-s.cutting:
	}
	s.shutDown()
}

// Stop begins a graceful stop: Run returns when the last exchange has ended, or
// Options.Grace is over. It does not wait. Safe from any goroutine, more than
// once.
func (s *Server) Stop() { s.stopOnce.Do(func() { close(s.stopping) }) }

// Cut begins an immediate stop, in place of a graceful one where that is under
// way. It does not wait. Safe from any goroutine, more than once.
func (s *Server) Cut() { s.cutOnce.Do(func() { close(s.cutting) }) }

// Stats are a Server's counters (monotonic) and gauges.
type Stats struct {
	Open int64 // gauge: connections being served

	Accepted     int64
	RefusedTotal int64 // over the limit of a listener, or of all together
	RefusedAddr  int64 // over the limit for one address
	AcceptErrors int64 // accepts that failed, descriptors exhausted for one
	Shed         int64 // connections told to end for want of descriptors
	TLSFailed    int64 // handshakes that failed
	Panics       int64 // that ended a connection
}

type counters struct {
	open, accepted, refusedTotal, refusedAddr, acceptErrors, shed, tlsFailed, panics atomic.Int64
}

// Stats returns the counters and gauges now.
func (s *Server) Stats() Stats {
	c := &s.count
	return Stats{Open: c.open.Load(), Accepted: c.accepted.Load(), RefusedTotal: c.refusedTotal.Load(),
		RefusedAddr: c.refusedAddr.Load(), AcceptErrors: c.acceptErrors.Load(), Shed: c.shed.Load(),
		TLSFailed: c.tlsFailed.Load(), Panics: c.panics.Load()}
}
