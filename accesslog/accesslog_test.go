package accesslog

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// sink is an Output that tests look into, that hangs while held, and that fails
// as told.
type sink struct {
	mu   sync.Mutex
	got  bytes.Buffer
	gate chan struct{} // not nil: a write waits for its close
	fail func(p []byte) (int, error)
}

func (s *sink) Write(p []byte) (int, error) {
	s.mu.Lock()
	gate, fail := s.gate, s.fail
	s.mu.Unlock()
	if gate != nil {
		<-gate
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if fail != nil {
		n, err := fail(p)
		s.got.Write(p[:n])
		return n, err
	}
	return s.got.Write(p)
}

func (s *sink) set(gate chan struct{}, fail func(p []byte) (int, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gate, s.fail = gate, fail
}

func (s *sink) lines() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.SplitAfter(strings.TrimSuffix(s.got.String(), "\n"), "\n")
}

func open(t *testing.T, o Options) *Log {
	t.Helper()
	l, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func refuse(l *Log) { l.Refused(netip.AddrPort{}, 400, "reason") }

func TestALineIsWrittenWithinTheInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(sink)
		l := open(t, Options{Path: "stdout", Stdout: s})
		l.Exchange(record())
		time.Sleep(FlushInterval + time.Millisecond)
		synctest.Wait()
		if got := s.lines(); len(got) != 1 || !json.Valid([]byte(got[0])) {
			t.Errorf("lines %q", got)
		}
		if FlushInterval > time.Second {
			t.Error("a line may wait a second at most")
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestAHangingWriteStopsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(sink)
		gate := make(chan struct{})
		s.set(gate, nil)
		l := open(t, Options{Path: "stderr", Stderr: s, Buffer: 10})
		refuse(l)
		time.Sleep(FlushInterval + time.Millisecond)
		synctest.Wait() // the writer hangs with one line
		for range 25 {
			refuse(l)
		}
		if got := l.Stats(); got.Dropped != 15 || got.Written != 0 {
			t.Errorf("stats %+v", got)
		}
		close(gate)
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if got := l.Stats(); got.Written != 11 || len(s.lines()) != 11 {
			t.Errorf("stats %+v, %d lines", got, len(s.lines()))
		}
		refuse(l)
		if got := l.Stats().Dropped; got != 16 {
			t.Errorf("after Close: %d dropped", got)
		}
	})
}

func TestCloseDoesNotWaitForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(sink)
		gate := make(chan struct{})
		s.set(gate, nil)
		l := open(t, Options{Path: "stdout", Stdout: s})
		refuse(l)
		began := time.Now()
		if err := l.Close(); err == nil || time.Since(began) != CloseTimeout {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		close(gate)
	})
}

func TestManyBytesAreWrittenWithoutWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(sink)
		l := open(t, Options{Path: "stdout", Stdout: s})
		defer l.Close()
		began := time.Now()
		for l.Stats().Written == 0 {
			refuse(l)
			synctest.Wait()
		}
		if time.Since(began) != 0 {
			t.Errorf("took %v", time.Since(began))
		}
	})
}

func TestPendingBytesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(sink)
		gate := make(chan struct{})
		s.set(gate, nil)
		l := open(t, Options{Path: "stdout", Stdout: s, Buffer: 1 << 30})
		r := record()
		r.Req.Target = bytes.Repeat([]byte{'a'}, maxValue)
		for range 2 * MaxPending / maxValue {
			l.Exchange(r)
		}
		l.mu.Lock()
		pending := len(l.pending)
		l.mu.Unlock()
		if pending > MaxPending || l.Stats().Dropped == 0 {
			t.Errorf("%d bytes pending, %+v", pending, l.Stats())
		}
		close(gate)
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestAFullDiskLosesWholeLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(sink)
		l := open(t, Options{Path: "stdout", Stdout: s})
		s.set(nil, func(p []byte) (int, error) { return len(p)*3/4 + 1, errors.New("no space") })
		refuse(l)
		refuse(l)
		time.Sleep(FlushInterval + time.Millisecond)
		synctest.Wait()
		s.set(nil, nil)
		refuse(l)
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if got := l.Stats(); got.Written != 2 || got.Lost != 1 {
			t.Errorf("stats %+v", got)
		}
		lines := s.lines()
		if len(lines) != 3 || !json.Valid([]byte(lines[0])) || json.Valid([]byte(lines[1])) || !json.Valid([]byte(lines[2])) {
			t.Errorf("lines %q: want a whole one, a torn one, a whole one", lines)
		}
	})
}

func TestReopenAfterRotation(t *testing.T) {
	dir := t.TempDir()
	path, rotated := filepath.Join(dir, "access.log"), filepath.Join(dir, "access.log.1")
	if err := os.WriteFile(path, []byte("before\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	l := open(t, Options{Path: path})
	refuse(l)
	if err := os.Rename(path, rotated); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); l.Stats().Written == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not written")
		}
	}
	if err := l.Reopen(); err != nil {
		t.Fatal(err)
	}
	refuse(l)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.Reopen(); err == nil {
		t.Error("reopened after Close")
	}
	for file, want := range map[string]int{rotated: 2, path: 1} {
		b, err := os.ReadFile(file)
		if err != nil || bytes.Count(b, []byte("\n")) != want {
			t.Errorf("%s: %q, %v", file, b, err)
		}
	}
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	if _, err := Open(Options{Path: filepath.Join(t.TempDir(), "none", "access.log")}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}

func TestManyWritersMakeWholeLines(t *testing.T) {
	s := new(sink)
	l := open(t, Options{Path: "stdout", Stdout: s, Buffer: 1 << 20})
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			r := record()
			for range 500 {
				l.Exchange(r)
			}
		})
	}
	all.Wait()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	lines := s.lines()
	for _, line := range lines {
		if !json.Valid([]byte(line)) {
			t.Fatalf("torn line %q", line)
		}
	}
	if len(lines) != 4000 {
		t.Errorf("%d lines", len(lines))
	}
}
