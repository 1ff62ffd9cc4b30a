package purge

import (
	"sync"
	"sync/atomic"
	"time"

	"edge/message"
)

// Bounds on receipts.
const (
	// maxReceipts is how many receipts are kept, the newest.
	maxReceipts = 10000
	// ExactUpTo is how many stored responses a purge's answer counts exactly.
	ExactUpTo = 10000
)

// Receipt is what became of one purge. Safe for concurrent use.
type Receipt struct {
	// ID names the purge. Sequence is its number at this node.
	ID       string
	Sequence uint64
	Mode     Mode
	// When it came into force.
	When message.Instant
	// Selectors is how many there were.
	Selectors int

	matched atomic.Int64
	done    chan struct{} // closed when matched is final
	enough  chan struct{} // closed when matched is beyond ExactUpTo
	record  *record
}

// Matched returns how many stored responses the purge took, each variant once,
// and none that an earlier purge had taken: those found so far, or where exact,
// all. What was evicted before it was found is not counted.
func (r *Receipt) Matched() (n int64, exact bool) {
	select {
	case <-r.done:
		return r.matched.Load(), true
	default:
		return r.matched.Load(), false
	}
}

// Done is closed when Matched is final.
func (r *Receipt) Done() <-chan struct{} { return r.done }

// Wait waits until Matched is final or beyond ExactUpTo, d at most.
func (r *Receipt) Wait(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-r.done:
	case <-r.enough:
	case <-t.C:
	}
}

// receipts is a bounded history of receipts.
type receipts struct {
	mu   sync.Mutex // a leaf
	byID map[string]*Receipt
	ring []*Receipt // at[n % maxReceipts] is the n-th
	n    int
	// counting are those that are not final, in order, and by sequence.
	counting []*Receipt
	bySeq    map[uint64]*Receipt
}

func (h *receipts) init() {
	h.byID = make(map[string]*Receipt)
	h.bySeq = make(map[uint64]*Receipt)
}

// open adds a receipt, in the place of the oldest where there are too many.
func (h *receipts) open(id string, r *record) *Receipt {
	receipt := &Receipt{ID: id, Sequence: r.seq, Mode: r.Mode, When: r.when, Selectors: len(r.Selectors),
		done: make(chan struct{}), enough: make(chan struct{}), record: r}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.n < maxReceipts {
		h.ring = append(h.ring, receipt)
	} else {
		oldest := &h.ring[h.n%maxReceipts]
		delete(h.byID, (*oldest).ID)
		*oldest = receipt
	}
	h.n++
	h.byID[id] = receipt
	h.bySeq[r.seq] = receipt
	h.counting = append(h.counting, receipt)
	return receipt
}

// count counts one response for the purge with that number.
func (h *receipts) count(seq uint64) {
	h.mu.Lock()
	r := h.bySeq[seq]
	h.mu.Unlock()
	if r != nil {
		r.add(1)
	}
}

// add counts n more.
func (r *Receipt) add(n int64) {
	if now := r.matched.Add(n); now > ExactUpTo && now-n <= ExactUpTo {
		close(r.enough)
	}
}

// counted returns the receipt of the purge with that number, if it is not final.
func (h *receipts) counted(seq uint64) *Receipt {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.bySeq[seq]
}

// finish makes the receipts up to seq final, and returns them.
func (h *receipts) finish(seq uint64) []*Receipt {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	for n < len(h.counting) && h.counting[n].Sequence <= seq {
		r := h.counting[n]
		delete(h.bySeq, r.Sequence)
		close(r.done)
		n++
	}
	finished := h.counting[:n:n]
	if h.counting = h.counting[n:]; len(h.counting) == 0 {
		h.counting = nil
	}
	return finished
}

func (h *receipts) find(id string) (*Receipt, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	r, ok := h.byID[id]
	return r, ok
}

// pending is how many receipts are not final.
func (h *receipts) pending() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.counting)
}

// Receipt returns the receipt of a purge: of one of the newest maxReceipts of
// this process.
func (l *Ledger) Receipt(id string) (*Receipt, bool) { return l.receipts.find(id) }
