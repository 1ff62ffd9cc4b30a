package statemachine

import (
	"strconv"

	"edge/message"
)

// AppendCacheStatus appends this cache's member of Cache-Status, RFC 9211: name
// and what was decided. It ends no line, does not allocate, and is called when
// the response's head is about to leave ("measured as closely as possible to
// when the response header section is sent by the cache", section 2.4).
func (d *Decision) AppendCacheStatus(dst []byte, name []byte, now Instant) []byte {
	dst = AppendItem(dst, name)
	if d.Forward == ReasonNone {
		dst = append(dst, "; hit"...)
	} else {
		dst = d.appendForward(dst)
	}
	if d.Response != nil && !d.Response.Terms.Flags.Has(message.TermHitForMiss) {
		// "It may be negative, to indicate staleness."
		dst = append(dst, "; ttl="...)
		dst = strconv.AppendInt(dst, floorSeconds(-staleFor(d.Response, now)), 10)
	}
	if detail := d.detail(); detail != ReasonNone {
		dst = append(dst, "; detail="...)
		dst = append(dst, reasonTable[detail].name...)
	}
	return dst
}

// appendForward appends what is meaningful only for a request that went
// forward.
func (d *Decision) appendForward(dst []byte) []byte {
	why := reasonTable[d.Forward].fwd
	if why == fwdNone {
		why = fwdMiss
	}
	dst = append(dst, "; fwd="...)
	dst = append(dst, fwdNames[why]...)
	// "If fwd-status is not present but the fwd parameter is, it defaults to
	// the status code sent in the response." (section 2.3)
	if d.ForwardStatus != 0 && d.ForwardStatus != d.sentStatus() {
		dst = append(dst, "; fwd-status="...)
		dst = strconv.AppendInt(dst, int64(d.ForwardStatus), 10)
	}
	if d.Stored {
		dst = append(dst, "; stored"...)
	}
	if d.Collapsed {
		dst = append(dst, "; collapsed"...)
	}
	return dst
}

// sentStatus is the status the client gets, as far as the machine knows.
func (d *Decision) sentStatus() int {
	switch {
	case d.Response != nil:
		return d.Response.Status
	case d.Status != 0:
		return d.Status
	}
	return d.ForwardStatus
}

// detail is the one reason worth naming beside hit and fwd: why a stored
// response was served, else why one was not stored, else why it went forward.
func (d *Decision) detail() Reason {
	if reasonTable[d.Reason].fwd == fwdNone && reasonTable[d.Reason].detail {
		return d.Reason
	}
	for _, why := range [...]Reason{d.NotStored, d.Forward, d.Reason} {
		if why != ReasonNone && reasonTable[why].detail {
			return why
		}
	}
	return ReasonNone
}

// floorSeconds rounds down, so that half a second of staleness is not 0.
func floorSeconds(d Duration) int64 {
	n := d / message.Second
	if d%message.Second < 0 {
		n--
	}
	return n
}

// AppendItem appends a Token where name is one, else a String (RFC 9651
// sections 3.3.3 and 3.3.4); bytes that no String may hold become "?".
func AppendItem(dst, name []byte) []byte {
	if isItemToken(name) {
		return append(dst, name...)
	}
	dst = append(dst, '"')
	for _, c := range name {
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c < ' ' || c >= 0x7f:
			dst = append(dst, '?')
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}

// isItemToken: sf-token = ( ALPHA / "*" ) *( tchar / ":" / "/" ).
func isItemToken(b []byte) bool {
	for _, c := range b {
		if !isTokenByte(c) && c != ':' && c != '/' {
			return false
		}
	}
	return len(b) > 0 && (isAlpha(b[0]) || b[0] == '*')
}
