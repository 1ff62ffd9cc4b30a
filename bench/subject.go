//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// subject is one server under measurement, running.
type subject struct {
	name  string
	addr  string
	admin string  // address of the admin side, "" where there is none
	kept  keeping // where it keeps things; disk is its own directory
	env   []string
	argv  []string
	*process
}

// subject starts a server that will listen on addr.
func (l *lab) subject(ctx context.Context, name, addr string, argv ...string) (*subject, error) {
	s := &subject{name: name, addr: addr, argv: argv}
	return s, l.again(ctx, s)
}

// again starts s, which does not run.
func (l *lab) again(ctx context.Context, s *subject) (err error) {
	s.process, err = l.spawn(ctx, s.name, s.addr, s.env, s.argv...)
	return err
}

// errAbsent: the server is not installed here; the line says which.
var errAbsent = errors.New("not installed")

// startEdge runs edge as a user would: a file, no access log, metrics on.
func (l *lab) startEdge(ctx context.Context, o *origin, k keeping) (*subject, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	admin, err := freeAddr()
	if err != nil {
		return nil, err
	}
	if k.disk != "" {
		if k.disk, err = k.dir("", "edge"); err != nil {
			return nil, err
		}
	}
	file := filepath.Join(l.dir, "edge.yaml")
	if err := os.WriteFile(file, edgeConfig(addr, admin, o.addr, k), 0o644); err != nil {
		return nil, err
	}
	s, err := l.subject(ctx, "edge", addr, l.binary, "run", "-c", file)
	if err != nil {
		return nil, err
	}
	s.admin, s.kept = admin, k
	return s, nil
}

// edgeConfig is the configuration edge is measured with.
func edgeConfig(listen, admin, origin string, k keeping) []byte {
	b := fmt.Appendf(nil, `version: 1
listeners:
  - address: %s
admin:
  address: %s
origins:
  bench:
    endpoints:
      - url: http://%s
routes:
  - match: {path: /*}
    origin: bench
cache:
  memory:
    size: %dB
`, listen, admin, origin, k.memory)
	if k.disk != "" {
		b = fmt.Appendf(b, "  disk: [{path: %q, size: %dB}]\n  flush_interval: %v\n  sync_interval: %v\n",
			k.disk, k.size, flushEvery, syncEvery)
	}
	return b
}

// startNginx runs nginx with proxy_cache where k says, or on tmpfs: one worker,
// upstream connections kept alive, one fill per key, otherwise its defaults.
func (l *lab) startNginx(ctx context.Context, o *origin, k keeping) (*subject, error) {
	bin, err := findNginx()
	if err != nil {
		return nil, err
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	dir, err := k.dir(l.dir, "nginx")
	if err != nil {
		return nil, err
	}
	name, openFiles := "nginx", "off"
	if k.openFiles {
		name, openFiles = nginxOpenFiles, "max=16000 inactive=1h"
	}
	conf := fmt.Sprintf(`daemon off;
worker_processes 1;
worker_rlimit_nofile 32768;
pid %[1]s/pid;
error_log stderr crit;
events { worker_connections 8192; }
http {
  access_log off;
  sendfile on;
  open_file_cache %[4]s;
  keepalive_requests 1000000000;
  client_body_temp_path %[1]s/body;
  proxy_temp_path %[1]s/proxy;
  fastcgi_temp_path %[1]s/fastcgi;
  uwsgi_temp_path %[1]s/uwsgi;
  scgi_temp_path %[1]s/scgi;
  proxy_cache_path %[1]s/cache levels=1:2 keys_zone=bench:256m max_size=%[5]d inactive=1h use_temp_path=off;
  upstream origin { server %[2]s; keepalive 128; keepalive_requests 1000000000; }
  server {
    listen %[3]s backlog=4096;
    location / {
      proxy_pass http://origin;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_cache bench;
      proxy_cache_lock on;
    }
  }
}
`, dir, o.addr, addr, openFiles, k.size)
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(conf), 0o644); err != nil {
		return nil, err
	}
	return l.subject(ctx, name, addr, bin, "-p", dir, "-c", file, "-e", "stderr")
}

// nginxOpenFiles is the name of an nginx that keeps the files it reads open.
const nginxOpenFiles = "nginx-ofc"

// findNginx looks in PATH and where Debian puts it, which is not in every
// user's PATH.
func findNginx() (string, error) {
	if bin, err := exec.LookPath("nginx"); err == nil {
		return bin, nil
	}
	if bin, err := exec.LookPath("/usr/sbin/nginx"); err == nil {
		return bin, nil
	}
	return "", fmt.Errorf("nginx: %w", errAbsent)
}

// startFloor runs this program's own subcommand with the given answer.
func (l *lab) startFloor(ctx context.Context, answer []byte) (*subject, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	file := filepath.Join(l.dir, "floor.answer")
	if err := os.WriteFile(file, answer, 0o644); err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s := &subject{name: "floor", addr: addr, env: floorEnv, argv: []string{self, "floor", "-listen", addr, "-answer", file}}
	return s, l.again(ctx, s)
}

// starter starts one cache.
type starter struct {
	name  string // as in -servers
	start func(context.Context, *origin, keeping) (*subject, error)
}

// caches starts edge and nginx, in memory.
func (l *lab) caches(ctx context.Context, o *origin) (list []*subject, stop func(), err error) {
	return l.startAll(ctx, o, inMemory, starter{"edge", l.startEdge}, starter{"nginx", l.startNginx})
}

// startOnDisk starts an origin and the caches that keep up to size bytes on -disk.
// stop ends all of them and removes what they kept, also after an error.
func (l *lab) startOnDisk(ctx context.Context, size int64, starters ...starter) (o *origin, list []*subject, stop func(), err error) {
	if o, err = startOrigin(); err != nil {
		return nil, nil, func() {}, err
	}
	k, free, err := l.onDisk(int64(l.memory), size)
	if err != nil {
		return o, nil, func() { free(); o.stop() }, err
	}
	list, ended, err := l.startAll(ctx, o, k, starters...)
	return o, list, func() { ended(); free(); o.stop() }, err
}

// startAll starts those caches that were asked for and are here. stop ends what
// was started, also after an error.
func (l *lab) startAll(ctx context.Context, o *origin, k keeping, starters ...starter) (list []*subject, stop func(), err error) {
	stop = func() {
		for _, s := range list {
			s.stop()
		}
	}
	for _, st := range starters {
		if !l.wants(st.name) {
			continue
		}
		s, err := st.start(ctx, o, k)
		if errors.Is(err, errAbsent) {
			fmt.Println(err, "here: no figures to compare with")
			continue
		}
		if err != nil {
			return list, stop, err
		}
		list = append(list, s)
	}
	return list, stop, nil
}
