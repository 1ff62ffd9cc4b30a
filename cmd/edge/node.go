package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"edge/accesslog"
	"edge/admin"
	"edge/cache/storage"
	"edge/cache/storage/tiered"
	"edge/config"
	"edge/pool"
	"edge/proxy"
	"edge/purge"
	"edge/server"
)

// adminGrace is how long requests to the admin listener may go on at the end.
const adminGrace = time.Second

// adminSocketMode lets only the process's own user reach the admin's socket,
// since that needs no token.
const adminSocketMode = 0o600

// nodeOptions are what a node is made of.
type nodeOptions struct {
	// config is validated. file is where it is from, read again on SIGHUP;
	// empty for none.
	config         *config.Config
	file           string
	stdout, stderr io.Writer
	logFormat      string // text or json
	// adminMayMove lets the admin listener take any free port where its own
	// is taken.
	adminMayMove bool
	// listeners stand for the configured ones, by index; nil to open those.
	listeners []net.Listener
	// dial stands for connecting to origins; nil for the real thing.
	dial dialer
}

// node is everything one process runs, wired. Owner: the goroutine of newNode,
// run and close; reload runs on it too.
type node struct {
	opt    nodeOptions
	config *config.Config // in use
	log    *slog.Logger
	level  *slog.LevelVar

	clock   *proxy.Clock
	ledger  *purge.Ledger
	tokens  *admin.Tokens    // nil without
	away    map[string]error // disks that are not opened, and why
	store   storage.Store
	memory  *memoryLimit // nil without
	metrics *admin.Metrics
	access  *accesslog.Log // nil without
	proxy   *proxy.Proxy
	server  *server.Server
	admin   *admin.Server
	certs   []*server.Certificates // by listener; nil for cleartext

	originsMu sync.Mutex // origins is read for metrics too
	origins   map[string]*origin
	retired   []*retiredPool

	adminListener net.Listener
	adminDone     chan struct{} // closed when the admin server has ended
}

// newNode builds a node and opens its sockets. What it has made is ended again
// where something fails.
func newNode(o nodeOptions) (*node, error) {
	n := &node{opt: o, config: o.config, level: new(slog.LevelVar)}
	if err := n.build(); err != nil {
		n.close()
		return nil, err
	}
	return n, nil
}

// build makes everything, sockets last.
func (n *node) build() (err error) {
	c := n.config
	if n.log, err = newLogger(n.opt.stderr, n.opt.logFormat, n.level); err != nil {
		return err
	}
	n.setLevel(c)
	inherited, err := server.Inherit()
	if err != nil {
		return err
	}
	n.metrics = admin.NewMetrics(build())
	if err = n.openAccessLog(); err != nil {
		return err
	}
	n.clock = proxy.NewClock()
	if err = n.openLedger(n.clock.Now); err != nil {
		return err
	}
	if err = n.openStore(n.clock.Now); err != nil {
		return err
	}
	n.memory = startMemoryLimit(int64(c.Cache.Memory.Size), n.store, n.log)
	n.ledger.Reclaim(n.store)
	routes, origins, err := n.buildRoutes(c)
	if err != nil {
		return err
	}
	n.setOrigins(origins)
	n.proxy = proxy.New(proxy.Options{Name: c.Node.Name, LoopID: c.Node.LoopID,
		Routes: routes, Trusted: prefixes(c.TrustedProxies),
		Store: n.store, Ledger: n.ledger, Purger: n.ledger, Clock: n.clock, Observer: n.observer(), Logger: n.log})
	if err = n.listen(inherited); err != nil {
		return err
	}
	n.metrics.SetSources(n.sources())
	return nil
}

