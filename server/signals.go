package server

import (
	"os"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// Signals lists the signals that RunWithSignals wants to hear of.
var Signals = []os.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGUSR1}

// Hooks are what signals ask for besides stopping.
type Hooks struct {
	// Ready is called once connections are accepted.
	Ready func()
	// Reload reads the configuration again. On an error, which the hook has
	// logged, the old one goes on.
	Reload func() error
	// Reopen opens the log files again: they were rotated.
	Reopen func()
}

// RunWithSignals is Run, and does what signals say meanwhile: SIGTERM or SIGINT
// ends gracefully, a second one at once; SIGHUP reloads; SIGUSR1 reopens logs.
// It keeps a supervisor that asked for it informed (sd_notify(3)).
func (s *Server) RunWithSignals(signals <-chan os.Signal, h Hooks) {
	ended := make(chan struct{})
	go func() { // ends with Run, which the loop below waits for
		defer close(ended)
		s.Run()
	}()
	var alive <-chan time.Time
	if every := watchdog(); every > 0 {
		t := time.NewTicker(every)
		defer t.Stop()
		alive = t.C
	}
	s.notify(daemon.SdNotifyReady)
	call(h.Ready)
	for {
		select {
		case <-ended:
			return
		case <-alive:
			s.isRetiring() // answers as long as no lock is stuck
			s.notify(daemon.SdNotifyWatchdog)
		case sig := <-signals:
			s.obey(sig, &h)
		}
	}
}

// obey does what one signal says.
func (s *Server) obey(sig os.Signal, h *Hooks) {
	switch sig {
	case syscall.SIGTERM, syscall.SIGINT:
		select {
		case <-s.stopping:
			s.log.Info("second signal: stopping now", "signal", sig.String())
			s.Cut()
		default:
			s.log.Info("stopping", "signal", sig.String(), "connections", s.count.open.Load(), "grace", s.opt.Grace)
			s.notify(daemon.SdNotifyStopping)
			s.Stop()
		}
	case syscall.SIGHUP:
		if h.Reload == nil {
			s.log.Warn("there is no configuration file to reload", "signal", sig.String())
			return
		}
		s.notifyReloading()
		if err := h.Reload(); err == nil {
			s.log.Info("reloaded")
		}
		s.notify(daemon.SdNotifyReady)
	case syscall.SIGUSR1:
		call(h.Reopen)
	}
}

func call(f func()) {
	if f != nil {
		f()
	}
}
