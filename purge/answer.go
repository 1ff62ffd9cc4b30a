package purge

import (
	"context"
	"encoding/json"
	"errors"
)

// Answer is what is said of a purge, in JSON.
type Answer struct {
	ID       string `json:"id"`
	Sequence uint64 `json:"sequence"`
	// Matched is how many stored responses it took; where Exact is false, so
	// many so far.
	Matched int64 `json:"matched"`
	Exact   bool  `json:"exact"`
	Soft    bool  `json:"soft"`
	// Applied: it is in force. Durable: it is on stable storage, or there is no
	// journal because nothing that is stored outlives the process either.
	Applied bool `json:"applied"`
	Durable bool `json:"durable"`
	// Detail says, where it is not durable, what a restart would do.
	Detail string `json:"detail,omitempty"`
	Nodes  Nodes  `json:"nodes"`
}

// Nodes is how many nodes a purge concerns, and where it is in force. There is
// this one.
type Nodes struct {
	Acked int `json:"acked"`
	Total int `json:"total"`
}

// Refusal is what is said instead where nothing was done.
type Refusal struct {
	Error   string `json:"error"`
	Applied bool   `json:"applied"`
}

// Answer says of r what is known now. err is what Purge returned beside it.
func (r *Receipt) Answer(err error) *Answer {
	n, exact := r.Matched()
	return &Answer{ID: r.ID, Sequence: r.Sequence, Matched: n, Exact: exact, Soft: r.Mode == Soft,
		Applied: true, Durable: err == nil, Nodes: Nodes{Acked: 1, Total: 1}}
}

// Request purges and says what came of it: the HTTP status and what to send with
// it, an Answer or a Refusal. It waits for the count a while.
func (l *Ledger) Request(ctx context.Context, p *Purge) (status int, answer any) {
	r, err := l.Purge(ctx, p)
	if r == nil {
		status = 400
		if errors.Is(err, ErrClosed) {
			status = 503
		}
		return status, &Refusal{Error: err.Error()}
	}
	if err != nil {
		a := r.Answer(err)
		a.Detail = l.Guard().String()
		return 503, a
	}
	r.Wait(l.CountWait())
	return 200, r.Answer(nil)
}

// PurgeURLs purges targets of a URI origin, in the key's form, and returns what
// Request does, in JSON.
func (l *Ledger) PurgeURLs(ctx context.Context, scheme, authority string, targets []string, soft bool) (status int, answer []byte) {
	p := &Purge{Mode: Hard}
	if soft {
		p.Mode = Soft
	}
	for _, target := range targets {
		p.Selectors = append(p.Selectors, Selector{Kind: URL, Scheme: scheme, Authority: authority, Name: target})
	}
	status, said := l.Request(ctx, p)
	text, err := json.Marshal(said)
	if err != nil {
		panic("purge: an answer that is not JSON: " + err.Error()) // it holds nothing that could fail
	}
	return status, append(text, '\n')
}
