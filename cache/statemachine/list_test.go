package statemachine

import (
	"math"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func elements(value string) []string {
	var all []string
	l := list{rest: []byte(value)}
	for e, ok := l.next(); ok; e, ok = l.next() {
		all = append(all, string(e))
	}
	return all
}

func TestList(t *testing.T) {
	for _, tc := range []struct {
		value string
		want  []string
	}{
		{"", nil},
		{" , ,, ", nil},
		{"a", []string{"a"}},
		{"a,b , c\t,d", []string{"a", "b", "c", "d"}},
		{`a="x, y", b`, []string{`a="x, y"`, "b"}},
		{`a="x\", y", b`, []string{`a="x\", y"`, "b"}},
		{`a="x, b, c`, []string{`a="x`, "b", "c"}}, // an open quote hides nothing
		{`"a,b","c,d`, []string{`"a,b"`, `"c`, "d"}},
		{`a\", b`, []string{`a\"`, "b"}},
	} {
		if d := cmp.Diff(tc.want, elements(tc.value)); d != "" {
			t.Errorf("%q: %s", tc.value, d)
		}
	}
}

// A head full of quotes that never end must cost linear work.
func TestListIsLinear(t *testing.T) {
	wantLinear(t, func(n int) func() {
		value := strings.Repeat(`"\",`, n<<8)
		return func() { elements(value) }
	})
}

// wantLinear wants the work that f prepares for size n to grow as n does. It counts the
// thread's processor time, so that the answer is the same on a slow or busy machine.
func wantLinear(t *testing.T, f func(n int) (work func())) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	now := func() time.Duration {
		var ts unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts); err != nil {
			t.Fatal(err)
		}
		return time.Duration(ts.Nano())
	}
	least := func(n int) time.Duration {
		work, least := f(n), time.Duration(math.MaxInt64)
		for range 5 { // one of which nothing disturbs
			began := now()
			work()
			least = min(least, now()-began)
		}
		return least
	}
	const size, times = 64, 16
	// A square would take 256 times as long.
	if one, all := least(size), least(times*size); all > 4*times*max(one, 10*time.Microsecond) {
		t.Errorf("%v for one size, %v for %d times it", one, all, times)
	}
}

func TestUnquote(t *testing.T) {
	for q, want := range map[string]string{`""`: "", `"a b"`: "a b", `"a\"b\\"`: `a"b\`} {
		if got := unquote([]byte(q)); string(got) != want {
			t.Errorf("%s: %q, want %q", q, got, want)
		}
	}
}
