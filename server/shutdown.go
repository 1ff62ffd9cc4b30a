package server

import "time"

// retireAgain is how often connections are told to end while the grace lasts.
// Once would do but for those that just then began to wait for a request.
const retireAgain = 250 * time.Millisecond

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
	again := time.NewTicker(retireAgain)
	defer again.Stop()
	for {
		select {
		case <-s.empty:
			return
		case <-s.cutting:
			return
		case <-grace.C:
			s.log.Warn("the grace is over; cutting what is left", "connections", s.count.open.Load(), "grace", s.opt.Grace)
			return
		case <-again.C:
			s.retireAll()
		}
	}
}

// awaitEnd waits until the last connection's goroutine has ended, which after
// an interrupt none of its waits can hold up.
func (s *Server) awaitEnd() {
	again := time.NewTicker(retireAgain)
	defer again.Stop()
	for {
		select {
		case <-s.empty:
			return
		case <-again.C:
			s.interruptAll()
		}
	}
}
