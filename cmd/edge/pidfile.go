package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// A PID file holds the id of the process that runs, and that process holds a
// lock on it (flock(2)) for as long as it lives. So a file left behind by a
// crash is known for what it is, and no other process is ever signalled in its
// place.

// stopPoll is how often stop looks whether the process has ended.
const stopPoll = 20 * time.Millisecond

// pidFile is the file of this process, locked.
type pidFile struct{ file *os.File }

// takePIDFile locks the file and writes this process's id into it.
func takePIDFile(path string) (*pidFile, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("--pid-file: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("--pid-file: the edge that wrote %s still runs", path)
		}
		return nil, fmt.Errorf("--pid-file: locking %s: %w", path, err)
	}
	err = f.Truncate(0)
	if err == nil {
		_, err = f.WriteString(strconv.Itoa(os.Getpid()) + "\n")
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("--pid-file: %w", err)
	}
	return &pidFile{f}, nil
}

// release removes the file, and then the lock with it.
func (p *pidFile) release() {
	_ = os.Remove(p.file.Name()) // its being there would not matter
	_ = p.file.Close()
}

// runs reports whether the process that wrote the open file still runs.
func runs(f *os.File) (bool, error) {
	err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return true, nil
	}
	if err == nil {
		err = unix.Flock(int(f.Fd()), unix.LOCK_UN)
	}
	return false, err
}

// signalRunning sends a signal to the process that a PID file names. The caller
// closes the file.
func signalRunning(path string, sig syscall.Signal) (f *os.File, pid int, err error) {
	if f, err = os.Open(path); err != nil {
		return nil, 0, fmt.Errorf("no edge runs with this file: %w", err)
	}
	defer func() {
		if err != nil {
			_ = f.Close()
		}
	}()
	alive, err := runs(f)
	if err != nil {
		return nil, 0, fmt.Errorf("%s: %w", path, err)
	}
	if !alive {
		return nil, 0, fmt.Errorf("%s was left behind: the edge that wrote it has ended", path)
	}
	var text [32]byte
	n, err := f.Read(text[:])
	if err != nil {
		return nil, 0, fmt.Errorf("%s: %w", path, err)
	}
	if pid, err = strconv.Atoi(strings.TrimSpace(string(text[:n]))); err != nil || pid <= 1 {
		return nil, 0, fmt.Errorf("%s holds no process id", path)
	}
	if err = syscall.Kill(pid, sig); err != nil {
		return nil, 0, fmt.Errorf("process %d: %w", pid, err)
	}
	return f, pid, nil
}

func (a *app) reloadCommand() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "reload --pid-file FILE",
		Short: "Make a running edge read its configuration again",
		Long: `reload sends SIGHUP to the edge that was started with --pid-file FILE. What came
of it is in that edge's log: a bad configuration is refused and the old one goes
on. Run edge check first.`,
		Args: noArguments("name the process with --pid-file"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := needs(cmd, "pid-file", "--pid-file FILE"); err != nil {
				return err
			}
			f, pid, err := signalRunning(path, syscall.SIGHUP)
			if err != nil {
				return failure{err}
			}
			_, err = fmt.Fprintf(a.stdout, "process %d reads its configuration again; its log says what came of it\n", pid)
			return errors.Join(err, f.Close())
		},
	}
	cmd.Flags().StringVar(&path, "pid-file", "", "the `FILE` that edge run was given")
	return cmd
}

func (a *app) stopCommand() *cobra.Command {
	var path string
	var wait time.Duration
	cmd := &cobra.Command{
		Use:   "stop --pid-file FILE",
		Short: "End a running edge gracefully",
		Long: `stop sends SIGTERM to the edge that was started with --pid-file FILE and waits
until it has ended: at once when it is idle, within its shutdown.grace otherwise.`,
		Args: noArguments("name the process with --pid-file"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := needs(cmd, "pid-file", "--pid-file FILE"); err != nil {
				return err
			}
			return a.stopRunning(path, wait)
		},
	}
	cmd.Flags().StringVar(&path, "pid-file", "", "the `FILE` that edge run was given")
	cmd.Flags().DurationVar(&wait, "wait", time.Minute, "how long to wait for its end")
	return cmd
}

func (a *app) stopRunning(path string, wait time.Duration) error {
	f, pid, err := signalRunning(path, syscall.SIGTERM)
	if err != nil {
		return failure{err}
	}
	defer f.Close()
	for end := time.Now().Add(wait); ; time.Sleep(stopPoll) {
		alive, err := runs(f)
		switch {
		case err != nil:
			return failure{fmt.Errorf("%s: %w", path, err)}
		case !alive:
			_, err = fmt.Fprintf(a.stdout, "process %d has ended\n", pid)
			return err
		case time.Now().After(end):
			return failure{fmt.Errorf("process %d was told to end and still runs after %v", pid, wait)}
		}
	}
}
