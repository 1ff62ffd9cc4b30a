package admin

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"edge/cache/storage"
	"edge/message"
	"edge/purge"
)

// The cache API: what is stored, without stopping the node.
//
//	GET /cache/entries?prefix=URL&tag=TAG&limit=N   a line of JSON for each stored response
//	GET /cache/entry?url=URL                        those of one URL, with all there is to say
//	GET /cache/body?url=URL&variant=VARIANT         the body of one
//
// Lists are streamed as JSON lines (application/x-ndjson) in no particular order,
// while the store is walked: neither side ever has all of one in memory. Empty
// lines between them show that the walk goes on. The last line is a ListEnd; a
// list without one has broken off. What comes or goes meanwhile may be missed.

// Bounds on the cache API.
const (
	// maxListings is how many lists and bodies are sent at a time.
	maxListings = 4
	// listRate is how many stored responses a second a list visits, since each
	// may be a read of a disk, and listBatch how many between two pauses.
	listRate, listBatch = 50_000, 1000
	// listBuffer is how much of a list is gathered before it is sent, in bytes,
	// and listPulse the longest time that nothing is.
	listBuffer, listPulse = 32 << 10, time.Second
	// listStall is how long a client may take to accept what it is sent.
	listStall = 15 * time.Second
)

// The types of what the cache API answers with: a list, and a body, whatever the type
// that its own head gives it.
const (
	ListType = "application/x-ndjson"
	BodyType = "application/octet-stream"
)

// ListEnd is the last line of a list.
type ListEnd struct {
	End    bool `json:"end"` // true
	Listed int  `json:"listed"`
	// More: the limit ended the list, not the store.
	More bool `json:"more"`
}

// routeEntries adds the cache API.
func (s *Server) routeEntries(mux *http.ServeMux) {
	if s.opt.Entries == nil {
		return
	}
	s.listings = make(chan struct{}, maxListings)
	mux.HandleFunc("GET /cache/entries", s.allow(ScopeRead, s.few(s.listEntries)))
	mux.HandleFunc("GET /cache/entry", s.allow(ScopeRead, s.few(s.showEntry)))
	mux.HandleFunc("GET /cache/body", s.allow(ScopeRead, s.few(s.sendBody)))
}

// few lets maxListings requests be served at a time.
func (s *Server) few(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		select {
		case s.listings <- struct{}{}:
		default:
			w.Header().Set("Retry-After", "1")
			refuse(w, http.StatusServiceUnavailable, fmt.Errorf("%d lists or bodies are being sent already", maxListings))
			return
		}
		defer func() { <-s.listings }()
		next(w, r)
	}
}

// listEntries is GET /cache/entries.
func (s *Server) listEntries(w http.ResponseWriter, r *http.Request) {
	args, err := arguments(r, "prefix", "tag", "limit")
	var q Query
	if p := args.Get("prefix"); err == nil && args.Has("prefix") {
		var places []purge.Selector
		if places, err = purge.ByPrefix(p); err != nil {
			err = fmt.Errorf("prefix: %w", err)
		}
		q.Places = selectors(places...)
	}
	if t := args.Get("tag"); err == nil && args.Has("tag") {
		var tag purge.Selector
		tag, err = purge.ByTag(t)
		q.Tags = selectors(tag)
	}
	limit := 0
	if l := args.Get("limit"); err == nil && args.Has("limit") {
		if limit, err = strconv.Atoi(l); err != nil || limit < 1 {
			err = errors.New("limit is a number above 0")
		}
	}
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	l := s.newListing(w, r, limit, false)
	defer l.pause.Stop()
	s.opt.Entries.Find(&q, l.visited, l.add)
	l.end()
}

// showEntry is GET /cache/entry.
func (s *Server) showEntry(w http.ResponseWriter, r *http.Request) {
	args, err := arguments(r, "url")
	var q *Query
	if err == nil {
		q, err = s.urlQuery(args.Get("url"))
	}
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	l := s.newListing(w, r, 0, true)
	defer l.pause.Stop()
	s.opt.Entries.Find(q, l.visited, l.add)
	if l.listed == 0 && !l.gone() {
		refuse(w, http.StatusNotFound, errNotStored)
		return
	}
	l.end()
}

// errNotStored: there is nothing to show.
var errNotStored = errors.New("nothing is stored for this URL")

