package disk

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"edge/cache/storage"
	"edge/cache/storage/storagetest"
	"edge/cache/storage/vfs"
	"edge/message"
)

// TestIfAbsent: a copy that is for where the disk has nothing leaves alone what was
// committed since anybody looked.
func TestIfAbsent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := openSmall(t, vfs.NewMem(), 16<<20)
		old := []byte("old")
		p := &storage.Proposal{Key: storagetest.Key(1), Stored: &message.Stored{Status: 200}, Scheme: "http", Authority: []byte("a"), Target: []byte("/"), Total: int64(len(old))}
		through, err := st.BeginNow(p, true)
		if err != nil {
			t.Fatal(err)
		}
		if err := through.Write(context.Background(), old); err != nil {
			t.Fatal(err)
		}
		put(t, st, 1, []byte("new")) // committed while the copy is made
		if err := through.Commit(nil); !errors.Is(err, ErrHeld) {
			t.Errorf("a writer: %v", err)
		}
		if err := st.PutIfAbsent(p, storage.MakeNames(p), old, nil); !errors.Is(err, ErrHeld) {
			t.Errorf("PutIfAbsent: %v", err)
		}
		list := st.Lookup(nil, p.Key)
		if len(list) != 1 || string(list[0].Bytes()) != "new" {
			t.Fatalf("%d found, of which the first is not what was committed", len(list))
		}
		st.Remove(list[0])
		list[0].Release()
		if err := st.PutIfAbsent(p, storage.MakeNames(p), old, nil); err != nil {
			t.Errorf("with nothing there: %v", err)
		}
	})
}
