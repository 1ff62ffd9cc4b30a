package purge

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edge/cache/storage/disk"
	"edge/cache/storage/vfs"

	"golang.org/x/sys/unix"
)

// The law, where the journal is on the disks, and these come and go: with real disk
// tiers, on a filesystem that crashes.

// mount is how a disk is for the length of a process.
type mount byte

const (
	present   mount = 'P'
	absent    mount = 'X' // nothing can be done with it
	unmounted mount = 'U' // an empty directory is in its place
	readOnly  mount = 'R'
	dying     mount = 'D' // present, until before the purges
)

// mounts are those of both disks. In each, one can be used to its end.
var mounts = [][2]mount{{present, present}, {present, absent}, {absent, present}, {present, unmounted}, {unmounted, present},
	{present, readOnly}, {readOnly, present}, {present, dying}, {dying, present}}

// mountedFS has the disks as they are mounted for a process: in the place of one that is
// not there is a directory of that process's.
type mountedFS struct {
	vfs.FS
	mounted [2]mount
	process int
}

// at returns where a file is.
func (m mountedFS) at(name string) string {
	for i, d := range restartDisks {
		if strings.HasPrefix(name, d.Path) && m.mounted[i] == unmounted {
			return fmt.Sprint("/under", m.process, name)
		}
	}
	return name
}

func (m mountedFS) MkdirAll(dir string) error            { return m.FS.MkdirAll(m.at(dir)) }
func (m mountedFS) Create(name string) (vfs.File, error) { return m.FS.Create(m.at(name)) }
func (m mountedFS) Open(name string) (vfs.File, error)   { return m.FS.Open(m.at(name)) }
func (m mountedFS) Remove(name string) error             { return m.FS.Remove(m.at(name)) }
func (m mountedFS) Rename(from, to string) error         { return m.FS.Rename(m.at(from), m.at(to)) }
func (m mountedFS) List(dir string) ([]string, error)    { return m.FS.List(m.at(dir)) }
func (m mountedFS) SyncDir(dir string) error             { return m.FS.SyncDir(m.at(dir)) }
func (m mountedFS) Lock(name string) (io.Closer, error)  { return m.FS.Lock(m.at(name)) }

// fails is the hook of a filesystem on which the disks are so; dead: those that die have.
func fails(m [2]mount, dead bool) vfs.Hook {
	return func(op vfs.Op, name string) error {
		for i, d := range restartDisks {
			switch {
			case !strings.HasPrefix(name, d.Path):
			case m[i] == absent, m[i] == dying && dead, m[i] == readOnly && (op == vfs.OpLock || fault(numFaults-1).hits(op)):
				return errInjected
			}
		}
		return nil
	}
}

// startOn starts a process, of which the journal is on the disks.
func startOn(t *testing.T, mem *vfs.Mem, m [2]mount, process int) *restartRig {
	t.Helper()
	return startAt(t, mem, m, process, "")
}

// startAt is startOn where the journal's path is named; "" for not.
func startAt(t *testing.T, mem *vfs.Mem, m [2]mount, process int, path string) *restartRig {
	t.Helper()
	r := &restartRig{t: t, fs: vfs.NewFaulty(mountedFS{mem, m, process})}
	r.fs.Set(fails(m, false))
	o := Options{Path: path, Places: placesOn(r.fs), Clock: clock, files: vfsFiles{r.fs}}
	for _, p := range o.Places {
		if p.Away == nil {
			o.Positions = append(o.Positions, p.Position)
		}
	}
	r.start(o)
	return r
}

// placesOn reads what is known of the disks, as a process does.
func placesOn(fs vfs.FS) (list []Place) {
	for _, d := range restartDisks {
		p := Place{Path: d.Path + "/j"}
		p.Position.Epoch, p.Position.Sequence, p.Away = disk.ReadPosition(fs, d.Path)
		if _, err := fs.List(d.Path); errors.Is(err, errNotExist) {
			p.Away = fs.MkdirAll(d.Path)
		}
		list = append(list, p)
	}
	return list
}

