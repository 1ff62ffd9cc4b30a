// Package inflight is what the tiers share for bodies that are being written: who writes
// under which key, and the signals that a body's writer and its readers give each other.
package inflight

// Signal tells all who wait for it that something which a mutex guards has changed. The
// zero Signal is ready. Its methods are called under that mutex, and the waiting is done
// without it. A channel is made only when somebody waits, because mostly nobody does.
type Signal struct{ next chan struct{} }

// Next returns what is closed when the signal is given next.
func (s *Signal) Next() <-chan struct{} {
	if s.next == nil {
		s.next = make(chan struct{})
	}
	return s.next
}

// Give wakes all who wait.
func (s *Signal) Give() {
	if s.next != nil {
		close(s.next)
		s.next = nil
	}
}
