package disk

import (
	"context"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"edge/cache/storage"
	"edge/cache/storage/storagetest"
	"edge/cache/storage/vfs"
	"edge/message"
)

// shares is a store under test whose disks change between runs.
type shares struct {
	t  *testing.T
	fs *vfs.Mem
	st *Store
}

const sharedKeys = 200

func (s *shares) open(disks ...Disk) {
	s.t.Helper()
	if s.st != nil {
		if err := s.st.Close(); err != nil {
			s.t.Fatal(err)
		}
	}
	st, err := Open(Options{Disks: disks, Clock: testClock, FS: s.fs, SegmentSize: 64 << 10})
	if err != nil {
		s.t.Fatal(err)
	}
	s.st = st
}

// store stores a version of every key.
func (s *shares) store(version int) {
	s.t.Helper()
	for i := range sharedKeys {
		w, err := s.st.Begin(&storage.Proposal{Key: storagetest.Key(i), Scheme: "http", Authority: []byte("a"), Target: []byte("/"),
			Stored: &message.Stored{Status: version}, Total: 1})
		if err != nil {
			s.t.Fatal(err)
		}
		if err := w.Write(context.Background(), []byte{1}); err != nil {
			s.t.Fatal(err)
		}
		if err := w.Commit(nil); err != nil {
			s.t.Fatal(err)
		}
	}
}

// found returns how many of a version are found that may be used as they are. Older
// ones must not be.
func (s *shares) found(version int) (n int) {
	s.t.Helper()
	older := 0
	for i := range sharedKeys {
		for _, e := range s.st.Lookup(nil, storagetest.Key(i)) {
			switch h := e.Stored(); {
			case h.Terms.Flags.Has(message.TermInvalidated):
			case h.Status == version:
				n++
			default:
				older++
			}
			e.Release()
		}
	}
	if older > 0 {
		s.t.Errorf("%d of %d are found as they were before version %d", older, sharedKeys, version)
	}
	return n
}

// TestSharesChange: where keys come to lie on other disks, and later on the first ones
// again, what those have of them from before does not come back; also not on a disk that
// was away. What stays as it is costs nothing.
func TestSharesChange(t *testing.T) {
	a, b := Disk{"/a", 4 << 20}, Disk{"/b", 12 << 20}
	for name, between := range map[string][]Disk{"order": {b, a}, "size": {a, {"/b", 6 << 20}}, "one of them away": {a}, "the other away": {b}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &shares{t: t, fs: vfs.NewMem()}
				s.open(a, b)
				s.store(1)
				s.open(a, b)
				if n := s.found(1); n != sharedKeys {
					t.Errorf("%d of %d found after a restart", n, sharedKeys)
				}
				s.open(between...)
				s.found(1)
				s.store(2)
				if n := s.found(2); n != sharedKeys {
					t.Errorf("%d of %d found between", n, sharedKeys)
				}
				s.open(a, b)
				s.found(2)
				s.store(3)
				s.open(a, b)
				if n := s.found(3); n != sharedKeys {
					t.Errorf("%d of %d found in the end", n, sharedKeys)
				}
				n := 0
				s.st.Each(func(storage.Entry) bool { n++; return true })
				if n != sharedKeys {
					t.Errorf("%d visited of %d", n, sharedKeys)
				}
				if err := s.st.Close(); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}

// TestShareSurvivesPowerLoss: what is doubted because keys lie elsewhere stays so.
func TestShareSurvivesPowerLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := Disk{"/a", 4 << 20}, Disk{"/b", 12 << 20}
		s := &shares{t: t, fs: vfs.NewMem()}
		s.open(a, b)
		s.store(1)
		time.Sleep(time.Minute)
		s.open(b, a)
		s.store(2)
		after := s.fs.Crashed(rand.New(rand.NewPCG(1, 2)))
		if err := s.st.Close(); err != nil {
			t.Fatal(err)
		}
		s.st, s.fs = nil, after
		s.open(a, b)
		s.found(2)
		if err := s.st.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestOneDiskGrows: of one disk, all is always its own.
func TestOneDiskGrows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shares{t: t, fs: vfs.NewMem()}
		s.open(Disk{"/a", 4 << 20})
		s.store(1)
		s.open(Disk{"/a", 8 << 20})
		if n := s.found(1); n != sharedKeys {
			t.Errorf("%d of %d found on a disk that has grown", n, sharedKeys)
		}
		if err := s.st.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestSharesOfTheSame: disks that are all made larger by the same factor keep their
// keys, and what is on them is used as it is.
func TestSharesOfTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shares{t: t, fs: vfs.NewMem()}
		s.open(Disk{"/a", 4 << 20}, Disk{"/b", 12 << 20})
		s.store(1)
		s.open(Disk{"/a", 6 << 20}, Disk{"/b", 18 << 20})
		if n := s.found(1); n != sharedKeys {
			t.Errorf("%d of %d may be used as they are", n, sharedKeys)
		}
		s.open(Disk{"/a", 6 << 20}, Disk{"/b", 12 << 20})
		if n := s.found(1); n != 0 {
			t.Errorf("after another proportion %d may be used as they are, want none", n)
		}
		_ = s.st.Close() // judged elsewhere
	})
}
