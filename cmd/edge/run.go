package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"edge/config"
)

func (a *app) runCommand() *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "run (-c FILE | --origin URL)",
		Short: "Serve",
		Long: `run serves what a configuration file says, or without a file one origin.

It logs to standard error, ends gracefully on SIGTERM or SIGINT (a second one
ends it at once), reads its file again on SIGHUP, and opens its log files again
on SIGUSR1. It speaks to systemd: LISTEN_FDS, readiness, reload, watchdog.`,
		Example: `  edge run -c edge.yaml
  edge run --origin https://example.com
  edge run --origin http://127.0.0.1:9000 --listen 0.0.0.0:8080`,
		Args: noArguments("name a file with -c, or an origin with --origin"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.check(cmd); err != nil {
				return err
			}
			return a.serve(&f)
		},
	}
	cmd.Flags().StringVarP(&f.file, "config", "c", "", "the configuration `FILE`")
	cmd.Flags().StringVar(&f.origin, "origin", "", "the `URL` of the one origin, without a file")
	cmd.Flags().StringVar(&f.listen, "listen", config.DefaultListen, "where to listen: `ADDRESS:PORT` or unix:/path; with --origin")
	cmd.Flags().StringVar(&f.admin, "admin", "", "the admin listener's `ADDRESS:PORT` or unix:/path; with --origin (default 127.0.0.1:9901 or, if taken, a free port)")
	cmd.Flags().StringVar(&f.pidFile, "pid-file", "", "write the process's id to this `FILE`, for edge reload and edge stop")
	cmd.Flags().StringVar(&f.logFormat, "log-format", "text", "how to log: text or json")
	return cmd
}

// runFlags are the flags of run.
type runFlags struct {
	file, origin, listen, admin, pidFile, logFormat string
}

// check refuses flags that say nothing, or two things: a file says itself where to
// listen.
func (f *runFlags) check(cmd *cobra.Command) error {
	if f.file == "" && f.origin == "" {
		return errors.New("edge run takes -c FILE or --origin URL")
	}
	for _, other := range []string{"origin", "listen", "admin"} {
		if err := notTogether(cmd, "config", other); err != nil {
			return err
		}
	}
	return nil
}

// serve runs a node until it is told to end.
func (a *app) serve(f *runFlags) error {
	defer a.catch()()
	o := nodeOptions{file: f.file, stdout: a.stdout, stderr: a.stderr, logFormat: f.logFormat}
	var err error
	if f.file != "" {
		o.config, err = config.Load(f.file)
	} else {
		o.config, err = config.ForOrigin(f.origin, f.listen, f.admin)
		o.adminMayMove = f.admin == ""
	}
	if err != nil {
		return failure{err}
	}
	if f.pidFile != "" {
		pid, err := takePIDFile(f.pidFile)
		if err != nil {
			return failure{err}
		}
		defer pid.release()
	}
	n, err := newNode(o)
	if err != nil {
		return failure{err}
	}
	defer n.close()
	if f.origin != "" {
		announce := func() {
			_, _ = fmt.Fprintf(a.stdout, "edge: %s -> %s\nedge: admin %s\n", clientURL(n.server.Addrs()[0]), f.origin, clientURL(n.adminAddr()))
		}
		return a.live(n, announce)
	}
	return a.live(n, nil)
}

// live runs the node. announce is called once clients are served; nil for
// nothing to say.
func (a *app) live(n *node, announce func()) error {
	err := n.run(a.signals, func() {
		if announce != nil {
			announce()
		}
		if a.started != nil {
			a.started(n)
		}
	})
	if err != nil {
		return failure{err}
	}
	return nil
}

// errLogFormat is the usage error of --log-format.
var errLogFormat = errors.New("--log-format is text or json")
