//go:build linux

// Command bench measures edge side by side with its peers on this machine,
// and checks while it measures: a figure for wrong answers is worth nothing.
//
//	go run ./bench                      every scenario
//	go run ./bench -only hit -rounds 9  one of them, at length
//
// Every server runs pinned to one core; everything else (load generator,
// origin, this program) is pinned to another, so that the figure printed,
// CPU microseconds of the server process per request, is the server's own.
// CPU time is read from the process's own CPU-time clock and does not depend
// on who was the bottleneck; requests per second does, and is printed only
// for orientation.
//
// Servers run in turn, several rounds, each round beginning with another
// server, so that a noisy minute spoils one round of each and not all rounds
// of one. Medians are compared. All traffic is loopback; every process started here
// is ended by its id, also on an interrupt.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"edge/config"
)

// scenario is one thing to measure. A new one (HTTP/2, say) is a file of its own
// and a line in scenarios.
type scenario struct {
	name, about string
	// long: runs only when -only names it.
	long bool
	// run measures and prints. Its error means that something answered
	// wrongly or could not be run, never that a target was missed.
	run func(context.Context, *lab) error
}

var scenarios = []scenario{
	{"hit", "1 KiB memory hits over HTTP/1.1 keep-alive", false, runHits},
	{"miss", "1 KiB misses: each URL asked for once", false, runMisses},
	{"herd", "many clients asking at once for one uncached URL", false, runHerd},
	{"diskhit", "disk hits: what memory does not hold, from the page cache", false, runDiskHits},
	{"diskmiss", "1 KiB misses stored on disk, the writing behind counted in", false, runDiskMisses},
	{"fillhits", "latency of 1 KiB hits while misses are stored at full speed", false, runFillHits},
	{"purgehits", "latency of 1 KiB hits beside 1,000 purges a second", false, runPurgeHits},
	{"zipf", "hit ratio under a Zipf workload, without and with URLs asked for once", false, runZipf},
	{"million", "a million 1 KiB objects on disk: memory, and restarts", true, runMillion},
}

// options are the flags.
type options struct {
	rounds      int
	duration    time.Duration
	connections int
	clients     int
	disk        string
	sizes       []int // of objects, bytes
	set         int   // bytes of objects on disk
	memory      int   // bytes of the memory tier before a disk
	objects     int
	rate        int
	only        []string
	servers     []string
	generator   string
	edge        string
	serverCPU   int
	clientCPU   int
	strict      bool
}

// lab is what every scenario works with.
type lab struct {
	options
	launch *launcher
	dir    string // temporary; removed at the end
	binary string // path of the edge binary; empty if edge is not measured
	missed int    // targets not reached
}

// maxRun bounds the whole program, whatever the flags say.
const maxRun = 30 * time.Minute

func main() {
	if len(os.Args) > 1 && os.Args[1] == "floor" {
		exit(floorMain(os.Args[2:]))
	}
	o, err := parseFlags(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		exit(err)
	}
	exit(run(o))
}

// exit ends the program with 0, or with 1 and the error printed.
func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func parseFlags(args []string) (options, error) {
	var o options
	var only, servers, sizes, set, memory string
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.IntVar(&o.rounds, "rounds", 5, "rounds; medians over them are compared")
	f.DurationVar(&o.duration, "duration", 3*time.Second, "how long one server is loaded in one round")
	f.IntVar(&o.connections, "connections", 32, "connections of the load generator")
	f.IntVar(&o.clients, "clients", 1000, "clients of the herd")
	f.StringVar(&o.disk, "disk", os.TempDir(), "where scenarios with a disk make their directory")
	f.StringVar(&sizes, "size", "64KiB,1MiB", "sizes of the objects of diskhit")
	f.StringVar(&set, "set", "256MiB", "how much diskhit has on disk of each size")
	f.StringVar(&memory, "memory", "16MiB", "the memory tier in front of the disk (not of million)")
	f.IntVar(&o.objects, "objects", 1_000_000, "objects of million")
	f.IntVar(&o.rate, "rate", 500, "hits a second that fillhits and purgehits time")
	f.StringVar(&only, "only", "", "scenarios to run, by name, separated by commas (default: all but million)")
	f.StringVar(&servers, "servers", strings.Join(servable, ","), "servers to run")
	f.StringVar(&o.generator, "generator", "auto", "load generator for hits: wrk, builtin, or auto (wrk where installed)")
	f.StringVar(&o.edge, "edge", "", "an edge binary to measure (default: built from this tree)")
	f.IntVar(&o.serverCPU, "server-cpu", 0, "the core servers run on")
	f.IntVar(&o.clientCPU, "client-cpu", 1, "the core everything else runs on")
	f.BoolVar(&o.strict, "strict", false, "exit 1 when a target is not reached")
	f.Usage = func() {
		fmt.Fprintln(f.Output(), "usage: go run ./bench [flags]\n\nscenarios:")
		for _, s := range scenarios {
			fmt.Fprintf(f.Output(), "  %-8s %s\n", s.name, s.about)
		}
		fmt.Fprintln(f.Output(), "\nflags:")
		f.PrintDefaults()
	}
	if err := f.Parse(args); err != nil {
		return o, err
	}
	o.only, o.servers = split(only), split(servers)
	for _, v := range split(sizes) {
		n, err := parseSize(v)
		if err != nil {
			return o, fmt.Errorf("-size: %w", err)
		}
		o.sizes = append(o.sizes, n)
	}
	var errSet, errMemory error
	o.set, errSet = parseSize(set)
	o.memory, errMemory = parseSize(memory)
	return o, errors.Join(errSet, errMemory, o.validate(), o.validateDisk())
}

