//go:build !race && !poison

package disk

// poisoned says whether this is a race or poison build; see the other one.
const poisoned = false
