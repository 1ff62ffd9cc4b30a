package tiered

import (
	"context"
	"encoding/binary"
	"strconv"
	"testing"
	"time"

	"edge/cache/storage"
	"edge/cache/storage/disk"
	"edge/message"
)

// BenchmarkStore is what storing a 1 KiB response of its own URL costs with a
// disk behind the memory, the flushing of its bytes included.
func BenchmarkStore(b *testing.B) {
	t, err := Open(Options{
		Memory: storage.MemoryOptions{Size: 64 << 20},
		Disk:   disk.Options{Clock: func() message.Instant { return message.Instant(time.Now().UnixNano()) }, Disks: []disk.Disk{{Path: b.TempDir(), Size: 4 << 30}}},
	})
	if err != nil {
		b.Fatal(err)
	}
	defer t.Close()
	body := make([]byte, 1024)
	head := &message.Stored{Status: 200, Head: []byte("Content-Type: text/plain\r\nETag: \"v1\"\r\nCache-Control: max-age=100000\r\n"), Length: 1024}
	head.Terms.FreshnessLifetime = 1e15
	p := storage.Proposal{Stored: head, Scheme: "http", Authority: []byte("example.com"), Total: 1024}
	b.ReportAllocs()
	b.SetBytes(1024)
	for i := 0; b.Loop(); i++ {
		binary.LittleEndian.PutUint64(p.Key[:], uint64(i)*0x9e3779b97f4a7c15)
		binary.LittleEndian.PutUint64(p.Key[8:], uint64(i)*0xbf58476d1ce4e5b9)
		p.Target = strconv.AppendInt(append(p.Target[:0], "/object/"...), int64(i), 10)
		w, err := t.Begin(&p)
		if err != nil {
			b.Fatal(err)
		}
		if err := w.Write(context.Background(), body); err != nil {
			b.Fatal(err)
		}
		if err := w.Commit(nil); err != nil {
			b.Fatal(err)
		}
	}
}
