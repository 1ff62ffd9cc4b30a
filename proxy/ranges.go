package proxy

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"io"

	"edge/cache/statemachine"
	"edge/message"
)

// contentRangeLine is the line of a Content-Range field, RFC 9110 section 14.4.
func contentRangeLine(value []byte) []byte {
	return message.AppendLine(nil, []byte("Content-Range"), value)
}

// serveRange sends one range as a 206, RFC 9110 section 15.3.7.1.
func (x *exchange) serveRange(e source, r statemachine.Range, size int64) statemachine.Delivery {
	x.out.Extra = append(x.out.Extra, contentRangeLine(statemachine.AppendContentRange(nil, r, size))...)
	x.extraBuf = x.out.Extra
	x.out.Length = r.End - r.Start
	x.out.Trailers = false
	if x.out.NoBody {
		return x.sendHeadOnly()
	}
	rd := x.open(e, r.Start, r.End-r.Start)
	defer rd.Close()
	return x.sendFrom(rd, e, x.fill != nil)
}

// serveRanges sends several ranges as multipart/byteranges, RFC 9110 section
// 15.3.7.2, in the order they were asked for.
func (x *exchange) serveRanges(e source, s *message.Stored, ranges []statemachine.Range, size int64) statemachine.Delivery {
	boundary := newBoundary()
	var fields message.Fields
	fields.ParseLines(x.out.Block)
	contentType := bytes.Clone(fields.Value(message.FieldContentType))
	fields.Delete(message.FieldContentType)
	fields.AddString("Content-Type", "multipart/byteranges; boundary="+boundary)
	x.out.Block = fields.AppendLines(nil)
	x.out.Trailers = false

	closing := []byte("\r\n--" + boundary + "--\r\n")
	x.out.Length = int64(len(closing))
	for _, r := range ranges {
		x.out.Length += int64(len(partHead(boundary, contentType, r, size))) + r.End - r.Start
	}
	if x.sendHead() != nil {
		return statemachine.ClientGone
	}
	for _, r := range ranges {
		if x.write(partHead(boundary, contentType, r, size)) != nil {
			return statemachine.ClientGone
		}
		if d := x.sendPart(e, r); d != complete {
			return d
		}
	}
	if x.write(closing) != nil {
		return statemachine.ClientGone
	}
	return x.finish(nil)
}

// sendPart sends the bytes of one range.
func (x *exchange) sendPart(e source, r statemachine.Range) statemachine.Delivery {
	rd := x.open(e, r.Start, r.End-r.Start)
	defer rd.Close()
	switch err := x.copy(rd, nil, nil); err {
	case io.EOF:
		return complete
	case errClientGone:
		return statemachine.ClientGone
	default:
		return x.cut(err)
	}
}

// partHead is what precedes a part.
func partHead(boundary string, contentType []byte, r statemachine.Range, size int64) []byte {
	b := append([]byte("\r\n--"), boundary...)
	b = append(b, "\r\n"...)
	if contentType != nil {
		b = message.AppendLine(b, []byte("Content-Type"), contentType)
	}
	b = append(b, contentRangeLine(statemachine.AppendContentRange(nil, r, size))...)
	return append(b, "\r\n"...)
}

// newBoundary is 128 random bits: nobody who wrote the content can know it.
func newBoundary() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	return hex.EncodeToString(b[:])
}
