package proxy

import (
	"encoding/binary"
	"sync"

	"edge/cache/storage"
	"edge/message"
)

// uses counts how often keys are asked for, for the routes that store only what
// is asked for more than once. Its memory is bounded: where a set of keys is
// full, the one that was used least makes way, the older of two equals. So a
// flood of keys that nobody asks for twice pushes out others of its kind, and a
// key that was forgotten is stored later than it might have been. Safe for
// concurrent use.
type uses struct {
	once sync.Once
	sets []useSet // made with the first use: most nodes have no such route
}

const (
	numUseSets = 1 << 14 // a power of two
	useWays    = 4       // keys of a set: 65536 in all
)

type useSet struct {
	mu   sync.Mutex
	used [useWays]use
}

// use is one key's count. Two keys with the same tag and set are counted
// together, which stores one of them too soon and is of no further consequence.
type use struct {
	tag   uint64
	since message.Instant // the first use of the window
	n     int32           // 0: nobody's
}

// count counts a use of key at now and returns how many there were in the
// window that it falls into, itself included. A window begins with a use.
func (u *uses) count(key storage.Key, now message.Instant, window message.Duration) int {
	u.once.Do(func() { u.sets = make([]useSet, numUseSets) })
	tag := binary.BigEndian.Uint64(key[8:])
	s := &u.sets[binary.BigEndian.Uint32(key[:])%numUseSets]
	s.mu.Lock()
	defer s.mu.Unlock()
	least := &s.used[0]
	for i := range s.used {
		x := &s.used[i]
		if x.n > 0 && now.Sub(x.since) >= window {
			x.n = 0
		}
		if x.n > 0 && x.tag == tag {
			x.n = min(x.n+1, maxUses)
			return int(x.n)
		}
		if x.n < least.n || x.n == least.n && x.since < least.since {
			least = x
		}
	}
	*least = use{tag: tag, since: now, n: 1}
	return 1
}

// maxUses is where counting ends: no route may ask for more.
const maxUses = 1 << 20

// uses is how often the exchange's key was asked for, where that matters:
// nothing is stored under it. An exchange counts once. 0: not counted.
func (x *exchange) uses(candidates int) int {
	p := x.route.Policy
	if p.MinUses > 1 && candidates == 0 && x.used == 0 && x.req.Method != message.MethodHead {
		x.used = x.p.uses.count(x.key, x.at, p.MinUsesWindow)
	}
	return x.used
}
