//go:build linux

package main

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"strconv"
	"strings"
)

// Objects are what the origin has besides its few fixed answers: any number of
// them, of any size, each with a body of its own, so that an answer with
// another object's bytes is seen.

// Bounds of an object's size, in bytes.
const (
	minObject = objectMark
	maxObject = 4 << 20
)

// objectMark is how much of a body tells objects apart, in bytes; the rest is
// the same for all.
const objectMark = 16

// objectPrefix begins the path of an object: /object/SIZE/NUMBER.
const objectPrefix = "/object/"

// objectRest is what bodies have after their mark: bytes that no compression
// and no run of zeros makes cheaper.
var objectRest = func() []byte {
	b := make([]byte, maxObject)
	rand.NewChaCha8([32]byte{}).Read(b) // never fails
	return b
}()

// objectBody returns the two pieces of the body of object n of the given size.
func objectBody(n, size int) (mark [objectMark]byte, rest []byte) {
	binary.BigEndian.PutUint64(mark[:], uint64(n))
	binary.BigEndian.PutUint64(mark[8:], uint64(size))
	return mark, objectRest[:size-objectMark]
}

// isObject reports whether body is that of object n.
func isObject(n int, body []byte) bool {
	if len(body) < minObject || len(body) > maxObject {
		return false
	}
	mark, rest := objectBody(n, len(body))
	return bytes.Equal(body[:objectMark], mark[:]) && bytes.Equal(body[objectMark:], rest)
}

// parseObject reads the path of an object.
func parseObject(path string) (n, size int, ok bool) {
	path, ok = strings.CutPrefix(path, objectPrefix)
	first, second, _ := strings.Cut(path, "/")
	size, errSize := strconv.Atoi(first)
	n, errN := strconv.Atoi(second)
	ok = ok && errSize == nil && errN == nil && n >= 0 && size >= minObject && size <= maxObject
	return n, size, ok
}

// objects makes the work of asking for objects of one size at one address.
type objects struct {
	size int
	addr string
}

// path returns the path of object n.
func (o objects) path(n int) string { return string(o.appendPath(nil, n)) }

func (o objects) appendPath(dst []byte, n int) []byte {
	dst = append(dst, objectPrefix...)
	dst = strconv.AppendInt(dst, int64(o.size), 10)
	dst = append(dst, '/')
	return strconv.AppendInt(dst, int64(n), 10)
}

// each makes the work of asking for what number says, until it says a negative
// number.
func (o objects) each(number func() int) work {
	tail := " HTTP/1.1\r\nHost: " + o.addr + "\r\n\r\n"
	return work{
		next: func(dst []byte) ([]byte, int) {
			n := number()
			dst = o.appendPath(append(dst, "GET "...), max(n, 0))
			return append(dst, tail...), n
		},
		right: func(n int, body []byte) bool { return len(body) == o.size && isObject(n, body) },
	}
}

// unique asks for one object after the other: *last counts them.
func (o objects) unique(last *int) work {
	return o.each(func() int { *last++; return *last })
}

// once asks for each of the given numbers once.
func (o objects) once(numbers []int) work {
	at := 0
	return o.each(func() int {
		if at == len(numbers) {
			return -1
		}
		at++
		return numbers[at-1]
	})
}

// around asks for each of the given numbers in turn, again and again; at is where it
// is, so that one run goes on where the one before it stopped.
func (o objects) around(numbers []int, at *int) work {
	return o.each(func() int {
		*at = (*at + 1) % len(numbers)
		return numbers[*at]
	})
}

// upTo returns 0, 1, ... n-1 in an order that is random and always the same.
func upTo(n int) []int { return rand.New(rand.NewPCG(1, uint64(n))).Perm(n) }