// listen opens the admin's socket and the clients'.
func (n *node) listen(inherited *server.Inherited) error {
	if err := n.openAdmin(inherited); err != nil {
		return err
	}
	listeners, err := n.listenerOptions()
	if err != nil {
		return err
	}
	n.server = server.New(server.Options{
		Listeners: listeners, Inherited: inherited, Grace: n.config.Shutdown.Grace,
		OnPhase: n.onPhase, Cut: n.proxy.Close, Logger: n.log})
	if err := n.server.Listen(); err != nil {
		return err
	}
	n.admin = admin.New(admin.Options{Metrics: n.metrics, Ready: n.ready, Purges: n.purges(), Entries: n.entries(), Tokens: n.tokens, Logger: n.log})
	n.adminDone = make(chan struct{})
	go func() { // ends by close
		defer close(n.adminDone)
		if err := n.admin.Serve(n.adminListener); err != nil {
			n.log.Error("the admin listener ended", "error", err)
		}
	}()
	return nil
}

// openAdmin opens the admin's socket.
func (n *node) openAdmin(inherited *server.Inherited) error {
	a := n.config.Admin.Address
	if n.adminListener = inherited.Take(a.Network, a.Address); n.adminListener != nil {
		return nil
	}
	var err error
	if a.Network == "unix" {
		n.adminListener, err = server.ListenUnix(a.Address, adminSocketMode)
	} else {
		n.adminListener, err = server.ListenTCP(a.Network, a.Address)
		if n.opt.adminMayMove && errors.Is(err, syscall.EADDRINUSE) {
			n.adminListener, err = server.ListenTCP(a.Network, anyPort(a.Address))
		}
	}
	if err != nil {
		return fmt.Errorf("admin.address: %w", err)
	}
	return nil
}

// anyPort is the same host with a port of the kernel's choice.
func anyPort(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	return net.JoinHostPort(host, "0")
}

func (n *node) adminAddr() net.Addr { return n.adminListener.Addr() }

// onPhase is told of the phases of the process.
func (n *node) onPhase(p server.Phase) {
	if p == server.GracefulTerminate {
		n.proxy.Drain() // from here on answers say close
	}
}

// ready is what /readyz asks.
func (n *node) ready() (bool, string) {
	p := n.server.Phase()
	return p == server.Running, p.String()
}

func (n *node) sources() admin.Sources {
	s := admin.Sources{Store: n.store.Stats, Proxy: n.proxy.Stats, Server: n.server.Stats, Pools: n.poolStats, Purges: n.ledger.Stats}
	if n.access != nil {
		s.AccessLog = n.access.Stats
	}
	if t, ok := n.store.(*tiered.Store); ok {
		s.Disks = t.Disk().States
	}
	return s
}

func (n *node) poolStats() map[string]pool.Stats {
	n.originsMu.Lock()
	defer n.originsMu.Unlock()
	stats := make(map[string]pool.Stats, len(n.origins))
	for name, o := range n.origins {
		stats[name] = o.proxied.Pool.Stats()
	}
	return stats
}

// run serves until signals say otherwise. started is called once it does.
func (n *node) run(signals <-chan os.Signal, started func()) error {
	hooks := server.Hooks{Reopen: n.reopen, Ready: func() {
		for _, addr := range n.server.Addrs() {
			n.log.Info("listening", "address", addr.String())
		}
		n.log.Info("admin listening", "address", n.adminAddr().String())
		started()
	}}
	if n.opt.file != "" {
		hooks.Reload = n.reload
	}
	n.server.RunWithSignals(signals, hooks)
	n.log.Info("stopped")
	return nil
}

// close ends what still runs, in the reverse order of newNode. It is called
// once, whatever newNode came to.
func (n *node) close() {
	if n.proxy != nil {
		n.proxy.Close()
	}
	if n.admin != nil {
		ctx, cancel := context.WithTimeout(context.Background(), adminGrace)
		defer cancel()
		n.warn("closing the admin listener", n.admin.Close(ctx))
		<-n.adminDone
	} else if n.adminListener != nil {
		n.warn("closing the admin listener", n.adminListener.Close())
	}
	n.closeOrigins()
	if n.ledger != nil {
		n.warn("closing the purge journal", n.ledger.Close())
	}
	n.memory.end()
	if n.store != nil {
		n.warn("closing the store", n.store.Close())
	}
	if n.access != nil {
		n.warn("closing the access log", n.access.Close())
	}
}

func (n *node) warn(doing string, err error) {
	if err != nil {
		n.log.Warn(doing, "error", err)
	}
}
