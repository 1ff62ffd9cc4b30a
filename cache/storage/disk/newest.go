package disk

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
)

// The newest segment there ever was. Where segments are lost, what they took away is not
// known any more: older responses that were replaced or invalidated there would be found
// as they were. A gap in the numbers tells of most losses; of that of the newest nothing
// tells but what is kept of it elsewhere.
//
// The file "NEWEST" is one line of text: the number of the newest segment that was begun,
// and the CRC-32C of that text. It is written by the flusher, in place, so that it needs no
// room, and synced: after the segment's file has got a name that lasts, and before any
// record is written there. So whenever the process ends, however, there is no number
// without its segment; and nothing that lasts in a segment without its number, unless that
// could not be written. Reclaiming takes the newest only after all others.
//
// Where the file is missing, or torn, the newest segment is the last that is there.
const (
	newestName   = "NEWEST"
	newestFormat = "edge newest 1: %08x"
	newestLength = 33 // with a space, the checksum in hexadecimal, and a newline
)

// newestLine is what the file says.
func newestLine(id uint32) []byte {
	b := fmt.Appendf(nil, newestFormat, id)
	return fmt.Appendf(b, " %08x\n", checksum(b))
}

// parseNewest returns the number that a line has; 0 where it is no such line.
func parseNewest(line []byte) (id uint32) {
	if _, err := fmt.Sscanf(string(line), newestFormat, &id); err != nil || id > maxNumber || !bytes.Equal(line, newestLine(id)) {
		return 0
	}
	return id
}

// readNewest returns the number of the newest segment there ever was, as far as is known;
// 0: it is not.
func (v *volume) readNewest() uint32 {
	f, err := v.o.FS.Open(path.Join(v.dir, newestName))
	if errors.Is(err, fs.ErrNotExist) {
		return 0 // a new disk, or one of a version that kept no such file
	}
	if err == nil {
		b := make([]byte, newestLength)
		var n int
		n, err = f.ReadAt(b, 0)
		_ = f.Close() // it was only read
		if ignore(err, io.EOF) == nil {
			return parseNewest(b[:n])
		}
	}
	v.health.ioErrors.Add(1)
	v.o.Logger.Warn("it cannot be read which segment was the newest", "disk", v.dir, "error", err)
	return 0
}

// noteNewest notes that a segment was begun whose file has a name that lasts. Where that
// fails it is tried again with what is written next: until then nobody would notice that
// the segment is lost. For the flusher, and before it runs for open.
func (v *volume) noteNewest(id uint32) {
	if id <= v.newest {
		return
	}
	err := v.writeNewest(id)
	if err == nil {
		v.newest = id
		return
	}
	v.health.ioErrors.Add(1)
	if v.unnoted != id {
		v.unnoted = id
		v.o.Logger.Warn("it cannot be noted which segment is the newest", "disk", v.dir, "segment", v.name(id), "error", err)
	}
}

// writeNewest makes the file say id, which survives power loss.
func (v *volume) writeNewest(id uint32) error {
	name := path.Join(v.dir, newestName)
	f, err := v.o.FS.Open(name)
	made := errors.Is(err, fs.ErrNotExist)
	if made {
		f, err = v.o.FS.Create(name)
	}
	if err != nil {
		return err
	}
	_, err = f.WriteAt(newestLine(id), 0)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil || !made {
		return err
	}
	return v.o.FS.SyncDir(v.dir)
}
