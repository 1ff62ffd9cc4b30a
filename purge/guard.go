package purge

import (
	"errors"
	"log/slog"
	"sync"
	"time"

	"edge/cache/storage"
	"edge/message"
)

const (
	// tellWait is how long an answer waits for disks to note how far the journal
	// goes. A disk that takes longer is not waited for until it has caught up.
	tellWait = 20 * time.Millisecond
	// markWait is how long the first answer that a purge is not durable waits for
	// disks to note that the journal is not to be believed.
	markWait = 2 * time.Second
)

// guards see to it that what is on the disks is never believed to have met purges
// that it has not (disk.go has the rule). Safe for concurrent use.
type guards struct {
	log   *slog.Logger
	clock storage.Clock
	stop  chan struct{}

	mu   sync.Mutex // a leaf: no disk is asked under it
	list []*guard
	// epoch and durable are the journal's: all purges up to durable are on stable
	// storage. missed is the newest of those that may not be.
	epoch           string
	durable, missed uint64
	cover           cover
	changed         chan struct{} // closed when a guard has tried something
}

// cover is what became of the last attempt to have something outlive the process
// that says that the journal is incomplete, where not each disk says so itself.
type cover uint8

const (
	coverUnknown cover = iota // it is being tried
	coverAside                // there is no journal of that name any more
	coverNone
)

// guard sees to one disk. Its goroutine alone asks the disk.
type guard struct {
	all  *guards
	d    Disk
	wake chan struct{} // capacity 1
	done chan struct{}

	// Under all.mu, written by the goroutine.
	saw, synced uint64          // the positions that the disk has: after a kill, after a power loss
	tried       uint64          // the newest that was tried
	owesSoft    bool            // SoftPurge is to be called again: until then no position is put on the disk
	failing     bool            // the last attempt failed
	out         bool            // of use
	slow        bool            // not waited for
	syncAt      message.Instant // when what it has seen is to be synced; 0: it is
}

func (a *guards) init(log *slog.Logger, clock storage.Clock) {
	a.log, a.clock = log, clock
	a.stop, a.changed = make(chan struct{}), make(chan struct{})
}

// target is the position that disks should have. Under mu.
func (a *guards) target() uint64 {
	if a.missed > a.durable {
		return Missed
	}
	return a.durable
}

// add begins to guard a disk.
func (a *guards) add(d Disk, owesSoft bool) {
	g := &guard{all: a, d: d, owesSoft: owesSoft, wake: make(chan struct{}, 1), done: make(chan struct{})}
	a.mu.Lock()
	a.list = append(a.list, g)
	a.mu.Unlock()
	g.settle() // before anything is stored on it
	g.settleSync()
	go g.run()
}

// begin says what journal there is.
func (a *guards) begin(epoch string, durable uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.epoch, a.durable = epoch, max(a.durable, durable)
}

// tell says how far the journal is durable, and waits a moment for the disks to have
// noted it: then not even a journal that an older copy is put in the place of, after a
// kill, goes unnoticed.
func (a *guards) tell(durable uint64) {
	a.mu.Lock()
	a.durable = max(a.durable, durable)
	if a.missed <= a.durable {
		a.cover = coverUnknown
	}
	want := a.target()
	a.poke()
	a.mu.Unlock()
	a.wait(tellWait, func(g *guard) bool { return g.slow || g.tried == want })
	a.mu.Lock()
	for _, g := range a.list {
		g.slow = g.tried != want
	}
	a.mu.Unlock()
}

