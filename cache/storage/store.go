// Package storage keeps the bytes: stored responses with their bodies, in a
// memory tier, on disks, or in both, behind one interface, Store.
//
// This file is that interface and its contract. It is declared here, by its
// provider, because the proxy, purge and admin rooms share it; the suite in
// storagetest holds every implementation to it.
//
// # The contract
//
// Visibility. What Writer.Commit or Store.Freshen made is found by every
// Lookup that starts after the call returned. A Lookup never sees an entry
// whose writing has not been committed, with one exception: parts.
//
// Durability. Commit promises nothing about disks; an implementation with
// disks says in its own comment when a committed entry survives what.
//
// Concurrency. Every method may be called from any goroutine, but one Writer
// and one Reader belong to one goroutine each. No call waits for a client or
// an origin, except Writer.Write in window mode (below) and Reader.Next while
// the writing goes on.
//
// Errors. A store that cannot keep something says so (ErrTooLarge, ErrFull,
// ErrDoomed ...) and the request goes on without it. A failing store never
// returns wrong bytes and never returns incomplete bytes as complete.
//
// Retention. Lookup and Writer.Entry return retained entries; each needs one
// Release. The bytes of a retained entry stay readable after eviction,
// replacement, invalidation and purge. Retaining is try-retain on a reference
// count: an entry whose count fell to zero is never revived.
package storage

import (
	"context"
	"errors"
	"time"

	"edge/message"
)

// Key is a primary cache key: the first 128 bits of a SHA-256 over the
// length-prefixed parts of the key (scheme, authority, path and query, and
// what the route adds). Made by the proxy; the store never sees the parts.
type Key [16]byte

// Errors a Writer or Store returns. Wrapped with what and where.
var (
	// ErrTooLarge: the body outgrew what this store keeps.
	ErrTooLarge = errors.New("storage: body too large to keep")
	// ErrFull: no room could be made.
	ErrFull = errors.New("storage: full")
	// ErrDoomed: an invalidation or purge that matches arrived during the
	// writing; the body goes on to its readers but is not kept.
	ErrDoomed = errors.New("storage: invalidated while being written")
	// ErrAborted: the writer gave up; no reader may take what came for whole.
	ErrAborted = errors.New("storage: aborted while being written")
	// ErrFellBehind: in window mode, the reader's next byte is gone.
	ErrFellBehind = errors.New("storage: reader fell out of the window")
	// ErrGone: the bytes cannot be read any more (disk fault, damaged
	// record). Before the first byte was sent the caller treats it as a miss.
	ErrGone = errors.New("storage: entry unreadable")
	// ErrClosed: the store is closed.
	ErrClosed = errors.New("storage: closed")
)

// Proposal describes a response about to be stored. The store copies what it
// keeps: nothing in it need outlive Begin.
type Proposal struct {
	Key Key
	// Stored is the head. Its Nominated block tells variants of one key
	// apart: committing replaces the entry with the same Key and Nominated.
	Stored *message.Stored
	// Sequence is the purge sequence when the fetch began (Ledger.Sequence).
	Sequence uint64
	// Scheme, Authority and Target are the effective request URI, raw: for
	// purges by host and prefix and for listing.
	Scheme    string
	Authority []byte
	Target    []byte
	// Tags are purge tags, lower-cased; Groups are RFC 9875 cache groups,
	// case-sensitive, within the URI's origin.
	Tags, Groups []string
	// Offset is where in the representation the first written byte lies: 0
	// but for parts. Total is the representation's complete length, or
	// message.LengthUnknown; for parts it is known.
	Offset, Total int64
	// Part says that what is written is a part (a 206), to be combined with
	// held parts of the same Key, Nominated and strong validator, and never
	// to be found as a whole until the last missing byte is held. The head of what
	// is combined is the newest part's, its tags and groups are those of all parts
	// (Names.Unite); where that cannot be, the newest part begins anew. Held parts that a
	// purge takes by their own names are not combined either.
	Part bool
}

