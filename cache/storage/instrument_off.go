//go:build !race && !poison

package storage

// instrumented says whether this is a race or poison build; see the other one.
const instrumented = false
