package admin

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edge/cache/storage"
	"edge/message"
)

// cacheRig is an admin server over a store of its own.
type cacheRig struct {
	t     *testing.T
	url   string
	store *storage.Memory
}

func clockNow() message.Instant { return message.Instant(time.Now().UnixNano()) }

func newCacheRig(t *testing.T, tokens *Tokens) *cacheRig {
	t.Helper()
	st, err := storage.NewMemory(storage.MemoryOptions{Size: 8 << 20, Clock: clockNow})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	e := &Entries{Find: Over(st), Clock: clockNow,
		StoredTarget: func(_, _, target string) string { path, _, _ := strings.Cut(target, "?utm"); return path }}
	return &cacheRig{t, serveEntries(t, e, tokens), st}
}

// serveEntries serves e for the test's time.
func serveEntries(t *testing.T, e *Entries, tokens *Tokens) string {
	t.Helper()
	s := New(Options{Metrics: NewMetrics(Build{}), Ready: func() (bool, string) { return true, "" }, Tokens: tokens, Entries: e})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_ = s.Close(ctx)
		<-done
	})
	return "http://" + l.Addr().String()
}

// put stores a response under https://a.
func (r *cacheRig) put(target, body string, change func(p *storage.Proposal)) {
	r.t.Helper()
	now := clockNow()
	p := &storage.Proposal{Key: storage.Key([]byte(fmt.Sprintf("%-16.16s", target))), Scheme: "https", Authority: []byte("a"), Target: []byte(target), Sequence: 7,
		Stored: &message.Stored{Status: 200, RequestTime: now, ResponseTime: now, Head: []byte("ETag: \"e\"\r\nServer: x\r\n"),
			Terms: message.Terms{FreshnessLifetime: 100 * message.Second, CorrectedInitialAge: 40 * message.Second, StaleIfError: 5 * message.Second, ETag: []byte(`"e"`), Date: now}},
		Total: int64(len(body))}
	if change != nil {
		change(p)
	}
	w, err := r.store.Begin(p)
	if err != nil {
		r.t.Fatal(err)
	}
	w.Entry().Release()
	if _, err = io.WriteString(writing{w}, body); err == nil {
		err = w.Commit([]byte("X-Trailer: t\r\n"))
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

type writing struct{ storage.Writer }

func (w writing) Write(p []byte) (int, error) { return len(p), w.Writer.Write(context.Background(), p) }

// list asks for a list and reads it; without an end it fails the test.
func (r *cacheRig) list(path string) (all []Stored, end ListEnd) {
	r.t.Helper()
	resp, text := ask(r.t, "GET", r.url+path, "")
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "application/x-ndjson" {
		r.t.Fatalf("%s: %d %s %s", path, resp.StatusCode, resp.Header.Get("Content-Type"), text)
	}
	for line := range strings.Lines(text) {
		var v struct {
			Stored
			ListEnd
		}
		if err := json.Unmarshal([]byte(line), &v); err != nil || end.End {
			r.t.Fatalf("%s: %q: %v, after the end %v", path, line, err, end.End)
		}
		if v.End {
			end = v.ListEnd
			continue
		}
		all = append(all, v.Stored)
	}
	if !end.End || end.Listed != len(all) {
		r.t.Fatalf("%s: %d listed, and its end is %+v", path, len(all), end)
	}
	return all, end
}

func (r *cacheRig) fill() {
	tagged := func(tags ...string) func(*storage.Proposal) {
		return func(p *storage.Proposal) { p.Tags, p.Groups = tags, []string{"G"} }
	}
	r.put("/x", "ex", tagged("t", "u"))
	r.put("/x/y?q", "why", tagged("t"))
	r.put("/xy", "", nil)
	r.put("/z", "zed", func(p *storage.Proposal) { p.Scheme = "http"; p.Tags = []string{"u"} })
	r.put("/b", "bee", func(p *storage.Proposal) { p.Authority = []byte("b:8080") })
}

// TestListing: a list has what was asked for, and an end.
func TestListing(t *testing.T) {
	r := newCacheRig(t, nil)
	if all, _ := r.list("/cache/entries"); len(all) != 0 {
		t.Errorf("an empty store lists %v", all)
	}
	r.fill()
	for query, want := range map[string]string{
		"":                        "http://a/z https://a/x https://a/x/y?q https://a/xy https://b:8080/b",
		"prefix=a/x":              "https://a/x https://a/x/y?q",
		"prefix=https://A:443/x/": "https://a/x/y?q",
		"prefix=http://a/x":       "",
		"prefix=a/":               "http://a/z https://a/x https://a/x/y?q https://a/xy",
		"prefix=b:8080/":          "https://b:8080/b",
		"tag=U":                   "http://a/z https://a/x",
		"tag=t&prefix=a/x/":       "https://a/x/y?q",
		"tag=none":                "",
	} {
		all, end := r.list("/cache/entries?" + query)
		var urls []string
		for _, v := range all {
			urls = append(urls, v.URL)
		}
		slices.Sort(urls)
		if got := strings.Join(urls, " "); got != want || end.More {
			t.Errorf("%s: %s, more %v; want %s", query, got, end.More, want)
		}
	}
	for limit, more := range map[int]bool{1: true, 4: true, 5: false, 6: false} {
		if all, end := r.list(fmt.Sprint("/cache/entries?limit=", limit)); len(all) != min(limit, 5) || end.More != more {
			t.Errorf("limit %d: %d, more %v", limit, len(all), end.More)
		}
	}
	all, _ := r.list("/cache/entries?prefix=a/x/y")
	if v := all[0]; v.Size != 3 || v.Held != 3 || v.Status != 200 || v.State != "fresh" || v.Age < 40 || v.Age > 50 || v.Left > 60 || v.Left < 50 ||
		v.Hits != 0 || v.Tier != "memory" || v.Variant == "" || v.StoredAt == "" || v.Detail != nil {
		t.Errorf("%+v", v)
	}
}

// TestListingRefusals: what cannot be asked for, and by whom.
func TestListingRefusals(t *testing.T) {
	tokens := new(Tokens)
	list, err := parseTokens(hashed("a", "purge", "P") + hashed("b", "read", "R") + hashed("c", "admin", "A"))
	if err != nil {
		t.Fatal(err)
	}
	tokens.list.Store(&list)
	r := newCacheRig(t, tokens)
	r.fill()
	for _, c := range []struct {
		path string
		want int
		part string
	}{
		{"/cache/entries?prefix=", 400, "prefix: "},
		{"/cache/entries?prefix=a", 400, "has no path"},
		{"/cache/entries?prefix=ftp://a/", 400, "scheme"},
		{"/cache/entries?tag=", 400, "empty"},
		{"/cache/entries?limit=0", 400, "limit"},
		{"/cache/entries?limit=x", 400, "limit"},
		{"/cache/entries?limit=1&limit=2", 400, "more than once"},
		{"/cache/entries?cursor=1", 400, "not one of"},
		{"/cache/entries?tag=%zz", 400, "malformed"},
		{"/cache/entry", 400, "empty"},
		{"/cache/entry?url=/x", 400, "not an absolute URL"},
		{"/cache/entry?url=https://a/x&tag=t", 400, "not one of"},
		{"/cache/entry?url=https://a/none", 404, "nothing is stored"},
		{"/cache/body?url=https://a/none", 404, "nothing is stored"},
		{"/cache/body?url=https://a/x&variant=1", 404, "no such variant"},
		{"/cache/body?url=x", 400, "not an absolute URL"},
		{"/cache/other", 404, ""},
	} {
		resp, text := ask(t, "GET", r.url+c.path, "", "Authorization", "Bearer R")
		if resp.StatusCode != c.want || !strings.Contains(text, c.part) {
			t.Errorf("%s: %d %s; want %d, %q", c.path, resp.StatusCode, text, c.want, c.part)
		}
	}
	for _, path := range []string{"/cache/entries", "/cache/entry?url=https://a/x", "/cache/body?url=https://a/x"} {
		for secret, want := range map[string]int{"": 401, "wrong": 401, "P": 403, "R": 200, "A": 200} {
			if resp, _ := ask(t, "GET", r.url+path, "", "Authorization", "Bearer "+secret); resp.StatusCode != want {
				t.Errorf("%s with %q: %d, want %d", path, secret, resp.StatusCode, want)
			}
		}
		if resp, _ := ask(t, "POST", r.url+path, "", "Authorization", "Bearer A"); resp.StatusCode != 405 {
			t.Errorf("POST %s: %d", path, resp.StatusCode)
		}
	}
}

// TestEntry: what is told of one URL, under the target that it is stored by.
func TestEntry(t *testing.T) {
	r := newCacheRig(t, nil)
	r.fill()
	r.put("/x", "deux", func(p *storage.Proposal) {
		p.Stored.Nominated = []byte("accept-language: fr\r\n")
		p.Stored.Terms.Flags = message.TermHasVary | message.TermNoCache | message.TermSoftPurged
		p.Stored.Terms.LastModified = 86400
	})
	all, _ := r.list("/cache/entry?url=" + url.QueryEscape("https://A/x?utm=1"))
	if len(all) != 2 {
		t.Fatalf("%d variants", len(all))
	}
	slices.SortFunc(all, func(a, b Stored) int { return int(a.Size - b.Size) })
	v, w := all[0], all[1]
	if v.Variant == w.Variant || v.Size != 2 || v.Detail == nil || strings.Join(v.Head, "|") != `ETag: "e"|Server: x` || strings.Join(v.Tags, " ") != "t u" ||
		strings.Join(v.Groups, " ") != "G" || v.Sequence != 7 || v.FreshnessLifetime != 100 || v.StaleIfError != 5 || v.ETag != `"e"` ||
		len(v.Flags) != 0 || strings.Join(v.Trailers, "|") != "X-Trailer: t" || v.Ranges != nil {
		t.Errorf("%+v, %+v", v, v.Detail)
	}
	if w.State != "no-cache" || strings.Join(w.Nominated, "|") != "accept-language: fr" || strings.Join(w.Flags, " ") != "no-cache soft-purged" ||
		w.LastModified != "1970-01-02T00:00:00Z" {
		t.Errorf("%+v, %+v", w, w.Detail)
	}
	for name, want := range map[string]string{"": "409 2 variants", v.Variant: "200 ex", w.Variant: "200 deux"} {
		resp, text := ask(t, "GET", r.url+"/cache/body?url=https://a/x&variant="+name, "")
		if got := fmt.Sprint(resp.StatusCode, " ", strings.TrimPrefix(text, `{"error":"`)); !strings.HasPrefix(got, want) || name != "" && got != want {
			t.Errorf("the body of %q: %s, want %s", name, got, want)
		}
	}
	for state, flags := range map[string]message.TermFlags{"invalid": message.TermInvalidated, "uncacheable": message.TermHitForMiss} {
		r.put("/"+state, "", func(p *storage.Proposal) { p.Stored.Terms.Flags = flags })
		if all, _ := r.list("/cache/entry?url=https://a/" + state); all[0].State != state {
			t.Errorf("%s: %s", state, all[0].State)
		}
	}
	if resp, _ := ask(t, "GET", r.url+"/cache/body?url=https://a/uncacheable", ""); resp.StatusCode != 404 {
		t.Errorf("the body of what has none: %d", resp.StatusCode)
	}
	if resp, text := ask(t, "GET", r.url+"/cache/body?url=https://a/xy", ""); resp.StatusCode != 200 || text != "" || resp.ContentLength != 0 {
		t.Errorf("an empty body: %d %q", resp.StatusCode, text)
	}
}

// TestPartsAreNoBody: of a response of which parts are stored it is told which,
// and they are not sent for the whole.
func TestPartsAreNoBody(t *testing.T) {
	r := newCacheRig(t, nil)
	r.put("/p", "0123456789", func(p *storage.Proposal) {
		p.Part, p.Offset, p.Total = true, 5, 100
		p.Stored.Length = 100
		p.Stored.Terms.Flags = message.TermPartial
	})
	all, _ := r.list("/cache/entry?url=https://a/p")
	if v := all[0]; v.Size != 100 || v.Held != 10 || fmt.Sprint(v.Ranges) != "[[5 15]]" || strings.Join(v.Flags, " ") != "partial" {
		t.Errorf("%+v, %+v", v, v.Detail)
	}
	if resp, text := ask(t, "GET", r.url+"/cache/body?url=https://a/p", ""); resp.StatusCode != 409 || !strings.Contains(text, "only parts") {
		t.Errorf("%d %s", resp.StatusCode, text)
	}
}

// broken is an entry whose body ends in an error after the first piece.
type broken struct {
	storage.Entry
	first string
}

func (e broken) Reader(int64, int64) storage.Reader { return &brokenReader{first: []byte(e.first)} }

type brokenReader struct{ first []byte }

func (r *brokenReader) Next(context.Context) ([]byte, error) {
	if p := r.first; len(p) > 0 {
		r.first = nil
		return p, nil
	}
	return nil, storage.ErrGone
}

func (*brokenReader) Close() {}

// TestBodyThatBreaks: what cannot be read to its end is never sent as if it had
// one.
func TestBodyThatBreaks(t *testing.T) {
	r := newCacheRig(t, nil)
	r.put("/x", "0123456789", nil)
	for first, want := range map[string]int{"": 500, "01234": 200} {
		address := serveEntries(t, &Entries{Clock: clockNow, Find: func(_ *Query, _ func() bool, f func(storage.Entry) bool) {
			r.store.Each(func(e storage.Entry) bool { return f(broken{e, first}) })
		}}, nil)
		resp, err := http.Get(address + "/cache/body?url=https://a/x")
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close() // it was read
		if resp.StatusCode != want || want == 200 && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%q: %d %q, %v", first, resp.StatusCode, text, err)
		}
	}
}

// taker is a client that takes what it is sent, and in whose time deadlines run.
type taker struct {
	*httptest.ResponseRecorder
	deadlines []time.Duration
}

func (w *taker) SetWriteDeadline(at time.Time) error {
	w.deadlines = append(w.deadlines, time.Until(at))
	return nil
}

// TestListingKeepsPace: a walk that selects nothing takes its time, shows signs
// of life, and ends when nobody waits any more.
func TestListingKeepsPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		visits := 0
		s := &Server{opt: Options{Entries: &Entries{Clock: clockNow, Find: func(_ *Query, visited func() bool, _ func(storage.Entry) bool) {
			for visits = 0; visits < 5*listRate && visited(); visits++ {
			}
		}}}}
		w, began := &taker{ResponseRecorder: httptest.NewRecorder()}, time.Now()
		s.listEntries(w, httptest.NewRequest("GET", "/cache/entries", nil))
		if took := time.Since(began).Round(100 * time.Millisecond); took != 5*time.Second {
			t.Errorf("%d visits took %v", visits, took)
		}
		text := w.Body.String()
		if pulses := strings.Count(strings.TrimRight(text, "\n"), "\n"); pulses < 3 || !strings.HasSuffix(text, "{\"end\":true,\"listed\":0,\"more\":false}\n") {
			t.Errorf("%d signs of life: %q", pulses, text)
		}
		for _, d := range w.deadlines {
			if d != listStall {
				t.Errorf("a deadline in %v", d)
			}
		}

		ctx, leave := context.WithTimeout(t.Context(), time.Second)
		defer leave()
		began = time.Now()
		func() {
			defer func() {
				if recover() != http.ErrAbortHandler {
					t.Error("a list that was cut off ended as if it were whole")
				}
			}()
			s.listEntries(&taker{ResponseRecorder: httptest.NewRecorder()}, httptest.NewRequest("GET", "/cache/entries", nil).WithContext(ctx))
		}()
		if took := time.Since(began); took > 1100*time.Millisecond {
			t.Errorf("the walk ended %v after it began, when the client had left after 1s", took)
		}
	})
}

