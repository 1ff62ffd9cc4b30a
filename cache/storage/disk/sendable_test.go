package disk

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"edge/cache/storage"
	"edge/cache/storage/storagetest"
	"edge/cache/storage/vfs"
)

// flushedBody returns a store on a real disk with one body in it that has been flushed, and
// the body.
func flushedBody(t *testing.T, size int) (st *Store, dir string, body []byte) {
	t.Helper()
	dir = t.TempDir()
	open := func() {
		var err error
		st, err = Open(Options{Disks: []Disk{{dir, 64 << 20}}, ChunkSize: 64 << 10, Clock: testClock})
		if err != nil {
			t.Fatal(err)
		}
		opened := st
		t.Cleanup(func() { _ = opened.Close() }) // where the test fails before it does
	}
	open()
	body = make([]byte, size)
	rand.NewChaCha8([32]byte{9}).Read(body)
	put(t, st, 1, body)
	if err := st.Close(); err != nil { // so that nothing waits for the flusher
		t.Fatal(err)
	}
	open()
	return st, dir, body
}

func lookupOne(t *testing.T, st *Store) storage.Entry {
	t.Helper()
	list := st.Lookup(nil, storagetest.Key(1))
	if len(list) != 1 {
		t.Fatalf("%d found", len(list))
	}
	return list[0]
}

// readFiles reads a range as a client with sendfile gets it: from the files where the
// reader says so. It returns how much came from there.
func readFiles(t *testing.T, st *Store, e storage.Entry, from, n int64) (got []byte, files int) {
	t.Helper()
	r := e.Reader(from, n).(storage.FileReader)
	defer r.Close()
	for {
		if at, ok := r.NextFile(); ok {
			p := make([]byte, at.Length)
			f := *st.volumes[0].segments[0].file.Load()
			if f.(vfs.SystemFile).Fd() != at.FD {
				t.Fatal("another file")
			}
			if _, err := f.ReadAt(p, at.Offset); err != nil {
				t.Fatal(err)
			}
			got = append(got, p...)
			files += len(p)
			r.Took(at.Length, false)
			continue
		}
		p, err := r.Next(context.Background())
		if err == io.EOF {
			return got, files
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, p...)
	}
}

const skipWithoutCachestat = "the kernel, older than Linux 6.5, does not say what is in its page cache: nothing is sent from files"

func needCachestat(t *testing.T) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(name, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := vfs.OS{}.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if !f.(vfs.SystemFile).InMemory(0, 1) {
		t.Skip(skipWithoutCachestat)
	}
}

// TestNextFile: nothing goes from the file unchecked; afterwards every range does, and
// is the same bytes.
func TestNextFile(t *testing.T) {
	needCachestat(t)
	st, _, body := flushedBody(t, 300<<10)
	e := lookupOne(t, st)
	defer e.Release()
	got, files := readFiles(t, st, e, 0, -1)
	if !bytes.Equal(got, body) || files != 0 {
		t.Fatalf("first: %d bytes, %d of them from the file unchecked", len(got), files)
	}
	for _, r := range [][2]int64{{0, -1}, {0, 64 << 10}, {70 << 10, 60 << 10}, {64<<10 - 1, 100 << 10}, {200 << 10, -1}} {
		want := body[r[0]:]
		if r[1] >= 0 {
			want = want[:r[1]]
		}
		got, files := readFiles(t, st, e, r[0], r[1])
		if !bytes.Equal(got, want) {
			t.Fatalf("range %v: %d bytes that are not the body's", r, len(got))
		}
		if files < len(want)-2*sendFrom {
			t.Errorf("range %v: %d of %d from the file", r, files, len(want))
		}
		if plain, err := readRange(e, r[0], r[1]); err != nil || !bytes.Equal(plain, want) {
			t.Errorf("range %v without files: %d bytes, %v", r, len(plain), err)
		}
	}
}

// TestNextFileCut: of a file that somebody cut nothing is offered, and when it is cut
// after the offer, the reader finds out: never is anything short taken for whole.
func TestNextFileCut(t *testing.T) {
	needCachestat(t)
	for _, offered := range []bool{false, true} {
		st, dir, body := flushedBody(t, 300<<10)
		e := lookupOne(t, st)
		if got, err := readRange(e, 0, -1); err != nil || !bytes.Equal(got, body) {
			t.Fatal(err)
		}
		r := e.Reader(0, -1).(storage.FileReader)
		if offered {
			if _, ok := r.NextFile(); !ok {
				t.Fatal("nothing is offered of what was checked")
			}
		}
		name := filepath.Join(dir, "00000001.seg")
		if err := os.Truncate(name, 1000); err != nil {
			t.Fatal(err)
		}
		if offered {
			r.Took(0, true)
		}
		if _, ok := r.NextFile(); ok {
			t.Error("a piece of a file that was cut is offered")
		}
		if p, err := r.Next(context.Background()); !errors.Is(err, storage.ErrGone) {
			t.Errorf("%d bytes and %v of a file that was cut", len(p), err)
		}
		r.Close()
		e.Release()
		if n := st.volumes[0].health.damaged.Load(); n == 0 {
			t.Error("the damage was not counted")
		}
	}
}

// TestNextFilePinned: what is being sent stays readable after its segment was
// reclaimed.
func TestNextFilePinned(t *testing.T) {
	needCachestat(t)
	dir := t.TempDir()
	st, err := Open(Options{Disks: []Disk{{dir, 4 << 20}}, ChunkSize: 64 << 10, MaxObject: 256 << 10, FlushInterval: 10 * time.Millisecond, Clock: testClock})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	body := make([]byte, 128<<10)
	rand.NewChaCha8([32]byte{5}).Read(body)
	put(t, st, 1, body)
	for i := range 8 { // until its segment is sealed and in the file
		put(t, st, 1000+i, make([]byte, 128<<10))
	}
	e := lookupOne(t, st)
	r := e.Reader(0, -1).(storage.FileReader)
	var at storage.FilePiece
	var ok bool
	for end := time.Now().Add(time.Minute); !ok && time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if _, err := readRange(e, 0, -1); err != nil {
			t.Fatal(err)
		}
		at, ok = r.NextFile()
	}
	if !ok {
		t.Fatal("nothing is offered of what was checked")
	}
	b := e.(*entry).body.Load()
	f := *b.segments[0].file.Load()
	for i := 0; i < 200 && !b.segments[0].gone.Load(); i++ {
		for try := 0; ; try++ {
			w, err := st.Begin(&storage.Proposal{Key: storagetest.Key(2000 + i), Scheme: "http", Stored: e.Stored(), Total: 128 << 10})
			if err == nil {
				if err = w.Write(context.Background(), make([]byte, 128<<10)); err == nil {
					err = w.Commit(nil)
				}
			}
			if err == nil {
				break
			}
			if try == 100 {
				t.Fatal(err)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	if !b.segments[0].gone.Load() {
		t.Fatal("the segment was not reclaimed: the test proves nothing")
	}
	p := make([]byte, at.Length)
	if _, err := f.ReadAt(p, at.Offset); err != nil || !bytes.Equal(p, body[:at.Length]) {
		t.Errorf("what was offered changed: %v", err)
	}
	r.Took(at.Length, false)
	r.Close()
	e.Release()
}
