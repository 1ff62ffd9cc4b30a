package statemachine

import "edge/message"

// minDate and maxDate bound what AppendDate can write: years 0000 to 9999, in
// seconds since the epoch.
const (
	minDate = -62167219200
	maxDate = 253402300799
)

// ParseDate parses an HTTP-date, RFC 9110 section 5.6.7, into seconds since
// the epoch. "A recipient that parses a timestamp value in an HTTP field MUST
// accept all three HTTP-date formats." Letters match in any case, as RFC 9111
// section 4.2 asks of caches, and the only zone is GMT; otherwise the grammar
// is followed to the byte. The day name must be one but is not held against
// the date. It does not allocate.
//
// RFC 850's two-digit years 70 to 99 are 1970 to 1999 and 00 to 69 are 2000
// to 2069. That keeps "more than 50 years in the future ... the most recent
// year in the past" from 2019 to 2049 without asking for the time.
func ParseDate(b []byte) (unix int64, ok bool) {
	// IMF-fixdate is the common case and of fixed length:
	//	Sun, 06 Nov 1994 08:49:37 GMT
	if len(b) == 29 && b[3] == ',' {
		return parseFixdate(b)
	}
	// Sun Nov  6 08:49:37 1994
	if len(b) == 24 && b[3] == ' ' {
		return parseAsctime(b)
	}
	return parseRFC850(b)
}

func parseFixdate(b []byte) (int64, bool) {
	var d civil
	ok := dayName(b[:3]) && b[4] == ' ' && b[7] == ' ' && b[11] == ' ' && b[16] == ' ' && b[25] == ' ' &&
		digits(b[5:7], &d.day) && monthName(b[8:11], &d.month) && digits(b[12:16], &d.year) &&
		timeOfDay(b[17:25], &d) && isGMT(b[26:])
	return d.unix(ok)
}

func parseAsctime(b []byte) (int64, bool) {
	var d civil
	day := b[8:10] // 2DIGIT / ( SP 1DIGIT )
	if day[0] == ' ' {
		day = day[1:]
	}
	ok := dayName(b[:3]) && b[7] == ' ' && b[10] == ' ' && b[19] == ' ' &&
		monthName(b[4:7], &d.month) && digits(day, &d.day) && timeOfDay(b[11:19], &d) && digits(b[20:], &d.year)
	return d.unix(ok)
}

// Sunday, 06-Nov-94 08:49:37 GMT
func parseRFC850(b []byte) (int64, bool) {
	i := 0
	for i < len(b) && b[i] != ',' {
		i++
	}
	if len(b)-i != len(", 06-Nov-94 08:49:37 GMT") || !longDayName(b[:i]) {
		return 0, false
	}
	b = b[i:]
	var d civil
	ok := b[1] == ' ' && b[4] == '-' && b[8] == '-' && b[11] == ' ' && b[20] == ' ' &&
		digits(b[2:4], &d.day) && monthName(b[5:8], &d.month) && digits(b[9:11], &d.year) &&
		timeOfDay(b[12:20], &d) && isGMT(b[21:])
	if d.year += 1900; d.year < 1970 {
		d.year += 100
	}
	return d.unix(ok)
}

// civil is a date of the Gregorian calendar, UTC.
type civil struct{ year, month, day, hour, minute, second int }

// unix returns the seconds since the epoch, if ok and the date exists. Second
// 60 is a leap second and counts as the one after.
func (d *civil) unix(ok bool) (int64, bool) {
	if !ok || d.day < 1 || d.day > daysIn(d.year, d.month) || d.hour > 23 || d.minute > 59 || d.second > 60 {
		return 0, false
	}
	return daysSinceEpoch(d.year, d.month, d.day)*86400 + int64(d.hour*3600+d.minute*60+d.second), true
}

func daysIn(year, month int) int {
	switch month {
	case 4, 6, 9, 11:
		return 30
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	}
	return 31
}

