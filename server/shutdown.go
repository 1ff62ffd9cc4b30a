package server

import "time"

// endPatience is how long connections have to end once they were interrupted,
// which takes them no time unless something is wrong. The process then ends
// without them.
const endPatience = 5 * time.Second

// shutDown ends everything, gracefully or not.
func (s *Server) shutDown() {
	select {
	case <-s.cutting:
	default:
		s.enter(GracefulTerminate)
	}
	s.enter(ShutdownStarted)
	s.retireAll()
	s.closeListeners()
	s.accepting.Wait()
	if !s.settled() {
		s.enter(ShutdownGracePeriod)
		s.awaitGrace()
	}
	s.enter(ShutdownRuntimes)
	if s.opt.Cut != nil {
		s.opt.Cut()
	}
	s.interruptAll()
	s.awaitEnd()
	s.enter(Terminated)
}

// settled reports whether there is nothing to wait for, or no leave to wait.
func (s *Server) settled() bool {
	select {
	case <-s.empty:
		return true
	case <-s.cutting:
		return true
	default:
		return false
	}
}

// awaitGrace waits for the last connection, the end of the grace, or a Cut.
func (s *Server) awaitGrace() {
	grace := time.NewTimer(s.opt.Grace)
	defer grace.Stop()
	select {
	case <-s.empty:
	case <-s.cutting:
	case <-grace.C:
		s.log.Warn("the grace is over; cutting what is left", "connections", s.count.open.Load(), "grace", s.opt.Grace)
	}
}

// awaitEnd waits until the last connection's goroutine has ended.
func (s *Server) awaitEnd() {
	patience := time.NewTimer(endPatience)
	defer patience.Stop()
	select {
	case <-s.empty:
	case <-patience.C:
		s.log.Error("connections do not end", "connections", s.count.open.Load(), "after", endPatience)
	}
}
