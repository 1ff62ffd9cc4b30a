package purge

import (
	"context"
	"errors"
	"sort"

	"edge/message"
)

// MaxPage is how many purges Since returns at a time.
const MaxPage = 1000

// ErrBehind: purges after the follower's number are not known any more, or its
// number is of another epoch. To miss none, it soft-purges everything and goes
// on from the number it is given.
var ErrBehind = errors.New("purge: fallen behind")

// Event is a purge as a follower sees it.
type Event struct {
	ID       string
	Sequence uint64
	When     message.Instant
	Purge
}

// Page is what a follower gets.
type Page struct {
	// Epoch names the line of sequences. Sequence is where to go on.
	Epoch    string
	Sequence uint64
	Events   []Event
}

// Since returns the purges after a number, the oldest first, and where there
// are none waits for one until ctx ends. The epoch, where not empty, must be
// the ledger's; where it is empty, a number from before the epoch is another's, but for 0
// in the first there was. (Of two epochs that no disk knew both of, the numbers may be
// the same; so it should be given.) With ErrBehind the page says where to go on. A purge that was
// superseded by a later one of the same selectors is left out.
func (l *Ledger) Since(ctx context.Context, epoch string, since uint64) (*Page, error) {
	for {
		page, changed, err := l.page(epoch, since)
		if err != nil || len(page.Events) > 0 {
			return page, err
		}
		select {
		case <-ctx.Done():
			return page, nil
		case <-changed:
		}
	}
}

// page returns what there is, and what is closed when there is more.
func (l *Ledger) page(epoch string, since uint64) (*Page, <-chan struct{}, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := &Page{Epoch: l.epoch.String(), Sequence: l.seq.Load()}
	first := since == 0 && l.origin <= runSpan
	another := epoch != "" && epoch != p.Epoch || epoch == "" && since < l.origin && !first
	if another || since < l.floor || since > p.Sequence {
		return p, nil, ErrBehind
	}
	if l.closed {
		return p, nil, ErrClosed
	}
	at := sort.Search(len(l.records), func(i int) bool { return l.records[i].seq > since })
	for _, r := range l.records[at:] {
		if len(p.Events) == MaxPage {
			p.Sequence = p.Events[MaxPage-1].Sequence
			break
		}
		p.Events = append(p.Events, Event{ID: l.id(r.seq), Sequence: r.seq, When: r.when, Purge: r.Purge})
	}
	return p, l.changed, nil
}