// arguments returns a query that has these names, each at most once.
func arguments(r *http.Request, names ...string) (url.Values, error) {
	all, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, fmt.Errorf("the query is malformed: %w", err)
	}
	known := 0
	for _, name := range names {
		if values := all[name]; len(values) > 1 {
			return nil, fmt.Errorf("the query has %s more than once", name)
		} else if len(values) == 1 {
			known++
		}
	}
	if known != len(all) {
		return nil, fmt.Errorf("the query has a name that is not one of %q", names)
	}
	return all, nil
}

// urlQuery selects what is stored for a URL: under its own target, and under the
// one that its route's rules for keys make of that.
func (s *Server) urlQuery(text string) (*Query, error) {
	place, err := purge.ByURL(text)
	if err != nil {
		return nil, fmt.Errorf("url: %w", err)
	}
	places := []purge.Selector{place}
	if stored := s.opt.Entries.StoredTarget; stored != nil {
		if target := stored(place.Scheme, place.Authority, place.Name); target != place.Name {
			place.Name = target
			places = append(places, place)
		}
	}
	return &Query{Places: selectors(places...)}, nil
}

// listing is a list being sent. Owned by its request's goroutine.
type listing struct {
	entries  *Entries
	ctx      context.Context
	w        http.ResponseWriter
	out      *bufio.Writer
	lines    *json.Encoder
	limit    int // 0: none
	detailed bool

	began, sent message.Instant // sent: when something was last
	seen        int
	listed      int
	more        bool
	err         error // the client has gone
	pause       *time.Timer
}

func (s *Server) newListing(w http.ResponseWriter, r *http.Request, limit int, detailed bool) *listing {
	now := s.opt.Entries.Clock()
	l := &listing{entries: s.opt.Entries, ctx: r.Context(), w: w, limit: limit, detailed: detailed, began: now, sent: now, pause: time.NewTimer(0)}
	l.out = bufio.NewWriterSize(&patient{w, http.NewResponseController(w)}, listBuffer)
	l.lines = json.NewEncoder(l.out)
	l.lines.SetEscapeHTML(false)
	return l
}

// patient gives a client listStall for each piece that it is sent, rather than
// so long for the whole.
type patient struct {
	io.Writer
	control *http.ResponseController
}

// Write sends p, and waits for the client to take it.
func (w *patient) Write(p []byte) (int, error) {
	if err := w.control.SetWriteDeadline(time.Now().Add(listStall)); err != nil {
		return 0, err
	}
	n, err := w.Writer.Write(p)
	if err == nil {
		err = w.control.Flush()
	}
	return n, err
}

// visited keeps the pace, and ends the list when the client has gone.
func (l *listing) visited() bool {
	if l.seen++; l.seen%listBatch != 0 {
		return true
	}
	now := l.entries.Clock()
	if l.pulse(now); l.err != nil {
		return false
	}
	l.pause.Reset(time.Duration(l.seen)*time.Second/listRate - time.Duration(now.Sub(l.began)))
	select {
	case <-l.pause.C:
	case <-l.ctx.Done():
		l.err = context.Cause(l.ctx)
	}
	return l.err == nil
}

// pulse shows a sign of life, unless the first line is still awaited that
// decides over the status.
func (l *listing) pulse(now message.Instant) {
	if now.Sub(l.sent) < int64(listPulse) || l.detailed && l.listed == 0 {
		return
	}
	l.sent = now
	l.start()
	if _, l.err = l.out.WriteString("\n"); l.err == nil {
		l.err = l.out.Flush()
	}
}

// start sets the head, which is sent with what is written first.
func (l *listing) start() { l.w.Header().Set("Content-Type", ListType) }

// add lists an entry. False: that was the last.
func (l *listing) add(e storage.Entry) bool {
	if l.limit > 0 && l.listed == l.limit {
		l.more = true
		return false
	}
	l.start()
	l.listed++
	l.err = l.lines.Encode(l.entries.tell(e, l.entries.Clock(), l.detailed))
	return l.err == nil
}

// gone reports whether the client has.
func (l *listing) gone() bool { return l.err != nil || l.ctx.Err() != nil }

// end ends the list, if it was not cut off: only a whole one has an end.
func (l *listing) end() {
	if l.gone() {
		panic(http.ErrAbortHandler)
	}
	l.start()
	if err := l.lines.Encode(ListEnd{End: true, Listed: l.listed, More: l.more}); err == nil {
		_ = l.out.Flush() // a client that left needs no end
	}
}
