package disk

import (
	"encoding/binary"
	"errors"
	"io"
	"testing"

	"edge/cache/storage"
	"edge/cache/storage/storagetest"
	"edge/cache/storage/vfs"
)

// FuzzDisk: whatever lies in a disk's files, opening it, reading all that is found, storing
// more and opening it again does not panic, and what is returned has the length that it
// should. Checksums are made right first: they keep nobody out who writes them.
func FuzzDisk(f *testing.F) {
	seg, idx := seedDisk(f)
	f.Add(seg, idx, []byte("edge share 3: change 1, from 0 for 1 of 2 without 01\n"), make([]byte, 2*positionSlot), uint32(1))
	f.Add(seg, idx, []byte("edge share 2: change 18446744073709551615, from 0 for 0 of 0\n"), []byte(positionMagic), uint32(7))
	f.Add(seg, []byte(idxMagic), []byte("edge share 2: change 1, from -1 for 9223372036854775807 of -5\n"), []byte{}, uint32(maxNumber))
	f.Fuzz(func(t *testing.T, seg, idx, share, purges []byte, newest uint32) {
		mem := vfs.NewMem()
		if err := mem.MkdirAll("/disk"); err != nil {
			t.Fatal(err)
		}
		put := func(name string, b []byte) {
			t.Helper()
			writeWhole(t, mem, "/disk/"+name, b)
		}
		seg = seg[:min(len(seg), 128<<10)]
		mendRecords(seg, 1)
		put("00000001.seg", seg)
		put(idxName(1), mendIdx(idx, len(seg)))
		put("00000002.seg", nil)
		put(idxName(2), mendIdx(idx, 0))
		put(shareName, share)
		put(positionName, mendPosition(purges))
		put(newestName, newestLine(newest))
		for range 2 {
			st, err := Open(Options{Disks: []Disk{{"/disk", 1 << 20}, {"/other", 1 << 20}}, Clock: testClock, FS: mem, SegmentSize: 64 << 10, ChunkSize: 8 << 10, ScrubRate: -1})
			if err != nil {
				return // of another version
			}
			for _, j := range st.Journaled() {
				if _, _, err := j.Seen(); err == nil {
					_ = j.Saw("epoch", 1)
				}
				_ = j.Close()
			}
			st.Each(func(e storage.Entry) bool {
				if b, err := readAll(e); err == nil && int64(len(b)) != e.Size() {
					t.Errorf("%d bytes of %d", len(b), e.Size())
				}
				return true
			})
			_ = keep(st, 1, 1, 20<<10)
			if err := st.Close(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// seedDisk returns a segment and its checkpoint, as they are written.
func seedDisk(f *testing.F) (seg, idx []byte) {
	mem := vfs.NewMem()
	for range 2 { // the second makes the checkpoint, where the first did not
		st, err := Open(Options{Disks: []Disk{{"/disk", 1 << 20}}, Clock: testClock, FS: mem, SegmentSize: 64 << 10, ChunkSize: 8 << 10, ScrubRate: -1})
		if err != nil {
			f.Fatal(err)
		}
		for i := range 3 {
			if err := keep(st, i, uint64(i), 100<<(4*i)); err != nil { // the last in chunks
				f.Fatal(err)
			}
		}
		for _, e := range st.Lookup(nil, storagetest.Key(1)) {
			st.Remove(e)
			e.Release()
		}
		st.Invalidate(storagetest.Key(2))
		if err := st.Close(); err != nil {
			f.Fatal(err)
		}
	}
	return readWhole(f, mem, "/disk/00000001.seg"), readWhole(f, mem, "/disk/"+idxName(1))
}

func writeWhole(t *testing.T, fs vfs.FS, name string, b []byte) {
	t.Helper()
	file, err := fs.Create(name)
	if err == nil {
		_, err = file.WriteAt(b, 0)
		err = errors.Join(err, file.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

func readWhole(f *testing.F, fs vfs.FS, name string) []byte {
	f.Helper()
	file, err := fs.Open(name)
	if err != nil {
		f.Fatal(err)
	}
	size, err := file.Size()
	b := make([]byte, size)
	if err == nil {
		_, err = file.ReadAt(b, 0)
	}
	if err := errors.Join(ignore(err, io.EOF), file.Close()); err != nil {
		f.Fatal(err)
	}
	return b
}

// mendRecords makes the place and the checksum of each record right, the first at the
// beginning and each of the others behind the one before.
func mendRecords(b []byte, seg uint32) {
	le := binary.LittleEndian
	for off := 0; off+headerSize <= len(b); {
		h := b[off:]
		h[4] = h[4]%uint8(kindDoubt) + 1
		le.PutUint16(h[6:], formatVersion)
		le.PutUint32(h[20:], seg)
		le.PutUint32(h[24:], uint32(off))
		front, body := int(le.Uint32(h[8:])), int(le.Uint32(h[12:]))
		if front > len(h)-headerSize || body > len(h)-headerSize-front {
			front, body = min(front, (len(h)-headerSize)/2), 0
			le.PutUint32(h[8:], uint32(front))
			le.PutUint32(h[12:], 0)
		}
		le.PutUint32(h[16:], checksum(h[headerSize+front:headerSize+front+body]))
		le.PutUint32(h, checksum(h[4:headerSize+front]))
		off += int(pad(int64(headerSize + front + body)))
	}
}

// mendIdx makes all of a checkpoint's header right that is not its content.
func mendIdx(b []byte, size int) []byte {
	b = append([]byte(nil), b...)
	if len(b) < idxHeader {
		return b
	}
	le := binary.LittleEndian
	copy(b, idxMagic)
	le.PutUint32(b[8:], idxVersion)
	le.PutUint32(b[12:], 1)
	le.PutUint64(b[16:], uint64(size))
	le.PutUint32(b[24:], idxSum(b))
	return b
}

// mendPosition makes the checksums of its slots right.
func mendPosition(b []byte) []byte {
	b = append([]byte(nil), b...)
	for s := b; len(s) >= positionSlot; s = s[positionSlot:] {
		copy(s, positionMagic)
		binary.LittleEndian.PutUint32(s[8:], positionVersion)
		binary.LittleEndian.PutUint32(s[positionSum:], checksum(s[:positionSum]))
	}
	return b
}
