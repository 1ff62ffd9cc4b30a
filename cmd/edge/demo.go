package main

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"edge/config"
	"edge/server"
)

func (a *app) demoCommand() *cobra.Command {
	var listen string
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Serve with a built-in origin, and print requests to try",
		Long: `demo starts a small origin on a free port and an edge in front of it, and prints
requests to try with what to look for in the answers. Ctrl-C ends it.`,
		Args: noArguments(""),
		RunE: func(*cobra.Command, []string) error { return a.demo(listen) },
	}
	cmd.Flags().StringVar(&listen, "listen", "", "where to listen (default "+config.DefaultListen+" or, if taken, a free port)")
	return cmd
}

func (a *app) demo(listen string) error {
	defer a.catch()()
	back, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return failure{fmt.Errorf("the demo's origin: %w", err)}
	}
	origin := &http.Server{Handler: demoOrigin(), ReadHeaderTimeout: 10 * time.Second}
	done := make(chan error, 1)
	go func() { done <- origin.Serve(back) }() // ends by Close below
	defer func() {
		_ = origin.Close() // the edge, its one client, has ended
		<-done
	}()

	c, err := config.ForOrigin("http://"+back.Addr().String(), listen, "")
	if err != nil {
		return failure{err}
	}
	o := nodeOptions{config: c, stdout: a.stdout, stderr: a.stderr, adminMayMove: true}
	// What a first try should not have to read about: info lines.
	c.Logging.Level = "warn"
	if address := c.Listeners[0].Address; listen == "" && address.Network == "tcp" {
		front, err := server.ListenTCP(address.Network, address.Address)
		if errors.Is(err, syscall.EADDRINUSE) {
			front, err = server.ListenTCP(address.Network, anyPort(address.Address))
		}
		if err != nil {
			return failure{err}
		}
		o.listeners = []net.Listener{front}
	}
	n, err := newNode(o)
	if err != nil {
		for _, l := range o.listeners {
			_ = l.Close() // twice, where the node has done so
		}
		return failure{err}
	}
	defer n.close()
	return a.live(n, func() {
		_, _ = fmt.Fprintf(a.stdout, demoText, clientURL(n.server.Addrs()[0]), clientURL(back.Addr()), clientURL(n.adminAddr()), n.adminAddr())
	})
}

// demoText is what the demo prints: %[1]s the edge, %[2]s its origin, %[3]s the
// admin listener, %[4]s its address.
const demoText = `edge listens on %[1]s, in front of an origin on %[2]s

Open %[1]s/ in a browser, or try these. Cache-Status says what the cache did,
Age how many seconds old the answer is:

  curl -si %[1]s/time        # twice: first "fwd=uri-miss; stored", then "hit; ttl=..." and the same time
  curl -si %[1]s/swr         # again after 3 seconds: stale at once ("hit; ttl=-1; detail=..."), and new the time after
  curl -si %[1]s/etag        # twice: each time the origin is asked, and answers 304 ("fwd=stale")
  curl -si %[1]s/private     # twice: never stored ("detail=no-store"), never the same
  curl -si %[1]s/vary -H 'Accept-Language: de'     # a variant of its own for each language ("fwd=vary-miss")
  curl -s  %[1]s/big -o big -w '%%{speed_download}\n'     # 10 MiB
  curl -si %[1]s/big -r 0-99 -o /dev/null -D -     # a range of them
  curl -si %[1]s/error       # a 503 from the origin: passed on, not stored

One fetch for a crowd: ten clients, one slow page, and the origin is asked once
(all ten answers bear the same number):

  for i in 1 2 3 4 5 6 7 8 9 10; do curl -s %[1]s/slow & done; wait

What it has stored, how to make it forget, and what it counted:

  edge cache ls --admin %[4]s
  edge purge url %[1]s/time --admin %[4]s
  curl -s %[3]s/metrics | grep ^edge_exchanges_total

Ctrl-C ends it.
`
