//go:build !linux

// Command bench measures edge side by side with its peers. It needs Linux:
// CPU pinning, per-process CPU clocks and epoll.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "bench: needs Linux (CPU pinning, per-process CPU clocks, epoll)")
	os.Exit(1)
}