// servable are the servers, as in -servers.
var servable = []string{"edge", "nginx", "ats", "floor"}

// parseSize reads a number of bytes as the configuration has them.
func parseSize(s string) (int, error) {
	n, err := config.ParseSize(s)
	return int(n), err
}

// validateDisk checks the flags of the scenarios with a disk.
func (o *options) validateDisk() error {
	for _, n := range o.sizes {
		if n < minObject || n > maxObject || n > o.set {
			return fmt.Errorf("-size: %d is not in %d..%d, or more than -set", n, minObject, maxObject)
		}
	}
	switch {
	case len(o.sizes) == 0:
		return errors.New("-size: none")
	case o.set < 1<<20 || o.set > 16<<30:
		return fmt.Errorf("-set: %d is not in 1MiB..16GiB", o.set)
	case o.memory < 1<<20 || o.memory > 16<<30:
		return fmt.Errorf("-memory: %d is not in 1MiB..16GiB", o.memory)
	case o.objects < 1000 || o.objects > 100_000_000:
		return fmt.Errorf("-objects: %d is not in 1000..100000000", o.objects)
	case o.rate < 10 || o.rate > 10_000:
		return fmt.Errorf("-rate: %d is not in 10..10000", o.rate)
	}
	return needDisk(o.disk)
}

// split cuts a comma-separated flag; the empty string is no elements.
func split(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' })
}

func (o *options) validate() error {
	known := func(name string) bool {
		return slices.ContainsFunc(scenarios, func(s scenario) bool { return s.name == name })
	}
	for _, name := range o.only {
		if !known(name) {
			return fmt.Errorf("-only: no scenario named %q", name)
		}
	}
	for _, name := range o.servers {
		if !slices.Contains(servable, name) {
			return fmt.Errorf("-servers: no server named %q", name)
		}
	}
	switch {
	case o.rounds < 1 || o.rounds > 1000:
		return fmt.Errorf("-rounds: %d is not in 1..1000", o.rounds)
	case o.duration < 100*time.Millisecond || o.duration > time.Minute:
		return fmt.Errorf("-duration: %v is not in 100ms..1m", o.duration)
	case o.connections < 1 || o.connections > 4000:
		return fmt.Errorf("-connections: %d is not in 1..4000", o.connections)
	case o.clients < 2 || o.clients > 4000:
		return fmt.Errorf("-clients: %d is not in 2..4000", o.clients)
	case !slices.Contains([]string{"auto", "wrk", "builtin"}, o.generator):
		return fmt.Errorf("-generator: %q is none of auto, wrk, builtin", o.generator)
	case o.serverCPU == o.clientCPU:
		return errors.New("-server-cpu and -client-cpu must differ")
	}
	return nil
}

// wants says whether a server was asked for.
func (o *options) wants(server string) bool { return slices.Contains(o.servers, server) }

func run(o options) error {
	if err := pinSelf(o.clientCPU); err != nil {
		return err
	}
	// Generator, origin and launcher block in system calls side by side on
	// one core: the kernel shares it out among their threads, not the Go
	// scheduler, which would otherwise let one wait in epoll_wait hold up the rest.
	runtime.GOMAXPROCS(4)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, maxRun)
	defer cancel()

	l := &lab{options: o, launch: newLauncher()}
	dir, err := tempDir()
	if err != nil {
		return err
	}
	l.dir = dir
	defer os.RemoveAll(dir)
	if o.wants("edge") {
		if err := l.buildEdge(ctx); err != nil {
			return err
		}
	}
	var failed []error
	for _, s := range scenarios {
		if !slices.Contains(o.only, s.name) && (s.long || len(o.only) > 0) {
			continue
		}
		fmt.Printf("\n== %s: %s\n", s.name, s.about)
		if err := s.run(ctx, l); err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", s.name, err))
			fmt.Println("FAILED:", err)
		}
		if ctx.Err() != nil {
			break
		}
	}
	if o.strict && l.missed > 0 {
		failed = append(failed, fmt.Errorf("%d target(s) not reached", l.missed))
	}
	return errors.Join(failed...)
}

// target prints one target and remembers if it was not reached.
func (l *lab) target(what string, got, limit float64, unit string) {
	verdict := "reached"
	if !(got <= limit) { // a NaN is not reached
		verdict = "NOT REACHED"
		l.missed++
	}
	fmt.Printf("target  %-46s %8.2f%s, at most %.2f%s: %s\n", what, got, unit, limit, unit, verdict)
}
