package proxy

import (
	"bytes"
	"errors"
	"io"

	"edge/cache/storage"
	"edge/message"
	"edge/wire/h1"
)

// DefaultQueryContent is how many bytes of a QUERY's content are held for its
// key where the route does not say.
const DefaultQueryContent = 64 << 10

// contentSource is what the content of a forwarded request is read from.
type contentSource interface {
	// ReadBody reads content; io.EOF after a complete one.
	ReadBody(p []byte) (int, error)
	// RequestTrailers returns the trailer fields after ReadBody's io.EOF.
	RequestTrailers() *message.Fields
	// StopBody makes ReadBody return at once, now and later.
	StopBody()
}

// heldContent is content that was read before. Owner: one pump; the bytes are
// shared and never written to.
type heldContent struct{ rest []byte }

func (h *heldContent) ReadBody(p []byte) (int, error) {
	if len(h.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, h.rest)
	h.rest = h.rest[n:]
	return n, nil
}

func (h *heldContent) RequestTrailers() *message.Fields { return nil }
func (h *heldContent) StopBody()                        {}

// resumedContent is content of which the beginning was read before.
type resumedContent struct {
	Client
	begun []byte
}

func (r *resumedContent) ReadBody(p []byte) (int, error) {
	if len(r.begun) > 0 {
		n := copy(p, r.begun)
		r.begun = r.begun[n:]
		return n, nil
	}
	return r.Client.ReadBody(p)
}

// content is where the request's content comes from: each call from its
// beginning, as far as it was held.
func (x *exchange) content() contentSource {
	switch {
	case x.req.Content != nil:
		return &heldContent{rest: x.req.Content}
	case x.begun != nil:
		return &resumedContent{Client: x.client, begun: x.begun}
	}
	return x.client
}

// holdContent reads the content of a QUERY into memory, so that it can be part
// of the key and be sent more than once. RFC 10008 section 2.7: "caching QUERY
// method responses is inherently more complex than caching responses to GET, as
// complete reading of the request's content is needed in order to determine the
// cache key". Longer content than the route holds, and content followed by
// trailer fields, stays the client's to send: what was read of it goes ahead,
// and the answer is not cached. The memory is the request's own: a pump may
// read it after the exchange is over.
func (x *exchange) holdContent() error {
	limit := x.route.queryContent()
	// RFC 9110 section 10.1.1: a proxy that gets an expectation of 100
	// (Continue) answers with a final status or forwards it; the content comes
	// only then.
	if x.req.ExpectContinue || x.req.Length > limit || limit <= 0 {
		return nil
	}
	buf := make([]byte, min(limit+1, 2<<10))
	n := 0
	for {
		if n == len(buf) {
			if int64(n) > limit {
				x.begun = buf
				return nil
			}
			// Memory follows what comes, not what is announced.
			buf = append(buf, make([]byte, min(int64(n), limit+1-int64(n)))...)
		}
		k, err := x.client.ReadBody(buf[n:])
		n += k
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	if t := x.client.RequestTrailers(); t != nil && t.Len() > 0 {
		x.begun = buf[:n]
		return nil
	}
	x.req.Content = buf[:n:n]
	x.req.Length, x.req.Chunked = int64(n), false
	return nil
}

// query holds the content of a QUERY and makes its key.
func (x *exchange) query() error {
	if x.req.HasBody() {
		if err := x.holdContent(); err != nil {
			return err
		}
	}
	x.keyBuf = appendURI(x.keyBuf[:0], x.req.Scheme, x.req.Authority, x.req.Target)
	e := x.p.queried.get(x.keyBuf)
	if e == nil {
		e = x.p.queried.put(x.keyBuf, struct{}{}, func(struct{}) bool { return true })
	}
	var space uint64
	if e != nil {
		space = e.number
	} else {
		// Not to be remembered: a number of its own, so that nothing stored
		// under it is ever found.
		space = x.p.queried.number.Add(1)
	}
	x.key, x.keyBuf = queryKey(x.route, &x.req, space, x.keyBuf)
	return nil
}

// contentStatus is how content that broke off is answered.
func contentStatus(err error) (int, string) {
	var e *h1.Error
	if errors.As(err, &e) {
		return e.Status, e.Reason
	}
	return 400, "the request's content broke off"
}

// queryContent is the longest content of a QUERY that is held.
func (r *Route) queryContent() int64 {
	if r.QueryContent == 0 {
		return DefaultQueryContent
	}
	return r.QueryContent
}

// queryKey is the key of a QUERY: what that of a GET is made of, the content,
// and every field that describes it (RFC 10008 section 2.7; representation
// metadata, RFC 9110 section 8). Nothing is normalised: what means the same to
// a resource is the resource's to know. space is the target URI's: see
// uriTable.
func queryKey(r *Route, req *message.Request, space uint64, buf []byte) (storage.Key, []byte) {
	buf = appendPart(buf[:0], "\x00query") // no scheme: no key of a GET is like it
	buf = appendNumber(buf, space)
	buf = appendURI(buf, req.Scheme, req.Authority, req.Target)
	buf = appendExtras(buf, r, req)
	for _, f := range req.Fields.All() {
		if describesContent(&f) {
			buf = appendPart(buf, bytes.ToLower(f.Name))
			buf = appendPart(buf, f.Value)
		}
	}
	buf = appendPart(buf, "")
	return digest(appendPart(buf, req.Content)), buf
}

// describesContent reports whether a request field is metadata of the content:
// by their names they all say so. Content-Length follows from the content.
func describesContent(f *message.Field) bool {
	const prefix = "content-"
	return f.ID != message.FieldContentLength && len(f.Name) > len(prefix) && message.EqualFoldString(f.Name[:len(prefix)], prefix)
}
