package config

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Size is a number of bytes, or None.
type Size int64

// sizeUnits are the units of Size, the largest first: String takes the first
// that divides.
var sizeUnits = []struct {
	name  string
	bytes int64
}{
	{"TiB", 1 << 40}, {"TB", 1e12}, {"GiB", 1 << 30}, {"GB", 1e9}, {"MiB", 1 << 20},
	{"MB", 1e6}, {"KiB", 1 << 10}, {"KB", 1e3}, {"kB", 1e3}, {"B", 1},
}

// ParseSize reads a size: a whole number directly followed by one of B, KiB,
// MiB, GiB, TiB (powers of 1024) or KB, MB, GB, TB (powers of 1000); or 0.
func ParseSize(s string) (Size, error) {
	if s == "0" {
		return 0, nil
	}
	digits := len(s) - len(strings.TrimLeft(s, "0123456789"))
	number, unit := s[:digits], s[digits:]
	if number == "" {
		return 0, fmt.Errorf("%s is not a size: write a whole number and a unit, as in 64MiB", quote(s))
	}
	if unit == "" {
		return 0, fmt.Errorf("%s has no unit: write %sB, or %sMiB", quote(s), clip(s), clip(s))
	}
	for _, u := range sizeUnits {
		if u.name != unit {
			continue
		}
		n, err := strconv.ParseInt(number, 10, 64)
		if err != nil || n > math.MaxInt64/u.bytes {
			return 0, fmt.Errorf("%s is too large", quote(s))
		}
		return Size(n * u.bytes), nil
	}
	return 0, fmt.Errorf("%s is not a size: the units are B, KiB, MiB, GiB, TiB, KB, MB, GB and TB, after a whole number", quote(s))
}

// String writes s as ParseSize reads it, in the largest unit that divides it;
// None as none.
func (s Size) String() string {
	switch {
	case s < 0:
		return "none"
	case s == 0:
		return "0"
	}
	for _, u := range sizeUnits {
		if int64(s)%u.bytes == 0 {
			return strconv.FormatInt(int64(s)/u.bytes, 10) + u.name
		}
	}
	panic("unreachable: every size is a multiple of 1B")
}

const day = 24 * time.Hour

// ParseDuration reads a duration as time.ParseDuration does, with d for days of
// 24 hours as a further, leading unit (1d12h), and without a sign.
func ParseDuration(s string) (time.Duration, error) {
	bad := fmt.Errorf("%s is not a duration: write numbers and units, as in 500ms, 30s, 5m, 1h30m or 7d", quote(s))
	if s == "" || s[0] == '-' || s[0] == '+' {
		return 0, bad
	}
	rest := s
	var days time.Duration
	if number, after, found := strings.Cut(s, "d"); found {
		n, err := strconv.ParseUint(number, 10, 64)
		if err != nil && !errors.Is(err, strconv.ErrRange) {
			return 0, bad
		}
		if n > uint64(math.MaxInt64/day) {
			return 0, fmt.Errorf("%s is too long", quote(s))
		}
		days, rest = time.Duration(n)*day, after
		if rest == "" {
			return days, nil
		}
	} else if strings.Trim(s, "0123456789") == "" && strings.Trim(s, "0") != "" {
		return 0, fmt.Errorf("%s has no unit: write %ss for seconds", quote(s), clip(s))
	}
	if rest[0] == '-' || rest[0] == '+' {
		return 0, bad
	}
	d, err := time.ParseDuration(rest)
	if err != nil {
		return 0, bad
	}
	if d > math.MaxInt64-days {
		return 0, fmt.Errorf("%s is too long", quote(s))
	}
	return days + d, nil
}

// FormatDuration writes d as ParseDuration reads it, without the parts that are
// zero: 1h rather than 1h0m0s, 7d rather than 168h. None is written none.
func FormatDuration(d time.Duration) string {
	switch {
	case d < 0:
		return "none"
	case d == 0:
		return "0s"
	}
	var out strings.Builder
	if d >= day {
		fmt.Fprintf(&out, "%dd", d/day)
		d %= day
	}
	if d > 0 {
		s := d.String()
		// String ends in "0s" after a unit exactly where nothing smaller is left.
		if strings.HasSuffix(s, "m0s") {
			s = strings.TrimSuffix(s, "0s")
		}
		if strings.HasSuffix(s, "h0m") {
			s = strings.TrimSuffix(s, "0m")
		}
		out.WriteString(s)
	}
	return out.String()
}
