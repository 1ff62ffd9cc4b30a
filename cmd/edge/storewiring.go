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
		return "", fmt.Errorf("cache.disk[0].path: %w%s", err, n.journalHint(err))
	}
	return filepath.Join(disks[0].Path, journalName), nil
}

// journalHint is added to what is wrong with the first of several disks where the journal is
// there: the node could do without the disk, but not without the journal. "" where it is not
// the disk that is wrong.
func (n *node) journalHint(err error) string {
	var disk *fs.PathError
	if n.config.Journal.Path != "" || len(n.config.Cache.Disk) < 2 || !errors.As(err, &disk) {
		return ""
	}
	return " (the purge journal is on the first disk where journal.path names no other file; to go on without that disk, name one: " +
		"what is on the others is then validated before it is used)"
}

// findDisks says how far each disk knows the purge journal, before that is opened. Of a
// disk that cannot be read nobody can tell, and were the worst assumed, the journal would
// go on as another, and all that the others have would have to be validated. So such a
// disk is away: it is not opened either, even if it could be by then, and what is on it
// is caught up with at a later start. Where no disk is left, that is an error.
func (n *node) findDisks() ([]purge.Position, error) {
	disks := n.config.Cache.Disk
	n.away = make(map[string]error)
	var list []purge.Position
	var first error
	for i, d := range disks {
		epoch, seq, err := disk.ReadPosition(vfs.OS{}, d.Path)
		if _, unlisted := os.ReadDir(d.Path); unlisted != nil && !errors.Is(unlisted, fs.ErrNotExist) {
			err = unlisted
		} else if err != nil && len(disks) == 1 {
			n.log.Warn("a disk's position in the purge journal cannot be read", "error", err)
			err = nil
		}
		if err == nil {
			list = append(list, purge.Position{Epoch: epoch, Sequence: seq})
			continue
		}
		n.away[d.Path] = err
		if first == nil {
			first = fmt.Errorf("cache.disk[%d].path: %w", i, err)
		}
	}
	if len(list) == 0 {
		return nil, first // nil where there are no disks
	}
	return list, nil
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
	disks := disk.Options{Window: int64(c.Window), FlushInterval: c.FlushInterval, SyncInterval: c.SyncInterval, Clock: clock, Logger: n.log, Away: n.away}
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

// entries is what the admin API lists stored responses by.
func (n *node) entries() *admin.Entries {
	e := &admin.Entries{Find: admin.Over(n.store), StoredTarget: n.proxy.StoredTarget, Clock: n.clock.Now}
	if t, ok := n.store.(*tiered.Store); ok {
		e.Where = t.Where
	}
	return e
}
