//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"time"
)

// The targets of a 1 KiB hit, as ratios of CPU per request.
const (
	hitToNginx = 0.70
	hitToFloor = 1.70
)

// hitPath is what the scenario asks for.
const hitPath = "/1k"

// isSmall reports whether body is what lies there.
func isSmall(body []byte) bool { return bytes.Equal(body, smallBody) }

// settle bounds how long a cache may take from its first answer to its first
// hit.
const settle = 2 * time.Second

func runHits(ctx context.Context, l *lab) error {
	o, err := startOrigin()
	if err != nil {
		return err
	}
	defer o.stop()
	list, stop, err := l.caches(ctx, o)
	defer func() { stop() }()
	if err != nil {
		return err
	}
	var answer []byte // edge's, or the first cache's where edge is not run
	for _, s := range list {
		hit, err := awaitHit(ctx, s, o)
		if err != nil {
			return err
		}
		if answer == nil {
			answer = hit
			fmt.Printf("the floor answers with %s's hit, %d bytes:\n%s\n", s.name, len(hit), indentHead(hit))
		}
	}
	if l.wants("floor") {
		f, err := l.startFloor(ctx, orSynthetic(answer))
		if err != nil {
			return err
		}
		defer f.stop()
		list = append(list, f)
	}
	asked := o.total.Load()
	results, err := l.inTurn(ctx, list, func(ctx context.Context, s *subject) (load, error) {
		return l.generate(ctx, s.addr, hitPath)
	})
	if err != nil {
		return err
	}
	if n := o.total.Load() - asked; n != 0 {
		return fmt.Errorf("the origin was asked %d times while only hits were measured", n)
	}
	printTable(list, results)
	if r := ratio(results, "edge", "nginx"); !math.IsNaN(r) {
		l.target("edge's CPU per hit, to nginx's", r, hitToNginx, "")
	}
	if r := ratio(results, "edge", "floor"); !math.IsNaN(r) {
		l.target("edge's CPU per hit, to the floor's", r, hitToFloor, "")
	}
	return nil
}

// awaitHit fetches until the origin is not asked any more and returns the
// hit's exact bytes.
func awaitHit(ctx context.Context, s *subject, o *origin) ([]byte, error) {
	until := time.Now().Add(settle)
	for time.Now().Before(until) && ctx.Err() == nil {
		before := o.total.Load()
		got, err := fetch(s.addr, hitPath, isSmall)
		if err != nil {
			return nil, fmt.Errorf("%s: %w\n%s", s.name, err, &s.output)
		}
		if o.total.Load() == before {
			return got, nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return nil, errors.Join(ctx.Err(), fmt.Errorf("%s has no hit for %s after %v", s.name, hitPath, settle))
}

// orSynthetic returns answer, or a plain one where no cache runs beside the
// floor.
func orSynthetic(answer []byte) []byte {
	if answer != nil {
		return answer
	}
	return append([]byte("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1024\r\n\r\n"), smallBody...)
}

// indentHead returns the head of an answer for printing.
func indentHead(b []byte) []byte {
	head, _, _ := bytes.Cut(b, endOfHead)
	return append([]byte("    "), bytes.ReplaceAll(head, []byte("\r\n"), []byte("\n    "))...)
}
