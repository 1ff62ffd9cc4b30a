// Package admin is the operator's side: metrics, health and readiness, purges,
// and what is stored, on a listener of their own. It is the one room that serves by net/http: nothing
// here is on the data path.
//
// Who may ask. With tokens (tokens.go), whoever has one whose scopes allow it;
// health and readiness are everybody's. Without, everybody who can connect: the
// configuration then lets the listener be on a loopback address or a Unix socket
// only. Since a browser on the same machine can reach that too, requests that a
// page could make another site's user send are refused: those with an Origin
// field, with a Host that is not ours, and bodies that are not application/json.
package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Bounds on the admin listener.
const (
	headTimeout  = 5 * time.Second
	readTimeout  = 10 * time.Second
	writeTimeout = 30 * time.Second
	idleTimeout  = 60 * time.Second
	maxHeader    = 16 << 10
	maxBody      = 1 << 20
	maxScrapes   = 4
)

// Options make a Server.
type Options struct {
	Metrics *Metrics
	// Ready reports whether clients are served: not before, and not while
	// draining. If not, why says so in a word.
	Ready func() (ready bool, why string)
	// Purges serve the purge API; nil: there is none.
	Purges *Purges
	// Entries serve the cache API; nil: there is none.
	Entries *Entries
	// Tokens are required of every request but those for health and readiness;
	// nil: none is.
	Tokens *Tokens
	Logger *slog.Logger
}

// Server is the admin listener's. Make it with New; Serve, then Close.
type Server struct {
	http *http.Server
	opt  Options
	// listings has room for the lists and bodies that are sent at a time.
	listings chan struct{}
}

// New returns a Server that serves nothing yet.
func New(o Options) *Server {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{opt: o}
	mux := http.NewServeMux()
	metrics := promhttp.HandlerFor(o.Metrics.Registry(), promhttp.HandlerOpts{
		Registry: o.Metrics.Registry(), MaxRequestsInFlight: maxScrapes, Timeout: writeTimeout,
		ErrorHandling: promhttp.HTTPErrorOnError,
	})
	mux.HandleFunc("GET /metrics", s.allow(ScopeRead, metrics.ServeHTTP))
	mux.HandleFunc("GET /healthz", s.healthz)
	mux.HandleFunc("GET /readyz", s.readyz)
	mux.HandleFunc("GET /{$}", s.allow(ScopeRead|ScopePurge, index))
	s.routePurges(mux)
	s.routeEntries(mux)
	s.http = &http.Server{
		Handler:           guard(mux, o.Tokens != nil),
		ReadHeaderTimeout: headTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(o.Logger.Handler(), slog.LevelDebug),
	}
	return s
}

// Serve serves l until Close. It owns l.
func (s *Server) Serve(l net.Listener) error {
	if err := s.http.Serve(boundedBy(l, maxConnections)); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("admin: %w", err)
	}
	return nil
}

// Close ends the server: requests in progress have until ctx ends.
func (s *Server) Close(ctx context.Context) error {
	if err := s.http.Shutdown(ctx); err != nil {
		return s.http.Close()
	}
	return nil
}

// guard refuses what another site's page could make a browser send. Where a token
// is needed, which no such page has, any name will do.
func guard(next http.Handler, tokens bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header() // of refusals too
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Content-Security-Policy", "default-src 'none'")
		switch {
		case r.Header.Values("Origin") != nil:
			refuse(w, http.StatusForbidden, errors.New("requests with an Origin field are refused"))
			return
		case !tokens && !hostIsLocal(r):
			refuse(w, http.StatusMisdirectedRequest, errors.New("not a name of this listener: use its address, or localhost"))
			return
		case r.ContentLength != 0 && !isJSON(r.Header.Get("Content-Type")):
			refuse(w, http.StatusUnsupportedMediaType, errors.New("content must be application/json"))
			return
		case !isPlain(r.URL):
			refuse(w, http.StatusNotFound, errors.New("a path with an empty segment, or . or .., is none of this listener's: in a name, write %2F, or %2E"))
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		next.ServeHTTP(w, r)
	})
}

// hostIsLocal reports whether the request names us by an address or as
// localhost. Any other name may be another site's, whose owner has pointed it
// at loopback to make its pages same-origin with us.
func hostIsLocal(r *http.Request) bool {
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if _, isTCP := local.(*net.TCPAddr); !isTCP {
		return true // no browser speaks over a Unix socket
	}
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil || strings.EqualFold(host, "localhost")
}

// isPlain reports whether a path is as the mux wants it. It answers others with a
// redirect and no content, which clients that do not follow it take for success: of a
// script that has no SERVICE, say, in /service/$SERVICE/purge_all.
func isPlain(u *url.URL) bool {
	p := u.EscapedPath()
	clean := path.Clean("/" + p)
	return p == clean || clean != "/" && p == clean+"/"
}

func isJSON(contentType string) bool {
	t, _, err := mime.ParseMediaType(contentType)
	return err == nil && t == "application/json"
}

func (s *Server) readyz(w http.ResponseWriter, _ *http.Request) {
	ready, why := s.opt.Ready()
	if !ready {
		w.Header().Set("Retry-After", "1")
		say(w, http.StatusServiceUnavailable, why)
		return
	}
	say(w, http.StatusOK, "ready")
}

// healthz says that the process lives, and what of the purges is in trouble. That is no
// reason to end the process, which would make it worse.
func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) {
	text := "alive"
	if p := s.opt.Purges; p != nil {
		if trouble := p.Ledger.Trouble(); trouble != "" {
			text += ", but " + trouble
		}
	}
	say(w, http.StatusOK, text)
}

func say(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = fmt.Fprintln(w, text) // a client that left needs no answer
}

func index(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = fmt.Fprint(w, indexPage)
}

const indexPage = `<!doctype html>
<html lang="en"><meta charset="utf-8"><title>edge admin</title>
<h1>edge admin</h1>
<ul>
<li><a href="/metrics">/metrics</a>: counters and gauges for Prometheus
<li><a href="/cache/entries?limit=1000">/cache/entries</a>: what is stored, a line of JSON each
<li><a href="/purges?since=0">/purges</a>: what was purged, for followers; behind (410) where not all of that is kept
<li><a href="/healthz">/healthz</a>: 200 while the process lives
<li><a href="/readyz">/readyz</a>: 200 while clients are served, 503 before and while draining
</ul>
</html>
`
