//go:build race || poison

package disk

// poisoned builds overwrite released buffers, so that a use after release shows.
const poisoned = true
