package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"edge/purge"
)

// Purges is what the purge API needs of the node. Implemented in the wiring.
type Purges struct {
	Ledger *purge.Ledger
	// Targets returns the targets that a purge of a URI names, its own first; nil:
	// it names that only.
	Targets func(scheme, authority, target string) []string
	// Purged is called once a purge of a URI is in force, for what answers it but
	// was stored for another meanwhile; may be nil.
	Purged func(scheme string, authority, target []byte, soft bool)
}

const (
	// maxFollow is how long GET /purges may be asked to wait.
	maxFollow = 60 * time.Second
	// purgeGrace is how long the answer to a purge may take beside the journal.
	purgeGrace = 5 * time.Second
)

// routePurges adds the purge API.
func (s *Server) routePurges(mux *http.ServeMux) {
	if s.opt.Purges == nil {
		return
	}
	mux.HandleFunc("POST /purge", s.purging(s.purgeNative))
	mux.HandleFunc("GET /purges/{id}", s.allow(ScopePurge|ScopeRead, s.receipt))
	mux.HandleFunc("GET /purges", s.allow(ScopeRead, s.follow))
	// Fastly's shape: the service's name is anybody's choice, there is one.
	mux.HandleFunc("POST /service/{service}/purge/{key}", s.purging(s.purgeKey))
	mux.HandleFunc("POST /service/{service}/purge", s.purging(s.purgeKeys))
	mux.HandleFunc("POST /service/{service}/purge_all", s.purging(s.purgeAll))
}

// purging lets requests pass that may purge, and say what in one place: of what a
// query adds nobody should believe that it counts.
func (s *Server) purging(next http.HandlerFunc) http.HandlerFunc {
	return s.allow(ScopePurge, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RawQuery != "" {
			refuse(w, http.StatusBadRequest, errors.New("a purge takes no query"))
			return
		}
		next(w, r)
	})
}

// allow lets requests pass whose token has one of the scopes; all of them where
// there are no tokens.
func (s *Server) allow(scopes Scope, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if s.opt.Tokens == nil {
			next(w, r)
			return
		}
		secret := bearer(r.Header.Get("Authorization"))
		switch {
		case s.opt.Tokens.Allows(secret, scopes):
			next(w, r)
		case s.opt.Tokens.scopes(secret) != 0:
			refuse(w, http.StatusForbidden, fmt.Errorf("the token's scopes do not allow this: it takes one of %v", scopes|ScopeAdmin))
		default:
			// RFC 9110 section 15.5.2: a 401 carries a challenge.
			w.Header().Set("WWW-Authenticate", `Bearer realm="edge admin"`)
			reason := "a token is needed: Authorization: Bearer ..."
			if len(secret) > 0 {
				reason = "the token is none of those in the tokens file"
			}
			refuse(w, http.StatusUnauthorized, errors.New(reason))
		}
	}
}

// purgeNative is POST /purge.
func (s *Server) purgeNative(w http.ResponseWriter, r *http.Request) {
	body, ok := readBody(w, r)
	if !ok {
		return
	}
	p, err := purge.ParseRequest(body)
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	s.purge(w, r, p)
}

// readBody reads a body within maxBody. False: it was answered.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, bool) {
	body, err := io.ReadAll(r.Body)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		refuse(w, http.StatusRequestEntityTooLarge, fmt.Errorf("the content has more than %d bytes", maxBody))
	case err != nil:
		refuse(w, http.StatusBadRequest, errors.New("the content broke off"))
	}
	return body, err == nil
}

// purge applies p, and answers.
func (s *Server) purge(w http.ResponseWriter, r *http.Request, p *purge.Purge) {
	status, answer := s.apply(r, p)
	reply(w, status, answer)
}

// fastlyAnswer is an answer in which Fastly's clients find the field that they look for.
type fastlyAnswer struct {
	Status string `json:"status"` // "ok"
	*purge.Answer
}

// purgeFastly is purge for what comes in Fastly's shape.
func (s *Server) purgeFastly(w http.ResponseWriter, r *http.Request, p *purge.Purge) {
	status, answer := s.apply(r, p)
	if a, ok := answer.(*purge.Answer); ok && status == http.StatusOK {
		answer = fastlyAnswer{"ok", a}
	}
	reply(w, status, answer)
}

// apply applies p, and returns what to answer.
func (s *Server) apply(r *http.Request, p *purge.Purge) (status int, answer any) {
	o := s.opt.Purges
	var urls []purge.Selector // as they were asked for
	for _, x := range p.Selectors {
		if x.Kind == purge.URL {
			urls = append(urls, x)
		}
	}
	p.Selectors = o.widen(p.Selectors, urls)
	ctx, cancel := context.WithTimeout(r.Context(), writeTimeout-purgeGrace)
	defer cancel()
	status, answer = o.Ledger.Request(ctx, p)
	if o.Purged != nil {
		for _, x := range urls {
			o.Purged(x.Scheme, []byte(x.Authority), []byte(x.Name), p.Mode == purge.Soft)
		}
	}
	return status, answer
}