// daysSinceEpoch counts days in years that begin in March, so that the leap
// day is the last, by the rule of 153 days in five months.
func daysSinceEpoch(year, month, day int) int64 {
	if month <= 2 {
		year, month = year-1, month+12
	}
	y := int64(year) + 400 // keeps what is divided positive: year 0 has a January
	return 365*y + y/4 - y/100 + y/400 + int64((153*(month-3)+2)/5+day-1) - 719468 - 146097
}

// civilOf is the inverse of civil.unix.
func civilOf(unix int64) civil {
	days, rest := unix/86400, unix%86400
	if rest < 0 {
		days, rest = days-1, rest+86400
	}
	z := days + 719468 + 146097
	era, doe := z/146097, z%146097
	yoe := (doe - doe/1460 + doe/36524 - doe/146096) / 365
	doy := doe - (365*yoe + yoe/4 - yoe/100)
	mp := (5*doy + 2) / 153
	d := civil{year: int(era*400+yoe) - 400, month: int(mp) + 3, day: int(doy-(153*mp+2)/5) + 1,
		hour: int(rest / 3600), minute: int(rest % 3600 / 60), second: int(rest % 60)}
	if d.month > 12 {
		d.year, d.month = d.year+1, d.month-12
	}
	return d
}

const (
	dayNames   = "SunMonTueWedThuFriSat"
	monthNames = "JanFebMarAprMayJunJulAugSepOctNovDec"
)

// AppendDate appends unix, in seconds since the epoch, as IMF-fixdate: "the
// sender MUST generate those timestamps in the IMF-fixdate format" (RFC 9110
// section 5.6.7). What has no four-digit year becomes the nearest that has.
func AppendDate(dst []byte, unix int64) []byte {
	unix = min(max(unix, minDate), maxDate)
	d := civilOf(unix)
	days := unix / 86400
	if unix%86400 < 0 {
		days--
	}
	weekday := ((days+4)%7 + 7) % 7 // the epoch was a Thursday
	dst = append(dst, dayNames[weekday*3:weekday*3+3]...)
	dst = append(dst, ", "...)
	dst = appendDigits(dst, d.day, 10)
	dst = append(dst, ' ')
	dst = append(dst, monthNames[d.month*3-3:d.month*3]...)
	dst = append(dst, ' ')
	dst = appendDigits(dst, d.year, 1000)
	dst = append(dst, ' ')
	dst = appendDigits(dst, d.hour, 10)
	dst = append(dst, ':')
	dst = appendDigits(dst, d.minute, 10)
	dst = append(dst, ':')
	dst = appendDigits(dst, d.second, 10)
	return append(dst, " GMT"...)
}

// appendDigits appends n with as many digits as unit, a power of ten, has.
func appendDigits(dst []byte, n, unit int) []byte {
	for ; unit > 0; unit /= 10 {
		dst = append(dst, byte('0'+n/unit%10))
	}
	return dst
}

func digits(b []byte, to *int) bool {
	n := 0
	for _, c := range b {
		if !isDigit(c) {
			return false
		}
		n = n*10 + int(c-'0')
	}
	*to = n
	return len(b) > 0
}

func timeOfDay(b []byte, d *civil) bool {
	return b[2] == ':' && b[5] == ':' && digits(b[:2], &d.hour) && digits(b[3:5], &d.minute) && digits(b[6:8], &d.second)
}

func isGMT(b []byte) bool { return message.EqualFoldString(b, "GMT") }

func dayName(b []byte) bool {
	for i := 0; i < len(dayNames); i += 3 {
		if message.EqualFoldString(b, dayNames[i:i+3]) {
			return true
		}
	}
	return false
}

func longDayName(b []byte) bool {
	for _, name := range [...]string{"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"} {
		if message.EqualFoldString(b, name) {
			return true
		}
	}
	return false
}

func monthName(b []byte, to *int) bool {
	for i := 0; i < len(monthNames); i += 3 {
		if message.EqualFoldString(b, monthNames[i:i+3]) {
			*to = i/3 + 1
			return true
		}
	}
	return false
}