// placed is a thing that is stored by one process and purged by another, or by none.
type placed struct {
	thing
	stored, purged int
}

// placedThings returns what the processes store: for each that purges some of it, some.
func placedThings(processes int) (list []placed) {
	for stored := range processes {
		for purged := stored; purged <= processes; purged++ {
			for n := range 4 { // on both disks
				list = append(list, placed{thing{scheme: "https", authority: "a.example", target: fmt.Sprintf("/%d/%d/%d", stored, purged, n), tags: []string{fmt.Sprint(purged)}}, stored, purged})
			}
		}
	}
	return list
}

// life is one process's: it looks at what the ones before have left, stores, and purges.
func (r *restartRig) life(things []placed, process int, m [2]mount) {
	r.t.Helper()
	look := func(upTo int) {
		for _, x := range things {
			if x.purged <= upTo && find(r.st, x.thing) == "fresh" {
				r.t.Errorf("process %d: %s, which was stored by %d and purged by %d, is found fresh", process, x.target, x.stored, x.purged)
			}
		}
	}
	look(process - 1)
	for _, x := range things {
		if x.stored != process {
			continue
		}
		w, err := r.st.Begin(x.proposal(r.l.Sequence()))
		if err != nil {
			continue // the disk is absent
		}
		e := w.Entry()
		if err := errors.Join(w.Write(context.Background(), []byte("x")), w.Commit(nil)); err != nil && m[0] != readOnly && m[1] != readOnly {
			r.t.Errorf("process %d: %v", process, err)
		}
		e.Release()
	}
	time.Sleep(5 * time.Second) // what was stored is synced
	r.fs.Set(fails(m, true))
	mode := [...]Mode{Hard, Soft, Invalid}[process%3]
	_, b, err := r.l.enter(&Purge{Selectors: []Selector{must(ByTag(fmt.Sprint(process)))}, Mode: mode}, true)
	if err != nil {
		r.t.Fatal(err)
	}
	<-b.done
	if b.err != nil && m[0] != dying && m[1] != dying {
		r.t.Errorf("process %d: %v", process, b.err)
	}
	look(process)
}

// lives runs processes after one another, the first of that number, the disks mounted as
// each time is said, and returns what is left.
func lives(t *testing.T, mem *vfs.Mem, things []placed, first int, times [][2]mount, end int) *vfs.Mem {
	t.Helper()
	return livesAt(t, mem, things, first, times, end, "")
}

// livesAt is lives where the journal's path is named; "" for not.
func livesAt(t *testing.T, mem *vfs.Mem, things []placed, first int, times [][2]mount, end int, path string) *vfs.Mem {
	t.Helper()
	for i, m := range times {
		process := first + i
		r := startAt(t, mem, m, process, path)
		r.life(things, process, m)
		left := mem
		switch (end + process) % numEnds {
		case byStop:
			r.close()
		case byKill:
			left = mem.Killed()
		case byPowerLoss:
			left = mem.Crashed(rand.New(rand.NewPCG(uint64(end), uint64(process))))
		}
		r.close()
		mem = left
	}
	return mem
}

