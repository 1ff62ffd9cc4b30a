package server

import (
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func mustAddrPort(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// addressed is a connection with nothing but an address.
type addressed struct {
	net.Conn
	remote net.Addr
}

func (a addressed) RemoteAddr() net.Addr { return a.remote }

func TestListenUnix(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := ListenUnix(path, 0o660)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(path)
	if err != nil || info.Mode().Perm() != 0o660 || info.Mode().Type() != fs.ModeSocket {
		t.Fatalf("%v, %v", info.Mode(), err)
	}
	if _, err := ListenUnix(path, 0o660); !errors.Is(err, syscall.EADDRINUSE) {
		t.Fatalf("a socket in use was taken: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file is still there: %v", err)
	}
}

func TestListenUnixReplacesWhatACrashLeft(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	crashed, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	crashed.SetUnlinkOnClose(false)
	crashed.Close()
	l, err := ListenUnix(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
}

func TestListenUnixLeavesOtherFilesAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "precious")
	if err := os.WriteFile(path, []byte("data"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ListenUnix(path, 0o600); err == nil {
		t.Fatal("a file was taken for a stale socket")
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "data" {
		t.Errorf("%q, %v", b, err)
	}
}

func TestListenUnixLeavesASuccessorsFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	old, err := ListenUnix(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	next, err := ListenUnix(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the successor's socket was removed: %v", err)
	}
}

func TestSameAddress(t *testing.T) {
	tcp := func(s string) net.Addr { return net.TCPAddrFromAddrPort(mustAddrPort(s)) }
	for _, c := range []struct {
		have             net.Addr
		network, address string
		want             bool
	}{
		{tcp("127.0.0.1:80"), "tcp", "127.0.0.1:80", true},
		{tcp("127.0.0.1:80"), "tcp", "127.0.0.1:81", false},
		{tcp("127.0.0.1:80"), "tcp", "0.0.0.0:80", false},
		{tcp("[::]:80"), "tcp", "0.0.0.0:80", true},
		{tcp("[::]:80"), "tcp", ":80", true},
		{tcp("[::]:80"), "unix", "/80", false},
		{&net.UnixAddr{Name: "/run/a", Net: "unix"}, "unix", "/run/a", true},
		{&net.UnixAddr{Name: "/run/a", Net: "unix"}, "tcp", "127.0.0.1:80", false},
	} {
		if got := sameAddress(c.have, c.network, c.address); got != c.want {
			t.Errorf("%v for %s %s: %v", c.have, c.network, c.address, got)
		}
	}
}

// TestInherit runs this test binary again as systemd would: with a listening
// socket as descriptor 3.
func TestInherit(t *testing.T) {
	if address := os.Getenv("INHERIT_TEST_ADDRESS"); address != "" {
		inheriting(t, address)
		return
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	file, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	address := l.Addr().String()
	// LISTEN_PID must be the child's, which only a shell that becomes it can say.
	cmd := exec.Command("sh", "-c", `LISTEN_PID=$$ exec "$0" -test.run '^TestInherit$'`, os.Args[0])
	cmd.Env = append(os.Environ(), "LISTEN_FDS=1", "INHERIT_TEST_ADDRESS="+address)
	cmd.ExtraFiles = []*os.File{file}
	// It waits in the socket's queue until the child accepts it.
	nc, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	out, err := cmd.CombinedOutput()
	l.Close()
	if err != nil || !strings.Contains(string(out), "PASS") {
		t.Fatalf("%v\n%s", err, out)
	}
}

func inheriting(t *testing.T, address string) {
	in, err := Inherit()
	if err != nil {
		t.Fatal(err)
	}
	l := in.Take("tcp", address)
	if l == nil || in.Take("tcp", address) != nil {
		t.Fatal("want the socket, once")
	}
	defer l.Close()
	nc, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	nc.Close()
}

func TestInheritedSocketNobodyIsConfiguredFor(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := New(Options{Inherited: &Inherited{list: []net.Listener{l}}})
	if err := s.Listen(); err == nil || !strings.Contains(err.Error(), l.Addr().String()) {
		t.Errorf("error %v", err)
	}
}

// TestNotify plays the supervisor's side of sd_notify(3).
func TestNotify(t *testing.T) {
	path := filepath.Join(t.TempDir(), "n")
	sock, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer sock.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "40000")
	t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()))
	s := New(Options{Grace: time.Second})
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	signals := make(chan os.Signal, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.RunWithSignals(signals, Hooks{Reload: func() error { return nil }})
	}()
	next := func() string {
		b := make([]byte, 256)
		_ = sock.SetReadDeadline(time.Now().Add(patience))
		n, err := sock.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
	want := func(prefix string) {
		t.Helper()
		for {
			switch got := next(); {
			case strings.HasPrefix(got, prefix):
				return
			case got != "WATCHDOG=1":
				t.Fatalf("heard %q, want %q", got, prefix)
			}
		}
	}
	want("READY=1")
	want("WATCHDOG=1")
	signals <- syscall.SIGHUP
	want("RELOADING=1\nMONOTONIC_USEC=")
	want("READY=1")
	signals <- syscall.SIGTERM
	want("STOPPING=1")
	<-done
}