// TestListingIsStreamed: a client that reads nothing more holds the walk up, and
// nothing is gathered for it meanwhile; when it leaves, the walk ends.
func TestListingIsStreamed(t *testing.T) {
	r := newCacheRig(t, nil)
	r.put("/"+strings.Repeat("x", 1000), "", nil)
	var one storage.Entry
	r.store.Each(func(e storage.Entry) bool { one = e; return true })
	listed, ended := make(chan int, 1), make(chan int, 1)
	address := serveEntries(t, &Entries{Clock: clockNow, Find: func(_ *Query, _ func() bool, f func(storage.Entry) bool) {
		n := 0
		for n < 1_000_000 && f(one) {
			if n++; n == 1000 {
				listed <- n
			}
		}
		ended <- n
	}}, nil)
	resp, err := http.Get(address + "/cache/entries")
	if err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(resp.Body).ReadBytes('\n'); err != nil || !bytes.Contains(line, []byte(`"url":"https://a/xxx`)) {
		t.Errorf("%.100q, %v", line, err)
	}
	<-listed
	_ = resp.Body.Close() // which ends the connection: it was not read to its end
	if n := <-ended; n >= 1_000_000 {
		t.Error("a million responses went to nobody")
	}
}

// TestListingsAreFew: no more than so many at a time.
func TestListingsAreFew(t *testing.T) {
	hold := make(chan struct{})
	begun := make(chan struct{}, maxListings)
	address := serveEntries(t, &Entries{Clock: clockNow, Find: func(*Query, func() bool, func(storage.Entry) bool) {
		begun <- struct{}{}
		<-hold
	}}, nil)
	done := make(chan int, maxListings)
	for range maxListings {
		go func() {
			resp, _ := ask(t, "GET", address+"/cache/entries", "")
			done <- resp.StatusCode
		}()
		<-begun
	}
	if resp, _ := ask(t, "GET", address+"/cache/entries", ""); resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" {
		t.Errorf("one too many: %d", resp.StatusCode)
	}
	close(hold)
	for range maxListings {
		if got := <-done; got != 200 {
			t.Errorf("one of them: %d", got)
		}
	}
	if resp, _ := ask(t, "GET", address+"/cache/entries", ""); resp.StatusCode != 200 {
		t.Errorf("afterwards: %d", resp.StatusCode)
	}
}

