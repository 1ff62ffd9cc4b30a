package purge

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edge/cache/storage"
	"edge/cache/storage/disk"
	"edge/cache/storage/vfs"
)

// The law over restarts: whatever becomes of the journal and of the disks, and however
// the process ends, what a purge that was answered has touched is not found fresh by
// the next process. Here it is held with real disk tiers, for every combination, on a
// filesystem that fails and crashes.

// vfsFiles is a vfs.FS as the journal needs it.
type vfsFiles struct{ fs vfs.FS }

func (v vfsFiles) ReadFile(name string, most int64) ([]byte, error) {
	f, err := v.fs.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil || size > most {
		return nil, fmt.Errorf("%s: %d bytes: %w", name, size, err)
	}
	b := make([]byte, size)
	if _, err := f.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return b, nil
}

func (v vfsFiles) Create(name string) (journalFile, error) {
	_ = v.fs.Remove(name)
	return v.fs.Create(name)
}

func (v vfsFiles) Rename(from, to string) error { return v.fs.Rename(from, to) }
func (v vfsFiles) SyncDir(name string) error    { return v.fs.SyncDir(path.Dir(name)) }

func (v vfsFiles) Lock(name string) (func(), error) {
	l, err := v.fs.Lock(name + ".lock")
	if err != nil {
		return nil, err
	}
	return func() { _ = l.Close() }, nil
}

// fault is what is wrong with a part of the filesystem.
type fault int

const (
	sound  fault = iota
	noData       // nothing can be written to files; names can be made and taken away
	dead         // nothing can be changed
	numFaults
)

func (f fault) String() string { return [...]string{"sound", "no data", "dead"}[f] }

// hits says whether an operation fails.
func (f fault) hits(op vfs.Op) bool {
	switch op {
	case vfs.OpWrite, vfs.OpTruncate, vfs.OpSync:
		return f != sound
	case vfs.OpCreate, vfs.OpRemove, vfs.OpRename, vfs.OpSyncDir, vfs.OpMkdir:
		return f == dead
	default:
		return false
	}
}

// How a process ends, and what becomes of its files before the next one.
const (
	byStop = iota
	byKill
	byPowerLoss
	numEnds

	filesKept      = 0
	journalLost    = 1
	secondOlder    = 2 // a copy of the second disk from before the purges takes its place
	journalCut     = 3
	journalOlder   = 4 // likewise
	numAftermaths  = 5
	restartJournal = "/j/journal"
)

// restartCase is one combination.
type restartCase struct {
	journal fault
	disks   [2]fault
	end     int
	after   int
}

func (c restartCase) String() string {
	return fmt.Sprintf("journal %v, disks %v, end %s, then %s", c.journal, c.disks, [...]string{"stop", "kill", "power loss"}[c.end],
		[...]string{"nothing", "the journal is lost", "a disk is older", "the journal is cut", "the journal is older"}[c.after])
}

// witnessed says whether anything that outlives the process can tell the next one of
// the purges: what could be written to, and was not replaced.
func (c restartCase) witnessed() bool {
	second := c.disks[1] != dead
	marked := c.disks[0] != dead || second && c.after != secondOlder
	switch {
	case c.after == journalLost:
		return true
	case c.journal == sound:
		return marked || c.after != journalCut && c.after != journalOlder
	case marked:
		return true
	}
	// The journal that was put aside, if no disk was marked.
	return c.journal == noData && !second && c.after != journalOlder && c.after != journalCut
}

// restartRig is a process, as far as it stores and purges.
type restartRig struct {
	t  *testing.T
	fs *vfs.Faulty
	l  *Ledger
	st *disk.Store
}

var restartDisks = []disk.Disk{{Path: "/a", Size: disk.MinSize}, {Path: "/b", Size: disk.MinSize}}

// startRig starts a process.
func startRig(t *testing.T, mem *vfs.Mem) *restartRig {
	t.Helper()
	r := &restartRig{t: t, fs: vfs.NewFaulty(mem)}
	if err := mem.MkdirAll(path.Dir(restartJournal)); err != nil {
		t.Fatal(err)
	}
	o := Options{Path: restartJournal, Clock: clock, files: vfsFiles{r.fs}}
	for _, d := range restartDisks {
		epoch, seq, err := disk.ReadPosition(r.fs, d.Path)
		if err != nil {
			t.Fatal(err)
		}
		o.Positions = append(o.Positions, Position{epoch, seq})
	}
	r.start(o)
	return r
}

