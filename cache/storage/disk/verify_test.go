package disk

import (
	"errors"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"

	"edge/cache/storage/vfs"
)

// TestVerify: a good disk is good, a flipped bit of any record is found, a torn end is
// told from damage, and a disk in use is left alone.
func TestVerify(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := vfs.NewMem()
		st, err := Open(Options{Disks: []Disk{{"/disk", 4 << 20}}, Clock: testClock, FS: fs})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 50 {
			small(t, st, i)
		}
		if _, err := Verify(fs, "/disk", nil); err == nil {
			t.Error("a disk in use was read")
		}
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
		last := int64(0)
		r, err := Verify(fs, "/disk", func(done, total int64) {
			if done < last || done > total {
				t.Errorf("%d of %d after %d", done, total, last)
			}
			last = done
		})
		if err != nil || r.Damaged != 0 || r.Records != 50 || last != r.Bytes {
			t.Fatalf("%+v, %v, progress to %d", r, err, last)
		}
		flips, noticed := 0, 0
		for at := int64(0); at < r.Bytes-8; at += 61 {
			bad := fs.Killed()
			if err := bad.Flip("/disk/00000001.seg", at, 4); err != nil {
				t.Fatal(err)
			}
			got, err := Verify(bad, "/disk", nil)
			if err != nil || got.Damaged > 1 || got.Damaged == 0 && got.Records != 50 {
				t.Fatalf("flipped at %d: %+v, %v", at, got, err)
			}
			flips++
			noticed += int(got.Damaged)
		}
		if noticed < flips*9/10 { // the rest were in the padding between records
			t.Fatalf("%d of %d flips noticed", noticed, flips)
		}
		testVerifyShort(t, fs, r)
	})
}

// testVerifyShort: of a disk that is good as r says, an end that is missing is torn where it
// had not been synced, and damage where it had.
func testVerifyShort(t *testing.T, fs *vfs.Mem, r Report) {
	t.Helper()
	for cut := int64(recordAlign); cut < 500; cut += 3 { // through bodies and heads
		short := fs.Killed()
		f, err := short.Open("/disk/00000001.seg")
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Truncate(r.Bytes - cut); err != nil {
			t.Fatal(err)
		}
		if got, err := Verify(short, "/disk", nil); err != nil || got.Damaged == got.Torn {
			t.Fatalf("%d bytes short of what was synced: %+v, %v", cut, got, err)
		}
		if err := short.Remove("/disk/00000001.idx"); err != nil { // as if it had not been synced
			t.Fatal(err)
		}
		got, err := Verify(short, "/disk", nil)
		if err != nil || got.Damaged > 1 || got.Damaged != got.Torn || got.Damaged == 0 && got.Records == r.Records {
			t.Fatalf("%d bytes short: %+v, %v", cut, got, err)
		}
		if cut%5 > 0 {
			continue
		}
		st, err := Open(Options{Disks: []Disk{{"/disk", 4 << 20}}, Clock: testClock, FS: short})
		if err == nil {
			err = st.Close()
		}
		if got, failed := Verify(short, "/disk", nil); err != nil || failed != nil || got.Damaged != got.Torn {
			t.Fatalf("%d bytes short, and a start later: %+v, %v, %v", cut, got, err, failed)
		}
	}
}

// TestVerifyLoss: segments that are lost are named, in the middle and at the end, and where
// one cannot be read the others are checked all the same. The oldest may be gone: it may
// have been reclaimed.
func TestVerifyLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := vfs.NewMem()
		for key := range 4 { // a segment each
			st := start(t, mem)
			if err := keep(st.Store, key, 1, 4000); err != nil {
				t.Fatal(err)
			}
			st.stop(0)
		}
		for lost, want := range map[string]string{"00000001": "", "00000002": "00000002.seg to 00000002.seg: lost", "00000004": "00000004.seg to 00000004.seg: lost"} {
			bad := mem.Killed()
			for _, suffix := range []string{".seg", ".idx"} {
				if err := bad.Remove("/disk/" + lost + suffix); err != nil {
					t.Fatal(err)
				}
			}
			r, err := Verify(bad, "/disk", nil)
			if got := strings.Join(r.Places, "; "); err != nil || got != want || r.Records != 3 || r.Torn != 0 {
				t.Errorf("without %s: %+v, %v; want %q", lost, r, err, want)
			}
		}
		faulty := vfs.NewFaulty(mem)
		faulty.Set(func(op vfs.Op, name string) error {
			if op == vfs.OpRead && strings.HasSuffix(name, "2.seg") {
				return syscall.EIO
			}
			return nil
		})
		if r, err := Verify(faulty, "/disk", nil); err != nil || r.Damaged != 1 || r.Torn != 0 || r.Records != 3 || !strings.Contains(r.Places[0], "00000002.seg") {
			t.Errorf("where one cannot be read: %+v, %v", r, err)
		}
	})
}

// TestVerifyNoDisk: a directory that is no disk is not called sound, and nothing is
// left in it; nor is another version's disk called damaged.
func TestVerifyNoDisk(t *testing.T) {
	fs := vfs.NewMem()
	_ = fs.MkdirAll("/etc") // cannot fail
	if r, err := Verify(fs, "/etc", nil); err == nil || !strings.Contains(err.Error(), "no disk") {
		t.Errorf("no disk: %+v, %v", r, err)
	}
	if names, err := fs.List("/etc"); err != nil || len(names) != 0 {
		t.Errorf("left behind: %v, %v", names, err)
	}
	f, err := fs.Create("/etc/FORMAT")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("edge disk 0\n"), 0); err != nil {
		t.Fatal(err)
	}
	if r, err := Verify(fs, "/etc", nil); !errors.Is(err, errVersion) {
		t.Errorf("another version's disk: %+v, %v", r, err)
	}
}