// finding is a store that finds by names, and notes what it was asked for.
type finding struct {
	storage.Store
	asked [][]storage.Selector
}

func (s *finding) Find(list []storage.Selector, f func(storage.Entry) bool) {
	s.asked = append(s.asked, list)
	s.Each(f)
}

// TestFindingByNames: a store that can find by names is asked to, by the name that
// selects least, and whatever it hands out is selected from.
func TestFindingByNames(t *testing.T) {
	r := newCacheRig(t, nil)
	r.fill()
	for query, want := range map[string]struct {
		asked  string
		listed int
	}{
		"":                  {"[]", 5},
		"tag=t&prefix=a/x/": {fmt.Sprint([][]storage.Selector{{{Kind: storage.ByTag, Name: "t"}}}), 1},
		"prefix=http://a/":  {fmt.Sprint([][]storage.Selector{{{Kind: storage.ByPrefix, Scheme: "http", Authority: "a", Name: "/"}}}), 1},
	} {
		st := &finding{Store: r.store}
		here := &cacheRig{t, serveEntries(t, &Entries{Find: Over(st), Clock: clockNow}, nil), r.store}
		if all, _ := here.list("/cache/entries?" + query); len(all) != want.listed || fmt.Sprint(st.asked) != want.asked {
			t.Errorf("%q: %d listed, the store was asked for %v; want %d, %s", query, len(all), st.asked, want.listed, want.asked)
		}
	}
}
