package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// SocketMode is the permissions of a socket for clients: as open as a TCP port
// on loopback is. Who may come near is for the directory's permissions to say.
const SocketMode fs.FileMode = 0o666

// staleProbe is how long a socket file's listener has to show itself.
const staleProbe = time.Second

// umask serialises changes of the process's umask.
var umask sync.Mutex

// ListenUnix opens a Unix socket with the permissions mode. A socket file that
// nobody listens on, as a crash leaves it behind, is replaced; anything else at
// path is left alone and an error. Close removes the file, unless another has
// taken its place. To be called while the process starts: it changes the
// process's umask for a moment.
func ListenUnix(path string, mode fs.FileMode) (net.Listener, error) {
	if err := removeStale(path); err != nil {
		return nil, fmt.Errorf("server: listen unix %s: %w", path, err)
	}
	// chmod after bind would leave a moment with other permissions.
	umask.Lock()
	old := syscall.Umask(int(0o777 &^ mode))
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	syscall.Umask(old)
	umask.Unlock()
	if err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	l.SetUnlinkOnClose(false)
	info, err := os.Lstat(path)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("server: listen unix %s: %w", path, err), l.Close())
	}
	return &unixListener{UnixListener: l, path: path, made: info}, nil
}

// removeStale removes what is at path if it is a socket that nobody listens on.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return errors.New("there is a file that is not a socket")
	}
	ctx, cancel := context.WithTimeout(context.Background(), staleProbe)
	defer cancel()
	nc, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if err == nil {
		_ = nc.Close()
		return syscall.EADDRINUSE
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("there is a socket, and whether it is in use cannot be told: %w", err)
	}
	return os.Remove(path)
}

// unixListener removes its file when it closes.
type unixListener struct {
	*net.UnixListener
	path string
	made fs.FileInfo
}

// Close stops listening and removes the socket's file where it is still ours.
func (l *unixListener) Close() error {
	// Before the socket closes, so that nobody finds a file nobody listens on.
	var gone error
	if info, err := os.Lstat(l.path); err == nil && os.SameFile(info, l.made) {
		gone = os.Remove(l.path)
	}
	return errors.Join(gone, l.UnixListener.Close())
}
