package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// The purge journal and the disk fail together, on the real binary: what was answered
// is not undone by a restart, or the answer said that it may be.

// mayWrite lets the process's files grow to n bytes.
func (e *edge) mayWrite(n uint64) {
	e.t.Helper()
	if err := unix.Prlimit(e.cmd.Process.Pid, unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: n, Max: unix.RLIM_INFINITY}, nil); err != nil {
		e.t.Fatal(err)
	}
}

// undurable purges what has a tag, wants the answer that it is not durable, and returns
// the purge's id and what a restart is said to do.
func (r *purgeRig) undurable(tag string) (id, detail string) {
	r.t.Helper()
	status, text := r.api("POST", "/purge", `{"tags":["`+tag+`"]}`)
	var a struct {
		ID, Detail       string
		Applied, Durable bool
	}
	if err := json.Unmarshal([]byte(text), &a); err != nil || status != 503 || !a.Applied || a.Durable {
		r.t.Fatalf("%s: %d %s", tag, status, text)
	}
	return a.ID, a.Detail
}

// durable says whether a receipt says so.
func (r *purgeRig) durable(id string) bool {
	r.t.Helper()
	status, text := r.api("GET", "/purges/"+id, "")
	return status == 200 && strings.Contains(text, `"durable":true`)
}

// TestPurgeOutlivesFaults: journal and disk cannot be written, the process is killed,
// and what was purged is not used unvalidated by the next, nor what was not.
func TestPurgeOutlivesFaults(t *testing.T) {
	for _, x := range []struct{ name, inject string }{
		{"the disk's position can be taken away", ""},
		{"the journal can be put aside", "unlinkat:error=EIO"},
	} {
		t.Run(x.name, func(t *testing.T) {
			r := startPurge(t)
			r.fill("a.example", "/x", "/z")
			r.flushed()
			if x.inject != "" {
				defer r.traced(x.inject)()
			}
			r.mayWrite(1)
			if _, detail := r.undurable("s-x"); !strings.Contains(detail, "is validated before") {
				t.Errorf("it says %q", detail)
			}
			r.want("a.example", "/x", "fwd=uri-miss")
			r.want("a.example", "/z", "hit")
			r.again()
			r.want("a.example", "/x", "fwd=stale")
			r.want("a.example", "/z", "fwd=stale")
			r.flushed()
			r.again()
			r.want("a.example", "/z", "hit")
		})
	}
}

// traced has strace inject a fault, until end is called.
func (r *purgeRig) traced(inject string) (end func()) {
	r.t.Helper()
	if _, err := exec.LookPath("strace"); err != nil {
		r.t.Skip(skipWithoutStrace)
	}
	return traced(r.t, &diskRig{edge: r.edge}, inject)
}

// TestPurgeWhenNothingCanBeWritten: neither the journal nor anything on the disk, nor
// any name of a file. The answer says that a restart may undo the purge, and the disk is
// out of use until something can be written; soon after, everything is as it should be.
func TestPurgeWhenNothingCanBeWritten(t *testing.T) {
	r := startPurge(t)
	r.fill("a.example", "/x", "/y", "/z")
	r.flushed()
	// (Where there is no asynchronous sync, it is fdatasync.)
	over := r.traced("pwrite64,io_submit,fdatasync,fsync,openat,unlinkat,renameat,renameat2:error=EROFS")
	r.undurable("s-x")
	id, detail := r.undurable("s-y")
	if !strings.HasPrefix(detail, "neither") {
		t.Errorf("it says %q", detail)
	}
	if r.sum("edge_purge_disks", `state="out"`) != 1 || r.sum("edge_disk_up", "") != 0 || r.durable(id) {
		t.Error("nothing says that the disk is out")
	}
	if _, text := r.api("GET", "/healthz", ""); !strings.Contains(text, "alive, but neither") {
		t.Errorf("its health is %q", text)
	}
	r.want("a.example", "/y", "fwd=uri-miss")
	r.want("a.example", "/z", "hit") // it is in memory
	over()
	eventually(t, "the purge is durable", func() bool { return r.durable(id) })
	eventually(t, "the disk is in use", func() bool { return r.sum("edge_disk_up", "") == 2 && r.sum("edge_purge_disks", `state="out"`) == 0 })
	for _, line := range []string{"the purge journal cannot be written", "a disk is taken out of use", "a disk is in use again", "the purge journal is written again"} {
		if !strings.Contains(r.stderr.String(), line) {
			t.Errorf("the log does not say %q", line)
		}
	}
	if _, text := r.api("GET", "/healthz", ""); text != "alive\n" {
		t.Errorf("its health is %q", text)
	}
	r.again()
	r.want("a.example", "/x", "fwd=uri-miss")
	r.want("a.example", "/z", "hit")
}

