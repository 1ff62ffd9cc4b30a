//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Bounds of waiting for a process.
const (
	readyTimeout = 10 * time.Second // from start to the first accepted connection
	stopGrace    = 5 * time.Second  // from SIGTERM to SIGKILL
	maxStderr    = 64 << 10         // bytes of a server's output kept for its error message
)

// pinnedMark is set in the environment of this program once it is pinned.
const pinnedMark = "EDGE_BENCH_PINNED"

// pinSelf puts the whole program on one core. Affinity belongs to a thread
// and the Go runtime has started several, so the program sets it on one and
// executes itself again: all threads of the new image inherit it.
func pinSelf(cpu int) error {
	if os.Getenv(pinnedMark) != "" {
		return nil
	}
	runtime.LockOSThread()
	var set unix.CPUSet
	set.Set(cpu)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return fmt.Errorf("pinning to core %d (two cores are needed): %w", cpu, err)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	env := append(os.Environ(), pinnedMark+"=1")
	return fmt.Errorf("exec %s: %w", self, unix.Exec(self, os.Args, env))
}

// launcher starts processes from one thread that lives as long as the
// program: a child inherits that thread's affinity, and Pdeathsig is sent
// when the thread that started the child ends, not the process.
type launcher struct {
	jobs chan func()
}

func newLauncher() *launcher {
	l := &launcher{jobs: make(chan func())}
	go func() {
		runtime.LockOSThread() // never unlocked: the thread is the launcher's
		for job := range l.jobs {
			job()
		}
	}()
	return l
}

// start starts cmd on the given cores; none means any core.
func (l *launcher) start(cmd *exec.Cmd, cpus ...int) error {
	var set unix.CPUSet
	for _, c := range cpus {
		set.Set(c)
	}
	if len(cpus) == 0 {
		for c := range runtime.NumCPU() + 64 {
			set.Set(c) // the kernel takes those that exist and are allowed
		}
	}
	done := make(chan error)
	l.jobs <- func() {
		if err := unix.SchedSetaffinity(0, &set); err != nil {
			done <- fmt.Errorf("pinning to cores %v: %w", cpus, err)
			return
		}
		done <- cmd.Start()
	}
	return <-done
}

// process is a server under measurement. Owner: the scenario that started it.
type process struct {
	name   string
	cmd    *exec.Cmd
	output tail
	exited chan struct{}
	err    error // valid once exited is closed
}

// tail keeps the first maxStderr bytes written to it.
type tail struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write keeps what fits and claims everything.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if room := maxStderr - t.buf.Len(); room > 0 {
		t.buf.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

// String returns what was kept.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(t.buf.String())
}

// spawn starts a server on the server's core and waits until addr accepts.
func (l *lab) spawn(ctx context.Context, name, addr string, env []string, argv ...string) (*process, error) {
	p := &process{name: name, exited: make(chan struct{})}
	p.cmd = exec.Command(argv[0], argv[1:]...)
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Dir = l.dir
	p.cmd.Stdout, p.cmd.Stderr = &p.output, &p.output
	// A group of its own keeps a terminal's interrupt from it: this program
	// ends it. Should this program be killed, the kernel does.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err := l.launch.start(p.cmd, l.serverCPU); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.exited)
	}()
	if err := p.awaitReady(ctx, addr); err != nil {
		p.stop()
		return nil, err
	}
	return p, nil
}

func (p *process) awaitReady(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	for {
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			return c.Close()
		}
		select {
		case <-p.exited:
			return fmt.Errorf("%s exited before it was ready: %v\n%s", p.name, p.err, &p.output)
		case <-ctx.Done():
			return fmt.Errorf("%s does not accept on %s within %v\n%s", p.name, addr, readyTimeout, &p.output)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// stop ends the process and its children, politely first. Idempotent.
func (p *process) stop() {
	pids := p.pids()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.exited:
		return
	case <-time.After(stopGrace):
	}
	for _, pid := range pids {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	<-p.exited
}

// pids returns the process and its children (nginx: master and worker).
func (p *process) pids() []int {
	pids := []int{p.cmd.Process.Pid}
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pids[0]))
	for _, f := range files {
		b, _ := os.ReadFile(f)
		for _, s := range strings.Fields(string(b)) {
			if pid, err := strconv.Atoi(s); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// cpu returns the CPU time, user and system, that the process and its
// children have used, all threads together.
func (p *process) cpu() (time.Duration, error) {
	select {
	case <-p.exited:
		return 0, fmt.Errorf("%s exited: %v\n%s", p.name, p.err, &p.output)
	default:
	}
	var sum time.Duration
	for _, pid := range p.pids() {
		var ts unix.Timespec
		if err := unix.ClockGettime(cpuClock(pid), &ts); err != nil {
			return 0, fmt.Errorf("CPU time of %s (pid %d): %w", p.name, pid, err)
		}
		sum += time.Duration(ts.Nano())
	}
	return sum, nil
}

// cpuClock returns the id of a process's CPU-time clock, as
// clock_getcpuclockid(3) makes it: nanoseconds, where /proc/PID/stat has
// hundredths of a second.
func cpuClock(pid int) int32 {
	const scheduled = 2 // CPUCLOCK_SCHED
	return int32(^pid<<3 | scheduled)
}

// freeAddr returns a loopback address nobody listened on a moment ago.
func freeAddr() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	addr := ln.Addr().String()
	return addr, ln.Close()
}

// tempDir makes a directory on tmpfs where there is one, readable for the
// user nginx's worker runs as.
func tempDir() (string, error) {
	dir, err := os.MkdirTemp("/dev/shm", "edge-bench-")
	if err != nil {
		dir, err = os.MkdirTemp("", "edge-bench-")
	}
	if err != nil {
		return "", err
	}
	return dir, os.Chmod(dir, 0o755)
}

// buildEdge makes the binary to measure, as `make build` would, on any core.
func (l *lab) buildEdge(ctx context.Context) error {
	if l.edge != "" {
		abs, err := filepath.Abs(l.edge)
		l.binary = abs
		return errors.Join(err, fileExists(abs))
	}
	out := filepath.Join(l.dir, "edge")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", out, "edge/cmd/edge")
	var output tail
	cmd.Stdout, cmd.Stderr = &output, &output
	err := l.launch.start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return fmt.Errorf("building edge: %w\n%s", err, &output)
	}
	l.binary = out
	return nil
}

func fileExists(path string) error {
	_, err := os.Stat(path)
	return err
}
