package main

import (
	"bytes"
	"fmt"
	"html"
	"net/http"
	"sync/atomic"
	"time"
)

// Sizes and times of the demo's origin.
const (
	bigSize   = 10 << 20
	slowSteps = 4
	slowStep  = 500 * time.Millisecond
)

// demoOrigin answers as origins do, each path with another thing to see.
func demoOrigin() http.Handler {
	var served atomic.Int64
	mux := http.NewServeMux()
	handle := func(path, cacheControl string, f http.HandlerFunc) {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			w.Header().Set("Cache-Control", cacheControl)
			f(w, r)
		})
	}
	// stamp tells answers apart: the same number is the same answer.
	stamp := func(what string) string {
		return fmt.Sprintf("%s: answer %d of the origin, made at %s\n", what, served.Add(1), time.Now().Format("15:04:05.000"))
	}
	plain := func(what string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, stamp(what)) }
	}
	handle("/{$}", "max-age=5", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = fmt.Fprintf(w, demoPage, html.EscapeString(stamp("front page")))
	})
	handle("/time", "max-age=10", plain("time"))
	handle("/swr", "max-age=2, stale-while-revalidate=10", plain("stale-while-revalidate"))
	handle("/private", "no-store", plain("no-store"))
	handle("/vary", "max-age=30", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Vary", "Accept-Language")
		_, _ = fmt.Fprint(w, stamp(fmt.Sprintf("for Accept-Language %.40q", r.Header.Get("Accept-Language"))))
	})
	handle("/slow", "max-age=30", func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprint(w, stamp("slow"))
		for i := range slowSteps {
			if http.NewResponseController(w).Flush() != nil {
				return
			}
			select {
			case <-time.After(slowStep):
			case <-r.Context().Done():
				return
			}
			_, _ = fmt.Fprintf(w, "part %d of %d\n", i+1, slowSteps)
		}
	})
	handle("/etag", "no-cache", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"v1"`)
		if r.Header.Get("If-None-Match") == `"v1"` {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		_, _ = fmt.Fprint(w, stamp("validated each time"))
	})
	big := bytes.Repeat([]byte("0123456789abcdef"), bigSize/16)
	started := time.Now()
	handle("/big", "max-age=60", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"big-1"`)
		http.ServeContent(w, r, "", started, bytes.NewReader(big))
	})
	handle("/error", "no-cache", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = fmt.Fprint(w, stamp("error"))
	})
	return mux
}

const demoPage = `<!doctype html>
<html lang="en"><meta charset="utf-8"><title>edge demo</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:44rem;margin:2rem auto;padding:0 1rem}code{background:#eee;padding:0 .2em}</style>
<h1>edge demo</h1>
<p>This page came through <b>edge</b>, a caching node, from its built-in origin:</p>
<p><code>%s</code></p>
<p>It is fresh for 5 seconds. Reload: within that time the number stays the same. The answer's
<code>Cache-Status</code> and <code>Age</code> fields (in your browser's network tab) say why.</p>
<ul>
<li><a href="/time">/time</a>: fresh for 10 seconds
<li><a href="/slow">/slow</a>: takes two seconds to come; a crowd costs the origin one fetch
<li><a href="/swr">/swr</a>: fresh for 2 seconds; then stale at once, while a newer one is fetched
<li><a href="/vary">/vary</a>: one answer for each Accept-Language
<li><a href="/private">/private</a>: no-store, never kept
<li><a href="/etag">/etag</a>: kept, but validated each time
<li><a href="/big">/big</a>: 10 MiB, with ranges
<li><a href="/error">/error</a>: a 503
</ul>
</html>
`
