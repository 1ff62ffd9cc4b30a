package admin

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"edge/cache/storage"
	"edge/message"
)

// chosen is the body to be sent.
type chosen struct {
	body    storage.Reader // nil: none was found
	size    int64
	n       int // how many have a body
	partial int // and how many of which not all is held
}

// sendBody is GET /cache/body: the whole body of one stored response, as it is
// stored, or what is visibly not the whole.
func (s *Server) sendBody(w http.ResponseWriter, r *http.Request) {
	args, err := arguments(r, "url", "variant")
	var q *Query
	if err == nil {
		q, err = s.urlQuery(args.Get("url"))
	}
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	l := s.newListing(w, r, 0, true) // for its pace; nothing is listed
	defer l.pause.Stop()
	var c chosen
	s.opt.Entries.Find(q, l.visited, func(e storage.Entry) bool { return c.consider(e, args.Get("variant")) })
	if c.body != nil {
		defer c.body.Close()
	}
	switch {
	case l.gone():
	case c.n == 0 && c.partial == 0 && args.Get("variant") == "":
		refuse(w, http.StatusNotFound, errNotStored)
	case c.n == 0 && c.partial == 0:
		refuse(w, http.StatusNotFound, errors.New("no such variant is stored for this URL"))
	case c.n == 0:
		refuse(w, http.StatusConflict, errors.New("only parts of the body are stored"))
	case c.n > 1:
		refuse(w, http.StatusConflict, fmt.Errorf("%d variants are stored for this URL: name one, with variant=ID or --variant ID", c.n))
	default:
		pour(w, r, &c)
	}
}

// consider takes e if it is what is asked for. False: no other can be.
func (c *chosen) consider(e storage.Entry, variant string) bool {
	if variant != "" && variantOf(e) != variant || e.Stored().Terms.Flags.Has(message.TermHitForMiss) {
		return true
	}
	held := e.Held(nil)
	size := e.Size()
	if size > 0 && (len(held) != 1 || held[0] != (storage.ByteRange{Start: 0, End: size})) || size < 0 {
		c.partial++
		return variant == ""
	}
	if c.n++; c.body == nil {
		c.body, c.size = e.Reader(0, -1), size
	}
	return variant == ""
}

// pour sends the body. Where it cannot be read to its end, the connection is cut,
// so that nobody takes what came for the whole.
func pour(w http.ResponseWriter, r *http.Request, c *chosen) {
	w.Header().Set("Content-Type", BodyType)
	w.Header().Set("Content-Length", strconv.FormatInt(c.size, 10))
	out := &patient{w, http.NewResponseController(w)}
	for sent := int64(0); ; {
		p, err := c.body.Next(r.Context())
		if errors.Is(err, io.EOF) && sent == c.size {
			return
		}
		if err == nil {
			_, err = out.Write(p)
			sent += int64(len(p))
		}
		if err == nil {
			continue
		}
		if sent == 0 && errors.Is(err, storage.ErrGone) {
			w.Header().Del("Content-Length")
			refuse(w, http.StatusInternalServerError, errors.New("the body cannot be read any more"))
			return
		}
		panic(http.ErrAbortHandler)
	}
}