// fail says that purges up to seq may not be in the journal, and waits for the disks
// to have noted that they are not to be believed. aside, where not nil, is called
// where no disk could be marked: it makes the journal unfindable, and says whether
// that is done.
func (a *guards) fail(seq uint64, aside func() bool) {
	a.mu.Lock()
	a.missed = max(a.missed, seq)
	due, known := a.missed > a.durable && len(a.list) > 0 && a.cover != coverAside, a.cover == coverNone
	a.poke()
	a.mu.Unlock()
	if !due {
		return
	}
	a.wait(markWait, func(g *guard) bool { return known || g.tried == Missed })
	a.mu.Lock()
	marked := 0
	for _, g := range a.list {
		if g.marked() {
			marked++
		}
	}
	a.mu.Unlock()
	result := coverNone
	if marked == 0 && aside != nil && aside() {
		result = coverAside
	}
	a.mu.Lock()
	if a.missed > a.durable && a.cover != coverAside {
		a.cover = result
	}
	a.poke()
	a.mu.Unlock()
	// Those that could not be marked are taken out now.
	a.wait(markWait, func(g *guard) bool { return g.tried == Missed && (result == coverAside || g.marked() || g.out) })
}

// found says that there may be a journal again, an incomplete one, though it was put aside.
func (a *guards) found() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.cover == coverAside {
		a.cover = coverUnknown
	}
}

// marked reports whether the disk says of itself that it is not to be believed. Under
// all.mu.
func (g *guard) marked() bool { return g.owesSoft || g.saw == Missed && g.synced == Missed }

// poke wakes every guard. Under mu.
func (a *guards) poke() {
	for _, g := range a.list {
		select {
		case g.wake <- struct{}{}:
		default:
		}
	}
}

// wait waits until all guards are as they should be, d at most.
func (a *guards) wait(d time.Duration, settled func(*guard) bool) {
	var timer *time.Timer
	for {
		a.mu.Lock()
		ready := true
		for _, g := range a.list {
			ready = ready && settled(g)
		}
		changed := a.changed
		a.mu.Unlock()
		if ready {
			return
		}
		if timer == nil {
			timer = time.NewTimer(d)
			defer timer.Stop()
		}
		select {
		case <-changed:
		case <-timer.C:
			return
		case <-a.stop:
			return
		}
	}
}

// run guards until the end.
func (g *guard) run() {
	defer close(g.done)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		timer.Reset(g.settle())
		select {
		case <-g.wake:
		case <-timer.C:
		case <-g.all.stop:
			g.settle()
			g.settleSync()
			if err := g.d.Close(); err != nil {
				g.all.log.Warn("closing a disk's position in the purge journal", "disk", g.d.Name(), "error", err)
			}
			return
		}
	}
}

// settle brings the disk to where it should be, and says how long it is until there
// is something to do again.
func (g *guard) settle() time.Duration {
	g.all.mu.Lock()
	want, epoch, owes := g.all.target(), g.all.epoch, g.owesSoft
	saw, synced, due := g.saw, g.synced, g.syncAt != 0 && g.all.clock() >= g.syncAt
	g.all.mu.Unlock()
	var err error
	if owes {
		if err = g.d.SoftPurge(); err == nil {
			owes = false
			g.all.log.Info("everything on a disk counts as stale, for good", "disk", g.d.Name())
		}
	}
	switch {
	case owes: // the position that it has says already that it is not to be believed
	case want == Missed && (saw != Missed || synced != Missed):
		if err = g.mark(epoch); err == nil {
			saw, synced = Missed, Missed
		}
	case want != Missed && saw != want:
		if err = g.d.Saw(epoch, want); err == nil {
			saw = want
		} else if g.d.Forget() == nil { // an older one would believe an older journal
			saw, synced = Missed, Missed
		}
	}
	if err == nil && due && synced != saw {
		if err = g.d.Sync(); err == nil {
			synced = saw
		}
	}
	return g.note(want, saw, synced, owes, err)
}

// mark makes the disk one that is not believed, durably: by a position that no journal
// reaches, or none at all.
func (g *guard) mark(epoch string) error {
	err := g.d.Saw(epoch, Missed)
	if err == nil {
		err = g.d.Sync()
	}
	if err == nil {
		return nil
	}
	if e := g.d.Forget(); e != nil {
		return errors.Join(err, e)
	}
	return nil
}

