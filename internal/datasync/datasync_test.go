//go:build linux

package datasync

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"edge/internal/netpoll"

	"golang.org/x/sys/unix"
)

// file returns a file with something to sync.
func file(t testing.TB) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	write(t, f)
	return f
}

func write(t testing.TB, f *os.File) {
	if _, err := f.WriteAt([]byte("something"), 0); err != nil {
		t.Error(err)
	}
}

func TestSync(t *testing.T) {
	if err := Sync(file(t)); err != nil {
		t.Fatal(err)
	}
	f := file(t)
	_ = f.Close()
	if err := Sync(f); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("of a closed file: %v", err)
	}
	var null *os.File
	if err := Sync(null); err == nil {
		t.Error("of no file: no error")
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	if err := Sync(w); !errors.Is(err, unix.EINVAL) { // it is submitted, refused, and then asked for plainly
		t.Errorf("of a pipe: %v", err)
	}
}

// TestAsynchronous: where this kernel can, no sync blocks.
func TestAsynchronous(t *testing.T) {
	k := newKernel()
	if k == nil {
		t.Log("this kernel has no asynchronous I/O for us")
		return
	}
	told := &refuser{kernel: k}
	q := &queue{kernel: told}
	for range 3 {
		if err := q.sync(file(t)); err != nil {
			t.Fatal(err)
		}
	}
	if n := told.begun.Load(); n != 3 || q.used != 1 {
		t.Errorf("%d of 3 syncs were asynchronous, by %d slots", n, q.used)
	}
}

// refuser is a kernel that refuses when it is told to.
type refuser struct {
	kernel
	refuse atomic.Bool
	begun  atomic.Int64
}

func (r *refuser) submit(fd, number int, e *netpoll.Event) error {
	if r.refuse.Load() {
		return unix.EAGAIN
	}
	err := r.kernel.submit(fd, number, e)
	if err == nil {
		r.begun.Add(1)
	}
	return err
}

// TestManyAtOnce: more than there are slots for, of files that are closed meanwhile.
func TestManyAtOnce(t *testing.T) {
	before := descriptors(t)
	var all sync.WaitGroup
	for range 5 * maxSyncs {
		all.Go(func() {
			f := file(t)
			var closing sync.WaitGroup
			for i := range 10 {
				write(t, f)
				if i == 9 {
					closing.Go(func() { _ = f.Close() })
				}
				if err := Sync(f); err != nil && !(i == 9 && errors.Is(err, fs.ErrClosed)) {
					t.Error(err)
				}
			}
			closing.Wait()
		})
	}
	all.Wait()
	if after := descriptors(t); after > before+maxSyncs {
		t.Errorf("%d descriptors more than before: more than %d", after-before, maxSyncs)
	}
	ofProcess.mu.Lock()
	defer ofProcess.mu.Unlock()
	if len(ofProcess.free) != ofProcess.used {
		t.Errorf("of %d slots only %d were given back", ofProcess.used, len(ofProcess.free))
	}
}

// descriptors returns how many the process has.
func descriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// TestRefused: of a kernel that refuses, always or now and then, nobody notices.
func TestRefused(t *testing.T) {
	none := &queue{}
	none.once.Do(func() {})
	if err := none.sync(file(t)); err != nil {
		t.Errorf("without asynchronous I/O: %v", err)
	}
	k := &refuser{kernel: newScript()}
	k.refuse.Store(true)
	q := &queue{kernel: k}
	for range 3 * maxSyncs {
		if err := q.sync(file(t)); err != nil {
			t.Fatal(err)
		}
	}
	if q.used != 1 || len(q.free) != 1 {
		t.Errorf("%d slots used and %d free for one at a time that was refused", q.used, len(q.free))
	}
}

// script is a kernel whose syncs end when and as the test says.
type script struct {
	begun chan pending
	mu    sync.Mutex
	ends  []end
	err   error
}

type pending struct {
	number int
	event  *netpoll.Event
}

type end struct {
	number int
	result int64
}

func newScript() *script { return &script{begun: make(chan pending, maxSyncs)} }

func (s *script) submit(_, number int, e *netpoll.Event) error {
	s.begun <- pending{number, e}
	return nil
}

func (s *script) ended(f func(int, int64)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.ends {
		f(e.number, e.result)
	}
	s.ends = nil
	return s.err
}

// end ends a sync.
func (s *script) end(t *testing.T, p pending, result int64) {
	t.Helper()
	s.mu.Lock()
	s.ends = append(s.ends, end{p.number, result})
	s.mu.Unlock()
	if err := p.event.Signal(); err != nil {
		t.Error(err)
	}
}

// TestErrorsAreTheirOwners: each gets what its own sync returned, in whatever order
// they end, and whoever learns of it.
func TestErrorsAreTheirOwners(t *testing.T) {
	k := newScript()
	q := &queue{kernel: k}
	begin := func() (pending, chan error) {
		got := make(chan error, 1)
		f := file(t)
		go func() { got <- q.sync(f) }()
		return <-k.begun, got
	}
	a, gotA := begin()
	b, gotB := begin()
	c, gotC := begin()
	// The end of c is there to see before that of b is told.
	k.mu.Lock()
	k.ends = append(k.ends, end{c.number, -int64(unix.EIO)})
	k.mu.Unlock()
	k.end(t, b, 0)
	if err := <-gotB; err != nil {
		t.Errorf("b: %v", err)
	}
	select {
	case err := <-gotA:
		t.Errorf("a ended before its end: %v", err)
	case err := <-gotC:
		t.Errorf("c was not told yet: %v", err)
	case <-time.After(10 * time.Millisecond):
	}
	if err := c.event.Signal(); err != nil {
		t.Fatal(err)
	}
	if err := <-gotC; !errors.Is(err, unix.EIO) {
		t.Errorf("c: %v, not EIO", err)
	}
	k.end(t, a, -int64(unix.ENOSPC))
	if err := <-gotA; !errors.Is(err, unix.ENOSPC) {
		t.Errorf("a: %v, not ENOSPC", err)
	}
	// A slot that has failed does not remember it.
	for range 3 {
		d, gotD := begin()
		k.end(t, d, 0)
		if err := <-gotD; err != nil {
			t.Errorf("after the failures: %v", err)
		}
	}
	if q.used != 3 {
		t.Errorf("%d slots for 3 at once", q.used)
	}
}

// TestUnknownEndsAreFailures: a sync whose end cannot be learnt has failed, and its
// slot is no one else's.
func TestUnknownEndsAreFailures(t *testing.T) {
	k := newScript()
	q := &queue{kernel: k}
	got := make(chan error, 1)
	f := file(t)
	go func() { got <- q.sync(f) }()
	p := <-k.begun
	k.mu.Lock()
	k.err = unix.EFAULT
	k.mu.Unlock()
	if err := p.event.Signal(); err != nil {
		t.Fatal(err)
	}
	if err := <-got; !errors.Is(err, unix.EFAULT) {
		t.Errorf("%v, not EFAULT", err)
	}
	if len(q.free) != 0 {
		t.Error("its slot is free")
	}
}

func BenchmarkSync(b *testing.B) {
	for _, c := range []struct {
		name string
		sync func(*os.File) error
	}{{"asynchronous", Sync}, {"blocking", func(f *os.File) error { return block(int(f.Fd())) }}} {
		b.Run(c.name, func(b *testing.B) {
			f := file(b)
			b.ReportAllocs()
			for b.Loop() {
				write(b, f)
				if err := c.sync(f); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