// Store keeps stored responses.
type Store interface {
	// Lookup appends to dst every live entry under key, the most recently
	// stored first, each retained for the caller, and returns dst. It
	// applies the Ledger: what was purged is not returned, what was
	// soft-purged is returned with TermSoftPurged among its Terms' flags and a
	// FreshnessLifetime that has ended.
	// It never touches a disk for bodies. Zero allocations where dst has room.
	// Being returned counts as a hit of the entry. A store bounds the entries
	// under one key; the oldest make way.
	Lookup(dst []Entry, key Key) []Entry
	// Begin starts storing. ErrTooLarge is returned at once where
	// Proposal.Total says so (for parts, Total is not what counts: what is
	// held is), and ErrFull where not even a first chunk can be had. On any
	// error the caller serves the response without the store.
	Begin(p *Proposal) (Writer, error)
	// Freshen replaces e's head (a 304 or HEAD freshened it) and sets its
	// sequence; e's body stays. The head is copied, and TermPartial set or
	// cleared by what is held; every other flag is the caller's word, so a
	// caller that must not undo an invalidation that came after it asked the
	// origin compares sequences first. Not found any more (evicted,
	// replaced): ErrGone, and nothing happens.
	Freshen(e Entry, s *message.Stored, sequence uint64) error
	// Remove takes e out: it is found damaged or superseded. Idempotent.
	Remove(e Entry)
	// Invalidate applies RFC 9111 section 4.4 to one key: every entry under
	// it becomes TermInvalidated, and a Writer begun before is doomed. It
	// returns how many entries it touched. Where nothing matches it costs a
	// look-up.
	Invalidate(key Key) int
	// Each calls f with every live entry, retained during the call only,
	// until f returns false. Entries that come or go meanwhile may be
	// missed. For listing and for purge's background work, not for requests.
	Each(f func(Entry) bool)
	// Stats returns counters and gauges.
	Stats() Stats
	// Close stops background work and waits for it. Entries retained stay
	// readable until released; Lookup finds nothing and Begin returns
	// ErrClosed from then on.
	Close() error
}

// Entry is a retained stored response. Safe for concurrent use.
type Entry interface {
	// Stored returns the head now; freshening changes what later calls
	// return. The result stays valid while the entry is retained.
	Stored() *message.Stored
	// Key returns the primary key.
	Key() Key
	// Sequence is the purge sequence the entry counts as stored at: of what is combined
	// from parts that up to which all of them were judged when the last was.
	Sequence() uint64
	// Meta returns what Proposal said for purge and listing. Allocates.
	Meta() Meta
	// Names returns the part of Meta that purges go by, without allocating.
	// Valid while the entry is retained.
	Names() Names
	// Size returns the complete length of the body in bytes, or
	// message.LengthUnknown while it is being written and was not announced.
	Size() int64
	// Held appends to dst the byte ranges held, ascending and not adjacent:
	// for a whole entry one range [0, Size). While writing: what is written.
	Held(dst []ByteRange) []ByteRange
	// Bytes returns the whole body if it is held in one contiguous piece of
	// memory and complete, else nil. It is the hit path's way: no Reader, no
	// allocation. The slice is valid while the entry is retained. An empty
	// complete body returns a non-nil empty slice.
	Bytes() []byte
	// Reader opens the body at offset for n bytes (n < 0: to the end of the
	// representation). While the writing goes on, it follows. The Reader
	// retains the entry itself. Of an entry that holds parts, ask for what
	// Held names: at a byte that is not held, Next returns ErrGone, and so it
	// does where the part being written ended before the last byte asked for.
	Reader(offset, n int64) Reader
	// Trailers returns the trailer lines ("Name: value\r\n"), nil if none.
	// Meaningful once the body is complete.
	Trailers() []byte
	// Release gives the retention back. The entry must not be used after.
	Release()
}

// ByteRange is [Start, End).
type ByteRange struct{ Start, End int64 }

// Meta is what the store knows of an entry besides its head.
type Meta struct {
	Scheme, Authority, Target string
	Tags, Groups              []string
	Hits                      uint64
	StoredAt                  message.Instant
	Tier                      string // "memory", "disk", or "memory+disk"
}

// Reader reads a body in pieces. One goroutine at a time.
type Reader interface {
	// Next returns the next piece: never empty with a nil error, valid until
	// the next call or Close; it pins at most one chunk. io.EOF after the last
	// byte of a complete body (or of the n asked for). ErrAborted where the
	// writer gave up: at once, whatever was written before, unless the n were
	// returned already. ErrFellBehind, ErrGone, or ctx's error, after which
	// Next may be called again. It waits, while the writing goes on, without
	// holding any lock.
	Next(ctx context.Context) ([]byte, error)
	// Close ends the reading and releases the entry. Idempotent.
	Close()
}