// TestPlaces: where the journal is after several starts, how many disks it has validated
// at the last one, and of which its own is put aside then.
func TestPlaces(t *testing.T) {
	for _, c := range []struct {
		what      string
		times     string
		at        string
		validated uint64
		aside     string
	}{
		{"both are there", "PP PP", "/a", 0, ""},
		{"the first is absent", "PP XP", "/b", 1, ""},
		{"it is so again: nobody can tell what is on it", "PP XP XP", "/b", 1, ""},
		{"it is back", "PP XP PP", "/b", 1, "/a"},
		{"and stays", "PP XP PP PP", "/b", 0, ""},
		{"the second is absent: it may have another", "PP PX", "/a", 1, ""},
		{"it is back, and has none", "PP PX PP", "/a", 1, ""},
		{"they are absent in turns", "PP XP PX", "/a", 1, ""},
		{"neither knows of the other's", "PP XP PX PP", "/a", 2, "/b"},
		{"and stays", "PP XP PX PP PP", "/a", 0, ""},
		{"the first cannot be written, but read", "PP RP", "/b", 1, ""},
		{"it is so again", "PP RP RP", "/b", 0, ""},
		{"it can be written again", "PP RP PP", "/b", 1, "/a"},
		{"the second cannot be written", "PP PR", "/a", 0, ""},
		{"the first dies with the journal, and is back", "PP DP PP", "/a", 2, ""},
		{"it dies, and is absent", "PP DP XP", "/b", 1, ""},
		{"it dies, is absent, and is back", "PP DP XP PP", "/b", 1, "/a"},
		{"nothing is mounted at the first", "PP UP", "/a", 1, ""},
		{"it is mounted again", "PP UP PP", "/a", 2, ""},
		{"nothing is mounted at the second", "PP PU", "/a", 1, ""},
		{"it is mounted again", "PP PU PP", "/a", 1, ""},
	} {
		t.Run(c.times, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var times [][2]mount
				for _, m := range strings.Fields(c.times) {
					times = append(times, [2]mount{mount(m[0]), mount(m[1])})
				}
				last := len(times) - 1
				mem := lives(t, vfs.NewMem(), placedThings(last), 0, times[:last], 0)
				r := startOn(t, mem, times[last], last)
				defer r.close()
				if at := strings.TrimSuffix(r.l.journal.path, "/j"); at != c.at || r.l.softened.Load() != c.validated {
					t.Errorf("%s: at %s, %d validated; want %s, %d", c.what, at, r.l.softened.Load(), c.at, c.validated)
				}
				for _, d := range restartDisks {
					_, err := vfsFiles{r.fs}.ReadFile(d.Path+"/j"+staleSuffix, 1<<20)
					_, own := vfsFiles{r.fs}.ReadFile(d.Path+"/j", 1<<20)
					if d.Path == c.aside && (err != nil || own == nil) {
						t.Errorf("%s: the journal of %s is not put aside: %v, %v", c.what, d.Path, err, own)
					}
				}
				mustPurge(t, r.l, Hard, must(ByTag("none")))
			})
		})
	}
}

// TestPlaceLaw: whichever disks are there at each of several starts, and however the
// processes end, what was purged is not found fresh, whether or not the answer said that
// it would last: one disk could be written each time.
func TestPlaceLaw(t *testing.T) {
	between := 2
	if os.Getenv("EDGE_LONG") != "" {
		between = 3
	}
	both := [2]mount{present, present}
	things := placedThings(between + 1)
	n := 0
	var walk func(times [][2]mount)
	walk = func(times [][2]mount) {
		if len(times) <= between {
			for _, m := range mounts {
				walk(append(times[:len(times):len(times)], m))
			}
			return
		}
		n++
		synctest.Test(t, func(t *testing.T) {
			if lives(t, vfs.NewMem(), things, 0, append(times, both), n); t.Failed() {
				t.Errorf("disks mounted as %c, ends from %d", times, n%numEnds)
			}
		})
	}
	walk([][2]mount{both})
}

// TestNamedPlaceLaw: likewise where the journal's path is named, and it is on one of the
// disks: by what the other one knows of. Where that is not there when the first is
// mounted again, nothing does.
func TestNamedPlaceLaw(t *testing.T) {
	both := [2]mount{present, present}
	things := placedThings(4)
	with := [][2]mount{both, {present, absent}, {present, unmounted}, {unmounted, present}}
	n := 0
	for _, first := range with {
		for _, second := range with {
			if first[0] == unmounted && second[1] != present {
				continue
			}
			n++
			times := [][2]mount{both, first, second, both}
			synctest.Test(t, func(t *testing.T) {
				if livesAt(t, vfs.NewMem(), things, 0, times, n, "/a/j"); t.Failed() {
					t.Errorf("disks mounted as %c, ends from %d", times, n%numEnds)
				}
			})
		}
	}
}

