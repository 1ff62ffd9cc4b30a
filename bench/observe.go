//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// metricsTimeout bounds one reading of edge's metrics, maxMetrics its length in
// bytes.
const (
	metricsTimeout = 10 * time.Second
	maxMetrics     = 8 << 20
)

// exposition is what a /metrics page says, in Prometheus's text format.
type exposition string

// metrics reads the metrics of s, which is edge.
func (s *subject) metrics(ctx context.Context) (exposition, error) {
	ctx, cancel := context.WithTimeout(ctx, metricsTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.admin+"/metrics", nil)
	if err != nil {
		return "", err
	}
	t := &http.Transport{DisableKeepAlives: true} // and no proxy from the environment
	resp, err := t.RoundTrip(req)
	if err != nil {
		return "", fmt.Errorf("metrics of %s: %w", s.name, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxMetrics))
	if err != nil || resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("metrics of %s: status %d: %v", s.name, resp.StatusCode, err)
	}
	return exposition(b), nil
}

// sum adds up the samples of a metric that have all of the labels, each written
// name="value". 0 where there is none.
func (x exposition) sum(name string, labels ...string) float64 {
	total := 0.0
	for line := range strings.SplitSeq(string(x), "\n") {
		rest, ok := strings.CutPrefix(line, name)
		if !ok || rest == "" || rest[0] != '{' && rest[0] != ' ' {
			continue
		}
		for _, l := range labels {
			ok = ok && strings.Contains(rest, l)
		}
		v, err := strconv.ParseFloat(rest[strings.LastIndexByte(rest, ' ')+1:], 64)
		if ok && err == nil {
			total += v
		}
	}
	return total
}

// kernelThread is PF_KTHREAD among the flags of /proc/PID/stat.
const kernelThread = 0x00200000

// tick is the unit of CPU times in /proc/PID/stat: USER_HZ is 100 on every Linux
// that Go runs on.
const tick = 10 * time.Millisecond

// kernelCPU returns the CPU time that all kernel threads have used.
func kernelCPU() time.Duration {
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	var sum time.Duration
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err == nil { // else: ended since
			sum += kernelTime(b)
		}
	}
	return sum
}

// kernelTime reads the CPU time from a /proc/PID/stat, 0 where that is no kernel thread.
func kernelTime(stat []byte) time.Duration {
	// The second field is the name in parentheses, which may hold anything.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	const flags, user, system = 6, 11, 12 // proc(5) numbers them 9, 14 and 15
	if len(fields) <= system {
		return 0
	}
	number := func(i int) int64 {
		n, _ := strconv.ParseInt(string(fields[i]), 10, 64)
		return n
	}
	if number(flags)&kernelThread == 0 {
		return 0
	}
	return time.Duration(number(user)+number(system)) * tick
}

// resident returns how much memory s occupies now and did at most, in bytes.
func (s *subject) resident() (now, most int64, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		return 0, 0, fmt.Errorf("memory of %s: %w", s.name, err)
	}
	return statusKiB(b, "VmRSS:") << 10, statusKiB(b, "VmHWM:") << 10, nil
}

// statusKiB returns a line of a /proc/PID/status, 0 where it is missing.
func statusKiB(status []byte, name string) int64 {
	for line := range strings.SplitSeq(string(status), "\n") {
		if rest, ok := strings.CutPrefix(line, name); ok {
			n, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return n
		}
	}
	return 0
}
