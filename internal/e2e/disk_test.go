package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Faults of disks, on the real binary and real filesystems: while they last, and
// after them, whoever asks gets the origin's bytes.

const (
	skipWithoutMount  = "needs leave to mount filesystems"
	skipWithoutStrace = "needs strace, and leave to trace"
)

// diskObjects is how many things there are to ask for.
const diskObjects = 240

// diskBody is the content of thing n: mostly small, some of many chunks.
func diskBody(n int) []byte {
	size := 100 + n*37%4000
	switch n % 8 {
	case 6:
		size = 30_000 + n*977%30_000
	case 7:
		size = 200_000 + n*7919%400_000
	}
	rnd := rand.New(rand.NewPCG(uint64(n), 5))
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(rnd.Uint32())
	}
	return b
}

// diskRig is an edge with disks, its origin, and those who ask.
type diskRig struct {
	*edge
	bodies   [][]byte
	asked    atomic.Int64 // of the origin
	sent     atomic.Int64 // content bytes, by it
	answered atomic.Int64 // right
	// scarce: connections may be ended and refused meanwhile, and what is new too.
	scarce atomic.Bool
}

// startDisk starts an edge whose disk is at dir.
func startDisk(t *testing.T, dir, size string) *diskRig {
	t.Helper()
	if raceBuild && !long { // they are about the disk; the races are looked for in the rooms themselves
		t.Skip(skipWithoutLong)
	}
	r := &diskRig{bodies: make([][]byte, diskObjects)}
	for n := range r.bodies {
		r.bodies[n] = diskBody(n)
	}
	origin := httptest.NewServer(http.HandlerFunc(r.origin))
	t.Cleanup(origin.Close)
	r.edge = start(t, config(strings.TrimPrefix(origin.URL, "http://"),
		fmt.Sprintf("cache: {memory: {size: 1MiB, max_object: 8KiB}, disk: [{path: %q, size: %s}], flush_interval: 50ms, sync_interval: 1s}\n", dir, size)))
	return r
}

// origin serves thing n at /n, or a range of it, for a day, under a strong validator.
func (r *diskRig) origin(w http.ResponseWriter, req *http.Request) {
	r.asked.Add(1)
	n, err := strconv.Atoi(strings.TrimPrefix(req.URL.Path, "/"))
	if err != nil || n >= len(r.bodies) {
		http.NotFound(w, req)
		return
	}
	w.Header().Set("Cache-Control", "max-age=86400")
	w.Header().Set("ETag", fmt.Sprintf(`"%d"`, n))
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(&counted{w, &r.sent}, req, "", time.Time{}, bytes.NewReader(r.bodies[n]))
}

// counted counts content.
type counted struct {
	http.ResponseWriter
	n *atomic.Int64
}

func (c *counted) Write(p []byte) (int, error) {
	c.n.Add(int64(len(p)))
	return c.ResponseWriter.Write(p)
}

// client is one that keeps its connections.
func (r *diskRig) client() *http.Client {
	return &http.Client{Timeout: patience, Transport: &http.Transport{}}
}

// ask asks for [from, to) of thing n, all of it where to is 0, and wants just that.
func (r *diskRig) ask(c *http.Client, n, from, to int) { r.askAs(c, n, "", from, to) }

// askAs is ask for the same thing under another name: with a query.
func (r *diskRig) askAs(c *http.Client, n int, query string, from, to int) {
	req, err := http.NewRequest("GET", fmt.Sprintf("http://%s/%d%s", r.addr, n, query), nil)
	if err != nil {
		r.t.Error(err)
		return
	}
	want, status := r.bodies[n], 200
	if to > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", from, to-1))
		want, status = want[from:to], 206
	}
	scarce := r.scarce.Load()
	resp, err := c.Do(req)
	if err != nil {
		if !scarce {
			r.t.Errorf("thing %d: %v", n, err)
		}
		return
	}
	defer resp.Body.Close()
	if scarce && resp.StatusCode == 503 {
		return
	}
	got, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != status || !bytes.Equal(got, want) {
		r.t.Errorf("thing %d [%d, %d): status %d, %d bytes, right: %v, error %v; Cache-Status: %s", n, from, to, resp.StatusCode, len(got),
			bytes.Equal(got, want), err, resp.Header.Get("Cache-Status"))
		return
	}
	r.answered.Add(1)
}

