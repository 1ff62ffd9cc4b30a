//go:build linux

package main

import (
	"context"
	"fmt"
)

// runMisses asks for each URL once, so that every request goes to the origin
// and every answer is stored. The built-in generator makes the URLs and checks
// each answer. No target here; the figure stands next to nginx's.
func runMisses(ctx context.Context, l *lab) error {
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
	if len(list) == 0 {
		fmt.Println("no cache to run")
		return nil
	}
	unique := 0
	asked := o.total.Load()
	results, err := l.inTurn(ctx, list, func(ctx context.Context, s *subject) (load, error) {
		return epollLoad(ctx, s.addr, l.connections, l.duration, objects{1 << 10, s.addr}.unique(&unique))
	})
	if err != nil {
		return err
	}
	printTable(list, results)
	total := 0
	for _, m := range results {
		total += m.requests
	}
	if n := o.total.Load() - asked; n != int64(total) {
		return fmt.Errorf("%d unique URLs were answered, but the origin was asked %d times", total, n)
	}
	return nil
}