// TestJournalPutBack: an older copy of the journal, or a part of it, takes its place
// after a kill the moment that a purge was answered.
func TestJournalPutBack(t *testing.T) {
	for name, spoil := range map[string]func(then, now []byte) []byte{
		"older": func(then, _ []byte) []byte { return then },
		"cut": func(then, now []byte) []byte { // in the middle of what came last; behind it are zeros
			return now[:(len(bytes.TrimRight(then, "\x00"))+len(bytes.TrimRight(now, "\x00")))/2]
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := startPurge(t)
			journal := filepath.Join(r.dir, "disk", "purges.journal")
			r.fill("a.example", "/x", "/z")
			r.flushed()
			then, err := os.ReadFile(journal)
			if err != nil {
				t.Fatal(err)
			}
			if status, a := r.purge("POST", "/purge", `{"tags":["s-x"]}`); status != 200 || !*a.Durable {
				t.Fatalf("%d %+v", status, a)
			}
			r.edge.kill()
			now, err := os.ReadFile(journal)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(journal, spoil(then, now), 0o600); err != nil {
				t.Fatal(err)
			}
			r.edge = start(t, r.config)
			a := r.get("/x", "Host: a.example")
			if a.Response == nil || strings.HasPrefix(a.Header.Get("Cache-Status"), "edge; hit") {
				t.Errorf("what was purged: %v", a)
			}
			r.want("a.example", "/z", "fwd=stale")
			if r.metric("edge_purge_disks_softened_total") != 1 || !strings.Contains(r.stderr.String(), "the purge journal may not hold all purges") {
				t.Error("nothing says so")
			}
		})
	}
}

// TestJournalsDiskAbsent: the disk with the journal is a file at one start, and back at the
// next, each after a kill the moment that a purge was answered. Whatever the disk had and
// the purges took meanwhile is validated, and its own journal is put aside.
func TestJournalsDiskAbsent(t *testing.T) {
	r := startPurge(t)
	one, two, away := filepath.Join(r.dir, "disk"), filepath.Join(r.dir, "two"), filepath.Join(r.dir, "away")
	r.edge.kill()
	r.config = strings.Replace(r.config, "size: 64MiB}]", "size: 64MiB}, {path: \""+two+"\", size: 64MiB}]", 1)
	r.edge = start(t, r.config)
	var targets []string
	for i := range 16 { // on both disks
		targets = append(targets, fmt.Sprintf("/x/%d", i), fmt.Sprintf("/y/%d", i))
	}
	r.fill("a.example", targets...)
	r.flushed()
	swap := func(from, to string) {
		t.Helper()
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	durable := func(tag string) {
		t.Helper()
		if status, a := r.purge("POST", "/purge", `{"tags":["`+tag+`"]}`); status != 200 || !*a.Durable {
			t.Errorf("%s: %d %+v", tag, status, a)
		}
		r.edge.kill()
	}
	durable("none")
	swap(one, away)
	if err := os.WriteFile(one, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r.edge = start(t, r.config)
	if r.sum("edge_disk_up", `disk="`+one+`"`) != 0 || r.metric("edge_purge_journal_broken") != 0 {
		t.Error("the first disk is there, or the journal is not")
	}
	durable("s-x")
	swap(one, away+".file")
	swap(away, one)
	r.edge = start(t, r.config)
	for _, target := range targets {
		a := r.get(target, "Host: a.example")
		if a.Response == nil || a.StatusCode != 200 || strings.HasPrefix(a.Header.Get("Cache-Status"), "edge; hit") {
			t.Errorf("%s: %v", target, a)
		}
	}
	if _, err := os.Stat(filepath.Join(one, "purges.journal.stale")); err != nil {
		t.Error(err)
	}
	r.flushed()
	durable("s-y")
	r.edge = start(t, r.config)
	for _, target := range targets {
		how := "hit"
		if strings.HasPrefix(target, "/y") {
			how = "fwd=uri-miss"
		}
		r.want("a.example", target, how)
	}
}
