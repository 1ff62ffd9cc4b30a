package purge

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// Where the journal is, and whether it is believed. If nobody named a place, it is on one
// of the disks, so that it can be had wherever anything is stored. But disks come and go,
// and each may bring a journal of its own, from when another was absent. Which of them
// holds all purges is told by witnesses: each disk's position has the epoch of the journal
// that it was under when it was used last, and each journal keeps the epochs that were
// there before its own (its past). The rule:
//
//	A journal is believed if every disk has been read and has a position under that
//	journal or one of its past, no further than it goes, and there is no other journal
//	but of its past. It goes on, and what is on disks under another is soft-purged by
//	Attach. If none is believed, the first that there is goes on, under a new epoch: by
//	that everything on every disk is soft-purged. If there is none, one is made on the
//	first disk where it can be.
//
// Why that is enough: let a purge have been answered under epoch f, by a process that had
// disk x. Its journal told x so before anything was found there (Attach), so x has epoch
// f, until a process that had x went on under another. Now a journal of epoch e is
// believed, and x is under e or its past. If e is f, its position on x says that the
// journal holds the purge. If not, e began after f was seen, or x was soft-purged when it
// came under e or its past, and so was every other disk that was under f. And f cannot have
// been gone on with after e began: a disk that was attached then was under e, which is
// not of f's past, as that is written once, when f begins. Where x cannot be read, or has
// no position, because it is new, or nothing is mounted there, nobody can tell whether
// there was such a purge; so nothing is believed.
//
// Nothing hangs on what is done first: that the others are put aside (PATH.stale) only
// spares the next process a look at them, and a process that is killed in between
// leaves witnesses of either the journals that were or the one that is.
//
// Where a place is named, the journal there is believed if no disk's position says
// otherwise: what cannot be read, or has none, is not counted (doubtNamed).
//
// The past is in a file beside the journal, PATH.past: a line of text that names the
// format, one with the epoch that it is the past of, and one for each epoch, in
// hexadecimal. It is written before that epoch begins. One that is lost, or is another
// epoch's, is no past; then more is validated than has to be.
const (
	pastSuffix  = ".past"
	staleSuffix = ".stale"
	pastFormat  = "edge journal past 1"
	// maxPast is how many epochs a past has at most, the last ones.
	maxPast = 64
	// maxPastFile bounds the file, in bytes.
	maxPastFile = 8 << 10
)

// Place is one of the disks, as a place for the journal.
type Place struct {
	// Path is where the journal's file is or would be.
	Path string
	// Position is the disk's, read before anything else has happened.
	Position Position
	// Away is why the disk cannot be read, and then nothing is done there; nil: it can.
	Away error
}

// place is a Place and what is there.
type place struct {
	Place
	journal *contents // nil: none, or it cannot be read
	past    []string  // of the journal
	unread  error     // why it cannot be known whether there is a journal
	unfit   error     // why the journal cannot be there
}

// survey locks and reads all places, so that nobody else has a journal at any. It is an
// error if somebody has, or if what is there is another version's: these are mistakes, and
// no disks that fail.
func survey(o *Options) (places []*place, unlock func(), err error) {
	var locks []func()
	unlock = func() {
		for _, f := range locks {
			f()
		}
	}
	for _, at := range o.Places {
		p := &place{Place: at, unread: at.Away, unfit: at.Away}
		places = append(places, p)
		if at.Away != nil {
			continue
		}
		release, err := o.files.Lock(at.Path)
		switch {
		case errors.Is(err, unix.EWOULDBLOCK):
			unlock()
			return nil, nil, fmt.Errorf("purge: the journal: %w", err)
		case err != nil: // it can be read all the same
			p.unfit = fmt.Errorf("purge: the journal: %w", err)
		default:
			locks = append(locks, release)
		}
		p.journal, p.unread = readJournal(o.files, at.Path)
		if errors.Is(p.unread, errUnlike) { // nobody named it: on a disk of ours it was one
			p.journal, p.unread = &contents{damage: p.unread}, nil
		}
		if errors.Is(p.unread, errForeign) {
			unlock()
			return nil, nil, p.unread
		}
		if p.unread != nil {
			p.unfit = p.unread
		}
		if p.journal != nil {
			p.past = readPast(o.files, at.Path, p.journal.epoch)
		}
	}
	return places, unlock, nil
}

// doubt says why the journal at p is not believed; "" where it is.
func (p *place) doubt(places []*place) string {
	if p.journal == nil {
		return "there is none on the disks that can be used"
	}
	if p.journal.damage != nil {
		return "it is damaged"
	}
	known := p.known()
	for _, q := range places {
		switch {
		case q.unread != nil:
			return "a disk that cannot be read may know of purges that it does not hold"
		case q.journal != nil && (q.journal.damage != nil || !slices.Contains(known, q.journal.epoch.String())):
			return "there is another, on another disk"
		case q.Position.Sequence == Missed || p.journal.lost([]Position{q.Position}):
			return "a disk was in use for purges that it does not hold"
		case !slices.Contains(known, q.Position.Epoch):
			return "a disk is new, or was in use with another"
		}
	}
	return ""
}

// known returns the epoch of the journal at p, and its past.
func (p *place) known() []string {
	return append([]string{p.journal.epoch.String()}, p.past...)
}

