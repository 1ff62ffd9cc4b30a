package purge

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"edge/cache/storage"
	"edge/message"
)

// Options make a Ledger.
type Options struct {
	// Path is the journal's file. Empty: purges are kept in memory only, which
	// is enough where the responses are too.
	Path string
	// Positions are those of the disks that will be attached, read before anything
	// else has happened: by them a journal that is not whole is known.
	Positions []Position
	// Places, with an empty Path, are all the disks that will be attached or are absent, in
	// the order in which the journal is looked for on them. They have the positions.
	Places []Place
	// Clock tells the time. Required.
	Clock storage.Clock
	// Logger gets what an operator should know. Default: none.
	Logger *slog.Logger

	files filesystem // default osFiles
}

// Ledger holds the purges that count. It is the storage.Ledger of the stores,
// and their storage.Witness. Safe for concurrent use; make it with Open, end it
// with Close.
type Ledger struct {
	log     *slog.Logger
	clock   storage.Clock
	index   atomic.Pointer[index]
	seq     atomic.Uint64 // the newest purge in force
	journal *journal      // nil without
	unlock  func()

	// mu orders purges: number, index, records and journal agree. Never held
	// over a wait.
	mu       sync.Mutex
	epoch    epoch
	began    uint64    // where this process's sequences begin
	replayed uint64    // the newest sequence of the process before
	records  []*record // that count, in order
	named    int       // selectors in records
	held     int64     // about what records take in the journal, in bytes
	floor    uint64
	origin   uint64 // where the epoch begins: numbers below are of other ones
	swept    uint64 // every stored response has been judged up to here
	changed  chan struct{}
	closed   bool

	receipts receipts
	groups   groupSet
	sweeper  sweeper
	guards   guards
	pruned   message.Instant
	counts   [numKinds][numModes]atomic.Uint64
	taken    atomic.Uint64
	softened atomic.Uint64 // disks that may have missed purges
}

var (
	_ storage.Ledger  = (*Ledger)(nil)
	_ storage.Witness = (*Ledger)(nil)
	_ storage.Dater   = (*Ledger)(nil)
)

// runSpan is how many numbers are passed over at a start, so that none that the
// process before has given and lost is given again. It gives fewer than that in
// syncDelay.
const runSpan = 1 << 20

// Open returns a ledger with the purges of the journal in force. A journal that
// cannot be opened or written is an error; one that is damaged is kept aside, as
// PATH.damaged, and what could be read of it goes on in a new one.
func Open(o Options) (*Ledger, error) {
	l := &Ledger{log: o.Logger, clock: o.Clock, changed: make(chan struct{})}
	if l.log == nil {
		l.log = slog.New(slog.DiscardHandler)
	}
	if o.files == nil {
		o.files = osFiles{}
	}
	if l.clock == nil {
		return nil, errors.New("purge: a ledger without a clock")
	}
	l.pruned = l.clock()
	l.receipts.init()
	l.sweeper.init()
	l.guards.init(l.log, l.clock)
	_, _ = rand.Read(l.epoch[:]) // never fails
	l.index.Store(newIndex())
	if o.Path == "" && len(o.Places) > 0 {
		if err := l.settleAmong(&o); err != nil {
			return nil, err
		}
		return l, nil
	}
	if o.Path == "" {
		return l, nil
	}
	unlock, err := o.files.Lock(o.Path)
	if err != nil {
		return nil, fmt.Errorf("purge: the journal: %w", err)
	}
	if err := l.replay(&o); err != nil {
		unlock()
		return nil, err
	}
	l.unlock = unlock
	return l, nil
}

// replay takes over the journal of the process before, at the path that was named.
func (l *Ledger) replay(o *Options) error {
	c, err := readJournal(o.files, o.Path)
	if err != nil {
		return err
	}
	p := &place{Place: Place{Path: o.Path}, journal: c}
	if c != nil {
		p.past = readPast(o.files, o.Path, c.epoch)
	}
	known := []*place{p}
	for _, at := range o.Positions {
		known = append(known, &place{Place: Place{Position: at}})
	}
	return l.goOnAt(o.files, p, known, p.doubtNamed(o.Positions))
}

