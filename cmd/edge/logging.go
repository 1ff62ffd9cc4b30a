package main

import (
	"io"
	"log/slog"
	"net/netip"

	"edge/accesslog"
	"edge/admin"
	"edge/config"
	"edge/proxy"
)

// newLogger returns the process's own log.
func newLogger(w io.Writer, format string, level *slog.LevelVar) (*slog.Logger, error) {
	o := &slog.HandlerOptions{Level: level}
	switch format {
	case "", "text":
		return slog.New(slog.NewTextHandler(w, o)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, o)), nil
	}
	return nil, errLogFormat
}

// setLevel sets the log's level, which the configuration has checked.
func (n *node) setLevel(c *config.Config) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Logging.Level)); err != nil {
		n.warn("logging.level", err)
		return
	}
	n.level.Set(level)
}

// openAccessLog opens the access log, where there is to be one.
func (n *node) openAccessLog() (err error) {
	a := n.config.Logging.Access
	if a == nil {
		return nil
	}
	n.access, err = accesslog.Open(accesslog.Options{Path: a.Path, Buffer: a.Buffer,
		Stdout: n.opt.stdout, Stderr: n.opt.stderr, Logger: n.log})
	return err
}

// reopen opens the log files again, after they were rotated.
func (n *node) reopen() {
	if n.access == nil {
		return
	}
	if err := n.access.Reopen(); err != nil {
		n.log.Error("reopening the access log; the old file goes on", "error", err)
		return
	}
	n.log.Info("reopened the access log")
}

// observer returns who is told of exchanges.
func (n *node) observer() proxy.Observer {
	if n.access == nil {
		return n.metrics
	}
	return &logged{n.metrics, n.access}
}

// logged is the metrics, with an access log beside them. Attempts at origins and
// panics are the metrics' alone.
type logged struct {
	*admin.Metrics
	access *accesslog.Log
}

// Exchange tells both.
func (l *logged) Exchange(r *proxy.Record) {
	l.Metrics.Exchange(r)
	l.access.Exchange(r)
}

// Refused tells both.
func (l *logged) Refused(peer netip.AddrPort, status int, reason string) {
	l.Metrics.Refused(peer, status, reason)
	l.access.Refused(peer, status, reason)
}
