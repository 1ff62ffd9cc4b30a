// Package storagetest holds every implementation of storage.Store to the
// contract at the top of package storage.
//
// Each test runs in a testing/synctest bubble of its own: time is virtual, a
// wait can be told from progress, and a goroutine that outlives Close fails
// the test.
package storagetest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"edge/cache/storage"
	"edge/message"
)

// Options are what the suite asks of a store it opens.
type Options struct {
	// Size is the budget in bytes, MaxObject the longest body kept, Window
	// the window for longer ones, ChunkSize the size of chunks.
	Size, MaxObject, Window int64
	ChunkSize               int
	Ledger                  storage.Ledger
	Clock                   storage.Clock
}

// The shape of the stores that most tests open: everything they store fits.
const (
	size      = 8 << 20
	maxObject = 1 << 20
	window    = 256 << 10
	chunkSize = 16 << 10
)

// Open opens an empty store. The store is closed by the suite; closing it
// once more must do nothing.
type Open func(t *testing.T, o Options) storage.Store

// Run runs the suite.
func Run(t *testing.T, open Open) {
	s := suite{open}
	for _, c := range []struct {
		name string
		run  func(*testing.T, suite)
	}{
		{"found once committed", testVisibility},
		{"what is kept of a proposal", testMeta},
		{"replacement", testReplacement},
		{"variants", testVariants},
		{"newest first", testOrder},
		{"hit-for-miss markers", testMarkers},
		{"body lengths", testLengths},
		{"announced length", testAnnounced},
		{"ranges of a body", testRanges},
		{"trailers", testTrailers},
		{"retained bytes", testRetention},
		{"remove", testRemove},
		{"freshen", testFreshen},
		{"freshen many times", testFreshenMany},
		{"invalidate", testInvalidate},
		{"each", testEach},
		{"ledger", testLedger},
		{"ledger and writers", testLedgerWriters},
		{"ledger and parts", testLedgerParts},
		{"ledger and freshening", testLedgerFreshen},
		{"ledger and witness", testWitness},
		{"names", testNames},
		{"find by name", testFind},
		{"taking meanwhile", testTakingMeanwhile},
		{"rename", testRename},
		{"readers follow a writer", testFollow},
		{"readers see an abort", testAbort},
		{"readers and contexts", testReaderContext},
		{"too large", testTooLarge},
		{"window", testWindow},
		{"window without readers", testWindowAlone},
		{"window and slow readers", testWindowSlow},
		{"window and contexts", testWindowContext},
		{"parts", testParts},
		{"parts in any order", testPartsOrder},
		{"parts of another representation", testPartsMismatch},
		{"parts that are aborted", testPartsAborted},
		{"parts that are followed", testPartsFollowed},
		{"parts and sequences", testPartsSequence},
		{"names of parts", testUnited},
		{"names of parts in order", testUnitedOrder},
		{"names of parts and refreshes", testUnitedRenamed},
		{"names of parts within bounds", testUnitedBounds},
		{"misuse", testMisuse},
		{"close", testClose},
		{"budget", testBudget},
		{"many at once", testHammer},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { c.run(t, s) })
		})
	}
	// Not in a bubble: rapid asks for the test's deadline.
	t.Run("model", func(t *testing.T) { testModel(t, s) })
	t.Run("taking", func(t *testing.T) { testTaking(t, s) })
	t.Run("united", func(t *testing.T) { testUnitedModel(t, s) })
}

// fataler is what the helpers need of a *testing.T or a *rapid.T.
type fataler interface {
	Helper()
	Fatal(...any)
	Fatalf(string, ...any)
}

// suite opens stores.
type suite struct{ open Open }

// store opens a roomy store; when the test ends it is closed and must then
// hold nothing.
func (s suite) store(t *testing.T, l storage.Ledger) storage.Store {
	return s.sized(t, Options{Size: size, MaxObject: maxObject, Window: window, ChunkSize: chunkSize, Ledger: l})
}

func (s suite) sized(t *testing.T, o Options) storage.Store {
	t.Helper()
	if o.Ledger == nil {
		o.Ledger = storage.NoPurges{}
	}
	if o.Clock == nil {
		o.Clock = func() message.Instant { return message.Instant(time.Now().UnixNano()) }
	}
	st := s.open(t, o)
	t.Cleanup(func() { checkClosed(t, st) })
	return st
}

// checkClosed closes st and checks that nothing is left in it.
func checkClosed(t *testing.T, st storage.Store) {
	t.Helper()
	if err := st.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	if s := st.Stats(); s.Entries != 0 || s.Bytes != 0 {
		t.Errorf("after closing and releasing everything: %d entries, %d bytes", s.Entries, s.Bytes)
	}
}

// item is something to store.
type item struct {
	key       int
	nominated string
	etag      string
	date      int64 // seconds
	flags     message.TermFlags
	seq       uint64
	tags      []string
	groups    []string
	body      []byte
	unknown   bool  // do not announce the length
	part      bool  // body lies at offset of total
	offset    int64 //
	total     int64
}

// Key returns the n-th test key.
func Key(n int) storage.Key {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], uint64(n))
	sum := sha256.Sum256(b[:])
	return storage.Key(sum[:16])
}

