package main

import (
	"fmt"
	"os"
	"path/filepath"

	"edge/admin"
	"edge/cache/storage"
	"edge/cache/storage/disk"
	"edge/cache/storage/tiered"
	"edge/cache/storage/vfs"
	"edge/purge"
)

// journalName is the purge journal's name on the disk that it is on, where journal.path
// names no other place. What is stored on disks must not outlive the memory of what was
// purged, so disks imply a journal.
const journalName = "purges.journal"

// findDisks says how far each disk knows the purge journal, before that is opened. Of a
// disk that cannot be read nobody can tell; so such a disk is away: it is not opened
// either, even if it could be by then, and what is on it is caught up with at a later
// start. Where no disk is left, that is an error, and so is a disk of another version's,
// before anything is changed.
func (n *node) findDisks() ([]purge.Place, error) {
	disks := n.config.Cache.Disk
	n.away = make(map[string]error)
	var list []purge.Place
	var first error
	for i, d := range disks {
		if err := disk.Readable(vfs.OS{}, d.Path); err != nil {
			return nil, fmt.Errorf("cache.disk: %w", err)
		}
		p := purge.Place{Path: filepath.Join(d.Path, journalName)}
		if p.Position, p.Away = n.position(d.Path); p.Away != nil {
			n.away[d.Path] = p.Away
			if first == nil {
				first = fmt.Errorf("cache.disk[%d].path: %w", i, p.Away)
			}
		}
		list = append(list, p)
	}
	if len(n.away) == len(list) {
		return nil, first // nil where there are no disks
	}
	if len(n.away) > 0 && n.config.Journal.Path == "" {
		n.log.Warn("a disk is absent, and the purge journal is on the disks: what is on the others is validated before it is used, now and at each start without it, " +
			"unless journal.path names a file that is on none of them")
	}
	return list, nil
}

// position returns the position of the disk at a path, which it makes where it is not.
func (n *node) position(dir string) (purge.Position, error) {
	epoch, seq, err := disk.ReadPosition(vfs.OS{}, dir)
	if err != nil && len(n.config.Cache.Disk) == 1 {
		n.log.Warn("a disk's position in the purge journal cannot be read", "error", err)
		err = nil // it is Missed
	}
	if e := (vfs.OS{}).MkdirAll(dir); e != nil {
		err = e
	} else if _, e := os.ReadDir(dir); e != nil {
		err = e
	}
	return purge.Position{Epoch: epoch, Sequence: seq}, err
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
