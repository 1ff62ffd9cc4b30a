package purge

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edge/cache/storage/disk"
	"edge/cache/storage/vfs"
)

// startWithout starts a process whose disk at dir cannot be read; "" for none.
func startWithout(t *testing.T, mem *vfs.Mem, dir string) *restartRig {
	t.Helper()
	r := &restartRig{t: t, fs: vfs.NewFaulty(mem)}
	if dir != "" {
		r.fs.Set(func(op vfs.Op, name string) error {
			if strings.HasPrefix(name, dir) {
				return errInjected
			}
			return nil
		})
	}
	o := Options{Path: restartJournal, Clock: clock, files: vfsFiles{r.fs}}
	for _, d := range restartDisks {
		if epoch, seq, err := disk.ReadPosition(r.fs, d.Path); d.Path != dir {
			if err != nil {
				t.Fatal(err)
			}
			o.Positions = append(o.Positions, Position{epoch, seq})
		}
	}
	r.start(o)
	return r
}

// TestPurgedWhileAbsent: what is purged while a disk is absent is answered as durable,
// over as many starts as it is absent, and is not found when the disk is back, however the
// processes end. What the other disk has is warm all the while.
func TestPurgedWhileAbsent(t *testing.T) {
	for _, dir := range []string{"/a", "/b"} {
		for _, kill := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				mem, things := vfs.NewMem(), restartThings()
				if err := mem.MkdirAll("/j"); err != nil {
					t.Fatal(err)
				}
				end := func(r *restartRig) {
					time.Sleep(5 * time.Second) // what was stored is synced
					left := mem.Killed()
					if r.close(); kill {
						mem = left
					}
				}
				r := startWithout(t, mem, "")
				for _, x := range things {
					if err := put(t, r.st, x, r.l.Sequence()); err != nil {
						t.Fatal(err)
					}
				}
				mustPurge(t, r.l, Hard, must(ByTag("none")))
				end(r)
				there := 0
				for _, tag := range []string{"t1", "t2"} {
					r = startWithout(t, mem, dir)
					if g := r.l.Guard(); g != (Guard{Disks: 1}) {
						t.Errorf("%+v", g)
					}
					mustPurge(t, r.l, map[string]Mode{"t1": Hard, "t2": Soft}[tag], must(ByTag(tag)))
					there = 0
					for i, x := range things {
						found := find(r.st, x)
						if i%4 == 3 && found == "fresh" {
							there++
						} else if i%4 == 3 && found != "none" {
							t.Errorf("%s absent: %d is %s", dir, i, found)
						}
					}
					if there == 0 || there == len(things)/4 {
						t.Errorf("%s absent: %d of %d that nothing touched are found", dir, there, len(things)/4)
					}
					end(r)
				}
				r = startWithout(t, mem, "")
				count := map[string]int{}
				for i, x := range things {
					found := find(r.st, x)
					if i%4 == 1 && found != "none" || i%4 == 2 && found == "fresh" {
						t.Errorf("%s is back: what was purged by t%d is %s", dir, i%4, found)
					}
					if i%4 == 3 {
						count[found]++
					}
				}
				if n := len(things) / 4; count["fresh"] != there || count["invalid"] != n-there {
					t.Errorf("%s is back: of %d that nothing touched there are %v", dir, n, count)
				}
				if n := r.l.softened.Load(); n != 0 {
					t.Errorf("%d disks count as having missed purges, which the journal has", n)
				}
				mustPurge(t, r.l, Hard, must(ByTag("t3")))
				for i, x := range things {
					if found := find(r.st, x); i%4 == 3 && found != "none" {
						t.Errorf("%s is back: purged, and %s", dir, found)
					}
				}
				r.close()
			})
		}
	}
}