// proposal describes it.
func (it item) proposal() *storage.Proposal {
	etag := it.etag
	if etag == "" {
		etag = `"v1"`
	}
	sum := sha256.Sum256(it.body)
	p := &storage.Proposal{
		Key: Key(it.key),
		Stored: &message.Stored{
			Status: 200, Length: int64(len(it.body)), Reason: []byte("OK"),
			Head: []byte(fmt.Sprintf("ETag: %s\r\nX-Sum: %x\r\n", etag, sum)),
			Terms: message.Terms{
				FreshnessLifetime: 3600 * message.Second, ETag: []byte(etag), Flags: it.flags,
				Date: message.Instant(it.date) * message.Instant(message.Second),
			},
			ResponseTime: message.Instant(it.date) * message.Instant(message.Second),
		},
		Sequence: it.seq, Scheme: "https", Authority: []byte("example.com"),
		Target: []byte(fmt.Sprintf("/item/%d?x=y", it.key)), Tags: it.tags, Groups: it.groups,
		Total: int64(len(it.body)),
	}
	if it.nominated != "" {
		p.Stored.Nominated = []byte(it.nominated)
	}
	if it.unknown {
		p.Total, p.Stored.Length = message.LengthUnknown, message.LengthUnknown
	}
	if it.part {
		p.Part, p.Offset, p.Total = true, it.offset, it.total
	}
	return p
}

// begin starts storing it.
func begin(t fataler, st storage.Store, it item) storage.Writer {
	t.Helper()
	w, err := st.Begin(it.proposal())
	if err != nil {
		t.Fatalf("begin of key %d: %v", it.key, err)
	}
	return w
}

// write writes p in pieces of uneven sizes.
func write(t fataler, w storage.Writer, p []byte) {
	t.Helper()
	for step := 1; len(p) > 0; step = (step*3 + 1) % 50021 {
		n := min(step+1, len(p))
		if err := w.Write(context.Background(), p[:n]); err != nil {
			t.Fatalf("write: %v", err)
		}
		p = p[n:]
	}
}

// put stores it and returns Commit's error.
func put(t fataler, st storage.Store, it item) error {
	t.Helper()
	w := begin(t, st, it)
	defer w.Abort(errors.New("deferred"))
	write(t, w, it.body)
	return w.Commit(nil)
}

// mustPut stores it.
func mustPut(t fataler, st storage.Store, it item) {
	t.Helper()
	if err := put(t, st, it); err != nil {
		t.Fatalf("storing key %d: %v", it.key, err)
	}
}

// lookup finds the entries of a key, to be released.
func lookup(st storage.Store, key int) []storage.Entry { return st.Lookup(nil, Key(key)) }

// one finds the only entry of a key, to be released.
func one(t fataler, st storage.Store, key int) storage.Entry {
	t.Helper()
	list := lookup(st, key)
	if len(list) != 1 {
		t.Fatalf("key %d: %d entries, want 1", key, len(list))
	}
	return list[0]
}

// wantNone fails if a key is found.
func wantNone(t fataler, st storage.Store, key int) {
	t.Helper()
	list := lookup(st, key)
	release(list)
	if len(list) != 0 {
		t.Fatalf("key %d: %d entries, want none", key, len(list))
	}
}

func release(list []storage.Entry) {
	for _, e := range list {
		e.Release()
	}
}

// read reads n bytes from offset on.
func read(e storage.Entry, offset, n int64) ([]byte, error) {
	r := e.Reader(offset, n)
	defer r.Close()
	return drain(r)
}

// drain reads r to its end; io.EOF is no error.
func drain(r storage.Reader) ([]byte, error) {
	var all []byte
	for {
		p, err := r.Next(context.Background())
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		if len(p) == 0 {
			return all, errors.New("an empty piece without an error")
		}
		all = append(all, p...)
	}
}

// wantBody checks the whole body of e, in every way it can be had.
func wantBody(t fataler, e storage.Entry, want []byte) {
	t.Helper()
	if b := e.Bytes(); b != nil && !bytes.Equal(b, want) {
		t.Fatalf("Bytes: %d bytes that are not the %d written", len(b), len(want))
	}
	if got, err := read(e, 0, -1); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("Reader: %d bytes and %v, want the %d written", len(got), err, len(want))
	}
	if e.Size() != int64(len(want)) {
		t.Fatalf("Size: %d, want %d", e.Size(), len(want))
	}
	held := e.Held(nil)
	switch {
	case len(want) == 0 && len(held) == 0:
	case len(held) != 1 || held[0] != storage.ByteRange{Start: 0, End: int64(len(want))}:
		t.Fatalf("Held: %v, want all of %d", held, len(want))
	}
}

// content returns n bytes that are a function of seed.
func content(seed uint64, n int) []byte {
	b := make([]byte, n)
	var s [32]byte
	binary.LittleEndian.PutUint64(s[:], seed)
	rand.NewChaCha8(s).Read(b) // never fails
	return b
}

// Ledger is a storage.Ledger for tests: purges of single keys.
type Ledger struct {
	seq atomic.Uint64

	mu     sync.Mutex
	purges []purged
}

type purged struct {
	seq  uint64
	key  storage.Key
	soft bool
}

// Purge purges a key and returns the purge's sequence.
func (l *Ledger) Purge(key storage.Key, soft bool) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	seq := l.seq.Load() + 1
	l.purges = append(l.purges, purged{seq, key, soft})
	l.seq.Store(seq)
	return seq
}

// Sequence returns the newest purge's number.
func (l *Ledger) Sequence() uint64 { return l.seq.Load() }

// Judge says what the purges after since do to e.
func (l *Ledger) Judge(e storage.Entry, since uint64) storage.Verdict {
	l.mu.Lock()
	defer l.mu.Unlock()
	v := storage.Live
	for _, p := range l.purges {
		switch {
		case p.seq <= since || p.key != e.Key():
		case !p.soft:
			return storage.Removed
		default:
			v = storage.Stale
		}
	}
	return v
}
