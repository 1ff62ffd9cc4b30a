package server

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/coreos/go-systemd/v22/daemon"
)

// Inherited are listening sockets that a supervisor passed in by LISTEN_FDS
// (sd_listen_fds(3)). A nil *Inherited holds none.
type Inherited struct{ list []net.Listener }

// Inherit takes the sockets this process was started with. Call it once,
// before any file is opened; it clears the variables that named them.
func Inherit() (*Inherited, error) {
	list, err := activation.Listeners()
	if err != nil {
		return nil, fmt.Errorf("server: taking the supervisor's sockets: %w", err)
	}
	for i, l := range list {
		if l == nil {
			return nil, fmt.Errorf("server: the supervisor's socket %d (LISTEN_FDS) is not a stream socket", i)
		}
	}
	return &Inherited{list: list}, nil
}

// Take returns the socket that listens on an address, nil where there is none.
// The caller then owns it.
func (in *Inherited) Take(network, address string) net.Listener {
	if in == nil {
		return nil
	}
	for i, l := range in.list {
		if sameAddress(l.Addr(), network, address) {
			in.list = append(in.list[:i:i], in.list[i+1:]...)
			return l
		}
	}
	return nil
}

// rest names the sockets nobody took, and closes them.
func (in *Inherited) rest() []string {
	if in == nil {
		return nil
	}
	var names []string
	for _, l := range in.list {
		names = append(names, l.Addr().String())
		_ = l.Close()
	}
	in.list = nil
	return names
}

// sameAddress reports whether a socket listens where the configuration says.
// An unspecified address is any unspecified address: systemd binds [::] where
// it is told only a port.
func sameAddress(have net.Addr, network, address string) bool {
	tcp, isTCP := have.(*net.TCPAddr)
	if !isTCP || network != "tcp" {
		return !isTCP && network == "unix" && have.String() == address
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil || port != strconv.Itoa(tcp.Port) {
		return false
	}
	bound := tcp.AddrPort().Addr().Unmap()
	if host == "" {
		return bound.IsUnspecified()
	}
	want, err := netip.ParseAddr(host)
	return err == nil && (want.Unmap() == bound || want.IsUnspecified() && bound.IsUnspecified())
}

// notify tells the supervisor something (sd_notify(3)); without one it does
// nothing.
func (s *Server) notify(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		s.log.Warn("telling the supervisor", "state", state, "error", err)
	}
}

// notifyReloading has to name the moment, so that the READY that follows is
// known to be an answer to it.
func (s *Server) notifyReloading() {
	s.notify(daemon.SdNotifyReloading + "\n" + daemon.SdNotifyMonotonicUsec())
}

// watchdog returns how often the supervisor wants to hear that we live, 0 for
// never: twice within its patience.
func watchdog() time.Duration {
	patience, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		return 0
	}
	return patience / 2
}
