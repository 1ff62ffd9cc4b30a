package tiered

import (
	"testing"

	"edge/cache/storage"
	"edge/cache/storage/disk"
	"edge/cache/storage/storagetest"
	"edge/cache/storage/vfs"
)

func TestConformance(t *testing.T) {
	for name, memory := range map[string]int64{"half in memory": 2, "a quarter in memory": 4} {
		t.Run(name, func(t *testing.T) {
			storagetest.Run(t, func(t *testing.T, o storagetest.Options) storage.Store {
				size := max(o.Size/memory, storage.MinMemory)
				st, err := Open(Options{
					Memory: storage.MemoryOptions{Size: size, MaxObject: min(o.MaxObject, size/8), Window: min(o.Window, size/4),
						ChunkSize: o.ChunkSize, Ledger: o.Ledger, Clock: o.Clock},
					Disk: disk.Options{Disks: []disk.Disk{{Path: "/disk", Size: o.Size - size}}, MaxObject: o.MaxObject, Window: o.Window,
						ChunkSize: o.ChunkSize, Clock: o.Clock, FS: vfs.NewMem()},
				})
				if err != nil {
					t.Fatal(err)
				}
				return st
			})
		})
	}
}