// all asks for each thing once.
func (r *diskRig) all() {
	c := r.client()
	defer c.CloseIdleConnections()
	for n := range r.bodies {
		r.ask(c, n, 0, 0)
	}
}

// traffic asks for things and ranges of them, new ones among them that have to be
// stored, until end is called, which wants that somebody was answered.
func (r *diskRig) traffic() (end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			c, dice := r.client(), rand.New(rand.NewPCG(uint64(i), 9))
			defer c.CloseIdleConnections()
			for ctx.Err() == nil {
				n, from, to := dice.IntN(len(r.bodies)), 0, 0
				if size := len(r.bodies[n]); dice.IntN(4) == 0 {
					from = dice.IntN(size)
					to = from + 1 + dice.IntN(size-from)
				}
				query := ""
				if dice.IntN(16) == 0 {
					query = fmt.Sprintf("?%d", dice.Uint64())
				}
				r.askAs(c, n, query, from, to)
			}
		})
	}
	before := r.answered.Load()
	stop := func() {
		cancel()
		all.Wait()
	}
	r.t.Cleanup(stop) // where the test ends before it
	return func() {
		stop()
		if r.answered.Load() == before {
			r.t.Error("nobody was answered")
		}
	}
}

func (r *diskRig) fault(reason string) float64 {
	return r.sum("edge_disk_faults_total", `reason="`+reason+`"`)
}

func (r *diskRig) up() bool { return r.metric("edge_disk_up") == 2 } // for reading and for writing

// back waits until the disk is in use again after a fault that ended just now, and
// wants what is asked for then to be kept there.
func (r *diskRig) back() {
	r.t.Helper()
	ended := time.Now()
	eventually(r.t, "the disk is back", r.up)
	r.t.Logf("the disk was back %v after the fault", time.Since(ended).Round(time.Millisecond))
	r.kept(diskObjects / 4)
}

// kept waits until the origin is asked for no more than so many of all things.
func (r *diskRig) kept(most int64) {
	r.t.Helper()
	eventually(r.t, "everything is kept", func() bool {
		r.flushed()
		before := r.asked.Load()
		r.all()
		return r.asked.Load()-before <= most
	})
}

// settled ends a test: the process lives and holds no more than it should.
func (r *diskRig) settled() {
	r.t.Helper()
	r.fds += r.metric("edge_disk_segments")
	r.calm()
}

// mountTmpfs mounts a filesystem of that many MiB for the test's time.
func mountTmpfs(t *testing.T, mib int) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("edge-test", dir, "tmpfs", 0, fmt.Sprintf("size=%dm", mib)); err != nil {
		t.Skip(skipWithoutMount)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) }) // nobody uses it any more
	return dir
}

// TestDiskFull: somebody else fills the filesystem up, and makes room again.
func TestDiskFull(t *testing.T) {
	dir := mountTmpfs(t, 24)
	r := startDisk(t, filepath.Join(dir, "disk"), "16MiB")
	end := r.traffic()
	filler := filepath.Join(dir, "filler")
	f, err := os.Create(filler)
	if err != nil {
		t.Fatal(err)
	}
	for piece := make([]byte, 64<<10); err == nil; {
		_, err = f.Write(piece)
	}
	_ = f.Close() // it is full
	eventually(t, "it is noticed", func() bool { return r.fault("full") > 0 })
	time.Sleep(time.Second)
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the disk is back under traffic", r.up)
	end()
	r.back()
	r.settled()
}