// start opens the journal and the disks.
func (r *restartRig) start(o Options) {
	t := r.t
	t.Helper()
	var err error
	if r.l, err = Open(o); err != nil {
		t.Fatal(err)
	}
	if r.st, err = disk.Open(disk.Options{Disks: restartDisks, ChunkSize: 4 << 10, Clock: clock, Ledger: r.l, FS: r.fs, SyncInterval: 2 * time.Second, ScrubRate: -1}); err != nil {
		t.Fatal(err)
	}
	for _, d := range r.st.Journaled() {
		if err := r.l.Attach(d); err != nil {
			t.Fatal(err)
		}
	}
}

// close ends it, whatever still works.
func (r *restartRig) close() {
	_ = r.l.Close()
	_ = r.st.Close()
}

// fault makes parts of the filesystem fail.
func (r *restartRig) fault(c *restartCase) {
	r.fs.Set(func(op vfs.Op, name string) error {
		for prefix, f := range map[string]fault{"/j": c.journal, "/a": c.disks[0], "/b": c.disks[1]} {
			if strings.HasPrefix(name, prefix) && f.hits(op) {
				return errInjected
			}
		}
		return nil
	})
}

// restartThings are what is stored: some for each of the purges t1, t2 and t3, and
// some that no purge touches.
func restartThings() (list []thing) {
	for i := range 24 {
		list = append(list, thing{scheme: "https", authority: "a.example", target: fmt.Sprintf("/%d", i), tags: []string{fmt.Sprintf("t%d", i%4)}})
	}
	return list
}

