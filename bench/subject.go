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
	name string
	addr string
	*process
}

// errAbsent: the server is not installed here; the line says which.
var errAbsent = errors.New("not installed")

// startEdge runs edge as a user would: a file, no access log, metrics on.
func (l *lab) startEdge(ctx context.Context, o *origin) (*subject, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	admin, err := freeAddr()
	if err != nil {
		return nil, err
	}
	file := filepath.Join(l.dir, "edge.yaml")
	if err := os.WriteFile(file, edgeConfig(addr, admin, o.addr), 0o644); err != nil {
		return nil, err
	}
	p, err := l.spawn(ctx, "edge", addr, nil, l.binary, "run", "-c", file)
	if err != nil {
		return nil, err
	}
	return &subject{"edge", addr, p}, nil
}

// edgeConfig is the configuration edge is measured with.
func edgeConfig(listen, admin, origin string) []byte {
	return fmt.Appendf(nil, `version: 1
listeners:
  - address: %s
admin:
  address: %s
origins:
  bench:
    endpoints:
      - url: http://%s
cache:
  memory:
    size: 512MiB
routes:
  - match: {path: /*}
    origin: bench
`, listen, admin, origin)
}

// startNginx runs nginx with proxy_cache on tmpfs: one worker, upstream
// connections kept alive, one fill per key, otherwise its defaults.
func (l *lab) startNginx(ctx context.Context, o *origin) (*subject, error) {
	bin, err := findNginx()
	if err != nil {
		return nil, err
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(l.dir, "nginx-")
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return nil, err
	}
	conf := fmt.Sprintf(`daemon off;
worker_processes 1;
worker_rlimit_nofile 16384;
pid %[1]s/pid;
error_log stderr crit;
events { worker_connections 8192; }
http {
  access_log off;
  sendfile on;
  tcp_nopush on;
  keepalive_requests 1000000000;
  client_body_temp_path %[1]s/body;
  proxy_temp_path %[1]s/proxy;
  fastcgi_temp_path %[1]s/fastcgi;
  uwsgi_temp_path %[1]s/uwsgi;
  scgi_temp_path %[1]s/scgi;
  proxy_cache_path %[1]s/cache levels=1:2 keys_zone=bench:64m max_size=4g inactive=1h use_temp_path=off;
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
`, dir, o.addr, addr)
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(conf), 0o644); err != nil {
		return nil, err
	}
	p, err := l.spawn(ctx, "nginx", addr, nil, bin, "-p", dir, "-c", file, "-e", "stderr")
	if err != nil {
		return nil, err
	}
	return &subject{"nginx", addr, p}, nil
}

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
	p, err := l.spawn(ctx, "floor", addr, floorEnv, self, "floor", "-listen", addr, "-answer", file)
	if err != nil {
		return nil, err
	}
	return &subject{"floor", addr, p}, nil
}

// caches starts edge and nginx, those of them that were asked for and are
// here. stop ends what was started, also after an error.
func (l *lab) caches(ctx context.Context, o *origin) (list []*subject, stop func(), err error) {
	stop = func() {
		for _, s := range list {
			s.stop()
		}
	}
	starts := []struct {
		name  string
		start func(context.Context, *origin) (*subject, error)
	}{{"edge", l.startEdge}, {"nginx", l.startNginx}}
	for _, st := range starts {
		if !l.wants(st.name) {
			continue
		}
		s, err := st.start(ctx, o)
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
