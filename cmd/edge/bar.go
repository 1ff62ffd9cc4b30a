package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// barWidth is how many columns a progress bar has.
const barWidth = 30

// bar is a progress bar on standard error, where that is a terminal: in a log it
// would be noise.
type bar struct {
	out   io.Writer // nil: none
	shown string
}

func (a *app) newBar(wanted bool) *bar {
	b := new(bar)
	if f, ok := a.stderr.(*os.File); ok && wanted && isTerminal(f) {
		b.out = f
	}
	return b
}

// isTerminal tells whether f is a terminal: only terminals have these settings.
func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// show draws the bar, if that makes it another one.
func (b *bar) show(done, total int64, label string) {
	if b.out == nil {
		return
	}
	full := int(barWidth * done / max(total, 1))
	line := fmt.Sprintf("\r[%s%s] %s", strings.Repeat("#", full), strings.Repeat(".", barWidth-full), label)
	if line != b.shown {
		_, _ = io.WriteString(b.out, fmt.Sprintf("%-*s", len(b.shown), line)) // a terminal that is gone shows nothing
		b.shown = line
	}
}

// clear takes the bar away.
func (b *bar) clear() {
	if b.out != nil && b.shown != "" {
		_, _ = fmt.Fprintf(b.out, "\r%*s\r", len(b.shown), "")
		b.shown = ""
	}
}