// note keeps what came of an attempt, tells those who wait, and takes the disk out of
// use or back.
func (g *guard) note(want, saw, synced uint64, owes bool, err error) time.Duration {
	a, name := g.all, g.d.Name()
	a.mu.Lock()
	was, wasOut, wasMarked := g.failing, g.out, g.saw == Missed && g.synced == Missed
	g.saw, g.synced, g.owesSoft, g.failing = saw, synced, owes, err != nil
	again := time.Hour
	switch {
	case err != nil:
		again = retryInterval
	case saw == synced:
		g.syncAt = 0
	default:
		if g.syncAt == 0 {
			g.syncAt = a.clock().Add(int64(syncDelay))
		}
		again = time.Duration(g.syncAt.Sub(a.clock()))
	}
	out := want == Missed && !g.marked() && a.cover == coverNone
	g.tried = want
	a.mu.Unlock()
	if out && !wasOut {
		a.log.Error("a disk is taken out of use: neither the purge journal nor that it is incomplete can be written, so that a restart may undo purges",
			"disk", name, "error", err)
	} else if err != nil && !was {
		a.log.Warn("a disk cannot be told how far the purge journal goes", "disk", name, "error", err)
	}
	if marked := saw == Missed && synced == Missed; marked && !wasMarked {
		a.log.Warn("a disk is marked: should the process end now, all of it is validated before reuse", "disk", name)
	} else if wasMarked && !marked {
		a.log.Info("a disk's mark is taken off: the purge journal holds everything", "disk", name)
	}
	if out != wasOut {
		var why error
		if out {
			why = errors.Join(errors.New("purge: neither the journal nor a mark on the disk can be written"), err)
		}
		g.d.Use(why)
		if !out {
			a.log.Info("a disk is in use again", "disk", name)
		}
	}
	a.mu.Lock()
	g.out = out
	close(a.changed)
	a.changed = make(chan struct{})
	a.mu.Unlock()
	return again
}

// settleSync makes the position that the disk has survive power loss.
func (g *guard) settleSync() {
	g.all.mu.Lock()
	saw, due := g.saw, g.saw != g.synced && !g.owesSoft
	g.all.mu.Unlock()
	if !due {
		return
	}
	err := g.d.Sync()
	if err != nil {
		g.all.log.Warn("a disk's position in the purge journal is not on stable storage", "disk", g.d.Name(), "error", err)
		return
	}
	g.all.mu.Lock()
	g.synced, g.syncAt = saw, 0
	g.all.mu.Unlock()
}

// close puts the last position on the disks and ends the guarding, within
// closeTimeout.
func (a *guards) close() error {
	close(a.stop)
	t := time.NewTimer(closeTimeout)
	defer t.Stop()
	for _, g := range a.list { // which nobody adds to any more
		select {
		case <-g.done:
		case <-t.C:
			return errors.New("purge: a disk was not told its position in the journal in time")
		}
	}
	return nil
}

// Guard says how far the disks are safe from what the journal does not hold.
type Guard struct {
	// Disks is how many there are. Marked are those that say of themselves that
	// they are not to be believed after a restart, Untold those that could not be
	// told how far the journal goes, Out those that are out of use.
	Disks, Marked, Untold, Out int
	// Aside: the journal is incomplete, and was put aside. Unsafe: it is incomplete,
	// and nothing says so that outlives the process.
	Aside, Unsafe bool
}

// String says what becomes of a purge that is not in the journal if the process ends.
func (g Guard) String() string {
	const broken = "the journal cannot be written: "
	switch {
	case g.Disks == 0:
		return broken + "nothing that is stored outlives the process either"
	case g.Marked > 0 || g.Aside:
		return broken + "if the process ends before it can be, everything on the disks is validated before it is used again"
	case !g.Unsafe:
		return broken + "no purge is missing from it yet"
	}
	return "neither the journal nor the disks can be written: the disks are out of use, but if the process ends before either can be, what was purged may be found on them again"
}

// state returns the state now.
func (a *guards) state() Guard {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := Guard{Disks: len(a.list), Aside: a.cover == coverAside}
	for _, g := range a.list {
		if g.marked() {
			s.Marked++
		}
		if g.failing {
			s.Untold++
		}
		if g.out {
			s.Out++
		}
	}
	s.Unsafe = a.missed > a.durable && a.cover == coverNone && s.Marked == 0
	return s
}
