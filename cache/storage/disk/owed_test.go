package disk

import (
	"testing"
	"time"

	"edge/cache/storage/storagetest"
	"edge/cache/storage/vfs"
)

// TestOwedOnAFullDisk: while tombstones are owed for which there is no room either,
// reclaiming, which alone can make some, is told so at once and does not wait for itself.
func TestOwedOnAFullDisk(t *testing.T) {
	st, err := Open(Options{Disks: []Disk{{"/disk", 4 << 20}}, Clock: testClock, FS: vfs.NewMem(), FlushInterval: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	v := st.volumes[0]
	v.mu.Lock()
	v.sealed += v.limit
	v.owe(owing{kindTombstone, storagetest.Key(1), 0})
	v.mu.Unlock()
	chunk := func(reserve bool) error {
		s, err := v.append(&record{kind: kindChunk, key: storagetest.Key(2)}, make([]byte, headerSize), nil, reserve)
		if err == nil {
			s.unpin()
		}
		return err
	}
	if err := chunk(true); err != errNoRoom {
		t.Errorf("for reclaiming: %v", err)
	}
	if err := chunk(false); err != errBusy {
		t.Errorf("for a writer: %v", err)
	}
	v.mu.Lock()
	v.sealed -= v.limit
	v.mu.Unlock()
	if err := chunk(false); err != nil || len(v.owed) > 0 {
		t.Errorf("with room again: %v; %d owed", err, len(v.owed))
	}
	v.mu.Lock()
	v.owe(owing{kindTombstone, storagetest.Key(3), 0})
	v.mu.Unlock()
	if v.payLate(); len(v.owed) > 0 {
		t.Error("what is owed waits for somebody to store something")
	}
}