// TestPlaceBrokenOff: a start that chooses between two journals is broken off before any
// of its changes, or one fails and it goes on. The next process, whichever disks it has,
// finds nothing fresh that was purged, and so does one with both.
func TestPlaceBrokenOff(t *testing.T) {
	things := placedThings(4)
	for _, before := range [][][2]mount{
		{{present, present}, {absent, present}}, // the second's came after the first's
		{{absent, present}, {present, absent}},  // neither knows of the other
	} {
		synctest.Test(t, func(t *testing.T) {
			left := lives(t, vfs.NewMem(), things, 0, before, 0)
			for i, more := int64(0), true; more; i++ {
				for _, fatal := range []bool{false, true} {
					mem := left.Killed()
					more = brokenOff(mem, i, fatal)
					next := mounts[i%3]
					if lives(t, mem.Killed(), things, 2, [][2]mount{next, {present, present}}, int(i)); t.Failed() {
						t.Fatalf("after %c, broken off at %d, for good: %v; then %c", before, i, fatal, next)
					}
				}
			}
		})
	}
}

// brokenOff starts a process on both disks, of which change number i that the journal and
// the disks' positions need, counted from 0, fails, and with fatal all after it. False:
// there were no more.
func brokenOff(mem *vfs.Mem, i int64, fatal bool) bool {
	fs := vfs.NewFaulty(mem)
	fail, count := vfs.FailAt(i, errInjected, func() bool { return fatal })
	hook := func(op vfs.Op, name string) error {
		if op == vfs.OpLock || fault(numFaults-1).hits(op) {
			return fail(op, name)
		}
		return nil
	}
	fs.Set(hook)
	l, err := Open(Options{Places: placesOn(fs), Clock: clock, files: vfsFiles{fs}})
	if err != nil {
		return count() > i
	}
	defer l.Close()
	if count() <= i {
		fs.Set(nil)
	}
	st, err := disk.Open(disk.Options{Disks: restartDisks, ChunkSize: 4 << 10, Clock: clock, Ledger: l, FS: fs, ScrubRate: -1})
	if err != nil {
		return count() > i
	}
	defer st.Close()
	fs.Set(hook)
	for _, d := range st.Journaled() {
		_ = l.Attach(d) // it fails where the journal does, and then the process does not go on
	}
	return count() > i
}

// TestPastGarbled: a past in which anything but epochs is found is none; least of all is
// a disk believed that has no position, since the past has an empty line.
func TestPastGarbled(t *testing.T) {
	fs, of := newForgetful(), epoch{1}
	sound := []string{strings.Repeat("0a", 16), strings.Repeat("b1", 16)}
	if err := writePast(fs, "j", of, sound); err != nil {
		t.Fatal(err)
	}
	if got := readPast(fs, "j", of); !slices.Equal(got, sound) {
		t.Fatalf("%q", got)
	}
	data, _ := fs.ReadFile("j"+pastSuffix, maxPastFile)
	for at := len(pastFormat) + 1 + 2*len(of) + 1; at < len(data); at++ {
		for _, b := range []byte{0, '\n', ' ', 'x', data[at] ^ 0x80} {
			garbled := bytes.Clone(data)
			garbled[at] = b
			fs.names["j"+pastSuffix] = stableInode(garbled)
			if got := readPast(fs, "j", of); len(got) > 0 && b != data[at] {
				t.Errorf("%q at %d: %q", b, at, got)
			}
		}
		fs.names["j"+pastSuffix] = stableInode(append(bytes.Clone(data), data[at:]...))
		if got := readPast(fs, "j", of); slices.Contains(got, "") {
			t.Errorf("with more from %d on: %q", at, got)
		}
	}
}