// Writer streams one body in. Exactly one of Commit or Abort ends it; a
// deferred Abort after Commit does nothing.
//
// Window mode: when the body outgrows what the store keeps, the writer goes
// on for its readers' sake with a window of the configured size. Write then
// waits until the fastest reader has room, readers that fall out of the
// window get ErrFellBehind, and Commit returns ErrTooLarge (or ErrFull, where
// it was room that ran out): nothing is kept, but every reader that kept up got
// the whole body and a clean io.EOF. Once the last reader has left, or when none
// comes within moments, Write fails, so that the fill can stop.
type Writer interface {
	// Entry returns the entry being written, retained for the caller, before
	// it is visible to Lookup: this is what followers stream from.
	Entry() Entry
	// Write appends p. In window mode it may wait for readers, until ctx
	// ends. An error other than ctx's means that nothing more can be
	// accepted and readers got ErrAborted. After ctx's error nobody knows how
	// much of p was taken, so that only Abort makes sense; a Commit aborts.
	Write(ctx context.Context, p []byte) error
	// Commit ends the body and makes the entry visible, replacing the entry
	// of the same Key and Nominated (for parts: joining it). A body shorter
	// or longer than an announced Total is an abort. ErrDoomed, ErrTooLarge:
	// not kept, though readers got a whole body.
	Commit(trailers []byte) error
	// Abort ends the writing; readers get ErrAborted. For parts under a
	// strong validator, whole chunks may stay.
	Abort(reason error)
}

// Ledger is what the store asks about purges; the purge room implements it.
// The zero implementation NoPurges never purges anything.
type Ledger interface {
	// Sequence returns the number of the newest purge. One atomic load.
	Sequence() uint64
	// Judge says what the purges in (since, Sequence()] do to an entry. It is
	// asked only where since is below Sequence, may be called under a lock of
	// the store, and does not call back but for Names.
	Judge(e Entry, since uint64) Verdict
}

// Witness is what a Ledger may implement besides, to count what purges take.
type Witness interface {
	// Took is called once for each found entry that a purge in (since,
	// Sequence()] removed or made stale, when that happened. flags are those
	// that the entry's terms had before. removed: it is gone; else a purge that
	// removes, even if it is in force by now, is not what took it yet, and is told
	// of when it does. It may be called under a lock of the
	// store, as Judge may: whoever holds the same lock sees the entry as it was
	// and not told of, or as it is and told of.
	Took(e Entry, since uint64, flags message.TermFlags, removed bool)
}

// Dater is what a Ledger may implement besides, to tell when purges came: the windows
// in which a soft-purged response may be served stale begin there, whenever it is
// come by.
type Dater interface {
	// StaleSince returns when the purges in (since, Sequence()] that make an entry
	// stale came: of several, the first of those still known one by one. It is
	// called as Judge is, and only where that said Stale.
	StaleSince(e Entry, since uint64) message.Instant
}

// Soften makes s what a soft purge leaves of e's head: stale since the purge came, or,
// where the ledger does not know when, since now.
func Soften(l Ledger, e Entry, since uint64, s *message.Stored, now message.Instant) {
	if d, ok := l.(Dater); ok {
		now = max(min(now, d.StaleSince(e, since)), s.ResponseTime)
	}
	// The windows for serving it stale begin where the freshness lifetime ends:
	// with the purge, unless that was before.
	s.Terms.Flags |= message.TermSoftPurged
	s.Terms.FreshnessLifetime = min(s.Terms.FreshnessLifetime, s.CurrentAge(now))
}

// Verdict is what purges did to an entry.
type Verdict uint8

// The verdicts.
const (
	Live    Verdict = iota // no purge touches it
	Stale                  // soft-purged: TermSoftPurged
	Invalid                // invalidated: TermInvalidated
	Removed                // purged
)

// NoPurges is a Ledger with nothing in it.
type NoPurges struct{}

// Sequence returns 0.
func (NoPurges) Sequence() uint64 { return 0 }

// Judge returns Live.
func (NoPurges) Judge(Entry, uint64) Verdict { return Live }

// Stats are a store's counters (monotonic) and gauges.
type Stats struct {
	// Gauges. Bytes includes per-entry overhead. Entries, of a store with more tiers than
	// one, is how many the tier with the most has: what the others have that it has not
	// is not known.
	Entries, Bytes, Budget        int64
	Memory                        TierStats // that is memory's part of them
	Stored, Evicted, Rejected     int64     // Rejected: not admitted
	Replaced, Removed, Freshened  int64
	Invalidated, Doomed, TooLarge int64
	Aborted                       int64
}

// TierStats are the gauges of one tier.
type TierStats struct{ Entries, Bytes, Budget int64 }

// Clock is where a store takes "now" from, for hit statistics and expiry.
type Clock func() message.Instant

// FlushTimeout bounds how long Close waits for background work.
const FlushTimeout = 10 * time.Second
