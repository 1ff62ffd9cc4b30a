package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"edge/admin"
	"edge/cache/storage"
	"edge/cache/storage/disk"
	"edge/cache/storage/tiered"
	"edge/cache/storage/vfs"
	"edge/purge"
)

// journalName is the purge journal's name beside the first disk, where
// journal.path names no other.
const journalName = "purges.journal"

// journalPath returns where the purge journal is; "" for nowhere. What is stored on
// disks must not outlive the memory of what was purged, so disks imply a journal.
func (n *node) journalPath() (string, error) {
	path, disks := n.config.Journal.Path, n.config.Cache.Disk
	if path != "" || len(disks) == 0 {
		return path, nil
	}
	if err := os.MkdirAll(disks[0].Path, 0o750); err != nil {
		return "", fmt.Errorf("cache.disk[0].path: %w", err)
	}
	return filepath.Join(disks[0].Path, journalName), nil
}

// findDisks looks for the disks' directories, of which those that are not there are
// made later. A disk that cannot be had keeps the node from starting, and must do so
// before the journal is opened: of such a disk nobody can tell how far it knows the
// journal, which would go on as another, and all that the others have would have to be
// validated.
func (n *node) findDisks() error {
	for i, d := range n.config.Cache.Disk {
		if _, err := os.ReadDir(d.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("cache.disk[%d].path: %w", i, err)
		}
	}
	return nil
}

// openStore opens what responses are stored in: memory, or memory in front of disks.
func (n *node) openStore(clock storage.Clock) error {
	c := &n.config.Cache
	memory := storage.MemoryOptions{Size: int64(c.Memory.Size), MaxObject: int64(c.Memory.MaxObject),
		Window: int64(c.Window), Ledger: n.ledger, Clock: clock, Logger: n.log}
	if len(c.Disk) == 0 {
		m, err := storage.NewMemory(memory)
		if err != nil {
			return err // n.store stays nil: not a nil pointer in an interface
		}
		n.store = m
		return nil
	}
	disks := disk.Options{Window: int64(c.Window), FlushInterval: c.FlushInterval, SyncInterval: c.SyncInterval, Clock: clock, Logger: n.log}
	for _, d := range c.Disk {
		disks.Disks = append(disks.Disks, disk.Disk{Path: d.Path, Size: int64(d.Size)})
	}
	t, err := tiered.Open(tiered.Options{Memory: memory, Disk: disks, MinUses: c.Admission.MinUses})
	if err != nil {
		return fmt.Errorf("cache.disk: %w", err)
	}
	n.store = t
	for _, d := range t.Disk().Journaled() { // before anything is looked up
		if err := n.ledger.Attach(d); err != nil {
			return fmt.Errorf("cache.disk: %s: %w", d.Name(), err)
		}
	}
	return nil
}

// A disk's position is written by one room and understood by the other.
const _ = uint64(purge.Missed - disk.Missed)

// positions are how far each disk knows the purge journal.
func (n *node) positions() []purge.Position {
	var list []purge.Position
	for _, d := range n.config.Cache.Disk {
		epoch, seq, err := disk.ReadPosition(vfs.OS{}, d.Path)
		if err != nil {
			n.log.Warn("a disk's position in the purge journal cannot be read", "error", err)
		}
		list = append(list, purge.Position{Epoch: epoch, Sequence: seq})
	}
	return list
}

// entries is what the admin API lists stored responses by.
func (n *node) entries() *admin.Entries {
	e := &admin.Entries{Find: admin.Over(n.store), StoredTarget: n.proxy.StoredTarget, Clock: n.clock.Now}
	if t, ok := n.store.(*tiered.Store); ok {
		e.Where = t.Where
	}
	return e
}
