package h1

import "sync"

// Buffers come in three sizes. The pools hold plain bytes only.
const (
	smallBuffer  = 4 << 10
	mediumBuffer = 16 << 10
	largeBuffer  = 64 << 10
)

var (
	smallBuffers  = sync.Pool{New: func() any { return new([smallBuffer]byte) }}
	mediumBuffers = sync.Pool{New: func() any { return new([mediumBuffer]byte) }}
	largeBuffers  = sync.Pool{New: func() any { return new([largeBuffer]byte) }}
)

// getBuffer returns a buffer of at least n bytes, pooled where a size fits.
func getBuffer(n int) []byte {
	switch {
	case n <= smallBuffer:
		return smallBuffers.Get().(*[smallBuffer]byte)[:]
	case n <= mediumBuffer:
		return mediumBuffers.Get().(*[mediumBuffer]byte)[:]
	case n <= largeBuffer:
		return largeBuffers.Get().(*[largeBuffer]byte)[:]
	}
	return make([]byte, n)
}

// putBuffer gives back what getBuffer returned; its length may have changed.
// Nothing may point into it any more: under poison its bytes are overwritten,
// so that a slice that outlived its message reads as nonsense in tests.
func putBuffer(b []byte) {
	poisonBytes(b[:cap(b)])
	switch cap(b) {
	case smallBuffer:
		smallBuffers.Put((*[smallBuffer]byte)(b[:smallBuffer]))
	case mediumBuffer:
		mediumBuffers.Put((*[mediumBuffer]byte)(b[:mediumBuffer]))
	case largeBuffer:
		largeBuffers.Put((*[largeBuffer]byte)(b[:largeBuffer]))
	}
}

// poison overwrites bytes whose lifetime has ended. On in builds with the tag
// "poison" and in this package's own tests.
var poison = poisonBuild

func poisonBytes(b []byte) {
	if !poison {
		return
	}
	for i := range b {
		b[i] = 0xdb
	}
}
