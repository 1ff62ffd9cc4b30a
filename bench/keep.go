//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// keeping says where a cache is to keep what it stores.
type keeping struct {
	// memory is how much it may keep in memory, in bytes. Of no meaning to nginx.
	memory int64
	// disk is a directory on the disk, and size how many bytes of it may be
	// used. Without disk, edge keeps in memory only, and nginx on tmpfs.
	disk string
	size int64
	// openFiles has nginx keep the files it reads open.
	openFiles bool
}

// inMemory is how the scenarios without a disk keep.
var inMemory = keeping{memory: 512 << 20, size: 4 << 30}

// dir makes the directory that a server keeps things in, readable for the user
// that nginx's worker runs as.
func (k keeping) dir(otherwise, name string) (string, error) {
	parent := k.disk
	if parent == "" {
		parent = otherwise
	}
	dir, err := os.MkdirTemp(parent, name+"-")
	if err != nil {
		return "", err
	}
	return dir, os.Chmod(dir, 0o755)
}

// onDisk makes a directory below -disk. free ends its use: what is in it goes.
func (l *lab) onDisk(memory, size int64) (k keeping, free func(), err error) {
	dir, err := os.MkdirTemp(l.disk, "edge-bench-")
	if err != nil {
		return keeping{}, func() {}, fmt.Errorf("-disk: %w", err)
	}
	free = func() { _ = os.RemoveAll(dir) }
	if err := os.Chmod(dir, 0o755); err != nil {
		free()
		return keeping{}, func() {}, err
	}
	return keeping{memory: memory, disk: dir, size: size}, free, nil
}

// The intervals edge writes behind with in every scenario with a disk. Syncing
// is more frequent than by default, so that its cost falls into the time that is
// measured.
const (
	flushEvery = time.Second
	syncEvery  = time.Second
)

// Settling: a server is quiet when it has used next to nothing for a while
// that is long enough for what it writes behind to have begun.
const (
	quietFor     = 2500 * time.Millisecond
	quietStep    = 500 * time.Millisecond
	quietCPU     = 15 * time.Millisecond // of a step: a server's idle ticking
	quietTimeout = 30 * time.Second
)

// errNotQuiet: a server goes on working long after the last request.
var errNotQuiet = errors.New("still at work")

// quiet waits until s does nothing in the background any more.
func (s *subject) quiet(ctx context.Context) error {
	last, err := s.cpu()
	if err != nil {
		return err
	}
	calm := 0
	for step := range int(quietTimeout / quietStep) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(quietStep):
		}
		now, err := s.cpu()
		if err != nil {
			return err
		}
		if calm++; now-last > quietCPU {
			calm = 0
		}
		if last = now; calm >= 2 && time.Duration(step+1)*quietStep >= quietFor {
			return nil
		}
	}
	return fmt.Errorf("%s, %v after the last request: %w", s.name, quietTimeout, errNotQuiet)
}

// fillTimeout bounds how long filling a cache may take.
const fillTimeout = 10 * time.Minute

// fill asks s for each of the objects once.
func (l *lab) fill(ctx context.Context, s *subject, size int, numbers []int) (load, error) {
	d, err := epollLoad(ctx, s.addr, l.connections, fillTimeout, objects{size, s.addr}.once(numbers))
	if err == nil && d.requests != len(numbers) {
		err = fmt.Errorf("%d of %d objects were answered", d.requests, len(numbers))
	}
	if err != nil {
		return d, fmt.Errorf("filling %s: %w\n%s", s.name, err, &s.output)
	}
	return d, nil
}

// kept asks s for each of the objects once more and returns how many of them the
// origin was not asked for.
func (l *lab) kept(ctx context.Context, s *subject, o *origin, size int, numbers []int) (int, error) {
	asked := o.total.Load()
	if _, err := l.fill(ctx, s, size, numbers); err != nil {
		return 0, err
	}
	return len(numbers) - int(o.total.Load()-asked), nil
}

// needDisk refuses a -disk that is no directory.
func needDisk(path string) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return fmt.Errorf("-disk: %w", err)
	case !info.IsDir():
		return fmt.Errorf("-disk: %s is no directory", path)
	case !filepath.IsAbs(path):
		return errors.New("-disk: not an absolute path")
	}
	return nil
}