// takeOver goes on with a journal at path, with what was there: nil for nothing.
// another: under the epoch that the ledger has. With an error it can be called again,
// for another path.
func (l *Ledger) takeOver(fs filesystem, path string, c *contents, another bool) error {
	if c == nil {
		c = &contents{epoch: l.epoch}
	}
	if c.damage != nil {
		l.log.Error("the purge journal is damaged: what can be read of it is kept, and disks count as purged", "path", path, "error", c.damage)
		if err := fs.Rename(path, path+".damaged"); err != nil {
			return fmt.Errorf("purge: keeping a damaged journal aside: %w", err)
		}
	}
	if c.damage == nil && !another {
		l.epoch = c.epoch
	}
	l.floor, l.records, l.named, l.held = c.floor, nil, 0, 0
	x := newIndex()
	x.floor = c.floor
	l.index.Store(x)
	for i := range c.records {
		r := &c.records[i]
		x.insert(r, false)
		l.records = append(l.records, r)
		l.count(r, 1)
	}
	l.replayed = c.last
	l.began = (c.last/runSpan + 1) * runSpan
	if l.origin = c.origin; l.epoch != c.epoch || c.last == 0 {
		l.origin = l.began // it is a new one
	}
	l.seq.Store(l.began)
	j := &journal{fs: fs, path: path, clock: l.clock, synced: l.guards.tell, failing: l.fail, health: l.health, cur: newBatch(),
		wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{})}
	j.whole = func() ([]byte, uint64, *batch) { return l.whole(j) }
	l.journal = j
	if _, err := j.rewrite(); err != nil {
		if another || j.continueInPlace(c, l.began) != nil {
			return err
		}
		l.log.Warn("the purge journal cannot be written anew: it goes on in the file that there is", "path", path, "error", err)
	}
	go j.run()
	return nil
}

// whole returns all that the journal must hold, with the newest sequence, and takes
// the batch that is being gathered.
func (l *Ledger) whole(j *journal) ([]byte, uint64, *batch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	data := appendHeader(nil, l.epoch, l.floor, l.origin)
	started := false
	start := func() {
		data = appendStart(data, l.began, l.clock())
		started = true
	}
	for _, r := range l.records {
		if r.seq > l.began && !started {
			start()
		}
		data = appendPurge(data, r)
	}
	if !started && l.began > l.floor {
		start()
	}
	return data, l.seq.Load(), j.take()
}

// health is told by the journal.
func (l *Ledger) health(err error) {
	if err != nil {
		l.log.Error("the purge journal cannot be written: purges are in force, but not on stable storage", "error", err)
	} else {
		l.log.Info("the purge journal is written again")
	}
}

// Sequence returns the number of the newest purge.
func (l *Ledger) Sequence() uint64 { return l.seq.Load() }

// Judge says what the purges after since do to an entry. It does not allocate.
func (l *Ledger) Judge(e storage.Entry, since uint64) storage.Verdict {
	return l.index.Load().judge(e.Names(), since)
}

// StaleSince returns when the first soft purge after since came that makes an entry
// stale. It does not allocate.
func (l *Ledger) StaleSince(e storage.Entry, since uint64) message.Instant {
	return l.index.Load().staleSince(e.Names(), since)
}

// Took counts an entry for the receipts of the purges that took it.
func (l *Ledger) Took(e storage.Entry, since uint64, flags message.TermFlags, removed bool) {
	l.taken.Add(1)
	hard, soft := l.index.Load().takers(e.Names(), since)
	if flags.Has(message.TermHitForMiss) {
		return // no response, but the memory that there is none to share
	}
	// One that removes may have come in force since the store asked: it counts when
	// it removes.
	if hard != 0 && removed {
		l.receipts.count(hard)
	}
	// What was soft-purged before is stale already.
	if soft != 0 && !flags.Has(message.TermSoftPurged) {
		l.receipts.count(soft)
	}
}

