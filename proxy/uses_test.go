package proxy

import (
	"encoding/binary"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"edge/cache/storage"
	"edge/message"
)

func useKey(set uint32, tag uint64) (k storage.Key) {
	binary.BigEndian.PutUint32(k[:], set)
	binary.BigEndian.PutUint64(k[8:], tag)
	return k
}

func TestUses(t *testing.T) {
	var u uses
	const window = 10 * message.Second
	at := func(s int64) message.Instant { return message.Instant(s * message.Second) }
	for i, x := range []struct {
		key  storage.Key
		at   int64
		want int
	}{
		{useKey(1, 1), 100, 1}, {useKey(1, 1), 101, 2}, {useKey(1, 2), 101, 1}, {useKey(2, 1), 101, 1},
		{useKey(1, 1), 109, 3}, {useKey(1, 1), 110, 1}, {useKey(1, 2), 110, 2},
	} {
		if n := u.count(x.key, at(x.at), window); n != x.want {
			t.Errorf("use %d: counted %d, want %d", i, n, x.want)
		}
	}
	// A flood of keys used once does not push out one used twice.
	u.count(useKey(3, 0), at(200), window)
	u.count(useKey(3, 0), at(200), window)
	for tag := range uint64(1000) {
		u.count(useKey(3, tag+1), at(201), window)
	}
	if n := u.count(useKey(3, 0), at(202), window); n != 3 {
		t.Errorf("after a flood: counted %d, want 3", n)
	}
}

// Those who ask for what is not going to be stored do not wait for one another.
func TestMinUsesDoesNotQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *originConn) bool {
			time.Sleep(time.Second)
			return c.say("HTTP/1.1 200 OK\nCache-Control: max-age=600", fmt.Sprint(c.n))
		}, func(r *rig, _ *Options) { r.route.Policy.MinUses = 4 })
		defer r.close()
		began := time.Now()
		done := make(chan answer)
		for range 3 {
			go func() { done <- r.get("/p") }()
		}
		for range 3 {
			if a := <-done; a.StatusCode != 200 {
				t.Errorf("got %d", a.StatusCode)
			}
		}
		if d := time.Since(began); d > 1500*time.Millisecond || r.origin.count() != 3 {
			t.Errorf("took %v and %d requests", d, r.origin.count())
		}
		// From the fourth on they do, and the answer is stored.
		for range 5 {
			go func() { done <- r.get("/p") }()
		}
		for range 5 {
			if a := <-done; a.body != "4" {
				t.Errorf("got %q", a.body)
			}
		}
		r.get("/p").expect(t, 200, "hit", "4")
	})
}
