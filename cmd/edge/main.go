// Command edge is a caching CDN node: it stands in front of HTTP origins,
// answers from memory and disk whenever HTTP allows it, and sends each miss to the
// origin once however many clients ask.
//
// This is the one package that knows every room, and it does nothing but wire
// them: flags to configuration (run.go, check.go, demo.go), configuration to
// the rooms' own options (routes.go, origins.go, listeners.go), and the whole to
// a process that lives and ends (node.go, reload.go).
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"edge/server"
)

// The exit codes.
const (
	exitOK     = 0
	exitFailed = 1 // it could not be done; stderr says why
	exitUsage  = 2 // it was not understood
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run runs one command and returns its exit code.
func run(args []string, stdout, stderr io.Writer) int {
	// Whoever reads our output may go away; clients are served all the same.
	signal.Ignore(syscall.SIGPIPE)
	return (&app{stdout: stdout, stderr: stderr}).run(args)
}

// catch has the signals that a node lives by sent to it, from now until stop. By
// default, which every other command is content with, they end the process.
func (a *app) catch() (stop func()) {
	if a.signals != nil {
		return func() {} // somebody stands in for them
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, server.Signals...)
	a.signals = signals
	return func() { signal.Stop(signals) }
}

// app is what commands need of the world, so that tests can stand in for it.
type app struct {
	stdin          io.Reader // nil: os.Stdin
	stdout, stderr io.Writer
	signals        <-chan os.Signal // nil: the process's
	// started, where not nil, is told of the node once clients are served.
	started func(*node)
}

// failure is an error that was understood and came to nothing: its text goes to
// stderr as it is, without usage.
type failure struct{ error }

func (f failure) Unwrap() error { return f.error }

func (a *app) run(args []string) int {
	root := a.root()
	root.SetArgs(args)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	cmd, err := root.ExecuteC()
	var failed failure
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &failed):
		a.complain(err)
		return exitFailed
	}
	a.complain(err)
	a.complain(fmt.Errorf("run '%s --help' for what it takes", cmd.CommandPath()))
	return exitUsage
}

func (a *app) complain(err error) {
	if text := err.Error(); text != "" {
		_, _ = fmt.Fprintln(a.stderr, text)
	}
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "edge",
		Short: "A caching CDN node",
		Long: `edge is a caching CDN node. It stands in front of HTTP origins, answers from
memory and disk whenever HTTP allows it, sends each miss to the origin once however
many clients ask, and says of every answer (Cache-Status) why it came out that way.`,
		Example: `  edge demo                                try it: a built-in origin, and requests to send
  edge run --origin https://example.com    cache one origin, no file needed
  edge check -c edge.yaml                  every mistake in a file at once, with its line
  edge run -c edge.yaml                    serve what the file says
  edge purge tag product-7                 make a running node forget
  edge cache ls                            see what it has stored

A file to start from:

  version: 1
  listeners:
    - address: 127.0.0.1:8080
  origins:
    app:
      endpoints:
        - url: http://127.0.0.1:9000
  routes:
    - match: {path: /*}
      origin: app

SIGTERM ends gracefully, a second one at once; SIGHUP reads the file again;
SIGUSR1 opens the log files again.`,
		Version:           version,
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
		Args:              cobra.NoArgs,
		RunE:              func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetVersionTemplate(versionText())
	root.AddCommand(a.runCommand(), a.demoCommand(), a.checkCommand(), a.reloadCommand(), a.stopCommand(), a.purgeCommand(), a.cacheCommand(), a.versionCommand())
	return root
}

// oneOf is what a command does that is nothing without one of those below it: a
// name that is none must not look like success.
func oneOf(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("unknown command %q for %q", args[0], cmd.CommandPath())
	}
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	return fmt.Errorf("%s takes one of: %s", cmd.CommandPath(), strings.Join(names, ", "))
}
