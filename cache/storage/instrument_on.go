//go:build race || poison

package storage

// instrumented builds keep slabs on the Go heap, where the race detector sees
// them, and overwrite released slots, so that a use after release shows.
const instrumented = true