// TestDiskSmallerThanSaid: the filesystem is smaller than the configured size.
func TestDiskSmallerThanSaid(t *testing.T) {
	r := startDisk(t, filepath.Join(mountTmpfs(t, 4), "disk"), "64MiB")
	end := r.traffic()
	eventually(t, "it is noticed", func() bool { return r.fault("full") > 0 })
	time.Sleep(time.Second)
	end()
	if r.metric("edge_disk_entries") == 0 {
		t.Error("nothing is kept")
	}
	r.settled()
}

// TestDiskReadOnly: the filesystem becomes read-only in the middle of traffic, as
// ext4 does when it finds itself damaged.
func TestDiskReadOnly(t *testing.T) {
	image := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, 48<<20); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if exec.Command("mkfs.ext4", "-q", "-F", image).Run() != nil || exec.Command("mount", "-o", "loop", image, dir).Run() != nil {
		t.Skip(skipWithoutMount)
	}
	t.Cleanup(func() { _ = exec.Command("umount", "-l", dir).Run() }) // nobody uses it any more
	r := startDisk(t, filepath.Join(dir, "disk"), "16MiB")
	end := r.traffic()
	time.Sleep(time.Second)
	if out, err := exec.Command("mount", "-o", "remount,abort", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	eventually(t, "it is noticed", func() bool { return !r.up() && r.fault("error") > 0 })
	time.Sleep(time.Second)
	end()
	r.all()
	r.settled()
}

// TestDiskDescriptors: there are no more descriptors, and then there are again.
func TestDiskDescriptors(t *testing.T) {
	r := startDisk(t, t.TempDir(), "32MiB")
	r.all()
	c := r.client()
	r.ask(c, 7, 0, 0)
	end := r.traffic()
	time.Sleep(300 * time.Millisecond)
	var was unix.Rlimit
	pid := r.cmd.Process.Pid
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &was); err != nil {
		t.Fatal(err)
	}
	r.scarce.Store(true)
	few := unix.Rlimit{Cur: uint64(r.metric("process_open_fds")) + 2, Max: was.Max}
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, &few, nil); err != nil {
		t.Fatal(err)
	}
	// New connections have none either, so that metrics are asked for later. What nobody
	// asked for yet takes segments, and connections to the origin.
	for i := range 10 {
		time.Sleep(300 * time.Millisecond)
		resp, err := c.Get(fmt.Sprintf("http://%s/79?%d", r.addr, i))
		if err != nil { // its connection was ended for the others' sake, and there is no other
			t.Log(err)
			continue
		}
		got, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close() // it was read
		if refused := resp.StatusCode == 503 && resp.Header.Get("Retry-After") != ""; err != nil || !refused && !bytes.Equal(got, r.bodies[79]) {
			t.Errorf("something new: status %d, %d bytes, %v", resp.StatusCode, len(got), err)
		}
	}
	c.CloseIdleConnections()
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, &was, nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the disk is back", r.up)
	end()
	r.scarce.Store(false)
	if r.fault("error") == 0 {
		t.Error("it was not noticed")
	}
	r.back()
	r.settled()
}

// traced has strace inject a fault into a running process, until end is called.
func traced(t *testing.T, r *diskRig, inject string) (end func()) {
	t.Helper()
	call, _, _ := strings.Cut(inject, ":")
	var said text
	cmd := exec.Command("strace", "-f", "-qq", "-o", "/dev/null", "-p", strconv.Itoa(r.cmd.Process.Pid), "-e", "trace="+call, "-e", "inject="+inject)
	cmd.Stderr = &said
	if cmd.Start() != nil {
		t.Skip(skipWithoutStrace)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // says that it was interrupted
	}()
	eventually(t, "strace is attached", func() bool {
		select {
		case <-ended:
			t.Skip(skipWithoutStrace)
		default:
		}
		return isTraced(t, r.cmd.Process.Pid)
	})
	return func() {
		_ = cmd.Process.Signal(syscall.SIGINT) // it detaches
		<-ended
		if strings.Contains(said.String(), "attach:") {
			t.Logf("strace: %s", said.String())
		}
	}
}

