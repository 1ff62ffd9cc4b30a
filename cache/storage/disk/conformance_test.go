package disk

import (
	"testing"

	"edge/cache/storage"
	"edge/cache/storage/storagetest"
	"edge/cache/storage/vfs"
)

func TestConformance(t *testing.T) {
	for name, where := range map[string]func(t *testing.T) (vfs.FS, string){
		"memory": func(*testing.T) (vfs.FS, string) { return vfs.NewMem(), "/disk" },
		"os":     func(t *testing.T) (vfs.FS, string) { return vfs.OS{}, t.TempDir() },
	} {
		t.Run(name, func(t *testing.T) {
			storagetest.Run(t, func(t *testing.T, o storagetest.Options) storage.Store {
				fs, dir := where(t)
				st, err := Open(Options{
					Disks: []Disk{{Path: dir, Size: o.Size}}, MaxObject: o.MaxObject, Window: o.Window, ChunkSize: o.ChunkSize,
					Ledger: o.Ledger, Clock: o.Clock, FS: fs,
				})
				if err != nil {
					t.Fatal(err)
				}
				return st
			})
		})
	}
}
