package disk

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"edge/cache/storage"
	"edge/cache/storage/storagetest"
	"edge/cache/storage/vfs"
)

// TestProofEndsWithTheFile: what was found right, and goes from the page cache, is checked
// again once somebody else wrote to the file, even where the file's time of modification was
// put back.
func TestProofEndsWithTheFile(t *testing.T) {
	needCachestat(t)
	st, dir, body := flushedBody(t, 500<<10)
	e := lookupOne(t, st)
	defer e.Release()
	for range 2 {
		if got, _ := readFiles(t, st, e, 0, -1); !bytes.Equal(got, body) {
			t.Fatal("wrong bytes")
		}
	}
	if _, files := readFiles(t, st, e, 0, -1); files == 0 {
		t.Fatal("nothing goes from the file: the test says nothing")
	}
	const at = 300_000
	name := filepath.Join(dir, "00000001.seg")
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	lies, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt([]byte{body[at] ^ 1}, int64(bytes.Index(lies, body[at:at+64])))
	if err = errors.Join(err, f.Close(), os.Chtimes(name, time.Time{}, info.ModTime())); err != nil {
		t.Fatal(err)
	}
	r := e.Reader(0, -1).(storage.FileReader)
	defer r.Close()
	var got []byte
	for err = nil; err == nil; {
		var p []byte
		if piece, ok := r.NextFile(); ok {
			p = make([]byte, piece.Length)
			if _, err := (*st.volumes[0].segments[0].file.Load()).ReadAt(p, piece.Offset); err != nil {
				t.Fatal(err)
			}
			r.Took(piece.Length, false)
		} else {
			p, err = r.Next(context.Background())
		}
		got = append(got, p...)
	}
	if !errors.Is(err, storage.ErrGone) || len(got) > at || !bytes.Equal(got, body[:len(got)]) {
		t.Errorf("%d bytes, right: %v, then %v", len(got), bytes.Equal(got, body[:len(got)]), err)
	}
}

// TestProofOfWhatIsInMemory: what memory has lost comes from the disk again, and is checked
// again.
func TestProofOfWhatIsInMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := vfs.NewMem() // which keeps nothing in memory, as far as it says
		st, err := Open(Options{Disks: []Disk{{"/disk", 64 << 20}}, ChunkSize: 64 << 10, FS: mem, Clock: testClock})
		if err != nil {
			t.Fatal(err)
		}
		defer st.Close()
		body := pattern(3, 2<<20)
		put(t, st, 1, body)
		time.Sleep(5 * time.Second)
		e := st.Lookup(nil, storagetest.Key(1))[0]
		defer e.Release()
		for range 2 {
			if got, err := readAll(e); err != nil || !bytes.Equal(got, body) {
				t.Fatal(err)
			}
		}
		if err := mem.Flip("/disk/00000001.seg", 300_000, 1); err != nil {
			t.Fatal(err)
		}
		got, err := readAll(e)
		if !errors.Is(err, storage.ErrGone) || !bytes.Equal(got, body[:len(got)]) {
			t.Errorf("%d bytes, right: %v, then %v", len(got), bytes.Equal(got, body[:len(got)]), err)
		}
	})
}

// TestProofOutlivesFlushes: what we write ourselves proves nothing wrong.
func TestProofOutlivesFlushes(t *testing.T) {
	st, err := Open(Options{Disks: []Disk{{t.TempDir(), 256 << 20}}, ChunkSize: 64 << 10, SegmentSize: 32 << 20, Clock: testClock, FlushInterval: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	v := st.volumes[0]
	write := func(key int) {
		put(t, st, key, pattern(uint64(key), 3_000_000))
		v.flushNow <- struct{}{}
		for ended := time.Now().Add(time.Minute); pending(v) > 0; runtime.Gosched() {
			if time.Now().After(ended) {
				t.Fatal("it is not flushed")
			}
		}
	}
	write(1)
	e := lookupOne(t, st)
	defer e.Release()
	if _, err := readAll(e); err != nil {
		t.Fatal(err)
	}
	b := e.(*entry).body.Load()
	proven := func() (n int) {
		for i, x := range b.extents {
			if b.segments[i].proven().has(x.off, x.length) {
				n++
			}
		}
		return n
	}
	before := proven()
	if before == 0 {
		t.Fatal("nothing was found right: the test says nothing")
	}
	write(2)
	write(3)
	if n := proven(); n != before {
		t.Errorf("%d of %d bodies are still known to be right", n, before)
	}
	if got, err := readAll(e); err != nil && err != io.EOF || !bytes.Equal(got, pattern(1, 3_000_000)) {
		t.Error(err)
	}
}

// pending returns how many bytes wait for the flusher.
func pending(v *volume) (n int64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, s := range v.segments {
		n += s.pending()
	}
	return n
}