// isTraced reports whether all threads of a process are traced.
func isTraced(t *testing.T, pid int) bool {
	t.Helper()
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil || len(threads) == 0 {
		t.Fatalf("the threads of %d: %v", pid, err)
	}
	for _, name := range threads {
		status, err := os.ReadFile(name)
		if err == nil && bytes.Contains(status, []byte("\nTracerPid:\t0\n")) {
			return false
		}
	}
	return true
}

// TestDiskErrors: the kernel answers with errors, for a while.
func TestDiskErrors(t *testing.T) {
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip(skipWithoutStrace)
	}
	for _, x := range []struct {
		inject, reason string
		always         bool // in the short test too
	}{
		{"pwrite64:error=EIO", "error", true},
		{"pread64,preadv2:error=EIO", "error", true},
		{"pwrite64:error=ENOSPC", "full", false},
		{"pwrite64:error=EROFS", "error", false},
		{"fdatasync,io_submit:error=EIO", "error", false}, // a sync is asynchronous where it may be
		{"fsync:error=EIO", "", false},
		{"openat:error=EMFILE", "error", false},
		{"pwrite64:error=EIO:when=3+5", "error", false},
		{"pread64,preadv2:error=EIO:when=2+7", "error", false},
		{"pwrite64:delay_enter=400000", "", false},
		{"pread64,preadv2:delay_enter=100000", "", false},
	} {
		if !x.always && !long {
			continue
		}
		t.Run(x.inject, func(t *testing.T) {
			r := startDisk(t, t.TempDir(), "16MiB")
			r.all()
			end := r.traffic()
			over := traced(t, r, x.inject)
			if x.reason != "" {
				eventually(t, "it is noticed", func() bool { return r.fault(x.reason) > 0 })
			}
			time.Sleep(500 * time.Millisecond)
			over()
			end()
			r.back()
			r.settled()
		})
	}
}

// segmentsOf returns the names of a disk's segments, the oldest first.
func segmentsOf(t *testing.T, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.seg"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no segments in %s: %v", dir, err)
	}
	slices.Sort(names)
	return names
}

// TestDiskDamage: what lies on the disk changes under the running process: bits
// flip, in heads and in bodies, files are cut short, and files vanish. Nobody ever
// gets a wrong byte or a part of an answer, and what was damaged is fetched again and kept.
func TestDiskDamage(t *testing.T) {
	flip := func(every int64) func(t *testing.T, name string) {
		return func(t *testing.T, name string) {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			f, err := os.OpenFile(name, os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			for at := every / 2; at < int64(len(b)); at += every {
				if _, err := f.WriteAt([]byte{b[at] ^ 0x10}, at); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	for name, harm := range map[string]func(t *testing.T, name string){
		"a bit in some chunks": flip(200_003),
		"a bit here and there": flip(20_011),
		"a bit everywhere":     flip(509),
		"cut": func(t *testing.T, name string) {
			if err := os.Truncate(name, 70_000); err != nil {
				t.Fatal(err)
			}
		},
		"gone": func(t *testing.T, name string) {
			if err := os.Remove(name); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			r := startDisk(t, dir, "128MiB")
			r.all()
			r.flushed()
			segments := segmentsOf(t, dir)
			for _, s := range segments[:len(segments)-1] { // the last is in memory too
				harm(t, s)
			}
			r.all()
			if name != "gone" && r.fault("damaged") == 0 {
				t.Error("it was not noticed")
			}
			r.kept(diskObjects / 20) // once what lies beside the damage was looked at
			if !r.up() {
				t.Error("damage took the disk out")
			}
			r.settled()
		})
	}
}
