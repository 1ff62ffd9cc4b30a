package server

import (
	"math"

	"golang.org/x/sys/unix"
)

// clientShare is how many of each hundred descriptors clients may hold. The
// rest is for origins, files and listeners: a node whose clients have taken
// every descriptor can answer nobody but by what it already holds, and those
// it cannot accept wait without a word. Those over the share are told 503.
const clientShare = 75

// descriptors returns how many descriptors this process may have. The runtime
// has raised the soft limit to the hard one by then.
func descriptors() int64 {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return math.MaxInt64
	}
	return int64(min(limit.Cur, math.MaxInt64))
}

// share is percent of n descriptors, at least one.
func share(n, percent int64) int64 {
	if n >= math.MaxInt64/100 {
		return n
	}
	return max(n*percent/100, 1)
}