// Purge puts a purge in force. When it returns, no look-up that starts later
// finds what it selects as fresh; and with a nil error it is on stable storage,
// where there is a journal. With ErrNotDurable it is in force all the same, and
// the receipt is valid; with any other error nothing has happened. When ctx ends
// first, the purge is in force and nobody knows whether it is durable:
// ErrNotDurable.
func (l *Ledger) Purge(ctx context.Context, p *Purge) (*Receipt, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	receipt, b, err := l.enter(p, true)
	if err != nil {
		return nil, err
	}
	l.sweeper.want()
	if b == nil {
		return receipt, nil
	}
	select {
	case <-b.done:
		return receipt, b.err
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.DeadlineExceeded) { // else nobody is told
			l.guards.fail(receipt.Sequence, nil)
		}
		return receipt, fmt.Errorf("%w yet: %w", ErrNotDurable, context.Cause(ctx))
	}
}

// queuedWait is how long Invalidate waits for the journal where more than maxQueued
// waits for it: a client then causes so much a second, and is not held up for longer
// by a disk that does not answer.
const queuedWait = 100 * time.Millisecond

// Invalidate puts a purge in force that is written to the journal, but not
// waited for: the purges that clients can cause.
func (l *Ledger) Invalidate(s Selector) error {
	p := &Purge{Selectors: []Selector{s}, Mode: Invalid}
	if err := p.check(); err != nil {
		return err
	}
	_, b, err := l.enter(p, false)
	if err != nil || b == nil {
		return err
	}
	if l.journal.queued(b) > maxQueued {
		t := time.NewTimer(queuedWait)
		defer t.Stop()
		select {
		case <-b.done:
		case <-t.C:
		}
	}
	return nil
}

// queued is how many bytes wait in b.
func (j *journal) queued(b *batch) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(b.data)
}

// enter gives p its number and puts it in force.
func (l *Ledger) enter(p *Purge, wait bool) (*Receipt, *batch, error) {
	own := Purge{Selectors: append([]Selector(nil), p.Selectors...), Mode: p.Mode}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, nil, ErrClosed
	}
	r := &record{seq: l.seq.Load() + 1, when: l.clock(), Purge: own}
	l.records = append(l.records, r)
	l.count(r, 1)
	var receipt *Receipt
	if p.Mode != Invalid {
		receipt = l.receipts.open(l.id(r.seq), r)
	}
	l.index.Load().insert(r, receipt != nil)
	for _, s := range r.Selectors {
		l.counts[s.Kind][r.Mode].Add(1)
	}
	if l.due() {
		l.sweeper.want() // what clients cause has no other that wants it
	}
	// From here on it is in force: the index first, then the number by which
	// look-ups learn that there is something to ask.
	l.seq.Store(r.seq)
	close(l.changed)
	l.changed = make(chan struct{})
	if l.journal == nil {
		return receipt, nil, nil
	}
	return receipt, l.journal.add(r, wait), nil
}

// id names a purge: no other purge of any node has it.
func (l *Ledger) id(seq uint64) string {
	return hex.EncodeToString(l.epoch[:6]) + "-" + strconv.FormatUint(seq, 10)
}

// Close ends the background work and writes what is left. Purge returns
// ErrClosed from then on; Judge goes on working.
func (l *Ledger) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	close(l.changed)
	l.mu.Unlock()
	l.sweeper.close()
	if l.journal == nil {
		return l.guards.close()
	}
	err := l.journal.close()
	if err != nil {
		l.guards.fail(l.seq.Load(), nil)
	}
	err = errors.Join(err, l.guards.close())
	l.unlock()
	if err != nil {
		return err
	}
	if l.journal.broken.Load() {
		return ErrNotDurable
	}
	return nil
}