// widen adds to list what else a purge of these URLs names: for each the one that
// its key has, for which there is always room, and as many of the others as there
// is room for; what is left out, Purged sees to.
func (o *Purges) widen(list, urls []purge.Selector) []purge.Selector {
	if o.Targets == nil {
		return list
	}
	var others []purge.Selector
	for _, x := range urls {
		for i, target := range o.Targets(x.Scheme, x.Authority, x.Name) {
			switch x.Name = target; i {
			case 0: // its own
			case 1:
				list = append(list, x)
			default:
				others = append(others, x)
			}
		}
	}
	return append(list, others[:min(len(others), 2*purge.MaxSelectors-len(list))]...)
}

// receipt is GET /purges/{id}.
func (s *Server) receipt(w http.ResponseWriter, r *http.Request) {
	receipt, ok := s.opt.Purges.Ledger.Receipt(r.PathValue("id"))
	if !ok {
		refuse(w, http.StatusNotFound, errors.New("no purge of that id is remembered"))
		return
	}
	reply(w, http.StatusOK, receipt.Answer(s.opt.Purges.Ledger.Durable(receipt)))
}

// event is a purge in the list.
type event struct {
	ID         string   `json:"id"`
	Sequence   uint64   `json:"sequence"`
	Time       string   `json:"time"`
	Mode       string   `json:"mode"`
	URLs       []string `json:"urls,omitempty"`
	Prefixes   []string `json:"prefixes,omitempty"`
	Tags       []string `json:"tags,omitempty"`
	Groups     []group  `json:"groups,omitempty"`
	Hosts      []string `json:"hosts,omitempty"`
	Everything bool     `json:"everything,omitempty"`
}

type group struct {
	Origin string `json:"origin"`
	Group  string `json:"group"`
}

// page is what GET /purges says. Behind: purges may have been missed, so that a
// follower soft-purges everything and goes on from sequence.
type page struct {
	Epoch    string  `json:"epoch"`
	Sequence uint64  `json:"sequence"`
	Behind   bool    `json:"behind"`
	Purges   []event `json:"purges"`
}

// follow is GET /purges?since=SEQ&wait=30s&epoch=EPOCH.
func (s *Server) follow(w http.ResponseWriter, r *http.Request) {
	q, err := arguments(r, "since", "wait", "epoch")
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	var since uint64
	var wait time.Duration
	if q.Has("since") {
		since, err = strconv.ParseUint(q.Get("since"), 10, 64)
	}
	if err == nil && q.Has("wait") {
		wait, err = time.ParseDuration(q.Get("wait"))
	}
	if err != nil || wait < 0 || wait > maxFollow {
		refuse(w, http.StatusBadRequest, fmt.Errorf("since is a number, and wait a duration up to %v", maxFollow))
		return
	}
	// The wait is ours, not a slow client's.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(wait + writeTimeout))
	ctx, cancel := context.WithTimeout(r.Context(), wait)
	defer cancel()
	found, err := s.opt.Purges.Ledger.Since(ctx, q.Get("epoch"), since)
	answer := page{Epoch: found.Epoch, Sequence: found.Sequence, Purges: []event{}}
	for i := range found.Events {
		answer.Purges = append(answer.Purges, eventOf(&found.Events[i]))
	}
	switch {
	case err == nil:
		reply(w, http.StatusOK, answer)
	case errors.Is(err, purge.ErrBehind):
		answer.Behind = true
		reply(w, http.StatusGone, answer)
	default:
		refuse(w, http.StatusServiceUnavailable, err)
	}
}

func eventOf(e *purge.Event) event {
	v := event{ID: e.ID, Sequence: e.Sequence, Mode: e.Mode.String(),
		Time: time.Unix(0, int64(e.When)).UTC().Format(time.RFC3339Nano)}
	for _, s := range e.Selectors {
		switch s.Kind {
		case purge.URL:
			v.URLs = append(v.URLs, s.String())
		case purge.Prefix:
			v.Prefixes = append(v.Prefixes, s.String())
		case purge.Tag:
			v.Tags = append(v.Tags, s.Name)
		case purge.Group:
			v.Groups = append(v.Groups, group{s.Scheme + "://" + s.Authority, s.Name})
		case purge.Host:
			v.Hosts = append(v.Hosts, s.Authority)
		case purge.Everything:
			v.Everything = true
		}
	}
	return v
}

// purgeKey is Fastly's purge of one key.
func (s *Server) purgeKey(w http.ResponseWriter, r *http.Request) {
	if noBody(w, r) {
		s.purgeTags(w, r, []string{r.PathValue("key")})
	}
}

// noBody refuses a body that says anything: whoever sends one where none is read
// believes that it counts. False: it was answered.
func noBody(w http.ResponseWriter, r *http.Request) bool {
	body, ok := readBody(w, r)
	if body = bytes.TrimSpace(body); ok && len(body) > 0 && string(body) != "{}" {
		refuse(w, http.StatusBadRequest, errors.New("this purge takes no content: softly, it is asked for with Fastly-Soft-Purge: 1"))
		return false
	}
	return ok
}