// doubtNamed is doubt where the journal's place was named, and disks need not have one:
// what does not know of it has missed no more than what Attach sees to, but what was in use
// with one that it does not know of may be all that is left of purges that it does not hold.
func (p *place) doubtNamed(positions []Position) string {
	switch {
	case p.journal == nil:
		return "there is none"
	case p.journal.damage != nil:
		return "it is damaged"
	case p.journal.lost(positions):
		return "a disk was in use for purges that it does not hold"
	}
	known := p.known()
	for _, at := range positions {
		if at.Epoch != "" && !slices.Contains(known, at.Epoch) {
			return "a disk was in use with another"
		}
	}
	return ""
}

// choose returns where the journal goes on, and why it does so as another; nil: there is
// no place for it.
func choose(places []*place) (chosen *place, doubt string) {
	fit := slices.DeleteFunc(slices.Clone(places), func(p *place) bool { return p.unfit != nil })
	for _, p := range fit {
		if p.doubt(places) == "" {
			return p, ""
		}
	}
	for _, p := range fit {
		if p.journal != nil {
			return p, p.doubt(places)
		}
	}
	if len(fit) == 0 {
		return nil, ""
	}
	return fit[0], fit[0].doubt(places)
}

// settleAmong takes over the journal on one of the disks, or makes one. On an error, which is
// of the first of them, there is none.
func (l *Ledger) settleAmong(o *Options) error {
	places, unlock, err := survey(o)
	if err != nil {
		return err
	}
	for {
		p, doubt := choose(places)
		if p == nil {
			unlock()
			return places[0].unfit
		}
		if p.unfit = l.goOnAt(o.files, p, places, doubt); p.unfit != nil {
			l.log.Error("the purge journal cannot be on a disk", "path", p.Path, "error", p.unfit)
			continue
		}
		for _, q := range places {
			if q != p && q.Away == nil && (q.journal != nil || q.unread != nil) {
				l.putAside(o.files, q)
			}
		}
		l.unlock = unlock
		return nil
	}
}

// goOnAt takes over the journal at p, if there is a doubt as another.
func (l *Ledger) goOnAt(fs filesystem, p *place, places []*place, doubt string) error {
	if doubt == "" {
		return l.takeOver(fs, p.Path, p.journal, false)
	}
	_, _ = rand.Read(l.epoch[:]) // never fails. An attempt that failed may have left the one before
	past := pastOf(places)
	if len(past) > 0 || p.Position.Sequence == Missed {
		l.log.Error("the purge journal may not hold all purges that the disks were in use for: it goes on as another, and what is on the disks is validated before it is used", "path", p.Path, "why", doubt)
	}
	if len(past) > 0 {
		if err := writePast(fs, p.Path, l.epoch, past); err != nil {
			return err
		}
	}
	epoch := l.epoch.String()
	if err := l.takeOver(fs, p.Path, p.journal, true); err != nil {
		// It may be there all the same, and then it is of the past of the next attempt's.
		p.past = append(p.past, epoch)
		return err
	}
	return nil
}

// putAside gives a journal that is not gone on with another name.
func (l *Ledger) putAside(fs filesystem, p *place) {
	err := fs.Rename(p.Path, p.Path+staleSuffix)
	if err == nil {
		err = fs.SyncDir(p.Path)
	}
	if errors.Is(err, errNotExist) {
		return
	}
	if err != nil {
		l.log.Warn("a purge journal that is not in use any more cannot be put aside", "path", p.Path, "error", err)
		return
	}
	l.log.Info("a purge journal that is not in use any more is put aside", "path", p.Path+staleSuffix)
}

// pastOf returns all epochs that are known of at the places, those that were in use
// last at the end.
func pastOf(places []*place) []string {
	var list []string
	add := func(epochs ...string) {
		for _, e := range epochs {
			if e != "" && !slices.Contains(list, e) {
				list = append(list, e)
			}
		}
	}
	for _, p := range places {
		add(p.past...)
	}
	for _, p := range places {
		if p.journal != nil && p.journal.epoch != (epoch{}) {
			add(p.journal.epoch.String())
		}
		add(p.Position.Epoch)
	}
	return list[max(0, len(list)-maxPast):]
}

// readPast returns the past of an epoch; nothing if none is known.
func readPast(fs filesystem, path string, of epoch) []string {
	data, err := fs.ReadFile(path+pastSuffix, maxPastFile)
	if err != nil {
		return nil
	}
	lines := bytes.Split(data, []byte("\n"))
	end := len(lines) - 1 // behind the last line's end there is nothing
	if end < 2 || string(lines[0]) != pastFormat || string(lines[1]) != of.String() || len(lines[end]) > 0 {
		return nil
	}
	var past []string
	for _, e := range lines[2:end] {
		var known epoch
		if n, err := hex.Decode(known[:], e[:min(len(e), 2*len(known))]); err != nil || n != len(known) || len(e) != 2*n {
			return nil // an empty one would be known to be the past of a disk that has none
		}
		past = append(past, string(e))
	}
	return past
}

// writePast writes the past of an epoch. It survives power loss.
func writePast(fs filesystem, path string, of epoch, past []string) error {
	data := fmt.Appendf(nil, "%s\n%s\n", pastFormat, of)
	for _, e := range past {
		data = fmt.Appendf(data, "%s\n", e)
	}
	f, _, _, err := writeWhole(fs, path+pastSuffix, data, false)
	if err != nil {
		return err
	}
	_ = f.Close() // it is on stable storage
	return nil
}
