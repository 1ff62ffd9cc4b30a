package server

import "fmt"

// Phase is where the process is in its life.
type Phase uint32

// The phases, in the order they come in. Three belong to the upgrade that hands
// the listening sockets to a new process, which nothing here enters yet.
const (
	Setup Phase = iota
	Bootstrap
	BootstrapComplete
	Running
	GracefulUpgradeTransferringFds
	GracefulUpgradeCloseTimeout
	GracefulTerminate
	ShutdownStarted
	ShutdownGracePeriod
	ShutdownRuntimes
	Terminated

	numPhases
)

// phases is the life of the process: what each phase means, and what can come
// after it. Every change of phase is looked up here.
var phases = [numPhases]struct {
	name  string
	means string
	next  []Phase
}{
	Setup:             {"setup", "configured; no socket is open", []Phase{Bootstrap, Terminated}},
	Bootstrap:         {"bootstrap", "the listening sockets are being opened", []Phase{BootstrapComplete, Terminated}},
	BootstrapComplete: {"bootstrap-complete", "clients can connect and wait in the kernel's queue", []Phase{Running, ShutdownStarted}},
	Running:           {"running", "connections are accepted and served", []Phase{GracefulUpgradeTransferringFds, GracefulTerminate, ShutdownStarted}},
	GracefulUpgradeTransferringFds: {"graceful-upgrade-transferring-fds", "the listening sockets go to a new process",
		[]Phase{GracefulUpgradeCloseTimeout}},
	GracefulUpgradeCloseTimeout: {"graceful-upgrade-close-timeout", "the new process accepts; ours finish", []Phase{ShutdownStarted}},
	GracefulTerminate:           {"graceful-terminate", "asked to end: not ready, answers say close", []Phase{ShutdownStarted}},
	ShutdownStarted:             {"shutdown-started", "the listeners are closed, idle connections are told to end", []Phase{ShutdownGracePeriod, ShutdownRuntimes}},
	ShutdownGracePeriod:         {"shutdown-grace-period", "exchanges in progress go on, for shutdown.grace at most", []Phase{ShutdownRuntimes}},
	ShutdownRuntimes:            {"shutdown-runtimes", "what is left is cut, and everything that runs beside it ends", []Phase{Terminated}},
	Terminated:                  {"terminated", "nothing runs", nil},
}

// String returns the phase's name as in logs.
func (p Phase) String() string {
	if p >= numPhases {
		return fmt.Sprintf("phase %d", uint32(p))
	}
	return phases[p].name
}

// Means says what holds in the phase.
func (p Phase) Means() string { return phases[p].means }

// follows reports whether p can come after q.
func (p Phase) follows(q Phase) bool {
	for _, next := range phases[q].next {
		if next == p {
			return true
		}
	}
	return false
}