// purgeKeys is Fastly's purge of many: by the field Surrogate-Key, or by a body.
func (s *Server) purgeKeys(w http.ResponseWriter, r *http.Request) {
	body, ok := readBody(w, r)
	if !ok {
		return
	}
	var keys []string
	for _, value := range r.Header.Values("Surrogate-Key") {
		keys = append(keys, strings.Fields(value)...)
	}
	if len(body) > 0 {
		more, err := purge.DecodeKeys(body, "surrogate_keys")
		if err != nil {
			refuse(w, http.StatusBadRequest, err)
			return
		}
		keys = append(keys, more...)
	}
	if len(keys) == 0 {
		refuse(w, http.StatusBadRequest, errors.New(`the request names nothing to purge: name tags in Surrogate-Key, or in {"surrogate_keys": []}`))
		return
	}
	s.purgeTags(w, r, keys)
}

func (s *Server) purgeTags(w http.ResponseWriter, r *http.Request, keys []string) {
	mode, ok := fastlyMode(w, r)
	if !ok {
		return
	}
	p := &purge.Purge{Mode: mode}
	for _, key := range keys {
		tag, err := purge.ByTag(key)
		if err != nil {
			refuse(w, http.StatusBadRequest, err)
			return
		}
		p.Selectors = append(p.Selectors, tag)
	}
	s.purgeFastly(w, r, p) // which refuses too many
}

// purgeAll is Fastly's purge of everything.
func (s *Server) purgeAll(w http.ResponseWriter, r *http.Request) {
	mode, ok := fastlyMode(w, r)
	if ok && noBody(w, r) {
		s.purgeFastly(w, r, &purge.Purge{Selectors: []purge.Selector{purge.All()}, Mode: mode})
	}
}

// fastlyMode is whether Fastly's field asks for a soft purge. A value that is
// neither 1 nor 0 is refused rather than read as the harder of the two. False: it
// was answered.
func fastlyMode(w http.ResponseWriter, r *http.Request) (purge.Mode, bool) {
	switch strings.Join(r.Header.Values("Fastly-Soft-Purge"), ",") {
	case "1":
		return purge.Soft, true
	case "", "0":
		return purge.Hard, true
	}
	refuse(w, http.StatusBadRequest, errors.New("Fastly-Soft-Purge is 1 or 0"))
	return 0, false
}

// refuse says in JSON why nothing was done.
func refuse(w http.ResponseWriter, status int, err error) {
	reply(w, status, &purge.Refusal{Error: err.Error()})
}

// reply answers in JSON.
func reply(w http.ResponseWriter, status int, answer any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(answer) // a client that left needs no answer
}

// collectPurges exports what the ledger counts.
func (s *Sources) collectPurges(e exporter) {
	if s.Purges == nil {
		return
	}
	v := s.Purges()
	for _, c := range v.Purges {
		e.counter("edge_purges_total", "What was purged or invalidated, by kind and mode.", c.N, "kind", c.Kind.String(), "mode", c.Mode.String())
	}
	e.gauge("edge_purge_sequence", "The newest purge's number.", float64(v.Sequence))
	e.gauge("edge_purge_live", "Selectors of purges that look-ups may still meet.", float64(v.Live))
	e.gauge("edge_purge_counting", "Purges whose count is not final.", float64(v.Counting))
	e.counter("edge_purge_taken_total", "Stored responses that purges removed or made stale.", v.Taken)
	e.counter("edge_purge_visited_total", "Stored responses visited for purges, taken or not.", v.Visited)
	e.counter("edge_purge_sweeps_total", "Times that what purges marked was all freed.", v.Sweeps)
	e.gauge("edge_purge_marked", "Stored responses that purges have counted, and that are still to be freed or made stale.", float64(v.Marked))
	if !v.Journal {
		return
	}
	broken := 0.0
	if v.Broken {
		broken = 1
	}
	e.gauge("edge_purge_journal_bytes", "Size of the purge journal.", float64(v.JournalBytes))
	const disks = "Disks by what they know of the purge journal: marked as not to be believed after a restart, not told how far it goes, out of use because neither can be written."
	e.gauge("edge_purge_disks", disks, float64(v.Guard.Disks), "state", "all")
	e.gauge("edge_purge_disks", disks, float64(v.Guard.Marked), "state", "marked")
	e.gauge("edge_purge_disks", disks, float64(v.Guard.Untold), "state", "untold")
	e.gauge("edge_purge_disks", disks, float64(v.Guard.Out), "state", "out")
	e.counter("edge_purge_disks_softened_total", "Disks that may have missed purges, so that all of them counts as stale.", v.Softened)
	e.gauge("edge_purge_journal_broken", "1 while the purge journal cannot be written.", broken)
	e.counter("edge_purge_journal_failures_total", "Failures to write the purge journal.", uint64(v.Failures))
	e.counter("edge_purge_journal_syncs_total", "Syncs of the purge journal.", uint64(v.Syncs))
	e.gauge("edge_purge_journal_sync_seconds", "Time spent in syncs of the purge journal, in all.", v.SyncSeconds)
}
