package storage

// FilePiece is a piece of a body that lies in an open file.
type FilePiece struct {
	// FD is the file's descriptor: open, and the bytes the same, until the
	// Reader's next call or Close.
	FD uintptr
	// Offset is where in the file the piece begins, Length how long it is, both
	// in bytes.
	Offset, Length int64
}

// FileReader is what a Reader may implement besides, for a caller that can have
// the kernel send from a file. Its calls may be mixed with Next.
type FileReader interface {
	Reader
	// NextFile returns where the bytes lie that Next would return, if they were
	// checked before and the kernel can send them without waiting for a disk.
	// False: ask Next. The position stays; Took moves it.
	NextFile() (FilePiece, bool)
	// Took moves the position n bytes on: that many of the piece that NextFile
	// returned were used. short says that the file did not give more than that:
	// NextFile returns nothing any more, and Next reads and checks anew, so that
	// it either has the bytes or knows why not.
	Took(n int64, short bool)
}