// TestPlaceInUse: who has a journal on any of the disks keeps all others off all of them,
// and off what is there.
func TestPlaceInUse(t *testing.T) {
	a, b := Place{Path: filepath.Join(t.TempDir(), "j")}, Place{Path: filepath.Join(t.TempDir(), "j")}
	gone := Place{Path: "/nowhere/j", Away: errInjected}
	first := open(t, Options{Places: []Place{a}})
	_ = first.Close()
	open(t, Options{Places: []Place{gone, b}})
	if l, err := Open(Options{Places: []Place{a, b}, Clock: clock}); err == nil || !strings.Contains(err.Error(), b.Path+" is in use by another process") {
		t.Errorf("with the second's in use: %v, %v", l, err)
	}
	// Which holds nothing of what it found first.
	_ = open(t, Options{Places: []Place{a}}).Close()
	another, _ := written()
	another[8] = journalVersion + 1
	if err := os.WriteFile(a.Path, fixHeader(another), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := Open(Options{Places: []Place{a}, Clock: clock}); !errors.Is(err, errForeign) {
			t.Errorf("with another version's: %v", err)
		}
	}
	if _, err := Open(Options{Places: []Place{gone, gone}, Clock: clock}); !errors.Is(err, errInjected) {
		t.Errorf("without a disk: %v", err)
	}
}

// TestPlaceOverwritten: a journal on a disk whose beginning is overwritten is a damaged
// one: the node starts, and what was there is kept aside.
func TestPlaceOverwritten(t *testing.T) {
	a := Place{Path: filepath.Join(t.TempDir(), "j")}
	first := open(t, Options{Places: []Place{a}})
	epoch := first.epoch
	_ = first.Close()
	garbage := []byte("what a disk that writes to the wrong place leaves: anything")
	if err := os.WriteFile(a.Path, garbage, 0o600); err != nil {
		t.Fatal(err)
	}
	again := open(t, Options{Places: []Place{a}})
	if again.epoch == epoch {
		t.Error("it goes on as the one that was overwritten")
	}
	if got, err := os.ReadFile(a.Path + ".damaged"); err != nil || !bytes.Equal(got, garbage) {
		t.Errorf("kept aside: %q, %v", got, err)
	}
}

// TestPlaceWithoutRoom: where the journal cannot be written, it goes on on another disk;
// what is damaged does so under another epoch.
func TestPlaceWithoutRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		both := [2]mount{present, present}
		mem := lives(t, vfs.NewMem(), placedThings(1), 0, [][2]mount{both}, 0)
		full := vfs.NewFaulty(mem)
		full.Set(func(op vfs.Op, name string) error {
			if op == vfs.OpWrite && strings.HasPrefix(name, "/a/j") {
				return unix.ENOSPC
			}
			return nil
		})
		r := &restartRig{t: t, fs: full}
		r.start(Options{Places: placesOn(full), Clock: clock, files: vfsFiles{full}})
		if r.l.journal.path != "/b/j" || r.l.softened.Load() != 2 {
			t.Errorf("without room at the first: at %s, %d validated", r.l.journal.path, r.l.softened.Load())
		}
		mustPurge(t, r.l, Hard, must(ByTag("none")))
		epoch := r.l.epoch
		r.close()
		if err := mem.Flip("/b/j", headerSize+2, 1); err != nil {
			t.Fatal(err)
		}
		r = startOn(t, mem, both, 0)
		if _, err := (vfsFiles{r.fs}).ReadFile("/b/j.damaged", 1<<20); r.l.journal.path != "/b/j" || r.l.softened.Load() != 2 || r.l.epoch == epoch || err != nil {
			t.Errorf("damaged: at %s, %d validated, kept: %v", r.l.journal.path, r.l.softened.Load(), err)
		}
		r.close()
	})
}
