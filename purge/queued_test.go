package purge

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestInvalidateBesideADiskThatHangs: what clients cause is slowed down where the journal's
// disk does not answer, so that it does not pile up as fast as they can ask, and comes to an
// end all the same.
func TestInvalidateBesideADiskThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := newForgetful()
		l := open(t, Options{Path: "journal", files: fs})
		hung := make(chan struct{})
		fs.onSync = func() { <-hung }
		defer close(hung)
		long := Selector{Kind: URL, Scheme: "https", Authority: "a.example", Name: "/" + strings.Repeat("x", MaxURL/2)}
		invalidate := func() time.Duration {
			began := time.Now()
			if err := l.Invalidate(long); err != nil {
				t.Fatal(err)
			}
			return time.Since(began)
		}
		if took := invalidate(); took != 0 {
			t.Errorf("the first took %v", took)
		}
		time.Sleep(2 * syncDelay) // it is being synced, and stays so
		fit := 0
		for ; invalidate() == 0; fit++ {
			if fit > maxQueued/len(long.Name) {
				t.Fatalf("%d were taken at once", fit)
			}
		}
		if least := maxQueued/len(long.Name) - 4; fit < least {
			t.Errorf("only %d were taken at once, want %d or more", fit, least)
		}
		for range 3 {
			if took := invalidate(); took != queuedWait {
				t.Errorf("one beyond took %v, want %v", took, queuedWait)
			}
		}
	})
}
