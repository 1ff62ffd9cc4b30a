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

// Apache Traffic Server, run privately: every path it would use of the
// system's is given to it by a runroot.yaml (see traffic_layout(8)) or by a
// setting, and it changes no user. One thread for the network, no access log,
// otherwise its defaults; answers are stored and reused by their Cache-Control.

// trafficRecords is its records.config. Arguments: a directory, the port, bytes
// of the memory tier.
const trafficRecords = `CONFIG proxy.config.http.server_ports STRING %[2]d:ip-in=127.0.0.1:ipv4
CONFIG proxy.config.admin.user_id STRING #-1
CONFIG proxy.config.exec_thread.autoconfig INT 0
CONFIG proxy.config.exec_thread.limit INT 1
CONFIG proxy.config.exec_thread.affinity INT 0
CONFIG proxy.config.accept_threads INT 0
CONFIG proxy.config.task_threads INT 1
CONFIG proxy.config.crash_log_helper STRING NULL
CONFIG proxy.config.log.logging_enabled INT 0
CONFIG proxy.config.log.logfile_dir STRING %[1]s/log
CONFIG proxy.config.local_state_dir STRING %[1]s/run
CONFIG proxy.config.body_factory.template_sets_dir STRING %[1]s/config
CONFIG proxy.config.http.wait_for_cache INT 1
CONFIG proxy.config.http.keep_alive_no_activity_timeout_in INT 600
CONFIG proxy.config.cache.ram_cache.size INT %[3]d
CONFIG proxy.config.url_remap.remap_required INT 1
CONFIG proxy.config.reverse_proxy.enabled INT 1
`

// trafficLayout is its runroot.yaml. Argument: a directory.
const trafficLayout = `prefix: /usr
exec_prefix: /usr
bindir: /usr/bin
sbindir: /usr/bin
includedir: /usr/include
libdir: /usr/lib
libexecdir: /usr/lib/trafficserver/modules
mandir: /usr/share/man
infodir: /usr/share/info
sysconfdir: %[1]s/config
datadir: %[1]s/run
localstatedir: %[1]s/run
runtimedir: %[1]s/run
logdir: %[1]s/log
cachedir: %[1]s/cache
`

// trafficAllow is its ip_allow.yaml: without one it serves nobody.
const trafficAllow = "ip_allow:\n  - {apply: in, ip_addrs: [127.0.0.1], action: allow, methods: ALL}\n"

// startTrafficServer runs Apache Traffic Server with its cache storage in a file of
// k.size bytes.
func (l *lab) startTrafficServer(ctx context.Context, o *origin, k keeping) (*subject, error) {
	bin, err := exec.LookPath("traffic_server")
	if errors.Is(err, exec.ErrNotFound) {
		return nil, fmt.Errorf("Apache Traffic Server: %w", errAbsent)
	}
	if err != nil {
		return nil, err
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	sa, err := sockaddr(addr)
	if err != nil {
		return nil, err
	}
	dir, err := k.dir(l.dir, "ats")
	if err != nil {
		return nil, err
	}
	for _, sub := range []string{"config", "cache", "log", "run"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
			return nil, err
		}
	}
	layout := filepath.Join(dir, "runroot.yaml")
	config := filepath.Join(dir, "config")
	for file, content := range map[string]string{
		layout:                                        fmt.Sprintf(trafficLayout, dir),
		filepath.Join(config, "records.config"):       fmt.Sprintf(trafficRecords, dir, sa.Port, k.memory),
		filepath.Join(config, "remap.config"):         "map / http://" + o.addr + "/\n",
		filepath.Join(config, "storage.config"):       fmt.Sprintf("%s/cache %d\n", dir, k.size),
		filepath.Join(config, "ip_allow.yaml"):        trafficAllow,
		filepath.Join(config, "plugin.config"):        "",
		filepath.Join(config, "ssl_multicert.config"): "",
	} {
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			return nil, err
		}
	}
	return l.subject(ctx, "ats", addr, bin, "--run-root="+layout)
}
