// Package disk is the disk tier: a storage.Store that keeps responses in files.
//
// # How it works
//
// A Store (store.go) spreads keys over disks by hash; each disk is a volume of its own
// (volume.go). A volume is a log: what is stored is appended, as self-describing
// checksummed records (record.go: the format), to segment files (segment.go), by way of
// memory that a flusher writes out (flush.go). A compact index in memory (index.go) is
// the truth for what is found, and leads from names to responses for purges (take.go).
//
//   - Finding: a look-up reads a head from the disk, never a body of any size
//     (lookup.go); an entry that is found often stays open (kept.go). Readers read
//     bodies chunk by chunk (reader.go), within a time (read.go), check each chunk once
//     (proof.go), keep what is read again and again in memory (hot.go), or have it sent
//     from the file (sendable.go).
//   - Storing: a writer collects a chunk in memory, where readers follow it (writer.go,
//     fill.go, window.go), and ends with the head's record and a row (publish.go). What
//     lies in memory as a whole and is small takes a short way (put.go).
//   - Space is reclaimed a segment at a time, the oldest first (reclaim.go, contents.go).
//   - What rots is found by readers, and by a scrub (scrub.go), and costs the chunk that
//     it lies in (damage.go).
//   - Purges (verdict.go), and how far the disk has been judged by them: judged.go, position.go,
//     journaled.go.
//   - That segments are lost, the gap in their numbers tells, or, of the newest, a note of
//     which that was (newest.go).
//
// # The life of a segment
//
// Active: the last of a volume's list. Records are appended to blocks of memory and
// their notes (note.go) to a list; the flusher makes the file with the first block, and
// writes one after another. Sealed: full, or closed because of an error or for a sync; nothing
// is appended any more. Settled: all of it is in the file. Then it is synced, and its
// notes become its checkpoint (checkpoint.go), a file beside it. Gone: the oldest,
// when space runs short. Rows that need it are carried (appended again) or evicted; it
// is taken off the list, and loses its name and its checkpoint. Condemned: somebody
// still has it pinned, who reads on; with the last pin the file is closed, and the
// space is free.
//
// Lost is what cannot be written: the segment ends where its file does, rows that point
// beyond go, and what the lost records had taken away is owed: it is taken away again
// before anything else is written.
//
// # Start
//
// For each disk (open.go): the directory is locked, the format checked, and what a killed
// process left beside its segments removed. Then the segments tell the index again what
// there is (replay.go), from the oldest to the newest: by the checkpoint, or where there
// is none by reading it, the last few with their bodies, since those may not have been
// synced. Rows that need what is not there go. Last come the workers (a flusher, a
// reclaimer and a scrubber for each disk), and what follows from disks having been
// added, resized or absent (share.go). The journal of purges has its say when the store
// is open (journaled.go).
//
// A disk that cannot be opened, where another can, is absent until the next start: an
// empty volume that is out, has no workers, and is not shown to the journal. Keys stay
// where they are; its own are not found, and not stored.
//
// # Locks
//
// Outer before inner: a shard's of the index, the volume's, a segment's. Beside these
// there are leaves, of a fill, of the hot pieces, of a disk's health, under which nobody
// takes another. A Ledger is asked under a shard's lock. None is held over a wait or
// an operation on the disk: appending copies into memory, and only the workers write.
// What is read from is pinned (segments) or counted (bodies, blocks, pieces), not locked.
//
// # What survives what
//
// What Commit, Freshen, Invalidate and Remove did survives the process's being
// killed once Options.FlushInterval has passed, and power loss once
// Options.SyncInterval has passed beside; a segment that is full is synced at once.
// What did not survive is as if it had not happened: older responses may then be
// found again, except what a Ledger says was purged.
//
// # When a disk fails
//
// A disk that cannot be written takes nothing more, but is read; one that cannot
// be read is left alone. Either is tried again after Options.Retry. Damage costs
// the chunk that it is found in, or without a strong validator the response. Nothing is
// ever returned unchecked, no error of the disk fails anything but the call that met it,
// and each is counted.
package disk