// copyTree copies the files below a directory from one filesystem to another, in the
// place of those there.
func copyTree(t *testing.T, from, to *vfs.Mem, dir string) {
	t.Helper()
	old, err := to.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range old {
		if err := to.Remove(path.Join(dir, n)); err != nil {
			t.Fatal(err)
		}
	}
	names, err := from.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		b, err := vfsFiles{from}.ReadFile(path.Join(dir, n), 1<<30)
		if err != nil {
			t.Fatal(err)
		}
		f, err := to.Create(path.Join(dir, n))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt(b, 0); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRestartLaw: every combination.
func TestRestartLaw(t *testing.T) {
	for journal := range numFaults {
		for a := range numFaults {
			for b := range numFaults {
				t.Run(fmt.Sprintf("journal %v, disks %v and %v", journal, a, b), func(t *testing.T) {
					for end := range numEnds {
						c := restartCase{journal: journal, disks: [2]fault{a, b}, end: end}
						synctest.Test(t, func(t *testing.T) { c.run(t) })
					}
				})
			}
		}
	}
}

// run holds the law for all that may happen after one process.
func (c restartCase) run(t *testing.T) {
	mem := vfs.NewMem()
	things := restartThings()
	r := startRig(t, mem)
	for _, x := range things {
		if err := put(t, r.st, x, r.l.Sequence()); err != nil {
			t.Fatal(err)
		}
	}
	mustPurge(t, r.l, Hard, must(ByTag("none")))
	time.Sleep(5 * time.Second) // what was stored is synced
	before := mem.Killed()
	r.fault(&c)
	c.purge(r)
	dice := rand.New(rand.NewPCG(uint64(c.journal), uint64(c.end)))
	left := mem.Killed()
	switch c.end {
	case byPowerLoss:
		left = mem.Crashed(dice)
	case byStop:
		r.close()
		left = mem.Killed()
	}
	for c.after = range numAftermaths {
		if c.end == byPowerLoss && c.after == journalCut {
			// A power loss and the journal's fate together are survived a moment later.
			time.Sleep(2 * syncDelay)
			left = mem.Crashed(dice)
		}
		files := left.Killed()
		c.damage(t, before, files)
		c.restart(t, files, things)
	}
	r.fs.Set(nil)
	r.close()
}

// restart holds the law for what is left of the files.
func (c restartCase) restart(t *testing.T, left *vfs.Mem, things []thing) {
	next := startRig(t, left)
	defer next.close()
	warm := 0
	for i, x := range things {
		switch found := find(next.st, x); {
		case found == "fresh" && i%4 > 0 && c.witnessed():
			t.Errorf("%v: what was purged by t%d is found fresh", c, i%4)
		case found == "fresh" && i%4 == 0:
			warm++
		}
	}
	if whole := c.after == filesKept && c.journal == sound && c.disks == [2]fault{}; whole && warm != 6 {
		t.Errorf("%v: %d of 6 that nothing touched are found fresh", c, warm)
	}
	// And it goes on.
	x := thing{scheme: "https", authority: "b.example", target: "/", tags: []string{"new"}}
	if err := put(t, next.st, x, next.l.Sequence()); err != nil || find(next.st, x) != "fresh" {
		t.Errorf("%v: storing after it: %v, %s", c, err, find(next.st, x))
	}
	mustPurge(t, next.l, Hard, must(ByTag("new")))
	if found := find(next.st, x); found != "none" {
		t.Errorf("%v: purging after it: %s", c, found)
	}
}

// purge purges in each way, and wants the answers that there have to be.
func (c restartCase) purge(r *restartRig) {
	r.t.Helper()
	for tag, mode := range map[string]Mode{"t1": Hard, "t2": Soft, "t3": Invalid} {
		receipt, b, err := r.l.enter(&Purge{Selectors: []Selector{must(ByTag(tag))}, Mode: mode}, true)
		if err != nil {
			r.t.Fatal(err)
		}
		<-b.done
		if durable := b.err == nil; durable != (c.journal == sound) || receipt != nil && (r.l.Durable(receipt) == nil) != durable {
			r.t.Errorf("%v: durable: %v", c, b.err)
		}
	}
	g := r.l.Guard()
	unsafe := c.journal == dead && c.disks[0] == dead && c.disks[1] == dead
	if all := restartThings(); c.journal != sound && unsafe != strings.HasPrefix(g.String(), "neither") || unsafe && (g.Out != 2 || find(r.st, all[0]) != "none") {
		r.t.Errorf("%v: it is said that %s; %+v", c, g.String(), g)
	}
	for i, s := range r.st.States() {
		if out := c.journal != sound && c.disks[i] == dead && !g.Aside; out == s.Readable {
			r.t.Errorf("%v: disk %d: %+v", c, i, s)
		}
	}
}

// damage does to the files what happens to them between two processes.
func (c restartCase) damage(t *testing.T, before, left *vfs.Mem) {
	t.Helper()
	switch c.after {
	case journalLost:
		if err := left.Remove(restartJournal); err != nil && c.journal != noData {
			t.Fatal(err)
		}
	case journalCut:
		f, err := left.Open(restartJournal)
		if err != nil {
			return // it was put aside
		}
		was, err := vfsFiles{before}.ReadFile(restartJournal, 1<<20)
		if err := errors.Join(err, f.Truncate(int64(len(was))), f.Close()); err != nil {
			t.Fatal(err)
		}
	case journalOlder:
		copyTree(t, before, left, path.Dir(restartJournal))
	case secondOlder:
		copyTree(t, before, left, "/b")
	}
}

// TestRecoveryIsPrompt: what was only in memory is durable, and the disks are in use
// again, within ten seconds of the journal's working again; and what was stored in
// memory meanwhile is there.
func TestRecoveryIsPrompt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := vfs.NewMem()
		r := startRig(t, mem)
		m, err := storage.NewMemory(storage.MemoryOptions{Size: 1 << 20, Ledger: r.l, Clock: clock})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		things := restartThings()
		for _, x := range things {
			if err := put(t, r.st, x, r.l.Sequence()); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(5 * time.Second)
		r.fault(&restartCase{journal: dead, disks: [2]fault{dead, dead}})
		receipt := wantNotDurable(t, r.l, "t1")
		meanwhile := thing{scheme: "https", authority: "m.example", target: "/"}
		if err := put(t, m, meanwhile, r.l.Sequence()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if find(r.st, things[0]) != "none" || r.l.Durable(receipt) == nil {
			t.Error("the disks are in use though nothing can be written")
		}
		r.fs.Set(nil)
		time.Sleep(10 * time.Second)
		if r.l.Durable(receipt) != nil || r.l.Guard() != (Guard{Disks: 2}) {
			t.Errorf("10 s after: %v, %+v", r.l.Durable(receipt), r.l.Guard())
		}
		if found := [...]string{find(r.st, things[0]), find(r.st, things[1]), find(m, meanwhile)}; found != [...]string{"fresh", "none", "fresh"} {
			t.Errorf("10 s after: %v", found)
		}
		left := mem.Killed()
		r.close()
		next := startRig(t, left)
		defer next.close()
		if found := [...]string{find(next.st, things[0]), find(next.st, things[1])}; found != [...]string{"fresh", "none"} {
			t.Errorf("after a kill: %v", found)
		}
	})
}
